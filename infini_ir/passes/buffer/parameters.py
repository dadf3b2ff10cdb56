"""Putting numbers in the place of a kernel's parameters."""

from __future__ import annotations

from collections.abc import Mapping

from xdsl.ir import Attribute, Operation, SSAValue

from infini_ir.dialects import tile
from infini_ir.dialects.dims import DimsAttr
from infini_ir.dialects.tile import TileType
from infini_ir.utils.symbolic import PARAMETERS, Dim


def parameters_of(kernel: tile.KernelOp) -> tuple[str, ...]:
    """Names of the parameters that a kernel's steps and capacities use, in order."""
    used: set[str] = set()
    for dims in _all_dims(kernel):
        for dim in dims.data:
            used |= dim.symbols()
    return tuple(name for name in PARAMETERS if name in used)


def _all_dims(kernel: tile.KernelOp) -> list[DimsAttr]:
    found = [kernel.steps]
    for op in kernel.body.walk():
        found += [a for a in op.properties.values() if isinstance(a, DimsAttr)]
        found += [v.type.dims for v in _values(op) if isinstance(v.type, TileType)]
    return found


def _values(op: Operation) -> list[SSAValue]:
    blocks = [block for region in op.regions for block in region.blocks]
    return [*op.results, *(a for block in blocks for a in block.args)]


def set_parameters(kernel: tile.KernelOp, numbers: Mapping[str, int]) -> None:
    """Replace parameters by numbers in steps, capacities and sizes."""
    dims = {name: Dim.of(number) for name, number in numbers.items()}

    def changed(attribute: Attribute) -> Attribute:
        if isinstance(attribute, DimsAttr):
            return DimsAttr(tuple(dim.substitute(dims) for dim in attribute.data))
        if isinstance(attribute, TileType):
            return TileType.of([d.substitute(dims) for d in attribute.shape], attribute.element)
        return attribute

    kernel.properties["steps"] = changed(kernel.steps)
    for op in kernel.body.walk():
        for key, attribute in list(op.properties.items()):
            if isinstance(attribute, DimsAttr):
                op.properties[key] = changed(attribute)
        for value in _values(op):
            if isinstance(value.type, TileType):
                value._type = changed(value.type)  # pyright: ignore[reportPrivateUsage]
