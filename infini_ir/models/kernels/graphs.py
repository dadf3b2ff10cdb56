"""Kernels that ONNX has no words for, as functions of the graph dialect."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xdsl.dialects import func
from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr, ModuleOp, StringAttr
from xdsl.ir import Block, Region, SSAValue

from infini_ir.dialects import graph
from infini_ir.dialects.graph import TensorType
from infini_ir.dialects.graph.builder import GraphBuilder


def graph_module(
    types: Sequence[TensorType],
    build: Callable[..., Sequence[SSAValue]],
    inputs: Sequence[str],
    outputs: Sequence[str],
) -> ModuleOp:
    """The function `main` that `build(builder, *arguments)` writes."""
    block = Block(arg_types=list(types))
    results = build(GraphBuilder(block), *block.args)
    block.add_op(func.ReturnOp(*results))
    function = func.FuncOp(
        "main", (list(types), [value.type for value in results]), Region(block)
    )
    function.arg_attrs = _names(inputs)
    function.res_attrs = _names(outputs)
    return ModuleOp([function])


def _names(names: Sequence[str]) -> ArrayAttr[DictionaryAttr]:
    return ArrayAttr([DictionaryAttr({"graph.name": StringAttr(name)}) for name in names])


def paged_attention(
    b: GraphBuilder, q: SSAValue, k: SSAValue, v: SSAValue, table: SSAValue, count: SSAValue
) -> list[SSAValue]:
    """One query a row over keys and values in pages; scale 1/8."""
    return [b.insert(graph.PagedAttentionOp(q, k, v, table, count, 0.125)).out]


def random_bits(b: GraphBuilder, state: SSAValue) -> list[SSAValue]:
    """300 random 32-bit numbers, and the generator's next state."""
    return list(b.rng(state, [300]))
