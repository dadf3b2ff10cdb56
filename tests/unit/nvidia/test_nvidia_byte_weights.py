"""Machine code of products with weights of bytes: tensor cores, whole lines of bytes."""

from __future__ import annotations

import re

import numpy as np
import pytest
from onnx import numpy_helper, parser

from infini_ir.dialects import tile
from infini_ir.dialects.context import compiler_context
from infini_ir.frontends.onnx.importer import import_model
from infini_ir.lowering.graph_to_tile import GraphToTilePass
from infini_ir.passes.graph.pipeline import graph_pipeline
from infini_ir.targets.nvidia.emitter import emit_kernel
from infini_ir.targets.nvidia.resources import kernel_resources
from infini_ir.targets.nvidia.target import NvidiaTarget
from infini_ir.targets.nvidia.toolchain import CompiledKernel, Job, compile_jobs

SIZE = 1024
COLUMNS = "d = DequantizeLinear<axis=1>(w, s, z) y = MatMul(x, d)"
BLOCKS = "d = DequantizeLinear<axis=0, block_size=32>(w, s, z) y = MatMul(x, d)"


def compiled(rows: int, body: str, blocks: int) -> CompiledKernel:
    """The code of the product of rows of f16 and a weight of bytes."""
    shape = (blocks, SIZE) if blocks else (SIZE,)
    weights = {
        "w": np.arange(SIZE * SIZE, dtype=np.uint8).reshape(SIZE, SIZE),
        "s": np.linspace(0.1, 1, blocks * SIZE or SIZE, dtype=np.float16).reshape(shape),
        "z": np.full(shape, 7, np.uint8),
    }
    model = parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 23]>\n'
        f"m (float16[{rows}, {SIZE}] x) => (float16[{rows}, {SIZE}] y) {{ {body} }}"
    )
    for name, array in weights.items():
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    ctx, target = compiler_context(), NvidiaTarget("sm_90", cache=False)
    module = import_model(model, ctx)
    passes = graph_pipeline(target.composites, quantized_weights=target.quantized_weights)
    for each in (*passes, GraphToTilePass(), *target.passes()):
        each.apply(ctx, module)
    kernels = [op for op in module.body.block.ops if isinstance(op, tile.KernelOp)]
    product = next(
        k for k in kernels if any(isinstance(op, tile.DotOp) for op in k.body.walk())
    )
    kernel = emit_kernel(product)
    facts = tuple(i for i, argument in enumerate(kernel.arguments) if argument.divisible)
    (code,) = compile_jobs([Job(kernel, 90, facts)], None)
    return code


@pytest.mark.parametrize("rows", [1, 16, 512])
@pytest.mark.parametrize(("body", "blocks"), [(COLUMNS, 0), (BLOCKS, 32)], ids=["n", "k"])
def test_bytes_are_copied_in_lines_and_multiplied_by_tensor_cores(
    rows: int, body: str, blocks: int
):
    code = compiled(rows, body, blocks)
    found = kernel_resources(code)
    assert found.tensor > 0 and found.stack == 0 and found.spills == 0
    sizes = re.findall(
        r"cp\.async\.c[ga]\.shared\.global \[[^]]*\], \[[^]]*\], (\w+)", code.ptx
    )
    # A tile of a block's positions is small: a thread has four bytes of it and more.
    assert sizes and min(int(size, 16) for size in sizes) >= (4 if blocks else 16)
