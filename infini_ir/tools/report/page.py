"""The page itself: facts and drawings put into the template."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infini_ir.tools.infini.explain_text import summary
from infini_ir.tools.infini.show import count_text, size_text, time_text
from infini_ir.tools.report.drawings import arena_of, drawing_of
from infini_ir.tools.report.kinds import kinds_of
from infini_ir.tools.report.passes import PassChange
from infini_ir.tools.report.program import graph_of, lives_of
from infini_ir.tools.report.roofline import roofs_of
from infini_ir.utils.errors import OptionError

if TYPE_CHECKING:
    from infini_ir.tools.infini.explain import Explained

MOST_CODE = 12
"""Kernels, of those that take longest, whose code is on the page."""
MOST_CODE_LINES = 500
"""Of each text of theirs: its beginning and its end."""


@dataclass(frozen=True)
class Code:
    """The texts of one kernel."""

    kernel: str
    texts: dict[str, str]


def check_template_library() -> None:
    """Raise `OptionError` where there is no jinja2, before any work is done."""
    try:
        import jinja2  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise OptionError(
            "--html wants jinja2; install it with: pip install infini-ir[report]"
        ) from None


def page_of(explained: Explained, changes: Sequence[PassChange]) -> str:
    """The whole page as text: styles, scripts and drawings inside."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined  # pyright: ignore

    facts = explained.facts
    environment = Environment(
        loader=FunctionLoader(_asset),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "time": _time,
        "bytes": size_text,
        "percent": _percent,
        "count": count_text,
    }
    entries = facts["launches"]
    nodes = graph_of(explained.launches)
    return environment.get_template("page.html").render(
        facts=facts,
        name=Path(facts["model"]).name,
        summary=summary(facts),
        tiles=_tiles(facts),
        kinds=kinds_of(facts),
        kernels=[_with_share(kernel, facts) for kernel in facts["kernels"]],
        launches=[_with_share(launch, facts) for launch in entries],
        alone=facts["totals"]["alone_seconds"] is not None,
        drawing=drawing_of(nodes, entries),
        roofs=roofs_of(facts["machine"], facts["kernels"], _classes(entries)),
        arena=arena_of(lives_of(explained.launches, explained.sizes), len(entries)),
        changes=changes,
        codes=codes_of(explained),
    )


def _classes(launches: Sequence[dict[str, Any]]) -> set[str]:
    """The classes of arithmetic that a program does."""
    return {kind for launch in launches for kind in launch["operations_by_type"]}


def _asset(name: str) -> str:
    return (files("infini_ir.tools.report") / "assets" / name).read_text(encoding="utf-8")


def codes_of(explained: Explained) -> list[Code]:
    """Tile text, LLVM IR and assembly of the kernels that take longest."""
    from infini_ir.runtime.metadata import weight_table
    from infini_ir.targets.cpu.llvm.toolchain import assembly
    from infini_ir.targets.cpu.target import CpuTarget
    from infini_ir.targets.programs import weight_names

    target, module = explained.compilation.target, explained.module
    assert isinstance(target, CpuTarget)
    store = explained.compilation.ctx.weights
    names = weight_names(module)
    table = weight_table((n, store.dtype(n), store.shape(n)) for n in names)
    emitted = target.emit(module, {w.name: w.offset for w in table})
    tiles = {launch.name: str(launch.kernel) for launch in explained.launches}
    codes: list[Code] = []
    for entry in explained.facts["kernels"][:MOST_CODE]:
        name = entry["kernel"]
        llvm = emitted.kernels[name]
        texts = {
            "tile": tiles[name],
            "LLVM IR": llvm,
            "assembly": assembly(llvm, target.features),
        }
        codes.append(Code(name, {level: shortened(text) for level, text in texts.items()}))
    return codes


def shortened(text: str) -> str:
    """The beginning and the end of a text of many lines."""
    lines = text.splitlines()
    if len(lines) <= MOST_CODE_LINES:
        return text
    half = MOST_CODE_LINES // 2
    left = len(lines) - 2 * half
    return "\n".join([*lines[:half], f"... {left} lines ...", *lines[-half:]])


def _tiles(facts: dict[str, Any]) -> list[tuple[str, str, str]]:
    """The numbers at the top: what, how much, and what that means."""
    totals = facts["totals"]
    tiles = [
        ("launches", str(totals["launches"]), f"{len(facts['kernels'])} kernels"),
        ("operations", count_text(totals["operations"]), f"{size_text(totals['bytes'])} moved"),
        ("least time", time_text(totals["limit_seconds"]), "that this machine needs"),
    ]
    if "call_seconds" in totals:
        tiles.insert(0, ("a call", time_text(totals["call_seconds"]), "measured"))
        fraction = _percent(totals["fraction_of_limit"])
        tiles.append(("of the limit", fraction, "least time by measured time"))
    return tiles


def _with_share(entry: dict[str, Any], facts: dict[str, Any]) -> dict[str, Any]:
    """An entry with its share of the whole, and how near it is to its limit."""
    key = "measured_seconds" if entry["measured_seconds"] is not None else "limit_seconds"
    total = facts["totals"][key] or 1.0
    taken = entry["measured_seconds"]
    return {
        **entry,
        "share": entry[key] / total,
        "of_limit": entry["limit_seconds"] / taken if taken else None,
        "above_limit": max(0.0, taken - entry["limit_seconds"]) if taken else None,
    }


def _time(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return time_text(seconds) if seconds >= 0 else f"-{time_text(-seconds)}"


def _percent(share: float | None) -> str:
    return (
        "" if share is None else f"{100 * share:.1f}%" if share < 0.1 else f"{100 * share:.0f}%"
    )
