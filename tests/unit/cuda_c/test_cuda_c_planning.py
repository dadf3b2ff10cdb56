"""Plans fit the limits, can be written down and read again, and refusals say why."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from infini_ir.compiler import Compilation, Options
from infini_ir.dialects import tile
from infini_ir.dialects.context import compiler_context
from infini_ir.lowering.graph_to_tile import GraphToTilePass
from infini_ir.models.kernels import KernelCase, cases
from infini_ir.passes.graph.pipeline import graph_pipeline
from infini_ir.targets.cuda_c.emitter import write_kernel
from infini_ir.targets.cuda_c.limits import LIMITS
from infini_ir.targets.cuda_c.plan import Plan
from infini_ir.targets.cuda_c.planning import plan_kernel
from infini_ir.targets.cuda_c.target import CudaCTarget
from infini_ir.utils.errors import CompileError, OptionError
from tests.devices.common.build import RunError
from tests.devices.cuda.runner import builder


def case(name: str) -> KernelCase:
    return next(c for c in cases() if c.name == name)


def kernels(name: str) -> list[tile.KernelOp]:
    ctx = compiler_context()
    module = case(name).module(ctx)
    for step in (*graph_pipeline(CudaCTarget.composites), GraphToTilePass()):
        step.apply(ctx, module)
    return [op for op in module.body.block.ops if isinstance(op, tile.KernelOp)]


@pytest.mark.parametrize("name", ["matmul-plain-f32", "attention-prefill-f16", "top-k-f32"])
def test_plans_fit_and_read_back(name: str) -> None:
    for kernel in kernels(name):
        plan = plan_kernel(kernel)
        written = write_kernel(kernel, plan)
        assert written.shared_bytes <= LIMITS.shared_bytes
        assert written.registers <= LIMITS.registers
        assert plan.threads <= LIMITS.threads and plan.threads % plan.lanes == 0
        assert Plan.read(plan.attribute()) == plan


def test_too_much_shared_memory_is_refused() -> None:
    (kernel,) = (k for k in kernels("matmul-plain-f32") if "dot" in k.sym_name.data)
    plan = Plan({"BM": 256, "BN": 256, "BK": 64}, 1024, 1024, 32)
    with pytest.raises(CompileError, match=r"wants \d+ bytes of shared memory .*49152"):
        write_kernel(kernel, plan)


def test_too_many_registers_are_refused() -> None:
    (kernel,) = (k for k in kernels("matmul-plain-f32") if "dot" in k.sym_name.data)
    with pytest.raises(CompileError, match="registers' worth of values"):
        write_kernel(kernel, Plan({"BM": 128, "BN": 128, "BK": 8}, 64, 64, 8))


def test_vendors_without_the_library_say_so() -> None:
    with pytest.raises(OptionError, match="calls no vendor library"):
        CudaCTarget("moore", library=True)


@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++")
@pytest.mark.parametrize(
    "name", ["matmul-plain-f32", "reduce-columns-f32", "attention-prefill-f32"]
)
def test_a_barrier_that_is_taken_out_is_missed(name: str) -> None:
    """The model finds what happens without any one barrier of an emitted kernel."""
    project = Compilation(Options(target="cuda-c")).build_project(case(name))
    parts = project.text("kernels.cu").split("__syncthreads();")
    # Long enough that the axis is shared out, and every kernel runs.
    inputs = (
        replace(case(name), sizes={"M": 3001}).inputs()
        if "reduce" in name
        else case(name).inputs()
    )
    assert len(parts) > 1
    for number in (0, (len(parts) - 1) // 2):
        left = "__syncthreads();".join(parts[: number + 1])
        text = left + "__syncthreads();".join(parts[number + 1 :])
        broken = type(project)(
            project.metadata, {**project.sources, "kernels.cu": text}, project.weights
        )
        with pytest.raises(RunError, match=r"cuda model: (race|uninitialised)"):
            builder().run(broken, inputs)
