"""What a kernel does for given sizes: arithmetic by element type, and the memory it touches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from xdsl.dialects.arith import ConstantOp
from xdsl.dialects.builtin import IntegerAttr
from xdsl.ir import Operation, SSAValue

from infini_ir.dialects import tile
from infini_ir.dialects.tile import program
from infini_ir.utils.dtypes import item_size
from infini_ir.utils.symbolic import Dim

Sizes = Mapping[str, int]

FLOAT, HALF, BYTE = "f32", "bf16", "i8"
"""The classes of arithmetic that machines have different rates for."""


def traffic_of(launch: program.LaunchOp, sizes: Sizes) -> float:
    """Bytes of the distinct elements that the views show."""
    return sum(bytes_shown(tile.view_type(v), sizes) for v in dict.fromkeys(launch.views))


def bytes_shown(type: tile.ViewType, sizes: Sizes) -> float:
    """Bytes of the distinct elements that a view shows."""
    count, reach = 1, 1
    for size, stride in zip(type.shape, type.strides, strict=True):
        length, step = size.evaluate(sizes), abs(stride.evaluate(sizes))
        count *= length if step else 1
        reach += max(0, length - 1) * step
    return min(count, reach) * item_size(type.dtype)


def moved_bytes(launch: program.LaunchOp, sizes: Sizes) -> dict[SSAValue, float]:
    """Bytes of each view that the kernel loads or stores at least once.

    At most what the view shows, and at most what the kernel's loads and stores are for: a
    gather of a few rows moves these and not the table. `sizes` has the plan's parameters.
    """
    kernel = launch.callee()
    accessed: dict[SSAValue, float] = {}
    for view, elements in _accesses(kernel, sizes):
        accessed[view] = accessed.get(view, 0.0) + elements
    moved: dict[SSAValue, float] = {}
    for given, view in zip(launch.views, kernel.views, strict=True):
        item = item_size(tile.view_type(view).dtype)
        moved[given] = moved.get(given, 0.0) + accessed.get(view, 0.0) * item
    return {v: min(b, bytes_shown(tile.view_type(v), sizes)) for v, b in moved.items()}


def operations_of(kernel: tile.KernelOp, sizes: Sizes) -> float:
    """Arithmetic operations of the whole grid; a multiply-add counts two.

    Tiles at the edges count with the part that they have: a program is a fraction of one.
    """
    return sum(work_of(kernel, sizes).values())


def work_of(kernel: tile.KernelOp, sizes: Sizes) -> dict[str, float]:
    """The same by class of arithmetic: `f32`, and `bf16` or `i8` for products of such tiles."""
    work: dict[str, float] = {}
    programs = _programs(kernel, sizes)
    for op, times in _executed(kernel.body.block.ops, programs, sizes):
        kind, amount = _cost(op, sizes)
        if amount:
            work[kind] = work.get(kind, 0.0) + times * amount
    return work


def _programs(kernel: tile.KernelOp, sizes: Sizes) -> float:
    programs = 1.0
    for bound, step in zip(kernel.bounds.data, kernel.steps.data, strict=True):
        programs *= bound.evaluate(sizes) / max(1, _value(step, sizes))
    return programs


def _executed(
    ops: Iterable[Operation], times: float, sizes: Sizes
) -> Iterator[tuple[Operation, float]]:
    """The operations on tiles, and how often each is done; a map or a reduction is one."""
    for op in ops:
        yield op, times
        if isinstance(op, tile.MapOp):
            continue
        inner = times
        if isinstance(op, tile.ForOp):
            inner = times * _bound(op, sizes) / max(1, _value(op.step_size, sizes))
        for region in op.regions:
            for block in region.blocks:
                yield from _executed(block.ops, inner, sizes)


def _cost(op: Operation, sizes: Sizes) -> tuple[str, float]:
    """The class and the operations of one execution."""
    if isinstance(op, tile.DotOp):
        lhs, rhs, out = (tile.tile_type(v) for v in (op.lhs, op.rhs, op.out))
        amount = 2 * _elements(out, sizes) * _value(lhs.shape[-1], sizes)
        return _class_of(lhs.dtype, rhs.dtype), amount
    if isinstance(op, tile.MapOp):
        arithmetic = sum(1 for inner in op.body.block.ops if _is_arithmetic(inner))
        return FLOAT, arithmetic * max(_elements(tile.tile_type(out), sizes) for out in op.outs)
    if isinstance(op, tile.ReduceOp):
        return FLOAT, _elements(tile.tile_type(op.x), sizes)
    return FLOAT, 0.0


def _class_of(lhs: str, rhs: str) -> str:
    if lhs == rhs == "bf16":
        return HALF
    return BYTE if {lhs, rhs} <= {"i8", "ui8"} else FLOAT


def _accesses(kernel: tile.KernelOp, sizes: Sizes) -> Iterator[tuple[SSAValue, float]]:
    """Views and elements that operations load or store in all programs together.

    A slice may not go along an axis of which a program has only a part: whole programs count.
    Gathers and scatters go along all axes.
    """
    programs, whole = _programs(kernel, sizes), 1.0
    for bound, step in zip(kernel.bounds.data, kernel.steps.data, strict=True):
        whole *= -(-bound.evaluate(sizes) // max(1, _value(step, sizes)))
    for op, times in _executed(kernel.body.block.ops, 1.0, sizes):
        if isinstance(op, tile.LoadOp):
            yield op.view, whole * times * _elements(tile.tile_type(op.out), sizes)
        elif isinstance(op, tile.StoreOp):
            yield op.view, whole * times * _elements(tile.tile_type(op.value), sizes)
        elif isinstance(op, tile.GatherOp):
            yield op.view, programs * times * _elements(tile.tile_type(op.out), sizes)
        elif isinstance(op, tile.ScatterOp):
            yield op.view, programs * times * _elements(tile.tile_type(op.value), sizes)
        elif isinstance(op, tile.ReadOp):
            yield op.view, whole * times


def _value(dim: Dim, sizes: Sizes) -> int:
    try:
        return dim.evaluate(sizes)
    except KeyError:
        return 1


def _elements(type: tile.TileType, sizes: Sizes) -> float:
    count = 1.0
    for size in type.shape:
        count *= _value(size, sizes)
    return count


def _bound(op: tile.ForOp, sizes: Sizes) -> float:
    owner = op.to.owner
    if isinstance(owner, tile.SizeOp):
        return _value(owner.dim, sizes)
    if isinstance(owner, ConstantOp) and isinstance(owner.value, IntegerAttr):
        return owner.value.value.data
    return 1.0


def _is_arithmetic(op: Operation) -> bool:
    return op.name.partition(".")[0] in ("arith", "math") and op.name != "arith.constant"
