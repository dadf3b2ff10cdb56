"""Reductions along rows: several chains of vectors, their ends, infinities and NaN."""

import numpy as np
import pytest
from onnx import parser

import infini_ir

ROWS = 5


def _reduced(name, x):
    shape = f"{ROWS}, {x.shape[1]}"
    if name == "Softmax":
        text = f"f (float[{shape}] x) => (float[{shape}] y) {{ y = Softmax(x) }}"
    else:
        text = (
            f"f (float[{shape}] x) => (float[{ROWS}] y) "
            f"{{ a = Constant<value_ints = [1]>() y = {name}<keepdims = 0>(x, a) }}"
        )
    model = parser.parse_model(f'<ir_version: 10, opset_import: ["" : 23]> {text}')
    return infini_ir.compile(model, threads=1)(x)


def _softmax(x):
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


REFERENCES = {
    "Softmax": _softmax,
    "ReduceSum": lambda x: x.sum(1),
    "ReduceMax": lambda x: x.max(1),
    "ReduceSumSquare": lambda x: (x * x).sum(1),
}


@pytest.mark.parametrize("columns", [1, 2, 15, 16, 63, 64, 65, 127, 197, 768, 777])
@pytest.mark.parametrize("name", REFERENCES)
def test_rows_of_any_length(name, columns):
    x = (np.random.default_rng(columns).standard_normal((ROWS, columns)) * 3).astype(np.float32)
    x[2, 0], x[3, -1] = np.inf, np.nan
    x[4] = -np.inf
    with np.errstate(invalid="ignore"):
        exact = REFERENCES[name](x.astype(np.float64))
        np.testing.assert_allclose(_reduced(name, x), exact, rtol=4e-6, atol=4e-6)
