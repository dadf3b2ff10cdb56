"""A kernel for cube cores: from loops around a product to Ascend C."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.dialects.builtin import IntegerAttr
from xdsl.ir import Block, Operation, SSAValue

from infini_ir.dialects import tile
from infini_ir.passes.tile.contraction import Contraction, find_contraction
from infini_ir.targets.ascend.cube_plan import Operand, direct_store, operands
from infini_ir.targets.ascend.instructions import RULES, emit_scalar
from infini_ir.targets.ascend.launches import (
    declare_views,
    kernel_head,
    launch_function,
    program_loop,
)
from infini_ir.targets.ascend.writer import RESERVED, KernelWriter, c_type
from infini_ir.targets.c_project.signatures import KernelSignature
from infini_ir.utils.symbolic import Dim


def cube_kernel(kernel: tile.KernelOp, signature: KernelSignature) -> str:
    """The kernel's function and its launch function."""
    contraction = find_contraction(kernel)
    assert contraction is not None and kernel.plan is not None, "marked by ascend-split-cube"
    w = KernelWriter(kernel.sym_name.data, signature.symbol_names())
    w.names.taken |= {*RESERVED, "product", "rows", "columns", "depth", "piece"}
    declare_views(kernel, signature, w)
    left, right = operands(contraction)
    sizes = {key: str(value.value.data) for key, value in kernel.plan.data.items()
             if isinstance(value, IntegerAttr)}  # fmt: skip
    element = c_type(tile.tile_type(left.load.out).element)
    tiles = ", ".join(sizes[key] for key in ("rows", "columns", "depth", "step"))
    w.line(
        f"Product<{element}, Major::{left.major}, Major::{right.major}, {tiles}> product(&pipe);"
    )
    with program_loop(kernel, w):
        _CubeBody(contraction, left, right, w).emit()
    lines = [*kernel_head(kernel, signature, "KERNEL_TYPE_AIC_ONLY"), *w.lines, "}"]
    return "\n".join([*lines, "", launch_function(kernel, signature, cube=True), ""])


@dataclass
class _CubeBody:
    """One program: begin, loops that load and multiply, store."""

    contraction: Contraction
    left: Operand
    right: Operand
    w: KernelWriter

    def emit(self) -> None:
        kernel = self.contraction.kernel
        block = kernel.body.block
        for op in block.ops:
            if op is self.contraction.loops[0]:
                self._begin()
            self._operation(op)
        self._store()

    def _operation(self, op: Operation) -> None:
        w = self.w
        if isinstance(op, tile.ForOp):
            self._loop(op)
        elif isinstance(op, tile.DotOp):
            self._piece()
        elif isinstance(op, tile.SizeOp | tile.ReadOp):
            RULES[type(op)](op, w)
        elif not isinstance(
            op, tile.LoadOp | tile.FullOp | tile.MapOp | tile.StoreOp | tile.YieldOp
        ):
            emit_scalar(op, w)

    def _block(self, block: Block) -> None:
        for op in block.ops:
            self._operation(op)

    def _loop(self, op: tile.ForOp) -> None:
        w = self.w
        k = w.name(op.body.block.args[0], "k")
        step = w.names.expression(op.step_size)
        with w.block(f"for (int64_t {k} = 0; {k} < {w[op.to]}; {k} += {step})"):
            self._block(op.body.block)

    # Sizes

    def _extent(self, size: Dim, offset: SSAValue, capacity: int) -> str:
        """How many elements of an axis a tile has."""
        known = size.value
        if known is not None and capacity:
            if known % capacity == 0:
                return str(capacity)
            if known < capacity:
                return str(known)
        text = self.w[offset]
        rest = self.w.stride(size) if text == "0" else f"{self.w.stride(size)} - {text}"
        return f"smaller({capacity}, {rest})"

    def _begin(self) -> None:
        w, contraction = self.w, self.contraction
        kernel, shape = contraction.kernel, tile.tile_type(contraction.result).shape
        extents = [
            self._extent(kernel.bounds.data[axis], kernel.offsets[axis], size.value or 0)
            for axis, size in zip(contraction.grid_axes, shape, strict=True)
        ]
        *outer, columns = extents
        self.groups = "1"
        if len(outer) == 2:
            self.groups = w.names.fresh("groups")
            w.line(f"const int64_t {self.groups} = {outer[0]};")
        w.line(f"const int64_t rows = {outer[-1] if outer else 1};")
        w.line(f"const int64_t columns = {columns};")
        w.line(f"product.Begin({'groups * rows' if len(outer) == 2 else 'rows'}, columns);")

    # Pieces

    def _piece(self) -> None:
        w = self.w
        view = tile.view_type(self.left.load.view)
        axis = self.left.depth
        capacity = tile.tile_type(self.left.load.out).shape[-1].value or 0
        offset = self.left.load.offsets[axis]
        w.line(f"const int64_t depth = {self._extent(view.shape[axis], offset, capacity)};")
        w.line("product.NextPiece(depth);")
        self._load_left()
        right = self._place(self.right.load)
        stride = self._line_stride(self.right)
        w.line(f"product.LoadRight({right}, {stride});")
        w.line("product.Multiply();")

    def _place(self, load: tile.LoadOp) -> str:
        return self.w.global_at(load.view, [self.w[offset] for offset in load.offsets])

    def _line_stride(self, operand: Operand) -> str:
        """From one line of neighbours to the next."""
        strides = tile.view_type(operand.load.view).strides
        outer = operand.outer[-1] if operand.outer else operand.depth
        rows_of_left = operand is self.left and operand.major == "rows"
        lines_outside = rows_of_left or (operand is self.right and operand.major == "columns")
        return self.w.stride(strides[outer if lines_outside else operand.depth])

    def _load_left(self) -> None:
        w, load = self.w, self.left.load
        stride = self._line_stride(self.left) if self.left.outer else "depth"
        if len(self.left.outer) < 2:
            w.line(f"product.LoadLeft({self._place(load)}, 0, rows, {stride});")
            return
        apart = w.stride(tile.view_type(load.view).strides[self.left.outer[0]])
        offset = w.view_offset(load.view, [w[o] for o in load.offsets])
        group = w.names.fresh("group")
        with w.block(f"for (int64_t {group} = 0; {group} < {self.groups}; ++{group})"):
            place = f"{w[load.view]}[{offset} + {group} * {apart}]"
            w.line(f"product.LoadLeft({place}, {group} * rows, rows, {stride});")

    # Results

    def _store(self) -> None:
        w, store = self.w, direct_store(self.contraction)
        assert store is not None, "made so by ascend-split-cube"
        strides = tile.view_type(store.view).strides
        *outer, _ = store.axis_list
        w.line("product.Finish();")
        stride = w.stride(strides[outer[-1]]) if outer else "columns"
        offset = w.view_offset(store.view, [w[o] for o in store.offsets])
        if len(outer) < 2:
            w.line(f"product.StoreRows({w[store.view]}[{offset}], 0, rows, {stride});")
        else:
            group = w.names.fresh("group")
            with w.block(f"for (int64_t {group} = 0; {group} < {self.groups}; ++{group})"):
                place = f"{w[store.view]}[{offset} + {group} * {w.stride(strides[outer[0]])}]"
                w.line(f"product.StoreRows({place}, {group} * rows, rows, {stride});")
        w.line("product.End();")
