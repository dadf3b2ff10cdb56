"""Loads, stores, gathers, scatters and reads: pointers, masks, and who writes last."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import SSAValue

from infini_ir.dialects import tile
from infini_ir.dialects.tile import tile_type, view_type
from infini_ir.dialects.tile.types import ViewType
from infini_ir.targets.nvidia.frame import Frame, Held, tuple_text
from infini_ir.targets.nvidia.indices import NARROW
from infini_ir.targets.nvidia.shapes import Shape
from infini_ir.targets.nvidia.values import Text, memory_type, triton_type
from infini_ir.utils.dtypes import is_float, is_unsigned
from infini_ir.utils.symbolic import ONE


class Accesses:
    """Writes what touches memory."""

    def __init__(self, frame: Frame) -> None:
        self.f = frame
        self._places: dict[object, tuple[str, str]] = {}

    # Pointers

    def base(self, view: SSAValue, offsets: Sequence[SSAValue]) -> str:
        """The pointer to where the offsets are."""
        texts = [self.f.scalars[offset] for offset in offsets]
        return self._pointer(view, [self._term(view, t, a) for a, t in enumerate(texts)])

    def _term(self, view: SSAValue, offset: Text, axis: int) -> str:
        """One offset in elements; empty where it adds nothing."""
        stride = view_type(view).strides[axis]
        if stride.value == 0 or offset.text == "0":
            return ""
        step = self.f.stride(stride)
        if offset.literal and step.literal:
            return str(int(offset.text) * int(step.text))
        if stride.value == 1:
            return offset.operand
        # Each term is added to the pointer by itself, so none overflows with another.
        known = offset.bound is not None and step.bound is not None
        near = known and (offset.bound or 0) * (step.bound or 0) < NARROW
        wide = not near and self.f.is_wide(view) and "int64" not in (offset.type, step.type)
        return f"{offset.to('int64') if wide else offset.operand} * {step.operand}"

    def _pointer(self, view: SSAValue, terms: Sequence[str]) -> str:
        return " + ".join([self.f.pointers[view], *[term for term in terms if term]])

    def inside(self, view: SSAValue, axes: Sequence[int], shape: Shape) -> tuple[str, set[int]]:
        """The positions of a tile's lanes from its first, in elements, and which physical
        axes they vary along."""
        type = view_type(view)
        wide = not self._is_near(type, axes, shape)
        terms: list[str] = []
        covered: set[int] = set()
        for axis, of_view in enumerate(axes):
            stride = type.strides[of_view]
            if stride.value == 0:
                continue
            if shape.lanes[shape.places[axis][0]].size == 1:
                continue
            covered.add(shape.places[axis][0])
            lanes, step = self.f.coordinate(shape, axis), self.f.stride(stride)
            text = lanes.to("int64") if wide and stride.value is not None else lanes.text
            terms.append(text if stride.value == 1 else f"{text} * {step.operand}")
        return " + ".join(terms), covered

    def _is_near(self, type: ViewType, axes: Sequence[int], shape: Shape) -> bool:
        """Whether all lanes are within 2^31 elements of the first."""
        reach = 0
        for axis, of_view in enumerate(axes):
            stride = type.strides[of_view].value
            if stride is not None:
                lanes = shape.lanes[shape.places[axis][0]]
                reach += abs(stride) * lanes.size
        return reach < NARROW

    def _address(
        self, view: SSAValue, offsets: Sequence[SSAValue], axes: Sequence[int], shape: Shape
    ) -> tuple[str, bool]:
        """Pointers of a tile's lanes, and whether there is one for each lane: axes along
        which nothing moves have none."""
        inside, covered = self.inside(view, axes, shape)
        base = self.base(view, offsets)
        moved = {i for i, size in enumerate(shape.sizes) if size > 1}
        whole = not shape.lanes or (bool(covered) and moved <= covered)
        if not inside:
            return base, whole
        several = " + " in inside or " * " in inside
        return f"{base} + ({inside})" if several else f"{base} + {inside}", whole

    # Loads and stores

    def load(self, op: tile.LoadOp) -> None:
        """A slice of a view."""
        f, shape = self.f, self.f.shapes.of(op.out)
        address, whole = self._address(op.view, op.offsets, op.axis_list, shape)
        strides = view_type(op.view).strides
        extents = f.extents.of_access(op)
        moving = [
            a
            for a, axis in enumerate(op.axis_list)
            if strides[axis].value != 0 or extents[a].capacity == 0
        ]
        terms = f.mask(shape, extents, moving)
        if terms and not whole:
            address, whole = self._spread(address, shape), True
        text = self.value_of(address, terms, op.view)
        if not whole:
            text = self._spread(text, shape)
        zero = frozenset(moving) if terms else frozenset[int]()
        self.give(op.out, text, f.view_name(op.view), zero)

    def _spread(self, text: str, shape: Shape) -> str:
        return f"tl.broadcast_to({text}, {tuple_text(shape.sizes)})"

    def value_of(self, address: str, terms: Sequence[str], view: SSAValue) -> str:
        """What lies at an address, 0 where a condition does not hold."""
        element = view_type(view).element
        text = f"tl.load({address})"
        if terms:
            zero = "0.0" if "float" in memory_type(element) else "0"
            text = f"tl.load({address}, mask={_all(terms)}, other={zero})"
        return f"{text} != 0" if triton_type(element) == "int1" else text

    def give(
        self,
        out: SSAValue,
        text: str,
        fallback: str,
        zero: frozenset[int] = frozenset(),
    ) -> None:
        """Assign a tile."""
        name = self.f.name_for(out, fallback)
        self.f.writer.line(f"{name} = {text}")
        element = triton_type(tile_type(out).element)
        self.f.tiles[out] = Held(Text(name, element), zero)

    def store(self, op: tile.StoreOp) -> None:
        """A tile into a slice of a view."""
        f, shape = self.f, self.f.shapes.of(op.value)
        address, whole = self._address(op.view, op.offsets, op.axis_list, shape)
        if not whole:
            address = self._spread(address, shape)
        terms = f.mask(shape, f.extents.of_access(op), range(len(shape.places)))
        self.put(op.view, address, f.whole(op.value), terms, op.combine.data)

    def put(
        self,
        view: SSAValue,
        address: str,
        value: Text,
        terms: Sequence[str],
        combine: tile.Combine,
    ) -> None:
        """Write a value, combined with what is there."""
        element = view_type(view).element
        mask = f", mask={_all(terms)}" if terms else ""
        if combine is not tile.Combine.set:
            old = self.f.writer.name("old")
            self.f.writer.line(f"{old} = {self.value_of(address, terms, view)}")
            held = Text(old, triton_type(element))
            value = combined(combine, held, value, view_type(view).dtype)
        text = value.to("int8") if value.type == "int1" else value.text
        self.f.writer.line(f"tl.store({address}, {text}{mask})")

    def read(self, op: tile.ReadOp) -> None:
        """One element as a scalar."""
        text = self.value_of(self.base(op.view, op.offsets), [], op.view)
        name = self.f.name_for(op.out, self.f.view_name(op.view))
        self.f.writer.line(f"{name} = {text}")
        self.f.scalars[op.out] = Text(name, triton_type(op.out.type))

    # Computed positions

    def gather(self, op: tile.GatherOp) -> None:
        """Elements at computed positions. Lanes that are not needed read nothing."""
        f, shape = self.f, self.f.shapes.of(op.out)
        texts = self._positions(op.positions, op.dim_lists, shape)
        extents = f.extents.of(op.out)
        terms = f.mask(shape, extents, range(len(shape.places)))
        if any(extent is None for extent in extents):
            terms += self._bounds(op.view, op.positions, texts)
        address = self._at(op.view, texts)
        if terms and not self._covered(op.positions, op.dim_lists, shape):
            address = self._spread(address, shape)
        text = self.value_of(address, terms, op.view)
        if shape.lanes and not self._covered(op.positions, op.dim_lists, shape):
            text = self._spread(text, shape)
        self.give(op.out, text, f.view_name(op.view))

    def _positions(
        self, values: Sequence[SSAValue], dims: Sequence[Sequence[int]], shape: Shape
    ) -> list[Text]:
        return [
            _position(self.f.covering(value, axes, shape), tile_type(value).dtype)
            if isinstance(value.type, tile.TileType)
            else self.f.scalars[value]
            for value, axes in zip(values, dims, strict=True)
        ]

    def _covered(
        self, values: Sequence[SSAValue], dims: Sequence[Sequence[int]], shape: Shape
    ) -> bool:
        found = {
            shape.places[axis][0]
            for value, axes in zip(values, dims, strict=True)
            if isinstance(value.type, tile.TileType) and not self.f.tiles[value].text.literal
            for axis in axes
        }
        return found == set(range(len(shape.lanes)))

    def _at(self, view: SSAValue, positions: Sequence[Text]) -> str:
        return self._pointer(view, [self._term(view, t, a) for a, t in enumerate(positions)])

    def _bounds(
        self, view: SSAValue, values: Sequence[SSAValue], positions: Sequence[Text]
    ) -> list[str]:
        """Conditions under which positions are inside a view."""
        terms: list[str] = []
        for value, size, text in zip(values, view_type(view).shape, positions, strict=True):
            if not text.natural:
                terms.append(f"{text.operand} >= 0")
            if not self.f.extents.ranges.reaches(value, ONE, size):
                terms.append(f"{text.operand} < {self.f.sizes.text(size).operand}")
        return terms

    def scatter(self, op: tile.ScatterOp) -> None:
        """Elements to computed positions, as if one after the other."""
        f, shape = self.f, self.f.shapes.of(op.value)
        texts = self._positions(op.positions, op.dim_lists, shape)
        extents = self._scatter_extents(op)
        terms = f.mask(shape, extents, range(len(shape.places)))
        terms += self._bounds(op.view, op.positions, texts)
        count = 1
        for size in shape.sizes:
            count *= size
        if isinstance(op.parent_op(), tile.ForOp):
            f.writer.line("tl.debug_barrier()")
        if count == 1:
            address = self._at(op.view, texts)
            if shape.lanes:
                address = self._spread(address, shape)
            self.put(op.view, address, f.whole(op.value), terms, op.combine.data)
        elif op.combine.data is tile.Combine.set:
            self._scatter_last(op, shape, texts, terms, count)
        else:
            self._scatter_in_turn(op, shape, texts, terms, count)

    def _scatter_extents(self, op: tile.ScatterOp):
        own = list(self.f.extents.of(op.value))
        for value, axes in zip(op.positions, op.dim_lists, strict=True):
            if isinstance(value.type, tile.TileType):
                for axis, extent in zip(axes, self.f.extents.of(value), strict=True):
                    own[axis] = own[axis] or extent
        return own

    def _row(self, text: Text, shape: Shape, count: int) -> str:
        """A value of every lane, in one row."""
        whole = text.text
        if not text.atom or not text.text.isidentifier():
            whole = self._spread(whole, shape)
        if text.literal or text.plain:
            whole = f"tl.full({tuple_text(shape.sizes)}, {text.text}, tl.{text.type})"
        return whole if len(shape.sizes) == 1 else f"tl.reshape({whole}, ({count},))"

    def _scatter_last(
        self, op: tile.ScatterOp, shape: Shape, texts: list[Text], terms: list[str], count: int
    ) -> None:
        """All at once; of the lanes that meet at one place only the last writes."""
        f = self.f
        steps = [
            term for axis, text in enumerate(texts) if (term := self._term(op.view, text, axis))
        ]
        key = (op.parent, " + ".join(steps), tuple(terms))
        if key not in self._places:
            self._places[key] = self._last_writers(steps, terms, shape, count)
        place, live = self._places[key]
        row = self._row(f.tiles[op.value].text, shape, count)
        value = Text(row, f.tiles[op.value].text.type)
        self.put(op.view, f"{f.pointers[op.view]} + {place}", value, [live], op.combine.data)

    def _last_writers(
        self, steps: Sequence[str], terms: Sequence[str], shape: Shape, count: int
    ) -> tuple[str, str]:
        """Where each lane writes, and whether it does: not where a later one writes too."""
        f = self.f
        place, live = f.writer.name("place"), f.writer.name("live")
        position = Text(" + ".join(steps) or "0", "int64", atom=False, literal=not steps)
        f.writer.line(f"{place} = {self._row(position, shape, count)}")
        everywhere = Text("True", "int1", literal=True)
        condition = Text(_all(terms), "int1", atom=False) if terms else everywhere
        f.writer.line(f"{live} = {self._row(condition, shape, count)}")
        lanes = f.range(count).text
        later = f"({lanes}[None, :] > {lanes}[:, None]) & {live}[None, :]"
        met = f"({place}[None, :] == {place}[:, None]) & {later}"
        f.writer.line(f"{live} = {live} & (tl.max(({met}).to(tl.int32), axis=1) == 0)")
        return place, live

    def _scatter_in_turn(
        self, op: tile.ScatterOp, shape: Shape, texts: list[Text], terms: list[str], count: int
    ) -> None:
        """One lane after the other, as each adds to what those before left."""
        f = self.f
        lane, chosen = f.writer.name("lane"), f.writer.name("chosen")
        rows: list[str] = []
        held = f.tiles[op.value].text
        sources = [*texts, Text(_all(terms), "int1") if terms else None, held]
        for text in sources:
            name = f.writer.name("row")
            rows.append(name)
            whole = Text("True", "int1", literal=True) if text is None else text
            f.writer.line(f"{name} = {self._row(whole, shape, count)}")
        f.writer.line(f"for {lane} in range(0, {count}):")
        with f.writer.indented():
            f.writer.line("tl.debug_barrier()")
            f.writer.line(f"{chosen} = {f.range(count).text} == {lane}")
            picked = [f"tl.sum(tl.where({chosen}, {r}, 0).to(tl.int64))" for r in rows[:-2]]
            places = [Text(text, "int64") for text in picked]
            live = f"tl.sum(tl.where({chosen}, {rows[-2]}, False).to(tl.int32)) != 0"
            bits = held.type.replace("bfloat", "int").replace("float", "int")
            cast = f"{rows[-1]}.to(tl.{bits}, bitcast=True)" if bits != held.type else rows[-1]
            value = f"tl.sum(tl.where({chosen}, {cast}, 0)).to(tl.{bits})"
            if bits != held.type:
                value += f".to(tl.{held.type}, bitcast=True)"
            name = f.writer.name("value")
            f.writer.line(f"{name} = {value}")
            address = self._at(op.view, places)
            self.put(op.view, address, Text(name, held.type), [live], op.combine.data)


def _position(text: Text, dtype: str) -> Text:
    """Positions in as many bits as strides need."""
    if text.literal or (text.type in ("int32", "int64") and not is_unsigned(dtype)):
        return text
    source = f"{text.to(f'u{text.type}', bitcast=True)}" if is_unsigned(dtype) else text.operand
    return Text(f"{source}.to(tl.int64)", "int64", natural=is_unsigned(dtype))


def combined(combine: tile.Combine, old: Text, new: Text, dtype: str) -> Text:
    """What was there with what comes to it. Half precision rounds once, from f32."""
    if combine is tile.Combine.set:
        return new
    half = dtype in ("f16", "bf16")
    a, b = (x.to("float32") if half else x.operand for x in (old, new))
    if combine in (tile.Combine.add, tile.Combine.mul):
        symbol = "+" if combine is tile.Combine.add else "*"
        if old.type == "int1":
            symbol = "|" if combine is tile.Combine.add else "&"
        text = f"{a} {symbol} {b}"
    else:
        name = "maximum" if combine is tile.Combine.max else "minimum"
        text = _extremum(name, a, b, old, dtype)
    if half:
        return Text(f"({text}).to(tl.{old.type})", old.type)
    return Text(text, old.type, atom=False)


def _extremum(name: str, a: str, b: str, old: Text, dtype: str) -> str:
    if is_float(dtype):
        return f"tl.{name}({a}, {b}, propagate_nan=tl.PropagateNan.ALL)"
    if old.type == "int1":
        return f"{a} {'|' if name == 'maximum' else '&'} {b}"
    if is_unsigned(dtype):
        unsigned = f"tl.u{old.type}, bitcast=True"
        return (
            f"tl.{name}({a}.to({unsigned}), {b}.to({unsigned})).to(tl.{old.type}, bitcast=True)"
        )
    return f"tl.{name}({a}, {b})"


def _all(terms: Sequence[str]) -> str:
    return terms[0] if len(terms) == 1 else " & ".join(f"({term})" for term in terms)
