"""Products whose right factor is computed where it is loaded: weights of few bits made floats.

A weight q of 8 or 4 bits stands for (q - zero) * scale, with scales that are the same for a
block of neighbours along k or for all of it. The register tile loads q, computes the factor
in registers and multiplies; memory moves only the bits. What is the same for a whole block is
computed once a block; and where a register tile has few rows, so that computing factors costs
as much as multiplying with them, a block is summed without its scale, which then multiplies
the sum: sum over k of x (q s) = (sum over k of x q) s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from xdsl.dialects import arith
from xdsl.dialects.builtin import IntegerType
from xdsl.ir import Operation, SSAValue

from infini_ir.dialects import tile
from infini_ir.targets.cpu.kernel.sources import Coordinate, MemorySource, narrowed
from infini_ir.targets.cpu.llvm.scalars import emit_scalar, memory_of
from infini_ir.targets.cpu.llvm.writer import V, integer
from infini_ir.targets.cpu.products import sliced_factor

if TYPE_CHECKING:
    from infini_ir.targets.cpu.kernel.emitter import KernelEmitter
    from infini_ir.targets.cpu.products.contraction import Nest
    from infini_ir.targets.cpu.products.register_tile import Product, Strip

NIBBLES = 8
"""Elements of 4 bits, neighbours along k, in the 32 bits of a lane of a packed panel."""

NIBBLE_PLACES = (0, 2, 4, 6, 1, 3, 5, 7)
"""Where each of the eight lies, counted from the lowest bits: the first four are the lower
halves of the lane's bytes. Signed ones are stored with 8 added."""

UNROLL = 4
"""Steps of the innermost loop written out, for elements of whole bytes."""

AHEAD, BLOCKS_AHEAD = 1024, 8
"""Bytes that a panel of 4-bit elements is fetched ahead, and blocks that scales are, which lie
a whole row of weights apart."""

LINE = 64
"""Bytes of a cache line."""

APART = 8
"""Registers for factors, beside those for a block's sums."""


def find(
    value: SSAValue, loads: Mapping[SSAValue, tile.LoadOp]
) -> tuple[tile.MapOp, tile.LoadOp] | None:
    """The map of loads that computes a factor, and the load of its 8- or 4-bit elements: no
    other operand changes along k."""
    owner = value.owner
    if not isinstance(owner, tile.MapOp) or len(owner.outs) != 1:
        return None
    if any(isinstance(op, tile.CoordOp) for op in owner.body.block.ops):
        return None
    main: tile.LoadOp | None = None
    for operand, dims in zip(owner.inputs, owner.dim_lists, strict=True):
        if not isinstance(operand.type, tile.TileType):
            continue
        if operand not in loads:
            return None
        if 0 not in dims:
            continue
        if dims != (0, 1) or main is not None or not is_narrow(loads[operand]):
            return None
        main = loads[operand]
    return None if main is None else (owner, main)


def is_narrow(load: tile.LoadOp) -> bool:
    element = tile.view_type(load.view).element
    return isinstance(element, IntegerType) and element.width.data in (4, 8)


def packs_nibbles(nest: Nest) -> bool:
    """Whether eight of the factor's elements fit a lane: 4 bits each, made floats at once."""
    if nest.factor is None:
        return False
    element = tile.view_type(nest.rhs.view).element
    if not isinstance(element, IntegerType) or element.width.data != 4:
        return False
    return _conversion(nest) is not None


def _argument(nest: Nest) -> SSAValue:
    """What the factor's map calls the narrow element."""
    assert nest.factor is not None
    return nest.factor.body.block.args[list(nest.factor.inputs).index(nest.rhs.out)]


def _conversion(nest: Nest) -> tuple[Operation, bool] | None:
    """The operation that makes floats of the narrow elements, where nothing else reads them,
    and whether they are signed."""
    op = _only_user(_argument(nest))
    signed = isinstance(op, arith.SIToFPOp | arith.ExtSIOp)
    if isinstance(op, arith.ExtSIOp | arith.ExtUIOp):
        op = _only_user(op.result)
    return (op, signed) if isinstance(op, arith.SIToFPOp | arith.UIToFPOp) else None


def _only_user(value: SSAValue) -> Operation | None:
    uses = list(value.uses)
    return uses[0].operation if len(uses) == 1 else None


@dataclass
class FactorLoops:
    """The loops over k of a product with a computed factor."""

    nest: Nest
    nibbles: bool
    """Whether the right operand is packed by eight 4-bit elements a lane."""
    known: list[dict[SSAValue, V]] = field(default_factory=list)
    """By vector of columns: what is the same for all of the innermost loop."""

    @cached_property
    def fixed(self) -> list[Operation]:
        """The scalar operations that do not depend on the position in the innermost loop."""
        varying = {*self._varying_arguments}
        found: list[Operation] = []
        for op in self._ops:
            if any(operand in varying for operand in op.operands):
                varying.update(op.results)
            else:
                found.append(op)
        return found

    @cached_property
    def _ops(self) -> list[Operation]:
        assert self.nest.factor is not None
        return [
            op for op in self.nest.factor.body.block.ops if not isinstance(op, tile.YieldOp)
        ]

    @cached_property
    def _inputs(self) -> list[tuple[SSAValue, tuple[int, ...], SSAValue]]:
        """The operands of the map, the axes of the factor that each has, and its argument."""
        factor = self.nest.factor
        assert factor is not None
        return list(zip(factor.inputs, factor.dim_lists, factor.body.block.args, strict=True))

    @property
    def _varying_arguments(self) -> list[SSAValue]:
        return [argument for _, dims, argument in self._inputs if 0 in dims]

    @property
    def _result(self) -> SSAValue:
        assert self.nest.factor is not None
        last = self.nest.factor.body.block.last_op
        assert isinstance(last, tile.YieldOp)
        return last.values[0]

    @property
    def offset(self) -> int:
        """What was added to 4-bit elements so that they have no sign."""
        conversion = _conversion(self.nest)
        return 8 if conversion is not None and conversion[1] else 0

    @property
    def linear_form(self) -> sliced_factor.LinearForm | None:
        """The factor as a zero point and a scale, where it is no more."""
        conversion = _conversion(self.nest)
        if conversion is None:
            return None
        return sliced_factor.linear_form(self._result, conversion[0].results[0], self._same)

    @property
    def _same(self) -> list[SSAValue]:
        """What is the same for all of the innermost loop."""
        computed = [result for op in self.fixed for result in op.results]
        return [*computed, *(argument for _, dims, argument in self._inputs if 0 not in dims)]

    @cached_property
    def scaling(self) -> tuple[SSAValue, SSAValue] | None:
        """The factor as a product of something and what is the same for a block."""
        op = self._result.owner
        if not isinstance(op, arith.MulfOp) or len(self.nest.loops) < 2 - self.nest.whole:
            return None
        same = self._same
        for value, scale in ((op.lhs, op.rhs), (op.rhs, op.lhs)):
            if scale in same and value not in same and len(list(self._result.uses)) == 1:
                return value, scale
        return None

    # Emission

    def emit(self, e: KernelEmitter, strip: Strip) -> None:
        """All steps of k for one register tile."""
        p, variables = strip.product, self.nest.variables

        def level(depth: int, a: V, b: list[V]) -> None:
            if depth == len(p.counts) - 1:
                self._innermost(e, replace(strip, base=a, panels=b))
                return

            def iteration(k: V) -> None:
                scope = e.enter()
                if self.nibbles and depth == 0:
                    self.fetch_fixed(e, strip, k)
                e.scalars[variables[depth]] = k
                next_a = e.f.gep(a, e.f.mul(k, p.a_strides[depth]), memory_of(p.a_element))
                step = e.f.mul(k, p.b.k_strides[depth])
                moved = [e.f.gep(pointer, step, memory_of(p.b.element)) for pointer in b]
                level(depth + 1, next_a, moved)
                e.leave(scope)

            e.f.loop(p.counts[depth], iteration, hint="k")

        level(0, strip.base, strip.panels)

    def _innermost(self, e: KernelEmitter, strip: Strip) -> None:
        p, cells = strip.product, strip.cells
        self.known = self.fixed_values(e, strip)
        count = len(strip.offsets) * len(strip.panels)
        # The sums of blocks before may wait on the stack.
        apart = self.scaling if count + APART <= e.features.vector_registers else None
        wanted = self._result if apart is None else apart[0]
        sums = cells if apart is None else _zeroed(e, p, cells)
        amount = NIBBLES if self.nibbles else UNROLL

        def steps(turn: V, steps: int, at: V) -> None:
            raws = self._raws(e, strip, turn, steps)
            for u in range(steps):
                k = e.f.add(at, integer(u))
                factors = [self._factor(e, wanted, raw[u], k, v) for v, raw in enumerate(raws)]
                _multiply(e, strip, k, factors, sums)

        total = p.counts[-1]
        assert total.number is not None, "weights have known sizes"
        turns, rest = divmod(int(total.number), amount)
        e.f.loop(
            integer(turns),
            lambda turn: _scoped(
                e, lambda: steps(turn, amount, e.f.mul(turn, integer(amount)))
            ),
            hint="k",
        )
        if rest:
            done = integer(turns * amount)
            _scoped(e, lambda: steps(integer(turns), rest, done))
        if apart is not None:
            for row, line in enumerate(sums):
                for v, cell in enumerate(line):
                    part = _read(e, p, cell)
                    _multiply_add(e, p, part, self.known[v][apart[1]], cells[row][v])

    def fixed_values(self, e: KernelEmitter, strip: Strip) -> list[dict[SSAValue, V]]:
        """By vector of columns, what is the same at the current outer positions."""
        self._load_others(e)
        return [
            self._fixed_values(e, column, mask)
            for column, mask in zip(strip.columns, strip.masks, strict=True)
        ]

    def fetch(self, e: KernelEmitter, place: V, size: int) -> None:
        """Ask for so many bytes of a panel some time before they are read."""
        for line in range(0, size, LINE):
            e.f.prefetch(e.f.gep(place, integer(AHEAD + line), "i8"), level=1)

    def fetch_fixed(self, e: KernelEmitter, strip: Strip, block: V) -> None:
        """Ask for what is the same for all of a block some blocks before it is read."""
        scope = e.enter()
        e.scalars[self.nest.variables[0]] = e.f.add(block, integer(BLOCKS_AHEAD))
        self._load_others(e)
        for operand, dims, _ in self._inputs:
            source = e.sources.get(operand)
            if dims != (1,) or not isinstance(source, MemorySource):
                continue
            for column in strip.columns:
                address = source.address(e, (column,), memory_of(source.element))
                e.f.prefetch(address, level=1)
        e.leave(scope)

    def _load_others(self, e: KernelEmitter) -> None:
        """Where the operands beside the narrow one lie, at the current outer positions."""
        for operand, _, _ in self._inputs:
            owner = operand.owner
            if isinstance(owner, tile.LoadOp) and owner is not self.nest.rhs:
                e._load(owner)

    def _fixed_values(
        self, e: KernelEmitter, column: Coordinate, mask: V | None
    ) -> dict[SSAValue, V]:
        values: dict[SSAValue, V] = {}
        e.mask = mask
        for operand, dims, argument in self._inputs:
            if not isinstance(operand.type, tile.TileType):
                values[argument] = e.scalar(operand)
            elif 0 not in dims:
                values[argument] = e.element(operand, tuple(column for _ in dims))
        e.mask = None
        for op in self.fixed:
            operands = [_value(e, values, operand) for operand in op.operands]
            values[op.results[0]] = emit_scalar(e.f, op, operands)
        return values

    def _raws(self, e: KernelEmitter, strip: Strip, turn: V, steps: int) -> list[list[V]]:
        """The narrow elements by vector of columns and step; of 4 bits, already as floats."""
        p = strip.product
        result: list[list[V]] = []
        for pointer, mask in zip(strip.panels, strip.masks, strict=True):
            if self.nibbles:
                index = e.f.mul(turn, p.b.k_strides[-1])
                place = e.f.gep(pointer, index, "i32")
                self.fetch(e, place, 4 * e.lanes)
                word = e.f.load(place, "i32", e.lanes, 4)
                result.append([self._nibble(e, word, j) for j in range(steps)])
                continue
            memory = memory_of(p.b.element)
            line: list[V] = []
            for u in range(steps):
                k = e.f.add(e.f.mul(turn, integer(UNROLL)), integer(u))
                address = e.f.gep(pointer, e.f.mul(k, p.b.k_strides[-1]), memory)
                loaded = e.f.load(address, memory, e.lanes, 1, None if p.b.width else mask)
                line.append(narrowed(e, loaded, p.b.element))
            result.append(line)
        return result

    def _nibble(self, e: KernelEmitter, word: V, number: int) -> V:
        """One of the eight elements of each lane, as floats."""
        shifted = _shifted(e, "lshr", word, 4 * NIBBLE_PLACES[number])
        if e.features.has_avx512:
            # The permutation looks at the low 4 bits of each index alone.
            table = ", ".join(f"float {float(q - self.offset):e}" for q in range(16))
            name = "@llvm.x86.avx512.permvar.sf.512"
            e.module.declare(f"declare <16 x float> {name}(<16 x float>, <16 x i32>)")
            return e.f.assign(
                f"call <16 x float> {name}(<16 x float> <{table}>, {shifted.typed})",
                "float",
                16,
            )
        fifteen = e.f.splat(integer(15, "i32"), e.lanes)
        low = e.f.assign(f"and {shifted.typed}, {fifteen.text}", "i32", e.lanes)
        if self.offset:
            low = e.f.sub(low, e.f.splat(integer(self.offset, "i32"), e.lanes))
        return e.f.assign(f"sitofp {low.typed} to <{e.lanes} x float>", "float", e.lanes)

    def _factor(self, e: KernelEmitter, wanted: SSAValue, raw: V, k: V, v: int) -> V:
        """The factor at one k for a vector of columns."""
        values = dict(self.known[v])
        conversion = _conversion(self.nest) if self.nibbles else None
        start = _argument(self.nest) if conversion is None else conversion[0].results[0]
        values[start] = raw
        return self._compute(e, wanted, values)

    def _compute(self, e: KernelEmitter, value: SSAValue, values: dict[SSAValue, V]) -> V:
        if value not in values:
            op = value.owner
            if not isinstance(op, Operation) or op.parent is not self._result.owner.parent:  # pyright: ignore[reportAttributeAccessIssue]
                return e.scalar(value)
            operands = [self._compute(e, operand, values) for operand in op.operands]
            values[value] = emit_scalar(e.f, op, operands)
        return values[value]


def _shifted(e: KernelEmitter, how: str, value: V, bits: int) -> V:
    if not bits:
        return value
    by = e.f.splat(integer(bits, "i32"), value.lanes)
    return e.f.assign(f"{how} {value.typed}, {by.text}", "i32", value.lanes)


def _value(e: KernelEmitter, values: Mapping[SSAValue, V], value: SSAValue) -> V:
    return values[value] if value in values else e.scalar(value)


def _scoped(e: KernelEmitter, body: Callable[[], None]) -> None:
    level = e.enter()
    body()
    e.leave(level)


def _kind(e: KernelEmitter, p: Product) -> str:
    return f"<{e.lanes} x {p.accumulator}>"


def _zeroed(e: KernelEmitter, p: Product, cells: list[list[V]]) -> list[list[V]]:
    """Cells for the sums of a block."""
    zero = V("zeroinitializer", p.accumulator, e.lanes)
    made: list[list[V]] = []
    for line in cells:
        made.append([e.f.alloca(_kind(e, p)) for _ in line])
        for cell in made[-1]:
            e.f.store(zero, cell, 64)
    return made


def _read(e: KernelEmitter, p: Product, cell: V) -> V:
    text = f"load {_kind(e, p)}, ptr {cell.text}, align 64"
    return e.f.assign(text, p.accumulator, e.lanes)


def _multiply(
    e: KernelEmitter, strip: Strip, k: V, factors: list[V], cells: list[list[V]]
) -> None:
    """One step of k: an element of A a row, times a vector of factors."""
    p = strip.product
    index = e.f.mul(k, p.a_strides[-1])
    memory = memory_of(p.a_element)
    for row, offset in enumerate(strip.offsets):
        address = e.f.gep(e.f.gep(strip.base, offset, memory), index, memory)
        left = _as(e, e.f.load(address, memory, 1, p.a_align), p.accumulator)
        wide = e.f.splat(left, e.lanes)
        for v, factor in enumerate(factors):
            _multiply_add(e, p, wide, _as(e, factor, p.accumulator), cells[row][v])


def _as(e: KernelEmitter, value: V, type: str) -> V:
    """A float in the accumulator's type."""
    if value.type == type:
        return value
    wanted = type if value.lanes == 1 else f"<{value.lanes} x {type}>"
    return e.f.assign(f"fpext {value.typed} to {wanted}", type, value.lanes)


def _multiply_add(e: KernelEmitter, p: Product, left: V, right: V, cell: V) -> None:
    old, right = _read(e, p, cell), e.f.splat(right, e.lanes)
    if e.features.has_fma or e.features.arch != "x86-64":
        total = e.f.intrinsic("llvm.fma", [left, right, old], p.accumulator, e.lanes)
    else:
        kind = _kind(e, p)
        product = e.f.assign(f"fmul {kind} {left.text}, {right.text}", p.accumulator, e.lanes)
        total = e.f.assign(f"fadd {kind} {product.text}, {old.text}", p.accumulator, e.lanes)
    e.f.store(total, cell, 64)
