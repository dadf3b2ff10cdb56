"""Building the host program: places for values, launches, and the table of lowerings.

A lowering is a function `(op, host)` registered for a class of graph operations:

    @lowers(graph.NegOp)
    def lower_neg(op: graph.NegOp, host: HostBuilder) -> None:
        x = host.placement(op.x)               # where the operand is, any strides
        out = host.destination(op.out)         # where the result must go, any strides
        k = KernelBuilder("neg", [x.view_type, out.view_type], [...], [...], origin_of(op))
        ...
        host.launch(k, [host.view(x), host.view(out)], label_of(op))

It gives each result a place: by writing to `host.destination(result)` (with `accept` it may
refuse a place, say one whose last axis is not contiguous), or by `host.place(result, p)` for
a result that is another placement of memory that holds it. Then it launches kernels.

- `host.ctx`, `host.weights`: the compiler's context and its weight store.
- `host.placement(value)`: where a value is. `host.dense(value)`: the same, copied to
  row-major memory where it is not. `host.copy(source, target)`: a copy kernel.
- `host.destination(result, accept)`, `host.place(result, placement)`.
- `host.view(placement, shape, strides)`: a value of the host program for a launch, with
  another shape and strides where given.
- `host.alloc(shape, dtype)`: scratch memory. `host.weight(handle, dtype, shape)` and
  `host.constant(array)`: parameters and tables.
- `host.launch(kernel, views, label)`: runs a kernel; equal kernels are kept once.
  `host.kernel(key, build)`: a kernel that was built before for an equal key, or `build()`.
- `host.fresh_symbol(hint)`, `host.bind(scalar placement, hint)`: a run-time size.
- `host.inside(block)`: emit into the block of a region. `host.lower(op)`, `host.lower_block`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
from xdsl.dialects.builtin import FileLineColLoc, NameLoc, StringAttr, UnitAttr
from xdsl.ir import Block, Operation, SSAValue

from infini_ir.dialects import graph, tile
from infini_ir.dialects.context import CompilerContext
from infini_ir.dialects.dims import FactsAttr
from infini_ir.dialects.graph import tensor_type
from infini_ir.dialects.tile import dense_strides, program
from infini_ir.lowering.kernel_builder import KernelBuilder
from infini_ir.lowering.placement import Placement, Size, dims
from infini_ir.lowering.view_ops import inverse_of, literal_of
from infini_ir.utils import dtypes
from infini_ir.utils.errors import CompileError
from infini_ir.utils.symbolic import ZERO, Dim

Accept = Callable[[Placement], bool]
OpT = TypeVar("OpT", bound=Operation)
Lowering = Callable[[Any, "HostBuilder"], None]

LOWERINGS: dict[type[Operation], Lowering] = {}
"""How each class of graph operations is lowered; filled by `lowers`."""

DESTINATIONS: dict[type[Operation], Callable[[Any, int, HostBuilder], Placement | None]] = {}
"""For classes of operations that can have an operand computed in their result: the place
that operand number i should have, or None; filled by `places_operand`."""


def lowers(*classes: type[Operation]) -> Callable[[Lowering], Lowering]:
    """Register a function as the lowering of operation classes."""

    def register(function: Lowering) -> Lowering:
        for cls in classes:
            LOWERINGS[cls] = function
        return function

    return register


def places_operand(*classes: type[Operation]):
    """Register a function `(op, operand index, host) -> Placement | None`."""

    def register(function: Callable[[Any, int, HostBuilder], Placement | None]):
        for cls in classes:
            DESTINATIONS[cls] = function
        return function

    return register


def label_of(op: Operation) -> str:
    """The source node's name of an operation, or an empty text."""
    location = op.location
    if isinstance(location, NameLoc):
        return location.desc.data
    if isinstance(location, FileLineColLoc):
        return f"{location.filename.data}:{location.line.data}"
    return ""


def origin_of(op: Operation, reason: str = "") -> str:
    """Which operations and source nodes a kernel is made from, and why."""
    ops = [op]
    if isinstance(op, graph.FusionOp):
        ops = [inner for inner in op.body.block.ops if not isinstance(inner, graph.YieldOp)]
        reason = reason or op.reason.data
    names = dict.fromkeys(inner.name.removeprefix("graph.") for inner in ops)
    nodes = dict.fromkeys(label for label in map(label_of, ops) if label)
    text = ", ".join(names)
    if nodes:
        text += f" ({', '.join(list(nodes)[:8])})"
    return f"{text}: {reason}" if reason else text


class HostBuilder:
    """Builds one `tile.program` and the kernels it launches."""

    def __init__(self, ctx: CompilerContext, entry: program.ProgramOp, kernels: Block) -> None:
        self.ctx = ctx
        self.weights = ctx.weights
        self.program = entry
        self.kernels = kernels
        """The module's block: kernels are put before the program."""
        self.block: Block = entry.body.block
        """Where operations are appended."""
        self.places: dict[SSAValue, Placement] = {}
        self.targets: dict[Operation, list[Placement | None]] = {}
        """For a block's terminator: where each value it gives should be computed."""
        self.padded: dict[Hashable, tuple[Placement, bool]] = {}
        """Values with padding around them, and whether that is complete."""
        self.entry_symbols: set[str] = set()
        """Symbols that the program's inputs define."""
        self.symbols: set[str] = set()
        """Symbols defined so far."""
        self.used_symbols: set[str] = set()
        """All symbols of the function, which fresh ones must differ from."""
        self._weight_views: dict[str, SSAValue] = {}
        self._claimed: set[tuple[Operation, int]] = set()
        self._by_text: dict[str, str] = {}
        self._by_key: dict[Hashable, KernelBuilder] = {}
        self._is_keyed: set[KernelBuilder] = set()
        self._names: set[str] = set()
        self._added: dict[KernelBuilder, str] = {}
        self._constants: dict[Hashable, str] = {}
        self._counter = 0

    # Operations

    def emit(self, op: OpT) -> OpT:
        """Append an operation to the host program."""
        self.block.add_op(op)
        return op

    @contextmanager
    def inside(self, block: Block) -> Iterator[None]:
        """Append to the block of a region."""
        outer, self.block = self.block, block
        try:
            yield
        finally:
            self.block = outer

    def lower(self, op: Operation) -> None:
        """Emit what an operation becomes; `CompileError` for one without a lowering."""
        lowering = LOWERINGS.get(type(op))
        if lowering is None:
            where = label_of(op)
            raise CompileError(
                f"{f'{where}: ' if where else ''}'{op.name}' has no lowering to tile; expand "
                "it to operations that have one before graph-to-tile"
            )
        lowering(op, self)

    def lower_block(self, block: Block) -> None:
        """Lower the operations of a block but its terminator."""
        for op in list(block.ops)[:-1]:
            self.lower(op)

    # Places

    def whole(self, view: SSAValue) -> Placement:
        """All of a view of the program."""
        return Placement.of(view)

    def placement(self, value: SSAValue | Operation) -> Placement:
        """Where a value is, once the operation that makes it was lowered. Constants get
        memory when someone asks."""
        value = SSAValue.get(value)
        known = self.places.get(value)
        if known is None:
            known = self.places[value] = self._placed_literal(value)
        return known

    def _placed_literal(self, value: SSAValue) -> Placement:
        """Memory for a constant, or for a view of one number."""
        if isinstance(value.owner, graph.ConstantOp):
            return self.constant(value.owner.array())
        number = self.literal(value)
        assert number is not None, f"{value.owner} was not lowered"
        kind = tensor_type(value)
        one = np.array(number).astype(dtypes.numpy_dtype(kind.dtype))
        return self.constant(one).broadcast(kind.shape)

    def literal(self, value: SSAValue | Operation) -> float | int | bool | None:
        """The number that a constant, also through views, has everywhere."""
        return literal_of(SSAValue.get(value))

    def place(self, value: SSAValue | Operation, placement: Placement) -> None:
        """Say where a value is."""
        self.places[SSAValue.get(value)] = placement

    def destination(
        self,
        result: SSAValue | Operation,
        accept: Accept | None = None,
        own: Callable[[], Placement] | None = None,
    ) -> Placement:
        """
        Where a result is to be written: where a user wants it (an output of the program, its
        block of a concat), if `accept` allows that place, else memory of its own: row-major, or
        what `own` gives.
        """
        value = SSAValue.get(result)
        known = self.places.get(value)
        if known is not None:
            return known
        wanted = self.wanted(value, accept)
        if wanted is None:
            kind = tensor_type(value)
            if own is not None:
                wanted = own()
            else:
                wanted = self._for_reshape(value, accept) or self.alloc(kind.shape, kind.dtype)
        self.places[value] = wanted
        return wanted

    def wanted(self, value: SSAValue, accept: Accept | None = None) -> Placement | None:
        """A place that a user in the same block wants a value in, and `accept` allows. Each
        user asks for one value only once, so that two values never share a place."""
        block = value.owner if isinstance(value.owner, Block) else value.owner.parent
        for use in list(value.uses):
            user = use.operation
            key = (user, use.index)
            if user.parent is not block or key in self._claimed:
                continue
            found = self._wanted_by(user, use.index, accept)
            if found is None or not self.defined(found):
                continue
            if accept is None or accept(found):
                self._claimed.add(key)
                return found
        return None

    def _for_reshape(self, value: SSAValue, accept: Accept | None) -> Placement | None:
        """Memory in the order of a transposed result, where that is reshaped next and could
        not be if it lay in the order of the value: it would have to be copied."""
        kind = tensor_type(value)
        dense = Placement(None, ZERO, kind.shape, dense_strides(kind.shape), kind.dtype)
        for use in value.uses:
            turn = use.operation
            if not isinstance(turn, graph.TransposeOp):
                continue
            turned = dense.transposed(turn.permutation)
            for after in turn.out.uses:
                reshape = after.operation
                if not isinstance(reshape, graph.ReshapeOp):
                    continue
                back = inverse_of(turn)
                if turned.reshaped(tensor_type(reshape.out).shape) is not None or not back:
                    continue
                like = Placement(None, ZERO, turned.shape, dense_strides(turned.shape), "i1")
                before = back.change(like)
                if before is None or (accept is not None and not accept(before)):
                    continue
                return back.change(self.alloc(turned.shape, kind.dtype))
        return None

    def early_destination(self, result: SSAValue) -> Placement | None:
        """The destination of a result whose operation is not lowered yet, to compute an
        operand in it; None where its size is not known yet."""
        sizes = tensor_type(result).shape
        if all(size.symbols() <= self.symbols for size in sizes):
            return self.destination(result)
        return None

    def _wanted_by(
        self, user: Operation, index: int, accept: Accept | None
    ) -> Placement | None:
        if user in self.targets:
            return self.targets[user][index]
        if user.results and inverse_of(user) is not None:
            return self._wanted_behind(user, accept)
        ask = DESTINATIONS.get(type(user))
        return ask(user, index, self) if ask is not None else None

    def _wanted_behind(self, user: Operation, accept: Accept | None) -> Placement | None:
        """Where the result of a view is wanted, seen from before the view."""
        back = inverse_of(user)
        assert back is not None

        def allowed(place: Placement) -> bool:
            before = back.change(place)
            return before is not None and (accept is None or accept(before))

        found = self.wanted(user.results[0], allowed)
        return None if found is None else back.change(found)

    def defined(self, placement: Placement) -> bool:
        """Whether all symbols of a placement have values here."""
        sizes = (placement.offset, *placement.shape, *placement.strides)
        return all(size.symbols() <= self.symbols for size in sizes)

    def view(
        self,
        placement: Placement,
        shape: Sequence[Size] | None = None,
        strides: Sequence[Size] | None = None,
    ) -> SSAValue:
        """A view for a launch: the root itself, or an alias of it."""
        root = placement.root
        assert root is not None, "positions have no memory"
        wanted = tile.ViewType.of(
            placement.shape if shape is None else dims(shape),
            placement.dtype,
            placement.strides if strides is None else dims(strides),
        )
        if root.type == wanted and placement.offset.value == 0:
            return root
        return self.emit(program.AliasOp(root, placement.offset, wanted)).out

    def dense(self, value: SSAValue | Operation) -> Placement:
        """Where a value is in row-major order; it is copied there if need be."""
        return self.made_dense(self.placement(value))

    def made_dense(self, source: Placement) -> Placement:
        """A placement, or a row-major copy of it."""
        if source.is_dense():
            return source
        target = self.alloc(source.shape, source.dtype)
        self.copy(source, target)
        return target

    def copy(self, source: Placement, target: Placement, label: str = "") -> None:
        """Copy elements, unless they are already there."""
        from infini_ir.lowering.kernels.copy import copy_elements

        if not source.same_elements(target):
            copy_elements(self, source, target, label)

    def reshaped(self, source: Placement, shape: Sequence[Size]) -> Placement:
        """Another shape, of a row-major copy where no strides give it."""
        found = source.reshaped(shape)
        if found is None:
            found = self.made_dense(source).reshaped(shape)
        assert found is not None
        return found

    # Memory

    def alloc(self, shape: Sequence[Size], dtype: str) -> Placement:
        """Row-major memory of its own, not cleared."""
        sizes = dims(shape)
        dynamic = any(not size.symbols() <= self.entry_symbols for size in sizes)
        op = program.AllocOp(tile.ViewType.of(sizes, dtype), dynamic=dynamic)
        return Placement.of(self.emit(op).out)

    def weight(self, handle: str, dtype: str, shape: Sequence[Size]) -> Placement:
        """A parameter of the model, read once for the whole program."""
        known = self._weight_views.get(handle)
        if known is None:
            op = program.WeightOp(handle, tile.ViewType.of(shape, dtype))
            entry = self.program.body.block
            if entry.first_op is None:
                entry.add_op(op)
            else:
                entry.insert_op_before(op, entry.first_op)
            known = self._weight_views[handle] = op.out
        return Placement.of(known)

    def drop_unused_weights(self) -> None:
        """Forget weights that only others were derived from."""
        for handle, view in list(self._weight_views.items()):
            if not view.uses and isinstance(view.owner, Operation):
                view.owner.detach()
                del self._weight_views[handle]

    def constant(self, array: np.ndarray, hint: str = "constant") -> Placement:
        """A table of numbers, kept with the weights; equal tables are kept once."""
        array = np.ascontiguousarray(array).reshape(np.shape(array))  # keeps rank 0
        dtype = dtypes.dtype_name(array.dtype)
        key = ("constant", dtype, array.shape, array.tobytes())
        handle = self._constants.get(key)
        if handle is None:
            handle = self._constants[key] = self.weights.add(hint, array)
        return self.weight(handle, dtype, array.shape)

    # Kernels

    def kernel(self, key: Hashable, build: Callable[[], KernelBuilder]) -> KernelBuilder:
        """The kernel built before for an equal key, or a new one. The key must say all that
        `build` depends on: the kind of kernel, its views' types, constants."""
        known = self._by_key.get(key)
        if known is None:
            known = self._by_key[key] = build()
            self._is_keyed.add(known)
        return known

    def launch(
        self,
        kernel: KernelBuilder,
        views: Sequence[SSAValue],
        label: str = "",
        *,
        serial: bool | None = None,
    ) -> None:
        """Run a kernel on views of exactly its types. `serial` (default: what the kernel
        says): by one worker."""
        op = program.LaunchOp(self._add(kernel), views, label)
        if kernel.serial if serial is None else serial:
            op.serial = UnitAttr()
        self.emit(op)

    def _add(self, kernel: KernelBuilder) -> str:
        """The name of the kernel in the module, where it or an equal one is put."""
        if kernel in self._added:
            return self._added[kernel]
        # Text tells equal kernels; those with a key differ already if their keys do.
        text = None if kernel in self._is_keyed else kernel.op.anonymous_text()
        name = None if text is None else self._by_text.get(text)
        if name is None:
            name = self._unique_name(kernel.op.sym_name.data)
            kernel.op.sym_name = StringAttr(name)
            self.kernels.insert_op_before(kernel.op, self.program)
            if text is not None:
                self._by_text[text] = name
        self._added[kernel] = name
        return name

    def _unique_name(self, wish: str) -> str:
        name, count = wish, 1
        while name in self._names:
            count += 1
            name = f"{wish}_{count}"
        self._names.add(name)
        return name

    # Symbols

    def fresh_symbol(self, hint: str) -> Dim:
        """A symbol that nothing is called by; it must be defined (`tile.bind`, `tile.loop`)
        and then declared with `declare`."""
        while True:
            name = f"{hint}.{self._counter}"
            self._counter += 1
            if name not in self.used_symbols:
                self.used_symbols.add(name)
                return Dim.symbol(name)

    def declare(self, symbol: str) -> None:
        """Note that a symbol has a value from here on."""
        self.symbols.add(symbol)

    def bind(
        self,
        scalar: Placement,
        hint: str = "n",
        *,
        symbol: str | None = None,
        facts: FactsAttr | None = None,
    ) -> Dim:
        """An i64 scalar in memory as a size, by the given name or a fresh one."""
        name = symbol if symbol is not None else self.fresh_symbol(hint).name
        assert name is not None
        self.emit(program.BindOp(self.view(scalar), name, facts))
        self.declare(name)
        return Dim.symbol(name)
