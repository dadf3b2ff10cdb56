"""Running host programs: buffers, launches and control flow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation, SSAValue

from infini_ir.dialects import tile
from infini_ir.dialects.dims import FactsAttr
from infini_ir.dialects.tile import ViewType, program, view_type
from infini_ir.dialects.tile.types import packed_shape
from infini_ir.interpreters.tile.kernel import run_kernel
from infini_ir.interpreters.tile.memory import Array, Memory, element_dtype
from infini_ir.utils.errors import InputError, ModelError, SizeError
from infini_ir.utils.symbolic import Dim

Runner = Callable[[tile.KernelOp, Sequence[Memory], Mapping[str, int]], None]


def interpret_program(
    module: ModuleOp,
    inputs: Sequence[Array],
    ctx: object = None,
    *,
    parameters: Mapping[str, int] | None = None,
    function: str = "main",
    check_races: bool = False,
    runner: Runner | None = None,
) -> list[Array]:
    """
    Run a module's `tile.program` on arrays; the weights are those of `ctx`.

    Bare symbols in the inputs' shapes take the arrays' sizes, every other size is checked.
    Fresh memory holds NaN or -1, so that what was never written shows. Buffers with a
    planned place share one arena, so that a wrong plan shows. `parameters` are the tile
    sizes of kernels without a plan; `check_races` demands that a launch's programs are
    independent. `runner` runs the kernels, given their views and the symbols, where they are
    no longer in tile form.

    Raises `InputError` for inputs that do not fit, `ModelError` for a program that is wrong.
    """
    host = _find_program(module, function)
    symbols = _bind_inputs(host, inputs)
    run = _Run(module, symbols, getattr(ctx, "weights", None), parameters or {}, check_races)
    run.runner = runner
    run.make_arena(host)
    arguments: list[Memory] = [_input_memory(array) for array in inputs]
    outputs = [run.fresh(view_type(a)) for a in host.body.block.args[len(inputs) :]]
    run.values.update(zip(host.body.block.args, [*arguments, *outputs], strict=True))
    if host.facts is not None:
        run.check_facts(host.facts, f"'{function}'")
    run.block(host.body.block)
    return run.collect(outputs)


def _find_program(module: ModuleOp, name: str) -> program.ProgramOp:
    for op in module.body.block.ops:
        if isinstance(op, program.ProgramOp) and op.sym_name.data == name:
            return op
    raise ModelError(f"the module has no program '{name}'; lower it to the tile dialect first")


def _input_memory(array: Array) -> Memory:
    """A read-only copy, which the caller cannot change meanwhile."""
    memory = Memory.of_array(np.array(array, order="C"))
    memory.flat.flags.writeable = False
    return memory


def _bind_inputs(host: program.ProgramOp, inputs: Sequence[Array]) -> dict[str, int]:
    count = host.input_count.value.data
    if len(inputs) != count:
        raise InputError(f"'{host.sym_name.data}' takes {count} inputs, not {len(inputs)}")
    types = [view_type(value) for value in host.body.block.args[:count]]
    symbols: dict[str, int] = {}
    for number, (array, wanted) in enumerate(zip(inputs, types, strict=True)):
        if array.dtype != element_dtype(wanted.element) or array.ndim != wanted.rank:
            raise InputError(
                f"input {number} is {array.dtype}{list(array.shape)}, wants {wanted}"
            )
        for dim, size in zip(wanted.shape, array.shape, strict=True):
            if dim.name is not None:
                symbols.setdefault(dim.name, size)
    for number, (array, wanted) in enumerate(zip(inputs, types, strict=True)):
        if array.shape != tuple(dim.evaluate(symbols) for dim in wanted.shape):
            raise InputError(f"input {number} has shape {list(array.shape)}, wants {wanted}")
    return symbols


def _poison(size: int, dtype: np.dtype) -> Array:
    """Memory that nobody has written yet: NaN, -1, true."""
    if dtype == np.bool_:
        return np.ones(size, np.bool_)
    return np.full(size * dtype.itemsize, 0xFF, np.uint8).view(dtype)


class _Run:
    """One run of a program: symbols, views, the arena, what was published."""

    def __init__(
        self,
        module: ModuleOp,
        symbols: dict[str, int],
        weights: Any,
        parameters: Mapping[str, int],
        check_races: bool,
    ) -> None:
        self.symbols = symbols
        self.values: dict[SSAValue, Memory] = {}
        self.weights = weights
        self.parameters = parameters
        self.check_races = check_races
        self.runner: Runner | None = None
        self.published: dict[int, Memory] = {}
        self.arena = np.empty(0, np.uint8)
        self.kernels = {
            op.sym_name.data: op
            for op in module.body.block.ops
            if isinstance(op, tile.KernelOp)
        }

    def block(self, block: Block) -> None:
        for op in block.ops:
            rule = _RULES.get(type(op))
            if rule is None:
                raise ModelError(f"'{op.name}' is not an operation of a host program")
            rule(self, op)

    def size(self, dim: Dim) -> int:
        return dim.evaluate(self.symbols)

    def sizes(self, dims: Sequence[Dim]) -> tuple[int, ...]:
        return tuple(self.size(dim) for dim in dims)

    def _count(self, type: ViewType) -> int:
        shape = self.sizes(type.shape)
        if type.panel_width:
            shape = packed_shape(shape, type.panel_batch, type.panel_width, type.panel_group)
        elif shape and 0 not in shape:
            strides = self.sizes(type.strides)
            return 1 + sum((n - 1) * abs(s) for n, s in zip(shape, strides, strict=True))
        return int(np.prod(shape, dtype=np.int64))

    def seen(self, flat: Array, type: ViewType, offset: int = 0) -> Memory:
        """A buffer's elements as a view of that type."""
        whole = Memory(flat, 0, (flat.size,), (1,))
        return whole.alias(
            offset,
            self.sizes(type.shape),
            self.sizes(type.strides),
            type.panel_width,
            type.panel_group,
            type.panel_batch,
        )

    def fresh(self, type: ViewType) -> Memory:
        return self.seen(_poison(self._count(type), element_dtype(type.element)), type)

    def make_arena(self, host: program.ProgramOp) -> None:
        """Memory for the buffers that have a planned place."""
        end = 0
        for op in host.body.walk():
            if isinstance(op, program.AllocOp) and op.offset is not None:
                dtype = element_dtype(op.out.type.element)  # pyright: ignore
                size = self._count(view_type(op.out)) * dtype.itemsize
                end = max(end, self.size(op.offset.data[0]) + size)
        self.arena = np.full(end, 0xFF, np.uint8)

    def planned(self, offset: int, type: ViewType) -> Memory:
        dtype = element_dtype(type.element)
        size = self._count(type) * dtype.itemsize
        return self.seen(self.arena[offset : offset + size].view(dtype), type)

    def scalar(self, value: SSAValue) -> Any:
        return self.values[value].array.reshape(-1)[0]

    def check_facts(self, facts: FactsAttr, who: str) -> None:
        holds = {"eq": int.__eq__, "le": int.__le__, "ge": int.__ge__}
        for left, relation, right in facts.data:
            if not holds[relation](self.size(left), self.size(right)):
                raise InputError(
                    f"{who} needs {left} {relation} {right}, but they are "
                    f"{self.size(left)} and {self.size(right)}"
                )

    def collect(self, outputs: Sequence[Memory]) -> list[Array]:
        """All outputs by number: published ones, and the arguments in the places left."""
        count = len(outputs) + len(self.published)
        rest = iter(outputs)
        views = [self.published.get(i) or next(rest) for i in range(count)]
        return [np.array(view.array) for view in views]


def _alloc(run: _Run, op: program.AllocOp) -> None:
    type = view_type(op.out)
    if op.offset is None:
        run.values[op.out] = run.fresh(type)
    else:
        run.values[op.out] = run.planned(run.size(op.offset.data[0]), type)


def _weight(run: _Run, op: program.WeightOp) -> None:
    if run.weights is None:
        raise ModelError(f"weight '{op.handle.data}' has no data; give the context")
    flat = np.ascontiguousarray(run.weights.array(op.handle.data)).reshape(-1)
    type = view_type(op.out)
    wanted = element_dtype(type.element)
    if type.dtype in ("i4", "ui4") and flat.dtype == np.uint32:
        flat = _apart(flat, signed=type.dtype == "i4").astype(wanted)
    flat = flat.view(wanted)
    flat.flags.writeable = False
    run.values[op.out] = run.seen(flat, view_type(op.out))


def _apart(words: Array, *, signed: bool) -> Array:
    """The eight 4-bit elements that each word of a packed weight holds: lower halves of its
    bytes first, signed ones stored with 8 added."""
    shifts = np.array([0, 8, 16, 24, 4, 12, 20, 28], np.uint32)
    numbers = ((words[:, None] >> shifts) & 15).reshape(-1).astype(np.int8)
    return numbers - 8 if signed else numbers


def _alias(run: _Run, op: program.AliasOp) -> None:
    type = view_type(op.out)
    source = run.values[op.source]
    run.values[op.out] = source.alias(
        run.size(op.offset_dim), run.sizes(type.shape), run.sizes(type.strides)
    )


def _launch(run: _Run, op: program.LaunchOp) -> None:
    kernel = run.kernels.get(op.kernel.root_reference.data)
    if kernel is None:
        raise ModelError(f"there is no kernel {op.kernel}")
    views = [run.values[view] for view in op.views]
    if run.runner is not None:
        run.runner(kernel, views, run.symbols)
        return
    checked = run.check_races and op.serial is None
    run_kernel(kernel, views, run.symbols, run.parameters, check_races=checked)


def _library(run: _Run, op: program.LibraryOp) -> None:
    a, b, y = (run.values[view].array for view in op.views)
    dtype = element_dtype(op.accumulate)
    # Written as sums of products, as numpy's matmul lacks the types that it did not build in.
    with np.errstate(all="ignore"):
        y[...] = np.einsum("...mk,...kn->...mn", a.astype(dtype), b.astype(dtype))


def _bind(run: _Run, op: program.BindOp) -> None:
    number = int(run.scalar(op.value))
    if number < 0:
        raise SizeError(f"size '{op.symbol.data}' is {number}; a size is not negative")
    run.symbols[op.symbol.data] = number
    if op.facts is not None:
        run.check_facts(op.facts, f"size '{op.symbol.data}'")


def _set(run: _Run, op: program.SetOp) -> None:
    run.symbols[op.symbol.data] = run.size(op.value.data[0])
    if op.facts is not None:
        run.check_facts(op.facts, f"size '{op.symbol.data}'")


def _if(run: _Run, op: program.IfOp) -> None:
    run.block((op.then_region if run.scalar(op.condition) else op.else_region).block)


def _loop(run: _Run, op: program.LoopOp) -> None:
    done, name = 0, op.symbol.data
    for done in range(1, run.size(op.to.data[0]) + 1):
        run.symbols[name] = done - 1
        run.block(op.body.block)
        if op.until is not None and not run.scalar(op.until):
            break
    run.symbols[name] = done


def _while(run: _Run, op: program.WhileOp) -> None:
    run.block(op.condition.block)
    while run.scalar(op.flag):
        run.block(op.body.block)
        run.block(op.condition.block)


def _publish(run: _Run, op: program.PublishOp) -> None:
    run.published[op.index.value.data] = run.values[op.view]


_RULES: dict[type[Operation], Callable[[_Run, Any], None]] = {
    program.AllocOp: _alloc,
    program.WeightOp: _weight,
    program.AliasOp: _alias,
    program.LaunchOp: _launch,
    program.LibraryOp: _library,
    program.BarrierOp: lambda run, op: None,
    program.BindOp: _bind,
    program.SetOp: _set,
    program.IfOp: _if,
    program.LoopOp: _loop,
    program.WhileOp: _while,
    program.PublishOp: _publish,
}
