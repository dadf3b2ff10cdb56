"""Few rows times weights of 4 bits by integer instructions, with the accuracy of f32.

`vpdpbusd` multiplies and sums four bytes a lane, where floats take three instructions for each
vector of weights: to shift, to convert, to multiply. The left operand keeps the accuracy of f32:
each block of it is written in fixed point, x = s X with |X| <= 2^20 (2^-21 of the block's
largest element off at most, where sums in f32 of as many terms lose more), and X in three
slices of seven bits, X = 2^14 X2 + 2^7 X1 + X0; their sums with weights are exact. This is the
scheme of Ootomo, Ozaki and Yokota (DGEMM on Integer Matrix Multiplication Unit, 2024), for
one of the two factors. Zero points are taken out by the sums of X. Rows with infinities or NaN
are multiplied in floats instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xdsl.dialects import arith
from xdsl.ir import SSAValue

from infini_ir.targets.cpu.llvm.writer import V, floating, integer
from infini_ir.utils.symbolic import Dim

if TYPE_CHECKING:
    from infini_ir.targets.cpu.features import CpuFeatures
    from infini_ir.targets.cpu.kernel.emitter import KernelEmitter
    from infini_ir.targets.cpu.products.computed_factor import FactorLoops
    from infini_ir.targets.cpu.products.register_tile import Product, Strip

MOST_ROWS = 4
"""Rows up to which reading weights, not multiplying, is what takes time."""

SUMS = 24
"""Integer accumulators that leave registers for weights."""

WORD = 8
"""Weights in the 32 bits of a lane."""

AHEAD = 1024
"""Bytes that a panel is fetched ahead."""

SLICES, SLICE_BITS, TOP_BITS = 3, 7, 20
LANES = 16
LEAST = 2.0**-100
"""Blocks whose elements all are less are multiples of a fixed step: its inverse is finite."""


def sliced_rows(rows: int | None, depth: int | None, features: CpuFeatures) -> bool:
    """Whether so many rows, and blocks of so many elements, are done in slices."""
    return (
        rows is not None
        and 1 <= rows <= MOST_ROWS
        and depth is not None
        and depth % LANES == 0
        and features.has_avx512
        and features.has_avx512_vnni
    )


def sliced_panels(rows: int) -> int:
    """Panels at once whose sums fit the registers."""
    return max(1, SUMS // (SLICES * rows))


def loops_of(
    e: KernelEmitter, plain: FactorLoops, p: Product
) -> Callable[[KernelEmitter, Strip], None]:
    """What emits the loops over k: in slices where that can be, else in floats."""
    rows = p.rows[-1].number if len(p.rows) == 1 else None
    depth = p.counts[-1].number
    known = sliced_rows(
        None if rows is None else int(rows), None if depth is None else int(depth), e.features
    )
    fits = p.a_element == "float" and p.accumulator == "float" and p.a_strides[-1].number == 1
    if not (plain.nibbles and known and fits and len(p.counts) == 2):
        return plain.emit
    form = plain.linear_form
    if form is None or p.strip[0] * p.strip[1] != rows:
        return plain.emit
    return _Sliced(e, plain, p, form).emit


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
        self, e: KernelEmitter, plain: FactorLoops, p: Product, form: LinearForm
    ) -> None:
        self.plain, self.form = plain, form
        self.rows, self.depth = int(p.rows[-1].number or 0), int(p.counts[-1].number or 0)
        blocks = p.counts[0].number
        assert blocks is not None, "weights have known sizes"
        self.blocks = int(blocks)
        count = Dim.of(self.blocks)
        size = self.rows * self.depth * SLICES
        self.slices = e.scratch(count * size)
        self.scales = e.scratch(count * (4 * self.rows))
        self.sums = e.scratch(count * (4 * self.rows))
        self.odd = e.f.alloca(f"<{LANES} x float>")
        # Programs of a call that follow one another mostly have the same rows.
        latest = e.f.alloca("ptr", initial="null")
        known = e.f.assign(f"load ptr, ptr {latest.text}", "ptr")
        other = e.f.assign(f"icmp ne ptr {known.text}, {p.a_pointer.text}", "i1")
        e.f.when(other, lambda: self._slice(e, p), hint="slice")
        e.f.emit(f"store {p.a_pointer.typed}, ptr {latest.text}")

    # The left operand

    def _slice(self, e: KernelEmitter, p: Product) -> None:
        """All rows of the program in slices, [rows, blocks, slices, depth] bytes."""
        f = e.f
        f.store(V("zeroinitializer", "float", LANES), self.odd, 64)

        def block(row: int, c: V) -> None:
            index = f.add(f.mul(integer(row), p.a_rows[-1]), f.mul(c, p.a_strides[0]))
            self._slice_block(e, f.gep(p.a_pointer, index, "float"), self._place(e, row, c))

        for row in range(self.rows):
            f.loop(integer(self.blocks), lambda c, row=row: block(row, c), hint="slice")

    def _place(self, e: KernelEmitter, row: int, c: V) -> V:
        return e.f.add(integer(row * self.blocks), c)

    def _slice_block(self, e: KernelEmitter, source: V, place: V) -> None:
        f = e.f
        vectors = [
            f.load(f.gep(source, integer(i), "float"), "float", LANES, 4)
            for i in range(0, self.depth, LANES)
        ]
        largest, odd = None, f.load(self.odd, "float", LANES, 64)
        zero = V("zeroinitializer", "float", LANES)
        for x in vectors:
            size = f.intrinsic("llvm.fabs", [x], "float", LANES)
            largest = size if largest is None else _larger(e, largest, size)
            odd = f.intrinsic("llvm.fma", [x, zero, odd], "float", LANES)
        f.store(odd, self.odd, 64)
        assert largest is not None
        top = f.intrinsic("llvm.vector.reduce.fmax", [largest], "float")
        top = f.intrinsic("llvm.maxnum", [top, floating(LEAST, "float")], "float")
        scale = f.assign(f"fmul {top.typed}, {floating(2.0**-TOP_BITS, 'float').text}", "float")
        inverse = f.assign(
            f"fdiv float {floating(2.0**TOP_BITS, 'float').text}, {top.text}", "float"
        )
        f.store(scale, f.gep(self.scales, place, "float"), 4)
        wide = f.splat(inverse, LANES)
        total = None
        target = f.gep(self.slices, f.mul(place, integer(SLICES * self.depth)), "i8")
        for number, x in enumerate(vectors):
            scaled = f.assign(f"fmul {x.typed}, {wide.text}", "float", LANES)
            whole = _rounded(e, scaled)
            total = whole if total is None else f.add(total, whole)
            self._store_slices(e, whole, f.gep(target, integer(number * LANES), "i8"))
        assert total is not None
        count = f.intrinsic("llvm.vector.reduce.add", [total], "i32")
        real = f.assign(f"sitofp {count.typed} to float", "float")
        f.store(real, f.gep(self.sums, place, "float"), 4)

    def _store_slices(self, e: KernelEmitter, whole: V, target: V) -> None:
        low = e.f.splat(integer((1 << SLICE_BITS) - 1, "i32"), LANES)
        for number in range(SLICES):
            part = whole
            if number:
                by = e.f.splat(integer(SLICE_BITS * number, "i32"), LANES)
                part = e.f.assign(f"ashr {whole.typed}, {by.text}", "i32", LANES)
            if number < SLICES - 1:
                part = e.f.assign(f"and {part.typed}, {low.text}", "i32", LANES)
            narrow = e.f.assign(f"trunc {part.typed} to <{LANES} x i8>", "i8", LANES)
            e.f.store(narrow, e.f.gep(target, integer(number * self.depth), "i8"), 1)

    # The loops over k

    def emit(self, e: KernelEmitter, strip: Strip) -> None:
        f, p = e.f, strip.product
        odd = f.load(self.odd, "float", LANES, 64)
        finite = f.assign(f"fcmp oeq {odd.typed}, zeroinitializer", "i1", LANES)
        bits = f.assign(f"bitcast {finite.typed} to i16", "i16")
        plain = f.assign(f"icmp ne i16 {bits.text}, -1", "i1")
        sliced = f.assign(f"icmp eq i16 {bits.text}, -1", "i1")

        def slices() -> None:
            f.loop(
                p.counts[0],
                lambda c: self._block(e, strip, c),
                hint="k",
            )

        def floats() -> None:
            self.plain.emit(e, strip)

        f.when(sliced, slices, hint="sliced")
        f.when(plain, floats, hint="floats")

    def _block(self, e: KernelEmitter, strip: Strip, c: V) -> None:
        f, p, scope = e.f, strip.product, e.enter()
        pointers, cells = strip.panels, strip.cells
        e.scalars[self.plain.nest.variables[0]] = c
        known = self.plain.fixed_values(e, strip)
        step = f.mul(c, p.b.k_strides[0])
        words = [f.gep(pointer, step, "i32") for pointer in pointers]
        for pointer in words:
            for line in range(0, 4 * LANES * self.depth // WORD, 64):
                f.prefetch(f.gep(pointer, integer(AHEAD + line), "i8"), level=1)
        sums = [
            [[self._zero(e) for _ in range(SLICES)] for _ in pointers] for _ in range(self.rows)
        ]
        starts = [
            f.gep(
                self.slices,
                f.mul(self._place(e, row, c), integer(SLICES * self.depth)),
                "i8",
            )
            for row in range(self.rows)
        ]

        def two_words(w: V) -> None:
            self._word(e, w, p, words, starts, sums)
            self._word(e, f.add(w, integer(1)), p, words, starts, sums)

        f.loop(integer(self.depth // WORD), two_words, step=2, hint="w")
        for row in range(self.rows):
            self._add_block(e, c, row, sums[row], cells[row], known)
        e.leave(scope)

    def _zero(self, e: KernelEmitter) -> V:
        cell = e.f.alloca(f"<{LANES} x i32>")
        e.f.store(V("zeroinitializer", "i32", LANES), cell, 64)
        return cell

    def _word(
        self,
        e: KernelEmitter,
        w: V,
        p: Product,
        words: list[V],
        starts: list[V],
        sums: list[list[list[V]]],
    ) -> None:
        """Eight neighbours along k: bytes of the lower halves first, then of the upper ones."""
        f = e.f
        mask = f.splat(integer(0x0F0F0F0F, "i32"), LANES)
        four = f.splat(integer(4, "i32"), LANES)
        index = f.mul(w, p.b.k_strides[-1])
        begin = f.mul(w, integer(WORD))
        for v, pointer in enumerate(words):
            loaded = f.load(f.gep(pointer, index, "i32"), "i32", LANES, 4)
            for half in range(2):
                part = loaded
                if half:
                    part = f.assign(f"lshr {loaded.typed}, {four.text}", "i32", LANES)
                part = f.assign(f"and {part.typed}, {mask.text}", "i32", LANES)
                for row, start in enumerate(starts):
                    for number in range(SLICES):
                        place = f.add(begin, integer(number * self.depth + 4 * half))
                        x = f.load(f.gep(start, place, "i8"), "i32", 1, 1)
                        _dot(e, part, f.splat(x, LANES), sums[row][v][number])

    def _add_block(
        self,
        e: KernelEmitter,
        c: V,
        row: int,
        sums: list[list[V]],
        cells: list[V],
        known: list[dict[SSAValue, V]],
    ) -> None:
        f, place = e.f, self._place(e, row, c)
        scale = f.splat(f.load(f.gep(self.scales, place, "float"), "float", 1, 4), LANES)
        count = f.splat(f.load(f.gep(self.sums, place, "float"), "float", 1, 4), LANES)
        offset = f.splat(floating(float(self.plain.offset), "float"), LANES)
        for v, cell in enumerate(cells):
            total = self._joined(e, sums[v])
            zero = None if self.plain.offset == 0 else offset
            if self.form.zero is not None:
                wanted = known[v][self.form.zero]
                wide = f.splat(wanted, LANES)
                zero = wide if zero is None else _float(e, "fadd", wide, zero)
            if zero is not None:
                negative = f.assign(f"fneg {zero.typed}", "float", LANES)
                total = f.intrinsic("llvm.fma", [negative, count, total], "float", LANES)
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
            if total is None:
                total = real
                continue
            base = e.f.splat(floating(float(1 << SLICE_BITS), "float"), LANES)
            total = e.f.intrinsic("llvm.fma", [total, base, real], "float", LANES)
        assert total is not None
        return total


def _float(e: KernelEmitter, how: str, a: V, b: V) -> V:
    return e.f.assign(f"{how} {a.typed}, {b.text}", "float", LANES)


def _larger(e: KernelEmitter, a: V, b: V) -> V:
    return e.f.intrinsic("llvm.maxnum", [a, b], "float", LANES)


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
