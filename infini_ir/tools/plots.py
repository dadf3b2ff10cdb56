"""Pictures of comparisons: a panel for each model, a bar for each engine."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from infini_ir.utils.errors import OptionError

FORMATS = (".png", ".svg")
_COLUMNS = 4
"""Panels side by side at most."""
_FAR = 5.0
"""Of the median time: longer bars are cut off there, lest the others cannot be told apart."""
_COLORS = {
    "infini": "#d1495b",
    "onnxruntime": "#30638e",
    "openvino": "#00798c",
    "torch": "#edae49",
    "iree": "#8d6a9f",
}
_OTHER = "#777777"


def check_plot(path: str) -> None:
    """Refuse before anything is measured what cannot be drawn after it."""
    from importlib.util import find_spec

    from infini_ir.tools.infini.options import check_writable

    if Path(path).suffix.lower() not in FORMATS:
        raise OptionError(f"cannot draw '{path}': its name must end in {' or '.join(FORMATS)}")
    check_writable(path)
    if find_spec("matplotlib") is None:
        raise OptionError(
            "--plot wants matplotlib; install it with: pip install infini-ir[bench]"
        )


def draw(path: str, rows: Sequence[dict[str, Any]], machine: dict[str, Any]) -> None:
    """Write a picture of the comparisons, of the form that the file's name says.

    `rows` are what `tools.comparison.compare` gives, each with its `model`. A bar is as long as
    the median time; beside it stand the milliseconds, and how many of our times they are.
    """
    from matplotlib.figure import Figure

    from infini_ir.tools.machine_facts import machine_text

    across = min(_COLUMNS, len(rows))
    down = math.ceil(len(rows) / across)
    most = max(len(row["times"]) for row in rows)
    size = (max(7.0, 3.7 * across), 0.9 + (0.5 + 0.26 * most) * down)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(down, across, squeeze=False).reshape(-1)
    for panel, row in zip(panels, rows):
        _panel(panel, row)
    for panel in panels[len(rows) :]:
        panel.set_axis_off()
    figure.suptitle("milliseconds a call, and how many of ours they are", fontsize=11)
    figure.supxlabel(machine_text(machine), fontsize=7, wrap=True)
    figure.savefig(path, dpi=150)


def _panel(panel: Any, row: dict[str, Any]) -> None:
    names = list(row["times"])
    values = [row["times"][name]["median"] * 1e3 for name in names]
    colors = [_COLORS.get(name, _OTHER) for name in names]
    places = list(range(len(names)))[::-1]
    end = min(max(values), _FAR * statistics.median(values))
    panel.barh(places, [min(value, end) for value in values], color=colors, height=0.78)
    for place, name, value in zip(places, names, values):
        ours = name == "infini"
        mark = " \u00bb" if value > end else ""
        text = f"{mark} {value:.3g}{_ratio_text(row['ratios'].get(name))}"
        weight = "bold" if ours else "normal"
        panel.text(min(value, end), place, text, va="center", fontsize=8, weight=weight)
    panel.set_yticks(places, [_label(name, row) for name in names], fontsize=8)
    panel.set_title(Path(row["model"]).stem, fontsize=9, loc="left", weight="bold")
    panel.set_xlim(0, end * 1.45)  # room for the numbers
    panel.tick_params(axis="x", labelsize=7, colors=_OTHER)
    panel.tick_params(axis="y", length=0)
    for side in ("top", "right", "bottom"):
        panel.spines[side].set_visible(False)


def _ratio_text(ratio: float | None) -> str:
    if ratio is None:
        return ""
    return f"  ({ratio:.2f}x)" if ratio < 10 else f"  ({ratio:.3g}x)"


def _label(name: str, row: dict[str, Any]) -> str:
    """The engine, with its precision where that is not ours."""
    precision = row["precisions"][name]
    return name if precision == row["precisions"]["infini"] else f"{name} {precision}"
