"""Recognise softmax: exp(x - max) / sum(exp(x - max)), and its logarithm."""

from __future__ import annotations

from xdsl.ir import SSAValue

from infini_ir.dialects.graph import DivOp, ExpOp, LogOp, MulOp, ReduceOp, SoftmaxOp, SubOp
from infini_ir.dialects.graph.builder import GraphBuilder
from infini_ir.dialects.graph.types import tensor_type
from infini_ir.passes.graph.matching import commuted, is_splat, producer, strip_repetition


def _shifted(value: SSAValue, axes: tuple[int, ...]) -> SSAValue | None:
    """x, where the value is x - max(x) over the axes."""
    difference = producer(value, SubOp)
    if difference is None:
        return None
    largest = producer(strip_repetition(difference.rhs), ReduceOp)
    if largest is None or largest.kind.data != "max" or largest.axis_list != axes:
        return None
    return difference.lhs if largest.x is difference.lhs else None


def _softmax(numerator: SSAValue, denominator: SSAValue, b: GraphBuilder) -> SSAValue | None:
    exponential = producer(numerator, ExpOp)
    total = producer(strip_repetition(denominator), ReduceOp)
    if exponential is None or total is None or total.kind.data != "sum":
        return None
    if total.x is not numerator or len(total.axis_list) != 1:
        return None
    x = _shifted(exponential.x, total.axis_list)
    return None if x is None else b.softmax(x, total.axis_list[0])


def softmax(op: DivOp, b: GraphBuilder) -> SSAValue | None:
    return _softmax(op.lhs, op.rhs, b)


def softmax_by_inverse(op: MulOp, b: GraphBuilder) -> SSAValue | None:
    for numerator, factor in commuted(op):
        inverse = producer(strip_repetition(factor), DivOp)
        if inverse is not None and is_splat(inverse.lhs, 1):
            found = _softmax(numerator, inverse.rhs, b)
            if found is not None:
                return found
    return None


def log_softmax(op: SubOp, b: GraphBuilder) -> SSAValue | None:
    """(x - max) - log(sum(exp(x - max)))."""
    logarithm = producer(strip_repetition(op.rhs), LogOp)
    total = None if logarithm is None else producer(strip_repetition(logarithm.x), ReduceOp)
    if total is None or total.kind.data != "sum" or len(total.axis_list) != 1:
        return None
    exponential = producer(total.x, ExpOp)
    if exponential is None or exponential.x is not op.lhs:
        return None
    x = _shifted(op.lhs, total.axis_list)
    return None if x is None else b.softmax(x, total.axis_list[0], log=True)


def log_of_softmax(op: LogOp, b: GraphBuilder) -> SSAValue | None:
    inner = producer(op.x, SoftmaxOp)
    if inner is None or inner.log is not None or not op.x.has_one_use():
        return None
    assert tensor_type(op.x) == tensor_type(op.out)
    return b.softmax(inner.x, inner.axis.value.data, log=True)


SOFTMAX_RULES = {
    DivOp: (softmax,),
    MulOp: (softmax_by_inverse,),
    SubOp: (log_softmax,),
    LogOp: (log_of_softmax,),
}
