"""Matrix products handed to a library: the pass `tile-use-library`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects import arith
from xdsl.dialects.builtin import IntegerAttr, ModuleOp
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter

from infini_ir.dialects import tile
from infini_ir.dialects.tile import ViewType, program, view_type
from infini_ir.passes.tile.contraction import Contraction, find_contraction
from infini_ir.passes.tile.cut_epilogue import cut_epilogue, launches_of
from infini_ir.utils.symbolic import ONE, ZERO, Dim


@dataclass(frozen=True)
class UseLibraryPass(ModulePass):
    """
    Replaces launches of matrix products by `tile.library "matmul"`.

    A kernel that stores its product, as it is or rounded to a narrower type, is replaced
    whole. One that goes on is first cut in two (see `cut_epilogue`), and its product
    replaced; with `cut` false it stays. Products that are none of matrices, such as
    convolutions, stay too. Before `tile-plan-memory`.
    """

    name = "tile-use-library"
    kernels: tuple[str, ...] = ()
    """The kernels to look at; all where there are none."""

    cut: bool = True
    """Whether products are cut from what follows."""

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for kernel in list(op.body.block.ops):
            if isinstance(kernel, tile.KernelOp) and (
                not self.kernels or kernel.sym_name.data in self.kernels
            ):
                use_library(kernel, op, cut=self.cut)


def use_library(kernel: tile.KernelOp, module: ModuleOp, *, cut: bool = True) -> bool:
    """Replace the launches of one kernel; whether it was possible."""
    contraction = find_contraction(kernel)
    if contraction is None or _matmul(contraction, None) is None:
        return False
    store = _whole_end(contraction)
    if store is None:
        halves = cut_epilogue(kernel, module) if cut else None
        if halves is None:
            return False
        kernel = halves.product
        contraction = find_contraction(kernel)
        assert contraction is not None
        store = contraction.plain_store
    matmul = _matmul(contraction, store)
    if matmul is None:
        return False
    for launch in launches_of(module, kernel):
        _replace(launch, kernel, matmul, contraction)
    Rewriter.erase_op(kernel)
    return True


def _whole_end(contraction: Contraction) -> tile.StoreOp | None:
    """The store of a kernel that a call can do whole: of the product, or of it rounded."""
    plain = contraction.plain_store
    if plain is not None:
        return plain
    uses = [use.operation for use in contraction.result.uses]
    cast = uses[0] if len(uses) == 1 else None
    if not isinstance(cast, tile.MapOp):
        return None
    body = list(cast.body.block.ops)
    if len(cast.inputs) != 1 or len(body) != 2 or not isinstance(body[0], arith.TruncFOp):
        return None
    stores = [op for op in contraction.kernel.body.walk() if isinstance(op, tile.StoreOp)]
    ends = [use.operation for use in cast.outs[0].uses]
    if len(stores) != 1 or ends != stores or stores[0].combine.data is not tile.Combine.set:
        return None
    return stores[0]


@dataclass
class _Operand:
    """A view of the kernel, and which of its axes, or a new axis of stride 0, is which."""

    position: int
    axes: tuple[int | None, ...]


def _matmul(
    contraction: Contraction, store: tile.StoreOp | None
) -> tuple[_Operand, ...] | None:
    """The operands `[batch.., m, k]`, `[batch.., k, n]` and, for a store, `[batch.., m, n]`."""
    kernel, loads = contraction.kernel, contraction.loads
    if loads is None or len(contraction.loops) != 1 or not contraction.starts_at_zero:
        return None
    if len(contraction.grid_axes) != 2:
        return None
    m, n = (kernel.offsets[axis] for axis in contraction.grid_axes)
    batch = [
        offset
        for axis, offset in enumerate(kernel.offsets)
        if axis not in contraction.grid_axes
    ]
    if any(
        kernel.steps.data[axis] is not ONE
        for axis in range(kernel.grid_rank)
        if axis not in contraction.grid_axes
    ):
        return None
    k = contraction.loops[0].body.block.args[0]
    sizes: dict[SSAValue, Dim] = dict(zip(kernel.offsets, kernel.bounds.data, strict=True))
    sizes[k] = _limit(contraction.loops[0])
    wanted = [(loads[0], (m, k)), (loads[1], (k, n))]
    operands = [_operand(kernel, op, [*batch, *last], last, sizes) for op, last in wanted]
    if store is not None:
        operands.append(_operand(kernel, store, [*batch, m, n], [*batch, m, n], sizes))
    found = tuple(operand for operand in operands if operand is not None)
    return found if len(found) == len(operands) else None


def _limit(loop: tile.ForOp) -> Dim:
    owner = loop.to.owner
    if isinstance(owner, tile.SizeOp):
        return owner.dim
    if isinstance(owner, arith.ConstantOp) and isinstance(owner.value, IntegerAttr):
        return Dim.of(owner.value.value.data)
    return Dim.of(-1)


def _operand(
    kernel: tile.KernelOp,
    access: tile.LoadOp | tile.StoreOp,
    order: Sequence[SSAValue],
    needed: Sequence[SSAValue],
    sizes: dict[SSAValue, Dim],
) -> _Operand | None:
    """The view of an access with its axes in the order of these positions, of which it must
    have those `needed`, and all of them."""
    shape = view_type(access.view).shape
    axes: list[int | None] = []
    for position in order:
        own = [i for i, offset in enumerate(access.offsets) if offset is position]
        if len(own) > 1 or (not own and position in needed):
            return None
        if own and shape[own[0]] is not sizes[position]:
            return None
        axes.append(own[0] if own else None)
    if len([axis for axis in axes if axis is not None]) != len(shape):
        return None
    number = next(i for i, view in enumerate(kernel.views) if view is access.view)
    return _Operand(number, tuple(axes))


def _replace(
    launch: program.LaunchOp,
    kernel: tile.KernelOp,
    matmul: Sequence[_Operand],
    contraction: Contraction,
) -> None:
    batch = [
        bound
        for axis, bound in enumerate(kernel.bounds.data)
        if axis not in contraction.grid_axes
    ]
    views: list[SSAValue] = []
    for operand in matmul:
        view = launch.views[operand.position]
        type = view_type(view)
        shape = [
            batch[number] if axis is None else type.shape[axis]
            for number, axis in enumerate(operand.axes)
        ]
        strides = [ZERO if axis is None else type.strides[axis] for axis in operand.axes]
        wanted = ViewType.of(shape, type.element, strides)
        if wanted != type:
            alias = program.AliasOp(view, 0, wanted)
            alias.location = launch.location
            Rewriter.insert_op(alias, InsertPoint.before(launch))
            view = alias.out
        views.append(view)
    label = launch.label.data if launch.label is not None else ""
    call = program.LibraryOp("matmul", views, contraction.accumulator.element, label)
    call.location = launch.location
    Rewriter.replace_op(launch, call)
