"""One kernel for all that compute alike with other constants: the pass `tile-share-kernels`.

The layers of a quantised network have the same kernels but for the bounds and zero points of their
quantisations. Code for each of them takes time to make, memory, and the processor's cache of
instructions.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from xdsl.context import Context
from xdsl.dialects import arith
from xdsl.dialects.builtin import (
    ArrayAttr,
    Float32Type,
    Float64Type,
    FloatAttr,
    IndexType,
    IntegerAttr,
    IntegerType,
    ModuleOp,
    SymbolRefAttr,
)
from xdsl.ir import Attribute, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter

from infini_ir.dialects import tile
from infini_ir.dialects.context import weights_of
from infini_ir.dialects.graph.base import ints
from infini_ir.dialects.tile import ViewType, program
from infini_ir.utils.weights import WeightStore

_DTYPES: dict[Attribute, np.dtype] = {
    Float32Type(): np.dtype(np.float32),
    Float64Type(): np.dtype(np.float64),
    **{IntegerType(bits): np.dtype(f"int{bits}") for bits in (8, 16, 32, 64)},
}
"""Types of constants that become elements of a view."""


@dataclass(frozen=True)
class ShareKernelsPass(ModulePass):
    """
    Keeps one of the kernels that differ in nothing but constants of their elementwise maps.

    The constants that differ become elements of views, one for each type, which hold what
    each launch had: small weights. Kernels that differ in nothing at all become one, too.
    """

    name = "tile-share-kernels"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        launches: dict[str, list[program.LaunchOp]] = {}
        for launch in op.walk():
            if isinstance(launch, program.LaunchOp):
                launches.setdefault(launch.kernel.string_value(), []).append(launch)
        candidates = [
            _Candidate(kernel, launches.get(kernel.sym_name.data, []))
            for kernel in op.body.block.ops
            if isinstance(kernel, tile.KernelOp)
        ]
        for similar in _groups(candidates, _Candidate.outline):
            for alike in _groups(similar, _Candidate.key):
                _share(alike, weights_of(ctx))


def _groups(
    candidates: Iterable[_Candidate], key: Callable[[_Candidate], Hashable]
) -> list[list[_Candidate]]:
    """Those of equal keys, where there are several."""
    groups: dict[Hashable, list[_Candidate]] = {}
    for candidate in candidates:
        groups.setdefault(key(candidate), []).append(candidate)
    return [group for group in groups.values() if len(group) > 1]


class _Candidate:
    """A kernel, its launches, and the constants in which it may differ from others."""

    def __init__(self, kernel: tile.KernelOp, launches: Sequence[program.LaunchOp]) -> None:
        self.kernel = kernel
        self.launches = launches
        self.constants = _constants(kernel)

    def outline(self) -> Hashable:
        """What is quick to compare, and tells most kernels apart."""
        arguments = tuple(argument.type for argument in self.kernel.body.block.args)
        names = tuple(op.name for op in self.kernel.body.walk())
        return arguments, self.kernel.bounds, self.kernel.steps, names

    def key(self) -> str:
        """The kernel's text without its name, what it was made from, and the constants' values."""
        values = [constant.value for constant in self.constants]
        for constant in self.constants:
            constant.properties["value"] = _zero(constant.result.type)
        text = self.kernel.anonymous_text()
        for constant, value in zip(self.constants, values, strict=True):
            constant.properties["value"] = value
        return text

    def bits(self, position: int) -> bytes:
        """A constant as memory has it. Zeros of two signs differ, and NaNs may be alike; a signless
        integer may be written as an unsigned one."""
        constant = self.constants[position]
        dtype, value = _DTYPES[constant.result.type], constant.value
        if isinstance(value, FloatAttr):
            return np.array(value.value.data, dtype).tobytes()
        assert isinstance(value, IntegerAttr)
        whole = value.value.data % (1 << 8 * dtype.itemsize)
        return whole.to_bytes(dtype.itemsize, sys.byteorder)

    def call(self, kernel: tile.KernelOp, views: Sequence[SSAValue]) -> None:
        """Launch another kernel instead, with more views."""
        for launch in self.launches:
            launch.properties["kernel"] = SymbolRefAttr(kernel.sym_name.data)
            launch.operands = [*launch.operands, *views]


def _constants(kernel: tile.KernelOp) -> list[arith.ConstantOp]:
    """Constants of maps. What else has constants may want to know them: bounds of loops, the
    values that sums begin with."""
    found = [op for op in kernel.body.walk() if isinstance(op, arith.ConstantOp)]
    return [
        op
        for op in found
        if op.result.type in _DTYPES and isinstance(op.parent_op(), tile.MapOp)
    ]


def _zero(type: Attribute) -> FloatAttr | IntegerAttr:
    if isinstance(type, Float32Type | Float64Type):
        return FloatAttr(0.0, type)
    assert isinstance(type, IntegerType)
    return IntegerAttr(0, type)


def _share(group: Sequence[_Candidate], store: WeightStore) -> None:
    first, *others = group
    differing: dict[Attribute, list[int]] = {}
    for position, constant in enumerate(first.constants):
        equal = all(other.bits(position) == first.bits(position) for other in others)
        if not equal and any(True for _ in constant.result.uses):
            differing.setdefault(constant.result.type, []).append(position)
    views: list[list[SSAValue]] = [[] for _ in group]
    for type, positions in differing.items():
        view = ViewType.of([len(positions)], type)
        for candidate, given in zip(group, views, strict=True):
            given.extend(_weight(candidate, positions, view, store))
    for type, positions in differing.items():
        _read(first, positions, ViewType.of([len(positions)], type))
    for candidate, given in zip(group, views, strict=True):
        candidate.call(first.kernel, given)
        if candidate is not first:
            Rewriter.erase_op(candidate.kernel)


def _weight(
    candidate: _Candidate, positions: Sequence[int], view: ViewType, store: WeightStore
) -> Iterator[SSAValue]:
    """What a kernel's launches had at these positions, if there are any launches."""
    if not candidate.launches:
        return
    bits = b"".join(candidate.bits(position) for position in positions)
    name = f"{candidate.kernel.sym_name.data}.constants"
    handle = store.add(name, np.frombuffer(bits, _DTYPES[view.element]))
    weight = program.WeightOp(handle, view)
    weight.location = candidate.launches[0].location
    entry = _program_of(candidate.launches[0])
    Rewriter.insert_op(weight, InsertPoint.at_start(entry.body.block))
    yield weight.out


def _program_of(launch: program.LaunchOp) -> program.ProgramOp:
    op = launch.parent_op()
    while not isinstance(op, program.ProgramOp):
        assert op is not None
        op = op.parent_op()
    return op


def _read(candidate: _Candidate, positions: Sequence[int], type: ViewType) -> None:
    """Constants as elements of one view more."""
    kernel, block = candidate.kernel, candidate.kernel.body.block
    view = block.insert_arg(type, len(kernel.views))
    for index, position in enumerate(positions):
        constant = candidate.constants[position]
        number = arith.ConstantOp(IntegerAttr(index, IndexType()))
        element = tile.ReadOp(view, [number.result], constant.result.type)
        number.location = element.location = constant.location
        Rewriter.insert_op([number, element], InsertPoint.at_start(block))
        map = constant.parent_op()
        assert isinstance(map, tile.MapOp)
        argument = map.body.block.insert_arg(constant.result.type, len(map.inputs))
        map.properties["dims"] = ArrayAttr([*map.dims.data, ints([])])
        map.operands = [*map.operands, element.out]
        constant.result.replace_all_uses_with(argument)
        Rewriter.erase_op(constant)
