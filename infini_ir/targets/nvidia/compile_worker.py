"""A process that compiles Triton kernels: jobs come in on standard input, results go out.

Compiling happens in processes of its own because Triton holds Python's lock while it
compiles, and because a fault inside its compiler ends the process it is in. A job is one
line of JSON, and so is its result; `toolchain.py` is the other side.
"""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any


def main() -> None:
    """Answer jobs until the input ends."""
    # Triton prints to standard output where a tool fails; results have a channel of their own.
    results = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    with tempfile.TemporaryDirectory(prefix="infini-triton-") as folder:
        # Triton's own cache is of no use, and lines of a temporary file mean nothing later.
        os.environ["TRITON_CACHE_DIR"] = str(Path(folder) / "cache")
        os.environ["TRITON_DISABLE_LINE_INFO"] = "1"
        for line in sys.stdin:
            results.write(json.dumps(_answer(json.loads(line), Path(folder))) + "\n")
            results.flush()


def _answer(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    try:
        return _compile(job, folder)
    except Exception as error:
        reason = str(error).strip() or type(error).__name__
        return {"error": reason, "trace": traceback.format_exc(limit=-4)}


def _compile(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    function = _load(job["name"], job["source"], folder)
    attributes = {(number,): [["tt.divisibility", 16]] for number in job["divisible"]}
    source = ASTSource(function, signature=job["signature"], constexprs={}, attrs=attributes)
    target = GPUTarget("cuda", job["capability"], 32)
    compiled = triton.compile(source, target=target, options=job["options"])
    metadata = compiled.metadata
    return {
        "function": metadata.name,
        "threads": 32 * metadata.num_warps,
        "shared": metadata.shared,
        "scratch": metadata.global_scratch_size,
        "ptx": compiled.asm["ptx"],
        "cubin": base64.b64encode(compiled.asm["cubin"]).decode(),
    }


def _load(name: str, source: str, folder: Path) -> Any:
    """The kernel of a source text. It must be in a file, where Triton reads it again."""
    path = folder / f"{name}.py"
    path.write_text(source, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(f"infini_kernel_{name}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)


if __name__ == "__main__":
    main()
