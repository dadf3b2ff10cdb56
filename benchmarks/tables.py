"""Result files as Markdown tables: what all pages share, and the page of single operations."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from benchmarks.results import Results, geometric_mean
from infini_ir.tools.machine_facts import machine_text

OURS = "infini"
LOSS = 0.995
"""A ratio below it counts as a loss; what is closer to 1 is no difference."""


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; all but the first column are numbers."""
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def ratio_text(ratio: float | None) -> str:
    """A ratio, in bold where it is a loss."""
    if ratio is None:
        return "-"
    return f"**{ratio:.2f}**" if ratio < LOSS else f"{ratio:.2f}"


def time_text(seconds: float) -> str:
    """Milliseconds to three digits."""
    milliseconds = seconds * 1e3
    return f"{milliseconds:.0f}" if milliseconds >= 99.95 else f"{milliseconds:.3g}"


def measured_on(results: Results) -> str:
    """The machine, versions and date."""
    return f"Measured on {machine_text(results.machine)}."


def engines_of(results: Results) -> list[str]:
    """The others that have run anything, in the order they were measured."""
    names: dict[str, None] = {}
    for row in results.rows.values():
        names |= dict.fromkeys(row.get("ratios", {}))
    return list(names)


def good_rows(results: Results) -> Iterator[tuple[str, dict[str, Any]]]:
    """Names and rows without a problem."""
    return ((name, row) for name, row in results.rows.items() if "problem" not in row)


def best_ratio(row: dict[str, Any]) -> float | None:
    """The time of the fastest other by ours."""
    return min(row["ratios"].values(), default=None)


def mean_of(ratios: Iterable[float | None]) -> float | None:
    """The geometric mean of those that there are."""
    known = [ratio for ratio in ratios if ratio is not None]
    return geometric_mean(known) if known else None


def summary_lines(results: Results, names: Iterable[str] | None = None) -> list[str]:
    """The mean, the worst, and the number of wins against each engine and against the best
    of each row; of some rows or of all."""
    wanted = set(results.rows if names is None else names)
    rows = [(name, row) for name, row in good_rows(results) if name in wanted]
    engines = engines_of(results)
    found = {e: [(row["ratios"].get(e), name) for name, row in rows] for e in engines}
    if len(engines) > 1:
        found["the best engine of each row"] = [(best_ratio(row), name) for name, row in rows]
    lines: list[str] = []
    for engine, pairs in found.items():
        known = [(ratio, name) for ratio, name in pairs if ratio is not None]
        if not known:
            continue
        least, name = min(known)
        wins = sum(ratio >= LOSS for ratio, _ in known)
        lines.append(
            f"- {engine}: geometric mean {geometric_mean(r for r, _ in known):.2f}, worst "
            f"{least:.2f} ({name}); as fast or faster on {wins} of {len(known)}"
        )
    return lines


def failures(results: Results) -> list[str]:
    """Who failed on what, with the cause; alike ones together."""
    found: dict[tuple[str, str], list[str]] = {}
    for name, row in results.rows.items():
        failed = {OURS: row["problem"]} if "problem" in row else row["failed"]
        for engine, why in failed.items():
            found.setdefault((engine, cause_of(why)), []).append(name)
    return [f"- {e} fails on {', '.join(names)}: {why}" for (e, why), names in found.items()]


MOST_CAUSE = 100
"""Characters."""


def cause_of(reason: str) -> str:
    """What a runtime says that it cannot do, without where in its sources, and in a line."""
    text = re.sub(r"\b(Exception from|Check '[^']*' failed at) \S+:\d+:\s*", "", reason)
    text = re.sub(r"\s*(Failed operations detailed log|With traceback).*", "", text)
    listed = re.match(r"(.* for )([\w.]+(?:, [\w.]+){3,})$", text)
    if listed:
        names = listed.group(2).split(", ")
        text = f"{listed.group(1)}{', '.join(names[:2])} and {len(names) - 2} more"
    if len(text) > MOST_CAUSE:
        text = text[:MOST_CAUSE].rsplit(" ", 1)[0].rstrip(",;:") + " ..."
    return text


# Products and kernels


def rates_page(results: Results) -> str:
    """Rates of single operations: ours, its share of the machine's limit, and the others'."""
    engines = engines_of(results)
    lines = [measured_on(results), *_limits(results)]
    groups = dict.fromkeys(row.get("group", "") for row in results.rows.values())
    for group in groups:
        found = [(n, r) for n, r in results.rows.items() if r.get("group", "") == group]
        columns = ["case", "us", "rate", "of the limit", *engines, "error"]
        lines += [
            "",
            f"{group}:",
            "",
            markdown(columns, [_rate_row(n, r, engines) for n, r in found]),
        ]
    lines += ["", *summary_lines(results), *failures(results)]
    return "\n".join(lines)


def _rate_row(name: str, row: dict[str, Any], engines: Sequence[str]) -> list[str]:
    if "problem" in row:
        return [name, "failed", *[""] * (3 + len(engines))]
    seconds = row["seconds"][OURS]
    return [
        name,
        f"{seconds * 1e6:.3g}",
        _rate_text(row, seconds),
        f"{row['share']:.0%} ({row['limit']})",
        *(ratio_text(row["ratios"].get(engine)) for engine in engines),
        f"{row['errors'][OURS]:.0e}",
    ]


def _rate_text(row: dict[str, Any], seconds: float) -> str:
    """Operations a second where they count, else bytes."""
    if row["limit"].endswith("compute"):
        return f"{row['operations'] / seconds / 1e9:.3g} Gop/s"
    return f"{row['bytes'] / seconds / 1e9:.3g} GB/s"


def _limits(results: Results) -> list[str]:
    limits = results.machine.get("limits")
    if not limits:
        return []
    rates = ", ".join(f"{name} {rate / 1e9:.0f}" for name, rate in limits["operations"].items())
    beside = all("peak" in row for _, row in good_rows(results))
    shares = " Shares are of what a loop of the row's limit did in turns with it."
    return [
        "",
        f"Limits at best: 10^9 operations a second: {rates}; {limits['memory'] / 1e9:.1f} GB/s "
        f"read from memory.{shares if beside else ''}",
    ]
