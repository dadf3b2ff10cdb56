"""Recognise GELU: x / 2 * (1 + erf(x / sqrt 2)), and its approximation by tanh."""

from __future__ import annotations

import math

from xdsl.ir import SSAValue

from infini_ir.dialects.graph import AddOp, DivOp, ErfOp, GeluOp, MulOp, TanhOp
from infini_ir.dialects.graph.builder import GraphBuilder
from infini_ir.dialects.graph.types import is_tensor, tensor_type
from infini_ir.passes.graph.matching import producer, with_splat
from infini_ir.passes.graph.recognize.common import TOLERANCE, factors_of, polynomial_in


def gelu(op: MulOp | DivOp, b: GraphBuilder) -> SSAValue | None:
    factors, scale = factors_of(op.out, 4)
    if len(factors) != 2:
        return None
    for x, other in (factors, factors[::-1]):
        add = producer(other, AddOp)
        match = None if add is None else with_splat(add)
        if match is None or x.type != op.out.type or not is_tensor(x):
            continue
        # scale * x * (c + c * f(x)) with scale * c = 1/2, where c may stand before f.
        inner, constant = match
        if not math.isclose(scale * constant, 0.5, rel_tol=TOLERANCE):
            continue
        functions, weight = factors_of(inner, 2)
        if len(functions) != 1 or not math.isclose(weight, constant, rel_tol=TOLERANCE):
            continue
        curve = functions[0].owner
        if isinstance(curve, ErfOp) and _is(curve.x, x, {1: math.sqrt(0.5)}):
            return b.insert(GeluOp(x)).out
        if isinstance(curve, TanhOp):
            slope = math.sqrt(2 / math.pi)
            if _is(curve.x, x, {1: slope, 3: slope * 0.044715}):
                return b.insert(GeluOp(x, tanh=True)).out
    return None


def _is(value: SSAValue, x: SSAValue, wanted: dict[int, float]) -> bool:
    """Whether the value is that polynomial in x."""
    if tensor_type(value).dtype != tensor_type(x).dtype:
        return False
    found = polynomial_in(value, x)
    if found is None:
        return False
    found = {power: c for power, c in found.items() if c}
    return found.keys() == wanted.keys() and all(
        math.isclose(found[power], wanted[power], rel_tol=TOLERANCE) for power in wanted
    )


GELU_RULES = {MulOp: (gelu,), DivOp: (gelu,)}
