"""Products of groups in vector registers: `vdpbf16ps`, `vpdpbusd`, or halves of words in turn.

The register tile is that of other products (`register_tile`); a step of k is a group: a word of
the left operand, in all lanes, times a row of a panel (`grouped`), sixteen words.

- bf16: `vdpbf16ps` adds two products to each f32. It takes denormal operands and results for 0
  and rounds to nearest even whatever the mode is. Intel's processors with AVX512-FP16 start one
  every other cycle, at half the rate of multiply-adds in f32; there, as without the
  instruction, both halves of a word become f32, which is exact, and are multiplied in turn.
- Bytes: `vpdpbusd` adds four products of unsigned and signed bytes to each i32. Where both
  operands have a sign, or neither has, the right one's top bits are turned over, which moves
  it by 128, and 128 times the sums of the left one's rows are taken out again.
- Without that instruction, bytes are widened to words of 16 bits, even and odd ones apart, and
  `pmaddwd` adds two products of words to each i32. (`pmaddubsw` would save the widening,
  but its sums of 16 bits saturate.)

All integer sums are exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from infini_ir.dialects.tile.types import GROUPS
from infini_ir.targets.cpu.kernel.sources import Point
from infini_ir.targets.cpu.llvm.writer import ZERO, Function, V, floating, integer
from infini_ir.targets.cpu.products import register_tile
from infini_ir.targets.cpu.products.grouped import ROW, GroupedProduct
from infini_ir.targets.cpu.products.register_tile import Panels, Product, Strip
from infini_ir.utils.symbolic import product

if TYPE_CHECKING:
    from infini_ir.targets.cpu.features import CpuFeatures
    from infini_ir.targets.cpu.kernel.emitter import KernelEmitter

WORD = 4
"""Bytes of a group."""

HALVES = ("fma", "pmaddwd")
"""Instructions on the even and then the odd elements of a word, made twice as wide."""

UNROLL = 2
"""Groups of the innermost loop written out."""

NEAR = 4096
"""Bytes that a panel is fetched ahead where memory limits a product."""

FEW_STRIPS = 2
"""Strips of rows below which memory limits a product whose weights come from there."""


def instruction_for(group: int, features: CpuFeatures) -> str:
    """What multiplies groups of this size in vectors, "" where nothing does: "vdpbf16ps",
    "fma", "vpdpbusd" or "pmaddwd"."""
    if group == 1 or features.arch != "x86-64":
        return ""
    if group == 2:
        if features.has_avx512_bf16 and not features.has_avx512_fp16:
            return "vdpbf16ps"
        return "fma" if features.has_fma else ""
    if features.has_avx512:
        return "vpdpbusd" if features.has_avx512_vnni else "pmaddwd"
    return "vpdpbusd" if features.has_avx_vnni else "pmaddwd"


def run(e: KernelEmitter, p: GroupedProduct, finish_cost: int) -> None:
    """All register tiles of a program's product; `finish_cost` as `Product` has it."""
    _Lanes(e, p).run(finish_cost)


@dataclass
class _Rows:
    """The left operand by rows of whole groups; strides in bytes."""

    pointer: V
    row_strides: list[V]
    outer_strides: list[V]
    group_stride: int


@dataclass(frozen=True)
class _Ahead:
    """Lines of panels that a strip asks for before they are needed: all at once they would
    keep the first strip waiting that reads them."""

    starts: list[V]
    """Where its share begins in each panel."""
    begin: V
    """The group at which it begins to ask."""
    rows: int
    """Rows of the strip, of all that share the panels."""
    total: int

    def fetch(self, lanes: _Lanes, k: V, groups: int) -> None:
        """Ask for the lines of one turn of so many groups, which begins at group k."""
        f = lanes.f
        lines = -(-groups * self.rows // self.total)
        turn = f.udiv(f.sub(k, self.begin), integer(groups))
        offset = f.mul(turn, integer(lines * ROW))
        for start in self.starts:
            for line in range(lines):
                at = f.gep(start, f.add(offset, integer(line * ROW)), "i8")
                f.prefetch(at, level=2)


class _Lanes:
    def __init__(self, e: KernelEmitter, p: GroupedProduct) -> None:
        self.e, self.f, self.p = e, e.f, p
        self.instruction = instruction_for(p.depth.group, e.features)
        self.groups = self._group_count()
        """Groups of the last contracted axis."""
        self.groups_dim = p.depth.runs_dim * p.depth.height
        self.flips = self.instruction == "vpdpbusd" and p.unsigned[0] == p.unsigned[1]
        """Whether the right operand's top bits are turned over."""
        wide = self.instruction in HALVES
        self.left = self._in_place() if self._is_direct() and not wide else self._copied(wide)
        self.sums = self._row_sums() if self.flips else None

    def run(self, finish_cost: int) -> None:
        f, p, plan = self.f, self.p, self.e.plan
        words = integer(WORD)
        right = Panels(
            p.right.pointer,
            [*(f.udiv(stride, words) for stride in p.right.outer_strides), integer(GROUPS)],
            "i32",
            ROW,
            GROUPS,
            f.udiv(p.right.panel_stride, words),
            p.unsigned[1],
        )
        register_tile.run(
            self.e,
            Product(
                self.left.pointer,
                self.left.row_strides,
                [*self.left.outer_strides, integer(self.left.group_stride)],
                "i8",
                1,
                p.unsigned[0],
                right,
                [*p.depth.outer, self.groups],
                p.rows,
                p.columns,
                p.accumulator,
                self._initial,
                p.finish,
                plan.strip,
                plan.vectors,
                plan.panels,
                loops=self._loops,
                finish_cost=finish_cost,
                turns=self._turns(),
            ),
        )

    def _turns(self) -> int:
        """Groups of k that strips take by turns; 0: all."""
        depth, size = self.p.depth, self.e.plan.parameters["BK"]
        known = depth.size.number
        if depth.outer or known is None or size >= int(known):
            return 0
        return size // depth.group

    # The left operand

    def _group_count(self) -> V:
        """Groups of the last contracted axis, without those that only fill its last run up."""
        depth = self.p.depth
        if depth.size.number is None:
            return self.f.mul(depth.runs, integer(depth.height))
        return integer(-(-int(depth.size.number) // depth.group))

    def _is_direct(self) -> bool:
        """Whether groups can be loaded from where they lie."""
        size = self.p.depth.size.number
        whole = size is not None and int(size) % self.p.depth.group == 0
        return self.p.left.k_stride.number == 1 and whole

    def _in_place(self) -> _Rows:
        a, item = self.p.left, integer(WORD // self.p.depth.group)
        rows = [self.f.mul(stride, item) for stride in a.free_strides]
        outer = [self.f.mul(stride, item) for stride in a.outer_strides]
        return _Rows(a.pointer, rows, outer, WORD)

    def _copied(self, wide: bool) -> _Rows:
        """Rows one after the other in scratch memory, filled up with zeros; `wide`: each group
        as its even elements twice as wide, then its odd ones."""
        e, f, p = self.e, self.f, self.p
        size = 2 * WORD if wide else WORD
        last = (self.groups_dim + (GROUPS - 1)) // GROUPS * (GROUPS * size)
        row = product(p.depth.outer_dims) * last
        scratch = e.scratch(product(p.row_dims) * row)
        outer: list[V] = []
        step = e.sizes.of(last)
        for count in reversed(p.depth.outer):
            outer.insert(0, step)
            step = f.mul(step, count)
        rows = [step]
        if len(p.rows) == 2:
            rows.insert(0, f.mul(step, p.rows[1]))
        made = _Rows(scratch, rows, outer, size)
        copy = _Copy(e, p, made, wide)
        if len(p.rows) == 2:
            f.loop(
                p.rows[0],
                lambda h: f.loop(p.rows[1], lambda w: copy.row([h, w]), hint="row"),
                hint="line",
            )
        else:
            f.loop(p.rows[0], lambda h: copy.row([h]), hint="row")
        return made

    def _row_sums(self) -> V:
        """What the product begins with in each row: 128 times the sum of the row's bytes, such
        that the right operand's offset is taken out."""
        e, f, p = self.e, self.f, self.p
        scratch = e.scratch(product(p.row_dims) * WORD)
        lanes = e.features.vector_bytes // WORD
        # Unsigned bytes lost 128, signed ones got it.
        factor = integer(128 if p.unsigned[0] else -128, "i32")

        def one(at: list[V], number: V) -> None:
            index = ZERO
            for position, stride in zip(at, self.left.row_strides, strict=True):
                index = f.add(index, f.mul(position, stride))
            cell = f.alloca(f"<{lanes} x i32>")
            f.store(V("zeroinitializer", "i32", lanes), cell, 64)
            self._add_row(f.gep(self.left.pointer, index, "i8"), cell, lanes, 0)
            sums = f.load(cell, "i32", lanes, 64)
            total = f.intrinsic("llvm.vector.reduce.add", [sums], "i32")
            f.store(f.mul(total, factor), f.gep(scratch, number, "i32"), WORD)

        if len(p.rows) == 1:
            f.loop(p.rows[0], lambda h: one([h], h), hint="sum")
            return scratch
        width = p.rows[1]
        f.loop(
            p.rows[0],
            lambda h: f.loop(
                width, lambda w: one([h, w], f.add(f.mul(h, width), w)), hint="sum"
            ),
            hint="line",
        )
        return scratch

    def _add_row(self, row: V, cell: V, lanes: int, level: int) -> None:
        """Add the bytes of a row to the lanes of a cell."""
        f, depth = self.f, self.p.depth
        if level < len(depth.outer):
            stride = self.left.outer_strides[level]
            f.loop(
                depth.outer[level],
                lambda i: self._add_row(
                    f.gep(row, f.mul(i, stride), "i8"), cell, lanes, level + 1
                ),
                hint="k",
            )
            return
        ones = V("splat (i32 16843009)", "i32", lanes)

        def add(at: V, mask: V | None) -> None:
            bytes = f.load(f.gep(row, f.mul(at, integer(WORD)), "i8"), "i32", lanes, 1, mask)
            pair = (bytes, ones) if self.p.unsigned[0] else (ones, bytes)
            self._dot_bytes(*pair, cell)

        whole = f.mul(f.udiv(self.groups, integer(lanes)), integer(lanes))
        f.loop(whole, lambda at: add(at, None), step=lanes, hint="k")
        rest = f.sub(self.groups, whole)
        some = f.compare("sgt", rest, ZERO)
        f.when(some, lambda: add(whole, f.first_lanes(rest, lanes)), hint="rest")

    def _initial(self, point: Point) -> V:
        if self.sums is None:
            return floating(0.0) if self.p.accumulator == "float" else integer(0, "i32")
        number = point[0].position
        if len(point) == 3:
            number = self.f.add(self.f.mul(number, self.p.rows[1]), point[1].position)
        return self.f.load(self.f.gep(self.sums, number, "i32"), "i32", 1, WORD)

    # The loops over k

    def _loops(self, e: KernelEmitter, strip: Strip) -> None:
        f, p = self.f, strip.product
        offsets, cells = strip.offsets, strip.cells
        fetches = self._memory_limits(len(offsets))
        ahead = None if fetches else self._ahead(strip)

        def level(depth: int, a: V, b: list[V]) -> None:
            if depth < len(p.counts) - 1:

                def inside(i: V) -> None:
                    moved = f.gep(a, f.mul(i, p.a_strides[depth]), "i8")
                    step = f.mul(i, p.b.k_strides[depth])
                    level(depth + 1, moved, [f.gep(pointer, step, "i32") for pointer in b])

                f.loop(p.counts[depth], inside, hint="k")
                return
            begin, end = (p.part.begin, p.part.end) if p.part else (ZERO, p.counts[-1])
            if self.instruction == "pmaddwd":

                def half(number: V) -> None:
                    group = f.udiv(number, integer(2))
                    if fetches:
                        self._fetch(b, group, 1)
                    if ahead is not None:
                        ahead.fetch(self, group, 1)
                    self._half(number, a, offsets, b, cells)

                # Both halves in one turn would be added to each other first, by LLVM, for which
                # there are no registers.
                first, last = (f.mul(at, integer(2)) for at in (begin, end))
                f.loop(last, half, start=first, hint="half")
                return
            whole = f.mul(f.udiv(end, integer(UNROLL)), integer(UNROLL))

            def turn(k: V) -> None:
                if fetches:
                    self._fetch(b, k, UNROLL)
                if ahead is not None:
                    ahead.fetch(self, k, UNROLL)
                for u in range(UNROLL):
                    self._group(f.add(k, integer(u)), a, offsets, b, cells)

            f.loop(whole, turn, start=begin, step=UNROLL, hint="k")
            f.loop(end, lambda k: self._group(k, a, offsets, b, cells), start=whole, hint="k")

        level(0, strip.base, strip.panels)

    def _memory_limits(self, rows: int) -> bool:
        total = 1
        for extent in self.p.rows:
            if extent.number is None:
                return False
            total *= int(extent.number)
        return total < FEW_STRIPS * rows

    def _fetch(self, right: list[V], k: V, groups: int) -> None:
        """Ask for what a turn of so many groups reads of each panel some turns later."""
        per_panel = GROUPS // self.e.lanes
        begin = self.f.add(self.f.mul(k, integer(ROW)), integer(NEAR))
        for pointer in right[::per_panel]:
            for line in range(groups):
                at = self.f.add(begin, integer(line * ROW))
                self.f.prefetch(self.f.gep(pointer, at, "i8"), level=1)

    def _ahead(self, strip: Strip) -> _Ahead | None:
        """A strip's share, by rows, of what comes next: of the part of the panels behind the one
        that strips take turns at, or of the next panels."""
        p, f = strip.product, self.f
        total, rows = p.row_count, len(strip.offsets)
        whole = all(mask is None for mask in strip.masks)
        if not total or len(p.rows) > 1 or len(p.counts) > 1 or not whole:
            return None
        firsts = strip.panels[:: GROUPS // self.e.lanes]
        following = f.mul(p.b.panel_stride, integer(WORD * len(firsts)))
        part, groups, begin = p.part, p.counts[0], ZERO
        if part is not None:
            groups, begin = integer(p.turns), part.begin
            end = f.mul(part.end, integer(ROW))
            following = f.select(part.more, end, following)
        share = f.udiv(f.mul(strip.row, f.mul(groups, integer(ROW))), integer(total))
        offset = f.add(following, share)
        starts = [f.gep(panel, offset, "i8") for panel in firsts]
        return _Ahead(starts, begin, rows, total)

    def _group(
        self, k: V, a: V, offsets: list[V], right: list[V], cells: list[list[V]]
    ) -> None:
        """One group for the whole register tile."""
        f, lanes = self.f, self.e.lanes
        index = f.mul(k, integer(GROUPS))
        factors: list[list[V]] = []
        for pointer in right:
            words = f.load(f.gep(pointer, index, "i32"), "i32", lanes, min(ROW, WORD * lanes))
            factors.append(self._factors(words))
        begin = f.mul(k, integer(self.left.group_stride))
        for part in range(self.left.group_stride // WORD):
            place = f.add(begin, integer(part * WORD))
            for row, offset in enumerate(offsets):
                start = f.gep(f.gep(a, offset, "i8"), place, "i8")
                left = f.splat(f.load(start, "i32", 1, 1), lanes)
                for v, factor in enumerate(factors):
                    self._multiply_add(left, factor[part], cells[row][v])

    def _half(
        self, number: V, a: V, offsets: list[V], right: list[V], cells: list[list[V]]
    ) -> None:
        """The even or the odd bytes of a group, by the lowest bit of `number`."""
        f, lanes = self.f, self.e.lanes
        pairs, kind = 2 * lanes, f"<{2 * lanes} x i16>"
        group = f.udiv(number, integer(2))
        low = f.assign(f"trunc i64 {number.text} to i16", "i16")
        odd = f.assign(f"and i16 {low.text}, 1", "i16")
        # Even bytes are moved up, over the odd ones.
        up = f.splat(f.assign(f"sub i16 8, {f.mul(odd, integer(8, 'i16')).text}", "i16"), pairs)
        down = "lshr" if self.p.unsigned[1] else "ashr"
        factors: list[V] = []
        for pointer in right:
            at = f.gep(pointer, f.mul(group, integer(GROUPS)), "i32")
            halves = f.load(at, "i16", pairs, min(ROW, WORD * lanes))
            moved = f.assign(f"shl {kind} {halves.text}, {up.text}", "i16", pairs)
            words = f.assign(f"{down} {moved.typed}, splat (i16 8)", "i16", pairs)
            factors.append(f.assign(f"bitcast {words.typed} to <{lanes} x i32>", "i32", lanes))
        place = f.mul(number, integer(WORD))
        for row, offset in enumerate(offsets):
            start = f.gep(f.gep(a, offset, "i8"), place, "i8")
            left = f.splat(f.load(start, "i32", 1, 1), lanes)
            for v, factor in enumerate(factors):
                self._dot_words(left, factor, cells[row][v])

    def _factors(self, words: V) -> list[V]:
        """A row of a panel as the instruction takes it."""
        if self.flips:
            top = "splat (i32 -2139062144)"
            return [self.f.assign(f"xor {words.typed}, {top}", "i32", words.lanes)]
        if self.instruction == "fma":
            return list(_even_and_odd(self.f, words, self.p.depth.group, self.p.unsigned[1]))
        return [words]

    def _multiply_add(self, left: V, right: V, cell: V) -> None:
        if self.instruction == "vpdpbusd":
            # The first factor has no sign; turned over, the right one has what the left has not.
            unsigned = self.p.unsigned[0]
            self._dot_bytes(*((left, right) if unsigned else (right, left)), cell)
        elif self.instruction == "vdpbf16ps":
            name, parts = "@llvm.x86.avx512bf16.dpbf16ps.512", "<32 x bfloat>"
            self._call(name, "float", parts, left, right, cell)
        else:
            self._multiply_floats(left, right, cell)

    def _multiply_floats(self, a: V, b: V, cell: V) -> None:
        f, lanes = self.f, a.lanes
        left, right = (
            f.assign(f"bitcast {value.typed} to <{lanes} x float>", "float", lanes)
            for value in (a, b)
        )
        old = f.load(cell, "float", lanes, 64)
        f.store(f.intrinsic("llvm.fma", [left, right, old], "float", lanes), cell, 64)

    def _dot_bytes(self, unsigned: V, signed: V, cell: V) -> None:
        lanes = unsigned.lanes
        name = f"@llvm.x86.avx512.vpdpbusd.{lanes * 32}"
        self._call(name, "i32", f"<{4 * lanes} x i8>", unsigned, signed, cell)

    def _call(self, name: str, type: str, parts: str, a: V, b: V, cell: V) -> None:
        f, lanes = self.f, a.lanes
        kind = f"<{lanes} x {type}>"
        f.module.declare(f"declare {kind} {name}({kind}, {parts}, {parts})")
        left, right = (
            f.assign(f"bitcast {value.typed} to {parts}", "i32", lanes) for value in (a, b)
        )
        old = f.load(cell, type, lanes, 64)
        given = f"{old.typed}, {parts} {left.text}, {parts} {right.text}"
        f.store(f.assign(f"call {kind} {name}({given})", type, lanes), cell, 64)

    def _dot_words(self, a: V, b: V, cell: V) -> None:
        """Add two products of 16 bits a lane."""
        f, lanes = self.f, a.lanes
        names = {16: "avx512.pmaddw.d.512", 8: "avx2.pmadd.wd", 4: "sse2.pmadd.wd"}
        name, parts = f"@llvm.x86.{names[lanes]}", f"<{2 * lanes} x i16>"
        f.module.declare(f"declare <{lanes} x i32> {name}({parts}, {parts})")
        left, right = (
            f.assign(f"bitcast {value.typed} to {parts}", "i32", lanes) for value in (a, b)
        )
        given = f"{parts} {left.text}, {parts} {right.text}"
        sums = f.assign(f"call <{lanes} x i32> {name}({given})", "i32", lanes)
        f.store(f.add(f.load(cell, "i32", lanes, 64), sums), cell, 64)


def _even_and_odd(f: Function, words: V, group: int, unsigned: bool) -> tuple[V, V]:
    """The even and the odd elements of words: bf16 as f32, bytes as pairs of 16 bits."""
    lanes = words.lanes
    if group == 2:
        return (
            f.assign(f"shl {words.typed}, splat (i32 16)", "i32", lanes),
            f.assign(f"and {words.typed}, splat (i32 -65536)", "i32", lanes),
        )
    kind = f"<{2 * lanes} x i16>"
    eight = "splat (i16 8)"
    halves = f.assign(f"bitcast {words.typed} to {kind}", "i16", 2 * lanes)
    if unsigned:
        even = f.assign(f"and {halves.typed}, splat (i16 255)", "i16", 2 * lanes)
        odd = f.assign(f"lshr {halves.typed}, {eight}", "i16", 2 * lanes)
    else:
        moved = f.assign(f"shl {halves.typed}, {eight}", "i16", 2 * lanes)
        even = f.assign(f"ashr {moved.typed}, {eight}", "i16", 2 * lanes)
        odd = f.assign(f"ashr {halves.typed}, {eight}", "i16", 2 * lanes)
    return (
        f.assign(f"bitcast {even.typed} to <{lanes} x i32>", "i32", lanes),
        f.assign(f"bitcast {odd.typed} to <{lanes} x i32>", "i32", lanes),
    )


class _Copy:
    """Rows of the left operand as whole groups."""

    def __init__(self, e: KernelEmitter, p: GroupedProduct, made: _Rows, wide: bool) -> None:
        self.f, self.p, self.made, self.wide = e.f, p, made, wide

    def row(self, at: list[V]) -> None:
        """Copy the row at a position of the row axes."""
        f, a = self.f, self.p.left
        source, target = ZERO, ZERO
        for position, stride, to in zip(at, a.free_strides, self.made.row_strides, strict=True):
            source = f.add(source, f.mul(position, stride))
            target = f.add(target, f.mul(position, to))
        begin = f.gep(self.made.pointer, target, "i8")
        self._axes(0, f.gep(a.pointer, source, a.element), begin)

    def _axes(self, level: int, source: V, target: V) -> None:
        f, depth, a = self.f, self.p.depth, self.p.left
        if level < len(depth.outer):

            def inside(i: V) -> None:
                moved = f.gep(source, f.mul(i, a.outer_strides[level]), a.element)
                place = f.gep(target, f.mul(i, self.made.outer_strides[level]), "i8")
                self._axes(level + 1, moved, place)

            f.loop(depth.outer[level], inside, hint="k")
            return
        lanes = GROUPS * depth.group
        whole = f.mul(f.udiv(depth.size, integer(lanes)), integer(lanes))
        f.loop(whole, lambda k: self._part(source, target, k, None), step=lanes, hint="part")
        rest = f.sub(depth.size, whole)
        some = f.compare("sgt", rest, ZERO)
        f.when(some, lambda: self._part(source, target, whole, rest), hint="rest")

    def _part(self, source: V, target: V, k: V, count: V | None) -> None:
        """Sixteen groups from an element on, `count` of whose elements exist; None: all."""
        f, a, group = self.f, self.p.left, self.p.depth.group
        lanes = GROUPS * group
        mask = None if count is None else f.first_lanes(count, lanes)
        start = f.gep(source, f.mul(k, a.k_stride), a.element)
        if a.k_stride.number == 1:
            value = f.load(start, a.element, lanes, 1, mask)
        else:
            step = f.splat(a.k_stride, lanes)
            numbers = f.lane_numbers(lanes)
            indices = f.assign(
                f"mul {numbers.full_type} {numbers.text}, {step.text}", "i64", lanes
            )
            value = f.gather(f.addresses(start, indices, a.element), a.element, 1, mask)
        begin = f.mul(f.udiv(k, integer(group)), integer(self.made.group_stride))
        place = f.gep(target, begin, "i8")
        if self.wide:
            words = f.assign(f"bitcast {value.typed} to <{GROUPS} x i32>", "i32", GROUPS)
            even, odd = _even_and_odd(f, words, group, self.p.unsigned[0])
            order = ", ".join(f"i32 {i}, i32 {GROUPS + i}" for i in range(GROUPS))
            text = f"shufflevector {even.typed}, {odd.typed}, <{2 * GROUPS} x i32> <{order}>"
            value = f.assign(text, "i32", 2 * GROUPS)
        f.store(value, place, 4)
