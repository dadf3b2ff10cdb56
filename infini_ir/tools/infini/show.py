"""Printing for people (tables) and for programs (JSON)."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click
import numpy as np

if TYPE_CHECKING:
    from rich.console import Console

_FIRST = 5
"""Elements shown of an array."""


def print_json(data: Any) -> None:
    """Strict JSON: numbers that are not finite become texts."""
    click.echo(json.dumps(plain(data), indent=2))


def plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (bool, int, str)) or value is None:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return str(value)


def console() -> Console:
    """Where tables go; wide where nobody sees it wrapped."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 160, highlight=False)


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    title: str | None = None,
    right: Sequence[str] = (),
) -> None:
    """A table; the columns named in `right` are numbers."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
    for column in columns:
        table.add_column(
            column, justify="right" if column in right else "left", overflow="fold"
        )
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    console().print(table)


def print_facts(facts: Mapping[str, Any]) -> None:
    """Names and values in two columns."""
    width = max(map(len, facts), default=0)
    for name, value in facts.items():
        click.echo(f"{name + ':':{width + 1}} {value}")


def size_text(count: float) -> str:
    """Bytes in words."""
    for unit in ("bytes", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}" if unit != "bytes" else f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def count_text(count: float) -> str:
    """A number of operations in words."""
    for limit, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "K")):
        if count >= limit:
            return f"{count / limit:.3g} {unit}"
    return f"{count:.3g}"


def time_text(seconds: float) -> str:
    """A time in words."""
    for limit, factor, unit in ((1e-3, 1e6, "us"), (1, 1e3, "ms")):
        if seconds < limit:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds:.3g} s"


def array_facts(name: str, dtype: str, array: np.ndarray) -> dict[str, Any]:
    """What to show of an array."""
    facts: dict[str, Any] = {"name": name, "dtype": dtype, "shape": list(array.shape)}
    if array.size:
        values = array.astype(np.float64)
        with np.errstate(all="ignore"):
            facts |= {
                "min": float(values.min()),
                "max": float(values.max()),
                "mean": float(values.mean()),
            }
    facts["first"] = [_scalar(v) for v in array.reshape(-1)[:_FIRST]]
    return facts


def _scalar(value: Any) -> bool | int | float:
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    return int(value) if isinstance(value, np.integer) else float(value)


def array_row(facts: Mapping[str, Any]) -> list[str]:
    """The facts of `array_facts` as cells of a table."""
    first = ", ".join(f"{value:.5g}" for value in facts["first"])
    more = ", ..." if math.prod(facts["shape"]) > len(facts["first"]) else ""
    numbers = [f"{facts[key]:.5g}" if key in facts else "" for key in ("min", "max", "mean")]
    return [facts["name"], facts["dtype"], str(facts["shape"]), *numbers, f"{first}{more}"]


ARRAY_COLUMNS = ("name", "dtype", "shape", "min", "max", "mean", "first values")
ARRAY_NUMBERS = ("min", "max", "mean")
