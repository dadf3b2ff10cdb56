"""The loops of a kernel: which axes there are, and how each operand moves along them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.ir import SSAValue

from infini_ir.dialects.tile import ViewType
from infini_ir.lowering.expression import Expression, Input
from infini_ir.lowering.kernel_builder import KernelBuilder, Position
from infini_ir.lowering.placement import Placement
from infini_ir.lowering.scalar_builder import ScalarBuilder
from infini_ir.utils.symbolic import ONE, ZERO, Dim


@dataclass
class Axis:
    """One loop: its size, and the stride of each operand along it."""

    size: Dim
    strides: list[Dim]
    label: str = ""
    """Axes merge only with neighbours of the same label."""


def axes_of(placements: Sequence[Placement], labels: Sequence[str] = ()) -> list[Axis]:
    """The axes of placements that all have one shape, those of size 1 left out."""
    shape = placements[0].shape
    result = [
        Axis(size, [p.strides[i] for p in placements], labels[i] if labels else "")
        for i, size in enumerate(shape)
    ]
    return [axis for axis in result if axis.size is not ONE]


def merged(axes: Sequence[Axis]) -> list[Axis]:
    """Neighbouring axes that every operand sees as one become one."""
    result: list[Axis] = []
    for axis in axes:
        before = result[-1] if result else None
        if (
            before is not None
            and before.label == axis.label
            and all(
                outer is inner * axis.size
                for outer, inner in zip(before.strides, axis.strides, strict=True)
            )
        ):
            result[-1] = Axis(before.size * axis.size, axis.strides, axis.label)
        else:
            result.append(axis)
    return result


def sorted_by(axes: Sequence[Axis], operand: int) -> list[Axis]:
    """Axes in the order in which an operand lies in memory, the closest last. Axes along
    which it does not move come first."""

    def farther(a: Dim, b: Dim) -> bool:
        if a is b or b is ZERO:
            return False
        if a is ZERO:
            return True
        if a.value is not None and b.value is not None:
            return abs(a.value) > abs(b.value)
        return a.exact_divide(b) is not None

    result: list[Axis] = []
    for axis in axes:
        place = len(result)
        while place and farther(axis.strides[operand], result[place - 1].strides[operand]):
            place -= 1
        result.insert(place, axis)
    return result


def view_types(axes: Sequence[Axis], placements: Sequence[Placement]) -> list[ViewType]:
    """The type of each operand's view in the shape of the axes."""
    shape = [axis.size for axis in axes]
    return [
        ViewType.of(shape, p.dtype, [axis.strides[i] for axis in axes])
        for i, p in enumerate(placements)
    ]


class TileWriter:
    """
    Writes the loads, maps and stores of a kernel whose operands all have the shape of one
    domain. `offsets` are the positions where the program's tile begins, one an axis.
    """

    def __init__(
        self,
        k: KernelBuilder,
        axes: Sequence[Axis],
        placements: Sequence[Placement],
        views: Sequence[SSAValue | None],
        offsets: Sequence[Position],
        capacity: dict[int, str | Dim],
        view_axes: Sequence[Sequence[int]] | None = None,
    ) -> None:
        self.k = k
        self.axes = axes
        self.placements = placements
        self.views = views
        self.offsets = offsets
        self.capacity = capacity
        """The tile's size along each axis that it covers."""
        everything = list(range(len(axes)))
        self.view_axes = view_axes or [everything] * len(placements)
        """The axes that each operand's view has."""
        self._loaded: dict[tuple[int, tuple[int, ...]], SSAValue] = {}

    def shape(self, tile_axes: Sequence[int]) -> list[str | Dim]:
        return [self.capacity[axis] for axis in tile_axes]

    def load(self, operand: int, tile_axes: Sequence[int]) -> tuple[SSAValue, list[int]]:
        """An operand's tile over those axes along which it moves, and which they are."""
        dims = [
            i for i, axis in enumerate(tile_axes)
            if self.axes[axis].strides[operand] is not ZERO
        ]  # fmt: skip
        covered = tuple(tile_axes[i] for i in dims)
        key = (operand, covered)
        if key not in self._loaded:
            view = self.views[operand]
            assert view is not None
            own = list(self.view_axes[operand])
            at = [self.offsets[axis] for axis in own]
            where = [own.index(axis) for axis in covered]
            self._loaded[key] = self.k.load(view, at, where, self.shape(covered))
        return self._loaded[key], dims

    def start(self, operand: int) -> SSAValue:
        """The value of a position operand at the beginning of the tile."""
        total: Position = self.placements[operand].offset
        for axis, offset in zip(self.axes, self.offsets, strict=True):
            stride = axis.strides[operand]
            if stride is ZERO or (isinstance(offset, int) and offset == 0):
                continue
            moved = offset if stride is ONE else self.k.mul(offset, stride)
            total = moved if total is ZERO else self.k.add(total, moved)
        return self.k.index(total)

    def map(
        self,
        expression: Expression,
        tile_axes: Sequence[int],
        tiles: Sequence[tuple[SSAValue, Sequence[int]]] = (),
    ) -> tuple[SSAValue, ...]:
        """
        The map of an expression over those axes. `tiles` are the values of the expression's
        tile inputs, each with the domain's axes it covers.
        """
        order = expression.inputs()
        values: list[SSAValue] = []
        dims: list[list[int]] = []
        for node in order:
            if node.kind == "operand":
                value, covered = self.load(node.index, tile_axes)
            elif node.kind == "position":
                value, covered = self.start(node.index), []
            else:
                value, own = tiles[node.index]
                covered = [list(tile_axes).index(axis) for axis in own]
            values.append(value)
            dims.append(list(covered))
        extra = _strides_and_sizes(expression, order, self.axes, tile_axes)
        values += [self.k.size(dim) for dim in extra]
        dims += [[] for _ in extra]

        def body(s: ScalarBuilder, *args: SSAValue) -> list[SSAValue]:
            sizes = dict(zip(extra, args[len(order) :], strict=True))
            inputs: dict[Input, SSAValue] = {}
            for node, arg in zip(order, args, strict=False):
                if node.kind == "position":
                    inputs[node] = self._position(s, node, arg, tile_axes, sizes)
                else:
                    inputs[node] = arg
            return expression.write(s, inputs, sizes)

        return self.k.map(values, dims, expression.dtypes, self.shape(tile_axes), body)

    def _position(
        self,
        s: ScalarBuilder,
        node: Input,
        start: SSAValue,
        tile_axes: Sequence[int],
        sizes: dict[Dim, SSAValue],
    ) -> SSAValue:
        total = start
        for i, axis in enumerate(tile_axes):
            stride = self.axes[axis].strides[node.index]
            if stride is ZERO:
                continue
            step = s.coord(i)
            if stride is not ONE:
                known = stride.value
                by = sizes[stride] if known is None else s.constant(known, "index")
                step = s.mul(step, by)
            total = s.add(total, step)
        return s.from_index(total, self.placements[node.index].dtype)


def _strides_and_sizes(
    expression: Expression,
    order: Sequence[Input],
    axes: Sequence[Axis],
    tile_axes: Sequence[int],
) -> list[Dim]:
    """The run-time sizes that a map computes with."""
    found = dict.fromkeys(expression.sizes())
    for node in order:
        if node.kind == "position":
            strides = (axes[axis].strides[node.index] for axis in tile_axes)
            found.update(dict.fromkeys(s for s in strides if s.value is None))
    return list(found)
