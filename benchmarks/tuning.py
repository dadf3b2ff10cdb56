"""How near plans made by rule come to measured ones: `python -m benchmarks.tuning`.

`infini tune` searches for faster plans of each model's kernels for some time, with nothing
known before. What is reached is the time of all kernels of a call with the best plans that were
found, as a share of that with the planner's own; the rules are to reach 90% on average.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import track

from benchmarks.cases import is_quantized
from benchmarks.compiler_tables import tuning_page
from benchmarks.export import export
from benchmarks.options import again_option, models_option, results_option, threads_option
from benchmarks.processes import ToolError, run_tool
from benchmarks.results import Results, revision
from infini_ir.models import zoo

F32 = (
    "bert", "gpt2", "minilm", "resnet50", "mobilenetv2", "vit_b16", "light_squeezenet",
    "light_densenet121", "yolox_nano",
)  # fmt: skip
MODELS = {"f32": F32, "bf16": ("resnet50", "bert"), "int8": ("resnet50_qdq", "bert_qdq")}
BESIDE = 240.0
"""Seconds that compiling may take beside the budget."""


@click.command()
@models_option
@click.option("--budget", default=60.0, show_default=True, help="Seconds for each model.")
@threads_option
@again_option
@results_option
def main(models: str | None, budget: float, threads: int, again: bool, folder: Path) -> None:
    """Tune models, and keep how near to it they were; 1 where that fails."""
    results = Results.read("tuning", folder)
    results.describe(threads)
    chosen = [c for c in cases() if models is None or c[0] in models.split(",")]
    wanted = [c for c in chosen if again or not results.done(c[0], threads)]
    for name, model, precision in track(wanted, "tuning", console=Console(stderr=True)):
        results.rows[name] = measure(model, precision, budget, threads)
        results.write()
    print(tuning_page(results))
    sys.exit(any("problem" in results.rows[name] for name, *_ in chosen))


def cases() -> Iterator[tuple[str, zoo.Model, str]]:
    """Names of rows, models, and precisions of what no quantiser touched."""
    known = zoo.measured()
    for mode, names in MODELS.items():
        for name in names:
            if reason := known[name].missing():
                print(f"{name} is left out: {reason}", file=sys.stderr)
            elif is_quantized(mode):
                yield name, known[name], "f32"
            else:
                yield f"{name} {mode}", known[name], mode


def measure(model: zoo.Model, precision: str, budget: float, threads: int) -> dict[str, Any]:
    """The row of a model."""
    base = {"revision": revision(), "threads": threads, "failed": {}}
    with tempfile.TemporaryDirectory() as folder:
        path = export(model, Path(folder))
        arguments = ["tune", str(path), "--data", str(path.with_suffix(".npz")), "--json"]
        arguments += ["--budget", str(budget), "--threads", str(threads)]
        arguments += ["--precision", precision, "--cache", str(Path(folder) / "cache")]
        try:
            facts = json.loads(run_tool(arguments, budget + BESIDE))
        except ToolError as error:
            return base | {"problem": str(error)}
    return base | short_row(facts)


def short_row(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of the facts of `infini tune`; `most` is what gained most of the call."""
    kernels = facts["kernels"]
    planned, tuned = (sum(k[f"{w}_seconds"] for k in kernels) for w in ("planned", "tuned"))
    faster = [k for k in kernels if k["change"] and k["tuned_seconds"] < k["planned_seconds"]]
    most = max(faster, key=lambda k: k["planned_seconds"] - k["tuned_seconds"], default=None)
    return {
        "planned_seconds": planned,
        "tuned_seconds": tuned,
        "reached": facts["reached"],
        "tried": len(facts["trials"]),
        "rounds": facts["rounds"],
        "complete": facts["complete"],
        "most": None
        if most is None
        else {
            "kernel": most["kernel"],
            "gain": 1 - most["tuned_seconds"] / most["planned_seconds"],
            "change": most["change"],
        },
    }


if __name__ == "__main__":
    main()
