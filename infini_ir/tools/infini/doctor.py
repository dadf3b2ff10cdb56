"""`infini doctor`: whether everything that compiling and running wants is there and works."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable
from importlib import metadata
from typing import Any

import click

from infini_ir.tools.failures import describe
from infini_ir.tools.infini.options import json_option

NEEDED = ("xdsl", "onnx", "numpy", "llvmlite", "networkx", "ml_dtypes", "click", "rich")
OPTIONAL = (
    "torch",
    "onnxruntime",
    "openvino",
    "onnxscript",
    "triton",
    "matplotlib",
    "safetensors",
    "tokenizers",
    "pillow",
)


@click.command()
@json_option
def command(as_json: bool) -> None:
    """Check the installation: dependencies, processor, cache, and a small compilation."""
    from infini_ir.tools.infini.show import print_json

    facts = _facts()
    if as_json:
        print_json(facts)
    else:
        _print(facts)
    if not facts["healthy"]:
        raise click.exceptions.Exit(1)


def _facts() -> dict[str, Any]:
    from infini_ir import __version__
    from infini_ir.runtime.host import cpu_count_available, host_arch
    from infini_ir.targets.cpu.features import host

    checks = {
        "dependencies": _check(_check_dependencies),
        "object cache": _check(_check_cache),
        "compile and run": _check(_check_compile),
    }
    return {
        "infini": __version__,
        "python": f"{platform.python_version()} ({sys.executable})",
        "dependencies": {name: _version(name) for name in NEEDED},
        "optional": {name: _version(name) for name in OPTIONAL},
        "system": f"{platform.system()} {platform.release()}",
        "arch": host_arch(),
        "processors": cpu_count_available(),
        "features": _quietly(lambda: sorted(host().features), []),
        "vector_bytes": _quietly(lambda: host().vector_bytes, 0),
        "bf16_products": _quietly(lambda: host().bf16_products, "unknown"),
        "cache": _cache_facts(),
        "checks": checks,
        "healthy": all(check["ok"] for check in checks.values()),
    }


def _quietly(ask: Callable[[], Any], otherwise: Any) -> Any:
    from infini_ir.utils.errors import InfiniError

    try:
        return ask()
    except InfiniError:
        return otherwise


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _cache_facts() -> dict[str, Any]:
    from infini_ir.utils.entry_folder import cache_folder
    from infini_ir.utils.object_cache import LIMIT

    folder = cache_folder()
    sizes = []
    for path in folder.glob("objects/*.o"):
        try:
            sizes.append(path.stat().st_size)
        except OSError:
            continue  # another process removed it
    return {"folder": str(folder), "files": len(sizes), "bytes": sum(sizes), "limit": LIMIT}


def _check(action: Callable[[], str]) -> dict[str, Any]:
    try:
        return {"ok": True, "result": action()}
    except Exception as error:  # whatever goes wrong is what a doctor is asked for
        return {"ok": False, "result": describe(error)[0]}


def _check_dependencies() -> str:
    from infini_ir.utils.errors import InfiniError

    missing = [name for name in NEEDED if _version(name) is None]
    if missing:
        raise InfiniError(
            f"not installed: {', '.join(missing)}; pip install {' '.join(missing)}"
        )
    return f"all {len(NEEDED)} are installed"


def _check_cache() -> str:
    from infini_ir.utils.entry_folder import cache_folder
    from infini_ir.utils.errors import InfiniError
    from infini_ir.utils.object_cache import ObjectCache

    cache = ObjectCache()
    key = ObjectCache.key("doctor", str(os.getpid()))
    cache.store(key, b"doctor")
    found = cache.load(key)
    if found != b"doctor":
        raise InfiniError(
            f"objects cannot be kept in {cache_folder()}; set INFINI_CACHE_DIR to a folder that "
            "can be written"
        )
    (cache.folder / f"{key}.o").unlink(missing_ok=True)
    return f"objects can be kept in {cache.folder}"


def _check_compile() -> str:
    import time

    import numpy as np

    from infini_ir.compiler import compile
    from infini_ir.tools.infini.show import time_text
    from infini_ir.utils.errors import InfiniError

    begin = time.perf_counter()
    model = compile(_tiny_model(), cache=False)
    seconds = time.perf_counter() - begin
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    if not np.array_equal(model(x), np.maximum(x - 5, 0)):
        raise InfiniError("a compiled model gave wrong results; please report this")
    return f"a small model was compiled in {time_text(seconds)} and gave the right results"


def _tiny_model() -> bytes:
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    def value(name: str) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 4])

    five = numpy_helper.from_array(np.array([5], np.float32), "five")
    nodes = [
        helper.make_node("Sub", ["x", "five"], ["d"]),
        helper.make_node("Relu", ["d"], ["y"]),
    ]
    graph = helper.make_graph(nodes, "doctor", [value("x")], [value("y")], [five])
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def _print(facts: dict[str, Any]) -> None:
    from infini_ir.tools.infini.show import print_facts, size_text

    cache = facts["cache"]
    optional = {name: version for name, version in facts["optional"].items() if version}
    print_facts(
        {
            "infini": facts["infini"],
            "python": facts["python"],
            "system": f"{facts['system']}, {facts['arch']}, {facts['processors']} processors",
            "features": " ".join(facts["features"]) or "base",
            "vectors": f"{facts['vector_bytes'] * 8} bits",
            "bf16": facts["bf16_products"],
            "needed": ", ".join(
                f"{k} {v or 'MISSING'}" for k, v in facts["dependencies"].items()
            ),
            "optional": ", ".join(f"{k} {v}" for k, v in optional.items()) or "none",
            "cache": f"{cache['folder']} ({cache['files']} files, {size_text(cache['bytes'])})",
        }
    )
    click.echo()
    for name, check in facts["checks"].items():
        click.echo(f"{'ok  ' if check['ok'] else 'FAIL'}  {name}: {check['result']}")
