"""Products for cube cores: the pass `ascend-split-cube`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects import arith
from xdsl.dialects.builtin import DictionaryAttr, IntegerAttr, ModuleOp, StringAttr, i64
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter

from infini_ir.dialects import tile
from infini_ir.dialects.tile import ViewType
from infini_ir.dialects.tile.base import yielded
from infini_ir.passes.buffer.parameters import set_parameters
from infini_ir.passes.tile.contraction import Contraction, find_contraction
from infini_ir.passes.tile.cut_epilogue import (
    epilogue_kernel,
    launch_like,
    launches_of,
    product_kernel,
    replace_kernel,
    workspace_for,
)
from infini_ir.utils.symbolic import ONE, Dim, product

CORES = 20
"""Cube cores of the smaller models of the 910B."""

ROWS, COLUMNS = 128, 256
"""A tile of f32 of this size fills L0C."""

DEPTH = {"f16": 256, "bf16": 256, "f32": 128}
"""Of a piece in L1: two of both operands take 384 of its 512 KB."""

STEP = {"f16": 64, "bf16": 64, "f32": 32}
"""Of a piece in L0A and L0B, which two of each operand fill."""


@dataclass(frozen=True)
class SplitCubePass(ModulePass):
    """
    Gives matrix products to the cube cores: each contraction of two loads of one type (f16,
    bf16, f32) that starts at zero becomes a kernel marked `unit = "cube"` with its tile sizes.

    What follows a product, if more than rounding to the result's type, becomes a kernel for
    vector cores that reads the product from a workspace. An operand whose elements lie apart
    in memory is copied side by side first. Products of other forms stay as they are.
    """

    name = "ascend-split-cube"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for kernel in list(op.body.block.ops):
            if isinstance(kernel, tile.KernelOp):
                _split(kernel, op)


def is_cube(kernel: tile.KernelOp) -> bool:
    """Whether a kernel is marked for cube cores."""
    return kernel.plan is not None and kernel.plan.data.get("unit") == StringAttr("cube")


def _split(kernel: tile.KernelOp, module: ModuleOp) -> None:
    contraction = find_contraction(kernel)
    if contraction is None or not fits_cube(contraction):
        return
    if direct_store(contraction) is None:
        kernel = _cut(contraction, module)
        contraction = find_contraction(kernel)
        assert contraction is not None
    loads = contraction.loads
    assert loads is not None
    for load, operand in zip(loads, operands(contraction), strict=True):
        if operand.major is None:
            _pack(load, kernel, module)
    _plan(contraction)


def fits_cube(contraction: Contraction) -> bool:
    """Whether cube cores do such a product."""
    loads = contraction.loads
    if loads is None or not contraction.starts_at_zero:
        return False
    left, right = (tile.tile_type(load.out) for load in loads)
    if left.dtype != right.dtype or left.dtype not in DEPTH or left.rank not in (1, 2, 3):
        return False
    steps = [loop.step_size for loop in contraction.loops]
    return contraction.accumulator.dtype == "f32" and all(
        step.is_constant or step.is_symbol for step in steps
    )


# What follows a product


def direct_store(contraction: Contraction) -> tile.StoreOp | None:
    """The store, where the product only needs rounding on its way, and rows of neighbours."""
    store = contraction.plain_store or _rounded_store(contraction)
    if store is None or len(store.axis_list) != contraction.accumulator.rank:
        return None
    strides = tile.view_type(store.view).strides
    positive = [
        strides[axis].is_nonnegative() and strides[axis].value != 0 for axis in store.axis_list
    ]
    neighbours = not store.axis_list or strides[store.axis_list[-1]] is ONE
    return store if neighbours and all(positive) else None


def _rounded_store(contraction: Contraction) -> tile.StoreOp | None:
    """The store of the product rounded to f16 or bf16, if that is all that is done."""
    uses = [use.operation for use in contraction.result.uses]
    if len(uses) != 1 or not isinstance(uses[0], tile.MapOp):
        return None
    rounding = uses[0]
    ops = list(rounding.body.block.ops)
    if len(rounding.inputs) != 1 or len(ops) != 2 or not isinstance(ops[0], arith.TruncFOp):
        return None
    if yielded(rounding.body) != (ops[0].result,) or len(rounding.outs) != 1:
        return None
    effects = [
        op
        for op in contraction.kernel.body.walk()
        if isinstance(op, tile.StoreOp | tile.ScatterOp)
    ]
    after = [use.operation for use in rounding.outs[0].uses]
    store = after[0] if len(after) == 1 else None
    if not isinstance(store, tile.StoreOp) or effects != [store]:
        return None
    return store if store.combine.data is tile.Combine.set else None


def _cut(contraction: Contraction, module: ModuleOp) -> tile.KernelOp:
    """Two kernels in place of one, which meet in a workspace; the product's."""
    old = contraction.kernel
    workspace = ViewType.of(old.bounds.data, contraction.accumulator.element)
    first, first_views = product_kernel(contraction, workspace)

    def load(offsets: Sequence[SSAValue], capacity: Sequence[Dim], view: SSAValue):
        op = tile.LoadOp(view, offsets, contraction.grid_axes, capacity)
        return [op], op.out

    second, second_views = epilogue_kernel(contraction, workspace, load)
    replace_kernel(module, old, [first, second])
    for launch in launches_of(module, old):
        alloc = workspace_for(launch, workspace)
        views = launch.views
        ops = [
            alloc,
            launch_like(launch, first, [*(views[i] for i in first_views), alloc.out]),
            launch_like(launch, second, [alloc.out, *(views[i] for i in second_views)]),
        ]
        Rewriter.insert_op(ops, InsertPoint.before(launch))
        Rewriter.erase_op(launch)
    return first


# Operands


@dataclass(frozen=True)
class Operand:
    """A factor of a product in memory."""

    load: tile.LoadOp
    outer: tuple[int, ...]
    """View axes of the rows (left) or the columns (right), the outermost first."""
    depth: int
    """The view axis that is contracted."""
    major: str | None
    """`rows` or `columns`: what lies side by side; None where nothing does."""


def operands(contraction: Contraction) -> tuple[Operand, Operand]:
    """The two factors of a product."""
    loads = contraction.loads
    assert loads is not None
    left, right = loads
    *outer, depth = left.axis_list
    first = Operand(left, tuple(outer), depth, _left_major(left))
    axes = right.axis_list[::-1] if contraction.dot.transposed is not None else right.axis_list
    strides = tile.view_type(right.view).strides
    major = None
    if strides[axes[1]] is ONE and _walks(strides[axes[0]]):
        major = "rows"
    elif strides[axes[0]] is ONE and _walks(strides[axes[1]]):
        major = "columns"
    return first, Operand(right, (axes[1],), axes[0], major)


def _walks(stride: Dim) -> bool:
    """Whether lines so far apart can be walked."""
    return stride.is_nonnegative() and stride.value != 0


def _left_major(load: tile.LoadOp) -> str | None:
    strides = [tile.view_type(load.view).strides[axis] for axis in load.axis_list]
    *outer, depth = strides
    if depth is ONE and all(map(_walks, outer[-1:])):
        return "rows"
    narrow = tile.tile_type(load.out).dtype != "f32"
    return (
        "columns" if narrow and len(outer) == 1 and outer[0] is ONE and _walks(depth) else None
    )


def _pack(load: tile.LoadOp, kernel: tile.KernelOp, module: ModuleOp) -> None:
    """Have an operand copied side by side before each launch."""
    position = kernel.views.index(load.view)  # pyright: ignore[reportArgumentType]
    old = tile.view_type(load.view)
    loaded = [axis for axis in range(old.rank) if axis not in load.axis_list]
    order = [*loaded, *load.axis_list]
    dense = ViewType.of([old.shape[axis] for axis in order], old.element)
    strides: list[Dim] = [ONE] * old.rank
    for place, axis in enumerate(order):
        strides[axis] = dense.strides[place]
    packed = ViewType.of(old.shape, old.element, strides)
    copy = _copy_kernel(f"{kernel.sym_name.data}_pack", old, packed, order)
    names = {op.sym_name.data for op in module.body.block.ops if isinstance(op, tile.KernelOp)}
    stem, number = copy.sym_name.data, 1
    while copy.sym_name.data in names:
        number += 1
        copy.properties["sym_name"] = StringAttr(f"{stem}_{number}")
    Rewriter.insert_op(copy, InsertPoint.before(kernel))
    for launch in launches_of(module, kernel):
        alloc = workspace_for(launch, packed)
        views = list(launch.views)
        first = launch_like(launch, copy, [alloc.out, views[position]])
        views[position] = alloc.out
        second = launch_like(launch, kernel, views)
        Rewriter.insert_op([alloc, first, second], InsertPoint.before(launch))
        Rewriter.erase_op(launch)
    Rewriter.replace_value_with_new_type(load.view, packed)


def _copy_kernel(
    name: str, source: ViewType, target: ViewType, order: Sequence[int]
) -> tile.KernelOp:
    """A kernel that copies a view, the last two axes of the target in tiles."""
    tiled = order[-2:]
    parameters = ("BR", "BC")[-len(tiled) :]
    capacity = dict(zip(tiled, map(Dim.symbol, parameters), strict=True))
    axes = sorted(range(source.rank), key=order.index)
    steps = [capacity.get(axis, ONE) for axis in axes]
    kernel = tile.KernelOp(
        name,
        [target, source],
        [source.shape[axis] for axis in axes],
        steps,
        "copy for a product",
    )
    offsets: list[SSAValue] = [kernel.offsets[0]] * source.rank
    for place, axis in enumerate(axes):
        offsets[axis] = kernel.offsets[place]
    load = tile.LoadOp(kernel.views[1], offsets, tiled, [capacity[axis] for axis in tiled])
    store = tile.StoreOp(load.out, kernel.views[0], offsets, tiled)
    kernel.body.block.add_ops([load, store])
    return kernel


# Tile sizes


def _plan(contraction: Contraction) -> None:
    """Fix the tile sizes, and mark the kernel."""
    kernel, dtype = contraction.kernel, _dtype(contraction)
    bounds = [kernel.bounds.data[axis] for axis in contraction.grid_axes]
    *outer, columns = bounds
    sizes = _row_sizes(outer)
    width = min(COLUMNS, _padded(columns.value or COLUMNS))
    sizes, width = _enough_tiles(kernel, contraction, sizes, width)
    depth = _depth(contraction, DEPTH[dtype])
    numbers: dict[str, int] = {}
    for dim, size in zip(contraction.accumulator.shape, [*sizes, width], strict=True):
        if dim.name is not None:
            numbers[dim.name] = size
    for loop in contraction.loops:
        if loop.step_size.name is not None:
            numbers[loop.step_size.name] = depth
    set_parameters(kernel, numbers)
    shape = _known_shape(contraction)
    rows = _padded(product(map(Dim.of, shape[:-1])).value or 1)
    step = min(STEP[dtype], _padded(depth))
    plan = {
        "rows": rows, "columns": _padded(shape[-1]), "depth": _padded(depth), "step": step, **numbers,
    }  # fmt: skip
    kernel.properties["plan"] = DictionaryAttr(
        {"unit": StringAttr("cube"), **{k: IntegerAttr(v, i64) for k, v in plan.items()}}
    )


def _dtype(contraction: Contraction) -> str:
    assert contraction.loads is not None
    return tile.tile_type(contraction.loads[0].out).dtype


def _padded(size: int) -> int:
    return -(-size // 16) * 16


def _row_sizes(bounds: Sequence[Dim]) -> list[int]:
    """Capacities of the axes of the rows: the innermost as long as it can be."""
    sizes: list[int] = []
    left = ROWS
    for bound in reversed(bounds):
        size = max(1, min(left, bound.value or left))
        sizes.append(size)
        left //= size
    return sizes[::-1]


def _enough_tiles(
    kernel: tile.KernelOp, contraction: Contraction, sizes: list[int], width: int
) -> tuple[list[int], int]:
    """Smaller tiles where the cores would otherwise idle, if all sizes are known."""
    if any(bound.value is None for bound in kernel.bounds.data):
        return sizes, width
    axes = contraction.grid_axes

    def tiles() -> int:
        count = 1
        for axis, bound in enumerate(kernel.bounds.data):
            capacity = [*sizes, width][axes.index(axis)] if axis in axes else 1
            count *= -(-(bound.value or 1) // capacity)
        return count

    while tiles() < CORES and (width > 64 or (sizes and sizes[-1] > 32)):
        if width > 64 and width >= (sizes[-1] if sizes else 0):
            width = _padded(width // 2)
        else:
            sizes[-1] = -(-sizes[-1] // 2)
    return sizes, width


def _depth(contraction: Contraction, most: int) -> int:
    """How much of the contraction one piece has."""
    for loop in contraction.loops:
        if loop.step_size.name is not None:
            to = loop.to.owner
            if isinstance(to, arith.ConstantOp) and isinstance(to.value, IntegerAttr):
                return max(1, min(most, to.value.value.data))
    return most


def _known_shape(contraction: Contraction) -> list[int]:
    shape = tile.tile_type(contraction.result).shape
    return [size.value or 1 for size in shape]
