"""Weights in the order in which kernels read them: the pass `tile-lay-out-weights`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, StringAttr, SymbolRefAttr
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter

from infini_ir.dialects import tile
from infini_ir.dialects.context import weights_of
from infini_ir.dialects.tile import ViewType, program, view_type
from infini_ir.passes.tile.regions import root_of
from infini_ir.utils.symbolic import ONE, ZERO, Dim
from infini_ir.utils.weights import WeightStore


@dataclass(frozen=True)
class LayOutWeightsPass(ModulePass):
    """
    Stores weights so that the tiles that kernels load from them are contiguous.

    A launch's operand that is a weight seen through aliases, and whose tiles' last axis has
    not stride 1, becomes a derived weight: dense, the loaded axes last, in the tile's order.
    Axes of stride 0 stay so. A weight that is read in more than one order is copied only
    for kernels with products or reductions. A weight known only by name (text without data
    beside it) stays as it is.
    """

    name = "tile-lay-out-weights"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        _Layout(op, weights_of(ctx)).run()


@dataclass(frozen=True)
class _Use:
    """One operand of an operation that is a weight, or a part of one."""

    op: Operation
    position: int
    weight: program.WeightOp
    offset: int | None
    """Where the view begins in the weight, None where not known."""

    wanted: ViewType | None
    """The view's type in another layout, None where it stays."""

    @property
    def view(self) -> SSAValue:
        return self.op.operands[self.position]

    @property
    def layout(self) -> object:
        """What tells the stored copies of a weight apart."""
        return None if self.wanted is None else (self.offset, self.view.type, self.wanted)


class _Layout:
    def __init__(self, module: ModuleOp, store: WeightStore) -> None:
        self.module = module
        self.store = store
        self.copies: dict[tuple[str, int, ViewType], tile.KernelOp] = {}
        self.aliases: dict[tuple[program.WeightOp, object], SSAValue] = {}
        self.kernels = {
            k.sym_name.data: k for k in module.body.block.ops if isinstance(k, tile.KernelOp)
        }

    def run(self) -> None:
        uses: dict[str, list[_Use]] = {}
        for use in self._uses():
            uses.setdefault(use.weight.handle.data, []).append(use)
        for group in uses.values():
            several = len({use.layout for use in group}) > 1
            for use in group:
                if use.wanted is not None and not (several and not self._computes(use)):
                    self._lay_out(use, use.wanted)
        self._clean_up()

    def _uses(self) -> Iterator[_Use]:
        for op in self.module.walk():
            for position, operand in enumerate(op.operands):
                if isinstance(op, program.AliasOp) or not isinstance(operand.type, ViewType):
                    continue
                weight = root_of(operand).owner
                if not isinstance(weight, program.WeightOp):
                    continue
                offset = _offset_in_weight(operand)
                wanted = None
                if isinstance(op, program.LaunchOp) and offset is not None:
                    wanted = self._wanted(op, position, weight)
                yield _Use(op, position, weight, offset, wanted)

    def _wanted(
        self, launch: program.LaunchOp, position: int, weight: program.WeightOp
    ) -> ViewType | None:
        kernel = self.kernels[launch.kernel.string_value()]
        if weight.handle.data not in self.store or position in kernel.written():
            return None
        view = kernel.views[position]
        type = view_type(view)
        moving = [i for i, stride in enumerate(type.strides) if stride is not ZERO]
        known = [type.shape[i].value for i in moving] + [type.strides[i].value for i in moving]
        loads = [use.operation for use in view.uses]
        if type.panel_width or None in known or not loads:
            return None
        orders = {op.axis_list if isinstance(op, tile.LoadOp) else None for op in loads}
        axes = orders.pop()
        if orders or axes is None:
            return None
        axes = [axis for axis in axes if axis in moving and type.shape[axis] is not ONE]
        if not axes or type.strides[axes[-1]] is ONE:
            return None
        order = [axis for axis in moving if axis not in axes] + axes
        return ViewType.of(type.shape, type.element, _strides(type, order))

    def _computes(self, use: _Use) -> bool:
        assert isinstance(use.op, program.LaunchOp)
        kernel = self.kernels[use.op.kernel.string_value()]
        kinds = tile.DotOp | tile.ReduceOp
        return any(isinstance(op, kinds) for op in kernel.body.walk())

    def _lay_out(self, use: _Use, wanted: ViewType) -> None:
        assert isinstance(use.op, program.LaunchOp)
        operands = list(use.op.operands)
        operands[use.position] = self._stored(use, wanted)
        name = use.op.kernel.string_value()
        copy = self._kernel(self.kernels[name], use.position, wanted)
        use.op.operands = operands
        use.op.properties["kernel"] = SymbolRefAttr(copy.sym_name.data)

    def _stored(self, use: _Use, wanted: ViewType) -> SSAValue:
        """The derived weight, as the kernel sees it."""
        key = (use.weight, use.layout)
        if key not in self.aliases:
            dense, handle = self._derive(use, wanted)
            weight = program.WeightOp(handle, dense)
            alias = program.AliasOp(weight.out, 0, wanted)
            weight.location = alias.location = use.weight.location
            Rewriter.insert_op([weight, alias], InsertPoint.after(use.weight))
            self.aliases[key] = alias.out
        return self.aliases[key]

    def _derive(self, use: _Use, wanted: ViewType) -> tuple[ViewType, str]:
        old = view_type(use.view)
        order = _memory_order(wanted)
        shape = [wanted.shape[axis].value or 0 for axis in order]
        steps = [old.strides[axis].value or 0 for axis in order]
        begin = use.offset or 0

        def gather(array: np.ndarray) -> np.ndarray:
            # By their bits, as numpy cannot stride all types that it did not build in.
            flat = np.ascontiguousarray(array).reshape(-1)
            bits = flat.view(f"u{flat.itemsize}")[begin:]
            strides = [step * flat.itemsize for step in steps]
            seen = np.lib.stride_tricks.as_strided(bits, shape, strides, writeable=False)
            return np.ascontiguousarray(seen).view(flat.dtype)

        key = f"laid{begin}:{shape}:{steps}".replace(" ", "")
        source = use.weight.handle.data
        handle = self.store.derive([source], key, wanted.dtype, shape, gather)
        return ViewType.of(shape, wanted.element), handle

    def _kernel(self, kernel: tile.KernelOp, position: int, wanted: ViewType) -> tile.KernelOp:
        """The kernel with another view; the original stays for other launches."""
        key = (kernel.sym_name.data, position, wanted)
        if key not in self.copies:
            copy = kernel.clone()
            number, name = 2, f"{kernel.sym_name.data}_laid_out"
            while name in self.kernels:
                name, number = f"{kernel.sym_name.data}_laid_out_{number}", number + 1
            copy.properties["sym_name"] = StringAttr(name)
            Rewriter.replace_value_with_new_type(copy.body.block.args[position], wanted)
            Rewriter.insert_op(copy, InsertPoint.after(kernel))
            self.copies[key] = self.kernels[name] = copy
        return self.copies[key]

    def _clean_up(self) -> None:
        """Drop the kernels, aliases and weights that nothing uses any more."""
        launched = {
            op.kernel.string_value()
            for op in self.module.walk()
            if isinstance(op, program.LaunchOp)
        }
        for name, _, _ in self.copies:
            kernel = self.kernels.pop(name, None)
            if kernel is not None and name not in launched:
                Rewriter.erase_op(kernel)
        for op in reversed(list(self.module.walk())):
            if isinstance(op, program.AliasOp | program.WeightOp) and not op.out.uses:
                Rewriter.erase_op(op)


def _offset_in_weight(view: SSAValue) -> int | None:
    """How many elements into the weight a view begins."""
    total = ZERO
    while isinstance(view.owner, program.AliasOp):
        total = total + view.owner.offset_dim
        view = view.owner.source
    return total.value


def _strides(type: ViewType, order: Sequence[int]) -> list[Dim]:
    """Dense strides of a view whose axes lie in this order; those not in it stay 0."""
    strides = [ZERO] * type.rank
    step = ONE
    for axis in reversed(order):
        strides[axis] = step
        step = step * type.shape[axis]
    return strides


def _memory_order(type: ViewType) -> list[int]:
    """The axes of a dense view that move, the farthest apart first."""
    moving = [i for i, stride in enumerate(type.strides) if stride is not ZERO]
    # Of axes of equal stride, those of size 1 come first.
    return sorted(moving, key=lambda i: (-(type.strides[i].value or 0), type.shape[i].value))
