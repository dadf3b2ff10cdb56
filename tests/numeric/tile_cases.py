"""Kernels of every form that the lowering makes, and inputs of awkward sizes for them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from tile_programs import Array, TileProgram, random
from xdsl.ir import SSAValue

from infini_ir.dialects.tile import ViewType, view_type
from infini_ir.lowering.conversions import convert
from infini_ir.lowering.kernel_builder import KernelBuilder
from infini_ir.lowering.scalar_builder import ScalarBuilder
from infini_ir.utils.dtypes import is_float, is_unsigned
from infini_ir.utils.symbolic import Dim

ALL_DTYPES = (
    "f32", "f64", "f16", "bf16", "i8", "i16", "i32", "i64", "ui8", "ui16", "ui32", "ui64", "i1",
)  # fmt: skip
WIDTHS = (0, 1, 3, 15, 16, 17, 100)


@dataclass
class Case:
    """A program and the inputs to run it on."""

    program: TileProgram
    inputs: list[list[Array]]
    rtol: float = 1e-5
    atol: float = 1e-5
    exact: bool = False


CASES: dict[str, Callable[[], Case]] = {}


def case(*arguments: object) -> Callable[[Callable[..., Case]], Callable[..., Case]]:
    """Register a function as a case for each argument (a tuple: its arguments)."""

    def register(function: Callable[..., Case]) -> Callable[..., Case]:
        for given in arguments or ((),):
            values = given if isinstance(given, tuple) else (given,)
            text = "-".join(str(v).replace(" ", "") for v in values)
            name = f"{function.__name__}[{text}]" if text else function.__name__
            CASES[name] = lambda values=values: function(*values)
        return function

    return register


def in_f32(s: ScalarBuilder, dtype: str, x: SSAValue) -> SSAValue:
    return s.widen(x) if dtype in ("f16", "bf16") else x


# Elementwise


def _combine(s: ScalarBuilder, dtype: str, a: SSAValue, b: SSAValue) -> SSAValue:
    if dtype == "i1":
        return s.xor(a, b)
    if not is_float(dtype):
        return s.sub(s.mul(a, b), s.min(a, b, unsigned=is_unsigned(dtype)))
    a, b = in_f32(s, dtype, a), in_f32(s, dtype, b)
    return s.narrow(s.sub(s.mul(a, b), s.min(a, b)), dtype)


@case(*ALL_DTYPES)
def elementwise(dtype: str) -> Case:
    """One axis of any size, in pieces."""
    p = TileProgram([(["N"], dtype), (["N"], dtype)], [(["N"], dtype)])
    k = p.kernel("combine", p.views, ["N"], ["BC"])
    loaded = [k.load(v, [k.offsets[0]], [0], ["BC"]) for v in k.views[:2]]
    (y,) = k.map(
        loaded, [[0], [0]], [dtype], ["BC"], lambda s, a, b: [_combine(s, dtype, a, b)]
    )
    k.store(y, k.views[2], [k.offsets[0]], [0])
    p.launch(k, p.views)
    inputs = [[random([n], dtype, 1), random([n], dtype, 2)] for n in WIDTHS]
    # The interpreter multiplies and subtracts in two roundings, as the code here does.
    return Case(p, inputs, exact=True)


@case("f16", "bf16")
def rounded(dtype: str) -> Case:
    """f32 narrowed: halves to even, carries into the exponent, infinities, NaN."""
    p = TileProgram([(["N"], "f32")], [(["N"], dtype)])
    k = p.kernel("narrow", p.views, ["N"], ["BC"])
    x = k.load(k.views[0], [k.offsets[0]], [0], ["BC"])
    (y,) = k.map([x], [[0]], [dtype], ["BC"], lambda s, v: [s.narrow(v, dtype)])
    k.store(y, k.views[1], [k.offsets[0]], [0])
    p.launch(k, p.views)
    bits = np.arange(0x3F80_0000, 0x3F84_0000, 0x0FFF, np.uint32)
    large = np.array([0x7F7F_0000, 0x7F7F_8000, 0x7F7F_7FFF, 0x7F80_0000], np.uint32)
    nan = np.array([0x7F80_0001, 0x7FC0_0000, 0x7FFF_FFFF, 0x7FA0_0000], np.uint32)
    either = np.concatenate([bits, large, nan])
    signed = np.concatenate([either, either | np.uint32(1 << 31), [np.uint32(0)]])
    return Case(p, [[signed.view(np.float32)], [random([37], "f32")]], exact=True)


def _matrix_kernel(
    p: TileProgram,
    name: str,
    views: Sequence[SSAValue],
    dtype: str,
    body: Callable[..., SSAValue],
    steps: tuple[str, str] = ("BR", "BC"),
) -> None:
    """views[-1] = body(views[:-1]), all of one shape of two axes."""
    k = p.kernel(name, views, view_type(views[-1]).shape, steps)
    loaded = [k.load(v, k.offsets, [0, 1], steps) for v in k.views[:-1]]
    (y,) = k.map(loaded, [[0, 1]] * len(loaded), [dtype], steps, lambda s, *x: [body(s, *x)])
    k.store(y, k.views[-1], k.offsets, [0, 1])
    p.launch(k, views)


SHAPES = ((1, 1), (3, 5), (0, 4), (4, 0), (33, 65), (2, 16), (16, 1))


@case("f32", "i8", "f64", "i1")
def strided_operands(dtype: str) -> Case:
    """Transposed, reversed, every second, repeated: each in a kernel with a dense one."""
    p = TileProgram([(["M", "N"], dtype)], [(["M", "N"], dtype)] * 4)
    x, *outs = p.views
    m, n = Dim.symbol("M"), Dim.symbol("N")
    wide = p.alloc([m * 2, n * 3], dtype)
    _matrix_kernel(p, "fill", [p.alias(x, [m, n]), p.alias(wide, [m, n], [n * 6, 3])], dtype,
                   lambda s, a: a)  # fmt: skip
    gaps = p.alias(wide, [m, n], [n * 6, 3])
    _matrix_kernel(
        p, "gaps", [x, gaps, outs[0]], dtype, lambda s, a, b: _combine(s, dtype, a, b)
    )
    flipped = p.alias(x, [m, n], [-n, -1], m * n - 1)
    _matrix_kernel(p, "flip", [x, flipped, outs[1]], dtype, lambda s, a, b: _combine(s, dtype, a, b))  # fmt: skip
    row = p.alias(x, [m, n], [0, 1])
    column = p.alias(x, [m, n], [n, 0])
    _matrix_kernel(p, "repeat", [row, column, outs[2]], dtype, lambda s, a, b: _combine(s, dtype, a, b))  # fmt: skip
    turned = p.alloc([n, m], dtype)
    _matrix_kernel(p, "turn", [x, p.alias(turned, [m, n], [1, m])], dtype, lambda s, a: a)
    back = p.alias(outs[3], [m, n], [-n, -1], m * n - 1)
    _matrix_kernel(p, "unturn", [p.alias(turned, [m, n], [1, m]), back], dtype, lambda s, a: a)
    inputs = [[random(shape, dtype)] for shape in SHAPES if 0 not in shape]
    return Case(p, inputs, exact=True)


@case("f32", "f16")
def two_axis_tiles(dtype: str) -> Case:
    """A row and a column vector, loaded with fewer axes, and positions."""
    p = TileProgram(
        [(["M", "N"], dtype), (["N"], dtype), (["M"], dtype)],
        [(["M", "N"], dtype), (["M", "N"], "i64"), (["M", "N"], "i1")],
    )
    k = p.kernel("axes", p.views, ["M", "N"], ["BR", "BC"])
    i, j = k.offsets
    x = k.load(k.views[0], [i, j], [0, 1], ["BR", "BC"])
    row = k.load(k.views[1], [j], [0], ["BC"])
    column = k.load(k.views[2], [i], [0], ["BR"])

    def body(s, x, r, c, i, j):
        x, r, c = (in_f32(s, dtype, v) for v in (x, r, c))
        y = s.narrow(s.sub(s.mul(x, r), c), dtype)
        at = s.add(s.mul(s.add(i, s.coord(0)), s.constant(1000, "index")), s.add(j, s.coord(1)))
        return [y, s.from_index(at, "i64"), s.compare("lt", x, s.constant(0.0, "f32"))]

    outs = k.map(
        [x, row, column, i, j], [[0, 1], [1], [0], [], []], [dtype, "i64", "i1"], ["BR", "BC"], body
    )  # fmt: skip
    for out, view in zip(outs, k.views[3:], strict=True):
        k.store(out, view, [i, j], [0, 1])
    p.launch(k, p.views)
    inputs = [[random(s, dtype), random(s[1:], dtype), random(s[:1], dtype)] for s in SHAPES]
    return Case(p, inputs, exact=True)


@case()
def tile_axes_out_of_order() -> Case:
    """A load whose axes are listed last first, of a view of three."""
    p = TileProgram([([7, 3, 18], "f32")], [([18, 3, 7], "f32")])
    k = p.kernel("permute", p.views, [3], [1])
    x = k.load(k.views[0], [0, k.offsets[0], 0], [2, 0], [18, 7])
    (y,) = k.map([x], [[0, 1]], ["f32"], [18, 7], lambda s, a: [s.add(a, a)])
    k.store(y, k.views[1], [0, k.offsets[0], 0], [0, 2])
    p.launch(k, p.views)
    return Case(p, [[random([7, 3, 18], "f32")]], exact=True)


@case()
def swap_in_place() -> Case:
    """Tiles loaded before a store hold what was there before it."""
    p = TileProgram([(["N"], "f32")], [(["N"], "f32"), (["N"], "f32"), (["N"], "f32")])
    x, a, b, c = p.views
    first = p.kernel("copies", [x, a, b], ["N"], ["BC"])
    loaded = first.load(first.views[0], first.offsets, [0], ["BC"])
    (twice,) = first.map([loaded], [[0]], ["f32"], ["BC"], lambda s, v: [s.add(v, v)])
    first.store(loaded, first.views[1], first.offsets, [0])
    first.store(twice, first.views[2], first.offsets, [0])
    p.launch(first, [x, a, b])
    k = p.kernel("swap", [a, b, c], ["N"], ["BC"])
    one, two = (k.load(v, k.offsets, [0], ["BC"]) for v in k.views[:2])
    k.store(one, k.views[1], k.offsets, [0])
    k.store(two, k.views[0], k.offsets, [0])
    (both,) = k.map([one, two], [[0], [0]], ["f32"], ["BC"], lambda s, u, v: [s.sub(u, v)])
    k.store(both, k.views[2], k.offsets, [0])
    p.launch(k, [a, b, c])
    return Case(p, [[random([n], "f32")] for n in (1, 17, 100)], exact=True)


# Reductions

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
    (e,) = k.map([wide, top], [[0], []], ["f32"], ["N"], lambda s, v, m: [_exp(s, s.sub(v, m))])
    total = k.reduce("add", e, [0])
    (y,) = k.map(
        [e, total], [[0], []], [dtype], ["N"], lambda s, v, t: [s.narrow(s.div(v, t), dtype)]
    )
    k.store(y, k.views[1], [k.offsets[0], 0], [1])
    p.launch(k, p.views)
    rough = 2e-3 if dtype == "f16" else 1e-5
    return Case(p, [[random(s, dtype)] for s in SHAPES], rtol=rough, atol=1e-6)


def _exp(s: ScalarBuilder, x: SSAValue) -> SSAValue:
    from xdsl.dialects import math

    return s.emit(math.ExpOp(x))


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


# Loops


@case()
def running_sums() -> Case:
    """Carried scalars: a sum and a product by columns, stored as they go."""
    p = TileProgram([(["M", "N"], "f32")], [(["M", "N"], "f32"), (["M"], "f32")])
    k = p.kernel("cumulate", p.views, ["M"], [1])
    i = k.offsets[0]
    zero, one = k.full(0.0, [], "f32"), k.full(1.0, [], "f32")

    def step(j, total, product):
        x = k.load(k.views[0], [i, j], [], [])
        (total,) = k.map([total, x], [[], []], ["f32"], [], lambda s, t, v: [s.add(t, v)])
        (product,) = k.map([product, x], [[], []], ["f32"], [], lambda s, t, v: [s.mul(t, v)])
        k.store(total, k.views[1], [i, j], [])
        return [total, product]

    _, product = k.for_(k.size("N"), 1, [zero, one], step)
    k.store(product, k.views[2], [i], [])
    p.launch(k, p.views)
    return Case(p, [[random(s, "f32")] for s in SHAPES], rtol=1e-4)


@case("f32", "f64", "i32", "ui8", "i1", "bf16")
def scans(dtype: str) -> Case:
    """Running combinations of a tile along each of its axes, both ways."""
    kinds = {"i32": ("add", "mul"), "f32": ("add", "max"), "f64": ("add", "mul")}
    p = TileProgram([(["M", "N"], dtype)], [(["M", "N"], dtype)] * 8)
    k = p.kernel("scans", p.views, [], [])
    x = k.load(k.views[0], [0, 0], [0, 1], ["M", "N"])
    options = itertools.product(kinds.get(dtype, ("max", "min")), (0, 1), (False, True))
    for view, (kind, axis, exclusive) in zip(k.views[1:], options, strict=True):
        reverse = exclusive != (kind == "max")
        scanned = k.scan(kind, x, axis, exclusive=exclusive, reverse=reverse)
        k.store(scanned, view, [0, 0], [0, 1])
    p.launch(k, p.views)
    return Case(p, [[random(s, dtype)] for s in SHAPES], rtol=1e-4, exact=dtype[0] != "f")


@case("BC", 8)
def carried_rows(step: object) -> Case:
    """Carried tiles of one axis, cut at the edge, exchanged in each iteration."""
    p = TileProgram([(["M", "N"], "f32")], [(["N"], "f32"), (["N"], "f32"), ([], "f32")])
    k = p.kernel("rows", p.views[:3], ["N"], [step])
    j = k.offsets[0]
    zero = k.full(0.0, [step], "f32")
    start = k.load(k.views[0], [0, j], [1], [step])

    def turn(i, a, b):
        x = k.load(k.views[0], [i, j], [1], [step])
        (c,) = k.map([a, b, x], [[0]] * 3, ["f32"], [step], lambda s, a, b, x: [s.add(s.sub(a, b), x)])  # fmt: skip
        return [b, c]

    a, b = k.for_(k.size("M"), 1, [zero, start], turn)
    k.store(a, k.views[1], [j], [0])
    k.store(b, k.views[2], [j], [0])
    p.launch(k, p.views[:3])
    total = p.kernel("total", [p.views[1], p.views[3]], [1], [1])
    x = total.load(total.views[0], [0], [0], ["N"])
    total.store(total.reduce("add", x, [0]), total.views[1], [], [])
    p.launch(total, [p.views[1], p.views[3]])
    return Case(p, [[random(s, "f32")] for s in SHAPES if s[0]], rtol=1e-4, atol=1e-4)


@case()
def largest_of_blocks() -> Case:
    """An online softmax denominator: carried vectors, a loop over column blocks with an edge."""
    p = TileProgram([(["M", "N"], "f32")], [(["M"], "f32"), (["M"], "f32")])
    k = p.kernel("online", p.views, ["M"], ["BM"])
    i = k.offsets[0]
    low, zero = k.full(-np.inf, ["BM"], "f32"), k.full(0.0, ["BM"], "f32")

    def turn(j, top, total):
        x = k.load(k.views[0], [i, j], [0, 1], ["BM", "BN"])
        (new,) = k.map([top, k.reduce("max", x, [1])], [[0], [0]], ["f32"], ["BM"], lambda s, a, b: [s.max(a, b)])  # fmt: skip
        (e,) = k.map([x, new], [[0, 1], [0]], ["f32"], ["BM", "BN"], lambda s, x, m: [_exp(s, s.sub(x, m))])  # fmt: skip
        part = k.reduce("add", e, [1])
        (total,) = k.map(
            [total, top, new, part], [[0]] * 4, ["f32"], ["BM"],
            lambda s, t, a, b, q: [s.add(s.mul(t, _exp(s, s.sub(a, b))), q)],
        )  # fmt: skip
        return [new, total]

    top, total = k.for_(k.size("N"), "BN", [low, zero], turn)
    k.store(top, k.views[1], [i], [0])
    k.store(total, k.views[2], [i], [0])
    p.launch(k, p.views)
    return Case(p, [[random(s, "f32")] for s in (*SHAPES, (3, 300))], rtol=1e-4)


@case()
def kept_across_a_loop() -> Case:
    """A costly value that a loop, which may run no times, and a store after it both use."""
    p = TileProgram(
        [(["N"], "f32"), (["M"], "f32")], [(["N"], "f32"), ([], "f32"), (["N"], "f32")]
    )
    k = p.kernel("kept", p.views, [1], [1])
    x = k.load(k.views[0], [0], [0], ["N"])

    def costly(s, v):
        for number in range(8):
            half = s.mul(v, s.constant(0.5, "f32"))
            v = s.add(s.mul(half, v), s.constant(0.01 * number - 0.3, "f32"))
        return [v]

    (v,) = k.map([x], [[0]], ["f32"], ["N"], costly)

    def turn(i, total):
        factor = k.load(k.views[1], [i], [], [])
        (y,) = k.map([v, factor], [[0], []], ["f32"], ["N"], lambda s, a, b: [s.mul(a, b)])
        part = k.reduce("add", y, [0])
        return k.map([total, part], [[], []], ["f32"], [], lambda s, a, b: [s.add(a, b)])

    (total,) = k.for_(k.size("M"), 1, [k.full(0.0, [], "f32")], turn)
    top = k.reduce("max", v, [0])
    (y,) = k.map([v, top], [[0], []], ["f32"], ["N"], lambda s, a, b: [s.sub(a, b)])
    k.store(y, k.views[2], [0], [0])
    k.store(total, k.views[3], [], [])
    k.store(v, k.views[4], [0], [0])
    p.launch(k, p.views)
    sizes = [(1, 1), (5, 3), (17, 0), (64, 2)]
    return Case(p, [[random([n], "f32"), random([m], "f32")] for n, m in sizes], rtol=1e-4)


# Gathers and scatters


@case("i64", "i32", "ui8", "i8")
def gathered_rows(dtype: str) -> Case:
    """Rows of a table by index tiles of several types; columns follow one another."""
    p = TileProgram([(["V", "N"], "f32"), (["M"], dtype)], [(["M", "N"], "f32")])
    k = p.kernel("rows", p.views, ["M", "N"], ["BR", "BC"])
    i, j = k.offsets
    indices = k.load(k.views[1], [i], [0], ["BR"])
    (columns,) = k.map([j], [[]], ["i64"], ["BC"], lambda s, j: [s.from_index(s.add(j, s.coord(0)), "i64")])  # fmt: skip
    x = k.gather(k.views[0], [indices, columns], [[0], [1]], ["BR", "BC"])
    (y,) = k.map([x], [[0, 1]], ["f32"], ["BR", "BC"], lambda s, v: [s.neg(v)])
    k.store(y, k.views[2], [i, j], [0, 1])
    p.launch(k, p.views)
    inputs = []
    for (m, n), rows in (((5, 3), 1), ((1, 1), 7), ((20, 17), 127), ((33, 65), 200)):
        highest = min(rows, np.iinfo(random([1], dtype).dtype).max)
        indices = (np.arange(m) * 37 % highest).astype(random([1], dtype).dtype)
        if m > 1:
            indices[-1] = min(rows, highest + 1) - 1
        inputs.append([random([rows, n], "f32"), indices])
    return Case(p, inputs, exact=True)


@case("f32", "i16", "f64", "i1")
def gathered_elements(dtype: str) -> Case:
    """Computed positions: backward, with a stride, and by a loaded index, of three tables."""
    p = TileProgram([(["N"], dtype), (["N"], "i64")], [(["N"], dtype)] * 3)
    k = p.kernel("elements", p.views, ["N"], ["BC"])
    j = k.offsets[0]
    n = k.size("N")
    positions = [
        k.map([j, n], [[], []], ["i64"], ["BC"], lambda s, j, n: [
            s.from_index(s.sub(s.sub(n, s.constant(1, "index")), s.add(j, s.coord(0))), "i64")])[0],
        k.map([j, n], [[], []], ["i64"], ["BC"], lambda s, j, n: [
            s.from_index(s.rem(s.mul(s.add(j, s.coord(0)), s.constant(3, "index")), n, unsigned=True), "i64")])[0],
        k.load(k.views[1], [j], [0], ["BC"]),
    ]  # fmt: skip
    for position, out in zip(positions, k.views[2:], strict=True):
        k.store(k.gather(k.views[0], [position], [[0]], ["BC"]), out, [j], [0])
    p.launch(k, p.views)
    inputs = []
    for n in (1, 3, 17, 100):
        inputs.append([random([n], dtype), np.random.default_rng(n).integers(0, n, n)])
    return Case(p, inputs, exact=True)


@case("add", "set", "max", "mul")
def scattered(combine: str) -> Case:
    """Updates in order, several to one element; those outside are dropped."""
    p = TileProgram([(["V"], "f32"), (["N"], "i64"), (["N"], "f32")], [(["V"], "f32")])
    table, indices, updates, y = p.views
    copy = p.kernel("copy", [table, y], ["V"], ["BC"])
    copy.store(
        copy.load(copy.views[0], copy.offsets, [0], ["BC"]), copy.views[1], copy.offsets, [0]
    )
    p.launch(copy, [table, y])
    k = p.kernel("scatter", [indices, updates, y], [1], [1])
    at = k.load(k.views[0], [0], [0], ["N"])
    value = k.load(k.views[1], [0], [0], ["N"])
    k.scatter(value, k.views[2], [at], [[0]], combine)
    p.launch(k, [indices, updates, y])
    inputs = []
    for v, n in ((1, 1), (5, 20), (40, 17), (3, 0)):
        at = np.random.default_rng(n).integers(-2, v + 2, n)
        inputs.append([random([v], "f32"), at, random([n], "f32")])
    return Case(p, inputs, exact=True)


@case("add", "mul", "min", "max")
def accumulating_stores(combine: str) -> Case:
    """Stores that meet what is there, cut at the edge."""
    p = TileProgram([(["M", "N"], "f32")], [(["M", "N"], "f32")])
    _matrix_kernel(p, "first", p.views, "f32", lambda s, a: s.neg(a))
    k = p.kernel("again", p.views, ["M", "N"], ["BR", "BC"])
    x = k.load(k.views[0], k.offsets, [0, 1], ["BR", "BC"])
    k.store(x, k.views[1], k.offsets, [0, 1], combine)
    p.launch(k, p.views)
    return Case(p, [[random(s, "f32")] for s in SHAPES], exact=True)


@case()
def read_scalars() -> Case:
    """Scalars read from memory decide positions and values; flags are bools."""
    p = TileProgram([(["N"], "f32"), ([3], "i64"), ([2], "i1")], [([4], "f32")])
    k = p.kernel("read", p.views, [1], [1])
    at = [k.to_index(k.read(k.views[1], [n])) for n in range(3)]
    flag = k.read(k.views[2], [1])
    for number, position in enumerate(at):
        k.store(k.load(k.views[0], [position], [], []), k.views[3], [number], [])
    value = k.read(k.views[0], [at[0]])
    (y,) = k.map(
        [flag, value], [[], []], ["f32"], [], lambda s, f, v: [s.select(f, v, s.neg(v))]
    )
    k.store(y, k.views[3], [3], [])
    p.launch(k, p.views)
    x, at = random([9], "f32"), np.array([8, 0, 4])
    return Case(
        p, [[x, at, np.array([True, False])], [x, at, np.array([False, True])]], exact=True
    )


# Products of computed tiles


@case(False, True)
def product_of_maps(transposed: bool) -> Case:
    """Both operands computed, neither in a loop over k."""
    b_shape = ["N", "K"] if transposed else ["K", "N"]
    p = TileProgram([(["M", "K"], "f32"), (b_shape, "f32")], [(["M", "N"], "f32")])
    k = p.kernel("maps", p.views, ["M"], ["BM"])
    i = k.offsets[0]
    a = k.load(k.views[0], [i, 0], [0, 1], ["BM", "K"])
    b = k.load(k.views[1], [0, 0], [0, 1], b_shape)
    (a,) = k.map([a], [[0, 1]], ["f32"], ["BM", "K"], lambda s, v: [s.add(v, v)])
    (b,) = k.map([b], [[0, 1]], ["f32"], b_shape, lambda s, v: [s.neg(v)])
    product = k.dot(a, b, k.full(1.0, ["BM", "N"], "f32"), transposed=transposed)
    (y,) = k.map([product], [[0, 1]], ["f32"], ["BM", "N"], lambda s, v: [s.mul(v, v)])
    k.store(y, k.views[2], [i, 0], [0, 1])
    p.launch(k, p.views)
    sizes = [(1, 1, 1), (5, 3, 7), (17, 33, 20), (70, 16, 49), (3, 0, 4)]
    inputs = []
    for m, n, d in sizes:
        b = random([n, d] if transposed else [d, n], "f32")
        inputs.append([random([m, d], "f32"), b])
    return Case(p, inputs, rtol=1e-4, atol=1e-4)


@case("f32", "f16")
def attention(dtype: str) -> Case:
    """softmax(q k^T) v over blocks of keys, the sums carried and scaled as they grow."""
    p = TileProgram(
        [(["H", "M", 24], dtype), (["H", "N", 24], dtype), (["H", "N", 20], dtype)],
        [(["H", "M", 20], dtype)],
    )
    k = p.kernel("attention", p.views, ["H", "M"], [1, "BM"])
    h, i = k.offsets
    q = k.load(k.views[0], [h, i, 0], [1, 2], ["BM", 24])
    start = [
        k.full(-1e30, ["BM"], "f32"), k.full(0.0, ["BM"], "f32"), k.full(0.0, ["BM", 20], "f32")
    ]  # fmt: skip
    zero = k.full(0.0, ["BM", "BN"], "f32")

    def turn(j, top, total, acc):
        keys = k.load(k.views[1], [h, j, 0], [1, 2], ["BN", 24])
        values = k.load(k.views[2], [h, j, 0], [1, 2], ["BN", 20])
        scores = k.dot(q, keys, zero, transposed=True)
        best = k.reduce("max", scores, [1])
        (new,) = k.map([top, best], [[0], [0]], ["f32"], ["BM"], lambda s, a, b: [s.max(a, b)])
        (e,) = k.map(
            [scores, new], [[0, 1], [0]], ["f32"], ["BM", "BN"],
            lambda s, x, m: [_exp(s, s.sub(x, m))],
        )  # fmt: skip
        (scale,) = k.map(
            [top, new], [[0], [0]], ["f32"], ["BM"], lambda s, a, b: [_exp(s, s.sub(a, b))]
        )
        part = k.reduce("add", e, [1])
        (total,) = k.map(
            [total, scale, part], [[0]] * 3, ["f32"], ["BM"],
            lambda s, t, f, q: [s.add(s.mul(t, f), q)],
        )  # fmt: skip
        (acc,) = k.map(
            [acc, scale], [[0, 1], [0]], ["f32"], ["BM", 20], lambda s, a, f: [s.mul(a, f)]
        )
        return [new, total, k.dot(e, values, acc)]

    _, total, acc = k.for_(k.size("N"), "BN", start, turn)
    (y,) = k.map(
        [acc, total], [[0, 1], [0]], [dtype], ["BM", 20],
        lambda s, a, t: [s.narrow(s.div(a, t), dtype)],
    )  # fmt: skip
    k.store(y, k.views[3], [h, i, 0], [1, 2])
    p.launch(k, p.views)
    inputs = []
    for h, m, n in ((1, 1, 1), (2, 5, 9), (1, 70, 150)):
        inputs.append(
            [random([h, m, 24], dtype), random([h, n, 24], dtype), random([h, n, 20], dtype)]
        )
    rough = 3e-3 if dtype == "f16" else 1e-4
    return Case(p, inputs, rtol=rough, atol=rough)


@case()
def two_products() -> Case:
    """A gated product: two nests that share their left operand, and a row sum of the result."""
    p = TileProgram(
        [(["M", 19], "f32"), ([19, 37], "f32"), ([19, 37], "f32")],
        [(["M", 37], "f32"), (["M"], "f32")],
    )
    k = p.kernel("gated", p.views, ["M"], ["BM"])
    i = k.offsets[0]
    zero = k.full(0.0, ["BM", 37], "f32")

    def product(view):
        def step(d, acc):
            a = k.load(k.views[0], [i, d], [0, 1], ["BM", "BK"])
            return [k.dot(a, k.load(view, [d, 0], [0, 1], ["BK", 37]), acc)]

        return k.for_(19, "BK", [zero], step)[0]

    gate, up = product(k.views[1]), product(k.views[2])
    (y,) = k.map(
        [gate, up],
        [[0, 1]] * 2,
        ["f32"],
        ["BM", 37],
        lambda s, g, u: [s.mul(s.max(g, s.constant(0.0, "f32")), u)],
    )
    k.store(y, k.views[3], [i, 0], [0, 1])
    k.store(k.reduce("add", y, [1]), k.views[4], [i], [0])
    p.launch(k, p.views)
    inputs = []
    for m in (1, 13, 70):
        inputs.append(
            [random([m, 19], "f32"), random([19, 37], "f32"), random([19, 37], "f32", 1)]
        )
    return Case(p, inputs, rtol=1e-4, atol=1e-4)


@case()
def overwritten_operands() -> Case:
    """One program reverses, shifts and sums its own buffer in place."""
    p = TileProgram([(["N"], "f32")], [(["N"], "f32"), ([], "f32"), (["N"], "f32")])
    x, y, total, z = p.views
    n = Dim.symbol("N")
    copy = p.kernel("copy", [x, y], ["N"], ["BC"])
    copy.store(
        copy.load(copy.views[0], copy.offsets, [0], ["BC"]), copy.views[1], copy.offsets, [0]
    )
    p.launch(copy, [x, y])
    k = p.kernel("reverse", [y, total, z], [1], [1])
    whole = k.load(k.views[0], [0], [0], ["N"])
    (back,) = k.map(
        [k.size("N")], [[]], ["i64"], ["N"],
        lambda s, n: [s.from_index(s.sub(s.sub(n, s.constant(1, "index")), s.coord(0)), "i64")],
    )  # fmt: skip
    turned = k.gather(k.views[0], [back], [[0]], ["N"])
    sums = k.reduce("add", whole, [0])
    k.store(turned, k.views[0], [0], [0])
    (after,) = k.map([whole, sums], [[0], []], ["f32"], ["N"], lambda s, a, t: [s.sub(a, t)])
    k.store(sums, k.views[1], [], [])
    k.store(after, k.views[2], [0], [0])

    def turn(i, carried):
        k.store(k.load(k.views[0], [i], [], []), k.views[0], [0], [], "add")
        return [carried]

    k.for_(n, 1, [k.full(0.0, [], "f32")], turn)
    p.launch(k, [y, total, z])
    return Case(p, [[random([n], "f32")] for n in (1, 2, 17, 40)], rtol=1e-4, atol=1e-4)


__all__ = ["CASES", "Case", "KernelBuilder", "ViewType"]
