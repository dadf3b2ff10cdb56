"""Products with 8-bit weights: what is read, and that the numbers stay."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from onnx import numpy_helper, parser

from infini_ir.dialects import tile
from infini_ir.dialects.context import compiler_context
from infini_ir.dialects.graph import DequantizeOp, MulOp
from infini_ir.dialects.tile import program
from infini_ir.frontends.onnx.importer import import_model
from infini_ir.interpreters.graph import interpret
from infini_ir.interpreters.tile import interpret_program
from infini_ir.lowering.graph_to_tile import GraphToTilePass
from infini_ir.passes.graph.pipeline import QuantizedWeights, graph_pipeline
from infini_ir.passes.tile.contraction import find_contraction
from infini_ir.passes.tile.depth_major import DepthMajorPass
from infini_ir.passes.tile.lay_out_weights import LayOutWeightsPass
from infini_ir.targets.cpu.target import COMPOSITES

RNG = np.random.default_rng(0)
SIZES = {"M": 21, "B": 3}


def signed(*shape: int) -> np.ndarray:
    return RNG.integers(-128, 128, shape).astype(np.int8)


def unsigned(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape).astype(np.uint8)


def scales(dtype: type, *shape: int) -> np.ndarray:
    return RNG.uniform(0.01, 0.1, shape).astype(dtype)


F16, F32 = np.float16, np.float32

MODELS = {
    "columns": (
        "(float16[M,64] x) => (float16[M,96] y) "
        "{ d = DequantizeLinear<axis=1>(w, s) y = MatMul(x, d) }",
        {"w": signed(64, 96), "s": scales(F16, 96)},
    ),
    "zero_points": (
        "(float16[M,64] x) => (float16[M,96] y) "
        "{ d = DequantizeLinear<axis=1>(w, s, z) y = MatMul(x, d) }",
        {"w": unsigned(64, 96), "s": scales(F16, 96), "z": unsigned(96)},
    ),
    "zeros": (
        "(float[M,40] x) => (float[M,2000] y) "
        "{ d = DequantizeLinear<axis=1>(w, s, z) y = MatMul(x, d) }",
        {"w": signed(40, 2000), "s": scales(F32, 2000), "z": np.zeros(2000, np.int8)},
    ),
    "transposed_with_epilogue": (
        "(float[M,64] x, float[96] b) => (float[M,96] y) "
        "{ d = DequantizeLinear<axis=0>(w, s, z) t = Gemm<transB=1>(x, d, b) y = Relu(t) }",
        {"w": unsigned(96, 64), "s": scales(F32, 96), "z": unsigned(96)},
    ),
    "blocks": (
        "(float16[M,96] x) => (float16[M,72] y) "
        "{ d = DequantizeLinear<axis=0, block_size=32>(w, s, z) y = MatMul(x, d) }",
        {"w": unsigned(96, 72), "s": scales(F16, 3, 72), "z": unsigned(3, 72)},
    ),
    "blocks_of_rows": (
        "(float[M,96] x) => (float[M,72] y) { d = DequantizeLinear<axis=1, block_size=24>(w, s) "
        "t = Transpose<perm=[1, 0]>(d) y = MatMul(x, t) }",
        {"w": signed(72, 96), "s": scales(F32, 72, 4)},
    ),
    "written_out": (
        "(float[M,64] x) => (float[M,96] y) "
        "{ a = Cast<to=1>(w) c = Cast<to=1>(z) e = Sub(a, c) d = Mul(e, s) y = MatMul(x, d) }",
        {"w": unsigned(64, 96), "s": scales(F32, 96), "z": unsigned(96)},
    ),
    "left": (
        "(float[64,M] x) => (float[96,M] y) "
        "{ d = DequantizeLinear<axis=0>(w, s, z) y = MatMul(d, x) }",
        {"w": unsigned(96, 64), "s": scales(F32, 96), "z": unsigned(96)},
    ),
    "batches": (
        "(float[B,M,64] x) => (float[B,M,96] y) "
        "{ d = DequantizeLinear(w, s, z) y = MatMul(x, d) }",
        {"w": unsigned(64, 96), "s": scales(F32), "z": unsigned()},
    ),
    "experts": (
        "(float[4,M,64] x) => (float[4,M,48] y) "
        "{ d = DequantizeLinear<axis=0>(w, s, z) y = MatMul(x, d) }",
        {"w": unsigned(4, 64, 48), "s": scales(F32, 4), "z": unsigned(4)},
    ),
    "contracted": (
        "(float[M,300] x) => (float[M,96] y) "
        "{ d = DequantizeLinear<axis=0>(w, s) y = MatMul(x, d) }",
        {"w": signed(300, 96), "s": scales(F32, 300)},
    ),
    "odd": (
        "(float16[M,45] x) => (float16[M,29] y) "
        "{ d = DequantizeLinear<axis=1>(w, s, z) y = MatMul(x, d) }",
        {"w": unsigned(45, 29), "s": scales(F16, 29), "z": unsigned(29)},
    ),
    "two_readers": (
        "(float[M,64] x, float[M,64] v) => (float[M,96] y, float[M,96] u) "
        "{ d = DequantizeLinear<axis=1>(w, s, z) y = MatMul(x, d) u = MatMul(v, d) }",
        {"w": unsigned(64, 96), "s": scales(F32, 96), "z": unsigned(96)},
    ),
}
KEPT_OUT = {
    "read_elsewhere": (
        "(float[M,64] x) => (float[M,96] y, float[64,96] d) "
        "{ d = DequantizeLinear<axis=1>(w, s) y = MatMul(x, d) }",
        {"w": signed(64, 96), "s": scales(F32, 96)},
    ),
    "blocks_that_do_not_divide": (
        "(float[M,50] x) => (float[M,96] y) "
        "{ d = DequantizeLinear<axis=0, block_size=32>(w, s) y = MatMul(x, d) }",
        {"w": signed(50, 96), "s": scales(F32, 2, 96)},
    ),
    "differences_that_wrap": (
        "(float[M,64] x) => (float[M,96] y) "
        "{ e = Sub(w, z) a = Cast<to=1>(e) d = Mul(a, s) y = MatMul(x, d) }",
        {"w": unsigned(64, 96), "s": scales(F32, 96), "z": unsigned(96)},
    ),
}
ALL = MODELS | KEPT_OUT


def imported(name: str):
    text, weights = ALL[name]
    model = parser.parse_model(f'<ir_version: 10, opset_import: ["" : 23]>\nm {text}')
    for key, array in weights.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), key))
    ctx = compiler_context()
    return import_model(model, ctx), ctx


def inputs_of(module) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    types = module.body.block.first_op.function_type.inputs.data
    return [
        rng.standard_normal([size.evaluate(SIZES) for size in kind.shape]).astype(
            F16 if kind.dtype == "f16" else F32
        )
        for kind in types
    ]


def lowered(name: str, where: QuantizedWeights):
    module, ctx = imported(name)
    inputs = inputs_of(module)
    wanted = interpret(module, inputs, ctx)
    for each in graph_pipeline(COMPOSITES, quantized_weights=where):
        each.apply(ctx, module)
        module.verify()
    given = interpret(module, inputs, ctx)
    close(given, wanted)
    GraphToTilePass().apply(ctx, module)
    module.verify()
    return module, ctx, inputs, wanted


def close(given, wanted) -> None:
    for one, other in zip(given, wanted, strict=True):
        assert one.dtype == other.dtype
        limit = (4e-3 if one.dtype == F16 else 1e-5) * np.abs(other).max()
        np.testing.assert_allclose(one.astype(float), other.astype(float), atol=limit)


def kernels_of(module) -> list[tile.KernelOp]:
    return [op for op in module.body.block.ops if isinstance(op, tile.KernelOp)]


def weight_bytes(module, ctx) -> Mapping[str, int]:
    return {
        op.handle.data: ctx.weights.nbytes(op.handle.data)
        for op in module.walk()
        if isinstance(op, program.WeightOp)
    }


@pytest.mark.parametrize("where", ["fused", "converted", "folded"])
@pytest.mark.parametrize("name", ALL)
def test_results_stay(name: str, where: QuantizedWeights):
    module, ctx, inputs, wanted = lowered(name, where)
    for sizes in ({}, {"BM": 5, "BN": 7, "BK": 11}, {"BM": 64, "BN": 128, "BK": 16}):
        close(interpret_program(module, inputs, ctx, parameters=sizes), wanted)


@pytest.mark.parametrize("name", MODELS)
def test_one_kernel_reads_the_bytes(name: str):
    """One product's kernel for each product, and nothing but it; the weight stays bytes."""
    module, ctx, _, _ = lowered(name, "fused")
    kernels = kernels_of(module)
    launches = [op for op in module.walk() if isinstance(op, program.LaunchOp)]
    assert len(launches) == ALL[name][0].count("Mat") + ALL[name][0].count("Gemm")
    assert all(find_contraction(kernel) is not None for kernel in kernels)
    weights = ALL[name][1]
    most = weights["w"].nbytes + 4 * sum(a.size for key, a in weights.items() if key != "w")
    assert sum(weight_bytes(module, ctx).values()) <= most


@pytest.mark.parametrize("name", KEPT_OUT)
def test_other_weights_are_folded(name: str):
    module, *_ = lowered(name, "fused")
    dots = [k for k in kernels_of(module) if find_contraction(k) is not None]
    assert len(dots) == 1
    if name != "differences_that_wrap":
        contraction = find_contraction(dots[0])
        assert contraction is not None and contraction.loads is not None


def test_converted_before_the_product():
    """Bytes in memory, one kernel that converts them, one that multiplies and scales."""
    module, ctx, _, _ = lowered("columns", "converted")
    kernels = kernels_of(module)
    assert [find_contraction(kernel) is not None for kernel in kernels] == [False, True]
    contraction = find_contraction(kernels[1])
    assert contraction is not None and contraction.loads is not None
    assert ctx.weights.nbytes("w") == 64 * 96 and "w" in weight_bytes(module, ctx)


@pytest.mark.parametrize("name", ["columns", "zeros", "written_out", "batches"])
def test_scales_come_after_the_product(name: str):
    """A kernel's loop over the contracted axis multiplies nothing but in the product."""
    module, ctx = imported(name)
    for each in graph_pipeline(COMPOSITES, quantized_weights="fused"):
        each.apply(ctx, module)
    assert not any(isinstance(op, DequantizeOp) for op in module.walk())
    for op in module.walk():
        if isinstance(op, MulOp):
            owner = op.lhs.owner if op.lhs.owner.name == "graph.dot" else op.rhs.owner
            assert owner.name == "graph.dot"


@pytest.mark.parametrize("name", [name for name in MODELS if name != "left"])
def test_depth_lies_side_by_side(name: str):
    """The bytes along the contracted axis become neighbours; the results stay."""
    module, ctx, inputs, wanted = lowered(name, "fused")
    for each in (DepthMajorPass(), LayOutWeightsPass()):
        each.apply(ctx, module)
        module.verify()
    for kernel in kernels_of(module):
        contraction = find_contraction(kernel)
        assert contraction is not None and contraction.dot.transposed is not None
        loads = [op for op in kernel.body.walk() if isinstance(op, tile.LoadOp)]
        (byte_load,) = [
            load for load in loads
            if tile.tile_type(load.out).dtype in ("i8", "ui8")
            and tile.tile_type(load.out).rank == 2
        ]  # fmt: skip
        assert tile.view_type(byte_load.view).strides[byte_load.axis_list[-1]].value == 1
    for sizes in ({}, {"BM": 5, "BN": 7, "BK": 11}):
        close(interpret_program(module, inputs, ctx, parameters=sizes), wanted)


def test_depth_of_left_factors_and_inputs_stays():
    """Only a right factor is turned, and only a weight, which can be stored otherwise."""
    module, ctx, _, _ = lowered("left", "fused")
    before = str(module)
    DepthMajorPass().apply(ctx, module)
    assert str(module) == before
