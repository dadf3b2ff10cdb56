"""Helpers of rewrites that keep source locations and names."""

from __future__ import annotations

from xdsl.dialects.builtin import FileLineColLoc, NameLoc
from xdsl.ir import Operation
from xdsl.pattern_rewriter import PatternRewriter


def replace_at(rewriter: PatternRewriter, op: Operation, *new_ops: Operation) -> None:
    """Replace `op` by `new_ops`, the last giving the results, at its location."""
    for new_op in new_ops:
        new_op.location = op.location
    rewriter.replace(op, new_ops)


def subject_of(op: Operation) -> str:
    """What a person knows an operation by: its source node or place, else its value's name."""
    location = op.location
    if isinstance(location, NameLoc):
        return location.desc.data
    if isinstance(location, FileLineColLoc):
        return f"{location.filename.data}:{location.line.data}"
    hint = op.results[0].name_hint if op.results else None
    return f"%{hint}" if hint else op.name
