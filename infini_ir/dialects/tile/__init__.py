"""The tile dialect: kernels over tiles, and the host program that launches them."""

from xdsl.ir import Dialect

from infini_ir.dialects.tile.kernel import *  # noqa: F403
from infini_ir.dialects.tile.kernel import KERNEL_ATTRIBUTES, KERNEL_OPS
from infini_ir.dialects.tile.types import (
    TileType,
    ViewType,
    dense_strides,
    tile_type,
    view_type,
)

from infini_ir.dialects.tile import program  # isort: skip
from infini_ir.dialects.tile.program import PROGRAM_OPS  # isort: skip

Tile = Dialect("tile", [*KERNEL_OPS, *PROGRAM_OPS], [ViewType, TileType, *KERNEL_ATTRIBUTES])
