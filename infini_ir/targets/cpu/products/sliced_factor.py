"""Few rows times weights of 4 bits by integer instructions, with the accuracy of f32.

`vpdpbusd` multiplies and sums four bytes a lane, where floats take two instructions for each
vector of 16 weights, to shift and to look up, and one more a row. The left operand keeps the
accuracy of f32: each part of at most 128 neighbours along k is written in fixed point, x = s X
with |X| <= 127 * 2^16 (off by 2^-23 of the part's largest element at most), and X in three
signed bytes, X = 2^16 X2 + 2^8 X1 + X0, whose sums with weights are exact. This is the scheme
of Ootomo, Ozaki and Yokota (DGEMM on Integer Matrix Multiplication Unit, 2024), for one of the
two factors. Zero points that are the same everywhere are what sums begin with, others are taken
out by the sums of X. Rows with infinities or NaN are multiplied in floats instead.

For 32 k of 16 columns, 512 weights in four vectors and 320 bytes with the scales, one row takes
24 products and 4 shifts, which only one port has (Golden Cove): 28 cycles, less than memory
takes, and 24 for each more row. In floats it is 32 shifts, 32 permutations and 32 products a
row on two ports, 32 + 16 cycles a row: faster from five rows on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

from xdsl.dialects import arith
from xdsl.dialects.builtin import FloatAttr
from xdsl.ir import SSAValue

from infini_ir.dialects import tile
from infini_ir.targets.cpu.llvm.scalars import llvm_type, memory_of
from infini_ir.targets.cpu.llvm.writer import ZERO, V, floating, integer
from infini_ir.utils.symbolic import Dim

if TYPE_CHECKING:
    from infini_ir.targets.cpu.features import CpuFeatures
    from infini_ir.targets.cpu.kernel.emitter import KernelEmitter
    from infini_ir.targets.cpu.products.computed_factor import FactorLoops
    from infini_ir.targets.cpu.products.contraction import Nest
    from infini_ir.targets.cpu.products.register_tile import Product, Strip

MOST_ROWS = 4
"""Rows of a register tile up to which slices are faster than floats."""

CHAINS = 12
"""Sums at once: more than hide how long a product takes, five cycles at one a cycle, so that
panels share what is loaded of the left operand."""

WORD = 8
"""Weights in the 32 bits of a lane."""

SLICES, SLICE_BITS = 3, 8
LARGEST = 127.0 * 2**16
"""X at most, of which no slice overflows."""

HALVES = 0x808080
"""Makes the three slices of X bytes without a sign: each has 128 added."""

LANES = 16

LONGEST = 128
"""Elements of a part: LARGEST times as many is less than 2^31."""

LEAST = 2.0**-100
"""Parts whose elements all are less are multiples of a fixed step: its inverse is finite."""

MIDDLE = 8
"""What is subtracted from weights without a sign, so that zero points have little to take."""


def sliced(nest: Nest, depth: int | None, features: CpuFeatures) -> bool:
    """Whether a product with blocks of so many weights of 4 bits is done in slices."""
    view = tile.view_type(nest.lhs.view)
    return (
        depth is not None
        and part_of(depth) > 0
        and llvm_type(view.element) in ("float", "bfloat")
        and len(nest.lhs.axis_list) == 2
        and view.strides[nest.lhs.axis_list[-1]].value == 1
        and features.has_avx512
        and features.has_avx512_vnni
    )


def part_of(depth: int) -> int:
    """The longest part that divides a block, in whole vectors; 0: none does."""
    return max((p for p in range(LANES, LONGEST + 1, LANES) if depth % p == 0), default=0)


def sliced_panels(rows: int) -> int:
    """Panels at once for enough sums."""
    return max(1, CHAINS // (SLICES * rows))


def loops_of(
    e: KernelEmitter, plain: FactorLoops, p: Product
) -> Callable[[KernelEmitter, Strip], None]:
    """What emits the loops over k: in slices where that can be, else in floats."""
    depth = p.counts[-1].number
    known = sliced(plain.nest, None if depth is None else int(depth), e.features)
    fits = p.accumulator == "float" and len(p.rows) == 1 and len(p.counts) <= 2
    form = plain.linear_form
    if not (plain.nibbles and known and fits) or form is None or not _few_left(p):
        return plain.emit
    capacity = tile.tile_type(plain.nest.lhs.out).shape[0].substitute(e.plan.substitution)
    if capacity.value is None or any(count.number is None for count in p.counts):
        return plain.emit
    return _Sliced(e, plain, p, form, capacity.value).emit


def _few_left(p: Product) -> bool:
    """Whether some register tile may have few rows."""
    rows = p.rows[-1].number
    return p.strip[1] <= MOST_ROWS or rows is None or 0 < rows % p.strip[1] <= MOST_ROWS


@dataclass(frozen=True)
class LinearForm:
    """A factor (q - zero) * scale; None: 0, or 1."""

    zero: SSAValue | None
    scale: SSAValue | None


def linear_form(
    result: SSAValue, floats: SSAValue, fixed: Sequence[SSAValue]
) -> LinearForm | None:
    """The form of a factor computed from `floats`, the narrow elements as floats."""
    scale = zero = None
    op = result.owner
    if isinstance(op, arith.MulfOp):
        sides = [(op.lhs, op.rhs), (op.rhs, op.lhs)]
        found = [(a, s) for a, s in sides if s in fixed and a not in fixed]
        if not found:
            return None
        result, scale = found[0]
        op = result.owner
    if isinstance(op, arith.SubfOp) and op.rhs in fixed:
        result, zero = op.lhs, op.rhs
    return LinearForm(zero, scale) if result is floats else None


class _Sliced:
    def __init__(
        self, e: KernelEmitter, plain: FactorLoops, p: Product, form: LinearForm, rows: int
    ) -> None:
        self.plain, self.form, self.rows = plain, form, rows
        *outer, depth = (int(count.number or 0) for count in p.counts)
        self.part = part_of(depth)
        self.blocks, self.parts = math.prod(outer), depth // self.part
        self.taken, self.zero_less = self._taken()
        count = Dim.of(self.blocks * self.parts * rows)
        self.slices = e.scratch(count * (SLICES * self.part))
        self.scales = e.scratch(count * 4)
        self.begins = e.scratch(count * (4 * SLICES))
        self.sums = e.scratch(count * 4)
        self.odd = e.f.alloca(f"<{LANES} x float>")
        # Programs of a call that follow one another mostly have the same rows.
        latest = e.f.alloca("ptr", initial="null")
        known = e.f.assign(f"load ptr, ptr {latest.text}", "ptr")
        other = e.f.assign(f"icmp ne ptr {known.text}, {p.a_pointer.text}", "i1")
        e.f.when(other, lambda: self._slice(e, p), hint="slice")
        e.f.emit(f"store {p.a_pointer.typed}, ptr {latest.text}")

    def _taken(self) -> tuple[int, int | None]:
        """How many times the X are taken from sums to begin with, and what zero points that
        vary have less."""
        offset, zero = self.plain.offset, self.form.zero
        if zero is None:
            return offset, None
        if isinstance(zero.owner, arith.ConstantOp) and isinstance(zero.owner.value, FloatAttr):
            value = zero.owner.value.value.data
            if value in range(-MIDDLE, 2 * MIDDLE):
                return offset + int(value), None
        return MIDDLE, MIDDLE - offset

    # The left operand

    def _slice(self, e: KernelEmitter, p: Product) -> None:
        """The rows that register tiles of few rows may have in slices, [blocks, parts, rows,
        slices, part] bytes."""
        f = e.f
        f.store(V("zeroinitializer", "float", LANES), self.odd, 64)

        def part(row: V, c: V, i: V) -> None:
            index = f.add(f.mul(row, p.a_rows[-1]), f.mul(i, integer(self.part)))
            if len(p.counts) > 1:
                index = f.add(index, f.mul(c, p.a_strides[0]))
            source = f.gep(p.a_pointer, index, memory_of(p.a_element))
            self._slice_part(e, p, source, self._place(e, c, i, row))

        def block(row: V, c: V) -> None:
            f.loop(integer(self.parts), lambda i: part(row, c, i), hint="slice")

        def one(row: V) -> None:
            f.loop(integer(self.blocks), lambda c: block(row, c), hint="slice")

        size, first = integer(p.strip[1]), ZERO
        if p.strip[1] > MOST_ROWS:
            first = f.mul(f.udiv(p.rows[-1], size), size)
        f.loop(p.rows[-1], one, start=first, hint="slice")

    def _place(self, e: KernelEmitter, c: V, i: V, row: V) -> V:
        """The number of a part of a row."""
        number = e.f.add(e.f.mul(c, integer(self.parts)), i)
        return e.f.add(e.f.mul(number, integer(self.rows)), row)

    def _slice_part(self, e: KernelEmitter, p: Product, source: V, place: V) -> None:
        f, memory = e.f, memory_of(p.a_element)
        vectors = [
            _widened(e, f.load(f.gep(source, integer(i), memory), memory, LANES, p.a_align))
            for i in range(0, self.part, LANES)
        ]
        self._remember_odd(e, vectors)
        top = self._largest(e, vectors)
        largest = floating(LARGEST, "float")
        scale = f.assign(f"fdiv {top.typed}, {largest.text}", "float")
        inverse = f.assign(f"fdiv {largest.typed}, {top.text}", "float")
        f.store(scale, f.gep(self.scales, place, "float"), 4)
        wide = f.splat(inverse, LANES)
        target = f.gep(self.slices, f.mul(place, integer(SLICES * self.part)), "i8")
        wholes = [_rounded(e, _float(e, "fmul", x, wide)) for x in vectors]
        if self.zero_less is not None:
            total = f.intrinsic("llvm.vector.reduce.add", [reduce(f.add, wholes)], "i32")
            real = f.assign(f"sitofp {total.typed} to float", "float")
            f.store(real, f.gep(self.sums, place, "float"), 4)
        for number in range(SLICES):
            slices = [self._slice_of(e, whole, number) for whole in wholes]
            at = f.add(f.mul(place, integer(SLICES)), integer(number))
            self._store_begin(e, slices, f.gep(self.begins, at, "i32"))
            for i, part in enumerate(slices):
                narrow = f.assign(f"trunc {part.typed} to <{LANES} x i8>", "i8", LANES)
                begin = integer(number * self.part + i * LANES)
                f.store(narrow, f.gep(target, begin, "i8"), 1)

    def _store_begin(self, e: KernelEmitter, slices: list[V], address: V) -> None:
        f = e.f
        total = f.intrinsic("llvm.vector.reduce.add", [reduce(f.add, slices)], "i32")
        f.store(f.assign(f"mul {total.typed}, {-self.taken}", "i32"), address, 4)

    def _remember_odd(self, e: KernelEmitter, vectors: list[V]) -> None:
        """Add 0 times the elements: no longer 0 after infinities and NaN."""
        f, zero = e.f, V("zeroinitializer", "float", LANES)
        odd = f.load(self.odd, "float", LANES, 64)
        for x in vectors:
            odd = f.intrinsic("llvm.fma", [x, zero, odd], "float", LANES)
        f.store(odd, self.odd, 64)

    def _largest(self, e: KernelEmitter, vectors: list[V]) -> V:
        """The largest magnitude, compared as integers, which order as the floats do."""
        f = e.f
        wholes = [f.assign(f"bitcast {x.typed} to <16 x i32>", "i32", LANES) for x in vectors]
        sizes = [f.assign(f"and {x.typed}, splat (i32 {2**31 - 1})", "i32", 16) for x in wholes]
        top = f.intrinsic("llvm.vector.reduce.smax", [reduce(f.max, sizes)], "i32")
        real = f.assign(f"bitcast {top.typed} to float", "float")
        return f.intrinsic("llvm.maxnum", [real, floating(LEAST, "float")], "float")

    def _slice_of(self, e: KernelEmitter, whole: V, number: int) -> V:
        """The signed byte of a weight of 256^number."""
        f = e.f
        raised = f.assign(f"add {whole.typed}, splat (i32 {HALVES})", "i32", LANES)
        by = SLICE_BITS * number
        moved = f.assign(f"lshr {raised.typed}, splat (i32 {by})", "i32", LANES)
        low = f.assign(f"and {moved.typed}, splat (i32 255)", "i32", LANES)
        return f.assign(f"sub {low.typed}, splat (i32 128)", "i32", LANES)

    # The loops over k

    def emit(self, e: KernelEmitter, strip: Strip) -> None:
        if len(strip.offsets) > MOST_ROWS:
            self.plain.emit(e, strip)
            return
        f = e.f
        odd = f.load(self.odd, "float", LANES, 64)
        finite = f.assign(f"fcmp oeq {odd.typed}, zeroinitializer", "i1", LANES)
        bits = f.assign(f"bitcast {finite.typed} to i16", "i16")
        plain = f.assign(f"icmp ne i16 {bits.text}, -1", "i1")
        sliced = f.assign(f"icmp eq i16 {bits.text}, -1", "i1")

        def slices() -> None:
            blocks = integer(self.blocks)
            f.loop(blocks, lambda c: self._block(e, strip, c), hint="k")

        f.when(sliced, slices, hint="sliced")
        f.when(plain, lambda: self.plain.emit(e, strip), hint="floats", likely=False)

    def _block(self, e: KernelEmitter, strip: Strip, c: V) -> None:
        """The weights of one scale."""
        f, p, scope = e.f, strip.product, e.enter()
        pointers = strip.panels
        if len(p.counts) > 1:
            self.plain.fetch_fixed(e, strip, c)
            e.scalars[self.plain.nest.variables[0]] = c
            step = f.mul(c, p.b.k_strides[0])
            pointers = [f.gep(pointer, step, "i32") for pointer in pointers]
        known = self.plain.fixed_values(e, strip)

        def part(i: V) -> None:
            step = f.mul(f.mul(i, integer(self.part // WORD)), p.b.k_strides[-1])
            words = [f.gep(pointer, step, "i32") for pointer in pointers]
            place = self._place(e, c, i, strip.row)
            sums = self._part(e, p, words, place, len(strip.offsets))
            for row, line in enumerate(strip.cells):
                self._add_part(e, f.add(place, integer(row)), sums[row], line, known)

        f.loop(integer(self.parts), part, hint="part")
        e.leave(scope)

    def _part(
        self, e: KernelEmitter, p: Product, words: list[V], place: V, rows: int
    ) -> list[list[list[V]]]:
        """The sums of a part, by row, panel and slice."""
        f = e.f
        for pointer in words:
            self.plain.fetch(e, pointer, 4 * LANES * self.part // WORD)
        first = f.gep(self.slices, f.mul(place, integer(SLICES * self.part)), "i8")
        sums: list[list[list[V]]] = []
        for row in range(rows):
            at = f.mul(f.add(place, integer(row)), integer(SLICES))
            begins = f.gep(self.begins, at, "i32")
            sums.append([self._cells(e, begins) for _ in words])
        amount = 4 if self.part // WORD % 4 == 0 else 2

        def some(w: V) -> None:
            for u in range(amount):
                self._word(e, p, f.add(w, integer(u)), words, first, sums)

        f.loop(integer(self.part // WORD), some, step=amount, hint="w")
        return sums

    def _cells(self, e: KernelEmitter, begins: V) -> list[V]:
        cells = [e.f.alloca(f"<{LANES} x i32>") for _ in range(SLICES)]
        for number, cell in enumerate(cells):
            begin = V("zeroinitializer", "i32", LANES)
            if self.taken:
                at = e.f.gep(begins, integer(number), "i32")
                begin = e.f.splat(e.f.load(at, "i32", 1, 4), LANES)
            e.f.store(begin, cell, 64)
        return cells

    def _word(
        self,
        e: KernelEmitter,
        p: Product,
        w: V,
        words: list[V],
        first: V,
        sums: list[list[list[V]]],
    ) -> None:
        """Eight neighbours along k: bytes of the lower halves first, then of the upper ones."""
        f = e.f
        mask = f.splat(integer(0x0F0F0F0F, "i32"), LANES)
        four = f.splat(integer(4, "i32"), LANES)
        index = f.mul(w, p.b.k_strides[-1])
        loaded = [f.load(f.gep(pointer, index, "i32"), "i32", LANES, 4) for pointer in words]
        for half in range(2):
            if half:
                loaded = [
                    f.assign(f"lshr {x.typed}, {four.text}", "i32", LANES) for x in loaded
                ]
            factors = [f.assign(f"and {x.typed}, {mask.text}", "i32", LANES) for x in loaded]
            for row, panels in enumerate(sums):
                for number in range(SLICES):
                    place = (row * SLICES + number) * self.part + 4 * half
                    at = f.add(f.mul(w, integer(WORD)), integer(place))
                    x = f.splat(f.load(f.gep(first, at, "i8"), "i32", 1, 1), LANES)
                    for factor, cells in zip(factors, panels, strict=True):
                        _dot(e, factor, x, cells[number])

    def _add_part(
        self,
        e: KernelEmitter,
        place: V,
        sums: list[list[V]],
        cells: list[V],
        known: list[dict[SSAValue, V]],
    ) -> None:
        """Add the sums of a row's part to its cells, as floats."""
        f = e.f
        scale = f.splat(f.load(f.gep(self.scales, place, "float"), "float", 1, 4), LANES)
        for v, cell in enumerate(cells):
            total = self._joined(e, sums[v])
            if self.form.zero is not None and self.zero_less is not None:
                count = f.load(f.gep(self.sums, place, "float"), "float", 1, 4)
                zero = f.splat(known[v][self.form.zero], LANES)
                less = f.splat(floating(float(self.zero_less), "float"), LANES)
                back = _float(e, "fsub", less, zero)
                total = f.intrinsic(
                    "llvm.fma", [back, f.splat(count, LANES), total], "float", LANES
                )
            by = scale
            if self.form.scale is not None:
                by = _float(e, "fmul", f.splat(known[v][self.form.scale], LANES), scale)
            old = f.load(cell, "float", LANES, 64)
            f.store(f.intrinsic("llvm.fma", [total, by, old], "float", LANES), cell, 64)

    def _joined(self, e: KernelEmitter, cells: list[V]) -> V:
        """The slices' sums, each exact in a float, as one number."""
        total: V | None = None
        for cell in reversed(cells):
            value = e.f.load(cell, "i32", LANES, 64)
            real = e.f.assign(f"sitofp {value.typed} to <{LANES} x float>", "float", LANES)
            if total is not None:
                base = e.f.splat(floating(float(1 << SLICE_BITS), "float"), LANES)
                real = e.f.intrinsic("llvm.fma", [total, base, real], "float", LANES)
            total = real
        assert total is not None
        return total


def _float(e: KernelEmitter, how: str, a: V, b: V) -> V:
    return e.f.assign(f"{how} {a.typed}, {b.text}", "float", LANES)


def _rounded(e: KernelEmitter, x: V) -> V:
    """To the nearest integer, ties to even; any number for what no i32 is."""
    name = "@llvm.x86.avx512.mask.cvtps2dq.512"
    e.module.declare(f"declare <16 x i32> {name}(<16 x float>, <16 x i32>, i16, i32)")
    return e.f.assign(
        f"call <16 x i32> {name}({x.typed}, <16 x i32> zeroinitializer, i16 -1, i32 4)",
        "i32",
        LANES,
    )


def _dot(e: KernelEmitter, weights: V, x: V, cell: V) -> None:
    """Add four products of bytes a lane: weights without a sign, x with one."""
    f, name = e.f, "@llvm.x86.avx512.vpdpbusd.512"
    e.module.declare(f"declare <16 x i32> {name}(<16 x i32>, <64 x i8>, <64 x i8>)")
    left, right = (
        f.assign(f"bitcast {value.typed} to <64 x i8>", "i8", 64) for value in (weights, x)
    )
    old = f.load(cell, "i32", LANES, 64)
    new = f.assign(
        f"call <16 x i32> {name}({old.typed}, {left.typed}, {right.typed})", "i32", 16
    )
    f.store(new, cell, 64)


def _widened(e: KernelEmitter, x: V) -> V:
    """A vector of the left operand as f32."""
    if x.type == "float":
        return x
    return e.f.assign(f"fpext {x.typed} to <{LANES} x float>", "float", LANES)
