"""`infini explain`: what a model becomes, why, and how far each kernel is from the limit."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from infini_ir.tools.infini.options import (
    compile_options,
    json_option,
    make_options,
    parse_overrides,
    parse_sizes,
    shape_option,
    threads_option,
)

if TYPE_CHECKING:
    from infini_ir.compiler import Compilation, Options
    from infini_ir.tools.launches import Launch
    from infini_ir.tools.machine import Machine

_ORIGIN_LENGTH = 110
"""Characters of a kernel's origin in the table; --json has all of them."""


@click.command()
@click.argument("model")
@click.option(
    "--input", "inputs", metavar="NAME=SHAPE", multiple=True, help="Shape of an input."
)
@shape_option
@click.option("--measure", is_flag=True, help="Time every launch, repeated alone.")
@click.option("--peak", type=float, metavar="GFLOPS", help="Arithmetic limit, else measured.")
@click.option("--bandwidth", type=float, metavar="GB/S", help="Memory limit, else measured.")
@compile_options
@threads_option
@json_option
def command(
    model: str,
    inputs: tuple[str, ...],
    sizes: tuple[str, ...],
    measure: bool,
    peak: float | None,
    bandwidth: float | None,
    target: str,
    precision: str,
    library: bool,
    tune: str | None,
    check_semantics: bool,
    no_cache: bool,
    threads: int | None,
    as_json: bool,
) -> None:
    """Explain the kernels of an ONNX MODEL: origin, tiles, traffic, limits, decisions."""
    from infini_ir.tools.infini.explain_device import (
        explain_device,
        print_device,
        refuse_measuring,
    )
    from infini_ir.tools.infini.progress import progress
    from infini_ir.tools.infini.show import print_json

    overrides, given = parse_overrides(inputs), parse_sizes(sizes)
    options = make_options(
        target, precision, check_semantics, no_cache, threads, overrides, library, tune
    )
    if not options.target.startswith("cpu"):
        if measure or peak is not None or bandwidth is not None:
            refuse_measuring(options)
        with progress(f"explaining {model}") as tell:
            facts = explain_device(model, options, given, tell)
        (print_json if as_json else print_device)(facts)
        return
    with progress(f"explaining {model}") as tell:
        facts = explain(model, options, given, measure, peak, bandwidth, tell)
    if as_json:
        print_json(facts)
    else:
        _print(facts)


def explain(
    model: str,
    options: Options,
    given: dict[str, int],
    measure: bool,
    peak: float | None,
    bandwidth: float | None,
    tell: Any,
) -> dict[str, Any]:
    """Everything there is to say, as plain data."""
    from infini_ir.compiler import Compilation
    from infini_ir.runtime.executor import choose_threads
    from infini_ir.targets.programs import remove_unused
    from infini_ir.tools.launches import launches_of

    compilation = Compilation(options, tell)
    module = compilation.import_model(model)
    compilation.graph_passes(module)
    compilation.lower(module)
    remove_unused(module)
    tell("measuring the machine", 3, 4)
    threads = choose_threads(options.threads)
    machine = _machine(threads, peak, bandwidth)
    sizes = sizes_of(module, given)
    launches = launches_of(module, sizes, machine)
    if measure:
        _measure(launches, compilation, compilation.target, sizes, threads, tell)
    return _facts(model, options, compilation, launches, sizes, machine)


def _machine(threads: int, peak: float | None, bandwidth: float | None) -> Machine:
    from infini_ir.tools.machine import Machine, known_machine

    if peak is not None and bandwidth is not None:
        return Machine(threads, peak * 1e9, bandwidth * 1e9)
    machine = known_machine(threads)
    if peak is not None:
        machine = replace(machine, flops=peak * 1e9)
    if bandwidth is not None:
        machine = replace(machine, memory=bandwidth * 1e9, l1_bytes=0, l2_bytes=0)
    return machine


def sizes_of(module: Any, given: dict[str, int]) -> dict[str, int]:
    """A size for every symbol of the program; those that the model computes are guesses."""
    from infini_ir.targets.programs import program_of, signature_of
    from infini_ir.tools.infini.inputs import choose_sizes, usual_size
    from infini_ir.tools.launches import symbols_in

    inner = symbols_in(module)
    specs, _ = signature_of(program_of(module))
    known = {name for spec in specs for name in spec.symbols()} | set(inner)
    sizes = choose_sizes(specs, {k: v for k, v in given.items() if k not in inner}, {})
    sizes |= {name: usual_size(name) for name in inner if name not in sizes}
    return sizes | {name: size for name, size in given.items() if name in known}


def _measure(
    launches: list[Launch],
    compilation: Compilation,
    target: Any,
    sizes: dict[str, int],
    threads: int,
    tell: Any,
) -> None:
    from infini_ir.tools.launch_timing import measure_launch

    known: dict[tuple[Any, ...], float] = {}
    for launch in launches:
        tell(f"measuring {launch.name}", launch.number, len(launches))
        views = [view.type for view in launch.op.views]
        key = (launch.name, *views, *(launch.op.views.index(v) for v in launch.op.views))
        if key not in known:
            known[key] = measure_launch(launch, compilation.ctx, target, sizes, threads)
        launch.measured = known[key]


def _facts(
    model: str,
    options: Options,
    compilation: Compilation,
    launches: list[Launch],
    sizes: dict[str, int],
    machine: Machine,
) -> dict[str, Any]:
    measured = [launch.measured for launch in launches if launch.measured is not None]
    return {
        "model": model,
        "target": options.target,
        "sizes": sizes,
        "machine": {
            "threads": machine.threads,
            "gflops": machine.flops / 1e9,
            "memory_gb_per_second": machine.memory / 1e9,
            "l1_gb_per_second": machine.l1 / 1e9,
            "l1_bytes": machine.l1_bytes,
            "l2_gb_per_second": machine.l2 / 1e9,
            "l2_bytes": machine.l2_bytes,
        },
        "launches": [launch.to_json() for launch in launches],
        "totals": {
            "launches": len(launches),
            "bytes": sum(launch.traffic for launch in launches),
            "operations": sum(launch.operations for launch in launches),
            "limit_seconds": sum(launch.seconds for launch in launches),
            "measured_seconds": sum(measured) if measured else None,
        },
        "decisions": [
            {"by": d.by, "subject": d.subject, "choice": d.choice, "reason": d.reason}
            for d in compilation.ctx.decisions
        ],
        "passes": [*compilation.report["passes"], *compilation.report["tile_passes"]],
    }


# For people


def _print(facts: dict[str, Any]) -> None:
    from infini_ir.tools.infini.show import print_facts, print_table, size_text, time_text

    machine, totals = facts["machine"], facts["totals"]
    columns = ["#", "kernel", "made from", "tiles", "traffic", "operations", "limit", "by"]
    right = ["#", "traffic", "operations", "limit"]
    with_times = totals["measured_seconds"] is not None
    if with_times:
        columns += ["measured", "of limit"]
        right += ["measured", "of limit"]
    print_table(columns, [_row(entry, with_times) for entry in facts["launches"]], right=right)
    for entry in facts["launches"]:
        if entry["plan_reason"]:
            click.echo(f"  #{entry['number']} {entry['kernel']}: {entry['plan_reason']}")
    if facts["decisions"]:
        click.echo("\ndecisions")
        for entry in facts["decisions"]:
            click.echo(
                f"  {entry['by']}: {entry['subject']}: {entry['choice']} ({entry['reason']})"
            )
    click.echo()
    sizes = ", ".join(f"{name}={size}" for name, size in facts["sizes"].items())
    lines = {"sizes": sizes} if sizes else {}
    lines["machine"] = _machine_text(machine)
    lines["totals"] = (
        f"{totals['launches']} launches, {size_text(totals['bytes'])}, "
        f"{totals['operations']:.3g} operations, at least {time_text(totals['limit_seconds'])}"
    )
    if with_times:
        lines["measured"] = (
            f"{time_text(totals['measured_seconds'])}, each launch repeated alone"
        )
    print_facts(lines)


def _machine_text(machine: dict[str, Any]) -> str:
    from infini_ir.tools.infini.show import size_text

    parts = [f"{machine['memory_gb_per_second']:.3g} GB/s from memory"]
    for level in ("l2", "l1"):
        if machine[f"{level}_bytes"]:
            rate, size = machine[f"{level}_gb_per_second"], size_text(machine[f"{level}_bytes"])
            parts.append(f"{rate:.3g} GB/s from {size} of {level.upper()}")
    threads = f"{machine['threads']} threads" if machine["threads"] != 1 else "1 thread"
    return f"{threads}: {machine['gflops']:.4g} GFLOP/s, {', '.join(parts)}"


def shortened(text: str) -> str:
    """The beginning and the end of a long text: what is made and why, not of which nodes."""
    if len(text) <= _ORIGIN_LENGTH:
        return text
    part = _ORIGIN_LENGTH // 2
    return f"{text[:part]} ... {text[-part:]}"


def _row(entry: dict[str, Any], with_times: bool) -> list[str]:
    from infini_ir.tools.infini.show import size_text, time_text

    tiles = " ".join(
        f"{name}={'all' if size >= 1 << 30 else size}" for name, size in entry["tiles"].items()
    )
    place = " (in a branch or loop)" if entry["inside"] else ""
    row = [
        str(entry["number"]),
        entry["kernel"] + (" (one thread)" if entry["serial"] else ""),
        shortened(entry["origin"] or entry["node"]) + place,
        tiles,
        size_text(entry["bytes"]),
        f"{entry['operations']:.3g}",
        time_text(entry["limit_seconds"]),
        entry["limit"],
    ]
    if with_times:
        measured = entry["measured_seconds"]
        row += [time_text(measured), f"{100 * entry['limit_seconds'] / measured:.0f}%"]
    return row
