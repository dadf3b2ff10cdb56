"""Result files of whole models as Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from benchmarks.cases import CHIEF
from benchmarks.results import Results
from benchmarks.tables import (
    OURS,
    best_ratio,
    engines_of,
    failures,
    good_rows,
    markdown,
    mean_of,
    measured_on,
    ratio_text,
    summary_lines,
    time_text,
)

PEER = "onnxruntime"
"""Whose errors ours are compared with."""
MOST_ERROR = 2.0
"""What ours may be, of its error in the same precision."""


def models_page(results: Results) -> str:
    """Machine, table, and what to say of it."""
    lines = [measured_on(results), "", models_table(results), ""]
    chief = _chief(results)
    if chief and len(chief) < len(results.rows):
        lines += [f"The {len(chief)} networks:", "", *summary_lines(results, chief), ""]
        lines += ["With all variants:", ""]
    lines += [*summary_lines(results), *_error_lines(results), *failures(results)]
    lines += ["", "Compiling or loading, to the end of the first call, CPU seconds:", ""]
    return "\n".join([*lines, cold_table(results)])


def busy_page(results: Results) -> str:
    """Machine and table of rows that were measured beside busy processes."""
    return "\n".join(
        [measured_on(results), "", models_table(results), "", *summary_lines(results)]
    )


def _chief(results: Results) -> list[str]:
    return [name for name in CHIEF if "problem" not in results.rows.get(name, {"problem": ""})]


def models_table(results: Results) -> str:
    """Ours in milliseconds, every other's time by ours, and that of the best of them."""
    engines = engines_of(results)
    best = ["best engine"] if len(engines) > 1 else []
    errors = ["error", *([f"by {PEER}'s"] if _relative(results) else [])]
    columns = ["model", "ms", *_labels(results), *best, *errors]
    chief = _chief(results)
    variants = [name for name in results.rows if name not in chief]
    rows: list[list[str]] = []
    for names, title in ((chief, "geometric mean"), (variants, "")):
        for name in names:
            row = results.rows[name]
            if "problem" in row:
                rows.append([name, "failed", *["" for _ in columns[2:]]])
            else:
                rows.append([name, time_text(row["seconds"][OURS]), *_cells(row, results)])
        if names and title and variants:
            rows.append(_means_row(f"**{title}** of these", results, names, len(columns)))
    rows.append(_means_row("**geometric mean** of all", results, results.rows, len(columns)))
    return markdown(columns, rows)


def _cells(row: dict[str, Any], results: Results) -> list[str]:
    engines = engines_of(results)
    cells = [ratio_text(row["ratios"].get(engine)) for engine in engines]
    if len(engines) > 1:
        cells.append(ratio_text(best_ratio(row)))
    error = row["errors"].get(OURS)
    cells.append("" if error is None else f"{error:.0e}")
    if _relative(results):
        cells.append(_error_text(relative_error(row)))
    return cells


def _means_row(title: str, results: Results, names: Iterable[str], width: int) -> list[str]:
    wanted = set(names)
    rows = [row for name, row in good_rows(results) if name in wanted]
    engines = engines_of(results)
    means = [mean_of(row["ratios"].get(engine) for row in rows) for engine in engines]
    if len(engines) > 1:
        means.append(mean_of(best_ratio(row) for row in rows))
    cells = [title, "", *(ratio_text(mean) for mean in means)]
    return [*cells, *[""] * (width - len(cells))]


def _labels(results: Results) -> list[str]:
    """The engines, with the precision of those that compute in another than ours."""
    other: dict[str, str] = {}
    for _, row in good_rows(results):
        precisions = row.get("precisions", {})
        other |= {k: f"{k} ({p})" for k, p in precisions.items() if p != precisions[OURS]}
    return [other.get(engine, engine) for engine in engines_of(results)]


# Errors


def relative_error(row: dict[str, Any]) -> float | None:
    """Our error by onnxruntime's, where both compute in the same precision."""
    precisions, errors = row.get("precisions", {}), row["errors"]
    ours, theirs = errors.get(OURS), errors.get(PEER)
    if ours is None or not theirs or precisions.get(OURS) != precisions.get(PEER):
        return None
    return ours / theirs


def _relative(results: Results) -> bool:
    """Whether any error can be compared; those of quantised models are against another
    engine, not against what is right."""
    return any(r is not None for r in _relative_errors(results))


def _relative_errors(results: Results) -> Iterator[float | None]:
    return (relative_error(row) for _, row in good_rows(results))


def _error_text(ratio: float | None) -> str:
    if ratio is None:
        return "-"
    return f"**{ratio:.1f}**" if ratio > MOST_ERROR else f"{ratio:.1f}"


def _error_lines(results: Results) -> list[str]:
    """The largest error of each engine, and how ours are to onnxruntime's."""
    worst: dict[str, tuple[float, str]] = {}
    for name, row in good_rows(results):
        for engine, error in row["errors"].items():
            worst[engine] = max(worst.get(engine, (0.0, "")), (error, name))
    parts = [f"{engine} {error:.0e} ({name})" for engine, (error, name) in worst.items()]
    lines = [f"- largest errors: {', '.join(parts)}"]
    pairs = [(relative_error(row), name) for name, row in good_rows(results)]
    known = [(ratio, name) for ratio, name in pairs if ratio is not None]
    if known:
        most, name = max(known)
        few = sum(ratio <= MOST_ERROR for ratio, _ in known)
        lines.append(
            f"- error at most {MOST_ERROR:g} times {PEER}'s on {few} of {len(known)}, "
            f"at most {most:.1f} times ({name})"
        )
    return lines


# Preparing


def cold_table(results: Results) -> str:
    """CPU seconds to compile and load."""
    engines = [OURS, *engines_of(results)]
    shown = [e for e in engines if any(_cost(row, e) for _, row in good_rows(results))]
    rows = [
        [name, *(_cost(row, engine) or "-" for engine in shown)]
        for name, row in good_rows(results)
    ]
    return markdown(["model", *shown], rows)


def _cost(row: dict[str, Any], engine: str) -> str:
    seconds = row["cold"].get(engine, {}).get("cpu_seconds")
    return "" if seconds is None else f"{seconds:.2g}"


# The front page


def speed_table(results: Results) -> str:
    """The short table of the front page: two models a line."""
    engines = engines_of(results)
    cells = []
    for name, row in good_rows(results):
        ratios = [ratio_text(row["ratios"].get(engine)) for engine in engines]
        cells.append([name, time_text(row["seconds"][OURS]), *ratios])
    rows = [row for _, row in good_rows(results)]
    means = [mean_of(row["ratios"].get(engine) for row in rows) for engine in engines]
    cells.append(["**geometric mean**", "", *(ratio_text(mean) for mean in means)])
    half = (len(cells) + 1) // 2
    empty = [""] * (2 + len(engines))
    pairs = [
        [*left, *right]
        for left, right in zip(cells[:half], [*cells[half:], empty], strict=False)
    ]
    columns = ["model", "ms", *_labels(results)] * 2
    return "\n".join([measured_on(results), "", markdown(columns, pairs)])
