"""Products left to the vendor's library: which kernels are nothing but a product.

The other way down for matrix products, chosen by the target's `library` option. What is
fused with more than a product stays a kernel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from xdsl.dialects import arith
from xdsl.dialects.builtin import IntegerAttr
from xdsl.ir import Block, SSAValue

from infini_ir.dialects import tile
from infini_ir.dialects.tile import ViewType, view_type
from infini_ir.passes.tile.contraction import Contraction, find_contraction
from infini_ir.runtime.launch_plan import Operand, Pointer, Product
from infini_ir.targets.nvidia.launch_plan import MakeProduct
from infini_ir.utils.symbolic import ONE, ZERO, Dim, product

DTYPES = frozenset({"f16", "bf16", "f32", "f64"})
"""Element types whose products the library computes as kernels do: sums of the 16-bit ones
and of f32 in f32."""


class LibraryProduct:
    """A kernel that is one product, or one for each step of its outer grid axes."""

    def __init__(
        self, dtype: str, sizes: tuple[Dim, Dim, Dim, Dim], operands: Sequence[_Shown]
    ):
        self.dtype, self.sizes, self.operands = dtype, sizes, operands

    def step(self, views: Sequence[Pointer]) -> Product:
        """The library's call for a launch with these views."""
        lhs, rhs, out = (shown.operand(views) for shown in self.operands)
        return Product(self.dtype, *self.sizes, lhs, rhs, out)


class _Shown:
    """How one of a kernel's views is an operand."""

    def __init__(self, view: int, transposed: bool, leading: Dim, batch: Dim):
        self.view, self.transposed = view, transposed
        self.leading, self.batch = leading, batch

    def operand(self, views: Sequence[Pointer]) -> Operand:
        return Operand(views[self.view], self.transposed, self.leading, self.batch)


def library_products(kernels: Mapping[str, tile.KernelOp]) -> MakeProduct:
    """The steps that replace launches of these kernels."""
    found = {name: library_product(kernel) for name, kernel in kernels.items()}

    def make(name: str, views: Sequence[Pointer]) -> Product | None:
        known = found[name]
        return None if known is None else known.step(views)

    return make


def library_product(kernel: tile.KernelOp) -> LibraryProduct | None:
    """The product that a kernel is; None where it is more, or not of the library's form."""
    found = find_contraction(kernel)
    if found is None or len(found.loops) != 1 or not found.starts_at_zero:
        return None
    loads, store = found.loads, _store_of(found)
    if loads is None or store is None or len(found.grid_axes) != 2:
        return None
    if _loads_of(kernel) != 2 or store.combine.data is not tile.Combine.set:
        return None
    dtypes = {view_type(op.view).dtype for op in (*loads, store)}
    if len(dtypes) != 1 or not dtypes <= DTYPES:
        return None
    return _Form(found).product(dtypes.pop(), loads, store)


def _loads_of(kernel: tile.KernelOp) -> int:
    reading = (tile.LoadOp, tile.GatherOp, tile.ReadOp)
    return sum(isinstance(op, reading) for op in kernel.body.walk())


def _store_of(found: Contraction) -> tile.StoreOp | None:
    """The only store, of the sum or of the sum cast to another element type."""
    value = found.result
    users = [use.operation for use in value.uses]
    if len(users) == 1 and isinstance(users[0], tile.MapOp) and _is_cast(users[0].body.block):
        value = users[0].outs[0]
        users = [use.operation for use in value.uses]
    stores = [
        op for op in found.kernel.body.walk() if isinstance(op, tile.StoreOp | tile.ScatterOp)
    ]
    if len(stores) != 1 or users != stores or not isinstance(stores[0], tile.StoreOp):
        return None
    return stores[0]


def _is_cast(block: Block) -> bool:
    """Whether a map does nothing but round its only input."""
    ops = list(block.ops)
    return len(block.args) == 1 and len(ops) == 2 and isinstance(ops[0], arith.TruncFOp)


class _Form:
    """The axes of a contraction: rows, columns, the loop, and batches."""

    def __init__(self, found: Contraction):
        self.kernel = found.kernel
        self.loop = found.loops[0]
        offsets = found.kernel.offsets
        rows, columns = found.grid_axes
        self.rows, self.columns = offsets[rows], offsets[columns]
        self.contracted: SSAValue = self.loop.body.block.args[0]
        self.batches = [i for i in range(len(offsets)) if i not in (rows, columns)]
        self.bounds = found.kernel.bounds.data
        self.steps = found.kernel.steps.data
        self.sizes = self.bounds[rows], self.bounds[columns]

    def product(
        self, dtype: str, loads: tuple[tile.LoadOp, tile.LoadOp], store: tile.StoreOp
    ) -> LibraryProduct | None:
        m, n = self.sizes
        k = _index(self.loop.to)
        if k is None or any(self.steps[i] is not ONE for i in self.batches):
            return None
        lhs = self._operand(loads[0], (self.rows, m), (self.contracted, k))
        rhs = self._operand(loads[1], (self.contracted, k), (self.columns, n))
        out = self._operand(store, (self.rows, m), (self.columns, n))
        if lhs is None or rhs is None or out is None or out.transposed:
            return None
        batch = product(self.bounds[i] for i in self.batches)
        return LibraryProduct(dtype, (m, n, k, batch), (lhs, rhs, out))

    def _operand(
        self,
        access: tile.LoadOp | tile.StoreOp,
        rows: tuple[SSAValue, Dim],
        columns: tuple[SSAValue, Dim],
    ) -> _Shown | None:
        """An access as a matrix of these rows and columns, for each step of the batch."""
        type = view_type(access.view)
        place = {offset: axis for axis, offset in enumerate(access.offsets)}
        if len(place) != type.rank or rows[0] not in place or columns[0] not in place:
            return None
        if (type.shape[place[rows[0]]], type.shape[place[columns[0]]]) != (rows[1], columns[1]):
            return None
        batch = self._batch_stride(type, place, {rows[0], columns[0]})
        down, along = type.strides[place[rows[0]]], type.strides[place[columns[0]]]
        transposed = along is not ONE
        leading, inner = (along, rows[1]) if transposed else (down, columns[1])
        if batch is None or (transposed and down is not ONE):
            return None
        if not (leading - inner).is_nonnegative():
            return None
        view = list(self.kernel.views).index(access.view)  # pyright: ignore[reportArgumentType]
        return _Shown(view, transposed, leading, batch)

    def _batch_stride(
        self, type: ViewType, place: Mapping[SSAValue, int], used: set[SSAValue]
    ) -> Dim | None:
        """From one matrix to the next in row-major order of the batch axes; None where that
        is not one step."""
        offsets = [self.kernel.offsets[i] for i in self.batches]
        if set(place) - used - set(offsets):
            return None
        strides = [type.strides[place[o]] if o in place else ZERO for o in offsets]
        for outer, inner, axis in zip(strides, strides[1:], self.batches[1:]):
            if outer is not inner * self.bounds[axis]:
                return None
        return strides[-1] if strides else ZERO


def _index(value: SSAValue) -> Dim | None:
    """An index that is known as a size."""
    op = value.owner
    if isinstance(op, tile.SizeOp):
        return op.dim
    if isinstance(op, arith.ConstantOp) and isinstance(op.value, IntegerAttr):
        return Dim.of(op.value.value.data)
    return None
