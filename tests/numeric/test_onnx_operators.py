"""Meanings of ONNX operators that the backend cases leave open, against numpy."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from tests.numeric.onnx_import import interpret_model


def run(
    op: str,
    *inputs: Any,
    opset: int = 28,
    outputs: int = 1,
    domain: str = "",
    symbolic: bool = True,
    **attributes: Any,
) -> list[np.ndarray]:
    """One node on arrays, its inputs of symbolic sizes unless a size is 1."""
    names = ["" if x is None else f"x{i}" for i, x in enumerate(inputs)]
    given = {name: np.asarray(x) for name, x in zip(names, inputs, strict=True) if name}
    results = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(op, names, results, domain=domain, **attributes)
    infos = [
        helper.make_tensor_value_info(
            name,
            helper.np_dtype_to_tensor_dtype(array.dtype),
            [f"{name}_{i}" if symbolic and s != 1 else s for i, s in enumerate(array.shape)],
        )
        for name, array in given.items()
    ]
    outs = [helper.make_tensor_value_info(name, 0, None) for name in results]
    imports = [helper.make_opsetid("", opset)]
    if domain:
        imports.append(helper.make_opsetid(domain, 1))
    model = helper.make_model(
        helper.make_graph([node], op, infos, outs), opset_imports=imports, ir_version=10
    )
    assert isinstance(model, onnx.ModelProto)
    return interpret_model(model, list(given.values()))


def close(given: np.ndarray, wanted: Any, rtol: float = 1e-5) -> None:
    wanted = np.asarray(wanted)
    assert given.dtype == wanted.dtype
    np.testing.assert_allclose(given, wanted, rtol=rtol, atol=1e-6)


FLOATS = np.array(
    [-np.inf, -1e30, -1e9, -3.5, -1, -1e-4, 0, 1e-4, 0.5, 1, 40, 1e9, 1e30, np.inf, np.nan]
)


@pytest.mark.parametrize(
    ("op", "function"),
    [
        ("Asinh", np.arcsinh),
        ("Acosh", np.arccosh),
        ("Atanh", np.arctanh),
        ("Asin", np.arcsin),
        ("Acos", np.arccos),
        ("Atan", np.arctan),
        ("Sinh", np.sinh),
        ("Cosh", np.cosh),
        ("Sign", np.sign),
        ("Softplus", lambda x: np.logaddexp(x, 0)),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_functions_over_their_whole_range(op: str, function: Any, dtype: Any) -> None:
    x = FLOATS.astype(dtype)
    with np.errstate(all="ignore"):
        wanted = function(x.astype(np.float64)).astype(dtype)
    close(run(op, x)[0], wanted)


def test_half_width_formulas_round_once() -> None:
    x = np.linspace(-6, 6, 101).astype(np.float16)
    wide = x.astype(np.float64)
    wanted = wide * np.tanh(np.log1p(np.exp(wide)))
    np.testing.assert_allclose(
        run("Mish", x)[0].astype(np.float64), wanted, rtol=1e-3, atol=1e-6
    )


def test_mod_takes_the_divisors_sign_and_fmod_the_dividends() -> None:
    x = np.array([-7, 7, -7, 7, 6, -6], np.int32)
    y = np.array([3, 3, -3, -3, -3, 3], np.int32)
    close(run("Mod", x, y)[0], np.mod(x, y))
    close(run("Mod", x, y, fmod=1)[0], np.fmod(x, y))
    floats = np.array([-0.0, 0.0, 5.5, -5.5], np.float32)
    given = run("Mod", floats, np.array([2, -2, -2, 2], np.float32))[0]
    close(given, np.array([0.0, -0.0, -0.5, 0.5], np.float32))
    assert np.signbit(given).tolist() == [False, True, True, False]


def test_pow_keeps_the_bases_type() -> None:
    base, exponent = np.array([2, 3, 10], np.int32), np.array([0.5, 2.0, 3.0], np.float32)
    close(run("Pow", base, exponent)[0], np.array([1, 9, 1000], np.int32))
    close(
        run("Pow", base.astype(np.float32), np.array([3, 2, -1], np.int64))[0],
        np.array([8, 9, 0.1], np.float32),
    )


def test_clip_with_crossed_limits_gives_the_upper_one() -> None:
    x = np.array([-1, 5, 20], np.float32)
    close(run("Clip", x, np.float32(10), np.float32(2))[0], np.array([2, 2, 2], np.float32))
    close(run("Clip", x, opset=7, min=0.0)[0], np.array([0, 5, 20], np.float32))


def test_old_softmax_flattens() -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    flat = np.exp(x.reshape(2, 12))
    wanted = (flat / flat.sum(1, keepdims=True)).reshape(x.shape)
    close(run("Softmax", x, opset=11, axis=1)[0], wanted)
    hard = run("Hardmax", x, opset=11, axis=1)[0]
    assert (
        hard.sum() == 2 and (hard.reshape(2, 12).argmax(1) == x.reshape(2, 12).argmax(1)).all()
    )


def test_reductions_of_nothing_and_of_no_axes() -> None:
    empty = np.zeros((2, 0), np.float32)
    axes = np.array([1])
    close(run("ReduceSum", empty, axes, keepdims=0)[0], np.zeros(2, np.float32))
    close(run("ReduceMax", empty, axes, keepdims=0)[0], np.full(2, -np.inf, np.float32))
    close(run("ReduceLogSumExp", empty, axes)[0], np.full((2, 1), -np.inf, np.float32))
    x = np.array([[1, -2], [3, 4]], np.float32)
    none = np.zeros(0, np.int64)
    close(run("ReduceSumSquare", x, none, noop_with_empty_axes=1, symbolic=False)[0], x * x)
    close(run("ReduceMax", x, none, symbolic=False)[0], np.array([[4]], np.float32))
    close(
        run("ReduceMean", x.astype(np.int32), opset=13, axes=[-1])[0],
        np.array([[0], [3]], np.int32),
    )


def test_log_sum_exp_does_not_overflow() -> None:
    x = np.array([[1000, 1000], [-np.inf, -np.inf], [np.inf, 0]], np.float32)
    wanted = np.array([[1000 + np.log(2)], [-np.inf], [np.inf]], np.float32)
    close(run("ReduceLogSumExp", x, np.array([1]))[0], wanted)


@pytest.mark.parametrize(
    ("left", "right"),
    [((4,), (4,)), ((4,), (2, 4, 3)), ((5, 2, 3, 4), (4,)), ((2, 3, 4), (4, 5)),
     ((3, 4), (2, 4, 5)), ((2, 1, 3, 4), (6, 4, 5))],
)  # fmt: skip
def test_matrix_products(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    generator = np.random.default_rng(0)
    a, b = (generator.normal(size=s).astype(np.float32) for s in (left, right))
    close(run("MatMul", a, b)[0], a @ b, rtol=1e-4)
    x, y = (generator.integers(0, 255, size=s).astype(np.uint8) for s in (left, right))
    wanted = (x.astype(np.int32) - 7) @ (y.astype(np.int32) - 130)
    close(run("MatMulInteger", x, y, np.uint8(7), np.uint8(130), opset=10)[0], wanted)


def test_gemm_of_integers_and_odd_scales() -> None:
    a, b = (
        np.arange(6, dtype=np.int32).reshape(3, 2),
        np.arange(12, dtype=np.int32).reshape(4, 3),
    )
    c = np.arange(4, dtype=np.int32)
    given = run("Gemm", a, b, c, transA=1, transB=1, alpha=2.0, beta=3.0)[0]
    close(given, 2 * a.T @ b.T + 3 * c)


@pytest.mark.parametrize(
    "equation",
    ["ij,jk->ik", "ij,jk", "bij,bjk->bki", "ii->i", "ii", "iji->j", "i,j->ij", "ij,ij->",
     "...ij,...jk->...ik", "b...,c...->...cb", "ij,jk,kl->il", "bhqd,bhkd->bhqk", "ij->ji", "ij->"],
)  # fmt: skip
def test_einsum(equation: str) -> None:
    generator = np.random.default_rng(0)
    terms = equation.split("->")[0].split(",")
    sizes = dict(zip("ijklbchqd", (3, 4, 5, 2, 6, 2, 3, 4, 5), strict=True))
    arrays = [
        generator.normal(size=[7 if c == "." else sizes[c] for c in term.replace("...", ".")])
        for term in terms
    ]
    close(run("Einsum", *arrays, equation=equation)[0], np.einsum(equation, *arrays))
    close(
        run("Einsum", *arrays, equation=equation, symbolic=False)[0],
        np.einsum(equation, *arrays),
    )


def test_einsum_repeats_sizes_of_one() -> None:
    a, b = np.ones((1, 3, 4)), np.ones((5, 4, 2))
    given = run("Einsum", a, b, equation="...ij,...jk->...ik", symbolic=False)
    close(given[0], np.full((5, 3, 2), 4.0))


def test_determinants() -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 5))
    x[0, 0, 0, 0] = 0
    x[1, 1, 2] = x[1, 1, 3]
    close(run("Det", x)[0], np.linalg.det(x))


def test_losses_ignore_classes_outside_the_range() -> None:
    logs = np.log(np.array([[0.2, 0.8], [0.5, 0.5], [0.9, 0.1]], np.float32))
    labels, weights = np.array([1, -100, 0]), np.array([2, 3], np.float32)
    wanted = -(3 * np.log(0.8) + 2 * np.log(0.9)) / 5
    given = run("NegativeLogLikelihoodLoss", logs, labels, weights, ignore_index=-100)
    close(given[0], np.float32(wanted))


def test_quantization_rounds_before_adding_the_zero_point() -> None:
    x = np.array([-1.5, -0.5, 0.5, 1.5, 300], np.float32)
    given = run("QuantizeLinear", x, np.float32(1), np.uint8(1), opset=21)[0]
    close(given, np.array([0, 1, 1, 3, 255], np.uint8))
    back = run("DequantizeLinear", given, np.float32(0.5), np.uint8(1), opset=21)[0]
    close(back, np.array([-0.5, 0, 0, 1, 127], np.float32))


def test_random_numbers_have_their_distributions() -> None:
    shape = [200, 300]
    normal = run("RandomNormal", shape=shape, mean=3.0, scale=2.0, seed=1.0, opset=22)[0]
    assert abs(normal.mean() - 3) < 0.05 and abs(normal.std() - 2) < 0.05
    uniform = run("RandomUniform", shape=shape, low=-1.0, high=3.0, seed=1.0, opset=22)[0]
    assert uniform.min() >= -1 and uniform.max() < 3 and abs(uniform.mean() - 1) < 0.05
    again = run("RandomUniform", shape=shape, low=-1.0, high=3.0, seed=1.0, opset=22)[0]
    np.testing.assert_array_equal(uniform, again)
    other = run("RandomUniform", shape=shape, low=-1.0, high=3.0, seed=2.0, opset=22)[0]
    assert (uniform != other).mean() > 0.99
    chance = np.full(shape, 0.25, np.float32)
    assert abs(run("Bernoulli", chance, seed=4.0, opset=22)[0].mean() - 0.25) < 0.02
    logs = np.log(np.array([[0.1, 0.6, 0.3]], np.float32))
    drawn = run("Multinomial", logs, sample_size=20000, seed=5.0, opset=22)[0]
    assert drawn.dtype == np.int32 and drawn.shape == (1, 20000)
    np.testing.assert_allclose(np.bincount(drawn[0]) / 20000, [0.1, 0.6, 0.3], atol=0.02)


def test_top_k_takes_its_count_at_run_time() -> None:
    x = np.array([[3, 1, 3, 2]], np.float32)
    values, indices = run("TopK", x, np.array([3]), outputs=2, opset=11)
    close(values, np.array([[3, 3, 2]], np.float32))
    close(indices, np.array([[0, 2, 3]]))
