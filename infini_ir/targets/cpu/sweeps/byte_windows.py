"""Sums over small windows of products of bytes, such as a depthwise convolution's.

`vpdpbusd` adds four products of neighbouring bytes to each i32 lane: bytes of four window
positions are interleaved for sixteen channels. The factors of a block of channels are
interleaved once, before the loop over the positions of the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xdsl.dialects import arith
from xdsl.dialects.builtin import IntegerType
from xdsl.ir import Operation, SSAValue

from infini_ir.dialects import tile
from infini_ir.targets.cpu.kernel.sources import Coordinate, Point
from infini_ir.targets.cpu.llvm.writer import V, integer

if TYPE_CHECKING:
    from infini_ir.targets.cpu.kernel.emitter import KernelEmitter

LANES = 16
GROUP = 4
MOST_TERMS = 64
"""Window positions up to which the sum is written out."""


@dataclass(frozen=True)
class Factor:
    """An operand of the products: a tile, and its axes among those of the products."""

    value: SSAValue
    dims: tuple[int, ...]

    def at(self, e: KernelEmitter, point: Point) -> V:
        """Its bytes at a point of the products, one a lane."""
        return e.f.splat(e.element(self.value, tuple(point[d] for d in self.dims)), LANES)


@dataclass(frozen=True)
class ByteWindow:
    """reduce add over the window of extui(x) * extsi(w), in i32."""

    op: tile.ReduceOp
    x: Factor
    w: Factor
    counts: tuple[int, ...]
    """Sizes of the reduced axes."""

    def taps(self) -> list[tuple[int, ...]]:
        """The positions in the window."""
        taps: list[tuple[int, ...]] = [()]
        for count in self.counts:
            taps = [(*tap, i) for tap in taps for i in range(count)]
        return taps

    def full(self, tap: tuple[int, ...], kept: Sequence[Coordinate]) -> Point:
        """The point of the products at a position in the window."""
        inside, outside = iter(tap), iter(kept)
        return tuple(
            Coordinate(integer(next(inside))) if axis in self.op.axis_list else next(outside)
            for axis in range(len(self.counts) + len(kept))
        )


def byte_window(e: KernelEmitter, value: SSAValue) -> ByteWindow | None:
    """The sum of byte products that a value is, if the processor has the instruction."""
    op = value.owner
    if not isinstance(op, tile.ReduceOp) or op.kind.data.name != "add":
        return None
    product = op.x.owner
    if not e.features.has_avx512_vnni or e.lanes != LANES or e.is_computed(op.x):
        return None
    if not isinstance(product, tile.MapOp) or product in e.kept:
        return None
    sides = _sides(product)
    counts = [e.extents(op.x)[axis].number for axis in op.axis_list]
    known = [int(count) for count in counts if count is not None]
    if sides is None or len(known) != len(counts) or not all(known):
        return None
    total = 1
    for count in known:
        total *= count
    if total > MOST_TERMS:
        return None
    factors = [Factor(product.inputs[i], tuple(product.dim_lists[i])) for i in sides]
    return ByteWindow(op, factors[0], factors[1], tuple(known))


def _sides(product: tile.MapOp) -> tuple[int, int] | None:
    """Which inputs of a product are unsigned and signed bytes, where it is nothing else."""
    ops = list(product.body.block.ops)
    if len(product.inputs) != 2 or len(ops) != 4 or not isinstance(ops[2], arith.MuliOp):
        return None
    if set(ops[2].operands) != {ops[0].results[0], ops[1].results[0]}:
        return None
    if not isinstance(ops[3], tile.YieldOp) or ops[3].values[0] is not ops[2].results[0]:
        return None
    unsigned = _extended(product, ops, arith.ExtUIOp)
    signed = _extended(product, ops, arith.ExtSIOp)
    return None if unsigned is None or signed is None else (unsigned, signed)


def _extended(product: tile.MapOp, ops: list[Operation], kind: type[Operation]) -> int | None:
    """The number of the byte that one of the first operations extends to i32."""
    for op in ops[:2]:
        if not isinstance(op, kind) or op.results[0].type != IntegerType(32):
            continue
        for number, argument in enumerate(product.body.block.args):
            if op.operands[0] is argument and argument.type == IntegerType(8):
                return number
    return None


def windows_behind(e: KernelEmitter, value: SSAValue) -> list[ByteWindow]:
    """The sums of byte products that a stored value is or is computed from."""
    owner = value.owner
    operands = owner.inputs if isinstance(owner, tile.MapOp) else [value]
    found = (byte_window(e, operand) for operand in operands)
    return [window for window in found if window is not None]


def sum_at(e: KernelEmitter, window: ByteWindow, kept: Sequence[Coordinate]) -> V:
    """The sums at a point of the kept axes, one a lane."""
    total = V("zeroinitializer", "i32", LANES)
    taps = window.taps()
    factors = interleaved_factors(e, window, kept)
    for number, factor in enumerate(factors):
        group = taps[number * GROUP : (number + 1) * GROUP]
        bytes = _interleaved(e, [window.x.at(e, window.full(tap, kept)) for tap in group])
        total = _products(e, total, bytes, factor)
    return total


def prepare(e: KernelEmitter, window: ByteWindow, channels: Coordinate) -> None:
    """Interleave the factors of a block of channels before the loops over positions."""
    places = [d for d in range(_rank(window)) if d not in window.op.axis_list]
    if all(d in window.op.axis_list or d == places[-1] for d in window.w.dims):
        first = Coordinate(integer(0))
        interleaved_factors(e, window, [*[first] * (len(places) - 1), channels])


def _rank(window: ByteWindow) -> int:
    return tile.tile_type(window.op.x).rank


def interleaved_factors(
    e: KernelEmitter, window: ByteWindow, kept: Sequence[Coordinate]
) -> tuple[V, ...]:
    """The factors for a block of channels in groups, made once; they are the same for all
    positions where they only have the axes of the window and the last one."""
    moving = [d for d in window.w.dims if d not in window.op.axis_list]
    places = [d for d in range(_rank(window)) if d not in window.op.axis_list]
    where = [c.position.text for d, c in zip(places, kept, strict=True) if d in moving]
    key = ("byte window", id(window.op), *where, e.mask_key())
    known = e.remembered(key)
    if known is None:
        taps = window.taps()
        known = tuple(
            _interleaved(
                e, [window.w.at(e, window.full(tap, kept)) for tap in taps[i : i + GROUP]]
            )
            for i in range(0, len(taps), GROUP)
        )
        e.remember(key, known)
    return known


def _interleaved(e: KernelEmitter, rows: list[V]) -> V:
    """Up to four vectors of bytes as [lanes, four], zeros for those that are missing."""
    if len(rows) == 1:
        wide = e.f.assign(f"zext {rows[0].typed} to <{LANES} x i32>", "i32", LANES)
        return e.f.assign(f"bitcast {wide.typed} to <64 x i8>", "i8", 64)
    parts = [*rows, *[V("zeroinitializer", "i8", LANES)] * (GROUP - len(rows))]
    while len(parts) > 1:
        parts = [_joined(e, parts[i], parts[i + 1]) for i in range(0, len(parts), 2)]
    order = ", ".join(f"i32 {u * LANES + lane}" for lane in range(LANES) for u in range(GROUP))
    text = f"shufflevector {parts[0].typed}, <64 x i8> poison, <64 x i32> <{order}>"
    return e.f.assign(text, "i8", 64)


def _joined(e: KernelEmitter, a: V, b: V) -> V:
    order = ", ".join(f"i32 {i}" for i in range(2 * a.lanes))
    text = f"shufflevector {a.typed}, {b.typed}, <{2 * a.lanes} x i32> <{order}>"
    return e.f.assign(text, a.type, 2 * a.lanes)


def _products(e: KernelEmitter, total: V, x: V, w: V) -> V:
    name = "llvm.x86.avx512.vpdpbusd.512"
    e.module.declare(f"declare <16 x i32> @{name}(<16 x i32>, <64 x i8>, <64 x i8>)")
    text = f"call <16 x i32> @{name}({total.typed}, {x.typed}, {w.typed})"
    return e.f.assign(text, "i32", LANES)
