"""Kernels with their plan carried out: the pass `nvidia-legalise`.

The sizes of tiles, steps of loops and of the grid become the plan's numbers, so that the
text shows what the emitter will write. Products of tiles of two float types get one type.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from xdsl.builder import Builder
from xdsl.context import Context
from xdsl.dialects import arith, math
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.utils.fast_math import FastMathFlag
from xdsl.ir import Block, BlockArgument, Operation, Region, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter

from infini_ir.dialects import tile
from infini_ir.dialects.context import CompilerContext
from infini_ir.dialects.dims import DimsAttr
from infini_ir.dialects.tile import TileType, tile_type
from infini_ir.dialects.tile.base import yielded
from infini_ir.targets.nvidia.plan import Plan
from infini_ir.utils.symbolic import Dim


@dataclass(frozen=True)
class NvidiaLegalisePass(ModulePass):
    """Puts the numbers of a kernel's plan into its types, steps and sizes, and rounds what a
    product takes to one element type where nothing is lost by it. The context keeps the
    kernels as they were."""

    name = "nvidia-legalise"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for kernel in op.body.block.ops:
            if isinstance(kernel, tile.KernelOp):
                if isinstance(ctx, CompilerContext):
                    ctx.originals[kernel.sym_name.data] = kernel.clone()
                legalise(kernel)


def legalise(kernel: tile.KernelOp) -> None:
    """Carry out the plan of one kernel."""
    substitution = Plan.read(kernel.plan).substitution
    _substitute(kernel, substitution)
    for op in list(kernel.body.walk()):
        if isinstance(op, tile.DotOp):
            _agree(op)


def _substitute(kernel: tile.KernelOp, numbers: Mapping[str, Dim]) -> None:
    kernel.properties["steps"] = _replaced(kernel.steps, numbers)
    kernel.properties["bounds"] = _replaced(kernel.bounds, numbers)
    for op in list(kernel.body.walk()):
        if isinstance(op, tile.ForOp):
            op.properties["step"] = _replaced(op.step, numbers)
        elif isinstance(op, tile.SizeOp):
            op.properties["size"] = _replaced(op.size, numbers)
        values: list[SSAValue] = [*op.results]
        for region in op.regions:
            for block in region.blocks:
                values += block.args
        for value in values:
            if isinstance(value.type, TileType) and not all(
                d.is_constant for d in value.type.shape
            ):
                type = TileType(_replaced(value.type.dims, numbers), value.type.element)
                assert isinstance(value, BlockArgument) or value.owner is op
                Rewriter.replace_value_with_new_type(value, type)


def _replaced(dims: DimsAttr, numbers: Mapping[str, Dim]) -> DimsAttr:
    return DimsAttr(tuple(dim.substitute(numbers) for dim in dims.data))


# Products of two float types ----------------------------------------------------------------


def _agree(dot: tile.DotOp) -> None:
    """
    Round an f32 operand to the other's half precision where it is known to lie in [0, 1],
    as the weights of a softmax do; elsewhere the emitter widens the half. The device's own
    exponential, wrong by 2^-24 of the greatest weight at most, is enough for such weights.
    """
    lhs, rhs = tile_type(dot.lhs).dtype, tile_type(dot.rhs).dtype
    if lhs != "f32" or rhs not in ("f16", "bf16"):
        return
    power = _share(dot.lhs)
    if power is not None:
        power.properties["fastmath"] = arith.FastMathFlagsAttr([FastMathFlag.APPROX_FUNC])
        dot.operands[0] = _narrowed(dot, dot.lhs, tile_type(dot.rhs))


def _narrowed(dot: tile.DotOp, value: SSAValue, like: TileType) -> SSAValue:
    given = tile_type(value)
    scalar = like.element
    block = Block(arg_types=[given.element])
    made = arith.TruncFOp(block.args[0], scalar)  # pyright: ignore[reportArgumentType]
    block.add_ops([made, tile.YieldOp([made.result])])
    out = TileType(given.dims, scalar)
    op = tile.MapOp([value], [list(range(given.rank))], [out], Region(block))
    op.location = dot.location
    Builder(InsertPoint.before(dot)).insert(op)
    return op.outs[0]


def _share(value: SSAValue) -> math.ExpOp | None:
    """The exponential of a tile that holds those of what lies below its maximum:
    `exp(x - m)` with an `m` that a reduction of the same `x` was taken into."""
    op = value.owner
    if not isinstance(op, tile.MapOp):
        return None
    result = _result(op, value)
    power = _exponential(result)
    if power is None or not isinstance(power.operand.owner, arith.SubfOp):
        return None
    difference = power.operand.owner
    source, greatest = _input(op, difference.lhs), _input(op, difference.rhs)
    if source is None or greatest is None or not _bounds(greatest, source):
        return None
    return power


def _result(op: tile.MapOp, value: SSAValue) -> SSAValue:
    """The scalar that a map gives for one of its tiles."""
    number = next(i for i, out in enumerate(op.outs) if out is value)
    return yielded(op.body)[number]


def _exponential(value: SSAValue) -> math.ExpOp | None:
    """The exponential that a scalar is, or is where it is not a constant of 0."""
    op = value.owner
    if isinstance(op, arith.SelectOp):
        for chosen, other in ((op.lhs, op.rhs), (op.rhs, op.lhs)):
            if isinstance(other.owner, arith.ConstantOp) and isinstance(
                chosen.owner, math.ExpOp
            ):
                return chosen.owner
        return None
    return op if isinstance(op, math.ExpOp) else None


def _input(op: tile.MapOp, scalar: SSAValue) -> SSAValue | None:
    """The tile that a scalar of a map is an element of."""
    if isinstance(scalar, BlockArgument) and scalar.owner is op.body.block:
        return op.inputs[scalar.index]
    return None


def _bounds(greatest: SSAValue, source: SSAValue) -> bool:
    """Whether a tile is a maximum that a reduction of another went into."""
    op: Operation | Block = greatest.owner
    if isinstance(op, tile.ReduceOp):
        return op.kind.data is tile.ReduceKind.max and op.x is source
    if not isinstance(op, tile.MapOp):
        return False
    result = _result(op, greatest)
    if not isinstance(result.owner, arith.MaximumfOp):
        return False
    inputs = [_input(op, operand) for operand in result.owner.operands]
    return any(given is not None and _bounds(given, source) for given in inputs)
