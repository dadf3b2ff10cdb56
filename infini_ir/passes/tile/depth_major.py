"""Factors of bytes whose contracted axis lies side by side: the pass `tile-depth-major`."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter

from infini_ir.dialects import tile
from infini_ir.dialects.context import weights_of
from infini_ir.dialects.tile import TileType, program, tile_type
from infini_ir.passes.tile.contraction import find_contraction
from infini_ir.passes.tile.cut_epilogue import launches_of
from infini_ir.passes.tile.regions import root_of
from infini_ir.utils.dtypes import item_size
from infini_ir.utils.weights import WeightStore


@dataclass(frozen=True)
class DepthMajorPass(ModulePass):
    """
    Turns right factors that products compute from weights of bytes: their tiles have the
    columns first and the contracted axis last, which `tile-lay-out-weights` then has side by
    side in memory. A thread of a matrix unit wants neighbours along that axis: with four
    bytes of them it reads words, not bytes, from what it has been brought.
    """

    name = "tile-depth-major"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for kernel in op.body.block.ops:
            if isinstance(kernel, tile.KernelOp):
                _turn(kernel, op, weights_of(ctx))


def _turn(kernel: tile.KernelOp, module: ModuleOp, weights: WeightStore) -> None:
    contraction = find_contraction(kernel)
    if contraction is None or contraction.dot.transposed is not None:
        return
    dot = contraction.dot
    computed = dot.rhs.owner
    if not isinstance(computed, tile.MapOp) or not _is_simple(computed):
        return
    loads = [v.owner for v in computed.inputs if isinstance(v.owner, tile.LoadOp)]
    whole = [load for load in loads if tile_type(load.out).rank == 2]
    bytes_loads = [load for load in whole if item_size(tile_type(load.out).dtype) == 1]
    if len(bytes_loads) != 1 or not _is_weight(bytes_loads[0], kernel, module, weights):
        return
    for load in whole:
        _turn_load(load)
    turned = _turned_map(computed)
    product = tile.DotOp(dot.lhs, turned.outs[0], dot.acc, transposed=True)
    product.location = dot.location
    Rewriter.replace_op(dot, product)
    Rewriter.erase_op(computed)


def _is_simple(op: tile.MapOp) -> bool:
    """Whether a map is only read by the product, and reads nothing but loads of its own of
    two axes, and what has at most one."""
    if len(op.outs) != 1 or not op.outs[0].has_one_use():
        return False
    if any(isinstance(inner, tile.CoordOp) for inner in op.body.block.ops):
        return False
    return all(
        not isinstance(value.type, TileType)
        or value.type.rank < 2
        or (isinstance(value.owner, tile.LoadOp) and value.has_one_use())
        for value in op.inputs
    )


def _is_weight(
    load: tile.LoadOp, kernel: tile.KernelOp, module: ModuleOp, weights: WeightStore
) -> bool:
    """Whether every launch gives the load a weight that can be stored in another order."""
    position = next(i for i, view in enumerate(kernel.views) if view is load.view)
    roots = [root_of(launch.views[position]).owner for launch in launches_of(module, kernel)]
    return bool(roots) and all(
        isinstance(root, program.WeightOp) and root.handle.data in weights for root in roots
    )


def _turn_load(load: tile.LoadOp) -> None:
    old = tile_type(load.out)
    turned = tile.LoadOp(load.view, load.offsets, load.axis_list[::-1], old.shape[::-1])
    turned.location = load.location
    Rewriter.insert_op(turned, InsertPoint.before(load))
    load.out.replace_all_uses_with(turned.out)
    Rewriter.erase_op(load)


def _turned_map(op: tile.MapOp) -> tile.MapOp:
    """A map in place of one, of the same elements with rows and columns exchanged."""
    dims = [
        covered if len(covered) == 2 else tuple(1 - axis for axis in covered)
        for covered in op.dim_lists
    ]
    inputs: list[SSAValue] = list(op.inputs)
    result = tile_type(op.outs[0])
    turned = tile.MapOp(
        inputs,
        dims,
        [TileType.of(result.shape[::-1], result.element)],
        op.body.clone(),
    )
    turned.location = op.location
    Rewriter.insert_op(turned, InsertPoint.before(op))
    return turned
