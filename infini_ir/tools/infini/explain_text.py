"""What `infini explain` found, as tables and lines for people."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import click

from infini_ir.tools.infini.show import print_facts, print_table, size_text, time_text

_ORIGIN_LENGTH = 110
"""Characters of a kernel's origin in the table; --json has all of them."""
_SHORT_ORIGIN_LENGTH = 40
"""The same beside measured times."""

Entry = Mapping[str, Any]
Column = tuple[str, bool, Callable[[Entry], str]]
"""Title, whether it is a number, and its cell."""


def print_facts_of(facts: dict[str, Any], by: str) -> None:
    """Print the table of launches or of kernels, the decisions, and the sums.

    Measured times push the reasons out: they are those of the same command without them.
    """
    totals = facts["totals"]
    entries = facts["launches" if by == "launch" else "kernels"]
    columns = _columns(totals, by)
    print_table(
        [title for title, _, _ in columns],
        [[cell(entry) for _, _, cell in columns] for entry in entries],
        right=[title for title, number, _ in columns if number],
    )
    if totals["measured_seconds"] is None and totals["alone_seconds"] is None:
        _print_reasons(facts, entries, by)
    sizes = ", ".join(f"{name}={size}" for name, size in facts["sizes"].items())
    lines = {"sizes": sizes} if sizes else {}
    print_facts({**lines, **summary(facts)})


def _print_reasons(facts: dict[str, Any], entries: list[dict[str, Any]], by: str) -> None:
    for entry in entries:
        if entry["plan_reason"]:
            number = f"#{entry['number']} " if by == "launch" else ""
            click.echo(f"  {number}{entry['kernel']}: {entry['plan_reason']}")
    if facts["decisions"]:
        click.echo("\ndecisions")
        for entry in facts["decisions"]:
            click.echo(
                f"  {entry['by']}: {entry['subject']}: {entry['choice']} "
                f"({entry['reason']}{worth_text(entry)})"
            )
        worth = sum(entry["worth_seconds"] or 0.0 for entry in facts["decisions"])
        click.echo(f"  all that is about traffic together: {_signed(worth)}")
    click.echo()


def worth_text(decision: Entry) -> str:
    """What a decision is worth, to follow its reason."""
    worth = decision["worth_seconds"]
    return "" if worth is None else f"; {_signed(worth)}"


def _signed(seconds: float) -> str:
    return f"{'saves' if seconds >= 0 else 'costs'} about {time_text(abs(seconds))}"


def summary(facts: dict[str, Any]) -> dict[str, str]:
    """The machine, the sums over all launches, and where the time of a call goes."""
    totals = facts["totals"]
    lines = {
        "machine": machine_text(facts["machine"]),
        "totals": (
            f"{totals['launches']} launches, {size_text(totals['bytes'])}, "
            f"{totals['operations']:.3g} operations, at least {time_text(totals['limit_seconds'])}"
        ),
    }
    if totals["alone_seconds"] is not None:
        lines["alone"] = f"{time_text(totals['alone_seconds'])}, each launch repeated alone"
    if "call_seconds" not in totals:
        return lines
    call = totals["call_seconds"]

    def part(key: str) -> str:
        return f"{time_text(totals[key])} ({100 * totals[key] / call:.1f}%)"

    lines["a call"] = (
        f"{time_text(call)}: {100 * totals['fraction_of_limit']:.0f}% of the machine's limit; "
        f"{totals['workers']} of {facts['machine']['threads']} threads worked"
    )
    lines["in launches"] = (
        f"{part('in_launches_seconds')}; unevenly shared {part('uneven_seconds')}"
    )
    if totals["alone_seconds"] is not None:
        colder = totals["in_launches_seconds"] - totals["alone_seconds"]
        lines["operands"] = f"{colder / call:+.1%} of the call against each launch alone"
    lines["barriers"] = f"{part('barrier_seconds')}, {totals['barriers']} of them"
    lines["other native"] = f"{part('rest_of_native_seconds')}: waking threads, host program"
    lines["outside"] = f"{part('outside_native_seconds')}: checking inputs, making outputs"
    lines["timing"] = (
        f"{part_more(totals)} for the notes of the timed program; mean of the quieter "
        f"{totals['calls']} calls"
    )
    return lines


def part_more(totals: Entry) -> str:
    """What the timed program takes more."""
    return f"{totals['timed_call_seconds'] / totals['call_seconds'] - 1:+.1%}"


def machine_text(machine: Entry) -> str:
    """The limits in words."""
    parts = [f"{machine['memory_gb_per_second']:.3g} GB/s from memory"]
    for level in ("l2", "l1"):
        if machine[f"{level}_bytes"]:
            rate, size = machine[f"{level}_gb_per_second"], size_text(machine[f"{level}_bytes"])
            parts.append(f"{rate:.3g} GB/s from {size} of {level.upper()}")
    threads = f"{machine['threads']} threads" if machine["threads"] != 1 else "1 thread"
    rates = [f"{kind} {rate:,.0f}" for kind, rate in machine["gflops_by_type"].items()]
    others = f" ({', '.join(rates)})" if rates else ""
    return f"{threads}: {machine['gflops']:,.0f} GFLOP/s{others}, {', '.join(parts)}"


def shortened(text: str, length: int = _ORIGIN_LENGTH) -> str:
    """The beginning and the end of a long text: what is made and why, not of which nodes;
    in little space the beginning of what is made."""
    if len(text) <= length:
        return text
    if length < _ORIGIN_LENGTH:
        made = text.partition(" (")[0]
        return made if len(made) <= length else f"{made[: length - 4]} ..."
    part = length // 2
    return f"{text[:part]} ... {text[-part:]}"


def _columns(totals: Entry, by: str) -> list[Column]:
    measured, alone = (totals[f"{k}_seconds"] is not None for k in ("measured", "alone"))
    length = _SHORT_ORIGIN_LENGTH if measured or alone else _ORIGIN_LENGTH
    columns: list[Column] = []
    if by == "launch":
        columns += [
            ("#", True, lambda e: str(e["number"])),
            ("kernel", False, lambda e: e["kernel"] + (" (one thread)" if e["serial"] else "")),
            ("made from", False, lambda e: _origin(e, length)),
        ]
    else:
        columns += [
            ("kernel", False, lambda e: e["kernel"]),
            ("times", True, lambda e: str(len(e["launches"]))),
            ("made from", False, lambda e: shortened(e["origin"], length)),
        ]
    columns += [
        ("tiles", False, _tiles),
        ("traffic", True, lambda e: size_text(e["bytes"])),
        ("operations", True, lambda e: f"{e['operations']:.3g}"),
        ("limit", True, lambda e: time_text(e["limit_seconds"])),
        ("by", False, lambda e: e["limit"]),
    ]
    if measured:
        call = totals["call_seconds"]
        columns += [
            ("measured", True, lambda e: time_text(e["measured_seconds"])),
            ("share", True, lambda e: f"{100 * e['measured_seconds'] / call:.1f}%"),
            ("of limit", True, lambda e: _of_limit(e, "measured_seconds")),
        ]
    if alone:
        columns.append(("alone", True, lambda e: time_text(e["alone_seconds"])))
        if not measured:
            columns.append(("of limit", True, lambda e: _of_limit(e, "alone_seconds")))
    return columns


def _origin(entry: Entry, length: int) -> str:
    if not entry["inside"]:
        return shortened(entry["origin"] or entry["node"], length)
    turns = f"{entry['turns']:.0f} turns" if entry["turns"] != 1 else "in a branch or loop"
    return f"{shortened(entry['origin'] or entry['node'], length)} ({turns})"


def _of_limit(entry: Entry, key: str) -> str:
    taken = entry[key]
    return f"{100 * entry['limit_seconds'] / taken:.0f}%" if taken else "-"


def _tiles(entry: Entry) -> str:
    return " ".join(
        f"{name}={'all' if size >= 1 << 30 else size}" for name, size in entry["tiles"].items()
    )
