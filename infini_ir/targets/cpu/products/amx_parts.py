"""Large products on the matrix unit, by parts of k: a part of two panels stays in the first cache.

Where neither operand's rows of k fit the first cache, loading tiles of both from the second one
takes longer than their products. So two panels go through all of a program's rows part by part:
their part comes from the first cache for every strip but the first, and only the rows, which lie
in the second cache as tiles one after the other, pass. A strip's results stay in cells meanwhile,
whose next ones are claimed for writing while the last are added up: a tile is stored by waiting
for its lines. In the last part a block is finished during the products of the next one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from infini_ir.targets.cpu.llvm.writer import ZERO, V, integer
from infini_ir.targets.cpu.products.amx import BLOCK, Amx, Panels, Strip
from infini_ir.targets.cpu.products.amx_operands import when_new
from infini_ir.targets.cpu.products.grouped import GROUPS, ROW, GroupedProduct

if TYPE_CHECKING:
    from infini_ir.targets.cpu.kernel.emitter import KernelEmitter

CELLS = 4 * BLOCK * BLOCK
"""Bytes of a block's results."""


def run(e: KernelEmitter, p: GroupedProduct) -> None:
    """All blocks of a program's product."""
    lanes, e.lanes = e.lanes, GROUPS
    _Parts(e, p).run()
    # Results that were written past the caches are in memory before others ask for them.
    e.f.module.declare("declare void @llvm.x86.sse.sfence()")
    e.f.emit("call void @llvm.x86.sse.sfence()")
    e.lanes = lanes


class _Parts(Amx):
    """Cells for the results of all strips with two panels, and parts of k of one length."""

    def __init__(self, e: KernelEmitter, p: GroupedProduct) -> None:
        super().__init__(e, p)
        self.cells = e.scratch(self._strip_dim() * CELLS)
        runs = p.depth.all_runs.value
        assert runs, "the plan takes parts of a known number of runs"
        self.length = -(-runs // -(-runs // e.plan.part))
        """Runs of a part but the last, which may have fewer."""
        self.last = (runs - 1) // self.length * self.length
        """The first run of the last part."""
        self.rest = runs - self.last
        if (copy := self.left.copy) is not None:
            # Programs of the same rows follow one another.
            self.left.copy = lambda position, count: when_new(
                e, p.left.pointer, lambda: copy(position, count)
            )

    def _column_outside(self, panels: Panels) -> None:
        if self.p.right.fill is not None:
            count = integer(BLOCK) if panels.rest is None else panels.rest
            self.p.right.fill(panels.column, count)
        f = self.f
        f.loop(
            integer(self.last),
            lambda k: self._add_all(panels, k),
            step=self.length,
            hint="part",
        )
        self._finish_all(panels)

    def _add_all(self, panels: Panels, begin: V) -> None:
        """A part for all strips, into their cells."""

        def several(count: V, at: Callable[[V], Strip], step: int, hint: str) -> None:
            self.f.loop(count, lambda i: add(at(i)), step=step, hint=hint)

        def add(strip: Strip) -> None:
            self._add(strip, panels, begin, self.length)

        self._strips(several, add)

    def _finish_all(self, panels: Panels) -> None:
        """The last part for all strips, and what follows the product."""
        f, begin = self.f, integer(self.last)

        def several(count: V, at: Callable[[V], Strip], step: int, hint: str) -> None:
            def turn(i: V) -> None:
                before, begun = at(f.sub(i, integer(step))), f.compare("sgt", i, ZERO)

                def finish(run: V) -> None:
                    cells = self._cells(before)
                    f.when(begun, lambda: self._part(before, panels, cells, run, self.rest))

                self._add(at(i), panels, begin, self.rest, finish)

            f.loop(count, turn, step=step, hint=hint)
            some = f.compare("sgt", count, ZERO)
            last = at(f.sub(count, integer(step)))
            f.when(some, lambda: self._finish(last, panels, self._cells(last)), "last")

        def one(strip: Strip) -> None:
            self._add(strip, panels, begin, self.rest)
            self._finish(strip, panels, self._cells(strip))

        self._strips(several, one)

    def _cells(self, strip: Strip) -> V:
        number = self._strip_number(strip)
        return self.f.gep(self.cells, self.f.mul(number, integer(CELLS)), "i8")

    def _add(
        self,
        strip: Strip,
        panels: Panels,
        begin: V,
        count: int,
        after: Callable[[V], None] | None = None,
    ) -> None:
        """So many runs of k from one on, added to a strip's cells; `after` is done after each
        of them, counted from 0."""
        f, level = self.f, self.e.enter()
        first = f.compare("eq", begin, ZERO)
        again = f.compare("sgt", begin, ZERO)
        f.when(first, lambda: self._clear(strip, panels), "first")
        f.when(again, lambda: self._reload(strip, panels), "again")
        rows, right = self._operands(strip, panels)

        def step(number: V) -> None:
            i = f.add(begin, number)
            a, b = f.mul(i, self.left.run_stride), f.mul(i, self.p.right.run_stride)
            self._keep_awake()
            self._products(
                [f.gep(pointer, a, "i8") for pointer in rows],
                [f.gep(pointer, b, "i8") for pointer in right],
            )
            self._claim(strip, number, count)
            if after is not None:
                after(number)

        f.loop(integer(count), step, hint="k")
        for number, place in self._places(strip, panels, self._cells(strip)):
            self._store(number, place, 4 * BLOCK)
        self.e.leave(level)

    def _reload(self, strip: Strip, panels: Panels) -> None:
        """Load what parts before have added up."""
        for number, place in self._places(strip, panels, self._cells(strip)):
            self._load(number, place, integer(4 * BLOCK), passes=False)

    def _claim(self, strip: Strip, number: V, count: int) -> None:
        """Ask for a share of the next strip's cells, of the first strip's after the last."""
        f, share = self.f, -(-CELLS // ROW // count)
        position = f.add(strip.position, integer(2 * self.size))
        wrapped = f.select(f.compare("slt", position, self.height), position, ZERO)
        following = self._cells(Strip(strip.line, wrapped, 1, strip.count, strip.tiles))
        at = f.gep(following, f.mul(number, integer(share * ROW)), "i8")
        for line in range(share):
            f.prefetch(f.gep(at, integer(line * ROW), "i8"), level=1, writing=True)
