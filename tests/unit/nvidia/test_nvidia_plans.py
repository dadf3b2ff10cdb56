"""Plans of kernels: legal, sensible, and written down."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
from onnx import parser
from xdsl.dialects.builtin import ModuleOp

from infini_ir.dialects import tile
from infini_ir.dialects.context import compiler_context
from infini_ir.frontends.onnx.importer import import_model
from infini_ir.lowering.graph_to_tile import GraphToTilePass
from infini_ir.passes.graph.pipeline import graph_pipeline
from infini_ir.targets.nvidia.cost import estimate, shared_bytes, thread_registers
from infini_ir.targets.nvidia.emitted import EmittedKernel
from infini_ir.targets.nvidia.fitting import Attempt, other_sources
from infini_ir.targets.nvidia.limits import ARCHITECTURES, limits_of
from infini_ir.targets.nvidia.plan import Few, Plan
from infini_ir.targets.nvidia.planning import NvidiaPlanPass, candidates, plan_kernel
from infini_ir.targets.nvidia.program import kernels_of
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


def planned(text: str, architecture: str = "sm_90") -> dict[str, tile.KernelOp]:
    module = ModuleOp([kernel.clone() for kernel in kernels(text)])
    NvidiaPlanPass(architecture).apply(compiler_context(), module)
    return kernels_of(module)


def test_few_rows_have_a_plan_of_their_own():
    found = planned(PRODUCT.format(m="M", n=4096, k=4096))
    many, few = Plan.read(found["dot"].plan), Plan.read(found["dot_few"].plan)
    assert many.few == Few("dot_few", 0, 64) and few.few is None
    assert Plan.read(many.attribute()) == many
    assert few.parameters["BN"] < many.parameters["BN"] and "64 rows" in few.reason
    assert len(planned(PRODUCT.format(m=512, n=4096, k=4096))) == 1
    # As many keys as queries: few of both have no more to do.
    assert len(planned(ATTENTION.format(d=64))) == 1


@dataclass(frozen=True)
class Code:
    """What planning sees of machine code."""

    stack: int = 0
    shared: int = 0


def tried(attempt: Attempt, original: tile.KernelOp | None) -> list[list[tuple[Plan, int]]]:
    """Plans and warps that are tried in place of an attempt."""

    def make(kernel: tile.KernelOp, plan: Plan):
        copy = kernel.clone()
        copy.properties["plan"] = plan.attribute()
        return copy, replace(attempt.emitted, num_warps=plan.warps)

    rounds = other_sources(attempt, original, limits_of("sm_90"), make)
    return [[(Plan.read(k.plan), e.num_warps) for k, e in group] for group in rounds]


def attempt_of(kernel: tile.KernelOp, code: Any, reason: str = "why") -> Attempt:
    plan = replace(plan_kernel(kernel, limits_of("sm_90")), reason=reason)
    own = kernel.clone()
    own.properties["plan"] = plan.attribute()
    return Attempt(own, EmittedKernel("k", "", (), (), plan.warps, plan.stages), [code])


def test_code_that_spills_gets_more_warps_and_smaller_tiles():
    kernel = product(8192, 8192, 4096)
    attempt = attempt_of(kernel, Code(stack=40))
    first, *rest = tried(attempt, kernel)
    plan = Plan.read(attempt.kernel.plan)
    assert first[0][0].parameters == plan.parameters and first[0][1] == 2 * plan.warps
    assert "spills 40 bytes" in first[0][0].reason
    work = work_of(kernel)
    for other, _ in [first[1], *(group[-1] for group in rest)]:
        assert thread_registers(work, other) < thread_registers(work, plan)
    assert 1 <= len(rest) <= 4
    # A plan that was measured stays, and without the original there are only more warps.
    assert tried(attempt_of(kernel, Code(stack=40), ""), kernel) == []
    assert [len(group) for group in tried(attempt, None)] == [1]


def test_code_that_wants_too_much_memory_gets_smaller_tiles():
    kernel = product(8192, 8192, 4096)
    attempt = attempt_of(kernel, Code(shared=1 << 20), "")
    plan, work = Plan.read(attempt.kernel.plan), work_of(kernel)
    for ((other, _),) in tried(attempt, kernel):
        assert shared_bytes(work, other) < shared_bytes(work, plan)
        assert "wants 1048576 bytes of shared memory" in other.reason


def test_what_fits_nowhere_is_said_with_its_bytes():
    (kernel,) = kernels(ATTENTION.format(d=4096))
    with pytest.raises(CompileError, match=r"bytes of shared memory .* there are 166912"):
        plan_kernel(kernel, limits_of("sm_80"))


def test_unknown_architectures_are_refused():
    with pytest.raises(OptionError, match="sm_90"):
        limits_of("sm_70")
