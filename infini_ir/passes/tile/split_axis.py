"""Long and unknown rows in chunks: the pass `tile-split-axis`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass

from infini_ir.dialects import tile
from infini_ir.passes.tile.chunk_loops import ChunkLoops, inexact
from infini_ir.passes.tile.tile_axes import Place, TileAxes, reductions_along
from infini_ir.utils.errors import CompileError
from infini_ir.utils.symbolic import ONE, PARAMETERS, Dim

CHUNK_PARAMETERS = ("BC", "BR", "BW", "BH", "BK", "BN", "BM")
"""Which parameters chunks take, the innermost loop's the first of these that the kernel does
not use."""


@dataclass(frozen=True)
class SplitAxisPass(ModulePass):
    """
    Walks tile axes that are too long in chunks, whose size is a parameter that the kernel
    does not use yet; a plan fixes it.

    Every reduction along such an axis becomes a loop that carries the partial result in the
    reduction's element type, as does a product over it; stores have a loop of their own. Loads
    are repeated in each loop, elementwise values computed anew. What fits stays as it is.

    Where an access is cut by the tile's capacity and not by its view, the chunk is the
    largest divisor of the capacity that fits instead.

    Raises `CompileError` for a kernel that needs the axis whole.
    """

    name = "tile-split-axis"
    limit: int = 8192
    """Elements that the known axes of a tile may have together."""

    symbolic: bool = True
    """Whether axes of unknown size are split too, however short they turn out."""

    beside: int = 0
    """Elements that an axis may have across neighbours in memory, where a parameter says how
    many of these a tile has: fewer leave more to it. Eight times as many where the axis would
    be walked more than once. An axis that has to be whole stays so. 0 is no such limit."""

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for kernel in op.body.block.ops:
            if isinstance(kernel, tile.KernelOp):
                split_axes(kernel, self.limit, symbolic=self.symbolic, beside=self.beside)


def split_axes(
    kernel: tile.KernelOp, limit: int, *, symbolic: bool = True, beside: int = 0
) -> None:
    """Rewrite one kernel so that its tiles fit."""
    limits = _Limits(limit, symbolic, beside)
    if not long_axes(kernel, TileAxes(kernel), limits):
        return
    try:
        split = _split(kernel.clone(), limits)
    except CompileError:
        if not beside:
            raise
        # What has to be whole may be so, if slowly.
        split_axes(kernel, limit, symbolic=symbolic)
        return
    body = split.body.detach_block(0)
    kernel.body.detach_block(0)
    kernel.body.add_block(body)


@dataclass(frozen=True)
class _Limits:
    """The options of `SplitAxisPass`."""

    limit: int
    symbolic: bool
    beside: int


def _split(kernel: tile.KernelOp, limits: _Limits) -> tile.KernelOp:
    """
    Split one axis after the other; a copy. A loop over one must not carry tiles of the next,
    so the order matters: each is tried.
    """
    count = len(long_axes(kernel, TileAxes(kernel), limits))
    first: CompileError | None = None
    for number in range(count):
        trial = kernel.clone()
        axes = TileAxes(trial)
        place = long_axes(trial, axes, limits)[number]
        try:
            members = axes.members(place)
            axis = {value: own[0] for value, own in members.items()}
            step = _step(trial, axis, limits.limit, count)
            ChunkLoops(trial, members, step).run()
            return _split(trial, limits)
        except CompileError as error:
            first = first or error
    if first is not None:
        raise first
    return kernel


def long_axes(kernel: tile.KernelOp, axes: TileAxes, limits: _Limits) -> list[Place]:
    """An axis for each class to split: those of unknown size, those across neighbours, then
    the longest of each tile that holds too much."""
    chosen: list[Place] = []
    for place in axes.places():
        size = _size(place)
        if (limits.symbolic and _is_unknown(size)) or _is_long_beside(
            kernel, axes, place, limits
        ):
            _add(chosen, axes.find(place))
    for value in dict.fromkeys(value for value, _ in axes.places()):
        known = [
            (value, axis)
            for axis, size in enumerate(tile.tile_type(value).shape)
            if size.is_constant and axes.find((value, axis)) not in chosen
        ]
        known.sort(key=lambda place: (_known(place), place[1]))
        while known and _elements(known) > limits.limit:
            _add(chosen, axes.find(known.pop()))
    return chosen


def _is_long_beside(
    kernel: tile.KernelOp, axes: TileAxes, place: Place, limits: _Limits
) -> bool:
    """Whether an axis leaves too little of a tile to neighbours in memory."""
    unknown = _is_unknown(_size(place))
    if not limits.beside or (_known(place) <= limits.beside and not unknown):
        return False
    members = axes.members(place)
    loads = [(value.owner, own[0]) for value, own in members.items()
             if isinstance(value.owner, tile.LoadOp)]  # fmt: skip
    if not loads or not all(_is_across(load, axis) for load, axis in loads):
        return False
    axis = {value: own[0] for value, own in members.items()}
    stored = any(use.operation.name == "tile.store" for value in axis for use in value.uses)
    walks = max(reductions_along(kernel, axis).values(), default=1) + stored
    return walks == 1 or _known(place) > 8 * limits.beside


def _is_across(load: tile.LoadOp, axis: int) -> bool:
    """Whether a parameter says how many neighbours a load takes, in another axis."""
    strides = tile.view_type(load.view).strides
    shape = tile.tile_type(load.out).shape
    return any(
        number != axis and strides[along] is ONE and shape[number].name in PARAMETERS
        for number, along in enumerate(load.axis_list)
    )


def _add(chosen: list[Place], place: Place) -> None:
    if place not in chosen:
        chosen.append(place)


def _is_unknown(size: Dim) -> bool:
    return not size.is_constant and not size.symbols() <= set(PARAMETERS)


def _size(place: Place) -> Dim:
    return tile.tile_type(place[0]).shape[place[1]]


def _known(place: Place) -> int:
    return _size(place).value or 0


def _elements(places: list[Place]) -> int:
    count = 1
    for place in places:
        count *= _known(place)
    return count


def _step(kernel: tile.KernelOp, axis: Mapping[SSAValue, int], limit: int, count: int) -> Dim:
    """The chunk of the outermost of some axes: a free parameter, or a divisor."""
    size = _size(next(iter(axis.items())))
    cut = next(inexact(kernel, axis), None)
    if cut is not None:
        if size.value is None:
            raise CompileError(
                f"kernel '{kernel.sym_name.data}': '{cut.name}' of a part of a view along an "
                f"axis of {size} elements cannot go by chunks; make that size known"
            )
        return Dim.of(max(n for n in range(1, limit + 1) if size.value % n == 0))
    used = used_parameters(kernel)
    free = [name for name in CHUNK_PARAMETERS if name not in used]
    if len(free) < count:
        raise CompileError(
            f"kernel '{kernel.sym_name.data}' has {len(free)} unused parameters for chunks of "
            f"{count} axes, one of {size} elements; make those sizes known"
        )
    return Dim.symbol(free[count - 1])


def used_parameters(kernel: tile.KernelOp) -> frozenset[str]:
    """The parameters that a kernel's grid, loops, sizes and tiles use."""
    dims = [*kernel.steps.data, *kernel.bounds.data]
    for op in kernel.body.walk():
        if isinstance(op, tile.ForOp):
            dims.append(op.step_size)
        elif isinstance(op, tile.SizeOp):
            dims.append(op.dim)
        for result in op.results:
            if isinstance(result.type, tile.TileType):
                dims += result.type.shape
    return frozenset(name for dim in dims for name in dim.symbols()) & frozenset(PARAMETERS)
