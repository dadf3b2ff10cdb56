"""How much memory processes need: `python -m benchmarks.memory`.

Each engine compiles or loads a model in a process of its own and calls it once; what counts is
the most that the process has had. Ours is measured three times: compiling; loading what was
compiled and saved; and compiling what was compiled and called before; the latter two with the
time from the first import to the end of the first call.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import track

import infini_ir
from benchmarks.cases import CHIEF
from benchmarks.compiler_tables import COMPILED, KEPT, LOADED, memory_page
from benchmarks.export import export
from benchmarks.options import again_option, models_option, results_option, threads_option
from benchmarks.results import Results, revision
from infini_ir import warm
from infini_ir.models import zoo
from infini_ir.runtime.kept_programs import LIMIT_VARIABLE
from infini_ir.tools.engines import fresh
from infini_ir.tools.engines.engine import OURS, Job, choose_engines
from infini_ir.tools.infini.options import CACHE_VARIABLE
from infini_ir.utils.errors import InfiniError

ENGINES = ("onnxruntime", "openvino")
"""PyTorch has the network in memory before it is compiled: no fair comparison."""
SETTLED = 0.1
"""Seconds after which a file counts as written before (`utils.file_digests`)."""
FROM_ARTIFACT = "infini_ir.tools.engines.infini:loading"
FROM_KEPT = "infini_ir.tools.engines.infini:compiling_again"


@click.command()
@models_option
@threads_option
@again_option
@results_option
def main(models: str | None, threads: int, again: bool, folder: Path) -> None:
    """Measure the memory of processes that run a model; 1 where one of ours fails."""
    installed = choose_engines(["all"])
    engines = [name for name in ENGINES if name in installed]
    results = Results.read("memory", folder)
    results.describe(threads, engines)
    known = zoo.measured()
    names = [n for n in CHIEF if models is None or n in models.split(",")]
    for name in track(names, "memory", console=Console(stderr=True)):
        if reason := known[name].missing():
            print(f"{name} is left out: {reason}", file=sys.stderr)
        elif again or not results.done(name, threads):
            results.rows[name] = measure(known[name], engines, threads)
            results.write()
    print(memory_page(results))
    sys.exit(any("problem" in results.rows.get(name, {}) for name in names))


def measure(model: zoo.Model, engines: list[str], threads: int) -> dict[str, Any]:
    """The row of a model: bytes, and seconds until a saved one has answered."""
    row: dict[str, Any] = {"revision": revision(), "threads": threads, "failed": {}}
    with tempfile.TemporaryDirectory() as folder:
        path = export(model, Path(folder))
        # Programs are kept only of files that were surely written before.
        time.sleep(SETTLED)
        with cache_in(Path(folder) / "cache"):
            try:
                found = measure_ours(path, model, threads)
            except InfiniError as error:
                return row | {"problem": str(error)}
        job = Job(str(path), model.inputs(), found.pop("outputs"), threads)
        for engine in engines:
            try:
                found["peaks"][engine] = fresh.measure(engine, job)["peak_memory_bytes"]
            except InfiniError as error:
                row["failed"][engine] = str(error)
    return row | found


def measure_ours(path: Path, model: zoo.Model, threads: int) -> dict[str, Any]:
    """Bytes and seconds of our three ways, and the names of the model's outputs."""
    saved = path.with_suffix(".infini")
    compiled = infini_ir.compile(path, threads=threads)
    compiled.save(saved)
    compiled(**model.inputs())
    warm.settle()
    outputs = tuple(spec.name for spec in compiled.outputs)
    del compiled
    job = Job(str(path), model.inputs(), outputs, threads)
    found = {
        COMPILED: fresh.measure(OURS, job),
        LOADED: fresh.measure(FROM_ARTIFACT, replace(job, model=str(saved))),
        KEPT: fresh.measure(FROM_KEPT, job),
    }
    ready = {
        which: cost["import_seconds"] + cost["wall_seconds"]
        for which, cost in found.items()
        if which != COMPILED
    }
    peaks = {which: cost["peak_memory_bytes"] for which, cost in found.items()}
    return {"peaks": peaks, "ready_seconds": ready, "outputs": outputs}


@contextmanager
def cache_in(folder: Path) -> Iterator[None]:
    """Keep code and programs there meanwhile, for this process and those that it starts."""
    chosen = {CACHE_VARIABLE: str(folder), LIMIT_VARIABLE: ""}
    before = {name: os.environ.get(name) for name in chosen}
    os.environ.update(chosen)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


if __name__ == "__main__":
    main()
