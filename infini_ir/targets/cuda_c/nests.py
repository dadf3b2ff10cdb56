"""Loops that only accumulate products.

The turns of all the loops of a nest together are counted by one loop, in which the next pieces
of the factors are fetched into registers while the present ones are multiplied; shared memory is
doubled, so that one barrier a turn is enough.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from xdsl.ir import Operation, SSAValue

from infini_ir.dialects import tile
from infini_ir.targets.cuda_c import basics
from infini_ir.targets.cuda_c.keeping import fill
from infini_ir.targets.cuda_c.layouts import Number, scaled, sum_of, times
from infini_ir.targets.cuda_c.multiplying import multiply
from infini_ir.targets.cuda_c.sources import At, GatherSource, MapSource, RegisterSource
from infini_ir.targets.cuda_c.staging import (
    Factor,
    Product,
    piece_layout,
    product_of,
    stage,
    zero_padding,
)
from infini_ir.targets.cuda_c.statements import Access, Step
from infini_ir.targets.cuda_c.writer import KernelWriter, is_literal
from infini_ir.utils.errors import CompileError


@dataclass
class Nest:
    """Loops that only accumulate products."""

    loops: list[tile.ForOp]
    dots: list[tile.DotOp]
    counts: list[Number] = field(default_factory=list)
    """Turns of each loop."""

    @property
    def outer(self) -> tile.ForOp:
        return self.loops[0]

    @property
    def inner(self) -> tile.ForOp:
        return self.loops[-1]


def match(op: tile.ForOp) -> Nest | None:
    """The nest that a loop is, None where it is not one."""
    loops = [op]
    while True:
        body = loops[-1].body.block
        inner = [o for o in body.ops if isinstance(o, tile.ForOp)]
        if not inner:
            break
        same = (
            len(inner) == 1
            and list(inner[0].carried) == list(body.args[1:])
            and list(tile.yielded(loops[-1].body)) == list(inner[0].outs)
            and _steady(inner[0], op)
        )
        others = [o for o in body.ops if o not in inner and not _is_address(o)]
        if not same or others:
            return None
        loops.append(inner[0])
    body = loops[-1].body.block
    dots = [o for o in body.ops if isinstance(o, tile.DotOp)]
    feeding = (tile.DotOp, tile.LoadOp, tile.MapOp, tile.GatherOp, tile.FullOp, tile.YieldOp)
    if not dots or any(not isinstance(o, feeding) and not _is_address(o) for o in body.ops):
        return None
    accumulators = list(body.args[1:])
    if [d.acc for d in dots] != accumulators or list(tile.yielded(loops[-1].body)) != [
        d.out for d in dots
    ]:
        return None
    if any(len(list(argument.uses)) != 1 for argument in accumulators):
        return None
    tiles = [out for o in body.ops for out in o.results if isinstance(out.type, tile.TileType)]
    if any(tile.tile_type(out).rank == 0 for out in tiles):
        return None
    return Nest(loops, dots)


def _steady(inner: tile.ForOp, outer: tile.ForOp) -> bool:
    """Whether a loop's end does not depend on the loops around it."""
    owner = inner.to.owner
    if isinstance(owner, Operation):
        if owner.parent_op() is outer.parent_op() or owner.name == "arith.constant":
            return True
        return isinstance(owner, tile.SizeOp)
    return True


def _is_address(op: Operation) -> bool:
    """Whether an operation only computes positions."""
    return isinstance(op, tile.SizeOp | tile.ReadOp | tile.YieldOp) or op.name.startswith(
        "arith."
    )


def emit_nest(k: KernelWriter, nest: Nest) -> None:
    """The accumulators, the loop over all turns, and the pipeline in it."""
    for loop in nest.loops:
        _enter_outside(k, loop)
    nest.counts = [_turns(k, loop) for loop in nest.loops]
    initial = list(nest.outer.carried)
    products = [product_of(k, dot, None) for dot in nest.dots]
    totals = [
        _nest_accumulator(k, product, value)
        for product, value in zip(products, initial, strict=True)
    ]
    factors: dict[SSAValue, Factor] = {}
    for product in products:
        for side in ("left", "right"):
            factor = getattr(product, side)
            known = factors.setdefault(factor.value, factor)
            if (known.width, known.contracted, known.type) != (
                factor.width,
                factor.contracted,
                factor.type,
            ):
                raise CompileError(f"kernel '{k.name}': two products share a factor unequally")
            setattr(product, side, known)
    Pipeline(k, nest, products, totals, list(factors.values())).emit()
    for result, product, total in zip(nest.outer.outs, products, totals, strict=True):
        k.sources[result] = total
        if k.placement.crosses(result):
            memory = k.shared_tile("product", result)
            fill(k, [result], [memory], product.layout, k.extents(result))
            k.sources[result] = memory


def _enter_outside(k: KernelWriter, loop: tile.ForOp) -> None:
    """Scalars that stand between the loops of a nest and do not depend on them."""
    if loop.to in k.scalars:
        return
    op = loop.to.owner
    assert isinstance(op, Operation)
    if isinstance(op, tile.SizeOp):
        k.scalars[op.out] = str(k.size(op.dim))
    else:
        basics.one(k, op)


def _turns(k: KernelWriter, loop: tile.ForOp) -> Number:
    to, step = k.scalar(loop.to), k.size(loop.step_size)
    if is_literal(to) and isinstance(step, int):
        return -(-int(to) // step)
    if step == 1:
        return to
    return k.define("turns", "index_t", f"({to} + {scaled(str(step), 1)} - 1) / {step}")


def _nest_accumulator(k: KernelWriter, product: Product, initial: SSAValue) -> RegisterSource:
    layout = product.layout
    total = k.register_array("sums", product.type, layout)
    extents = k.extents(initial)

    def body(at: At) -> None:
        k.line(f"{total.name}[{at.slot}] = {k.element(initial, at)};")

    def first(slot: str) -> None:
        k.line(f"{total.name}[{slot}] = 0;")

    k.step(lambda: k.sweep(layout, extents, body, registers=True, first=first))
    return total


@dataclass
class Pipeline:
    """The turns of a nest: fetch the next pieces, multiply the present ones."""

    k: KernelWriter
    nest: Nest
    products: list[Product]
    totals: list[RegisterSource]
    factors: list[Factor]
    arrays: dict[int, str] = field(default_factory=dict)

    def emit(self) -> None:
        k = self.k
        turns = sum_of(self._turn_count())
        if turns == "0":
            return
        for number, factor in enumerate(self.factors):
            wish = f"factor_{'ab'[number] if len(self.factors) == 2 else number}"
            array = k.shared_array(wish, factor.type, 2 * factor.count)
            self.arrays[id(factor)] = array.name
            zero_padding(k, factor, array.name, 2)
        fetched = [self._fetched(factor) for factor in self.factors]
        half = k.fresh("half")
        k.nodes.append(Step([f"int {half} = 0;  // of the doubled arrays, in use"]))
        turn = k.fresh("turn")

        def begin() -> None:
            self._fetch("0", fetched)
            self._put(fetched, half, 0)

        if is_literal(turns):
            begin()
        else:
            k.branch(f"{turns} > 0", begin)
        swaps = [(f"{name}.0", f"{name}.1") for name in self.arrays.values()]
        k.loop(
            f"for (index_t {turn} = 0; {turn} < {turns}; ++{turn})",
            lambda: self._turn(turn, turns, fetched, half),
            swaps,
        )

    def _turn_count(self) -> str:
        known = times([c for c in self.nest.counts if isinstance(c, int)])
        names = [c for c in self.nest.counts if isinstance(c, str)]
        if not names:
            return str(known)
        return self.k.define("turns", "index_t", " * ".join([*names, str(known)]))

    def _turn(self, turn: str, turns: str, fetched: list[str], half: str) -> None:
        k = self.k
        more = k.fresh("more")
        k.nodes.append(Step([f"const bool {more} = {turn} + 1 < {turns};"]))
        k.branch(more, lambda: self._fetch(f"({turn} + 1)", fetched))
        for product, total in zip(self.products, self.totals, strict=True):
            k.step(lambda product=product, total=total: self._multiply(product, total, half))
        k.branch(more, lambda: self._put(fetched, half, 1))
        k.nodes.append(Step([f"{half} = 1 - {half};"]))

    def _fetched(self, factor: Factor) -> str:
        layout = piece_layout(self.k, factor)
        name = self.k.fresh("fetched")
        self.k.nodes.append(Step([f"{factor.type} {name}[{layout.slots}];"]))
        self.k.count_registers(layout.slots)
        return name

    def _fetch(self, turn: str, fetched: list[str]) -> None:
        """The pieces of a turn into registers."""
        k = self.k
        level = k.enter()
        scalars, bounds, sources = dict(k.scalars), dict(k.bounds), dict(k.sources)
        self._positions(turn)
        for loop in self.nest.loops:
            for op in loop.body.block.ops:
                if not isinstance(op, tile.ForOp | tile.DotOp | tile.YieldOp):
                    self._operand(op)
        for factor, name in zip(self.factors, fetched, strict=True):
            k.step(lambda factor=factor, name=name: stage(k, factor, "0", None, fetching=name))
        k.scalars, k.bounds = scalars, bounds
        self.inside = {v: s for v, s in k.sources.items() if v not in sources}
        k.leave(level)

    def _operand(self, op: Operation) -> None:
        """An operation of the body, without keeping anything."""
        k = self.k
        if isinstance(op, tile.LoadOp):
            k.sources[op.out] = k.slice_of(op.view, op.offsets, op.axis_list, op.out)
        elif isinstance(op, tile.MapOp):
            for index, out in enumerate(op.outs):
                k.sources[out] = MapSource(op, index)
        elif isinstance(op, tile.GatherOp):
            k.sources[op.out] = GatherSource(op)
        else:
            basics.one(k, op)

    def _positions(self, turn: str) -> None:
        """The positions of all loops from the number of the turn."""
        k, inner = self.k, []
        for loop, count in reversed(list(zip(self.nest.loops, self.nest.counts, strict=True))):
            text = turn
            if turn != "0":
                if inner:
                    text = f"{text} / {' / '.join(str(n) for n in inner)}"
                if loop is not self.nest.outer:
                    text = f"{text} % {count}"
                text = scaled(text, k.size(loop.step_size))
            argument = loop.body.block.args[0]
            wish = argument.name_hint or "k"
            k.scalars[argument] = k.define(wish, "index_t", text) if text != "0" else "0"
            k.bounds[argument] = (basics.bound_of(k, loop), k.known(loop.step_size))
            if count != 1:
                inner.append(count)

    def _put(self, fetched: list[str], half: str, other: int) -> None:
        """Fetched pieces into the half that comes next."""
        k = self.k
        for factor, name in zip(self.factors, fetched, strict=True):
            k.step(lambda factor=factor, name=name: self._put_one(factor, name, half, other))

    def _put_one(self, factor: Factor, fetched: str, half: str, other: int) -> None:
        k, array = self.k, self.arrays[id(factor)]
        layout = piece_layout(k, factor)
        head, point, slot, conditions = layout.open()
        for text in head:
            k.line(text)
        which = f"(1 - {half})" if other else half
        base = sum_of(k.group_base(2 * factor.count), f"{which} * {factor.count}")
        place = factor.place(point, layout.shape)
        guard = f"if ({conditions[0]}) " if conditions else ""
        k.line(f"{guard}{array}[{sum_of(base, place)}] = {fetched}[{slot}];")
        k.line("}")
        k.touch(Access(f"{array}.{other}", True))

    def _multiply(self, product: Product, total: RegisterSource, half: str) -> None:
        k = self.k

        def base(factor: Factor) -> tuple[None, str]:
            array = self.arrays[id(factor)]
            k.touch(Access(f"{array}.0", False))
            begin = sum_of(k.group_base(2 * factor.count), f"{half} * {factor.count}")
            return None, f"{array}@{begin}"

        left, right = base(product.left), base(product.right)
        multiply(k, product, total.name, product.left.length, left, right)
