"""Every model against every engine: `python -m benchmarks.models`.

Each model is measured by `infini bench` in a process of its own, and its row kept in
`benchmarks/results` as it is done: a run that is broken off goes on where it was. Rows of the
same commit are not measured again, unless `--again` asks for it. Without `--cold` nothing is
said of what preparing `torch` costs, which keeps what it compiled; the next run has it. With `--busy`
other processes want the processors too; these rows are kept apart.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import track

from benchmarks.cases import MODES, Case, cases
from benchmarks.model_tables import models_table
from benchmarks.options import (
    again_option,
    models_option,
    results_option,
    rounds_option,
    threads_option,
)
from benchmarks.processes import ToolError, busy_processes, run_tool
from benchmarks.results import Results, revision
from benchmarks.tables import failures, summary_lines
from infini_ir.tools.engines.engine import OURS, choose_engines
from infini_ir.utils.errors import InfiniError

ENGINES = ("onnxruntime", "openvino", "torch")
LIMIT = 400.0
"""Seconds that one model may take."""


@click.command()
@click.option(
    "--precision",
    "modes",
    type=click.Choice(list(MODES)),
    multiple=True,
    default=("f32",),
    show_default=True,
    help="May be given several times. int8 is the quantised networks.",
)
@models_option
@click.option(
    "--against",
    default=None,
    help="Engines, separated by commas; onnxruntime, openvino and torch if installed.",
)
@threads_option
@rounds_option(10)
@click.option("--cold", is_flag=True, help="Compile time and memory in fresh processes.")
@again_option
@click.option(
    "--busy", type=click.IntRange(min=0), default=0, help="Processes that keep processors busy."
)
@click.option("--missing", is_flag=True, help="Only rows that are not there, of any commit.")
@results_option
@click.option("--plot", metavar="FILE", help="A .png or .svg of one precision's rows.")
def main(
    modes: tuple[str, ...],
    models: str | None,
    against: str | None,
    threads: int,
    rounds: int,
    cold: bool,
    again: bool,
    busy: int,
    missing: bool,
    folder: Path,
    plot: str | None,
) -> None:
    """Measure every model of the zoo; 1 where one of ours fails."""
    engines = choose_engines([against] if against else [e for e in ENGINES if _has(e)])
    left_out = [name for name in ENGINES if name not in engines]
    if left_out:
        print(f"left out: {', '.join(left_out)}", file=sys.stderr)
    failed = False
    for mode in modes:
        results = Results.read(f"models-{mode}{f'-busy{busy}' if busy else ''}", folder)
        results.describe(threads, engines)
        chosen = [c for c in cases(mode) if models is None or c.name in models.split(",")]
        wanted = [c for c in chosen if again or not results.done(c.name, threads)]
        if missing:
            wanted = [c for c in wanted if "seconds" not in results.rows.get(c.name, {})]
        for case in track(wanted, mode, console=Console(stderr=True)):
            with busy_processes(busy):
                row = measure(case, MODES[mode], engines, threads, rounds, cold)
            keep_costs(row, results.rows.get(case.name, {}))
            results.rows[case.name] = row
            results.write()
        failed |= any("problem" in results.rows[c.name] for c in chosen)
        print(f"\n{mode}\n\n{models_table(results)}\n")
        print("\n".join([*summary_lines(results), *failures(results)]))
        if plot is not None:
            draw_rows(plot, results)
    sys.exit(failed)


def _has(engine: str) -> bool:
    return engine in choose_engines(["all"])


def measure(
    case: Case, precision: str, engines: list[str], threads: int, rounds: int, cold: bool
) -> dict[str, Any]:
    """A row of numbers, or of what went wrong."""
    base = {"revision": revision(), "threads": threads}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "row.json"
        command = ["bench", case.model, "--json", str(path)]
        command += ["--threads", str(threads), "--rounds", str(rounds)]
        command += ["--precision", precision, "--cold" if cold else "--no-cold"]
        command += [part for engine in engines for part in ("--against", engine)]
        command += ["--shape", case.shape] if case.shape is not None else []
        try:
            run_tool(command, LIMIT)
        except ToolError as error:
            return base | {"problem": str(error)}
        (facts,) = json.loads(path.read_text())["models"]
    return base | short_row(facts)


def short_row(facts: dict[str, Any]) -> dict[str, Any]:
    """What is kept of the facts of `infini bench`."""
    keys = ("wall_seconds", "cpu_seconds", "peak_memory_bytes")
    return {
        "sizes": facts["sizes"],
        "rounds": facts["rounds"],
        "seconds": {name: times["median"] for name, times in facts["times"].items()},
        "best": {name: times["min"] for name, times in facts["times"].items()},
        "ratios": facts["ratios"],
        "precisions": facts["precisions"],
        "reference": facts.get("reference"),
        "errors": {
            name: max((float(e) for e in errors.values()), default=0.0)
            for name, errors in facts.get("errors", {}).items()
        },
        "cold": {
            name: {key: cost[key] for key in keys if key in cost}
            for name, cost in facts["cold"].items()
        },
        "failed": facts["failed"],
    }


def keep_costs(row: dict[str, Any], before: dict[str, Any]) -> None:
    """What fresh processes told of other engines stays; it is long to measure."""
    for name, cost in before.get("cold", {}).items():
        known = row.get("cold", {})
        if name in row.get("seconds", {}) and name != OURS and "peak_memory_bytes" in cost:
            known[name] = cost | known.get(name, {})


def draw_rows(path: str, results: Results) -> None:
    """The picture of `infini bench --plot`, of kept rows."""
    from infini_ir.tools.plots import check_plot, draw

    check_plot(path)
    rows = [
        {
            "model": name,
            "times": {engine: {"median": s} for engine, s in row["seconds"].items()},
            "ratios": row["ratios"],
            "precisions": row["precisions"],
        }
        for name, row in results.rows.items()
        if "problem" not in row
    ]
    draw(path, rows, results.machine)


if __name__ == "__main__":
    try:
        main()
    except InfiniError as error:
        sys.exit(f"error: {error}")
