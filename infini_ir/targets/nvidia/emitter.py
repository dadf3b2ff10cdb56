"""One readable Triton kernel for each `tile.kernel`.

    emit_kernel(kernel) -> EmittedKernel

The kernel is legalised: capacities are numbers. A tile is a tensor of at least its capacity,
powers of two; its extent is a comparison of lanes with what is left of the view, and lanes
beyond it hold anything: stores leave them out, reductions and products neutralise them.
"""

from __future__ import annotations

import keyword
from collections.abc import Callable, Sequence

from xdsl.dialects import arith
from xdsl.dialects.builtin import IndexType
from xdsl.ir import Block, Operation, SSAValue

from infini_ir.dialects import tile
from infini_ir.dialects.tile import tile_type
from infini_ir.dialects.tile.kernel import yielded
from infini_ir.targets.nvidia.accesses import Accesses
from infini_ir.targets.nvidia.combining import Combining
from infini_ir.targets.nvidia.emitted import Argument, EmittedKernel
from infini_ir.targets.nvidia.frame import Frame, Held
from infini_ir.targets.nvidia.grid import open_grid, program_count
from infini_ir.targets.nvidia.maps import Maps
from infini_ir.targets.nvidia.plan import Plan
from infini_ir.targets.nvidia.scalars import scalar_text
from infini_ir.targets.nvidia.sizes import SYMBOL_LIMIT
from infini_ir.targets.nvidia.values import Text, constant_text, pointer_type
from infini_ir.utils.errors import CompileError

RESERVED = frozenset({"tl", "triton", "libdevice", "nan_max", "nan_min", "multiply"})
HEADER = "import triton\nimport triton.language as tl\n"
LIBDEVICE = "from triton.language.extra import libdevice\n"
OPTIONS = {"enable_fp_fusion": False, "enable_reflect_ftz": False}
"""Arithmetic is as the scalar code says: products and sums are not contracted, and the
functions of libdevice keep subnormal numbers."""

_HELPERS = {
    f"nan_{name}": f"""

@triton.jit
def nan_{name}(a, b):
    return tl.{name}imum(a, b, propagate_nan=tl.PropagateNan.ALL)
"""
    for name in ("max", "min")
} | {
    "multiply": """

@triton.jit
def multiply(a, b):
    return a * b
"""
}


def emit_kernel(kernel: tile.KernelOp) -> EmittedKernel:
    """
    The Triton kernel of a legalised tile kernel, as its plan says.

    Raises `CompileError` for a kernel that is not legalised or has an operation without a
    form in Triton.
    """
    return KernelEmitter(kernel, Plan.read(kernel.plan)).emit()


class KernelEmitter:
    """Writes one kernel."""

    def __init__(self, kernel: tile.KernelOp, plan: Plan) -> None:
        self.kernel = kernel
        self.plan = plan
        self.f = Frame(kernel, plan)
        self.accesses = Accesses(self.f)
        self.maps = Maps(self.f)
        self.combining = Combining(self.f)
        self._rules: dict[type[Operation], Callable[..., None]] = {
            tile.LoadOp: self.accesses.load,
            tile.StoreOp: self.accesses.store,
            tile.GatherOp: self.accesses.gather,
            tile.ScatterOp: self.accesses.scatter,
            tile.ReadOp: self.accesses.read,
            tile.MapOp: self.maps.emit,
            tile.ReduceOp: self.combining.reduce,
            tile.ScanOp: self.combining.scan,
            tile.DotOp: self.combining.dot,
            tile.FullOp: self._full,
            tile.SizeOp: self._size,
            tile.ForOp: self._for,
            arith.ConstantOp: self._constant,
        }

    @property
    def name(self) -> str:
        """The kernel's name, as Python can have it."""
        name = self.kernel.sym_name.data
        return f"{name}_kernel" if keyword.iskeyword(name) or name in RESERVED else name

    def emit(self) -> EmittedKernel:
        """The whole kernel."""
        open_grid(self.f)
        self._block(self.kernel.body.block)
        arguments = self._arguments()
        return EmittedKernel(
            self.name,
            self._source(arguments),
            arguments,
            (program_count(self.kernel),),
            self.plan.warps,
            self.plan.stages,
            SYMBOL_LIMIT if self.f.sizes.narrow and self.f.sizes.symbols else None,
            dict(OPTIONS),
        )

    def _arguments(self) -> tuple[Argument, ...]:
        views = [
            Argument(self.f.pointers[v], pointer_type(tile.view_type(v).element), view=n,
                     divisible=True)
            for n, v in enumerate(self.kernel.views)
        ]  # fmt: skip
        strides = self._stride_symbols()
        type = self.f.sizes.symbol_type.replace("int", "i")
        symbols = [
            Argument(name, type, symbol=symbol, divisible=symbol in strides)
            for symbol, name in self.f.sizes.symbols.items()
        ]
        return (*views, *symbols)

    def _stride_symbols(self) -> frozenset[str]:
        """Symbols that decide how wide accesses are: those of strides and of masked sizes."""
        names: set[str] = set()
        for view in self.kernel.views:
            type = tile.view_type(view)
            for size, stride in zip(type.shape, type.strides, strict=True):
                if stride.exact_divide(16) is None:
                    names |= stride.symbols()
                if stride.value == 1:
                    names |= size.symbols()
        return frozenset(names)

    def _source(self, arguments: Sequence[Argument]) -> str:
        body = self.f.writer.text()
        head = HEADER + (LIBDEVICE if "libdevice." in body else "")
        helpers = [
            text
            for name, text in _HELPERS.items()
            if f", {name})" in body or f", {name}," in body
        ]
        names = [
            a.name if a.view is not None else f"{a.name}: tl.{a.type.replace('i', 'int')}"
            for a in arguments
        ]
        lines = [f"\n\n@triton.jit\ndef {self.name}({', '.join(names)}):\n"]
        if self.kernel.origin is not None:
            lines.append(f"    # from {self.kernel.origin.data}\n")
        if self.plan.reason:
            lines.append(f"    # plan: {self.plan.reason}\n")
        return "".join([head, *helpers, *lines, body])

    # Blocks

    def _block(self, block: Block) -> None:
        for op in block.ops:
            if isinstance(op, tile.YieldOp):
                continue
            rule = self._rules.get(type(op), self._scalar)
            try:
                rule(op)
            except CompileError as error:
                name = self.kernel.sym_name.data
                raise CompileError(f"kernel '{name}': {error}") from error
            for result in op.results:
                self.f.define_limits(result)

    def _scalar(self, op: Operation) -> None:
        """A scalar operation between tiles."""
        texts = scalar_text(op, [self.f.scalars[value] for value in op.operands])
        for result, text in zip(op.results, texts, strict=True):
            is_short = text.atom or (result.has_one_use() and len(text.text) < 40)
            if not (is_short or text.literal):
                name = self.f.name_for(result, "i" if _is_index(result) else "s")
                self.f.writer.line(f"{name} = {text.text}")
                text = Text(
                    name, text.type, plain=text.plain, bound=text.bound, natural=text.natural
                )
            self.f.scalars[result] = text

    def _constant(self, op: arith.ConstantOp) -> None:
        self.f.scalars[op.result] = constant_text(op.value, op.result.type)

    def _size(self, op: tile.SizeOp) -> None:
        self.f.scalars[op.out] = self.f.sizes.text(op.dim)

    def _full(self, op: tile.FullOp) -> None:
        """A number is written where it is used; a scalar fills a tile."""
        scalar = self.f.scalars[op.scalar]
        if scalar.literal:
            self.f.tiles[op.out] = Held(scalar)
            return
        shape = self.f.shapes.of(op.out)
        text = f"tl.full({list(shape.sizes)}, {scalar.text}, tl.{scalar.type})"
        self.accesses.give(op.out, text if shape.lanes else scalar.typed().text, "fill")

    # Loops

    def _for(self, op: tile.ForOp) -> None:
        f, block = self.f, op.body.block
        position, *arguments = block.args
        names = [
            self._begin(argument, start)
            for argument, start in zip(arguments, op.carried, strict=True)
        ]
        step = op.step_size.value
        if step is None:
            raise CompileError(
                f"the step {op.step_size} of a loop is not fixed; run nvidia-plan"
            )
        limit = f.scalars[op.to]
        counter = f.name_for(position, _counter(op))
        spaced = f", {step}" if step != 1 else ""
        f.writer.line(f"for {counter} in range(0, {limit.text}{spaced}):")
        bound = limit.bound
        f.scalars[position] = Text(counter, limit.type, plain=True, bound=bound, natural=True)
        lines = len(f.writer.body)
        with f.writer.indented():
            f.define_limits(position)
            for value, argument, name in zip(yielded(op.body), arguments, names, strict=True):
                if _may_replace(value, argument, block):
                    f.wanted[value] = name
            self._block(block)
            self._advance(yielded(op.body), names)
            if len(f.writer.body) == lines:
                f.writer.line("pass")
        for out, name, value in zip(op.outs, names, op.carried, strict=True):
            f.tiles[out] = Held(Text(name, f.tiles[value].text.type))

    def _begin(self, argument: SSAValue, start: SSAValue) -> str:
        """Give a carried tile its name and its first value."""
        f, held = self.f, self.f.tiles[start]
        if held.text.text in f.carried and start.has_one_use():
            name = held.text.text
        else:
            fallback = "acc" if tile_type(start).rank > 1 else "carried"
            name = f.name_for(argument, fallback)
            f.writer.line(f"{name} = {f.whole(start).typed().text}")
        f.carried.add(name)
        f.tiles[argument] = Held(Text(name, held.text.type))
        return name

    def _advance(self, values: Sequence[SSAValue], names: Sequence[str]) -> None:
        """The carried tiles of the next iteration, all at once."""
        pairs = [
            (name, self.f.whole(value).typed().text)
            for name, value in zip(names, values, strict=True)
        ]
        pairs = [(name, text) for name, text in pairs if name != text]
        if pairs:
            left = ", ".join(name for name, _ in pairs)
            right = ", ".join(text for _, text in pairs)
            self.f.writer.line(f"{left} = {right}")


def _counter(op: tile.ForOp) -> str:
    return "k" if any(isinstance(inner, tile.DotOp) for inner in op.body.walk()) else "j"


def _is_index(value: SSAValue) -> bool:
    return isinstance(value.type, IndexType)


def _may_replace(value: SSAValue, argument: SSAValue, block: Block) -> bool:
    """Whether a value that a loop gives may take the name of what it replaces, where it is
    computed: nothing reads the old one from there on."""
    op = value.owner
    if not isinstance(op, Operation) or op.parent is not block or len(op.results) != 1:
        return False
    if sum(1 for use in value.uses if isinstance(use.operation, tile.YieldOp)) != 1:
        return False
    later = False
    users = {_outer(use.operation, block) for use in argument.uses}
    for other in block.ops:
        if later and other in users:
            return False
        later = later or other is op
    return not isinstance(op, tile.ForOp)


def _outer(op: Operation, block: Block) -> Operation:
    """The operation of a block that holds another, or is it."""
    while op.parent is not block:
        parent = op.parent_op()
        assert parent is not None
        op = parent
    return op
