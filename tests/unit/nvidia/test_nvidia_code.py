"""Machine code of typical kernels: tensor cores, wide accesses, nothing spilled."""

from __future__ import annotations

import pytest
from onnx import parser

from infini_ir.compiler import Compilation, Options
from infini_ir.dialects import tile
from infini_ir.dialects.context import compiler_context
from infini_ir.frontends.onnx.importer import import_model
from infini_ir.lowering.graph_to_tile import GraphToTilePass
from infini_ir.passes.graph.pipeline import graph_pipeline
from infini_ir.targets.nvidia.emitted import EmittedKernel
from infini_ir.targets.nvidia.emitter import emit_kernel
from infini_ir.targets.nvidia.program import compiled_kernels
from infini_ir.targets.nvidia.resources import Resources, kernel_resources, sass
from infini_ir.targets.nvidia.target import NvidiaTarget
from infini_ir.targets.nvidia.toolchain import CompiledKernel, Job, compile_jobs

HEAD = '<ir_version: 10, opset_import: ["" : 23]>\n'
MODELS = {
    "matmul": """m (float16[M,1024] x, float16[1024,1024] w, float16[1024] b)
        => (float16[M,1024] y) { z = MatMul(x, w) t = Add(z, b) y = Gelu(t) }""",
    "matmul-f32": """m (float[512,512] x, float[512,512] w) => (float[512,512] y)
        { y = MatMul(x, w) }""",
    "attention": """m (bfloat16[2,8,S,64] q, bfloat16[2,2,T,64] k, bfloat16[2,2,T,64] v)
        => (bfloat16[2,8,S,64] y) { y = Attention<is_causal=1>(q, k, v) }""",
    "conv": """m (float16[8,64,56,56] x, float16[64,64,3,3] w) => (float16[8,64,56,56] y)
        { z = Conv<pads=[1,1,1,1]>(x, w) y = Relu(z) }""",
    "softmax": "m (float[M,4096] x) => (float[M,4096] y) { y = Softmax<axis=-1>(x) }",
    "softmax-symbolic": "m (float[M,N] x) => (float[M,N] y) { y = Softmax<axis=-1>(x) }",
    "pointwise": """m (float16[M,1024] x, float16[M,1024] y) => (float16[M,1024] z)
        { t = Add(x, y) z = Tanh(t) }""",
    "transpose": """m (float[1024,1024] x) => (float[1024,1024] y)
        { y = Transpose<perm=[1,0]>(x) }""",
}
PRODUCTS = ("matmul", "matmul-f32", "attention", "conv")
NAMES = {"matmul": "dot", "matmul-f32": "dot", "attention": "attention", "conv": "conv_3x3"}


def emitted(model: str, architecture: str) -> EmittedKernel:
    """The kernel that a model is about."""
    ctx, target = compiler_context(), NvidiaTarget(architecture, cache=False)
    module = import_model(parser.parse_model(HEAD + MODELS[model]), ctx)
    for each in (
        *graph_pipeline(target.composites, quantized_weights=target.quantized_weights),
        GraphToTilePass(),
        *target.passes(),
    ):
        each.apply(ctx, module)
    found = [emit_kernel(op) for op in module.body.block.ops if isinstance(op, tile.KernelOp)]
    return next((k for k in found if k.name == NAMES.get(model)), found[0])


def compiled(model: str, architecture: str) -> CompiledKernel:
    """Its machine code, of a plan that fits the registers."""
    options = Options(target=f"nvidia:{architecture}", cache=False)
    program = Compilation(options, keep_texts=False).run(
        parser.parse_model(HEAD + MODELS[model])
    )
    found = compiled_kernels(program)
    return next((k for k in found if k.name.startswith(NAMES.get(model, model))), found[0])


def resources(model: str, architecture: str) -> Resources:
    return kernel_resources(compiled(model, architecture))


@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
@pytest.mark.parametrize("model", PRODUCTS)
def test_products_run_on_tensor_cores(model: str, architecture: str):
    code = compiled(model, architecture)
    found = kernel_resources(code)
    assert found.tensor > 0 and found.async_copies > 0
    assert found.stack == 0 and found.spills == 0
    if architecture == "sm_90":
        assert "HGMMA" in sass(code)


@pytest.mark.parametrize("model", ["softmax", "softmax-symbolic", "pointwise", "transpose"])
def test_accesses_are_wide(model: str):
    found = resources(model, "sm_90")
    assert found.wide_loads == found.loads > 0
    assert found.wide_stores == found.stores > 0
    assert found.stack == 0


def test_sizes_that_do_not_divide_are_narrow_without_the_facts():
    kernel = emitted("softmax-symbolic", "sm_90")
    (code,) = compile_jobs([Job(kernel, 90, ())], None)
    assert kernel_resources(code).wide_loads == 0


@pytest.mark.parametrize("architecture", ["sm_89", "sm_100"])
def test_other_architectures_take_it(architecture: str):
    assert compiled("matmul", architecture).cubin
