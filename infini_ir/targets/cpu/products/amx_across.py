"""Products across (`across`) on the matrix unit of x86: bf16 into f32, rows in lanes.

The result has its rows side by side in memory, so the unit computes it turned: its left
operand are the columns of the right factor, 16 of them a tile, with 32 neighbours along k each;
its right operand are the rows of the left factor, 16 side by side, k in pairs (`amx_operands`).
Results are stored where they stay, f32, and read there lane by lane by what follows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xdsl.dialects import arith
from xdsl.dialects.builtin import FloatAttr

from infini_ir.dialects import tile
from infini_ir.targets.cpu.kernel.sources import MemorySource
from infini_ir.targets.cpu.llvm.writer import ZERO, V, integer
from infini_ir.targets.cpu.products import across, amx_operands
from infini_ir.targets.cpu.products.amx_operands import LINE, LINES, RUN, LeftTiles, Pairs

if TYPE_CHECKING:
    from infini_ir.targets.cpu.kernel.emitter import KernelEmitter

LEFT, RIGHT = (4, 5), (6, 7)
"""Numbers of the tiles of the operands; those of results are 0 to 3."""

WRITTEN_OUT = 4
"""Runs of k that are written out one after the other."""


def configure(e: KernelEmitter) -> None:
    """Set all tiles to 16 rows of 64 bytes, where a kernel begins."""
    e.tile_shapes = tuple(e.f.alloca("i8", 64) for _ in range(2))
    data = bytearray(64)
    data[0] = 1
    for number in range(8):
        data[16 + 2 * number], data[48 + number] = LINE, LINES
    text = "".join(f"\\{byte:02X}" for byte in data)
    for shape in e.tile_shapes:
        e.f.emit(f'store [64 x i8] c"{text}", ptr {shape.text}, align 64')
    _load_shapes(e, e.tile_shapes[0])


def _load_shapes(e: KernelEmitter, shapes: V) -> None:
    e.f.module.declare("declare void @llvm.x86.ldtilecfg(ptr)")
    e.f.emit(f"call void @llvm.x86.ldtilecfg(ptr {shapes.text})")


def applies(e: KernelEmitter, op: tile.DotOp) -> bool:
    """Whether the matrix unit does a product."""
    return e.plan.unit == "amx" and across.applies(e, op)


def emit(e: KernelEmitter, op: tile.DotOp) -> None:
    """Compute a product into scratch memory, or into the cell that a loop carries it in."""
    right = amx_operands.pairs_of(e, op.lhs)
    left = amx_operands.left_of(e, op)
    memory = e.cells.get(op.out) or e.scratch_tile(op.out)
    fresh = _is_zero(op)
    if not fresh:
        e.prepare(op.acc)
        if e.sources[op.acc] is not memory:
            e.sweep([(op.acc, memory)], e.extents(op.acc))
    rows, depth = e.extents(op.lhs)
    columns = e.extents(op.rhs)[0 if op.transposed is not None else 1]
    level = e.enter()
    _Product(e, left, right, memory, rows, depth, fresh).run(columns)
    e.leave(level)
    e.sources[op.out] = memory


def _is_zero(op: tile.DotOp) -> bool:
    owner = op.acc.owner
    if not isinstance(owner, tile.FullOp):
        return False
    value = owner.scalar.owner
    return (
        isinstance(value, arith.ConstantOp)
        and isinstance(value.value, FloatAttr)
        and value.value.value.data == 0
    )


@dataclass
class _Product:
    """Blocks of 32 x 32 results, and what is left on both sides."""

    e: KernelEmitter
    left: LeftTiles
    right: Pairs
    result: MemorySource
    lanes: V
    """Rows of the product, side by side."""
    depth: V
    fresh: bool
    """Whether results begin as zeros, not as what lies in memory."""

    def run(self, columns: V) -> None:
        """All of them; `columns` are the rows of the unit's left operand."""
        f = self.e.f
        two = integer(2 * LINES)
        whole = f.mul(f.udiv(columns, two), two)
        f.loop(whole, lambda i: self._line(i, 2), step=2 * LINES, hint="tiles")
        rest = f.sub(columns, whole)
        f.when(
            f.compare("sge", rest, integer(LINES)), lambda: self._line(whole, 1), hint="tile"
        )
        few = f.sub(rest, f.mul(f.udiv(rest, integer(LINES)), integer(LINES)))
        f.when(
            f.compare("sgt", few, ZERO), lambda: self._few(f.sub(columns, few), few), hint="few"
        )

    def _few(self, first: V, count: V) -> None:
        """Fewer than 16: tiles of so many rows."""
        e, f = self.e, self.e.f
        everything, fewer = e.tile_shapes
        byte = f.assign(f"trunc {count.typed} to i8", "i8")
        for number in (0, 1, LEFT[0]):
            f.store(byte, f.gep(fewer, integer(48 + number), "i8"), 1)
        _load_shapes(e, fewer)
        self._line(first, 1)
        _load_shapes(e, everything)

    def _line(self, first: V, tiles: int) -> None:
        f = self.e.f
        count = f.udiv(f.add(self.lanes, integer(LINES - 1)), integer(LINES))
        whole = f.mul(f.udiv(count, integer(2)), integer(2))
        if tiles == 2:
            self._fetch(first)
        lanes = lambda i: f.mul(i, integer(LINES))  # noqa: E731
        f.loop(whole, lambda i: self._block(first, tiles, lanes(i), 2), step=2, hint="lanes")
        odd = f.compare("sgt", f.sub(count, whole), ZERO)
        f.when(odd, lambda: self._block(first, tiles, lanes(whole), 1), hint="odd")

    def _fetch(self, first: V) -> None:
        """Ask for the next 32 rows of a left operand in place: they come from the second
        cache, and loads of tiles wait for each other."""
        runs = self.left.runs_in_place
        for row in range(2 * LINES) if runs else ():
            for run in range(runs):
                more = self.e.f.add(first, integer(2 * LINES + row))
                self.e.f.prefetch(self.left.place(self.e, integer(run), more, 0), level=1)

    def _block(self, first: V, tiles: int, lane: V, panels: int) -> None:
        f = self.e.f
        cells: dict[int, V] = {}
        stride = f.mul(self.result.strides[1], integer(4))
        for t in range(tiles):
            row = f.mul(f.add(first, integer(t * LINES)), stride)
            line = f.gep(self.result.pointer, row, "i8")
            for v in range(panels):
                place = f.add(f.mul(lane, integer(4)), integer(v * LINE))
                cells[2 * t + v] = f.gep(line, place, "i8")
        for number, cell in cells.items():
            if self.fresh:
                f.module.declare("declare void @llvm.x86.tilezero(i8)")
                f.emit(f"call void @llvm.x86.tilezero(i8 {number})")
            else:
                self._load(number, cell, stride)
        self._runs(lambda run: self._multiply(run, first, tiles, lane, panels))
        f.module.declare("declare void @llvm.x86.tilestored64(i8, ptr, i64)")
        for number, cell in cells.items():
            f.emit(
                f"call void @llvm.x86.tilestored64(i8 {number}, ptr {cell.text}, "
                f"{stride.typed})"
            )

    def _runs(self, body: Callable[[V], None]) -> None:
        f = self.e.f
        count = f.udiv(f.add(self.depth, integer(RUN - 1)), integer(RUN))
        if count.number is not None and count.number <= WRITTEN_OUT:
            for run in range(int(count.number)):
                body(integer(run))
        else:
            f.loop(count, body, hint="k")

    def _multiply(self, run: V, first: V, tiles: int, lane: V, panels: int) -> None:
        """One run of k for a block: each tile is loaded just before its first use."""
        left = [self.left.place(self.e, run, first, t) for t in range(tiles)]
        right = [self.right.place(self.e, run, lane, v) for v in range(panels)]
        for v, pointer in enumerate(right):
            self._load(RIGHT[v], pointer, self.right.stride)
            if v == 0:
                self._load(LEFT[0], left[0], self.left.row_stride)
            self._dot(v, LEFT[0], RIGHT[v])
        for t, pointer in enumerate(left[1:], 1):
            self._load(LEFT[t], pointer, self.left.row_stride)
            for v in range(panels):
                self._dot(2 * t + v, LEFT[t], RIGHT[v])

    def _load(self, number: int, pointer: V, stride: V) -> None:
        f = self.e.f
        f.module.declare("declare void @llvm.x86.tileloadd64(i8, ptr, i64)")
        f.emit(
            f"call void @llvm.x86.tileloadd64(i8 {number}, ptr {pointer.text}, {stride.typed})"
        )

    def _dot(self, result: int, left: int, right: int) -> None:
        f = self.e.f
        f.module.declare("declare void @llvm.x86.tdpbf16ps(i8, i8, i8)")
        f.emit(f"call void @llvm.x86.tdpbf16ps(i8 {result}, i8 {left}, i8 {right})")
