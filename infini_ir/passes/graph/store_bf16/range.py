"""Values beyond the range of bf16, which would be stored as infinity."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from xdsl.ir import Operation, SSAValue

from infini_ir.dialects.graph import (
    AddOp,
    CastOp,
    ConstantOp,
    DivOp,
    FusionOp,
    MaxOp,
    MinOp,
    MulOp,
    NegOp,
    ReduceOp,
    SelectOp,
    SubOp,
    WeightOp,
    YieldOp,
)  # fmt: skip
from infini_ir.dialects.graph.types import tensor_type
from infini_ir.passes.graph.store_bf16.forms import MOVING, is_wide
from infini_ir.utils.weights import WeightStore

GREATEST = 3.3895313892515355e38
"""The largest finite bf16: masks are often the least f32."""

_PASSING = (
    AddOp, SubOp, MulOp, DivOp, MaxOp, MinOp, NegOp, SelectOp, ReduceOp, CastOp, *MOVING,
)  # fmt: skip
"""Operations whose result may be as large as what they read. A softmax, an exponential or a
comparison of a mask is no longer one."""
_MOST_ELEMENTS = 1 << 24
"""Elements at most of a stored value that is looked through."""


def beyond_range(ops: Iterable[Operation], store: WeightStore) -> set[SSAValue]:
    """The values that depend on a finite number beyond the range of bf16. Operations come in
    an order in which each follows what it reads."""
    found: set[SSAValue] = set()
    for op in ops:
        if isinstance(op, FusionOp):
            block = op.body.block
            pairs = zip(block.args, op.inputs, strict=True)
            found.update(argument for argument, value in pairs if value in found)
            for inner in block.ops:
                _mark(inner, found, store)
            last = block.last_op
            assert isinstance(last, YieldOp)
            pairs = zip(op.results, last.values, strict=True)
            found.update(result for result, value in pairs if value in found)
        else:
            _mark(op, found, store)
    return found


def _mark(op: Operation, found: set[SSAValue], store: WeightStore) -> None:
    if isinstance(op, ConstantOp | WeightOp):
        beyond = is_wide(op.out) and _holds_such(op, store)
    else:
        beyond = isinstance(op, _PASSING) and any(value in found for value in op.operands)
    if beyond:
        found.add(op.results[0])


def _holds_such(op: ConstantOp | WeightOp, store: WeightStore) -> bool:
    if isinstance(op, ConstantOp):
        return any(GREATEST < abs(number) < float("inf") for number in op.value.data)
    name = op.handle.data
    count = tensor_type(op.out).element_count().value
    if count is None or count > _MOST_ELEMENTS or name not in store or not _is_added(op):
        return False
    numbers = np.abs(store.array(name))
    return bool(((numbers > GREATEST) & np.isfinite(numbers)).any())


def _is_added(op: WeightOp) -> bool:
    """Whether elementwise operations read a stored value of the size of activations, as they
    do a mask; factors of products are not looked through."""
    shape = tensor_type(op.out).shape
    return len([size for size in shape if size.value != 1]) > 1 and any(
        isinstance(user, FusionOp)
        and any(
            isinstance(inner.operation, _PASSING)
            for inner in user.body.block.args[use.index].uses
        )
        for use in op.out.uses
        for user in (use.operation,)
    )
