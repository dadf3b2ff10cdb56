"""The frame of an emitted kernel: names, sizes, lanes, and which part of a tile is valid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from xdsl.ir import SSAValue

from infini_ir.dialects import tile
from infini_ir.dialects.tile import view_type
from infini_ir.targets.nvidia.extents import Extent, Extents
from infini_ir.targets.nvidia.indices import NARROW
from infini_ir.targets.nvidia.plan import Plan
from infini_ir.targets.nvidia.shapes import Lanes, Shape, Shapes
from infini_ir.targets.nvidia.sizes import SizeTexts
from infini_ir.targets.nvidia.values import Text, number_text
from infini_ir.targets.nvidia.writer import Writer
from infini_ir.utils.symbolic import Dim


@dataclass(frozen=True)
class Held:
    """A tile as it stands in the text: a name, or a number that is the same everywhere."""

    text: Text
    zero: frozenset[int] = frozenset()
    """Axes along which what lies beyond the extent is 0."""


class Frame:
    """What the parts of the emitter share while they write one kernel."""

    def __init__(self, kernel: tile.KernelOp, plan: Plan) -> None:
        self.kernel = kernel
        self.plan = plan
        self.writer = Writer()
        self.extents = Extents(kernel)
        self.shapes = Shapes(kernel)
        narrow = any(isinstance(op, tile.DotOp) for op in kernel.body.walk())
        self.sizes = SizeTexts(self.writer.name, narrow=narrow)
        self.scalars: dict[SSAValue, Text] = {}
        self.tiles: dict[SSAValue, Held] = {}
        self.wanted: dict[SSAValue, str] = {}
        """Names that results must take: those of carried tiles."""
        self.carried: set[str] = set()
        """Names that loops assign again."""
        self.pointers = self._name_views()
        self._lanes: dict[object, Text] = {}
        self._strides: dict[Dim, Text] = {}
        self._limits: dict[tuple[SSAValue, Dim, int], Text] = {}
        self.needed = self._needed_limits()
        """The extents to compute once an offset is known, and whether lanes may go beyond
        the capacity."""
        self._whole: set[SSAValue] = set()

    def _name_views(self) -> dict[SSAValue, str]:
        written = self.kernel.written()
        names: dict[SSAValue, str] = {}
        for number, view in enumerate(self.kernel.views):
            base = view.name_hint or ("out" if number in written else "in") + str(number)
            names[view] = self.writer.name(f"{base}_ptr")
        return names

    def view_name(self, view: SSAValue) -> str:
        """A view's name without what marks it as a pointer."""
        return self.pointers[view].removesuffix("_ptr")

    def name_for(self, value: SSAValue, fallback: str) -> str:
        """A fresh name for a value, or the one that it must take."""
        if value in self.wanted:
            return self.wanted.pop(value)
        return self.writer.name(value.name_hint or fallback)

    # Lanes: positions inside tiles

    def lanes(self, lanes: Lanes, part: int) -> Text:
        """The positions along a part of a physical axis, of one dimension."""
        flat = self.range(lanes.size)
        if not lanes.is_flat:
            return flat
        key = (lanes, part)
        if key not in self._lanes:
            after = 1
            for _, capacity in lanes.parts[part + 1 :]:
                after *= capacity
            text = flat.text if after == 1 else f"{flat.text} // {after}"
            capacity = lanes.parts[part][1]
            if part > 0:
                text = f"{text} % {capacity}"
            name = self.writer.name(f"{flat.text}_{'yxzw'[part]}")
            self.writer.head_line(f"{name} = {text}")
            self._lanes[key] = Text(name, "int32", bound=lanes.size - 1, natural=True)
        return self._lanes[key]  # pyright: ignore[reportReturnType]

    def range(self, size: int) -> Text:
        if size not in self._lanes:
            name = self.writer.name(f"r{size}")
            self.writer.head_line(f"{name} = tl.arange(0, {size})")
            self._lanes[size] = Text(name, "int32", bound=size - 1, natural=True)
        return self._lanes[size]

    def spread(self, text: Text, position: int, rank: int) -> Text:
        """A tile of one dimension along a physical axis of a shape of that many."""
        return replace(text, text=text.operand + _index([position], rank), atom=True)

    def coordinate(self, shape: Shape, axis: int) -> Text:
        """The positions along an axis of a tile, spread over its shape."""
        position, part = shape.places[axis]
        text = self.lanes(shape.lanes[position], part)
        return self.spread(text, position, len(shape.lanes))

    # Extents

    def mask(
        self, shape: Shape, extents: Sequence[Extent | None], axes: Sequence[int]
    ) -> list[str]:
        """Conditions under which a lane of some axes is inside the extent."""
        terms: list[str] = []
        for axis in axes:
            limit = self._limit(shape, axis, extents[axis])
            if limit is not None:
                terms.append(f"{self.coordinate(shape, axis).text} < {limit.operand}")
        return terms

    def _limit(self, shape: Shape, axis: int, extent: Extent | None) -> Text | None:
        position, part = shape.places[axis]
        lanes = shape.lanes[position]
        capacity = lanes.parts[part][1]
        if extent is None or extent.full or extent.offset in self._whole:
            padded = self._is_padded(lanes, part)
            return number_text(capacity, "int32") if padded else None
        return self._limits[(extent.offset, extent.size, extent.capacity)]

    def _is_padded(self, lanes: Lanes, part: int) -> bool:
        """Whether lanes of a part go beyond its capacity: of a flat axis, the first do."""
        count = 1
        for _, capacity in lanes.parts:
            count *= capacity
        return part == 0 and lanes.size > count

    def _needed_limits(self) -> dict[SSAValue, list[tuple[Extent, bool]]]:
        needed: dict[SSAValue, list[tuple[Extent, bool]]] = {}
        for op in self.kernel.body.walk():
            if not isinstance(op, tile.LoadOp | tile.StoreOp):
                continue
            shape = self.shapes.of(op.out if isinstance(op, tile.LoadOp) else op.value)
            for axis, extent in enumerate(self.extents.of_access(op)):
                position, part = shape.places[axis]
                padded = self._is_padded(shape.lanes[position], part)
                if not extent.full:
                    needed.setdefault(extent.offset, []).append((extent, padded))
        return needed

    def define_limits(self, offset: SSAValue) -> None:
        """Compute the extents that depend on an offset, where it has just been computed."""
        made: set[tuple[SSAValue, Dim, int]] = set()
        for extent, padded in self.needed.get(offset, ()):
            key = (extent.offset, extent.size, extent.capacity)
            if key not in made and offset not in self._whole:
                made.add(key)
                self._limits[key] = self._make_limit(extent, padded)

    @contextmanager
    def without_limit(self, offset: SSAValue) -> Iterator[None]:
        """What is written inside has whole tiles along the axes that begin at an offset."""
        self._whole.add(offset)
        try:
            yield
        finally:
            self._whole.discard(offset)

    def _make_limit(self, extent: Extent, padded: bool) -> Text:
        size, offset = self.sizes.text(extent.size), self.scalars[extent.offset]
        if size.literal and offset.literal:
            left = int(size.text) - int(offset.text)
            return number_text(max(0, min(left, extent.capacity)), "int32")
        rest = size.text if offset.text == "0" else f"{size.operand} - {offset.operand}"
        wide = "int64" in (size.type, offset.type)
        if wide or padded:
            rest = f"tl.minimum({rest}, {extent.capacity})"
        if wide:
            rest = f"tl.cast({rest}, tl.int32)"
        name = self.writer.name(f"{offset.text}_left" if offset.text.isidentifier() else "left")
        self.writer.line(f"{name} = {rest}")
        return Text(name, "int32")

    # Tiles in other shapes

    def covering(self, value: SSAValue, dims: Sequence[int], result: Shape) -> Text:
        """A tile's text laid along the axes of a shape that it covers."""
        held = self.tiles[value]
        own = self.shapes.of(value)
        if held.text.literal or not own.lanes:
            return held.text
        first: dict[int, int] = {}
        for axis, (position, _) in enumerate(own.places):
            first.setdefault(position, result.places[dims[axis]][0])
        targets = [first[position] for position in range(len(own.lanes))]
        order = sorted(range(len(targets)), key=lambda i: targets[i])
        text = held.text.text
        if order != list(range(len(order))):
            text = (
                f"tl.trans({text})"
                if len(order) == 2
                else f"tl.permute({text}, {tuple(order)})"
            )
        text += _index(sorted(targets), len(result.lanes))
        return replace(held.text, text=text, atom=True)

    def whole(self, value: SSAValue) -> Text:
        """A tile's text in its whole shape: a number becomes a tile."""
        held = self.tiles[value].text
        return self.filled(held, self.shapes.of(value).sizes)

    def filled(self, text: Text, sizes: Sequence[int]) -> Text:
        """A tile of one number."""
        if not text.literal:
            return text
        made = f"tl.full({_tuple(sizes)}, {text.text}, tl.{text.type})"
        return Text(made, text.type)

    # Sizes of memory

    def is_wide(self, view: SSAValue) -> bool:
        """Whether positions in a view may need 64 bits."""
        type = view_type(view)
        span = 0
        for size, stride in zip(type.shape, type.strides, strict=True):
            if stride.value == 0:
                continue
            if size.value is None or stride.value is None:
                return True
            span += max(size.value - 1, 0) * abs(stride.value)
        return span >= NARROW

    def stride(self, dim: Dim) -> Text:
        """A stride; products of symbols are computed once."""
        text = self.sizes.text(dim)
        if text.literal or text.text.isidentifier():
            return text
        if dim not in self._strides:
            name = self.writer.name("stride")
            self.writer.head_line(f"{name} = {text.text}")
            self._strides[dim] = replace(text, text=name, atom=True)
        return self._strides[dim]


def _index(kept: Sequence[int], rank: int) -> str:
    """The index that gives a tile axes of size 1 where it has none."""
    if len(kept) == rank:
        return ""
    return "[" + ", ".join(":" if i in kept else "None" for i in range(rank)) + "]"


def _tuple(sizes: Sequence[int]) -> str:
    return f"({sizes[0]},)" if len(sizes) == 1 else f"({', '.join(map(str, sizes))})"


def tuple_text(sizes: Sequence[int]) -> str:
    """Sizes as a Python tuple."""
    return _tuple(sizes)
