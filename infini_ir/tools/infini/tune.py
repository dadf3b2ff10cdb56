"""`infini tune`: measure plans of a model's kernels and keep the fastest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from infini_ir.tools.infini.options import (
    Compiling,
    cache_option,
    check_cache,
    data_option,
    input_shape_option,
    json_option,
    parse_overrides,
    parse_sizes,
    precision_option,
    shape_option,
    target_option,
    threads_option,
)
from infini_ir.utils.errors import OptionError

if TYPE_CHECKING:
    import numpy as np

    from infini_ir.compiler import Compilation, Options
    from infini_ir.targets.cpu.tuning.tuner import Report
    from infini_ir.tools.infini.progress import Tell

BUDGET = 60.0


@click.command()
@click.argument("model")
@input_shape_option
@shape_option
@data_option
@click.option(
    "--budget", type=click.FloatRange(min=0), default=BUDGET, help="Seconds, 60 by default."
)
@precision_option
@target_option
@cache_option
@threads_option
@json_option
def command(
    model: str,
    inputs: tuple[str, ...],
    sizes: tuple[str, ...],
    data: tuple[str, ...],
    budget: float,
    precision: str,
    target: str,
    threads: int | None,
    as_json: bool,
) -> None:
    """Measure plans of the kernels of an ONNX MODEL, and keep the fastest for later compilations.

    They are used by every compilation that has the same cache folder, processor, precision and
    threads. A search that was interrupted, or whose budget is spent, goes on where it was.
    """
    from infini_ir.tools.infini.progress import progress
    from infini_ir.tools.infini.show import print_json

    overrides, given = parse_overrides(inputs), parse_sizes(sizes)
    options = Compiling(target, precision, threads=threads).options(overrides)
    if not options.target.startswith("cpu"):
        raise OptionError(
            f"infini tune measures plans for the cpu, not for '{options.target}'; "
            "infini compile --tune measures those of a GPU that is here"
        )
    check_cache()
    try:
        with progress(f"tuning {Path(model).name}") as tell:
            facts = tune(model, options, given, data, budget, tell)
    except KeyboardInterrupt:
        click.echo("stopped: what was found is kept, and the same command goes on", err=True)
        raise
    if as_json:
        print_json(facts)
    else:
        _print(facts)


def tune(
    model: str,
    options: Options,
    sizes: dict[str, int],
    data: tuple[str, ...],
    budget: float,
    tell: Tell,
) -> dict[str, Any]:
    """Tune a model; what was found, as plain data."""
    from infini_ir.compiler import Compilation
    from infini_ir.targets.cpu.target import CpuTarget
    from infini_ir.targets.cpu.tuning.passes import tune_program
    from infini_ir.targets.programs import program_of, signature_of
    from infini_ir.tools.infini.inputs import read_inputs

    compilation = Compilation(options)
    tell("compiling", 0, 1)
    module = compilation.import_model(model)
    compilation.graph_passes(module)
    compilation.lower(module, before="cpu-plan")
    specs, _ = signature_of(program_of(module))
    arrays: dict[str, np.ndarray] = read_inputs(data, specs)
    target = compilation.target
    assert isinstance(target, CpuTarget)
    report = tune_program(
        module,
        compilation.ctx,
        target,
        sizes=sizes,
        arrays=arrays,
        budget=budget,
        tell=tell,
    )
    return _facts(model, options, compilation, report)


def _facts(
    model: str, options: Options, compilation: Compilation, report: Report
) -> dict[str, Any]:
    from dataclasses import asdict

    from infini_ir.targets.cpu.tuning.tuner import summary_of
    from infini_ir.utils.entry_folder import cache_folder

    return {
        "model": model,
        "target": options.target,
        "precision": options.precision,
        "cache": str(cache_folder()),
        "reached": report.reached,
        "rounds": report.rounds,
        "complete": report.complete,
        "broken": report.broken,
        "kernels": [
            {
                "kernel": name,
                "planned_seconds": report.planned[name],
                "tuned_seconds": report.tuned[name],
                "plan": asdict(report.plans[name]),
                "change": summary_of(report.plans[name], report.own[name])
                if report.plans[name] != report.own[name]
                else "",
            }
            for name in sorted(report.planned, key=lambda name: -report.planned[name])
        ],
        "trials": [
            {"kernel": trial.kernel, "plan": asdict(trial.plan), "gain": trial.gain}
            for trial in report.trials
        ],
    }


def _print(facts: dict[str, Any]) -> None:
    from infini_ir.targets.cpu.tuning.tuner import LEAST_SHARE
    from infini_ir.tools.infini.show import print_facts, print_table, time_text

    total = sum(kernel["planned_seconds"] for kernel in facts["kernels"]) or 1.0
    tried: dict[str, int] = {}
    for trial in facts["trials"]:
        tried[trial["kernel"]] = tried.get(trial["kernel"], 0) + 1
    rows = [
        [
            kernel["kernel"],
            f"{100 * kernel['planned_seconds'] / total:.1f}%",
            str(tried.get(kernel["kernel"], 0)),
            time_text(kernel["planned_seconds"]),
            time_text(kernel["tuned_seconds"]),
            _gain(kernel),
            kernel["change"],
        ]
        for kernel in facts["kernels"]
        if kernel["planned_seconds"] >= LEAST_SHARE * total
    ]
    columns = ["kernel", "share", "tried", "by rule", "tuned", "gain", "otherwise"]
    print_table(columns, rows, right=columns[1:-1])
    state = "nothing left to try" if facts["complete"] else "more to try with a larger --budget"
    if facts["broken"]:
        state += f"; {facts['broken']} could not be built"
    print_facts(
        {
            "untuned plans": f"reach {100 * facts['reached']:.1f}% of the speed of tuned ones",
            "tried": f"{len(facts['trials'])} plans in {facts['rounds']} rounds; {state}",
            "kept in": facts["cache"],
        }
    )


def _gain(kernel: dict[str, Any]) -> str:
    before, after = kernel["planned_seconds"], kernel["tuned_seconds"]
    return f"{100 * (1 - after / before):.0f}%" if before and after < before else ""
