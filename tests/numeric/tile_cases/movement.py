"""Kernels that bring a short axis next to each element, and blocks of transposed ones."""

from __future__ import annotations

from tile_programs import TileProgram, random

from infini_ir.utils.symbolic import Dim
from tile_cases.registry import Case, case


@case(
    *((2, dtype) for dtype in ("f32", "bf16", "i8", "f64", "i1")),
    *((rows, "f32") for rows in (3, 4, 5, 7)),
    (3, "bf16"),
    (4, "f16"),
)
def interleaved(rows: int, dtype: str) -> Case:
    """[a, rows, n] becomes [a, n, rows], inside a border; of n known and not."""
    p = TileProgram(
        [([2, rows, "N"], dtype), ([2, rows, 37], dtype)],
        [([2, "N", rows], dtype), ([2, 41, rows], dtype)],
    )
    n = Dim.symbol("N")
    clear = p.kernel("clear", [p.views[3]], [2, 41, rows], ["1", "BR", "BC"])
    zero = clear.full(0 if dtype in ("i8", "i1") else 0.0, ["BR", "BC"], dtype)
    clear.store(zero, clear.views[0], clear.offsets, [1, 2])
    p.launch(clear, [p.views[3]])
    for x, y, length, outer, offset in (
        (p.views[0], p.views[2], n, n * rows, 0),
        (p.views[1], p.views[3], Dim.of(37), Dim.of(41 * rows), 2 * rows),
    ):
        source = p.alias(x, [2, length, rows], [length * rows, 1, length])
        target = p.alias(y, [2, length, rows], [outer, rows, 1], offset)
        k = p.kernel(
            f"interleave_{offset}", [source, target], [2, length, rows], ["1", "BR", "BC"]
        )
        read = k.load(k.views[0], k.offsets, [1, 2], ["BR", "BC"])
        (same,) = k.map([read], [[0, 1]], [dtype], ["BR", "BC"], lambda s, v: [v])
        k.store(same, k.views[1], k.offsets, [1, 2])
        p.launch(k, [source, target])
    inputs = [
        [random([2, rows, size], dtype, 1), random([2, rows, 37], dtype, 2)]
        for size in (1, 7, 8, 16, 17, 100)
    ]
    return Case(p, inputs, exact=True)


@case("f32", "bf16")
def transposed_blocks(dtype: str) -> Case:
    """Both axes longer than a block, with edges."""
    p = TileProgram([([70, 130], dtype)], [([130, 70], dtype)])
    source = p.alias(p.views[0], [130, 70], [1, 130])
    k = p.kernel("transpose", [source, p.views[1]], [130, 70], ["BR", "BC"])
    read = k.load(k.views[0], k.offsets, [0, 1], ["BR", "BC"])
    (same,) = k.map([read], [[0, 1]], [dtype], ["BR", "BC"], lambda s, v: [v])
    k.store(same, k.views[1], k.offsets, [0, 1])
    p.launch(k, [source, p.views[1]])
    return Case(p, [[random([70, 130], dtype)]], exact=True)
