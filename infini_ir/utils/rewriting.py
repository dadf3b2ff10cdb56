"""How passes name operations to people: by source node or place."""

from __future__ import annotations

from xdsl.dialects.builtin import FileLineColLoc, NameLoc
from xdsl.ir import Operation


def subject_of(op: Operation) -> str:
    """What a person knows an operation by: its source node or place, else its value's name."""
    location = op.location
    if isinstance(location, NameLoc):
        return location.desc.data
    if isinstance(location, FileLineColLoc):
        return f"{location.filename.data}:{location.line.data}"
    hint = op.results[0].name_hint if op.results else None
    return f"%{hint}" if hint else op.name
