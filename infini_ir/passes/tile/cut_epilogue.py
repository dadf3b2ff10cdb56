"""Cutting a matrix product from what follows it: two kernels that meet in a workspace."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter

from infini_ir.dialects import tile
from infini_ir.dialects.dims import DimsAttr
from infini_ir.dialects.tile import TileType, ViewType, program
from infini_ir.passes.tile.contraction import Contraction, find_contraction, needed_by
from infini_ir.utils.symbolic import Dim

ELEMENTWISE = {"BM": Dim.symbol("BR"), "BN": Dim.symbol("BC")}
"""What an epilogue's parameters are called: those of elementwise kernels."""


@dataclass
class Cut:
    """
    Two kernels in place of one. `product` takes the views `product_views` (positions among
    those of the old kernel), then the workspace; `epilogue` takes the workspace, then
    `epilogue_views`. The workspace has an element for each element of the grid, in the
    order of its axes, in the accumulator's element type.
    """

    product: tile.KernelOp
    epilogue: tile.KernelOp
    workspace: ViewType
    product_views: tuple[int, ...]
    epilogue_views: tuple[int, ...]


@dataclass(frozen=True)
class CutEpiloguePass(ModulePass):
    """Cuts every contraction kernel at the edge from its product to what follows. Before
    `tile-plan-memory`, and before plans, which are not handed on."""

    name = "tile-cut-epilogue"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for kernel in list(op.body.block.ops):
            if isinstance(kernel, tile.KernelOp):
                cut_epilogue(kernel, op)


def cut_epilogue(kernel: tile.KernelOp, module: ModuleOp) -> Cut | None:
    """
    Cut a contraction kernel at the edge from its product to what follows. The module gets
    the two kernels in place of the old one, and every launch becomes an allocation and two
    launches. None, and nothing is changed, where the kernel has no single product or does
    nothing but store it.
    """
    contraction = find_contraction(kernel)
    if contraction is None or contraction.plain_store is not None:
        return None
    workspace = ViewType.of(kernel.bounds.data, contraction.accumulator.element)
    product, product_views = product_kernel(contraction, workspace)

    def load(offsets: Sequence[SSAValue], capacity: Sequence[Dim], view: SSAValue):
        op = tile.LoadOp(view, offsets, contraction.grid_axes, capacity)
        return [op], op.out

    epilogue, epilogue_views = epilogue_kernel(contraction, workspace, load)
    cut = Cut(product, epilogue, workspace, product_views, epilogue_views)
    replace_kernel(module, kernel, [product, epilogue])
    for launch in launches_of(module, kernel):
        _launch_both(launch, cut)
    return cut


def product_kernel(
    contraction: Contraction, workspace: ViewType
) -> tuple[tile.KernelOp, tuple[int, ...]]:
    """The kernel of the product alone, which stores it in a workspace, its last view."""
    old, loop = contraction.kernel, contraction.loops[0]
    ops = needed_by(old, [loop])
    new, views, values = _begin(old, "product", ops, workspace, first=False)
    _copy(old, ops, new, values)
    total = values[contraction.result]
    axes = contraction.grid_axes
    store = tile.StoreOp(total, new.views[-1], new.offsets, axes)
    store.location = loop.location
    new.body.block.add_op(store)
    return new, views


Load = Callable[
    [Sequence[SSAValue], Sequence[Dim], SSAValue], tuple[Sequence[Operation], SSAValue]
]
"""From grid offsets, the tile's capacity and the workspace to operations and the tile."""


def epilogue_kernel(
    contraction: Contraction, workspace: ViewType, load: Load
) -> tuple[tile.KernelOp, tuple[int, ...]]:
    """The kernel of what follows the product, which `load` reads from the first view."""
    old, loop = contraction.kernel, contraction.loops[0]
    ends = [op for op in old.body.block.ops if not op.results]
    ends += [op for op in old.body.block.ops if isinstance(op, tile.ForOp) and op is not loop]
    ops = needed_by(old, ends, without=loop)
    new, views, values = _begin(old, "epilogue", ops, workspace, first=True)
    capacity = [dim.substitute(ELEMENTWISE) for dim in contraction.accumulator.shape]
    made, total = load(new.offsets, capacity, new.views[0])
    for op in made:
        op.location = loop.location
    new.body.block.add_ops(made)
    values[contraction.result] = total
    _copy(old, ops, new, values)
    _rename_parameters(new)
    return new, views


def _begin(
    old: tile.KernelOp, suffix: str, ops: set[Operation], workspace: ViewType, *, first: bool
) -> tuple[tile.KernelOp, tuple[int, ...], dict[SSAValue, SSAValue]]:
    """An empty kernel over the same grid that takes the workspace and the views that the
    operations use; where it has the old kernel's values."""
    used = {value for op in ops for inner in op.walk() for value in inner.operands}
    views = tuple(i for i, view in enumerate(old.views) if view in used)
    types = [tile.view_type(old.views[i]) for i in views]
    types = [workspace, *types] if first else [*types, workspace]
    name = f"{old.sym_name.data}_{suffix}"
    origin = old.origin.data if old.origin is not None else ""
    new = tile.KernelOp(name, types, old.bounds.data, old.steps.data, origin)
    new.location = old.location
    own = new.views[1:] if first else new.views[:-1]
    values: dict[SSAValue, SSAValue] = dict(zip(old.offsets, new.offsets, strict=True))
    values.update(zip((old.views[i] for i in views), own, strict=True))
    return new, views, values


def _copy(
    old: tile.KernelOp,
    ops: set[Operation],
    new: tile.KernelOp,
    values: dict[SSAValue, SSAValue],
) -> None:
    for op in old.body.block.ops:
        if op in ops:
            new.body.block.add_op(op.clone(values))


def _rename_parameters(kernel: tile.KernelOp) -> None:
    kernel.properties["steps"] = _renamed(kernel.steps.data)
    for op in kernel.body.walk():
        if isinstance(op, tile.ForOp):
            op.properties["step"] = _renamed(op.step.data)
        elif isinstance(op, tile.SizeOp):
            op.properties["size"] = _renamed(op.size.data)
        arguments = [value for region in op.regions for value in region.block.args]
        for value in (*op.results, *arguments):
            if isinstance(value.type, TileType):
                new = TileType.of(_renamed(value.type.shape).data, value.type.element)
                if new != value.type:
                    Rewriter.replace_value_with_new_type(value, new)


def _renamed(dims: Sequence[Dim]) -> DimsAttr:
    return DimsAttr.of(dim.substitute(ELEMENTWISE) for dim in dims)


# Host programs


def replace_kernel(
    module: ModuleOp, old: tile.KernelOp, kernels: Sequence[tile.KernelOp]
) -> None:
    """Put kernels in the place of one, under names of their own. Launches are not changed."""
    names = {op.sym_name.data for op in module.body.block.ops if isinstance(op, tile.KernelOp)}
    for kernel in kernels:
        name = stem = kernel.sym_name.data
        number = 1
        while name in names:
            number += 1
            name = f"{stem}_{number}"
        names.add(name)
        kernel.properties["sym_name"] = StringAttr(name)
    Rewriter.insert_op(list(kernels), InsertPoint.before(old))
    Rewriter.erase_op(old)


def launches_of(module: ModuleOp, kernel: tile.KernelOp) -> list[program.LaunchOp]:
    """All launches of a kernel, by its name."""
    return [
        op
        for op in module.walk()
        if isinstance(op, program.LaunchOp) and op.kernel.string_value() == kernel.sym_name.data
    ]


def workspace_for(launch: program.LaunchOp, type: ViewType) -> program.AllocOp:
    """Memory for a launch, taken while running where its size is not known on entry."""
    entry: Operation | None = launch
    while entry is not None and not isinstance(entry, program.ProgramOp):
        entry = entry.parent_op()
    assert entry is not None
    known = {
        name
        for view in entry.body.block.args
        for dim in tile.view_type(view).shape
        for name in dim.symbols()
    }
    needed = {name for dim in type.shape for name in dim.symbols()}
    alloc = program.AllocOp(type, dynamic=not needed <= known)
    alloc.location = launch.location
    return alloc


def launch_like(
    old: program.LaunchOp, kernel: tile.KernelOp, views: Sequence[SSAValue]
) -> program.LaunchOp:
    """A launch of another kernel for the same operation of the model."""
    new = program.LaunchOp(kernel.sym_name.data, views)
    for name in ("label", "serial"):
        if name in old.properties:
            new.properties[name] = old.properties[name]
    new.location = old.location
    return new


def _launch_both(launch: program.LaunchOp, cut: Cut) -> None:
    alloc = workspace_for(launch, cut.workspace)
    factors = [launch.views[i] for i in cut.product_views]
    rest = [launch.views[i] for i in cut.epilogue_views]
    first = launch_like(launch, cut.product, [*factors, alloc.out])
    second = launch_like(launch, cut.epilogue, [alloc.out, *rest])
    Rewriter.insert_op([alloc, first, second], InsertPoint.before(launch))
    Rewriter.erase_op(launch)
