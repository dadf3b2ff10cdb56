"""Reductions of axes and of windows."""

from __future__ import annotations

import numpy as np
from tile_programs import TileProgram, random
from xdsl.ir import SSAValue

from infini_ir.lowering.conversions import convert
from infini_ir.lowering.scalar_builder import ScalarBuilder
from infini_ir.utils.dtypes import is_float
from infini_ir.utils.symbolic import Dim
from tile_cases.parts import SHAPES, exp
from tile_cases.registry import Case, case, in_f32

AXES = ((0,), (1,), (2,), (0, 1), (1, 2), (0, 2), (0, 1, 2))


@case(
    ("add", "f32"), ("mul", "f32"), ("max", "f32"), ("min", "f32"),
    ("add", "i32"), ("max", "ui8"), ("min", "i8"), ("max", "i1"), ("min", "i1"), ("add", "f64"),
)  # fmt: skip
def reductions(kind: str, dtype: str) -> Case:
    """Every choice of axes of a tile of three."""
    sizes = ["A", "B", "C"]
    outs = [([s for i, s in enumerate(sizes) if i not in axes], dtype) for axes in AXES]
    p = TileProgram([(sizes, dtype)], outs)
    for axes, out in zip(AXES, p.views[1:], strict=True):
        views = [p.views[0], out]
        k = p.kernel("reduce_" + "".join(map(str, axes)), views, [1], [1])
        x = k.load(k.views[0], [0, 0, 0], [0, 1, 2], sizes)
        rank = 3 - len(axes)
        k.store(k.reduce(kind, x, axes), k.views[1], [0] * rank, list(range(rank)))
        p.launch(k, views)
    shapes = [(3, 5, 17), (1, 1, 1), (2, 0, 3), (2, 33, 16), (5, 4, 1)]
    inputs = [[random(shape, dtype)] for shape in shapes]
    if is_float(dtype):
        special = random((3, 4, 19), dtype)
        special[0, 1, 18], special[1, 2, 3] = np.inf, -np.inf
        if kind in ("max", "min"):
            special[2, 0, 17] = special[0, 3, 0] = np.nan
        inputs.append([special])
    return Case(p, inputs, rtol=1e-4, atol=1e-4)


@case("f32", "f16")
def softmax(dtype: str) -> Case:
    """A reduction, a kept value, a reduction, a quotient."""
    p = TileProgram([(["M", "N"], dtype)], [(["M", "N"], dtype)])
    k = p.kernel("softmax", p.views, ["M"], [1])
    x = k.load(k.views[0], [k.offsets[0], 0], [1], ["N"])
    (wide,) = k.map([x], [[0]], ["f32"], ["N"], lambda s, v: [in_f32(s, dtype, v)])
    top = k.reduce("max", wide, [0])
    (e,) = k.map([wide, top], [[0], []], ["f32"], ["N"], lambda s, v, m: [exp(s, s.sub(v, m))])
    total = k.reduce("add", e, [0])
    (y,) = k.map(
        [e, total], [[0], []], [dtype], ["N"], lambda s, v, t: [s.narrow(s.div(v, t), dtype)]
    )
    k.store(y, k.views[1], [k.offsets[0], 0], [1])
    p.launch(k, p.views)
    rough = 2e-3 if dtype == "f16" else 1e-5
    return Case(p, [[random(s, dtype)] for s in SHAPES], rtol=rough, atol=1e-6)


@case(("BR", "R"), (1, "R"))
def normalised_rows(step: object, _: str) -> Case:
    """Mean and variance of rows, one row or several in a program, broadcast back."""
    p = TileProgram(
        [(["M", "N"], "f32"), (["N"], "f32")], [(["M", "N"], "f32"), (["M"], "f32")]
    )
    k = p.kernel("normalise", p.views, ["M"], [step])
    i = k.offsets[0]
    x = k.load(k.views[0], [i, 0], [0, 1], [step, "N"])
    scale = k.load(k.views[1], [0], [0], ["N"])
    count = k.from_index(k.size("N"))
    total = k.reduce("add", x, [1])
    (mean,) = k.map(
        [total, count], [[0], []], ["f32"], [step], lambda s, t, n: [_ratio(s, t, n)]
    )
    (off,) = k.map(
        [x, mean], [[0, 1], [0]], ["f32"], [step, "N"], lambda s, a, m: [s.sub(a, m)]
    )
    (square,) = k.map([off], [[0, 1]], ["f32"], [step, "N"], lambda s, a: [s.mul(a, a)])
    variance = k.reduce("add", square, [1])
    (y,) = k.map(
        [off, variance, count, scale], [[0, 1], [0], [], [1]], ["f32"], [step, "N"],
        lambda s, d, v, n, g: [s.mul(s.div(d, s.add(_ratio(s, v, n), s.constant(1.0, "f32"))), g)],
    )  # fmt: skip
    k.store(y, k.views[2], [i, 0], [0, 1])
    k.store(mean, k.views[3], [i], [0])
    p.launch(k, p.views)
    inputs = [[random(s, "f32"), random(s[1:], "f32")] for s in SHAPES if s[1]]
    return Case(p, inputs, rtol=1e-4)


def _ratio(s: ScalarBuilder, total: SSAValue, count: SSAValue) -> SSAValue:
    from xdsl.dialects import arith
    from xdsl.dialects.builtin import f32

    return s.div(total, s.emit(arith.SIToFPOp(count, f32)))


@case("add", "max")
def column_reductions(kind: str) -> Case:
    """The reduced axis outside, the vector axis kept and cut at the edge."""
    p = TileProgram([(["M", "N"], "f32")], [(["N"], "f32"), (["N"], "f32")])
    k = p.kernel("columns", p.views, ["N"], ["BC"])
    x = k.load(k.views[0], [0, k.offsets[0]], [0, 1], ["M", "BC"])
    total = k.reduce(kind, x, [0])
    (y,) = k.map([total], [[0]], ["f32"], ["BC"], lambda s, t: [s.mul(t, t)])
    k.store(y, k.views[1], [k.offsets[0]], [0])
    k.store(total, k.views[2], [k.offsets[0]], [0])
    p.launch(k, p.views)
    return Case(p, [[random(s, "f32")] for s in SHAPES], rtol=1e-4)


@case(
    ("max", "f32", (2, 2), 1, 11),
    ("max", "bf16", (3, 3), 2, 23),
    ("min", "f32", (1, 3), 2, 4),
    ("max", "f32", (9, 11), 1, 30),
    ("add", "f32", (3, 3), 1, 40),
    ("add", "f64", (2, 3), 2, 18),
    ("max", "i32", (3, 2), 1, 9),
    ("add", "f32", (3, 3), 3, 20),
)
def window_reductions(
    kind: str, dtype: str, size: tuple[int, int], stride: int, w: int
) -> Case:
    """Pooling: overlapping windows as a view, reduced over two of four axes."""
    (height, width), h, c = size, 9, 35
    oh, ow = (h - height) // stride + 1, (w - width) // stride + 1
    p = TileProgram([([h, w, c], dtype)], [([oh, ow, c], dtype)])
    x, y = p.views
    windows = p.alias(x, [oh, ow, height, width, c], [w * c * stride, c * stride, w * c, c, 1])
    k = p.kernel("pool", [windows, y], [oh, ow, c], [1, "BW", "BC"])
    i, j, n = k.offsets
    t = k.load(k.views[0], [i, j, 0, 0, n], [1, 2, 3, 4], ["BW", height, width, "BC"])
    if dtype == "bf16":
        shape = ["BW", height, width, "BC"]
        (t,) = k.map([t], [[0, 1, 2, 3]], ["f32"], shape, lambda s, v: [s.widen(v)])
    total = k.reduce(kind, t, [1, 2])
    if dtype == "bf16":
        (total,) = k.map(
            [total], [[0, 1]], [dtype], ["BW", "BC"], lambda s, v: [s.narrow(v, dtype)]
        )
    k.store(total, k.views[1], [i, j, n], [1, 2])
    p.launch(k, [windows, y])
    first = random([h, w, c], dtype)
    inputs = [[first]]
    if dtype in ("f32", "bf16"):
        strange = first.copy()
        strange[1, 2, :5] = [np.nan, np.inf, -np.inf, -np.nan, np.nan]
        inputs.append([strange])
    return Case(p, inputs, exact=kind != "add", rtol=1e-5, atol=1e-5)


@case(
    ("f32", (3, 3), 1, 11), ("bf16", (3, 3), 1, 30), ("bf16", (3, 3), 2, 16),
    ("bf16", (5, 5), 1, 12), ("f32", (1, 7), 3, 33), ("bf16", (3, 3), 1, "W"),
)  # fmt: skip
def depthwise_convolutions(
    dtype: str, size: tuple[int, int], stride: int, width: int | str
) -> Case:
    """Each window times filters of its channels, summed; then a bias and a maximum."""
    (height, wide), h, c = size, 9, 35
    w = Dim.of(width)
    oh, ow = (h - height) // stride + 1, (w - wide) // stride + 1
    p = TileProgram(
        [([h, w, c], dtype), ([height, wide, c], "f32"), ([c], "f32")], [([oh, ow, c], dtype)]
    )
    x, f, b, y = p.views
    windows = p.alias(x, [oh, ow, height, wide, c], [w * c * stride, c * stride, w * c, c, 1])
    k = p.kernel("depthwise", [windows, f, b, y], [oh, ow, c], [1, "BW", "BC"])
    i, j, n = k.offsets
    shape = ["BW", height, wide, "BC"]
    t = k.load(k.views[0], [i, j, 0, 0, n], [1, 2, 3, 4], shape)
    filters = k.load(k.views[1], [0, 0, n], [0, 1, 2], shape[1:])
    bias = k.load(k.views[2], [n], [0], ["BC"])
    (products,) = k.map(
        [t, filters],
        [[0, 1, 2, 3], [1, 2, 3]],
        ["f32"],
        shape,
        lambda s, v, u: [s.mul(s.widen(v) if dtype == "bf16" else v, u)],
    )
    total = k.reduce("add", products, [1, 2])

    def finish(s: ScalarBuilder, v: SSAValue, u: SSAValue) -> list[SSAValue]:
        y = s.max(s.add(v, u), s.constant(0, "f32"))
        return [s.narrow(y, dtype) if dtype == "bf16" else y]

    (out,) = k.map([total, bias], [[0, 1], [1]], [dtype], ["BW", "BC"], finish)
    k.store(out, k.views[3], [i, j, n], [1, 2])
    p.launch(k, [windows, f, b, y])
    widths = [width] if isinstance(width, int) else [3, 4, 9, 17, 33]
    inputs = [
        [random([h, n, c], dtype), random([height, wide, c], "f32"), random([c], "f32")]
        for n in widths
    ]
    tolerance = 1e-2 if dtype == "bf16" else 1e-5
    return Case(p, inputs, rtol=tolerance, atol=tolerance)


@case((3, 3, 1, 19), (2, 2, 2, 48), (1, 3, 1, 7), (5, 5, 1, 33))
def byte_windows(height: int, width: int, stride: int, c: int) -> Case:
    """Depthwise convolution of bytes in i32."""
    h, w = 9, 11
    oh, ow = (h - height) // stride + 1, (w - width) // stride + 1
    filters = [height, width, c]
    p = TileProgram([([h, w, c], "ui8"), (filters, "i8")], [([oh, ow, c], "i32")])
    x, f, y = p.views
    windows = p.alias(x, [oh, ow, height, width, c], [w * c * stride, c * stride, w * c, c, 1])
    k = p.kernel("depthwise", [windows, f, y], [oh, ow, c], [1, "BW", "BC"])
    i, j, n = k.offsets
    inner = [height, width, "BC"]
    a = k.load(k.views[0], [i, j, 0, 0, n], [1, 2, 3, 4], ["BW", *inner])
    b = k.load(k.views[1], [0, 0, n], [0, 1, 2], inner)

    def product(s: ScalarBuilder, u: SSAValue, v: SSAValue) -> list[SSAValue]:
        return [s.mul(convert(s, u, "ui8", "i32"), convert(s, v, "i8", "i32"))]

    dims = [[0, 1, 2, 3], [1, 2, 3]]
    (products,) = k.map([a, b], dims, ["i32"], ["BW", *inner], product)
    k.store(k.reduce("add", products, [1, 2]), k.views[2], [i, j, n], [1, 2])
    p.launch(k, [windows, f, y])
    return Case(p, [[random([h, w, c], "ui8"), random(filters, "i8")]], exact=True)
