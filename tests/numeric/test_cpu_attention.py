"""Attention as machine code: queries in lanes, blocks of keys, causal ones in pairs."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from special_kernels import graph_module
from test_cpu_assembly import innermost_loops, is_vector_stack_access
from tile_programs import run_native

from infini_ir.dialects import graph
from infini_ir.dialects.context import compiler_context
from infini_ir.dialects.graph import TensorType
from infini_ir.lowering.graph_to_tile import GraphToTilePass
from infini_ir.runtime.model import CompiledModel
from infini_ir.targets.cpu.target import CpuTarget

T = TensorType.of


def built(types, options, cpu="native"):
    ctx = compiler_context()
    module = graph_module(
        types, lambda b, *x: [b.insert(graph.AttentionOp(*x[:3], **_given(x, options))).out]
    )
    target = CpuTarget(cpu, cache=False)
    for current in (GraphToTilePass(), *target.passes()):
        current.apply(ctx, module)
    return target.build(module, ctx)


def _given(x, options):
    return {"scale": 0.3, **options, **({"bias": x[3]} if len(x) > 3 else {})}


def exact(q, k, v, bias, causal):
    """In f64; rows that see nothing are 0."""
    q, k, v = (x.astype(np.float64) for x in (q, k, v))
    k, v = (np.repeat(x, q.shape[1] // k.shape[1], axis=1) for x in (k, v))
    scores = 0.3 * q @ k.swapaxes(-1, -2) + (0 if bias is None else bias)
    queries, keys = scores.shape[-2:]
    if causal:
        seen = np.tri(queries, keys, keys - queries, dtype=bool)
        scores = np.where(seen, scores, -np.inf)
    top = scores.max(-1, keepdims=True)
    weights = np.where(np.isneginf(top), 0, np.exp(scores - np.where(np.isneginf(top), 0, top)))
    total = weights.sum(-1, keepdims=True)
    return np.where(total == 0, 0, weights @ v / np.where(total == 0, 1, total))


SHAPES = [(1, 2, 2, 70, 150, 64, 64), (2, 4, 2, 33, 33, 24, 20), (1, 3, 1, 197, 197, 16, 16),
          (1, 2, 1, 1, 300, 32, 32), (1, 1, 1, 130, 131, 8, 5), (2, 8, 2, 1, 333, 80, 72),
          (1, 2, 1, 3, 40, 33, 130), (1, 4, 4, 8, 17, 128, 128), (1, 2, 2, 2, 600, 20, 20),
          (1, 1, 1, 1, 1, 16, 16)]  # fmt: skip


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_against_wider_arithmetic_on_any_number_of_threads(shape, causal, bias):
    batch, heads, groups, queries, keys, width, values = shape
    rng = np.random.default_rng(queries)
    sizes = [(batch, heads, queries, width), (batch, groups, keys, width),
             (batch, groups, keys, values)]  # fmt: skip
    inputs = [rng.normal(size=size).astype(np.float32) for size in sizes]
    added = None
    if bias:
        added = rng.normal(size=(1, 1, queries, keys)).astype(np.float32)
        added[0, 0, 0] = -np.inf
        inputs.append(added)
    program = built([T(x.shape, "f32") for x in inputs], {"causal": causal})
    results = [run_native(program, inputs, n)[0] for n in (1, 2, 3, 5)]
    wanted = exact(*inputs[:3], added, causal)
    np.testing.assert_allclose(results[0], wanted, rtol=2e-5, atol=2e-6)
    assert all(result.tobytes() == results[0].tobytes() for result in results)


@pytest.mark.parametrize("cpu", ["native", "x86-64-v3"])
@pytest.mark.parametrize("queries", [2, 70])
def test_weights_are_never_subnormal(queries, cpu):
    """Where scores lie 88.1 to 103 apart, weights are 0: processors multiply by subnormal
    numbers a hundred times as slowly. At 80 to 87 they count."""
    rng = np.random.default_rng(0)
    keys, width = 150, 32
    q, k, v = (np.zeros((1, 2, n, width), np.float32) for n in (queries, keys, keys))
    bias = np.zeros((1, 1, queries, keys), np.float32)
    v[:, 0, 1:], v[:, 1, 1:] = 1e36, rng.normal(size=(keys - 1, width))
    bias[..., 1:] = -rng.uniform(88.1, 103, size=(queries, keys - 1))
    bias[:, :, 1::2, 1:] = -rng.uniform(80, 87, size=(queries // 2, keys - 1))
    inputs = [q, k, v, bias]
    program = built([T(x.shape, "f32") for x in inputs], {"causal": False}, cpu)
    result = CompiledModel(program, threads=2)(*inputs)
    assert not result[:, :, ::2].any()
    wanted = exact(q, k, v, bias, False)[:, :, 1::2]
    np.testing.assert_allclose(result[:, :, 1::2], wanted, rtol=2e-5, atol=1e-37)


def operands(shape, bias):
    """Operands in bf16; a bias in f32, whose first row lets nothing be seen."""
    batch, heads, groups, queries, keys, width, values = shape
    rng = np.random.default_rng(queries)
    sizes = [(batch, heads, queries, width), (batch, groups, keys, width),
             (batch, groups, keys, values)]  # fmt: skip
    inputs = [rng.normal(size=size).astype(ml_dtypes.bfloat16) for size in sizes]
    if bias:
        inputs.append(rng.normal(size=(1, 1, queries, keys)).astype(np.float32))
        inputs[-1][0, 0, 0] = -np.inf
    return inputs


def built_for(inputs, causal, cpu="native"):
    return built([T(x.shape, TYPES[x.dtype.name]) for x in inputs], {"causal": causal}, cpu)


TYPES = {"float32": "f32", "bfloat16": "bf16"}

BF16_SHAPES = [
    *SHAPES, (1, 2, 2, 64, 128, 64, 64), (1, 1, 1, 130, 131, 80, 128), (1, 2, 1, 40, 40, 256, 256),
    (1, 4, 1, 16, 33, 96, 33), (2, 1, 1, 9, 7, 32, 48),
]  # fmt: skip


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("shape", BF16_SHAPES, ids=str)
def test_bf16_against_wider_arithmetic(shape, causal, bias):
    """Weights and results are rounded to bf16, 2**-9 each; sums are in f32."""
    inputs = operands(shape, bias)
    program = built_for(inputs, causal)
    results = [run_native(program, inputs, n)[0] for n in range(1, 6)]
    wanted = exact(*inputs[:3], inputs[3] if bias else None, causal)
    largest = np.abs(inputs[2].astype(np.float64)).max()
    error = np.abs(results[0].astype(np.float64) - wanted)
    assert (error <= 2.0**-8 * (np.abs(wanted) + largest / 2)).all()
    assert all(result.tobytes() == results[0].tobytes() for result in results)


@pytest.mark.parametrize("bias", [False, True])
def test_bf16_of_nans_and_infinities(bias):
    inputs = operands((1, 2, 2, 70, 150, 48, 40), bias)
    q, k, v = inputs[:3]
    q[0, 0, 3, 5], q[0, 0, 66, 0] = np.nan, np.inf
    k[0, 1, 140, 47], v[0, 1, 149, 39], v[0, 1, 7, 2] = -np.inf, np.nan, np.inf
    (result,) = [CompiledModel(built_for(inputs, False), threads=2)(*inputs)]
    with np.errstate(invalid="ignore"):
        wanted = exact(*inputs[:3], inputs[3] if bias else None, False)
    np.testing.assert_allclose(result.astype(np.float64), wanted, rtol=0.02, atol=0.02)
    assert np.isnan(wanted).any() and np.isfinite(wanted).any()


def test_nans_of_a_few_queries():
    rng = np.random.default_rng(0)
    q, k, v = (rng.normal(size=(1, 2, n, 48)).astype(np.float32) for n in (2, 300, 300))
    q[0, 0, 1, 5], k[0, 1, 299, 47], v[0, 0, 7, 2] = np.nan, -np.inf, np.inf
    result = CompiledModel(built_for([q, k, v], False), threads=2)(q, k, v)
    with np.errstate(invalid="ignore"):
        wanted = exact(q, k, v, None, False)
    np.testing.assert_allclose(result, wanted, rtol=2e-5, atol=2e-6)
    assert np.isnan(wanted).any() and np.isfinite(wanted).any()


def test_keys_of_one_query_are_read_in_order():
    """The keys of a vector of scores are loaded as they lie, and nothing is spilled."""
    shapes = [(1, 8, 1, 64), (1, 8, 512, 64), (1, 8, 512, 64)]
    program = built([T(shape, "f32") for shape in shapes], {}, "x86-64-v4")
    loops = innermost_loops(program.texts["asm"])
    scores = [x for x in loops if sum("vfmadd" in y and "(%r" in y for y in x) >= 48]
    assert scores and not any("vgather" in y for x in loops for y in x)
    for loop in scores:
        assert not any(is_vector_stack_access(y) for y in loop)


@pytest.mark.parametrize("causal", [False, True])
def test_bf16_products_are_of_tiles(causal):
    inputs = operands((1, 12, 12, 128, 128, 64, 64), False)
    assembly = built_for(inputs, causal, "sapphirerapids").texts["asm"]
    assert "tdpbf16ps" in assembly and "vcvtne2ps2bf16" in assembly
    assert "vgather" not in assembly
    weights = [x for x in innermost_loops(assembly) if any("vcvtne2ps2bf16" in y for y in x)]
    assert weights
    for loop in weights:
        assert not [line for line in loop if is_vector_stack_access(line)]


@pytest.mark.parametrize("causal", [False, True])
def test_products_keep_their_sums_in_registers(causal):
    types = [T((1, 12, 128, 64), "f32")] * 3
    assembly = built(types, {"causal": causal}, "x86-64-v4").texts["asm"]
    loops = [
        loop for loop in innermost_loops(assembly) if sum("vfmadd" in x for x in loop) > 80
    ]
    assert len(loops) >= 2
    for loop in loops:
        assert not [line for line in loop if is_vector_stack_access(line)]
    # No element is gathered: what lies across is transposed by shuffles.
    assert "vgather" not in assembly
