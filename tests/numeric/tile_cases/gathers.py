"""Gathers and scatters."""

from __future__ import annotations

import numpy as np
from tile_programs import TileProgram, random

from tile_cases.parts import SHAPES, matrix_kernel
from tile_cases.registry import Case, case


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
    matrix_kernel(p, "first", p.views, "f32", lambda s, a: s.neg(a))
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
