"""Result files as Markdown tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import linear_regression
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


# Models


def engines_of(results: Results) -> list[str]:
    """The others, in the order they were measured."""
    names: dict[str, None] = {}
    for row in results.rows.values():
        names |= dict.fromkeys((*row.get("ratios", {}), *row.get("failed", {})))
    return list(names)


def _labels(results: Results) -> list[str]:
    """The engines, with the precision of those that compute in another than ours."""
    other: dict[str, str] = {}
    for _, row in good_rows(results):
        precisions = row.get("precisions", {})
        other |= {k: f"{k} ({p})" for k, p in precisions.items() if p != precisions[OURS]}
    return [other.get(engine, engine) for engine in engines_of(results)]


def good_rows(results: Results) -> Iterator[tuple[str, dict[str, Any]]]:
    """Names and rows without a problem."""
    return ((name, row) for name, row in results.rows.items() if "problem" not in row)


def models_table(results: Results) -> str:
    """Ours in milliseconds, and every other's time by ours."""
    engines = engines_of(results)
    columns = ["model", "ms", *_labels(results), "error", "compile s"]
    rows: list[list[str]] = []
    for name, row in results.rows.items():
        if "problem" in row:
            rows.append([name, "failed", *["" for _ in columns[2:]]])
            continue
        cost = row["cold"].get(OURS, {}).get("cpu_seconds")
        error = row["errors"].get(OURS)
        rows.append(
            [
                name,
                time_text(row["seconds"][OURS]),
                *(ratio_text(row["ratios"].get(engine)) for engine in engines),
                "" if error is None else f"{error:.0e}",
                "" if cost is None else f"{cost:.1f}",
            ]
        )
    means = [ratio_text(mean) for mean in _means(results)]
    rows.append(["geometric mean", "", *means, "", ""])
    return markdown(columns, rows)


def _means(results: Results) -> list[float]:
    return [
        geometric_mean(
            row["ratios"][engine] for _, row in good_rows(results) if engine in row["ratios"]
        )
        for engine in engines_of(results)
    ]


def summary_lines(results: Results) -> list[str]:
    """The mean, the worst, and the number of wins against each engine."""
    lines: list[str] = []
    for engine, mean in zip(engines_of(results), _means(results), strict=True):
        found = [
            (r["ratios"][engine], n) for n, r in good_rows(results) if engine in r["ratios"]
        ]
        if not found:
            continue
        least, name = min(found)
        wins = sum(ratio >= LOSS for ratio, _ in found)
        lines.append(
            f"- {engine}: geometric mean {mean:.2f}, worst {least:.2f} ({name}); as fast or "
            f"faster on {wins} of {len(found)}"
        )
    return lines


def _error_lines(results: Results) -> list[str]:
    """The largest error of each engine, and by how much it is the smaller one."""
    worst: dict[str, tuple[float, str]] = {}
    for name, row in good_rows(results):
        for engine, error in row["errors"].items():
            worst[engine] = max(worst.get(engine, (0.0, "")), (error, name))
    parts = [f"{engine} {error:.0e} ({name})" for engine, (error, name) in worst.items()]
    lines = [f"- largest errors: {', '.join(parts)}"]
    for engine in engines_of(results):
        ratios = [
            (row["errors"][OURS] / row["errors"][engine], name)
            for name, row in good_rows(results)
            if row["errors"].get(engine) and OURS in row["errors"]
        ]
        if ratios:
            most, name = max(ratios)
            lines.append(
                f"- errors against those of {engine}: at most {most:.1f} times ({name})"
            )
    return lines


def losses(results: Results) -> list[str]:
    """Failures with their reasons."""
    lines = [
        f"- infini fails on {name}: {row['problem']}"
        for name, row in results.rows.items()
        if "problem" in row
    ]
    for name, row in good_rows(results):
        lines += [f"- {engine} fails on {name}: {why}" for engine, why in row["failed"].items()]
    return lines


def cold_table(results: Results) -> str:
    """CPU seconds to compile and load, and memory where fresh processes told it."""
    engines = [OURS, *engines_of(results)]
    rows = [
        [name, *(_cost_text(row["cold"].get(engine)) for engine in engines)]
        for name, row in good_rows(results)
    ]
    return markdown(["CPU s (MB)", *engines], rows)


def _cost_text(cost: dict[str, float] | None) -> str:
    if not cost:
        return "-"
    memory = cost.get("peak_memory_bytes")
    return f"{cost['cpu_seconds']:.2g}" + (f" ({memory / 1e6:.0f})" if memory else "")


def models_page(results: Results) -> str:
    """Machine, table, and what to say of it."""
    lines = [_measured_on(results), "", models_table(results), ""]
    lines += [*summary_lines(results), *_error_lines(results), *losses(results)]
    lines += ["", "Compiling and loading:", "", cold_table(results)]
    return "\n".join(lines)


def _measured_on(results: Results) -> str:
    return f"Measured on {machine_text(results.machine)}."


def speed_table(results: Results) -> str:
    """The short table of the front page: two models a line."""
    engines = engines_of(results)
    cells = []
    for name, row in good_rows(results):
        ratios = [ratio_text(row["ratios"].get(engine)) for engine in engines]
        cells.append([name, time_text(row["seconds"][OURS]), *ratios])
    cells.append(["**geometric mean**", "", *(ratio_text(mean) for mean in _means(results))])
    half = (len(cells) + 1) // 2
    empty = [""] * (2 + len(engines))
    pairs = [
        [*left, *right]
        for left, right in zip(cells[:half], [*cells[half:], empty], strict=False)
    ]
    columns = ["model", "ms", *_labels(results)] * 2
    lines = [_measured_on(results), "", markdown(columns, pairs)]
    return "\n".join(lines)


# Products and kernels


def rates_page(results: Results) -> str:
    """Rates of single operations: ours, its share of the machine's limit, and the others'."""
    engines = engines_of(results)
    lines = [_measured_on(results), *_limits(results)]
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
    lines += ["", *summary_lines(results), *losses(results)]
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
    return [
        "",
        f"Limits: 10^9 operations a second: {rates}; {limits['memory'] / 1e9:.1f} GB/s read "
        "from memory.",
    ]


# The compiler


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
    lines = [_measured_on(results), "", markdown(columns, rows), "", _kernels_fit(results), ""]
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
