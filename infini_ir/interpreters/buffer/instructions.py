"""Vector instructions in the buffer interpreter."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from xdsl.ir import Operation, SSAValue

from infini_ir.dialects.buffer import (
    BinaryFunction,
    Comparison,
    MaskFunction,
    Rounding,
    UnaryFunction,
    local_type,
    rows,
    vector,
)
from infini_ir.dialects.tile import ReduceKind
from infini_ir.interpreters.buffer.local import Lanes
from infini_ir.interpreters.tile.memory import Array
from infini_ir.utils.dtypes import is_float, numpy_dtype
from infini_ir.utils.errors import ModelError

if TYPE_CHECKING:
    from infini_ir.interpreters.buffer.kernel import Core


def _in_f64(rule: Callable[[Array], Array]) -> Callable[[Array], Array]:
    return lambda x: rule(x.astype(np.float64)).astype(x.dtype)


def _erf(x: Array) -> Array:
    from math import erf

    return np.array([erf(v) for v in x], np.float64)


_UNARY: dict[UnaryFunction, Callable[[Array], Array]] = {
    UnaryFunction.exp: _in_f64(np.exp),
    UnaryFunction.ln: _in_f64(np.log),
    UnaryFunction.sqrt: np.sqrt,
    UnaryFunction.rsqrt: _in_f64(lambda x: 1 / np.sqrt(x)),
    UnaryFunction.reciprocal: _in_f64(lambda x: 1 / x),
    UnaryFunction.abs: np.abs,
    UnaryFunction.neg: np.negative,
    UnaryFunction.relu: lambda x: np.maximum(x, x.dtype.type(0)),
    UnaryFunction.floor: np.floor,
    UnaryFunction.ceil: np.ceil,
    UnaryFunction.round_even: np.rint,
    UnaryFunction.trunc: np.trunc,
    UnaryFunction.bit_not: np.bitwise_not,
    UnaryFunction.sin: _in_f64(np.sin),
    UnaryFunction.cos: _in_f64(np.cos),
    UnaryFunction.tanh: _in_f64(np.tanh),
    UnaryFunction.erf: _in_f64(_erf),
    UnaryFunction.sigmoid: _in_f64(lambda x: 1 / (1 + np.exp(-x))),
}


def _shift(rule: Callable[[Array, Array], Array]) -> Callable[[Array, Array], Array]:
    def run(a: Array, b: Array) -> Array:
        unsigned = a.view(f"u{a.dtype.itemsize}")
        return rule(unsigned, np.asarray(b).astype(unsigned.dtype)).view(a.dtype)

    return run


_BINARY: dict[BinaryFunction, Callable[[Array, Array], Array]] = {
    BinaryFunction.add: np.add,
    BinaryFunction.sub: np.subtract,
    BinaryFunction.mul: np.multiply,
    BinaryFunction.div: np.divide,
    BinaryFunction.max: np.maximum,
    BinaryFunction.min: np.minimum,
    BinaryFunction.bit_and: np.bitwise_and,
    BinaryFunction.bit_or: np.bitwise_or,
    BinaryFunction.bit_xor: np.bitwise_xor,
    BinaryFunction.shift_left: _shift(np.left_shift),
    BinaryFunction.shift_right: np.right_shift,
    BinaryFunction.shift_right_unsigned: _shift(np.right_shift),
}

_COMPARE: dict[Comparison, Callable[[Array, Array], Array]] = {
    Comparison.eq: np.equal,
    Comparison.ne: np.not_equal,
    Comparison.lt: np.less,
    Comparison.le: np.less_equal,
    Comparison.gt: np.greater,
    Comparison.ge: np.greater_equal,
}

_MASK: dict[MaskFunction, Callable[[Array, Array], Array]] = {
    MaskFunction.bit_and: np.logical_and,
    MaskFunction.bit_or: np.logical_or,
    MaskFunction.bit_xor: np.logical_xor,
}


def _read(core: Core, local: SSAValue, offset: SSAValue, count: int) -> Lanes:
    return core.local(local).read(core.index(offset), count)


def _check_overlap(
    core: Core, op: Any, count: int, sources: list[tuple[SSAValue, SSAValue]]
) -> None:
    """The destination is a source at the same place, or apart from it."""
    target = core.local(op.dst)
    low, high = target.span(core.index(op.dst_offset), count)
    for value, offset in sources:
        local = core.local(value)
        first, last = local.span(core.index(offset), count)
        same = first == low and local.bits == target.bits
        if first < high and low < last and not same:
            raise ModelError("the destination overlaps a source")


def _elementwise(
    core: Core,
    op: Any,
    sources: list[tuple[SSAValue, SSAValue]],
    rule: Callable[..., Array],
    *,
    choose: bool = False,
) -> None:
    count = core.index(op.count)
    if count <= 0:
        return
    _check_overlap(core, op, count, sources)
    lanes = [_read(core, *source, count) for source in sources]
    valid = np.ones(count, np.bool_)
    for number, lane in enumerate(lanes):
        if not choose or number == 0:
            valid &= lane.valid
    if choose:
        valid &= np.where(lanes[0].data, lanes[1].valid, lanes[2].valid)
    data = rule(*(lane.data for lane in lanes))
    core.local(op.dst).write(core.index(op.dst_offset), Lanes(np.asarray(data), valid))


def _typed(core: Core, value: SSAValue, local: SSAValue) -> Any:
    return np.asarray(core.values[value]).astype(numpy_dtype(local_type(local).dtype))


def unary(core: Core, op: vector.UnaryOp) -> None:
    """f(x)"""
    _elementwise(core, op, [(op.src, op.src_offset)], _UNARY[op.function.data])


def binary(core: Core, op: vector.BinaryOp) -> None:
    """f(x, y)"""
    sources = [(op.lhs, op.lhs_offset), (op.rhs, op.rhs_offset)]
    _elementwise(core, op, sources, _BINARY[op.function.data])


def binary_scalar(core: Core, op: vector.BinaryScalarOp) -> None:
    """f(x, c)"""
    rule, value = _BINARY[op.function.data], _typed(core, op.scalar, op.src)
    _elementwise(core, op, [(op.src, op.src_offset)], lambda x: rule(x, value))


def compare(core: Core, op: vector.CompareOp) -> None:
    """x ? y"""
    sources = [(op.lhs, op.lhs_offset), (op.rhs, op.rhs_offset)]
    _elementwise(core, op, sources, _COMPARE[op.relation.data])


def compare_scalar(core: Core, op: vector.CompareScalarOp) -> None:
    """x ? c"""
    rule, value = _COMPARE[op.relation.data], _typed(core, op.scalar, op.src)
    _elementwise(core, op, [(op.src, op.src_offset)], lambda x: rule(x, value))


def mask_binary(core: Core, op: vector.MaskBinaryOp) -> None:
    """Lanes of two masks."""
    sources = [(op.lhs, op.lhs_offset), (op.rhs, op.rhs_offset)]
    _elementwise(core, op, sources, _MASK[op.function.data])


def _move(rule: Callable[[Array], Array]) -> Callable[[Core, Any], None]:
    return lambda core, op: _elementwise(core, op, [(op.src, op.src_offset)], rule)


def select(core: Core, op: vector.SelectOp) -> None:
    """m ? x : y"""
    sources = [(op.mask, op.mask_offset), (op.lhs, op.lhs_offset), (op.rhs, op.rhs_offset)]
    _elementwise(core, op, sources, np.where, choose=True)


def cast(core: Core, op: vector.CastOp) -> None:
    """x in another type."""
    source, target = (numpy_dtype(local_type(v).dtype) for v in (op.src, op.dst))
    unsigned, rounding = op.unsigned is not None, op.rounding.data
    from_float, to_float = (is_float(local_type(v).dtype) for v in (op.src, op.dst))

    def run(x: Array) -> Array:
        if not from_float and unsigned:
            x = x.view(f"u{source.itemsize}")
        if not from_float or to_float:
            return x.astype(target)
        return _to_integer(x, target, rounding, unsigned)

    _elementwise(core, op, [(op.src, op.src_offset)], run)


def _to_integer(x: Array, target: np.dtype, rounding: Rounding, unsigned: bool) -> Array:
    rules = {
        Rounding.nearest_even: np.rint, Rounding.trunc: np.trunc,
        Rounding.floor: np.floor, Rounding.ceil: np.ceil, Rounding.exact: np.asarray,
    }  # fmt: skip
    whole = rules[rounding](x.astype(np.float64))
    dtype = np.dtype(f"u{target.itemsize}") if unsigned else target
    info = np.iinfo(dtype)
    whole = np.where(np.isnan(whole), 0, whole)
    inside = np.where((whole >= float(info.min)) & (whole < float(info.max)), whole, 0)
    result = inside.astype(dtype)
    result[whole >= float(info.max)] = info.max
    result[whole < float(info.min)] = info.min
    return result.view(target)


def fill(core: Core, op: vector.FillOp) -> None:
    """c everywhere."""
    value, count = _typed(core, op.scalar, op.dst), core.index(op.count)
    _elementwise(core, op, [], lambda: np.full(count, value))


def iota(core: Core, op: vector.IotaOp) -> None:
    """start + i"""
    value, count = _typed(core, op.start, op.dst), core.index(op.count)
    _elementwise(core, op, [], lambda: value + np.arange(count, dtype=value.dtype))


_REDUCE: dict[ReduceKind, Callable[..., Any]] = {
    ReduceKind.add: np.add.reduce,
    ReduceKind.mul: np.multiply.reduce,
    ReduceKind.max: np.maximum.reduce,
    ReduceKind.min: np.minimum.reduce,
}
_LOSING_NAN: dict[ReduceKind, Callable[..., Any]] = {
    **_REDUCE,
    ReduceKind.max: np.fmax.reduce,
    ReduceKind.min: np.fmin.reduce,
}


def reduce(core: Core, op: rows.ReduceOp) -> None:
    """A row to one element."""
    count = core.index(op.count)
    if count < 1:
        raise ModelError("reduces nothing")
    data = _read(core, op.src, op.src_offset, count).demand("reduces")
    for work in op.work:
        held = core.local(work)
        first, last = held.span(0, held.type.count)
        core.memory.valid[first:last] = False
    rules = _REDUCE if core.memory.limits.reduce_carries_nan else _LOSING_NAN
    result = np.asarray(rules[op.kind.data](data)).astype(data.dtype)
    lanes = Lanes(result.reshape(1), np.ones(1, np.bool_))
    core.local(op.dst).write(core.index(op.dst_offset), lanes, aligned=False)


def transpose(core: Core, op: rows.TransposeOp) -> None:
    """Rows to columns."""
    count, length = core.index(op.rows), core.index(op.columns)
    to, source = core.local(op.dst), core.local(op.src)
    begin, end = core.index(op.src_offset), core.index(op.dst_offset)
    pitch_to, pitch = op.pitch_list
    if count <= 0 or length <= 0:
        return
    given = [source.read(begin + i * pitch, length) for i in range(count)]
    for j in range(length):
        data = np.array([lane.data[j] for lane in given], given[0].data.dtype)
        valid = np.array([lane.valid[j] for lane in given])
        to.write(end + j * pitch_to, Lanes(data, valid))


def dot(core: Core, op: rows.DotOp) -> None:
    """acc += lhs x rhs"""
    m, n, k = (core.index(v) for v in (op.m, op.n, op.k))
    if m <= 0 or n <= 0 or k <= 0:
        return
    acc_pitch, lhs_pitch, rhs_pitch = op.pitch_list

    def matrix(value: SSAValue, offset: SSAValue, pitch: int, height: int, width: int) -> Array:
        local, begin = core.local(value), core.index(offset)
        return np.stack(
            [local.read(begin + i * pitch, width).demand("multiplies") for i in range(height)]
        )

    acc = matrix(op.acc, op.acc_offset, acc_pitch, m, n)
    lhs = matrix(op.lhs, op.lhs_offset, lhs_pitch, m, k).astype(acc.dtype)
    turned = op.transposed is not None
    shape = (n, k) if turned else (k, n)
    rhs = matrix(op.rhs, op.rhs_offset, rhs_pitch, *shape).astype(acc.dtype)
    total = acc + np.matmul(lhs, rhs.T if turned else rhs)
    target, begin = core.local(op.acc), core.index(op.acc_offset)
    for i in range(m):
        target.write(begin + i * acc_pitch, Lanes(total[i], np.ones(n, np.bool_)))


def extract(core: Core, op: rows.ExtractOp) -> None:
    """One element to the scalar unit."""
    lanes = core.local(op.src).read(core.index(op.src_offset), 1, aligned=False)
    core.values[op.out] = lanes.demand("extracts").reshape(())


def insert(core: Core, op: rows.InsertOp) -> None:
    """One element from the scalar unit."""
    value = _typed(core, op.scalar, op.dst).reshape(1)
    lanes = Lanes(value, np.ones(1, np.bool_))
    core.local(op.dst).write(core.index(op.dst_offset), lanes, aligned=False)


RULES: dict[type[Operation], Callable[[Core, Any], None]] = {
    vector.UnaryOp: unary,
    vector.BinaryOp: binary,
    vector.BinaryScalarOp: binary_scalar,
    vector.CompareOp: compare,
    vector.CompareScalarOp: compare_scalar,
    vector.MaskBinaryOp: mask_binary,
    vector.MaskNotOp: _move(np.logical_not),
    vector.MaskFromBytesOp: _move(lambda x: x != 0),
    vector.MaskToBytesOp: _move(lambda x: x.astype(np.int8)),
    vector.CopyOp: _move(np.asarray),
    vector.SelectOp: select,
    vector.CastOp: cast,
    vector.FillOp: fill,
    vector.IotaOp: iota,
    rows.ReduceOp: reduce,
    rows.TransposeOp: transpose,
    rows.DotOp: dot,
    rows.ExtractOp: extract,
    rows.InsertOp: insert,
}
