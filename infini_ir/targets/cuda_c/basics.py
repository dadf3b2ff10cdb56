"""Operations of a program that give scalars, the same in all its threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xdsl.dialects import arith
from xdsl.dialects.builtin import IndexType, IntegerAttr
from xdsl.ir import Operation

from infini_ir.dialects import tile
from infini_ir.targets.cuda_c.scalars import constant, expression, scalar_type
from infini_ir.targets.cuda_c.sources import At, ScalarSource
from infini_ir.targets.cuda_c.writer import KernelWriter, is_literal
from infini_ir.utils.symbolic import Dim


def one(k: KernelWriter, op: Operation) -> None:
    """A scalar operation, a size, an element that is read, or a tile of one scalar."""
    handler = _HANDLERS.get(op.__class__, _scalar)
    handler(k, op)


def _scalar(k: KernelWriter, op: Operation) -> None:
    if isinstance(op, arith.ConstantOp):
        k.scalars[op.result] = constant(op)
        return
    operands = [k.scalar(v) for v in op.operands]
    text = _folded(op, operands)
    if text is None:
        name = op.results[0].name_hint or "s"
        text = k.define(name, scalar_type(op.results[0].type), expression(op, operands))
    k.scalars[op.results[0]] = text


_FOLDED: dict[type[Operation], Callable[[int, int], int]] = {
    arith.AddiOp: lambda a, b: a + b,
    arith.SubiOp: lambda a, b: a - b,
    arith.MuliOp: lambda a, b: a * b,
    arith.MinSIOp: min,
    arith.MaxSIOp: max,
}


def _folded(op: Operation, operands: Sequence[str]) -> str | None:
    """Index arithmetic of known numbers."""
    rule = _FOLDED.get(op.__class__)
    if rule is None or not isinstance(op.results[0].type, IndexType):
        return None
    if all(is_literal(v) for v in operands):
        return str(rule(int(operands[0]), int(operands[1])))
    if isinstance(op, arith.AddiOp) and "0" in operands:
        return operands[1] if operands[0] == "0" else operands[0]
    return None


def _full(k: KernelWriter, op: tile.FullOp) -> None:
    text = k.scalar(op.scalar)
    k.sources[op.out] = ScalarSource(text)


def _size(k: KernelWriter, op: tile.SizeOp) -> None:
    k.scalars[op.out] = str(k.size(op.dim))


def _read(k: KernelWriter, op: tile.ReadOp) -> None:
    source = k.slice_of(op.view, op.offsets, (), None)
    texts: list[str] = []
    k.step(lambda: texts.append(source.at(k, At(()))))
    k.scalars[op.out] = texts[0]


def bound_of(k: KernelWriter, op: tile.ForOp) -> Dim:
    """What a loop runs to, -1 where only the running program knows."""
    owner = op.to.owner
    if isinstance(owner, arith.ConstantOp) and isinstance(owner.value, IntegerAttr):
        return Dim.of(owner.value.value.data)
    return k.known(owner.dim) if isinstance(owner, tile.SizeOp) else Dim.of(-1)


_HANDLERS: dict[type[Operation], Callable[..., None]] = {
    tile.FullOp: _full,
    tile.SizeOp: _size,
    tile.ReadOp: _read,
}
