"""`infini explain`: what a model becomes, why, and how far each kernel is from the limit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import click

from infini_ir.tools.infini.options import (
    Compiling,
    compile_options,
    data_option,
    input_shape_option,
    json_option,
    parse_overrides,
    parse_sizes,
    shape_option,
)
from infini_ir.utils.errors import OptionError

if TYPE_CHECKING:
    import numpy as np
    from xdsl.dialects.builtin import ModuleOp

    from infini_ir.compiler import Compilation, Observer, Options
    from infini_ir.dialects.context import Decision
    from infini_ir.runtime.signature import TensorSpec
    from infini_ir.targets.cpu.timing.in_place import CallTimes
    from infini_ir.tools.infini.progress import Tell
    from infini_ir.tools.launches import Launch
    from infini_ir.tools.machine import Machine


@click.command()
@click.argument("model")
@input_shape_option
@shape_option
@click.option(
    "--measure",
    is_flag=False,
    flag_value="both",
    type=click.Choice(["place", "alone", "both"]),
    help="Time every launch: in its place in the program, alone (repeated, operands warm), or both.",
)
@data_option
@click.option(
    "--by",
    type=click.Choice(["launch", "kernel"]),
    default="launch",
    help="One line for each launch, or for each kernel with all its launches.",
)
@click.option("--html", metavar="FILE", help="Write all of it as one page for a browser.")
@click.option("--peak", type=float, metavar="GFLOPS", help="Arithmetic limit, else measured.")
@click.option("--bandwidth", type=float, metavar="GB/S", help="Memory limit, else measured.")
@click.option("--remeasure", is_flag=True, help="Measure the machine's limits again.")
@compile_options
@json_option
def command(
    model: str,
    inputs: tuple[str, ...],
    sizes: tuple[str, ...],
    measure: str | None,
    data: tuple[str, ...],
    by: str,
    html: str | None,
    peak: float | None,
    bandwidth: float | None,
    remeasure: bool,
    compiling: Compiling,
    as_json: bool,
) -> None:
    """Explain the kernels of an ONNX MODEL: origin, tiles, traffic, limits, decisions."""
    from infini_ir.tools.infini.explain_device import (
        explain_device,
        print_device,
        refuse_measuring,
    )
    from infini_ir.tools.infini.explain_text import print_facts_of
    from infini_ir.tools.infini.progress import progress
    from infini_ir.tools.infini.show import print_json

    overrides, given = parse_overrides(inputs), parse_sizes(sizes)
    options = compiling.options(overrides)
    wishes = Wishes(given, measure, data, peak, bandwidth, remeasure)
    if not options.target.startswith("cpu"):
        if wishes.measuring:
            refuse_measuring(options)
        if html is not None:
            raise OptionError("--html explains programs for the cpu; use --json for others")
        with progress(f"explaining {model}") as tell:
            facts = explain_device(model, options, given, tell)
        (print_json if as_json else print_device)(facts)
        return
    if html is not None:
        _write_page(model, options, wishes, html)
        return
    with progress(f"explaining {model}") as tell:
        facts = explain(model, options, wishes, tell).facts
    if as_json:
        print_json(facts)
    else:
        print_facts_of(facts, by)


def _write_page(model: str, options: Options, wishes: Wishes, path: str) -> None:
    from infini_ir.tools.infini.options import check_writable
    from infini_ir.tools.infini.progress import progress
    from infini_ir.tools.infini.show import size_text
    from infini_ir.tools.report.page import check_template_library, page_of
    from infini_ir.tools.report.passes import PassRecorder
    from infini_ir.utils.whole_file import write_text

    check_template_library()
    check_writable(path)
    recorder = PassRecorder()
    with progress(f"explaining {model}") as tell:
        explained = explain(model, options, wishes, tell, [recorder])
        tell("writing the page", 3, 4)
        text = page_of(explained, recorder.changes)
    write_text(path, text)
    click.echo(f"wrote: {path} ({size_text(len(text.encode()))})")


@dataclass(frozen=True)
class Wishes:
    """What to explain, beside how to compile."""

    sizes: Mapping[str, int] = field(default_factory=dict)
    """Of the model's symbols."""
    measure: str | None = None
    """`place`, `alone` or `both`."""
    data: Sequence[str] = ()
    """Inputs to measure with; the others are random."""
    peak: float | None = None
    """GFLOP/s, in the place of the measured limit."""
    bandwidth: float | None = None
    """GB/s, likewise."""
    remeasure: bool = False

    @property
    def measuring(self) -> bool:
        """Whether anything is asked that wants the device."""
        return self.measure is not None or self.peak is not None or self.bandwidth is not None


@dataclass(frozen=True)
class Explained:
    """A model, compiled and looked into."""

    facts: dict[str, Any]
    """Everything there is to say, as plain data."""
    compilation: Compilation
    module: ModuleOp
    """Legalised."""
    launches: list[Launch]
    sizes: dict[str, int]


def explain(
    model: str,
    options: Options,
    wishes: Wishes,
    tell: Tell,
    observers: Sequence[Observer] = (),
) -> Explained:
    """Compile a model and look into it. `observers` are called between passes."""
    from infini_ir.compiler import Compilation
    from infini_ir.runtime.executor import choose_threads
    from infini_ir.targets.cpu.timing.in_place import measure_in_place
    from infini_ir.targets.programs import program_of, remove_unused, signature_of
    from infini_ir.tools.infini.inputs import read_inputs
    from infini_ir.tools.launches import launches_of, set_limit

    compilation = Compilation(options, tell, observers=observers)
    module = compilation.import_model(model)
    compilation.graph_passes(module)
    compilation.lower(module)
    remove_unused(module)
    tell("measuring the machine", 3, 4)
    threads = choose_threads(options.threads)
    machine = _machine(threads, wishes)
    specs, _ = signature_of(program_of(module))
    arrays = read_inputs(wishes.data, specs)
    sizes = sizes_of(module, wishes.sizes, arrays)
    launches = launches_of(module, sizes, machine)
    times: CallTimes | None = None
    if wishes.measure in ("place", "both"):
        tell("measuring the program", 3, 4)
        values = _values(specs, sizes, arrays)
        target: Any = compilation.target
        times = measure_in_place(module, compilation.ctx, target, threads, values)
        for launch in launches:
            launch.timing = times.launches[launch.op]
    if wishes.measure in ("alone", "both"):
        _measure_alone(launches, compilation, sizes, threads, tell)
    if times is not None and _faster_than_limits(launches):
        # What was kept was measured while something else ran.
        tell("measuring the machine again", 3, 4)
        machine = _machine(threads, replace(wishes, remeasure=True))
        for launch in launches:
            set_limit(launch, machine)
    facts = _facts(model, options, compilation, launches, sizes, machine, times)
    return Explained(facts, compilation, module, launches, sizes)


def _faster_than_limits(launches: Sequence[Launch]) -> bool:
    """Whether all launches, or those that arithmetic bounds, take less than they can: bytes
    of a single one may lie in a cache that processors share."""

    def too_fast(chosen: Sequence[Launch]) -> bool:
        measured = sum(x.timing.seconds for x in chosen if x.timing is not None)
        return measured < sum(launch.limit for launch in chosen)

    computing = [launch for launch in launches if launch.bound.endswith("compute")]
    return too_fast(launches) or too_fast(computing)


def _machine(threads: int, wishes: Wishes) -> Machine:
    from infini_ir.tools.machine import Machine, known_machine

    peak, bandwidth = wishes.peak, wishes.bandwidth
    if peak is not None and bandwidth is not None:
        return Machine(threads, peak * 1e9, bandwidth * 1e9)
    machine = known_machine(threads, again=wishes.remeasure)
    if peak is not None:
        machine = replace(machine, flops=peak * 1e9)
    if bandwidth is not None:
        machine = replace(machine, memory=bandwidth * 1e9, l1_bytes=0, l2_bytes=0)
    return machine


def _values(
    specs: Sequence[TensorSpec], sizes: Mapping[str, int], arrays: Mapping[str, np.ndarray]
) -> list[np.ndarray]:
    from infini_ir.runtime.samples import random_inputs

    missing = [spec for spec in specs if spec.name not in arrays]
    known = {**random_inputs(missing, sizes, 0), **arrays}
    return [known[spec.name] for spec in specs]


def sizes_of(
    module: Any, given: Mapping[str, int], arrays: Mapping[str, np.ndarray] | None = None
) -> dict[str, int]:
    """A size for every symbol of the program; those that the model computes are guesses."""
    from infini_ir.runtime.samples import choose_sizes, usual_size
    from infini_ir.targets.programs import program_of, signature_of
    from infini_ir.tools.launches import symbols_in

    inner = symbols_in(module)
    specs, _ = signature_of(program_of(module))
    known = {name for spec in specs for name in spec.symbols()} | set(inner)
    wanted = {k: v for k, v in given.items() if k not in inner}
    sizes = choose_sizes(specs, wanted, arrays or {})
    sizes |= {name: usual_size(name) for name in inner if name not in sizes}
    return sizes | {name: size for name, size in given.items() if name in known}


def _measure_alone(
    launches: list[Launch],
    compilation: Compilation,
    sizes: dict[str, int],
    threads: int,
    tell: Tell,
) -> None:
    from infini_ir.tools.launch_timing import measure_launch

    target: Any = compilation.target
    known: dict[tuple[Any, ...], float] = {}
    for launch in launches:
        tell(f"measuring {launch.name}", launch.number, len(launches))
        views = [view.type for view in launch.op.views]
        key = (launch.name, *views, *(launch.op.views.index(v) for v in launch.op.views))
        if key not in known:
            known[key] = measure_launch(launch, compilation.ctx, target, sizes, threads)
        launch.alone = known[key]


def _facts(
    model: str,
    options: Options,
    compilation: Compilation,
    launches: list[Launch],
    sizes: dict[str, int],
    machine: Machine,
    times: CallTimes | None,
) -> dict[str, Any]:
    entries = [launch.to_json() for launch in launches]
    return {
        "model": model,
        "target": options.target,
        "precision": options.precision,
        "sizes": sizes,
        "machine": machine_facts(machine),
        "launches": entries,
        "kernels": kernels_of(entries),
        "totals": totals_of(entries, times),
        "decisions": [
            decision_facts(decision, sizes, machine) for decision in compilation.ctx.decisions
        ],
        "passes": [*compilation.report["passes"], *compilation.report["tile_passes"]],
    }


def decision_facts(
    decision: Decision, sizes: Mapping[str, int], machine: Machine
) -> dict[str, Any]:
    """A decision, with what its traffic is worth: the least time to move that, as for a kernel
    whose operands are in no cache that is too small for them."""
    traffic = None
    if decision.traffic is not None and decision.traffic.symbols() <= set(sizes):
        traffic = decision.traffic.evaluate(sizes)
    return {
        "by": decision.by,
        "subject": decision.subject,
        "choice": decision.choice,
        "reason": decision.reason,
        "traffic_bytes": traffic,
        "worth_seconds": None if traffic is None else machine.worth(traffic),
    }


def machine_facts(machine: Machine) -> dict[str, Any]:
    """The limits as plain data."""
    return {
        "threads": machine.threads,
        "gflops": machine.flops / 1e9,
        "gflops_by_type": {kind: rate / 1e9 for kind, rate in machine.rates.items()},
        "memory_gb_per_second": machine.memory / 1e9,
        "l1_gb_per_second": machine.l1 / 1e9,
        "l1_bytes": machine.l1_bytes,
        "l2_gb_per_second": machine.l2 / 1e9,
        "l2_bytes": machine.l2_bytes,
    }


SUMS = ("bytes", "operations", "limit_seconds", "measured_seconds", "alone_seconds")
"""Numbers of launches that add up."""


def kernels_of(launches: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The launches of each kernel together, those that take longest first."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for launch in launches:
        groups.setdefault(launch["kernel"], []).append(launch)
    kernels = [
        {
            "kernel": name,
            "launches": [launch["number"] for launch in group],
            "origin": group[0]["origin"],
            "tiles": group[0]["tiles"],
            "limit": longest(group)["limit"],
            "plan_reason": group[0]["plan_reason"],
            **{key: total(group, key) for key in SUMS},
        }
        for name, group in groups.items()
    ]
    return sorted(kernels, key=lambda k: -(k["measured_seconds"] or k["limit_seconds"]))


def longest(launches: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The launch with the highest limit."""
    return max(launches, key=lambda launch: launch["limit_seconds"])


def total(launches: Sequence[Mapping[str, Any]], key: str) -> float | None:
    """The sum of a number of all launches, None where one has none."""
    numbers = [launch[key] for launch in launches]
    return None if None in numbers else sum(numbers)


def totals_of(launches: Sequence[Mapping[str, Any]], times: CallTimes | None) -> dict[str, Any]:
    """Sums over all launches, and where the time of a call goes."""
    totals: dict[str, Any] = {"launches": len(launches)}
    totals |= {key: total(launches, key) for key in SUMS}
    if times is None:
        return totals
    return totals | {
        "call_seconds": times.call,
        "fraction_of_limit": totals["limit_seconds"] / times.call,
        "timed_call_seconds": times.timed_call,
        "in_launches_seconds": times.working,
        "uneven_seconds": times.uneven,
        "barrier_seconds": times.barriers,
        "barriers": times.barrier_count,
        "rest_of_native_seconds": times.rest,
        "outside_native_seconds": times.outside,
        "workers": times.workers,
        "calls": times.calls,
    }
