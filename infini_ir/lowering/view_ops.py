"""Graph operations that only look at a value another way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from xdsl.ir import Operation, SSAValue

from infini_ir.dialects import graph
from infini_ir.dialects.graph import ints_of, tensor_type
from infini_ir.lowering.placement import Placement

ViewChange = Callable[[Placement], Placement | None]


@dataclass(frozen=True)
class View:
    """A view operation, as a change of placements. Compared by the operation it is."""

    key: object
    change: ViewChange

    def __eq__(self, other: object) -> bool:
        return isinstance(other, View) and self.key is other.key

    def __hash__(self) -> int:
        return id(self.key)


Chain = tuple[View, ...]
"""Views in the order they are applied to a value."""

VIEW_OPS = (
    graph.TransposeOp,
    graph.BroadcastOp,
    graph.ReshapeOp,
    graph.SliceOp,
    graph.WindowOp,
)


def is_view(op: object) -> bool:
    """Whether the result is another placement of the first operand."""
    return isinstance(op, VIEW_OPS) and not (isinstance(op, graph.SliceOp) and op.dynamic_axes)


def view_of(op: Operation) -> View:
    """A view operation as a change of placements."""
    return View(op, _change_of(op))


def _change_of(op: Operation) -> ViewChange:
    shape = tensor_type(op.results[0]).shape
    if isinstance(op, graph.TransposeOp):
        perm = op.permutation
        return lambda p: p.transposed(perm)
    if isinstance(op, graph.BroadcastOp):
        return lambda p: p.broadcast(shape)
    if isinstance(op, graph.ReshapeOp):
        return lambda p: p.reshaped(shape)
    if isinstance(op, graph.SliceOp):
        starts, steps = op.starts.data, op.step_list
        return lambda p: p.sliced(starts, steps, shape)
    assert isinstance(op, graph.WindowOp)
    axes, sizes = ints_of(op.axes), op.sizes.data
    strides, dilations = ints_of(op.strides), ints_of(op.dilations)
    return lambda p: p.window(axes, sizes, strides, dilations)


def inverse_of(op: Operation) -> View | None:
    """The view that undoes a transpose or reshape; None for views that lose elements."""
    if isinstance(op, graph.TransposeOp):
        perm = op.permutation
        back = [perm.index(axis) for axis in range(len(perm))]
        return View((op, "inverse"), lambda p: p.transposed(back))
    if isinstance(op, graph.ReshapeOp):
        shape = tensor_type(op.x).shape
        return View((op, "inverse"), lambda p: p.reshaped(shape))
    return None


def literal_of(value: SSAValue) -> float | int | bool | None:
    """The number that a constant, also through views, has everywhere."""
    owner = value.owner
    while isinstance(owner, Operation) and is_view(owner):
        owner = owner.operands[0].owner
    if not isinstance(owner, graph.ConstantOp) or not owner.value.data:
        return None
    first = owner.value.data[0]
    if len(owner.value.data) > 1 and any(repr(v) != repr(first) for v in owner.value.data):
        return None
    return first
