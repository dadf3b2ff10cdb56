"""Long products of few programs shared out along the contracted axis: `tile-split-k`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects import arith
from xdsl.dialects.builtin import DictionaryAttr, IntegerAttr, ModuleOp
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter

from infini_ir.dialects import tile
from infini_ir.dialects.graph.base import ints
from infini_ir.dialects.tile import ViewType, program, view_type
from infini_ir.dialects.tile.base import INDEX
from infini_ir.passes.tile.contraction import Contraction, find_contraction
from infini_ir.passes.tile.cut_epilogue import (
    epilogue_kernel,
    launch_like,
    launches_of,
    product_kernel,
    replace_kernel,
    workspace_for,
)
from infini_ir.utils.errors import CompileError, OptionError
from infini_ir.utils.symbolic import Dim

PLAN_KEY = "split_k"
"""The entry of a kernel's plan that asks for a split."""


@dataclass(frozen=True)
class SplitKPass(ModulePass):
    """
    Shares out the contracted axis of products among programs.

    A kernel whose plan has an entry `split_k` of S becomes two: one with S times the programs,
    each of which writes the sum over its part of the axis to a workspace of accumulators,
    and one that adds the S parts and does what follows. The first keeps the rest of the plan,
    the second, an elementwise kernel over BR and BC, has none yet. Before `tile-plan-memory`.

    Raises `CompileError` where a kernel cannot be split so.
    """

    name = "tile-split-k"
    kernels: tuple[str, ...] = ()
    """Splits besides those of plans, as `kernel=4`."""

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        asked = dict(map(_parsed, self.kernels))
        for kernel in list(op.body.block.ops):
            if isinstance(kernel, tile.KernelOp):
                parts = asked.get(kernel.sym_name.data, _planned(kernel))
                if parts > 1:
                    split_k(kernel, op, parts)


def _parsed(text: str) -> tuple[str, int]:
    name, _, parts = text.partition("=")
    if not parts.isdigit():
        raise OptionError(f"tile-split-k: '{text}' is not of the form kernel=4")
    return name, int(parts)


def _planned(kernel: tile.KernelOp) -> int:
    entry = kernel.plan.data.get(PLAN_KEY) if kernel.plan is not None else None
    return entry.value.data if isinstance(entry, IntegerAttr) else 1


def largest_split(kernel: tile.KernelOp, limit: int) -> int:
    """Into how many equal parts, at most `limit`, the contracted axis can be split; 1 where
    it cannot."""
    contraction = find_contraction(kernel)
    if contraction is None or not contraction.starts_at_zero:
        return 1
    return max(
        (parts for parts in range(2, limit + 1) if _loop_for(contraction, parts) is not None),
        default=1,
    )


def split_k(kernel: tile.KernelOp, module: ModuleOp, parts: int) -> None:
    """Replace a contraction kernel by its two halves, and its launches by theirs."""
    contraction = find_contraction(kernel)
    if contraction is None or not contraction.starts_at_zero:
        raise _error(kernel, parts, "it is not one product that begins at zero")
    loop = _loop_for(contraction, parts)
    if loop is None:
        raise _error(kernel, parts, "no contracted axis of known size is divisible by it")
    plain = ViewType.of(kernel.bounds.data, contraction.accumulator.element)
    workspace = ViewType.of([parts, *kernel.bounds.data], plain.element)
    whole, taken = product_kernel(contraction, plain)
    number = contraction.loops.index(loop)
    partial = _partial_kernel(whole, find_contraction_loops(whole)[number], workspace, parts)
    if kernel.plan is not None:
        rest = {key: value for key, value in kernel.plan.data.items() if key != PLAN_KEY}
        partial.properties["plan"] = DictionaryAttr(rest)

    def load(offsets: Sequence[SSAValue], capacity: Sequence[Dim], view: SSAValue):
        zero = arith.ConstantOp(IntegerAttr(0, INDEX))
        axes = [0, *(axis + 1 for axis in contraction.grid_axes)]
        sums = tile.LoadOp(view, [zero, *offsets], axes, [Dim.of(parts), *capacity])
        total = tile.ReduceOp("add", sums, [0])
        return [zero, sums, total], total.out

    epilogue, rest = epilogue_kernel(contraction, workspace, load)
    replace_kernel(module, kernel, [partial, epilogue])
    for launch in launches_of(module, kernel):
        _launch_both(launch, partial, taken, epilogue, rest)


def _error(kernel: tile.KernelOp, parts: int, why: str) -> CompileError:
    return CompileError(
        f"kernel '{kernel.sym_name.data}' cannot be split into {parts} parts along its "
        f"contracted axis: {why}; ask for another number, or none"
    )


def find_contraction_loops(kernel: tile.KernelOp) -> list[tile.ForOp]:
    """The loops of a kernel that is known to be a contraction."""
    found = find_contraction(kernel)
    assert found is not None
    return found.loops


def _loop_for(contraction: Contraction, parts: int) -> tile.ForOp | None:
    """The longest loop that can be split so: of known length, its position only used to
    load along a whole axis of a view."""
    best: tuple[int, tile.ForOp] | None = None
    for loop in contraction.loops:
        size = _trip_size(loop)
        if size is None or size % parts or not _moves_loads_only(loop, size):
            continue
        if best is None or size > best[0]:
            best = size, loop
    return best[1] if best is not None else None


def _trip_size(loop: tile.ForOp) -> int | None:
    owner = loop.to.owner
    if isinstance(owner, tile.SizeOp):
        return owner.dim.value
    if isinstance(owner, arith.ConstantOp) and isinstance(owner.value, IntegerAttr):
        return owner.value.value.data
    return None


def _moves_loads_only(loop: tile.ForOp, size: int) -> bool:
    position = loop.body.block.args[0]
    for use in position.uses:
        load = use.operation
        if not isinstance(load, tile.LoadOp):
            return False
        axes = [i for i, offset in enumerate(load.offsets) if offset is position]
        if len(axes) != 1 or view_type(load.view).shape[axes[0]].value != size:
            return False
        others = [other.operation for other in load.view.uses]
        if not all(isinstance(op, tile.LoadOp) and op.offsets[axes[0]] is position
                   for op in others if _inside(op, loop)):  # fmt: skip
            return False
    return True


def _inside(op: object, loop: tile.ForOp) -> bool:
    return any(inner is op for inner in loop.walk())


def _partial_kernel(
    whole: tile.KernelOp, loop: tile.ForOp, workspace: ViewType, parts: int
) -> tile.KernelOp:
    """The kernel of a product with one more grid axis, first: the part of the axis."""
    position = loop.body.block.args[0]
    split: dict[SSAValue, int] = {}
    for use in position.uses:
        load = use.operation
        assert isinstance(load, tile.LoadOp)
        split[load.view] = next(i for i, o in enumerate(load.offsets) if o is position)
    types = [
        split_view(view_type(view), split[view], parts) if view in split else view.type
        for view in whole.views[:-1]
    ]
    new = tile.KernelOp(
        whole.sym_name.data.removesuffix("_product") + "_partial",
        [*types, workspace],  # pyright: ignore[reportArgumentType]
        [parts, *whole.bounds.data],
        [1, *whole.steps.data],
        whole.origin.data if whole.origin is not None else "",
    )
    new.location = whole.location
    part, *offsets = new.offsets
    for load in [op for op in whole.body.walk() if isinstance(op, tile.LoadOp)]:
        if load.view in split:
            _load_part(load, split[load.view], part)
    (store,) = [op for op in whole.body.walk() if isinstance(op, tile.StoreOp)]
    axes = [axis + 1 for axis in store.axis_list]
    own = tile.StoreOp(store.value, new.views[-1], [part, *store.offsets], axes)
    own.location = store.location
    Rewriter.replace_op(store, own)
    limit = arith.ConstantOp(IntegerAttr((_trip_size(loop) or 0) // parts, INDEX))
    Rewriter.insert_op(limit, InsertPoint.at_start(whole.body.block))
    whole_limit, loop.operands[0] = loop.to.owner, limit.result
    if isinstance(whole_limit, Operation) and not whole_limit.results[0].uses:
        Rewriter.erase_op(whole_limit)
    for old, value in zip((*whole.views, *whole.offsets), (*new.views, *offsets), strict=True):
        old.replace_all_uses_with(value)
    for op in list(whole.body.block.ops):
        op.detach()
        new.body.block.add_op(op)
    return new


def split_view(view: ViewType, axis: int, parts: int) -> ViewType:
    """A view with one axis as two: the part, and the position inside it."""
    shape, strides = list(view.shape), list(view.strides)
    inner = Dim.of((shape[axis].value or 0) // parts)
    shape[axis : axis + 1] = [Dim.of(parts), inner]
    strides[axis : axis + 1] = [strides[axis] * inner, strides[axis]]
    return ViewType.of(shape, view.element, strides)


def _load_part(load: tile.LoadOp, axis: int, part: SSAValue) -> None:
    offsets = [*load.offsets[:axis], part, *load.offsets[axis:]]
    axes = [own + (own >= axis) for own in load.axis_list]
    load.operands = [load.view, *offsets]
    load.properties["axes"] = ints(axes)


def _launch_both(
    launch: program.LaunchOp,
    partial: tile.KernelOp,
    taken: Sequence[int],
    epilogue: tile.KernelOp,
    rest: Sequence[int],
) -> None:
    alloc = workspace_for(launch, view_type(partial.views[-1]))
    factors: list[SSAValue] = []
    for number, wanted in zip(taken, partial.views[:-1], strict=True):
        view = launch.views[number]
        if view.type != wanted.type:
            alias = program.AliasOp(view, 0, view_type(wanted))
            alias.location = launch.location
            Rewriter.insert_op(alias, InsertPoint.before(launch))
            view = alias.out
        factors.append(view)
    first = launch_like(launch, partial, [*factors, alloc.out])
    second = launch_like(launch, epilogue, [alloc.out, *(launch.views[i] for i in rest)])
    Rewriter.insert_op([alloc, first, second], InsertPoint.before(launch))
    Rewriter.erase_op(launch)
