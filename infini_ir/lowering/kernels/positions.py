"""What kernels with computed positions share: index values, and loops by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xdsl.dialects import arith
from xdsl.ir import SSAValue

from infini_ir.lowering.domain import Axis
from infini_ir.lowering.kernel_builder import KernelBuilder, Position
from infini_ir.lowering.placement import Placement
from infini_ir.lowering.scalar_builder import ScalarBuilder, scalar_type
from infini_ir.utils import dtypes
from infini_ir.utils.symbolic import ONE, ZERO, Dim

Emit = Callable[[arith.ExtUIOp | arith.ExtSIOp], SSAValue]


def _as_i64(emit: Emit, value: SSAValue, dtype: str) -> SSAValue:
    wide = scalar_type("i64")
    if value.type == wide:
        return value
    extend = arith.ExtUIOp if dtypes.is_unsigned(dtype) else arith.ExtSIOp
    return emit(extend(value, wide))


def as_i64(s: ScalarBuilder, value: SSAValue, dtype: str) -> SSAValue:
    """An integer of an element type as i64; of `ui64` the bits."""
    return _as_i64(s.emit, value, dtype)


def clamped(s: ScalarBuilder, value: SSAValue, dtype: str, last: SSAValue) -> SSAValue:
    """An integer as an i64 in [0, last]."""
    wide = as_i64(s, value, dtype)
    if dtypes.is_unsigned(dtype):
        return s.min(wide, last, unsigned=True)
    return s.max(s.min(wide, last), s.constant(0, "i64"))


def read_clamped(
    k: KernelBuilder, view: SSAValue, offsets: Sequence[Position], dtype: str, size: Dim
) -> SSAValue:
    """An integer in memory as an index in [0, size - 1]."""
    value = _as_i64(k.emit, k.read(view, offsets), dtype)
    if dtype == "ui64":
        last = k.from_index(k.sub(size, 1))
        return k.to_index(k.emit(arith.MinUIOp(value, last)))
    return k.max(k.min(k.to_index(value), k.sub(size, 1)), 0)


def read_index(
    k: KernelBuilder, view: SSAValue, offsets: Sequence[Position], dtype: str
) -> SSAValue:
    """An integer in memory as an index."""
    return k.to_index(_as_i64(k.emit, k.read(view, offsets), dtype))


def strides_along(placement: Placement, axes: Sequence[int | None]) -> list[Dim]:
    """The strides along axes of a placement; 0 for None."""
    return [ZERO if axis is None else placement.strides[axis] for axis in axes]


def axes_from(sizes: Sequence[Dim], *strides: Sequence[Dim]) -> list[Axis]:
    """Loops from their sizes and each operand's strides; those of size 1 are left out."""
    columns = zip(sizes, *strides, strict=True)
    return [Axis(size, list(steps)) for size, *steps in columns if size is not ONE]


def moving(axes: Sequence[Axis], operand: int) -> list[int]:
    """The loops along which an operand moves."""
    return [i for i, axis in enumerate(axes) if axis.strides[operand] is not ZERO]


def positions_tile(k: KernelBuilder, start: Position, capacity: str | int | Dim) -> SSAValue:
    """The positions start, start + 1, ... as an i64 tile."""
    (tile,) = k.map([k.index(start)], [[]], ["i64"], [capacity], _count_up)
    return tile


def _count_up(s: ScalarBuilder, start: SSAValue) -> list[SSAValue]:
    return [s.from_index(s.add(start, s.coord(0)), "i64")]


def nested_loops(
    k: KernelBuilder, sizes: Sequence[Dim], body: Callable[[list[SSAValue]], None]
) -> None:
    """Loops without carried tiles around `body(positions)`, the last one innermost."""

    def loop(positions: list[SSAValue]) -> None:
        if len(positions) == len(sizes):
            body(positions)
            return

        def step(position: SSAValue) -> list[SSAValue]:
            loop([*positions, position])
            return []

        k.for_(sizes[len(positions)], 1, [], step)

    loop([])
