"""The graph passes change no result: ONNX backend cases before and after the pipeline."""

import re
from collections.abc import Sequence
from typing import Any

import onnx
import pytest
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation

from infini_ir.dialects.context import CompilerContext
from infini_ir.dialects.graph import FusionOp, YieldOp
from infini_ir.dialects.graph.types import tensor_type
from infini_ir.interpreters.graph import interpret
from infini_ir.passes.graph.fuse.forms import (
    Domain,
    Form,
    domain_of,
    is_anchor,
    is_free,
    is_pointwise,
    is_unit_reshape,
)
from infini_ir.passes.graph.pipeline import graph_pipeline
from tests.numeric.onnx_cases import cases, run_case
from tests.numeric.onnx_import import import_for
from tests.numeric.test_onnx_suite import expected_cases

ALL_COMPOSITES = frozenset(
    {"attention", "gelu", "rope", "topk", "quantize", "dequantize", "quantized_matmul"}
)
OTHER_ROUNDING = r"test_dft_inverse"
"""Cases that compare the noise around an exact 0, which depends on the order of a sum."""
EVERY = 7
"""Every so manyth case is run; a prime, so that variants of one operator take turns."""


def prepared(module: ModuleOp, ctx: CompilerContext, kept: frozenset[str]) -> None:
    for graph_pass in graph_pipeline(kept):
        graph_pass.apply(ctx, module)
        module.verify()
    for op in module.walk():
        if isinstance(op, FusionOp):
            check_form(op)


def check_form(fusion: FusionOp) -> None:
    """A fusion is one of the forms that the lowering knows."""
    ops = [
        op
        for op in fusion.body.block.ops
        if not is_free(op) and not is_unit_reshape(op) and not isinstance(op, YieldOp)
    ]
    domains = [domain_of(op) for op in ops]
    assert ops, "a fusion computes something"
    assert all(domain is not None for domain in domains), f"{fusion} holds what is not fused"
    anchors = [op for op in ops if is_anchor(op)]
    rows = [d for d in domains if d is not None and d.form is Form.rows]
    if anchors:
        assert anchors == ops[:1], "one anchor, which comes first"
        assert all(operand.owner is fusion.body.block for operand in anchors[0].operands)
        assert not rows
        check_shapes(ops, {tensor_type(anchors[0].results[0]).shape})
    elif rows:
        row = rows[0]
        assert all(other == row for other in rows)
        check_shapes(ops, {row.shape, row.kept, row.dropped})
        check_repetitions(fusion, row)
    else:
        assert all(is_pointwise(op) for op in ops)
        check_shapes(ops, {tensor_type(ops[0].results[0]).shape})


def check_shapes(ops: Sequence[Operation], allowed: set[Any]) -> None:
    for op in ops:
        for result in op.results:
            assert tensor_type(result).shape in allowed, f"{op} in a cluster over {allowed}"


def check_repetitions(fusion: FusionOp, row: Domain) -> None:
    """A row's result is repeated along the row."""
    for op in fusion.body.block.ops:
        if is_free(op) and op.operands and op.operands[0].owner is not fusion.body.block:
            owner = op.operands[0].owner
            if isinstance(owner, Operation) and not is_free(owner):
                assert tensor_type(op.results[0]).shape == row.shape


def runner(kept: frozenset[str]) -> Any:
    def run(model: onnx.ModelProto, inputs: list[Any]) -> list[Any]:
        imported = import_for(model, inputs)
        prepared(imported.module, imported.ctx, kept)
        return imported.outputs(interpret(imported.module, imported.arguments, imported.ctx))

    return run


def sample() -> list[str]:
    names = [n for n in expected_cases() if not re.match(OTHER_ROUNDING, n)]
    real = set(cases("real"))
    return [name for name in names if name not in real][::EVERY]


@pytest.mark.parametrize("name", sample())
def test_case(name: str) -> None:
    run_case(name, runner(frozenset()))


@pytest.mark.parametrize("name", [n for n in sample() if re.search("attention|quant|top_k", n)])
def test_case_with_composites(name: str) -> None:
    run_case(name, runner(ALL_COMPOSITES))


@pytest.mark.parametrize("name", ["test_shufflenet", "test_densenet121", "test_bvlc_alexnet"])
def test_network(name: str) -> None:
    run_case(name, runner(frozenset()))
