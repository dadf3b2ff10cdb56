"""Partial results of reductions: neutral elements, and maps that combine two tiles."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xdsl.dialects import arith
from xdsl.dialects.builtin import FloatAttr, IntegerAttr, IntegerType, f32
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue

from infini_ir.dialects import tile
from infini_ir.dialects.graph.types import element_name
from infini_ir.dialects.tile.types import scalar_of
from infini_ir.utils import dtypes

_Make = Callable[[SSAValue, SSAValue], Operation]

_FLOAT_OPS: dict[str, _Make] = {
    "add": arith.AddfOp,
    "mul": arith.MulfOp,
    "max": arith.MaximumfOp,
    "min": arith.MinimumfOp,
}
_SIGNED_OPS: dict[str, _Make] = {
    "add": arith.AddiOp,
    "mul": arith.MuliOp,
    "max": arith.MaxSIOp,
    "min": arith.MinSIOp,
}
_UNSIGNED_OPS = {**_SIGNED_OPS, "max": arith.MaxUIOp, "min": arith.MinUIOp}
_BOOL_OPS = {**_UNSIGNED_OPS, "add": arith.OrIOp, "mul": arith.AndIOp}


def neutral_constant(kind: str, element: Attribute) -> arith.ConstantOp:
    """The scalar that a combination of this kind leaves as it is, for elements of a tile."""
    scalar, dtype = scalar_of(element), element_name(element)
    if not isinstance(scalar, IntegerType):
        infinity = float("inf")
        number = {"add": 0.0, "mul": 1.0, "max": -infinity, "min": infinity}[kind]
        return arith.ConstantOp(FloatAttr(number, scalar))  # pyright: ignore[reportCallIssue, reportArgumentType]
    return arith.ConstantOp(IntegerAttr(_neutral_integer(kind, dtype, scalar), scalar))


def _neutral_integer(kind: str, dtype: str, scalar: IntegerType) -> int:
    """In the bits of a signless integer."""
    if kind in ("add", "mul"):
        return -1 if dtype == "i1" and kind == "mul" else int(kind == "mul")
    bits, highest = scalar.width.data, kind == "min"
    if dtype == "i1" or dtypes.is_unsigned(dtype):
        return -1 if highest else 0
    return (1 << (bits - 1)) - 1 if highest else -(1 << (bits - 1))


def combining_ops(
    kind: str, element: Attribute, a: SSAValue, b: SSAValue
) -> tuple[Operation, ...]:
    """The scalar operations of a reduction of this kind on two elements; the last gives the
    result. Floats narrower than f32 meet in f32, which rounds as they would themselves."""
    dtype = element_name(element)
    if not dtypes.is_float(dtype):
        unsigned = _UNSIGNED_OPS if dtypes.is_unsigned(dtype) else _SIGNED_OPS
        return ((_BOOL_OPS if dtype == "i1" else unsigned)[kind](a, b),)
    if dtype in ("f32", "f64"):
        return (_FLOAT_OPS[kind](a, b),)
    wide = [arith.ExtFOp(a, f32), arith.ExtFOp(b, f32)]
    met = _FLOAT_OPS[kind](wide[0].result, wide[1].result)
    return *wide, met, arith.TruncFOp(met, scalar_of(element))  # pyright: ignore[reportArgumentType]


def combining_map(kind: str, left: SSAValue, right: SSAValue) -> tile.MapOp:
    """The elementwise combination of two tiles of one type."""
    type = tile.tile_type(left)
    scalar = scalar_of(type.element)
    block = Block(arg_types=[scalar, scalar])
    combined = combining_ops(kind, type.element, *block.args)
    block.add_ops([*combined, tile.YieldOp([combined[-1].results[0]])])
    every = range(type.rank)
    return tile.MapOp([left, right], [every, every], [type], Region(block))


def neutral_tile(kind: str, type: tile.TileType) -> Sequence[Operation]:
    """Operations whose last gives a tile of neutral elements."""
    constant = neutral_constant(kind, type.element)
    return constant, tile.FullOp(constant, type)
