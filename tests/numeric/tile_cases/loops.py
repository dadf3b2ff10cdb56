"""Loops that carry tiles, and scans."""

from __future__ import annotations

import itertools

import numpy as np
from tile_programs import TileProgram, random

from tile_cases.parts import SHAPES, exp
from tile_cases.registry import Case, case


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
        (e,) = k.map([x, new], [[0, 1], [0]], ["f32"], ["BM", "BN"], lambda s, x, m: [exp(s, s.sub(x, m))])  # fmt: skip
        part = k.reduce("add", e, [1])
        (total,) = k.map(
            [total, top, new, part], [[0]] * 4, ["f32"], ["BM"],
            lambda s, t, a, b, q: [s.add(s.mul(t, exp(s, s.sub(a, b))), q)],
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
