"""Running sums, products and extrema of a tile, into scratch memory.

Along the last axis whole vectors are scanned by shuffles, in as many steps as the number of
lanes has bits; one more combination takes what came before. What is left, and other axes,
go element by element.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from infini_ir.dialects import tile
from infini_ir.targets.cpu.kernel.sources import Coordinate, MemorySource, Point
from infini_ir.targets.cpu.llvm.reductions import Combiner
from infini_ir.targets.cpu.llvm.writer import ONE, V, integer

if TYPE_CHECKING:
    from infini_ir.targets.cpu.kernel.emitter import KernelEmitter


def emit_scan(e: KernelEmitter, op: tile.ScanOp) -> None:
    """Compute a scan where it stands; its users read it from memory."""
    e.prepare(op.x)
    memory, extents = e.scratch_tile(op.out), e.extents(op.out)
    scan = _Scan(e, op, memory, extents[op.along])
    outer = [axis for axis in range(len(extents)) if axis != op.along]
    e.nest(extents, outer, [None] * len(extents), scan.row)
    e.sources[op.out] = memory


@dataclass
class _Scan:
    e: KernelEmitter
    op: tile.ScanOp
    memory: MemorySource
    extent: V

    @property
    def combiner(self) -> Combiner:
        return Combiner(self.op.kind.data, tile.tile_type(self.op.x).element)

    def row(self, point: Point) -> None:
        """One row, at a point of the other axes."""
        e = self.e
        cell = e.f.alloca(self.combiner.type)
        e.f.store(self.combiner.neutral(), cell, 8)
        whole = integer(0)
        if self.op.along == len(point) - 1:
            whole = self._whole_vectors()
        if self.op.reverse is None:
            self._vectors(point, cell, whole)
            self._elements(point, cell, whole)
        else:
            self._elements(point, cell, whole)
            self._vectors(point, cell, whole)

    def _whole_vectors(self) -> V:
        """How many elements lie in whole vectors."""
        if self.extent.number is not None:
            return integer(int(self.extent.number) // self.e.lanes * self.e.lanes)
        return self.e.f.assign(f"and i64 {self.extent.text}, {-self.e.lanes}", "i64")

    def _at(self, point: Point, position: V, *, vector: bool) -> Point:
        along = self.op.along
        return (*point[:along], Coordinate(position, vector), *point[along + 1 :])

    def _elements(self, point: Point, cell: V, begin: V) -> None:
        e, combiner = self.e, self.combiner
        last = e.f.sub(e.f.add(self.extent, begin), ONE)

        def element(number: V) -> None:
            level = e.enter()
            position = number if self.op.reverse is None else e.f.sub(last, number)
            at = self._at(point, position, vector=False)
            old = e.f.load(cell, combiner.type, 1, 8)
            new = combiner.apply(e.f, old, e.element(self.op.x, at))
            self.memory.store(e, at, new if self.op.exclusive is None else old)
            e.f.store(new, cell, 8)
            e.leave(level)

        e.f.loop(self.extent, element, start=begin, hint="scan")

    def _vectors(self, point: Point, cell: V, whole: V) -> None:
        e, combiner = self.e, self.combiner
        first = e.f.sub(whole, integer(e.lanes))
        backwards = self.op.reverse is not None

        def vector(number: V) -> None:
            level = e.enter()
            position = e.f.sub(first, number) if backwards else number
            at = self._at(point, position, vector=True)
            old = e.f.splat(e.f.load(cell, combiner.type, 1, 8), e.lanes)
            value = e.f.splat(e.element(self.op.x, at), e.lanes)
            neutral = e.f.splat(combiner.neutral(), e.lanes)
            step = 1
            while step < e.lanes:
                value = combiner.apply(e.f, self._shifted(value, neutral, step), value)
                step *= 2
            new = combiner.apply(e.f, old, value)
            given = new if self.op.exclusive is None else self._shifted(new, old, 1)
            self.memory.store(e, at, given)
            lane = 0 if backwards else e.lanes - 1
            text = f"extractelement {new.typed}, i64 {lane}"
            e.f.store(e.f.assign(text, combiner.type), cell, 8)
            e.leave(level)

        e.f.loop(whole, vector, step=e.lanes, hint="scan.vector")

    def _shifted(self, value: V, filling: V, by: int) -> V:
        """The lanes moved on in the direction of the scan, `filling` entering."""
        lanes = self.e.lanes
        if self.op.reverse is None:
            numbers = [lane - by if lane >= by else lanes + lane for lane in range(lanes)]
        else:
            numbers = [lane + by for lane in range(lanes)]
        mask = ", ".join(f"i32 {number}" for number in numbers)
        text = f"shufflevector {value.typed}, {filling.typed}, <{lanes} x i32> <{mask}>"
        return self.e.f.assign(text, value.type, lanes)
