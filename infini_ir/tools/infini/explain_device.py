"""`infini explain` for devices other than this machine's processor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from infini_ir.utils.errors import OptionError

if TYPE_CHECKING:
    from infini_ir.compiler import Options

_HIDDEN = ("reason",)
"""Entries of plans that have lines of their own."""


def explain_device(
    model: str, options: Options, given: dict[str, int], tell: Any
) -> dict[str, Any]:
    """Everything there is to say, as plain data."""
    from infini_ir.compiler import Compilation
    from infini_ir.lowering.graph_to_tile import GraphToTilePass
    from infini_ir.targets.programs import remove_unused
    from infini_ir.tools.device_launches import device_launches, work_of
    from infini_ir.tools.infini.explain import sizes_of

    compilation = Compilation(options, tell)
    module = compilation.import_model(model)
    compilation.graph_passes(module)
    tiles = module.clone()
    GraphToTilePass().apply(compilation.ctx, tiles)
    sizes = sizes_of(tiles, given)
    known = work_of(tiles, sizes)
    compilation.lower(module)
    remove_unused(module)
    launches = device_launches(module, sizes, known, compilation.target)
    tell("generating code", 3, 4)
    found = resources_of(compilation.target.build(module, compilation.ctx))
    for launch in launches:
        launch.resources = found.get(launch.kernel, {})
    limits = compilation.target.device_limits
    seconds = [launch.seconds for launch in launches if launch.seconds is not None]
    return {
        "model": model,
        "target": options.target,
        "sizes": sizes,
        "board": None if limits is None else limits.board,
        "launches": [launch.to_json() for launch in launches],
        "totals": {
            "launches": len(launches),
            "bytes": sum(launch.traffic for launch in launches),
            "operations": sum(launch.work.operations for launch in launches),
            "limit_seconds": sum(seconds) if limits is not None else None,
        },
        "decisions": [
            {"by": d.by, "subject": d.subject, "choice": d.choice, "reason": d.reason}
            for d in compilation.ctx.decisions
        ],
        "passes": [*compilation.report["passes"], *compilation.report["tile_passes"]],
    }


def resources_of(built: Any) -> dict[str, dict[str, Any]]:
    """What the machine code of each kernel uses, by the kernel's name; nothing for sources."""
    from infini_ir.runtime.program import Program

    if not isinstance(built, Program) or built.metadata.target != "nvidia":
        return {}
    from infini_ir.targets.nvidia.program import compiled_kernels
    from infini_ir.targets.nvidia.resources import kernel_resources

    found: dict[str, dict[str, Any]] = {}
    for kernel in compiled_kernels(built):
        found.setdefault(kernel.function, kernel_resources(kernel).to_dict())
    return found


def refuse_measuring(options: Options) -> None:
    """`--measure`, `--peak` and `--bandwidth` are about this machine's processor."""
    raise OptionError(
        f"--measure, --peak and --bandwidth are for the cpu, not for '{options.target}'; "
        "`python -m benchmarks.gpu` measures on a GPU"
    )


def print_device(facts: dict[str, Any]) -> None:
    """The same for people."""
    from infini_ir.tools.infini.show import print_facts, print_table, size_text, time_text

    timed = facts["totals"]["limit_seconds"] is not None
    coded = any(entry["resources"] for entry in facts["launches"])
    columns = ["#", "kernel", "made from", "plan", "traffic", "operations"]
    columns += ["limit", "by"] if timed else []
    columns += ["registers", "shared", "spills", "tensor"] if coded else []
    right = [c for c in columns if c not in ("kernel", "made from", "plan", "by")]
    rows = [_row(entry, timed, coded) for entry in facts["launches"]]
    print_table(columns, rows, right=right)
    for entry in facts["launches"]:
        if entry["plan"].get("reason"):
            click.echo(f"  #{entry['number']} {entry['kernel']}: {entry['plan']['reason']}")
    totals = facts["totals"]
    text = (
        f"{totals['launches']} launches, {size_text(totals['bytes'])}, "
        f"{totals['operations']:.3g} operations"
    )
    if timed:
        text += f", at least {time_text(totals['limit_seconds'])} on {facts['board']}"
    sizes = ", ".join(f"{name}={size}" for name, size in facts["sizes"].items())
    click.echo()
    print_facts({**({"sizes": sizes} if sizes else {}), "totals": text})


def _row(entry: dict[str, Any], timed: bool, coded: bool) -> list[str]:
    from infini_ir.tools.infini.explain_text import shortened
    from infini_ir.tools.infini.show import size_text, time_text

    plan = " ".join(
        f"{name}={value}" for name, value in entry["plan"].items() if name not in _HIDDEN
    )
    row = [
        str(entry["number"]),
        entry["kernel"],
        shortened(entry["origin"] or entry["node"]),
        plan,
        size_text(entry["bytes"]),
        f"{entry['operations']:.3g}",
    ]
    if timed:
        row += [time_text(entry["limit_seconds"]), entry["limit"]]
    if coded:
        used = entry["resources"]
        names = ("registers", "shared", "spills", "tensor")
        row += [str(used.get(name, "")) for name in names]
    return row
