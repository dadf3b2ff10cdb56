"""The tile dialect: kernels over tiles, and the host program that launches them."""

from xdsl.ir import Dialect

from infini_ir.dialects.fields import read_directly
from infini_ir.dialects.tile.accesses import *  # noqa: F403
from infini_ir.dialects.tile.accesses import ACCESS_ATTRIBUTES, ACCESS_OPS
from infini_ir.dialects.tile.base import INDEX, YieldOp, yielded
from infini_ir.dialects.tile.kernel import *  # noqa: F403
from infini_ir.dialects.tile.kernel import KERNEL_OPS
from infini_ir.dialects.tile.types import (
    TileType,
    ViewType,
    dense_strides,
    tile_type,
    view_type,
)
from infini_ir.dialects.tile.values import *  # noqa: F403
from infini_ir.dialects.tile.values import VALUE_ATTRIBUTES, VALUE_OPS

from infini_ir.dialects.tile import program  # isort: skip
from infini_ir.dialects.tile.program import PROGRAM_OPS  # isort: skip

Tile = Dialect(
    "tile",
    [*KERNEL_OPS, *ACCESS_OPS, *VALUE_OPS, *PROGRAM_OPS],
    [ViewType, TileType, *ACCESS_ATTRIBUTES, *VALUE_ATTRIBUTES],
)
read_directly(Tile.operations)
