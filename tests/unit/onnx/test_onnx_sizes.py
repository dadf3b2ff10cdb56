"""Shapes computed by a model: followed as symbols, bound at run time, or specialised."""

import numpy as np
import pytest
from onnx_models import imported, results, signature, text_of

from infini_ir.frontends.onnx.errors import SpecializationNeeded


def last_type(text: str, **options) -> str:
    """The result type of a model's function."""
    return signature(imported(text, **options)[0]).split(" -> ")[1]


@pytest.mark.parametrize(
    ("body", "shape"),
    [
        ("s = Shape(x) y = Reshape(x, s)", "[B, S, 8]"),
        ("s = Shape<start=1>(x) m = Constant<value_ints=[-1]>() t = Concat<axis=0>(m, s) "
         "y = Reshape(x, t)", "[B, S, 8]"),
        ("t = Constant<value_ints=[0, -1, 2, 4]>() y = Reshape(x, t)", "[B, S, 2, 4]"),
        ("t = Constant<value_ints=[-1, 4]>() y = Reshape(x, t)", "[2*B*S, 4]"),
        ("s = Shape(x) i = Constant<value_int=1>() d = Gather(s, i) "
         "a = Constant<value_ints=[0]>() v = Unsqueeze(d, a) y = ConstantOfShape(v)", "[S]"),
        ("s = Shape(x) i = Constant<value_int=-2>() d = Gather(s, i) two = Constant<value_int=2>() "
         "e = Mul(d, two) z = Constant<value_int=0>() one = Constant<value_int=1>() "
         "y = Range(z, e, one)", "[2*S]"),
        ("s = Shape(x) p = ReduceProd<keepdims=1>(s) y = ConstantOfShape(p)", "[8*B*S]"),
        ("s = Shape(x) m = Constant<value_int=-1>() e = Equal(s, m) z = Sub(s, s) "
         "w = Where(e, z, s) y = Expand(x, w)", "[B, S, 8]"),
        ("s = Shape(x) f = Cast<to=6>(s) two = Constant<value=int32 {2}>() h = Div(f, two) "
         "g2 = Cast<to=7>(h) y = ConstantOfShape(g2)",
         "[floordiv(B, 2), floordiv(S, 2), 4]"),
        ("n = Size(x) a = Constant<value_ints=[0]>() v = Unsqueeze(n, a) y = ConstantOfShape(v)",
         "[8*B*S]"),
    ],
)  # fmt: skip
def test_shape_arithmetic_is_followed(body: str, shape: str):
    text = f"g (float[B,S,8] x) => (float[] y) {{ {body} }}"
    assert f"!graph.tensor<{shape}, " in last_type(text)
    assert "graph.bind" not in text_of(text)


def test_dead_shape_arithmetic_is_erased():
    text = text_of("g (float[B,4] x) => (float[] y) { s = Shape(x) y = Reshape(x, s) }")
    assert "graph.dim" not in text


def test_a_run_time_shape_is_bound():
    text = "g (int64[2] s) => (float[A,B] y) { y = ConstantOfShape(s) }"
    printed = text_of(text)
    assert printed.count("graph.bind") == 2
    assert "[s, s_1]" in printed
    [y] = results(text, [np.array([2, 3])])
    assert y.shape == (2, 3)


def test_one_value_is_bound_once():
    text = text_of(
        "g (int64[2] s) => (float[A,B] y, float[A,B] z) "
        "{ y = ConstantOfShape(s) z = ConstantOfShape(s) w = Add(y, z) }"
    )
    assert text.count("graph.bind") == 2


def test_known_and_run_time_sizes_mix():
    body = """s = Shape<end=1>(x) t = Concat<axis=0>(s, n) y = ConstantOfShape(t)"""
    text = text_of(f"g (float[B,4] x, int64[1] n) => (float[] y) {{ {body} }}")
    assert text.count("graph.bind") == 1
    assert "[B, t]" in text


def test_a_shape_of_unknown_length_asks_for_its_value():
    text = "g (int64[R] s) => (float[] y) { y = ConstantOfShape(s) }"
    with pytest.raises(SpecializationNeeded) as caught:
        imported(text)
    assert caught.value.names == ("s",)
    module, _ = imported(text, {"s": np.array([2, 3])})
    assert "-> !graph.tensor<[2, 3], f32>" in signature(module)


def test_all_needed_values_are_collected():
    text = """g (float[4,4] x, int64[1] a, int64[1] b) => (float[] y, float[] z) {
        y = ReduceSum(x, a)
        t = Mul(b, b)
        z = ReduceSum(x, t)
        w = Neg(z)
    }"""
    with pytest.raises(SpecializationNeeded, match=r"axes.*must be known") as caught:
        imported(text)
    assert caught.value.names == ("a", "b")
    y, z = results(
        text, [np.ones((4, 4), np.float32)], {"a": np.array([0]), "b": np.array([1])}
    )
    assert (y.shape, z.shape) == ((1, 4), (4, 1))


def test_values_of_sizes_ask_for_the_shape():
    text = """g (float[4,4] x, float[N] q) => (float[] y) {
        s = Shape(q) one = Constant<value_ints=[1]>() a = Mod(s, one) b = Add(a, s)
        y = ReduceSum(x, b)
    }"""
    with pytest.raises(SpecializationNeeded) as caught:
        imported(text)
    assert (caught.value.names, caught.value.shapes) == ((), ("q",))
    assert "[4, 1]" in signature(imported(text, {"q": (1,)})[0])


def test_small_known_results_are_folded():
    text = text_of(
        "g (float[2] x) => (float[2] y) { a = Constant<value_floats=[1.0,2.0]>() "
        "b = Exp(a) c = Mul(b, a) y = Add(x, c) }"
    )
    assert "graph.exp" not in text and "graph.mul" not in text


def test_long_chains_are_followed_without_recursion():
    steps = " ".join(f"d{i + 1} = Add(d{i}, one)" for i in range(3000))
    text = f"""g (float[N] x) => (float[] y) {{
        one = Constant<value_ints=[1]>() d0 = Shape(x) {steps} y = ConstantOfShape(d3000) }}"""
    assert "[N + 3000]" in last_type(text)
