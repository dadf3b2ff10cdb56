"""What preparing a model costs, each engine in a process of its own and with no cache.

    cost = measure("openvino", job)

The process imports the engine, then prepares the job and calls it once; only that counts. CPU
time includes the compilers that the engine starts, memory does not. Both are
found on Linux.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from infini_ir.tools.engines.cost import peak_memory, spent
from infini_ir.tools.engines.engine import ENGINES, Job, find_engine, reason
from infini_ir.utils.errors import InfiniError

LIMIT = 600.0
"""Seconds that preparing a model may take."""
TORCH_CACHE = "TORCHINDUCTOR_CACHE_DIR"
_MARK = "fresh:"


def measure(name: str, job: Job) -> dict[str, Any]:
    """`wall_seconds` and `cpu_seconds` of preparing with the first call, `import_seconds`
    before, and `peak_memory_bytes`. Where `$TORCHINDUCTOR_CACHE_DIR` names a folder, inductor
    keeps there what it compiles; it must be empty. Raises `InfiniError` with the reason."""
    with tempfile.TemporaryDirectory() as folder:
        arrays = Path(folder) / "arrays.npz"
        np.savez(arrays, **job.arrays)  # pyright: ignore[reportArgumentType]
        plain = asdict(replace(job, arrays={}, cache=False))
        plain |= {"arrays": str(arrays), "engine": ENGINES.get(name, name)}
        environment = dict(os.environ)
        environment.setdefault(TORCH_CACHE, folder)
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
        try:
            done = subprocess.run(
                [sys.executable, "-m", "infini_ir.tools.engines.fresh"],
                input=json.dumps(plain),
                env=environment,
                capture_output=True,
                text=True,
                timeout=LIMIT,
            )
        except subprocess.TimeoutExpired:
            raise InfiniError(f"it was not ready after {LIMIT:.0f} s") from None
    lines = [line for line in done.stdout.splitlines() if line.startswith(_MARK)]
    if done.returncode or not lines:
        said = done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"]
        raise InfiniError(said[-1][:300])
    cost = json.loads(lines[-1].removeprefix(_MARK))
    if "failed" in cost:
        raise InfiniError(cost["failed"])
    return cost


def main() -> None:
    """Prepare the job of the standard input, and print what it cost or why it failed."""
    try:
        cost = _cost()
    except Exception as error:  # runtimes' errors have no common base but Exception
        cost = {"failed": reason(error)}
    print(_MARK + json.dumps(cost), flush=True)
    os._exit(0)  # pools need not be taken down


def _cost() -> dict[str, float]:
    facts = json.load(sys.stdin)
    begin = time.perf_counter()
    with np.load(facts.pop("arrays")) as file:
        arrays = {name: file[name] for name in file.files}
    engine = find_engine(facts.pop("engine"))
    job = Job(**{**facts, "arrays": arrays, "outputs": tuple(facts["outputs"])})
    engine.load()
    imported = time.perf_counter() - begin
    with spent() as cost:
        engine.prepare(job).call()
    return {**cost, "import_seconds": imported, "peak_memory_bytes": peak_memory()}


if __name__ == "__main__":
    main()
