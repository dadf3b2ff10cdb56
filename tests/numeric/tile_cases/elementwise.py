"""Maps of elements."""

from __future__ import annotations

import numpy as np
from tile_programs import TileProgram, random
from xdsl.ir import SSAValue

from infini_ir.lowering.scalar_builder import ScalarBuilder
from infini_ir.utils.dtypes import is_float, is_unsigned
from infini_ir.utils.symbolic import Dim
from tile_cases.parts import SHAPES, matrix_kernel
from tile_cases.registry import ALL_DTYPES, WIDTHS, Case, case, in_f32


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


@case("f32", "i8", "f64", "i1")
def strided_operands(dtype: str) -> Case:
    """Transposed, reversed, every second, repeated: each in a kernel with a dense one."""
    p = TileProgram([(["M", "N"], dtype)], [(["M", "N"], dtype)] * 4)
    x, *outs = p.views
    m, n = Dim.symbol("M"), Dim.symbol("N")
    wide = p.alloc([m * 2, n * 3], dtype)
    matrix_kernel(p, "fill", [p.alias(x, [m, n]), p.alias(wide, [m, n], [n * 6, 3])], dtype,
                   lambda s, a: a)  # fmt: skip
    gaps = p.alias(wide, [m, n], [n * 6, 3])
    matrix_kernel(
        p, "gaps", [x, gaps, outs[0]], dtype, lambda s, a, b: _combine(s, dtype, a, b)
    )
    flipped = p.alias(x, [m, n], [-n, -1], m * n - 1)
    matrix_kernel(p, "flip", [x, flipped, outs[1]], dtype, lambda s, a, b: _combine(s, dtype, a, b))  # fmt: skip
    row = p.alias(x, [m, n], [0, 1])
    column = p.alias(x, [m, n], [n, 0])
    matrix_kernel(p, "repeat", [row, column, outs[2]], dtype, lambda s, a, b: _combine(s, dtype, a, b))  # fmt: skip
    turned = p.alloc([n, m], dtype)
    matrix_kernel(p, "turn", [x, p.alias(turned, [m, n], [1, m])], dtype, lambda s, a: a)
    back = p.alias(outs[3], [m, n], [-n, -1], m * n - 1)
    matrix_kernel(p, "unturn", [p.alias(turned, [m, n], [1, m]), back], dtype, lambda s, a: a)
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
