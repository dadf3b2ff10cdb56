"""Named operands and results of operations, read quickly.

xDSL finds the value behind `op.x` through five calls and an object, whatever the operation.
Passes read little else: it was a tenth of a compilation.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from xdsl.ir import Operation, SSAValue
from xdsl.irdl import BeforeVariadicSingleAccessor, VarIRConstruct

_item = tuple.__getitem__
"""Past that of the values' own class, which looks for slices."""


@dataclass(frozen=True)
class _OperandAccessor(BeforeVariadicSingleAccessor):
    def __get__(self, obj: Operation, objtype: type[Operation] | None = None) -> SSAValue:
        return _item(obj._operands, self.idx)


@dataclass(frozen=True)
class _ResultAccessor(BeforeVariadicSingleAccessor):
    def __get__(self, obj: Operation, objtype: type[Operation] | None = None) -> SSAValue:
        return _item(obj.results, self.idx)


_ACCESSORS = {VarIRConstruct.OPERAND: _OperandAccessor, VarIRConstruct.RESULT: _ResultAccessor}


def read_directly(operations: Iterable[type[Operation]]) -> None:
    """Read the operands and results that always stand at the same place from there; others
    stay as they are, and so does what the classes say of types."""
    for kind in operations:
        for name, accessor in list(vars(kind).items()):
            if type(accessor) is BeforeVariadicSingleAccessor:
                direct = _ACCESSORS.get(accessor.construct)
                if direct is not None:
                    setattr(kind, name, direct(accessor.construct, accessor.idx))
