"""Plans of kernels: legal, sensible, and written down."""

from __future__ import annotations

import pytest
from onnx import parser

from infini_ir.dialects import tile
from infini_ir.dialects.context import compiler_context
from infini_ir.frontends.onnx.importer import import_model
from infini_ir.lowering.graph_to_tile import GraphToTilePass
from infini_ir.passes.graph.pipeline import graph_pipeline
from infini_ir.targets.nvidia.cost import estimate, shared_bytes
from infini_ir.targets.nvidia.limits import ARCHITECTURES, limits_of
from infini_ir.targets.nvidia.plan import Plan
from infini_ir.targets.nvidia.planning import candidates, plan_kernel
from infini_ir.targets.nvidia.target import NvidiaTarget
from infini_ir.targets.nvidia.work import work_of
from infini_ir.utils.errors import CompileError, OptionError

PRODUCT = (
    "m (float16[{m},{k}] x, float16[{k},{n}] w) => (float16[{m},{n}] y) {{ y = MatMul(x, w) }}"
)
ATTENTION = """m (float16[2,8,S,{d}] q, float16[2,8,S,{d}] k, float16[2,8,S,{d}] v)
    => (float16[2,8,S,{d}] y) {{ y = Attention<is_causal=1>(q, k, v) }}"""


def kernels(text: str) -> list[tile.KernelOp]:
    """The kernels of a model, before they are planned."""
    ctx = compiler_context()
    head = '<ir_version: 10, opset_import: ["" : 23]>\n'
    module = import_model(parser.parse_model(head + text), ctx)
    for each in (*graph_pipeline(NvidiaTarget(cache=False).composites), GraphToTilePass()):
        each.apply(ctx, module)
    return [op for op in module.body.block.ops if isinstance(op, tile.KernelOp)]


def product(m: int | str, n: int, k: int) -> tile.KernelOp:
    return kernels(PRODUCT.format(m=m, n=n, k=k))[-1]


def test_a_plan_is_what_its_attribute_says():
    plan = Plan({"BM": 64, "BK": 32}, 8, 3, 8, "tf32", 4, "why")
    assert Plan.read(plan.attribute()) == plan
    assert Plan.read(None) == Plan()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("size", [(16, 64, 4096), (300, 500, 700), (4096, 4096, 4096)])
def test_candidates_fit_the_device(architecture: str, size: tuple[int, int, int]):
    limits, kernel = limits_of(architecture), product(*size)
    found = candidates(kernel, limits, count=1000)
    assert found
    for plan in found:
        assert shared_bytes(work_of(kernel), plan) <= limits.shared_bytes
        assert 1 <= plan.warps <= 8


def test_the_first_candidate_is_the_plan():
    kernel, limits = product(1024, 1024, 1024), limits_of("sm_90")
    plan = plan_kernel(kernel, limits)
    assert candidates(kernel, limits)[0].parameters == plan.parameters
    assert "best of" in plan.reason


def test_great_products_get_great_tiles_and_small_ones_many_programs():
    limits = limits_of("sm_90")
    great = plan_kernel(product(8192, 8192, 4096), limits)
    assert great.parameters["BM"] * great.parameters["BN"] >= 128 * 128
    assert great.stages >= 3
    kernel = product(256, 256, 1024)
    small = plan_kernel(kernel, limits)
    assert estimate(work_of(kernel), small, limits).programs >= 32


def test_long_products_of_few_programs_are_shared_out():
    limits = limits_of("sm_90")
    assert plan_kernel(product(16, 64, 16384), limits).split > 1
    assert plan_kernel(product("M", 64, 16384), limits).split == 1


@pytest.mark.parametrize("depth", [64, 128])
@pytest.mark.parametrize("architecture", ["sm_80", "sm_89", "sm_90"])
def test_attention_fits(architecture: str, depth: int):
    limits = limits_of(architecture)
    (kernel,) = kernels(ATTENTION.format(d=depth))
    plan = plan_kernel(kernel, limits)
    assert plan.parameters["BM"] >= 64
    assert shared_bytes(work_of(kernel), plan) <= limits.shared_bytes


def test_what_fits_nowhere_is_said_with_its_bytes():
    (kernel,) = kernels(ATTENTION.format(d=4096))
    with pytest.raises(CompileError, match=r"bytes of shared memory .* there are 166912"):
        plan_kernel(kernel, limits_of("sm_80"))


def test_unknown_architectures_are_refused():
    with pytest.raises(OptionError, match="sm_90"):
        limits_of("sm_70")
