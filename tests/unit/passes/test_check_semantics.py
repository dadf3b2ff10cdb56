"""The checker names the pass that changed a result, and only that one."""

from dataclasses import dataclass

import numpy as np
import pytest
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.parser import Parser
from xdsl.passes import ModulePass, PassPipeline
from xdsl.rewriter import Rewriter

from infini_ir.dialects import graph
from infini_ir.dialects.context import compiler_context
from infini_ir.dialects.graph import TensorType
from infini_ir.passes.check_semantics import (
    SemanticsChecker,
    SemanticsError,
    choose_symbols,
    random_inputs,
)
from infini_ir.passes.graph.expand_composites import ExpandCompositesPass
from infini_ir.utils.symbolic import Dim

TEXT = """
func.func @main(%x: !graph.tensor<[B, S], f32>, %y: !graph.tensor<[B, S + 1], f32>)
    -> (!graph.tensor<[B, S], f32> {graph.name = "y"})
    attributes {graph.where = #graph.facts<S ge 4, B eq 2*S>} {
  %0 = graph.softmax %x axis 1 : (!graph.tensor<[B, S], f32>) -> !graph.tensor<[B, S], f32>
  %1 = graph.neg %0 : !graph.tensor<[B, S], f32>
  func.return %1 : !graph.tensor<[B, S], f32>
}
"""


@dataclass(frozen=True)
class NegIsAbs(ModulePass):
    """A wrong rewrite."""

    name = "neg-is-abs"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for inner in list(op.walk()):
            if isinstance(inner, graph.NegOp):
                Rewriter.replace_op(inner, graph.AbsOp(inner.x))


def test_it_names_the_pass_that_changed_the_result() -> None:
    ctx = compiler_context()
    module = Parser(ctx, TEXT).parse_module()
    checker = SemanticsChecker(ctx)
    pipeline = PassPipeline((ExpandCompositesPass(), NegIsAbs()), checker)
    with pytest.raises(
        SemanticsError, match="pass 'neg-is-abs' changed the result: output 'y'"
    ):
        pipeline.apply(ctx, module)
    assert checker.passes_checked == ["graph-expand-composites"]


def test_symbols_satisfy_facts_and_differ() -> None:
    types = [TensorType.of(["B", "S"], "f32"), TensorType.of(["T - S", "T"], "f32")]
    facts = ((Dim.of("S"), "ge", Dim.of(4)), (Dim.of("4*T"), "eq", Dim.of("10*S")))
    symbols = next(iter(choose_symbols(types, facts)))
    assert symbols["S"] >= 4
    assert 4 * symbols["T"] == 10 * symbols["S"]
    assert next(iter(choose_symbols(types[:1], ()))) == {"B": 3, "S": 5}
    impossible = ((Dim.of("B"), "le", Dim.of(-1)),)
    assert not list(choose_symbols(types[:1], impossible))


def test_inputs_have_the_types_shapes() -> None:
    names = ("i1", "i4", "ui8", "i8", "i64", "f8E8M0FNU", "bf16", "f32")
    types = [TensorType.of(["N", 2], name) for name in names]
    arrays = random_inputs(types, {"N": 3})
    assert all(array.shape == (3, 2) for array in arrays)
    assert random_inputs([TensorType.of([], "i64")], {})[0].dtype == np.int64
