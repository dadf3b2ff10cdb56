"""Result files about the compiler as Markdown tables: its time, its plans, its memory."""

from __future__ import annotations

from statistics import fmean, linear_regression
from typing import Any

from benchmarks.results import Results
from benchmarks.tables import failures, good_rows, markdown, measured_on, ratio_text, time_text


def passes_page(results: Results) -> str:
    """What compiling costs, stage by stage."""
    rows = []
    for name, row in good_rows(results):
        parts = row["stages"]
        rows.append(
            [
                name,
                str(row["operations"]),
                str(row["kernels"]),
                *(f"{parts[stage] * 1e3:.0f}" for stage in STAGES),
                f"{sum(parts.values()) * 1e3:.0f}",
                f"{parts['passes'] / row['operations'] * 1e6:.0f}",
            ]
        )
    columns = ["ms", "operations", "kernels", *STAGES, "all", "us of passes an operation"]
    lines = [measured_on(results), "", markdown(columns, rows), "", _kernels_fit(results), ""]
    return "\n".join([*lines, _slowest_passes(results)])


STAGES = ("import", "passes", "lowering", "tile passes", "code")


def _kernels_fit(results: Results) -> str:
    """How code generation grows with the number of kernels: a line of least squares."""
    points = [(row["kernels"], row["stages"]["code"] * 1e3) for _, row in good_rows(results)]
    if len({kernels for kernels, _ in points}) < 2:
        return ""
    slope, start = linear_regression(*zip(*points))
    return f"Code generation takes about {slope:.0f} ms a kernel, and {start:.0f} ms besides."


def _slowest_passes(results: Results, most: int = 12) -> str:
    """The passes that take longest over all models."""
    total: dict[str, list[float]] = {}
    for _, row in good_rows(results):
        for name, found in row["passes"].items():
            kept = total.setdefault(name, [0.0, 0.0])
            kept[0] += found["seconds"]
            kept[1] += found["operations"]
    slowest = sorted(total.items(), key=lambda item: -item[1][0])[:most]
    rows = [
        [name, f"{seconds * 1e3:.0f}", f"{seconds / max(operations, 1) * 1e6:.1f}"]
        for name, (seconds, operations) in slowest
    ]
    return markdown(["pass", "ms, all models", "us an operation"], rows)


# Plans


def tuning_page(results: Results) -> str:
    """How much of the speed of measured plans those made by rule reach."""
    good = list(good_rows(results))
    rows = [[name, *_tuning_cells(row)] for name, row in good]
    lines = [measured_on(results)]
    if good:
        shares = [row["reached"] for _, row in good]
        least, name = min((row["reached"], name) for name, row in good)
        rows.append(["mean", "", "", f"{fmean(shares):.1%}", "", ""])
        lines += [
            "",
            f"Plans made by rule reach {fmean(shares):.1%} of the speed of measured ones on "
            f"average, at least {least:.1%} ({name}).",
        ]
    columns = ["model", "ms by rule", "ms tuned", "reached", "plans tried", "gained most by"]
    lines += ["", markdown(columns, rows), *failures(results)]
    return "\n".join(lines)


def _tuning_cells(row: dict[str, Any]) -> list[str]:
    gained = row["most"]
    most = f"{gained['kernel']}: {gained['gain']:.0%}, {gained['change']}" if gained else "-"
    tried = f"{row['tried']}" + ("" if row["complete"] else " (more to try)")
    times = [time_text(row[key]) for key in ("planned_seconds", "tuned_seconds")]
    return [*times, f"{row['reached']:.1%}", tried, most]


# Memory


def memory_page(results: Results) -> str:
    """The most memory that a process has had, and how soon a saved model is ready."""
    others = list(
        dict.fromkeys(n for _, row in good_rows(results) for n in row["peaks"] if n not in OWN)
    )
    rows: list[list[str]] = []
    for name, row in good_rows(results):
        peaks = row["peaks"]
        first = peaks.get(others[0]) if others else None
        rows.append(
            [
                name,
                *(_megabytes(peaks.get(which)) for which in (*OWN, *others)),
                ratio_text(first / peaks[COMPILED] if first else None),
                *(f"{row['ready_seconds'][which] * 1e3:.0f}" for which in (LOADED, KEPT)),
            ]
        )
    by = f"{others[0]} by ours" if others else "ratio"
    columns = ["MB", *OWN, *others, by, "artifact ready, ms", "again ready, ms"]
    return "\n".join([measured_on(results), "", markdown(columns, rows), *failures(results)])


COMPILED, LOADED, KEPT = "compiled", "from artifact", "compiled again"
OWN = (COMPILED, LOADED, KEPT)
"""Ours: in a process that compiles, in one that loads what was saved, and in one that compiles
what was compiled before."""


def _megabytes(size: float | None) -> str:
    return "-" if size is None else f"{size / 1e6:.0f}"
