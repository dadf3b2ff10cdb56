"""Why operations were put together, in words."""

from __future__ import annotations

from xdsl.ir import Operation, SSAValue

from infini_ir.dialects.graph import AddOp, FusionOp, MaxOp, ReduceOp
from infini_ir.passes.graph.fuse.clusters import Cluster
from infini_ir.passes.graph.fuse.forms import byte_count, is_anchor, is_free, is_unit_reshape
from infini_ir.passes.graph.matching import (
    commuted,
    is_splat,
    is_stored,
    splat,
    strip_broadcast,
)
from infini_ir.utils.symbolic import ZERO, Dim

_SHOWN = 6
"""Names at most in one reason."""


def name_of(op: Operation) -> str:
    """What an operation does, as a person would call it."""
    if isinstance(op, AddOp) and any(_is_bias(value) for value in op.operands):
        return "bias add"
    if isinstance(op, MaxOp) and any(is_splat(v, 0) for v, _ in commuted(op)):
        return "relu"
    if isinstance(op, ReduceOp):
        return f"reduce {op.kind.data}"
    return op.name.removeprefix("graph.")


def _is_bias(value: SSAValue) -> bool:
    source = strip_broadcast(value)
    return source is not value and is_stored(source) and splat(source) is None


def size_text(size: Dim) -> str:
    """Bytes in words; symbolic ones as an expression."""
    if size.value is None:
        return f"{size} bytes"
    number = float(size.value)
    for unit in ("bytes", "KB", "MB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} GB"


def saved_bytes(fusion: FusionOp) -> Dim:
    """Bytes of values that are neither stored (unless wanted outside) nor loaded again."""
    body = fusion.body.block
    given = set(body.last_op.operands) if body.last_op is not None else set()
    total = ZERO
    for op in body.ops:
        if is_free(op) or is_unit_reshape(op):
            continue
        for result in op.results:
            readers = [use for use in result.uses if use.operation is not body.last_op]
            if readers:
                total = total + byte_count(result) * (1 if result in given else 2)
    return total


def reason_for(cluster: Cluster) -> str:
    """The operations put together, the anchor named last."""
    anchor = next((op for op in cluster.ops if is_anchor(op)), None)
    names = [name_of(op) for op in cluster.ops if op is not anchor]
    if len(names) > _SHOWN:
        names = [*names[: _SHOWN - 1], f"{len(names) - _SHOWN + 1} more"]
    listed = ", ".join(names)
    if anchor is not None and not names:
        return name_of(anchor)
    return f"{listed} into {name_of(anchor)}" if anchor is not None else listed
