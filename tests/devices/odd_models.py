"""Small ONNX models with odd shapes, types and interfaces, and inputs for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx.parser

Array = np.ndarray
HEAD = '<ir_version: 10, opset_import: ["" : 21]>\n'
TYPES = (
    "float", "double", "float16", "int8", "int16", "int32", "int64",
    "uint8", "uint16", "uint32", "uint64", "bool",
)  # fmt: skip


@dataclass(frozen=True)
class OddModel:
    """A model as text, and sets of inputs."""

    text: str
    inputs: tuple[tuple[Array, ...], ...]

    def model(self) -> onnx.ModelProto:
        return onnx.parser.parse_model(HEAD + self.text)


def numbers(shape: Sequence[int], type: str = "float") -> Array:
    """Numbers that every type has, the signed ones below 0 too."""
    count = int(np.prod(shape))
    names = {"float": "float32", "double": "float64"}
    dtype = np.dtype(names.get(type, type))
    values = (np.arange(count) * 7 + 3) % 11
    if dtype.kind in "if":
        values = values - 5
    if type == "bool":
        values = values % 2
    return values.reshape(shape).astype(dtype)


def _model(text: str, *inputs: Sequence[Array]) -> OddModel:
    return OddModel(text, tuple(tuple(given) for given in inputs))


def _unary(op: str, shape: str, out: str, *sizes: Sequence[int], type: str = "float") -> Any:
    given, made = (f"{type}[{dims}]" if dims else type for dims in (shape, out))
    text = f"m ({given} x) => ({made} y) {{ y = {op} }}"
    return _model(text, *[[numbers(s, type)] for s in sizes])


EMPTY: dict[str, OddModel] = {
    "add": _unary("Add(x, x)", "0, 3", "0, 3", (0, 3)),
    "add_unknown": _unary("Add(x, x)", "N, 3", "N, 3", (0, 3), (2, 3)),
    "exp_unknown_columns": _unary("Exp(x)", "3, N", "3, N", (3, 0), (3, 5)),
    "transpose": _unary("Transpose <perm = [1, 0]> (x)", "N, M", "M, N", (0, 3), (3, 0), (2, 3)),
    "softmax": _unary("Softmax(x)", "N, M", "N, M", (0, 3), (3, 0), (2, 3)),
    "softmax_known": _unary("Softmax(x)", "3, 0", "3, 0", (3, 0)),
    "concat": _model(
        "m (float[N, 2] a, float[M, 2] b) => (float[K, 2] y) { y = Concat <axis = 0> (a, b) }",
        [numbers((0, 2)), numbers((3, 2))],
        [numbers((3, 2)), numbers((0, 2))],
        [numbers((0, 2)), numbers((0, 2))],
    ),
    "matmul": _model(
        "m (float[M, K] a, float[K, N] b) => (float[M, N] y) { y = MatMul(a, b) }",
        [numbers((2, 0)), numbers((0, 3))],
        [numbers((0, 4)), numbers((4, 3))],
        [numbers((2, 4)), numbers((4, 0))],
        [numbers((2, 4)), numbers((4, 3))],
    ),
    "matmul_known": _model(
        "m (float[2, 0] a, float[0, 3] b) => (float[2, 3] y) { y = MatMul(a, b) }",
        [numbers((2, 0)), numbers((0, 3))],
    ),
    "gather": _model(
        "m (float[5, 2] x, int64[N] i) => (float[N, 2] y) { y = Gather(x, i) }",
        [numbers((5, 2)), np.zeros(0, np.int64)],
        [numbers((5, 2)), np.array([4, 0])],
    ),
    "scatter": _model(
        "m (float[5] x, int64[N] i, float[N] u) => (float[5] y)"
        " { y = ScatterElements <reduction = \"add\"> (x, i, u) }",
        [numbers((5,)), np.zeros(0, np.int64), numbers((0,))],
        [numbers((5,)), np.array([4, 4, 0]), numbers((3,))],
    ),
    "cumsum": _model(
        "m (float[N, 3] x) => (float[N, 3] y)"
        " <int64 a = {0}> { y = CumSum(x, a) }",
        [numbers((0, 3))],
        [numbers((4, 3))],
    ),
    "conv": _model(
        "m (float[N, 2, 5, 5] x, float[3, 2, 3, 3] w) => (float[N, 3, 3, 3] y)"
        " { y = Conv(x, w) }",
        [numbers((0, 2, 5, 5)), numbers((3, 2, 3, 3))],
        [numbers((1, 2, 5, 5)), numbers((3, 2, 3, 3))],
    ),
    "where": _model(
        "m (bool[N] c, float[N] a, float[1] b) => (float[N] y) { y = Where(c, a, b) }",
        [numbers((0,), "bool"), numbers((0,)), numbers((1,))],
        [numbers((3,), "bool"), numbers((3,)), numbers((1,))],
    ),
    "nonzero": _model(
        "m (float[N] x) => (int64[1, K] y) { y = NonZero(x) }",
        [np.zeros(0, np.float32)],
        [np.zeros(4, np.float32)],
        [numbers((20,))],
    ),
    "layer_norm": _model(
        "m (float[N, 4] x, float[4] s) => (float[N, 4] y) { y = LayerNormalization(x, s) }",
        [numbers((0, 4)), numbers((4,))],
        [numbers((2, 4)), numbers((4,))],
    ),
}  # fmt: skip
for _op in ("ReduceSum", "ReduceProd", "ReduceMax", "ReduceMin", "ReduceL2", "ReduceLogSumExp"):
    EMPTY[f"{_op}_unknown"] = _model(
        f"m (float[N, M] x) => (float[N] y) <int64[1] a = {{1}}>"
        f" {{ y = {_op} <keepdims = 0> (x, a) }}",
        [numbers((2, 0))], [numbers((0, 3))], [numbers((2, 3))],
    )  # fmt: skip
    EMPTY[f"{_op}_columns"] = _model(
        f"m (float[N, M] x) => (float[M] y) <int64[1] a = {{0}}>"
        f" {{ y = {_op} <keepdims = 0> (x, a) }}",
        [numbers((2, 0))], [numbers((0, 3))], [numbers((2, 3))],
    )  # fmt: skip

ONES: dict[str, OddModel] = {
    "broadcast": _model(
        "m (float[1, N, 1] a, float[M, 1, 1] b) => (float[M, N, 1] y) { y = Mul(a, b) }",
        [numbers((1, 3, 1)), numbers((2, 1, 1))],
        [numbers((1, 1, 1)), numbers((1, 1, 1))],
    ),
    "matmul": _model(
        "m (float[1, 1] a, float[1, N] b) => (float[1, N] y) { y = MatMul(a, b) }",
        [numbers((1, 1)), numbers((1, 1))],
        [numbers((1, 1)), numbers((1, 40))],
    ),
    "vector_matmul": _model(
        "m (float[K] a, float[K] b) => (float y) { y = MatMul(a, b) }",
        [numbers((1,)), numbers((1,))],
        [numbers((70,)), numbers((70,))],
    ),
    "reduce": _unary("ReduceSum(x)", "1, N, 1", "1, 1, 1", (1, 1, 1), (1, 33, 1)),
    "softmax": _unary("Softmax <axis = 1> (x)", "N, 1, M", "N, 1, M", (2, 1, 3), (1, 1, 1)),
    "transpose": _unary("Transpose(x)", "1, N, 1, 2", "2, 1, N, 1", (1, 3, 1, 2), (1, 1, 1, 2)),
    "conv": _model(
        "m (float[1, 1, 1, N] x, float[1, 1, 1, 1] w) => (float[1, 1, 1, N] y)"
        " { y = Conv(x, w) }",
        [numbers((1, 1, 1, 1)), numbers((1, 1, 1, 1))],
        [numbers((1, 1, 1, 9)), numbers((1, 1, 1, 1))],
    ),
    "top_k": _model(
        "m (float[1, N] x) => (float[1, 1] v, int64[1, 1] i) <int64[1] k = {1}>"
        " { v, i = TopK(x, k) }",
        [numbers((1, 1))],
        [numbers((1, 30))],
    ),
}  # fmt: skip

SCALARS: dict[str, OddModel] = {
    "add": _unary("Add(x, x)", "", "", ()),
    "exp": _unary("Exp(x)", "", "", ()),
    "reduce": _unary("ReduceSum(x)", "", "", ()),
    "reduce_all": _unary("ReduceMax <keepdims = 0> (x)", "N, 3", "", (2, 3), (70, 3)),
    "broadcast": _model(
        "m (float a, float[N] b) => (float[N] y) { y = Sub(a, b) }",
        [numbers(()), numbers((5,))],
    ),
    "expand": _model(
        "m (float a) => (float[3, 2] y) <int64[2] s = {3, 2}> { y = Expand(a, s) }",
        [numbers(())],
    ),
    "gather": _model(
        "m (float[N] x, int64 i) => (float y) { y = Gather(x, i) }",
        [numbers((5,)), np.array(3)],
        [numbers((5,)), np.array(-1)],
    ),
    "compare": _model(
        "m (int64 a, int64 b) => (bool y, int64 z) { y = Less(a, b) z = Where(y, a, b) }",
        [np.array(3), np.array(4)],
        [np.array(5), np.array(-4)],
    ),
    "transpose": _unary("Transpose(x)", "", "", ()),
    "unsqueeze": _model(
        "m (float a) => (float[1, 1] y) <int64[2] s = {0, 1}> { y = Unsqueeze(a, s) }",
        [numbers(())],
    ),
    "size": _model("m (float[N, M] x) => (int64 y) { y = Size(x) }", [numbers((3, 2))]),
    "if": _model(
        "m (bool c, float[N] x) => (float[N] y) { y = If (c) <"
        "then_branch = a () => (float[N] t) { t = Neg(x) },"
        "else_branch = b () => (float[N] f) { f = Exp(x) }> }",
        [np.array(True), numbers((3,))],
        [np.array(False), numbers((3,))],
    ),
}  # fmt: skip

INTERFACES: dict[str, OddModel] = {
    "no_inputs": _model("m () => (float[3] y) { y = Constant <value_floats = [1.0, 2.0, 3.0]> () }", []),
    "no_inputs_computed": _model(
        "m () => (float[2, 3] y) <int64[2] s = {2, 3}> { c = ConstantOfShape(s) y = Exp(c) }",
        [],
    ),
    "initializer_output": _model("m () => (float[2] y) <float[2] w = {1, 2}> { y = Identity(w) }", []),
    "identity": _model("m (float[N] x) => (float[N] y) { y = Identity(x) }", [numbers((3,))]),
    "input_and_result": _model(
        "m (float[N] x) => (float[N] y, float[N] z) { y = Identity(x) z = Neg(x) }", [numbers((3,))]
    ),
    "input_twice": _model(
        "m (float[N] x) => (float[N] y, float[N] z) { y = Identity(x) z = Identity(x) }",
        [numbers((3,))],
    ),
    "result_twice": _model(
        "m (float[N] x) => (float[N] y, float[N] z) { y = Neg(x) z = Identity(y) }",
        [numbers((3,))],
    ),
    "computed_twice": _model(
        "m (float[N] x) => (float[N] y, float[N] z) { y = Neg(x) z = Neg(x) }", [numbers((3,))]
    ),
    "intermediate": _model(
        "m (float[N] x) => (float[N] y, float[N] z) { y = Neg(x) z = Exp(y) }", [numbers((3,))]
    ),
    "input_reshaped": _model(
        "m (float[2, 3] x) => (float[6] y) <int64[1] s = {6}> { y = Reshape(x, s) }",
        [numbers((2, 3))],
    ),
    "unused_input": _model(
        "m (float[N] x, float[M] u) => (float[N] y) { y = Neg(x) }", [numbers((3,)), numbers((4,))]
    ),
    "keywords": _model(
        "m (float[N] int, float[N] class) => (float[N] lambda) { for = Add(int, class) lambda = Neg(for) }",
        [numbers((3,)), numbers((3,))],
    ),
}  # fmt: skip


def _types() -> dict[str, OddModel]:
    """Every operation of a kind on every type that ONNX has it for."""
    made: dict[str, OddModel] = {}
    for type in TYPES:
        same = f"({type}[N] x, {type}[N] y) => ({type}[N] z)"
        pair = [numbers((37,), type), numbers((37,), type)[::-1].copy()]
        bool_out = f"({type}[N] x, {type}[N] y) => (bool[N] z)"
        if type != "bool":
            one = "o = Constant <value_int = 1> () c = CastLike(o, y) a = Abs(y) d = Add(a, c)"
            body = (
                f"{one} s = Sub(x, y) m = Mul(s, x) q = Div(m, d) l = Max(q, y) z = Min(l, x)"
            )
            made[f"arithmetic-{type}"] = _model(f"m {same} {{ {body} }}", pair)
            made[f"compare-{type}"] = _model(
                f"m {bool_out} {{ a = Less(x, y) b = Equal(x, y) z = Or(a, b) }}", pair
            )
            made[f"reduce-{type}"] = _model(
                f"m ({type}[N, M] x) => ({type}[N] s, {type}[N] m, {type}[M] c)"
                " <int64[1] a = {1}, int64[1] b = {0}> { s = ReduceSum <keepdims = 0> (x, a)"
                " m = ReduceMax <keepdims = 0> (x, a) c = ReduceMin <keepdims = 0> (x, b) }",
                [numbers((5, 37), type)],
            )
            made[f"arg_max-{type}"] = _model(
                f"m ({type}[N, M] x) => (int64[N, 1] y) {{ y = ArgMax <axis = 1> (x) }}",
                [numbers((5, 37), type)],
            )
        else:
            made["logic-bool"] = _model(
                f"m {same} {{ a = And(x, y) b = Xor(x, a) z = Not(b) }}", pair
            )
        if type in ("float", "double", "int32", "int64", "uint32", "uint64", "float16"):
            made[f"matmul-{type}"] = _model(
                f"m ({type}[M, K] a, {type}[K, N] b) => ({type}[M, N] y) {{ y = MatMul(a, b) }}",
                [numbers((5, 9), type), numbers((9, 3), type)],
            )
            made[f"cumsum-{type}"] = _model(
                f"m ({type}[3, 37] x) => ({type}[3, 37] y) <int64 a = {{1}}> {{ y = CumSum(x, a) }}",
                [numbers((3, 37), type)],
            )  # fmt: skip
        if type not in ("float16",):
            made[f"mod-{type}"] = _model(
                f"m {same} {{ o = Constant <value_int = 1> () c = CastLike(o, y) a = Abs(y) "
                f"d = Add(a, c) z = Mod <fmod = {int(type in ('float', 'double'))}> (x, d) }}",
                pair,
            )
        made[f"moves-{type}"] = _model(
            f"m ({type}[N, M] x, int64[K] i) => ({type}[M, K] y, {type}[L, M] z)"
            " { g = Gather(x, i) y = Transpose(g) z = Concat <axis = 0> (x, g) }",
            [numbers((4, 5), type), np.array([3, 0, -1])],
        )
        made[f"where-{type}"] = _model(
            f"m (bool[N] c, {type}[N] x, {type}[1] y) => ({type}[N] z) {{ z = Where(c, x, y) }}",
            [numbers((37,), "bool"), numbers((37,), type), numbers((1,), type)],
        )
        casts = " ".join(f"y{n} = Cast <to = {_number(to)}> (x)" for n, to in enumerate(TYPES))
        outs = ", ".join(f"{to}[N] y{n}" for n, to in enumerate(TYPES))
        nonnegative = np.abs(numbers((37,), type)) if type != "bool" else numbers((37,), type)
        made[f"casts-{type}"] = _model(
            f"m ({type}[N] x) => ({outs}) {{ {casts} }}", [nonnegative]
        )
    del made["mod-bool"]
    return made


def _number(type: str) -> int:
    return onnx.TensorProto.DataType.Value(type.upper())


MODELS: dict[str, OddModel] = {
    f"{group}-{name}": model
    for group, models in (
        ("empty", EMPTY), ("ones", ONES), ("scalars", SCALARS), ("interface", INTERFACES),
        ("types", _types()),
    )
    for name, model in models.items()
}  # fmt: skip
