"""What passes on host programs share: which memory a view is, and where it is used."""

from __future__ import annotations

from collections.abc import Iterator

from xdsl.ir import Block, Operation, SSAValue

from infini_ir.dialects.tile import program


def root_of(view: SSAValue) -> SSAValue:
    """The argument, allocation or weight that a view is (a part of)."""
    while isinstance(view.owner, program.AliasOp):
        view = view.owner.source
    return view


def regions_of(op: Operation) -> Iterator[Block]:
    """The blocks of a control operation of a host program."""
    for region in op.regions:
        yield from region.blocks
