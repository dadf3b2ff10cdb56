"""Products of computed tiles."""

from __future__ import annotations

from tile_programs import TileProgram, random

from infini_ir.utils.symbolic import Dim
from tile_cases.parts import exp
from tile_cases.registry import Case, case


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
            lambda s, x, m: [exp(s, s.sub(x, m))],
        )  # fmt: skip
        (scale,) = k.map(
            [top, new], [[0], [0]], ["f32"], ["BM"], lambda s, a, b: [exp(s, s.sub(a, b))]
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
