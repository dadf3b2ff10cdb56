"""Which operand of a kernel its result may overwrite."""

from __future__ import annotations

from xdsl.ir import SSAValue

from infini_ir.dialects import tile
from infini_ir.dialects.tile import program, view_type
from infini_ir.passes.tile.regions import root_of


def overwritable(kernel: tile.KernelOp) -> list[tuple[int, int]]:
    """Pairs (read, written) of view positions where the result may take the operand's place.

    Proved for elementwise kernels with one store: the operand is loaded by the very slices
    that are stored, so every element is read before it is written, by the same program, and
    nothing else reads it.
    """
    ops = list(kernel.body.block.ops)
    stores = [op for op in ops if isinstance(op, tile.StoreOp)]
    simple = (tile.LoadOp, tile.StoreOp, tile.MapOp, tile.FullOp, tile.SizeOp)
    if len(stores) != 1 or any(
        not isinstance(op, simple) and op.name != "arith.constant" for op in ops
    ):
        return []
    store = stores[0]
    if store.combine.data != tile.Combine.set:
        return []
    views = list(kernel.views)
    written = next(i for i, view in enumerate(views) if view is store.view)
    pairs: list[tuple[int, int]] = []
    for number, view in enumerate(views):
        if view is store.view or view.type != store.view.type:
            continue
        uses = [use.operation for use in view.uses]
        if uses and all(_same_slice(use, store) for use in uses):
            pairs.append((number, written))
    return pairs


def _same_slice(load: object, store: tile.StoreOp) -> bool:
    return (
        isinstance(load, tile.LoadOp)
        and load.axis_list == store.axis_list
        and load.out.type == store.value.type
        and all(a is b for a, b in zip(load.offsets, store.offsets, strict=True))
    )


def whole_allocation(view: SSAValue) -> SSAValue | None:
    """The allocation that a launch's operand shows all of, densely; None for others."""
    root = root_of(view)
    if not isinstance(root.owner, program.AllocOp) or root.owner.dynamic is not None:
        return None
    current = view
    while isinstance(current.owner, program.AliasOp):
        if current.owner.offset_dim.value != 0:
            return None
        current = current.owner.source
    shown, whole = view_type(view), view_type(root)
    if not shown.is_dense() or shown.element_count() is not whole.element_count():
        return None
    return root
