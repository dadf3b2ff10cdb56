"""Products of tiles: thread blocks of accumulators in registers, factors in shared memory.

A loop that only accumulates products is a *nest*: its turns (of all its loops together) are
counted by one loop, in which the next slices of the factors are fetched into registers while
the present ones are multiplied; shared memory is doubled, so that one barrier a turn is enough.
Other products take the factors slice by slice, or from where they are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from xdsl.ir import Operation, SSAValue

from infini_ir.dialects import tile
from infini_ir.targets.cuda_c import operations
from infini_ir.targets.cuda_c.keeping import uses_registers
from infini_ir.targets.cuda_c.layouts import Blocks, Number, Spread, scaled, sum_of, times
from infini_ir.targets.cuda_c.placement import access_order
from infini_ir.targets.cuda_c.scalars import NARROW
from infini_ir.targets.cuda_c.sources import (
    At,
    GatherSource,
    MapSource,
    MemorySource,
    RegisterSource,
    element_types,
)
from infini_ir.targets.cuda_c.statements import Access, Step
from infini_ir.targets.cuda_c.writer import KernelWriter, is_literal
from infini_ir.utils.errors import CompileError

PAD = 4
"""Elements between the rows of a staged factor, so that columns lie in different banks and
groups of four stay aligned."""


@dataclass
class Factor:
    """One side of a product, to be staged as `[k, width]` in shared memory."""

    value: SSAValue
    type: str
    """In shared memory: that of the accumulator."""
    width: int
    """Rows (of the left) or columns (of the right) that the threads' blocks cover."""
    contracted: int
    """The axis of the tile that is summed over."""
    length: int
    """Of the piece that is staged at once."""

    @property
    def pitch(self) -> int:
        return self.width + PAD

    @property
    def count(self) -> int:
        return self.length * self.pitch

    def place(self, point: Sequence[str], shape: Sequence[int]) -> str:
        """Where an element lies in the staged piece."""
        number, step = "0", 1
        for axis in reversed(range(len(shape))):
            if axis != self.contracted:
                number = sum_of(scaled(point[axis], step), number)
                step *= shape[axis]
        return sum_of(f"{scaled(point[self.contracted], self.pitch)}", number)


@dataclass
class Product:
    """A `tile.dot` and how its threads do it."""

    op: tile.DotOp
    layout: Blocks
    type: str
    left: Factor
    right: Factor


def product_of(k: KernelWriter, op: tile.DotOp, length: int | None) -> Product:
    """A product whose factors are staged in pieces of a length, None for all of it."""
    layout = k.placement.layout(op.out)
    left, right = k.placement.known_shape(op.lhs), k.placement.known_shape(op.rhs)
    if not isinstance(layout, Blocks) or left is None or right is None:
        raise CompileError(
            f"kernel '{k.name}': the product {op.lhs.type} x {op.rhs.type} has tiles of unknown "
            "size; run tile-split-axis first"
        )
    type = element_types(op.out)[0]
    if type in NARROW:
        type = "float"
    piece = min(length or left[-1], left[-1])
    rows, columns = layout.padded
    contracted = 0 if op.transposed is None else 1
    return Product(
        op,
        layout,
        type,
        Factor(op.lhs, type, rows, len(left) - 1, piece),
        Factor(op.rhs, type, columns, contracted, piece),
    )


# The multiplication of staged pieces


def multiply(
    k: KernelWriter,
    product: Product,
    total: str,
    length: Number,
    left: tuple[MemorySource | None, str],
    right: tuple[MemorySource | None, str],
) -> None:
    """
    Lines that add the product of two pieces to the accumulator. A factor is staged (None and
    the index of its first element in the array of that name), or kept (its memory).
    """
    layout, type = product.layout, product.type
    k.line("#pragma unroll 4" if isinstance(length, int) and length > 16 else "#pragma unroll")
    k.line(f"for (int p = 0; p < {length}; ++p) {{")
    k.line(f"{type} a[{layout.rows}], b[{layout.columns}];")
    _read_block(k, product.left, left, "a", layout.rows, layout, rows=True)
    _read_block(k, product.right, right, "b", layout.columns, layout, rows=False)
    k.line("#pragma unroll")
    k.line(f"for (int slot = 0; slot < {layout.slots}; ++slot) {{")
    n = layout.columns
    k.line(
        f"{total}[slot] = multiply_add(a[slot / {n}], b[slot % {n}], {total}[slot]);"
        if n > 1
        else f"{total}[slot] = multiply_add(a[slot], b[0], {total}[slot]);"
    )
    k.line("}")
    k.line("}")


def _read_block(
    k: KernelWriter,
    factor: Factor,
    source: tuple[MemorySource | None, str],
    name: str,
    count: int,
    layout: Blocks,
    *,
    rows: bool,
) -> None:
    """A thread's rows of the left factor, or columns of the right one, at position p."""
    memory, base = source
    group = next(g for g in (4, 2, 1) if count % g == 0) if memory is None else 1
    if not rows:
        group = min(group, layout.group)
    loop = count > group
    number = "r" if loop else "0"
    if loop:
        k.line("#pragma unroll")
        k.line(f"for (int r = 0; r < {count}; r += {group}) {{")
    at = sum_of(layout.first_row(), number) if rows else layout.column(number)
    if memory is None:
        array, offset = base.split("@")
        index = sum_of(offset, f"p * {factor.pitch}", at)
        if group > 1:
            k.line(f"read_group<{group}>({array}, {index}, &{name}[{number}]);")
        else:
            k.line(f"{name}[{number}] = {array}[{index}];")
    else:
        _read_kept(k, factor, memory, at, sum_of(base, "p"), f"{name}[{number}]")
    if loop:
        k.line("}")


def _read_kept(
    k: KernelWriter, factor: Factor, memory: MemorySource, at: str, position: str, target: str
) -> None:
    """An element of a factor that is kept as a tile; 0 outside."""
    shape = k.placement.known_shape(factor.value)
    assert shape is not None
    others = [axis for axis in range(len(shape)) if axis != factor.contracted]
    count = times([shape[axis] for axis in others])
    point = ["0"] * len(shape)
    point[factor.contracted] = f"({position})" if "+" in position else position
    inner = 1
    for axis in reversed(others):
        text = f"({at})" if inner == 1 else f"({at}) / {inner}"
        point[axis] = text if axis == others[0] else f"{text} % {shape[axis]}"
        if "/" in point[axis] or "%" in point[axis]:
            point[axis] = f"({point[axis]})"
        inner *= shape[axis]
    extents = k.extents(factor.value)
    conditions = [f"{at} < {count}"] if factor.width > count else []
    for axis in others:
        if extents[axis] != shape[axis]:
            conditions.append(f"{point[axis]} < {extents[axis]}")
    read = f"{memory.name}[{memory.index(point)}]"
    read = f"convert<{factor.type}, {memory.type}>({read})" if memory.type != factor.type else read
    if conditions:
        k.line(f"{target} = 0;")
        k.line(f"if ({' && '.join(conditions)}) {target} = {read};")
    else:
        k.line(f"{target} = {read};")


# Staging


def primary_order(k: KernelWriter, value: SSAValue) -> tuple[int, ...]:
    """The axes of a factor, those that are neighbours in memory last."""
    rank = tile.tile_type(value).rank
    op = value.owner
    if isinstance(op, tile.LoadOp):
        return access_order(op)
    if isinstance(op, tile.MapOp):
        for operand, dims in zip(op.inputs, op.dim_lists, strict=True):
            if tuple(dims) == tuple(range(rank)) and isinstance(operand.type, tile.TileType):
                return primary_order(k, operand)
    return tuple(range(rank))


def piece_layout(k: KernelWriter, factor: Factor) -> Spread:
    """How the elements of a staged piece are fetched."""
    shape = list(k.placement.known_shape(factor.value) or ())
    shape[factor.contracted] = factor.length
    return Spread(tuple(shape), primary_order(k, factor.value), k.plan.lanes)


def stage(
    k: KernelWriter,
    factor: Factor,
    first: str,
    write,
    *,
    fetching: str = "",
) -> None:
    """
    Lines that compute the elements of a piece that begins at position `first`, 0 outside.
    `write(place, text)` writes one to shared memory; `fetching` names a register array to
    which they go instead.
    """
    layout = piece_layout(k, factor)
    extents = list(k.extents(factor.value))
    rest = extents[factor.contracted]
    if first != "0" and rest != factor.length:
        capacity = k.placement.known_shape(factor.value)
        assert capacity is not None
        whole = rest == capacity[factor.contracted] and isinstance(rest, int)
        rest = (
            factor.length
            if whole and isinstance(rest, int) and rest % factor.length == 0
            else f"({rest} - {first})"
        )
    elif first == "0" and isinstance(rest, int):
        rest = min(rest, factor.length)
    extents[factor.contracted] = rest
    head, point, slot, conditions = layout.open()
    shape = layout.shape
    for coordinate, extent, limit in zip(point, extents, shape, strict=True):
        if extent != limit:
            conditions = [*conditions, f"{coordinate} < {extent}"]
    for text in head:
        k.line(text)
    full = point.copy()
    if first != "0":
        full[factor.contracted] = f"({sum_of(point[factor.contracted], first)})"
    target = f"{fetching}[{slot}]" if fetching else k.fresh("staged")
    k.line(f"{target} = 0;" if fetching else f"{factor.type} {target} = 0;")
    level = k.enter()
    if conditions:
        k.line(f"if ({' && '.join(conditions)}) {{")
    value = k.element(factor.value, At(tuple(full), None))
    narrow = element_types(factor.value)[0] != factor.type
    k.line(f"{target} = {f'convert<{factor.type}>({value})' if narrow else value};")
    if conditions:
        k.line("}")
    k.leave(level)
    if not fetching:
        guard = times(shape) % layout.threads != 0
        if guard:
            k.line(f"if (element < {times(shape)}) {{")
        write(factor.place(point, shape), target)
        if guard:
            k.line("}")
    k.line("}")


def zero_padding(k: KernelWriter, factor: Factor, array: str, halves: int) -> None:
    """Zeros in the columns of a staged piece that no element fills, once."""
    shape = list(k.placement.known_shape(factor.value) or ())
    shape[factor.contracted] = 1
    filled = times(shape)
    if filled == factor.width:
        return
    rest = factor.width - filled
    count = rest * factor.length * halves

    def body() -> None:
        k.line(f"for (int element = thread; element < {count}; element += {k.plan.lanes}) {{")
        k.line(
            f"{array}[{sum_of(k.group_base(factor.count * halves), f'element / {rest} * {factor.pitch} + {filled} + element % {rest}')}] = 0;"
        )
        k.line("}")
        k.touch(Access(f"{array}.0", True))
        k.touch(Access(f"{array}.1", True))

    k.step(body)


# Single products


def emit_dot(k: KernelWriter, op: tile.DotOp) -> None:
    """A product outside of a nest: the accumulator's value, then piece after piece."""
    product = product_of(k, op, k.plan.slice)
    total = accumulator(k, product)
    _add_product(k, product, total)
    k.sources[op.out] = total


def accumulator(k: KernelWriter, product: Product) -> RegisterSource:
    """Registers that hold the value to which a product is added."""
    op, layout = product.op, product.layout
    total = k.register_array(op.out.name_hint or "sums", product.type, layout)
    extents = k.extents(op.out)

    def body(at: At) -> None:
        value = k.element(op.acc, at)
        if element_types(op.acc)[0] != product.type:
            value = f"convert<{product.type}>({value})"
        k.line(f"{total.name}[{at.slot}] = {value};")

    def first(slot: str) -> None:
        k.line(f"{total.name}[{slot}] = 0;")

    k.step(lambda: k.sweep(layout, extents, body, registers=True, first=first))
    return total


def _kept(k: KernelWriter, value: SSAValue) -> MemorySource | None:
    """The shared memory that holds a factor, if it is kept."""
    source = k.sources[value]
    kept = isinstance(source, MemorySource) and any(a.name == source.name for a in k.shared)
    return source if kept and isinstance(source, MemorySource) else None


def _add_product(k: KernelWriter, product: Product, total: RegisterSource) -> None:
    op = product.op
    shape = k.placement.known_shape(op.lhs)
    assert shape is not None
    whole, piece = shape[-1], product.left.length
    kept = {id(f): _kept(k, f.value) for f in (product.left, product.right)}
    staged = [f for f in (product.left, product.right) if kept[id(f)] is None]
    if not staged:
        product.left.length = product.right.length = piece = whole
    arrays = {}
    for side, factor in (("left", product.left), ("right", product.right)):
        if kept[id(factor)] is None:
            if uses_registers(k, factor.value):
                raise CompileError(
                    f"kernel '{k.name}': a factor is in registers; the placement is wrong"
                )
            array = k.pooled(f"staged_{side}", product.type, factor.count)
            arrays[id(factor)] = array.name
    extent = min_extent(k, product)

    def pieces(first: str) -> None:
        for factor in staged:
            _stage_step(k, factor, arrays[id(factor)], first)
        _multiply_step(k, product, total, first, extent, kept, arrays)

    if piece >= whole:
        pieces("0")
    else:
        name = k.fresh("piece")
        k.loop(
            f"for (int {name} = 0; {name} < {extent}; {name} += {piece})", lambda: pieces(name)
        )


def min_extent(k: KernelWriter, product: Product) -> Number:
    """The extent of the contracted axis: of the factor that something sizes."""
    op = product.op
    left = k.sized(op.lhs)[-1]
    right = k.sized(op.rhs)[product.right.contracted]
    known = left if left is not None else right
    return known if known is not None else k.extents(op.lhs)[-1]


def _stage_step(k: KernelWriter, factor: Factor, array: str, first: str) -> None:
    pool = next(a for a in k.shared if a.name == array)
    base = k.group_base(pool.count)

    def write(place: str, text: str) -> None:
        k.line(f"{array}[{sum_of(base, place)}] = {text};")

    def body() -> None:
        k.touch(Access(array, True))
        _zero_rest(k, factor, array, base)
        stage(k, factor, first, write)

    k.step(body)


def _zero_rest(k: KernelWriter, factor: Factor, array: str, base: str) -> None:
    """Zeros in the columns that no element fills."""
    shape = list(k.placement.known_shape(factor.value) or ())
    shape[factor.contracted] = 1
    filled = times(shape)
    rest = factor.width - filled
    if rest <= 0:
        return
    count = rest * factor.length
    place = f"element / {rest} * {factor.pitch} + {filled} + element % {rest}"
    k.line(f"for (int element = thread; element < {count}; element += {k.plan.lanes}) {{")
    k.line(f"{array}[{sum_of(base, place)}] = 0;")
    k.line("}")


def _multiply_step(k, product, total, first, extent, kept, arrays) -> None:
    left, right = product.left, product.right

    def source(factor: Factor) -> tuple[MemorySource | None, str]:
        memory = kept[id(factor)]
        if memory is not None:
            k.touch(Access(memory.memory, False))
            return memory, first
        name = arrays[id(factor)]
        k.touch(Access(name, False))
        pool = next(a for a in k.shared if a.name == name)
        return None, f"{name}@{k.group_base(pool.count)}"

    def body() -> None:
        length: Number = left.length
        all_kept = kept[id(left)] is not None or kept[id(right)] is not None
        if all_kept and extent != k.placement.known_shape(product.op.lhs)[-1]:
            # What is kept has no zeros past its extent.
            length = f"extent_of({extent} - {first}, {left.length})"
        elif all_kept and isinstance(extent, int) and extent % left.length:
            length = f"extent_of({extent} - {first}, {left.length})"
        multiply(k, product, total.name, length, source(left), source(right))

    k.step(body)


# Nests


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
    while isinstance(owner, Operation):
        if owner.parent_op() is outer.parent_op() or owner.name == "arith.constant":
            return True
        if isinstance(owner, tile.SizeOp):
            return True
        return False
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
            from infini_ir.targets.cuda_c.keeping import fill

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
        operations.one(k, op)


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
        for number, factor in enumerate(self.factors):
            wish = f"factor_{'ab'[number] if len(self.factors) == 2 else number}"
            array = k.shared_array(wish, factor.type, 2 * factor.count)
            self.arrays[id(factor)] = array.name
            zero_padding(k, factor, array.name, 2)
        turns = sum_of(self._turn_count())
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
            operations.one(k, op)

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
            k.bounds[argument] = (operations.bound_of(k, loop), k.known(loop.step_size))
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
