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
from xdsl.ir import Block, Operation, SSAValue

from infini_ir.dialects import tile
from infini_ir.dialects.tile import tile_type
from infini_ir.dialects.tile.base import yielded
from infini_ir.targets.nvidia.accesses import Accesses
from infini_ir.targets.nvidia.combining import Combining
from infini_ir.targets.nvidia.emitted import Argument, EmittedKernel
from infini_ir.targets.nvidia.frame import Frame, Held
from infini_ir.targets.nvidia.grid import open_grid, program_count
from infini_ir.targets.nvidia.loops import (
    KnownLoop,
    counter_name,
    is_index,
    known_nest,
    may_replace,
)
from infini_ir.targets.nvidia.maps import Maps
from infini_ir.targets.nvidia.plan import Plan
from infini_ir.targets.nvidia.scalars import scalar_text
from infini_ir.targets.nvidia.sizes import SYMBOL_LIMIT
from infini_ir.targets.nvidia.values import Text, constant_text, number_text, pointer_type
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

    def _block(self, block: Block, leave: type[Operation] = tile.YieldOp) -> None:
        """The operations of a block, without those of one kind and its end."""
        for op in block.ops:
            if isinstance(op, leave | tile.YieldOp):
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
                name = self.f.name_for(result, "i" if is_index(result) else "s")
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
        """A loop; one over products in two parts, the second with masks."""
        nest = known_nest(op)
        if len(nest) > 1:
            self._one_loop(nest)
            return
        f = self.f
        position, *arguments = op.body.block.args
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
        counter = f.name_for(position, counter_name(op))
        whole = self._whole_steps(op, limit, step)
        if whole is None:
            self._iterate(op, counter, ("0", limit.text, step), names, limit)
        else:
            end, start = whole
            with f.without_limit(position):
                self._iterate(op, counter, ("0", end, step), names, limit)
            self._iterate(op, counter, (start, limit.text, step), names, limit)
        for out, name, value in zip(op.outs, names, op.carried, strict=True):
            f.tiles[out] = Held(Text(name, f.tiles[value].text.type))

    def _one_loop(self, nest: Sequence[KnownLoop]) -> None:
        """A nest of loops that does nothing between them as one loop, so that the loads of
        all its iterations are under way at once."""
        f, outer, inner = self.f, nest[0].op, nest[-1].op
        names = [
            self._begin(argument, start)
            for argument, start in zip(inner.body.block.args[1:], outer.carried, strict=True)
        ]
        turn = f.writer.name("turn")
        total = 1
        for loop in nest:
            total *= loop.count
        f.writer.line(f"for {turn} in range(0, {total}):")
        with f.writer.indented():
            after = total
            for loop in nest:
                after //= loop.count
                self._open_loop(loop, turn, after, outermost=loop is nest[0])
                if loop is not nest[-1]:
                    self._block(loop.op.body.block, leave=tile.ForOp)
            self._body(inner, names)
        for out, name, value in zip(outer.outs, names, outer.carried, strict=True):
            f.tiles[out] = Held(Text(name, f.tiles[value].text.type))

    def _open_loop(self, loop: KnownLoop, turn: str, after: int, *, outermost: bool) -> None:
        """The position of one loop of a nest, from the number of the turn."""
        f, position = self.f, loop.op.body.block.args[0]
        if loop.count == 1:
            f.scalars[position] = number_text(0, "int32")
        else:
            number = turn if after == 1 else f"{turn} // {after}"
            number = number if outermost else f"{number} % {loop.count}"
            text = number if loop.step == 1 else f"({number}) * {loop.step}"
            name = f.name_for(position, counter_name(loop.op))
            f.writer.line(f"{name} = {text}")
            bound = (loop.count - 1) * loop.step
            f.scalars[position] = Text(name, "int32", plain=True, bound=bound, natural=True)
        f.define_limits(position)

    def _body(self, op: tile.ForOp, names: Sequence[str]) -> None:
        """The operations of a loop, and what it carries on."""
        f, block = self.f, op.body.block
        values, arguments = yielded(op.body), block.args[1:]
        for value, argument, name in zip(values, arguments, names, strict=True):
            if may_replace(value, argument, block):
                f.wanted[value] = name
        self._block(block)
        self._advance(values, names)

    def _whole_steps(self, op: tile.ForOp, limit: Text, step: int) -> tuple[str, str] | None:
        """Where a loop over products is cut in two, so that only the last iteration has
        masks along its axis: where the first part ends and the second begins. None where
        nothing is masked, or nothing is left without masks."""
        f, position = self.f, op.body.block.args[0]
        sizes = {extent.size for extent, _ in f.needed.get(position, ())}
        inner = list(op.body.block.walk())
        has_product = any(isinstance(each, tile.DotOp) for each in inner)
        if len(sizes) != 1 or not has_product or any(isinstance(e, tile.ForOp) for e in inner):
            return None
        (size,) = sizes
        known = (size // step * step).value
        if known == 0:
            return None
        if known is not None:
            start = str(known)
        else:
            start = f.writer.name("whole")
            text = f.sizes.text(size)
            f.writer.line(f"{start} = {text.operand} // {step} * {step}")
        same = (
            self.f.extents.ranges.greatest(op.to) is size
            and limit.text == f.sizes.text(size).text
        )
        return (start if same else f"tl.minimum({limit.text}, {start})"), start

    def _iterate(
        self,
        op: tile.ForOp,
        counter: str,
        bounds: tuple[str, str, int],
        names: Sequence[str],
        limit: Text,
    ) -> None:
        """One Python loop over the body of a loop."""
        f, position = self.f, op.body.block.args[0]
        first, end, step = bounds
        spaced = f", {step}" if step != 1 else ""
        f.writer.line(f"for {counter} in range({first}, {end}{spaced}):")
        f.scalars[position] = Text(
            counter, limit.type, plain=True, bound=limit.bound, natural=True
        )
        lines = len(f.writer.body)
        with f.writer.indented():
            f.define_limits(position)
            self._body(op, names)
            if len(f.writer.body) == lines:
                f.writer.line("pass")

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
