"""A kernel in buffer form as C++ for one core: control flow, scalars, addresses. What the
instructions of the buffer dialect become is a target's table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from xdsl.dialects import arith, scf
from xdsl.dialects.builtin import IntegerType
from xdsl.ir import Attribute, Block, Operation, SSAValue

from infini_ir.dialects import tile
from infini_ir.dialects.tile.types import ViewType, scalar_of, view_type
from infini_ir.targets.c_project.core_scalars import expression, scalar_type
from infini_ir.targets.c_project.expressions import Names, c_expression, c_factor, grid_axes
from infini_ir.targets.c_project.signatures import KernelSignature
from infini_ir.utils.dtypes import item_size
from infini_ir.utils.errors import CompileError
from infini_ir.utils.symbolic import Dim

Handler = Callable[["CoreKernel", Any], None]


def memory_type(element: Attribute) -> str:
    """The C++ type of an element in memory: bools are bytes, unsigned integers signless, and
    f64, which the device only copies, its bits."""
    signless = scalar_of(element)
    if signless == IntegerType(1):
        return "int8_t"
    try:
        return scalar_type(signless)
    except CompileError:
        return f"int{8 * item_size(ViewType.of([], element).dtype)}_t"


@dataclass
class CoreKernel:
    """Writes the body of one kernel. `handlers` are what a target's instructions become."""

    kernel: tile.KernelOp
    signature: KernelSignature
    handlers: Mapping[type[Operation], Handler]
    mask_type: str = "int8_t"
    """The C++ type of a lane of a mask: 1 where it is true, 0 where it is not."""
    reserved: frozenset[str] = frozenset()
    """Names that the target's own text uses: no value is called so."""
    names: Names = field(init=False)
    lines: list[str] = field(default_factory=list)
    values: dict[SSAValue, str] = field(default_factory=dict)
    depth: int = 1

    def __post_init__(self) -> None:
        self.names = self.signature.symbol_names()
        self.names.taken |= self.reserved
        for view, name in zip(self.kernel.views, self.signature.views, strict=True):
            self.values[view] = name

    # For handlers

    def line(self, text: str) -> None:
        """Write one line at the current depth."""
        self.lines.append("  " * self.depth + text)

    def open(self, head: str) -> None:
        """Begin a block."""
        self.line(f"{head} {{")
        self.depth += 1

    def close(self) -> None:
        """End a block."""
        self.depth -= 1
        self.line("}")

    def name(self, value: SSAValue) -> str:
        """The expression that stands for a value."""
        return self.values[value]

    def define(self, value: SSAValue, text: str) -> None:
        """Give a value a name, if anything uses it."""
        if not value.uses:
            return
        name = self.names.fresh(value.name_hint or f"v{len(self.values)}")
        self.values[value] = name
        self.line(f"const {scalar_type(value.type)} {name} = {text};")

    def size(self, dim: int | Dim) -> str:
        """A size as an expression that can be a factor."""
        return c_factor(dim, self.names)

    def address(self, view: SSAValue, offsets: Sequence[SSAValue]) -> str:
        """The address of an element of a view."""
        terms = [self.name(view)]
        for offset, stride in zip(offsets, view_type(view).strides, strict=True):
            text = self.name(offset)
            if stride.value == 0 or text == "0":
                continue
            terms.append(text if stride.value == 1 else f"{text} * {self.size(stride)}")
        return " + ".join(terms)

    def place(self, local: SSAValue, offset: SSAValue) -> str:
        """The address of an element of local memory."""
        text = self.name(offset)
        return self.name(local) if text == "0" else f"{self.name(local)} + {text}"

    # The whole

    def block(self, block: Block, skip: type[Operation] | None = None) -> None:
        """Write the operations of a block, but for those of one kind."""
        for op in block.ops:
            if skip is None or not isinstance(op, skip):
                self.operation(op)

    def operation(self, op: Operation) -> None:
        """Write one operation. Raises `CompileError`, which names kernel and operation."""
        try:
            self._operation(op)
        except CompileError as error:
            where = f"kernel '{self.kernel.sym_name.data}': "
            if str(error).startswith(where):
                raise
            raise CompileError(f"{where}'{op.name}': {error}") from error

    def _operation(self, op: Operation) -> None:
        handler = self.handlers.get(op.__class__) or _COMMON.get(op.__class__)
        if handler is not None:
            handler(self, op)
        elif len(op.results) != 1 or op.regions:
            raise CompileError("has no form on this device")
        elif isinstance(op, arith.ConstantOp):
            self.values[op.result] = expression(op, ())
        else:
            self.define(op.results[0], expression(op, [self.name(v) for v in op.operands]))

    def grid_size(self) -> str:
        """How many programs the grid has."""
        counts = grid_axes(self.kernel)
        return " * ".join(self.size(n) for n in counts if n.value != 1) or "1"

    def programs(self, first: str, step: str, skip: type[Operation] | None = None) -> None:
        """Write the loop over the programs of the grid that this core runs: `first`, and every
        `step`-th from there. The last axis of the grid changes fastest. Operations of the
        kind `skip` have been written before it."""
        kernel = self.kernel
        counts, steps = grid_axes(kernel), kernel.steps.data
        total, program = self.grid_size(), self.names.fresh("program")
        self.open(
            f"for (int64_t {program} = {first}; {program} < {total}; {program} += {step})"
        )
        inner = Dim.of(1)
        for offset, count, by in reversed(
            list(zip(kernel.offsets, counts, steps, strict=True))
        ):
            self._grid_offset(offset, program, inner, count, by, count is counts[0])
            inner = inner * count
        self.block(kernel.body.block, skip)
        self.close()

    def _grid_offset(
        self, offset: SSAValue, program: str, inner: Dim, count: Dim, by: Dim, outer: bool
    ) -> None:
        if count.value == 1 or not offset.uses:
            self.values[offset] = "0"
            return
        text = program if inner.value == 1 else f"{program} / {self.size(inner)}"
        if not outer or len(self.kernel.offsets) > 1:
            text = f"{text} % {self.size(count)}"
        self.define(offset, text if by.value == 1 else f"{text} * {self.size(by)}")


def _for(writer: CoreKernel, op: scf.ForOp) -> None:
    if op.results:
        raise CompileError("a loop of a core carries nothing; run the buffer passes first")
    name = writer.names.fresh(op.body.block.args[0].name_hint or f"i{writer.depth}")
    writer.values[op.body.block.args[0]] = name
    low, high, step = (writer.name(v) for v in (op.lb, op.ub, op.step))
    writer.open(f"for (int64_t {name} = {low}; {name} < {high}; {name} += {step})")
    writer.block(op.body.block)
    writer.close()


def _if(writer: CoreKernel, op: scf.IfOp) -> None:
    writer.open(f"if ({writer.name(op.cond)})")
    writer.block(op.true_region.block)
    if op.false_region.blocks and not isinstance(op.false_region.block.first_op, scf.YieldOp):
        writer.depth -= 1
        writer.line("} else {")
        writer.depth += 1
        writer.block(op.false_region.block)
    writer.close()


def _size(writer: CoreKernel, op: tile.SizeOp) -> None:
    number = op.dim.value
    if number is not None:
        writer.values[op.out] = str(number)
    else:
        writer.define(op.out, c_expression(op.dim, writer.names))


def _read(writer: CoreKernel, op: tile.ReadOp) -> None:
    text = f"*({writer.address(op.view, op.offsets)})"
    if scalar_of(view_type(op.view).element) == IntegerType(1):
        text = f"{text} != 0"
    writer.define(op.out, text)


def _nothing(writer: CoreKernel, op: Operation) -> None:
    pass


_COMMON: dict[type[Operation], Handler] = {
    scf.ForOp: _for,
    scf.IfOp: _if,
    scf.YieldOp: _nothing,
    tile.SizeOp: _size,
    tile.ReadOp: _read,
}
