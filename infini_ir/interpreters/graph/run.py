"""Running blocks and modules: operands by value, results checked against their types."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from xdsl.dialects import func
from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr, ModuleOp, StringAttr, SymbolRefAttr
from xdsl.ir import Block, Operation, SSAValue

from infini_ir.dialects import graph
from infini_ir.dialects.dims import FactsAttr
from infini_ir.dialects.graph import TensorType, tensor_type
from infini_ir.interpreters.graph.scope import Array, Precision, Rule, Scope, where
from infini_ir.utils import dtypes
from infini_ir.utils.errors import InputError, ModelError
from infini_ir.utils.weights import WeightStore


@cache
def rules() -> dict[type, Rule]:
    """The rule of each operation class, from the files of the families."""
    from infini_ir.interpreters.graph import (
        attention,
        control,
        convolving,
        elementwise,
        indexing,
        normalizing,
        quantizing,
        reducing,
        shaping,
    )

    families = (
        elementwise,
        shaping,
        indexing,
        reducing,
        normalizing,
        attention,
        convolving,
        quantizing,
        control,
    )
    table: dict[type, Rule] = {func.CallOp: _call}
    for family in families:
        table.update(family.RULES)
    return table


def run_op(op: Operation, operands: list[Array], scope: Scope) -> list[Array]:
    """The results of one operation, of the shapes and dtypes that its types say."""
    rule = rules().get(type(op))
    if rule is None:
        raise ModelError(
            f"{where(op)} is not an operation of the graph dialect, so the reference "
            "interpreter cannot run it; interpret the module before it is lowered"
        )
    results = rule(op, operands, scope)
    arrays = [results] if isinstance(results, np.ndarray | np.generic) else list(results)
    return [
        _checked(np.asarray(array), value, op, scope)
        for array, value in zip(arrays, op.results, strict=True)
    ]


def _checked(array: Array, value: SSAValue, op: Operation, scope: Scope) -> Array:
    shape, dtype = scope.shape(value), scope.result_dtype(value)
    if array.shape != shape or array.dtype != dtype:
        raise InputError(
            f"{where(op)} gives {array.dtype}{list(array.shape)} where its type {value.type} "
            f"says {dtype}{list(shape)}; sizes that the model takes for equal are not"
        )
    return array


def run_block(block: Block, arguments: Sequence[Array], scope: Scope) -> list[Array]:
    """What a block's terminator passes on. Values are dropped after their last use."""
    values = scope.values
    values.update(zip(block.args, arguments, strict=True))
    last_uses = _last_uses(block)
    for op in block.ops:
        operands = [values[operand] for operand in op.operands]
        if isinstance(op, graph.YieldOp | func.ReturnOp):
            return operands
        values.update(zip(op.results, run_op(op, operands, scope), strict=True))
        for value in last_uses[op]:
            values.pop(value, None)
    raise ModelError("a block has no terminator; end it with graph.yield or func.return")


def _last_uses(block: Block) -> dict[Operation, list[SSAValue]]:
    """For each operation of a block, the block's own values that none after it uses."""
    seen: set[SSAValue] = set()
    result: dict[Operation, list[SSAValue]] = {}
    for op in reversed(list(block.ops)):
        used = [v for inner in op.walk() for v in inner.operands if _block_of(v) is block]
        result[op] = [v for v in dict.fromkeys(used) if v not in seen]
        seen.update(used)
    return result


def _block_of(value: SSAValue) -> Block | None:
    return value.owner if isinstance(value.owner, Block) else value.owner.parent


def evaluate_op(
    op: Operation,
    operands: Sequence[Array],
    *,
    symbols: dict[str, int] | None = None,
    weights: WeightStore | None = None,
    precision: Precision = "native",
) -> list[Array]:
    """
    The results of one operation on arrays.

    `symbols` gives the sizes that types and attributes mention; those that the operation
    defines are added to it. An operation with regions sees no values from outside.
    """
    scope = Scope(symbols if symbols is not None else {}, weights, precision)
    carried = [
        scope.carry(array, tensor_type(value).dtype)
        for array, value in zip(operands, op.operands, strict=True)
    ]
    with np.errstate(all="ignore"):
        return run_op(op, carried, scope)


def interpret(
    module: ModuleOp,
    inputs: Sequence[Array],
    ctx: object = None,
    *,
    function: str = "main",
    precision: Precision = "native",
) -> list[Array]:
    """
    Run a function of a module on arrays; `ctx` is a compiler context or a weight store.

    Bare symbols in argument shapes take the arrays' sizes, every other size is checked, and
    so are the function's facts (`graph.where`). With `precision="f64"` all floats that are
    not storage-only are carried in f64, unrounded: the yardstick for error statements.

    Raises `InputError` for inputs that do not fit, `ModelError` for a module that cannot run.
    """
    weights = ctx if isinstance(ctx, WeightStore) else getattr(ctx, "weights", None)
    with np.errstate(all="ignore"):
        return _run_function(find_function(module, function), inputs, weights, precision)


def find_function(module: ModuleOp, name: str) -> func.FuncOp:
    """The function called `name`; `ModelError` where the module has none."""
    for op in module.body.block.ops:
        if isinstance(op, func.FuncOp) and op.sym_name.data == name:
            return op
    raise ModelError(f"the module has no function '{name}'; name one that it defines")


def _run_function(
    function: func.FuncOp,
    inputs: Sequence[Array],
    weights: WeightStore | None,
    precision: Precision,
) -> list[Array]:
    from infini_ir.interpreters.graph.shaping import check_facts

    block = function.body.block
    if len(inputs) != len(block.args):
        raise InputError(
            f"'{function.sym_name.data}' takes {len(block.args)} inputs, not {len(inputs)}"
        )
    scope = Scope({}, weights, precision)
    names = argument_names(function)
    arrays = [np.asarray(array) for array in inputs]
    types = [tensor_type(argument) for argument in block.args]
    bind_arguments(arrays, types, names, scope, precision)
    facts = function.attributes.get("graph.where")
    if isinstance(facts, FactsAttr):
        check_facts(facts, scope, f"'{function.sym_name.data}'")
    carried = [scope.carry(a, t.dtype) for a, t in zip(arrays, types, strict=True)]
    return run_block(block, carried, scope)


def argument_names(function: func.FuncOp) -> list[str]:
    """The arguments' `graph.name`s, or `argument i` where they have none."""
    names = [f"argument {i}" for i in range(len(function.body.block.args))]
    if isinstance(function.arg_attrs, ArrayAttr):
        for i, attributes in enumerate(function.arg_attrs):
            name = attributes.data.get("graph.name")
            if isinstance(attributes, DictionaryAttr) and isinstance(name, StringAttr):
                names[i] = name.data
    return names


def bind_arguments(
    arrays: Sequence[Array],
    types: Sequence[TensorType],
    names: Sequence[str],
    scope: Scope,
    precision: Precision,
) -> None:
    """Give symbols their sizes from the arrays' shapes, and check all else."""
    for array, wanted, name in zip(arrays, types, names, strict=True):
        carried = precision == "f64" and array.dtype == scope.dtype(wanted.dtype)
        if array.dtype != dtypes.numpy_dtype(wanted.dtype) and not carried:
            raise InputError(
                f"input '{name}' has dtype {array.dtype}, wants {wanted.dtype}; convert it"
            )
        if array.ndim != wanted.rank:
            raise InputError(
                f"input '{name}' has rank {array.ndim}, wants {wanted.rank}: {wanted}"
            )
        for dim, size in zip(wanted.shape, array.shape, strict=True):
            if dim.name is not None:
                scope.symbols.setdefault(dim.name, size)
    for array, wanted, name in zip(arrays, types, names, strict=True):
        expected = scope.sizes(wanted.shape)
        if array.shape != expected:
            raise InputError(
                f"input '{name}' has shape {list(array.shape)}, wants {list(expected)} "
                f"by its type {wanted}; make the sizes agree"
            )


def _call(op: func.CallOp, operands: list[Array], scope: Scope) -> list[Array]:
    module: Operation | None = op
    while module is not None and not isinstance(module, ModuleOp):
        module = module.parent_op()
    assert module is not None, "a call stands in a module"
    callee: SymbolRefAttr = op.callee
    function = find_function(module, callee.root_reference.data)
    return _run_function(function, operands, scope.weights, scope.precision)
