"""Several rows to a program instead of one: the pass `tile-block-rows`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects import arith
from xdsl.dialects.builtin import IntegerAttr, ModuleOp
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass

from infini_ir.dialects import tile
from infini_ir.dialects.context import CompilerContext
from infini_ir.dialects.tile import program, view_type
from infini_ir.dialects.tile.base import yielded
from infini_ir.passes.tile.row_tiles import RowTiles
from infini_ir.passes.tile.split_axis import used_parameters
from infini_ir.utils.symbolic import ONE, Dim, product

ROW_PARAMETERS = ("BR", "BM", "BH", "BW")
"""Which parameters rows take: the first of these that the kernel does not use."""


@dataclass(frozen=True)
class BlockRowsPass(ModulePass):
    """
    Gives programs of one row several: where the innermost axis of a grid goes by 1, it goes
    by a parameter that the kernel does not use yet, which a plan fixes, and every tile that
    depends on the row gets a leading axis of that capacity.

    What the rows share, as the scale of a normalisation, is still loaded once for all rows.
    A kernel stays as it is where the row is known to be the only one, is used in scalar
    arithmetic, reads or scatters; where rows write the same elements or are launched one
    after the other; and where it multiplies matrices.
    """

    name = "tile-block-rows"
    longest: int = 0
    """Elements that rows have at most, which must be known then; 0 for rows of any length."""

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        launches = [each for each in op.walk() if isinstance(each, program.LaunchOp)]
        serial = {each.kernel.string_value() for each in launches if each.serial is not None}
        for kernel in op.body.block.ops:
            if not isinstance(kernel, tile.KernelOp) or kernel.sym_name.data in serial:
                continue
            if self.longest and not is_short(kernel, self.longest):
                continue
            step = block_rows(kernel)
            if step is not None and isinstance(ctx, CompilerContext):
                rows = kernel.bounds.data[kernel.steps.data.index(step)]
                what = f"{step} of {rows} rows a program"
                why = "single rows are too little for a program"
                ctx.decide(self.name, f"kernel {kernel.sym_name.data}", what, why)


def is_short(kernel: tile.KernelOp, longest: int) -> bool:
    """Whether all tiles are known to have at most so many elements, with chunks as long as
    what they are of."""
    chunks: dict[str, Dim] = {}
    for op in kernel.body.walk():
        if isinstance(op, tile.ForOp) and op.step_size.name is not None:
            chunks[op.step_size.name] = _length(op)
    counts = (
        product(value.type.shape).substitute(chunks).value
        for op in kernel.body.walk()
        for value in op.results
        if isinstance(value.type, tile.TileType)
    )
    return all(count is not None and count <= longest for count in counts)


def _length(op: tile.ForOp) -> Dim:
    """How far a loop goes; its step where that is not known."""
    constant = op.to.owner
    if isinstance(constant, arith.ConstantOp) and isinstance(constant.value, IntegerAttr):
        return Dim.of(constant.value.value.data)
    return op.step_size


def block_rows(kernel: tile.KernelOp) -> Dim | None:
    """Rewrite one kernel; the new step, None where the kernel stays as it is."""
    used = used_parameters(kernel)
    free = next((name for name in ROW_PARAMETERS if name not in used), None)
    axis = row_axis(kernel)
    if free is None or axis is None or kernel.plan is not None:
        return None
    depends = _Rows(kernel, axis).dependent()
    if depends is None:
        return None
    step = Dim.symbol(free)
    RowTiles(kernel, axis, depends, step).rewrite()
    return step


def row_axis(kernel: tile.KernelOp) -> int | None:
    """The innermost axis of the grid that is not of size 1, where it goes by 1."""
    axes = [axis for axis, bound in enumerate(kernel.bounds.data) if bound is not ONE]
    return axes[-1] if axes and kernel.steps.data[axes[-1]] is ONE else None


class _Rows:
    """What in a kernel depends on the row, and whether rows can be taken together."""

    def __init__(self, kernel: tile.KernelOp, axis: int) -> None:
        self.kernel = kernel
        self.row = kernel.offsets[axis]
        self.bound = kernel.bounds.data[axis]

    def dependent(self) -> set[SSAValue] | None:
        """The tiles that depend on the row; None where each row needs a program."""
        ops = list(self.kernel.body.walk())
        if not all(self._can_block(op) for op in ops):
            return None
        found: set[SSAValue] = set()
        count = -1
        while len(found) > count:
            count = len(found)
            for op in ops:
                found.update(self._results(op, found))
        return found

    def _can_block(self, op: Operation) -> bool:
        if isinstance(op, tile.LoadOp):
            return self.row not in op.offsets or self._is_plain(op)
        if isinstance(op, tile.StoreOp):
            return self._is_plain(op) and self._moves(op)
        if isinstance(op, tile.GatherOp):
            return list(op.positions).count(self.row) <= 1
        if isinstance(op, tile.DotOp | tile.ScatterOp):
            return False
        return isinstance(op, tile.MapOp | tile.YieldOp) or self.row not in op.operands

    def _is_plain(self, op: tile.LoadOp | tile.StoreOp) -> bool:
        """Whether an access of the row can be one of several, as many as there are."""
        if list(op.offsets).count(self.row) != 1:
            return False
        view, along = view_type(op.view), list(op.offsets).index(self.row)
        return (
            along not in op.axis_list
            and view.shape[along] is self.bound
            and not view.panel_width
        )

    def _moves(self, op: tile.LoadOp | tile.StoreOp) -> bool:
        """Whether an access goes elsewhere for each row."""
        offsets = list(op.offsets)
        if self.row not in offsets:
            return False
        return view_type(op.view).strides[offsets.index(self.row)].value != 0

    def _results(self, op: Operation, found: set[SSAValue]) -> Iterator[SSAValue]:
        """The results of an operation, and arguments of its region, that depend on the row,
        as far as its operands say."""
        if isinstance(op, tile.LoadOp):
            if self._moves(op):
                yield op.out
        elif isinstance(op, tile.ForOp):
            arguments = op.body.block.args[1:]
            for values in zip(op.carried, yielded(op.body), arguments, op.outs, strict=True):
                if any(value in found for value in values):
                    yield from values[2:]
        elif any(value is self.row or value in found for value in op.operands):
            yield from op.results
