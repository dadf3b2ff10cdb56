"""What several kernels of the cases are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tile_programs import TileProgram
from xdsl.dialects import math
from xdsl.ir import SSAValue

from infini_ir.dialects.tile import view_type
from infini_ir.lowering.scalar_builder import ScalarBuilder

SHAPES = ((1, 1), (3, 5), (0, 4), (4, 0), (33, 65), (2, 16), (16, 1))


def matrix_kernel(
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


def exp(s: ScalarBuilder, x: SSAValue) -> SSAValue:
    return s.emit(math.ExpOp(x))
