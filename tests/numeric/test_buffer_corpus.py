"""Kernels of the corpus in buffer form, planned, synchronised, run, against f64."""

import pytest
from buffer_runs import planned_form, run_buffer_form

from infini_ir.dialects.context import compiler_context
from infini_ir.lowering.graph_to_tile import GraphToTilePass
from infini_ir.models.kernels import KernelCase, cases
from infini_ir.passes.graph.pipeline import graph_pipeline
from infini_ir.targets.cpu.target import COMPOSITES

SLOW = ("matmul", "convolution", "attention-prefill", "top-k", "depthwise")
"""Kernels that take the interpreter long, of which others run the same instructions."""
CASES = [case for case in cases() if not case.name.startswith(SLOW)]
WHOLE = [case for case in cases() if case.name in ("attention-prefill-f16", "top-k-f32")]


def run(case: KernelCase) -> None:
    ctx = compiler_context()
    module = case.module(ctx)
    for step in graph_pipeline(COMPOSITES):
        step.apply(ctx, module)
    GraphToTilePass().apply(ctx, module)
    form = planned_form(module, ctx)
    inputs = case.inputs()
    assert case.error(run_buffer_form(form, list(inputs.values()), ctx), inputs) < 1


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_small_kernels(case: KernelCase):
    run(case)


@pytest.mark.slow
@pytest.mark.parametrize("case", WHOLE, ids=lambda case: case.name)
def test_large_kernels(case: KernelCase):
    run(case)
