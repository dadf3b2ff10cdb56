"""What compiling costs: `python -m benchmarks.passes`.

Import, graph passes, lowering, tile passes and code generation of each model, in milliseconds;
of each pass microseconds for each operation that it began with. Nothing is cached, and weights
are packed as in any compilation. Wall time, the best of some runs; code generation uses
threads.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import track

from benchmarks.compiler_tables import passes_page
from benchmarks.options import again_option, results_option
from benchmarks.results import Results, revision
from infini_ir.compiler import Compilation, Options
from infini_ir.models import zoo
from infini_ir.utils.errors import InfiniError

MODELS = (
    "mlp,lstm,mnist,light_squeezenet,light_densenet121,resnet50,mobilenetv2,yolox_nano,minilm,"
    "bert,gpt2,vit_b16"
)


@click.command()
@click.option("--models", default=MODELS, show_default=True, help="Separated by commas.")
@click.option("--precision", default="f32", show_default=True)
@click.option("--runs", type=click.IntRange(min=1), default=2, show_default=True)
@again_option
@results_option
def main(models: str, precision: str, runs: int, again: bool, folder: Path) -> None:
    """Measure compiling each model, stage by stage."""
    Compilation(Options(cache=False)).target  # noqa: B018  (imports are not compilation)
    results = Results.read("passes", folder)
    results.describe(1)
    for model in track(zoo.choose(models), "compiling", console=Console(stderr=True)):
        if reason := model.missing():
            print(f"{model.name} is left out: {reason}", file=sys.stderr)
            continue
        if again or not results.done(model.name, 1):
            results.rows[model.name] = measure(model, precision, runs)
            results.write()
    print(passes_page(results))


def measure(model: zoo.Model, precision: str, runs: int) -> dict[str, Any]:
    """The row of a model."""
    row: dict[str, Any] = {"revision": revision(), "threads": 1}
    source = model.source()
    try:
        found = [compile_once(source, precision) for _ in range(runs)]
    except InfiniError as error:
        return row | {"problem": str(error)[:300]}
    best = min(found, key=lambda one: sum(one["stages"].values()))
    return row | best


def compile_once(source: Any, precision: str) -> dict[str, Any]:
    """Seconds of each stage and pass, and how much there is to compile."""
    compilation = Compilation(Options(precision=precision, cache=False), keep_texts=False)
    stages: dict[str, float] = {}
    begin = time.perf_counter()

    def done(stage: str) -> None:
        nonlocal begin
        now = time.perf_counter()
        stages[stage], begin = now - begin, now

    module = compilation.import_model(source)
    done("import")
    compilation.graph_passes(module)
    done("passes")
    compilation.lower(module)
    done("tile passes")
    compilation.target.build(module, compilation.ctx, report={})
    done("code")
    rows = [*compilation.report["passes"], *compilation.report["tile_passes"]]
    lowering = sum(row["seconds"] for row in rows if row["pass"] == _LOWERING)
    stages["tile passes"] -= lowering
    stages["lowering"] = lowering
    return {
        "stages": stages,
        "operations": compilation.report["passes"][0]["before"],
        "kernels": _kernels(module),
        "passes": _by_name(rows),
    }


_LOWERING = "graph-to-tile"


def _kernels(module: Any) -> int:
    """Functions that code is generated for."""
    from infini_ir.dialects import tile

    return sum(isinstance(op, tile.KernelOp) for op in module.walk())


def _by_name(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """A pass may run several times."""
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        kept = found.setdefault(row["pass"], {"seconds": 0.0, "operations": 0})
        kept["seconds"] += row["seconds"]
        kept["operations"] += row["before"]
    return found


if __name__ == "__main__":
    main()
