"""Which loops of a kernel are one, and which values of a loop may take a carried tile's name."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.dialects import arith
from xdsl.dialects.builtin import IndexType, IntegerAttr
from xdsl.ir import Block, Operation, SSAValue

from infini_ir.dialects import tile
from infini_ir.dialects.tile.base import yielded


@dataclass(frozen=True)
class KnownLoop:
    """A loop of known length."""

    op: tile.ForOp
    count: int
    step: int


def known_nest(op: tile.ForOp) -> list[KnownLoop]:
    """A loop and those in it, as long as each holds nothing but the next and constants, hands
    on to it what it carries, and is of known length."""
    nest: list[KnownLoop] = []
    following: tile.ForOp | None = op
    while following is not None:
        limit, step = _known(following.to), following.step_size.value
        if limit is None or not step:
            break
        nest.append(KnownLoop(following, max(0, -(-limit // step)), step))
        following = _only_loop(following)
    return nest if all(loop.count for loop in nest) else []


def _known(value: SSAValue) -> int | None:
    """The number that an index is, if that is known."""
    op = value.owner
    if isinstance(op, tile.SizeOp):
        return op.dim.value
    if isinstance(op, arith.ConstantOp) and isinstance(op.value, IntegerAttr):
        return op.value.value.data
    return None


def _only_loop(op: tile.ForOp) -> tile.ForOp | None:
    block = op.body.block
    *others, last = [each for each in block.ops if not isinstance(each, tile.YieldOp)] or [None]
    if not isinstance(last, tile.ForOp):
        return None
    if not all(isinstance(each, arith.ConstantOp | tile.SizeOp) for each in others):
        return None
    handed = list(last.carried) == list(block.args[1:])
    returned = list(yielded(op.body)) == list(last.outs)
    return last if handed and returned else None


def counter_name(op: tile.ForOp) -> str:
    return "k" if any(isinstance(inner, tile.DotOp) for inner in op.body.walk()) else "j"


def is_index(value: SSAValue) -> bool:
    return isinstance(value.type, IndexType)


def may_replace(value: SSAValue, argument: SSAValue, block: Block) -> bool:
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
