"""Rules of operations with regions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from xdsl.ir import SSAValue

from infini_ir.dialects import graph
from infini_ir.dialects.graph import tensor_type
from infini_ir.interpreters.graph.run import run_block
from infini_ir.interpreters.graph.scope import Array, Rule, Scope, where
from infini_ir.utils.errors import InputError


def _if(op: graph.IfOp, operands: list[Array], scope: Scope) -> Sequence[Array]:
    region = op.then_region if bool(operands[0]) else op.else_region
    results = run_block(region.block, [], scope)
    names = {name.data for name in op.defines} if op.defines is not None else set()
    bound: dict[str, int] = {}
    for value, result in zip(op.outs, results, strict=True):
        for dim, size in zip(tensor_type(value).shape, result.shape, strict=True):
            name = dim.name
            if name is not None and name in names and bound.setdefault(name, size) != size:
                raise InputError(
                    f"{where(op)}: symbol '{name}' would be {bound[name]} and {size}; results "
                    "of different sizes need different symbols"
                )
    scope.symbols.update(bound)
    return results


def _while(op: graph.WhileOp, operands: list[Array], scope: Scope) -> Sequence[Array]:
    carried = list(operands)
    while bool(run_block(op.condition.block, carried, scope)[0]):
        carried = run_block(op.body.block, carried, scope)
    return carried


def _scan(op: graph.ScanOp, operands: list[Array], scope: Scope) -> Sequence[Array]:
    count = len(op.initial)
    carried, scanned = list(operands[:count]), operands[count:]
    stacks: list[list[Array]] = [[] for _ in op.outs[count:]]
    iterations = 0
    for index in range(scope.size(op.trip_count, op)):
        slices = [stack[index] for stack in scanned]
        given = run_block(
            op.body.block, [np.asarray(index, np.int64), *carried, *slices], scope
        )
        more = bool(given.pop(0)) if op.until is not None else True
        carried, iterations = given[:count], index + 1
        for stack, value in zip(stacks, given[count:], strict=True):
            stack.append(value)
        if not more:
            break
    if op.until is not None:
        scope.symbols[op.until.data] = iterations
    return [
        *carried,
        *(_stack(s, v, scope) for s, v in zip(stacks, op.outs[count:], strict=True)),
    ]


def _stack(slices: list[Array], value: SSAValue, scope: Scope) -> Array:
    if slices:
        return np.stack(slices)
    # No iteration has run, so a symbol that the body defines has no value: any size is right.
    names = {name for dim in tensor_type(value).shape for name in dim.symbols()}
    for name in names - scope.symbols.keys():
        scope.symbols[name] = 0
    return np.empty(scope.shape(value), scope.result_dtype(value))


def _fusion(op: graph.FusionOp, operands: list[Array], scope: Scope) -> Sequence[Array]:
    return run_block(op.body.block, operands, scope)


RULES: dict[type, Rule] = {
    graph.IfOp: _if,
    graph.WhileOp: _while,
    graph.ScanOp: _scan,
    graph.FusionOp: _fusion,
}
