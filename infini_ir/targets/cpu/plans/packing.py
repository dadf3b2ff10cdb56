"""Weights of matrix products in panels: the pass `cpu-pack-weights`.

A weight [k.., n] that a contraction kernel reads becomes [ceil(n / w), k.., w], filled up
with zeros, so that a register tile reads it from front to back. Where products are summed in
groups of g (bytes by 4, bf16 by 2), it becomes [ceil(n / w), k.., k / g, w, g]: matrix units
and instructions on vectors want the same order. The packed weight is made from the original
when the program is put together, and only once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, SymbolRefAttr
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter

from infini_ir.dialects import tile
from infini_ir.dialects.context import weights_of
from infini_ir.dialects.tile import program
from infini_ir.dialects.tile.types import GROUPS, packed_shape
from infini_ir.targets.cpu.plans.plan import Plan
from infini_ir.targets.cpu.products import computed_factor, contraction, equal_products
from infini_ir.utils.dtypes import item_size
from infini_ir.utils.weights import WeightStore


def pack_panels(weight: np.ndarray, batch: int, width: int, group: int = 1) -> np.ndarray:
    """[batch.., k.., n] as `packed_shape` says, zero-filled."""
    packed = np.zeros(packed_shape(weight.shape, batch, width, group), weight.dtype)
    fill_panels(packed, weight, batch, width, group)
    return packed


def fill_panels(
    packed: np.ndarray, weight: np.ndarray, batch: int, width: int, group: int = 1
) -> None:
    """The same into zeroed memory; the weight may have any strides, and is not copied."""
    lead = weight.shape[:-2]
    # The panels as [lead.., runs of k, group, panels, width], where a factor's elements lie.
    if group == 1:
        places = np.moveaxis(packed, batch, -2)[..., None, :, :]
    else:
        places = np.moveaxis(np.moveaxis(packed, -1, -2), batch, -2)
    for rows, groups, height in _wholes(weight.shape[-2], group):
        for columns, panels, wide in _wholes(weight.shape[-1], width):
            part = weight[..., rows, columns]
            sizes = (*lead, groups.stop - groups.start, height, panels.stop - panels.start)
            places[..., groups, :height, panels, :wide] = part.reshape(*sizes, wide)


def _wholes(size: int, unit: int) -> Iterator[tuple[slice, slice, int]]:
    """An axis in units: those that are whole, then the rest, each as elements of the axis,
    numbers of units, and elements in one."""
    count, rest = divmod(size, unit)
    if count:
        yield slice(0, count * unit), slice(0, count), unit
    if rest:
        yield slice(count * unit, size), slice(count, count + 1), rest


def joined_nibbles(bits: np.ndarray) -> np.ndarray:
    """[.., 8] numbers below 16 as [..] of 32 bits (`NIBBLE_PLACES`)."""
    total = np.zeros(bits.shape[:-1], np.uint32)
    for number, place in enumerate(computed_factor.NIBBLE_PLACES):
        total |= bits[..., number].astype(np.uint32) << np.uint32(4 * place)
    return total


@dataclass(frozen=True)
class CpuPackWeightsPass(ModulePass):
    """
    Gives the weights that contraction kernels read a panel layout.

    Runs after `cpu-plan`, which says how wide panels are. A weight that is known only by
    name (text without data beside it) stays as it is.
    """

    name = "cpu-pack-weights"
    vector_lanes: int = 16

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        store = weights_of(ctx)
        packer = _Packer(op, store, self.vector_lanes)
        for launch in list(op.walk()):
            if isinstance(launch, program.LaunchOp):
                packer.pack(launch)


class _Packer:
    def __init__(self, module: ModuleOp, store: WeightStore, lanes: int) -> None:
        self.module = module
        self.store = store
        self.lanes = lanes
        self.copies: dict[tuple[str, int], tile.KernelOp] = {}
        self.kernels = {
            k.sym_name.data: k for k in module.body.block.ops if isinstance(k, tile.KernelOp)
        }

    def pack(self, launch: program.LaunchOp) -> None:
        kernel = self.kernels[launch.kernel.string_value()]
        position = packable_view(kernel)
        if position is None:
            return
        found = _weight_behind(launch.views[position])
        if found is None:
            return
        weight, offset = found
        type = tile.view_type(kernel.views[position])
        if weight.handle.data not in self.store or type.panel_width:
            return
        if any(size.value is None for size in type.shape) or any(
            not step.value for step in type.strides
        ):
            return
        plan = Plan.read(kernel.plan)
        nest = _nest_of(kernel)
        nibbles = nest is not None and computed_factor.packs_nibbles(nest)
        group = computed_factor.NIBBLES if nibbles else plan.group
        width = GROUPS if group > 1 else plan.vectors * self.lanes_of(kernel)
        batch = _batch_axes(kernel, position)
        packed = tile.ViewType.of(
            type.shape, type.element, panel=width, group=group, batch=batch
        )
        if nibbles:
            if offset or not type.is_dense():
                return
            handle = self._packed_nibbles(weight.handle.data, type, batch, width, group)
        else:
            handle = self._packed_weight(weight.handle.data, offset, type, batch, width, group)
        new = program.WeightOp(handle, packed)
        Rewriter.insert_op(new, InsertPoint.before(launch))
        operands = list(launch.operands)
        operands[position] = new.out
        launch.operands = operands
        copy = self._packed_kernel(kernel, position, packed)
        launch.properties["kernel"] = SymbolRefAttr(copy.sym_name.data)

    def lanes_of(self, kernel: tile.KernelOp) -> int:
        """Lanes of the accumulators, whatever the type of the weight."""
        nest = _nest_of(kernel)
        if nest is None:
            return self.lanes
        item = item_size(tile.tile_type(nest.dot.acc).dtype)
        return max(1, self.lanes * 4 // max(4, item))

    def _packed_weight(
        self, handle: str, offset: int, type: tile.ViewType, batch: int, width: int, group: int
    ) -> str:
        shape = tuple(d.value or 0 for d in type.shape)
        strides = [d.value or 0 for d in type.strides]

        whole = not offset and type.is_dense()

        def fill(packed: np.ndarray, source: np.ndarray) -> None:
            if whole:
                seen = source.reshape(shape)
            else:
                flat = np.ascontiguousarray(source).reshape(-1)[offset:]
                steps = [stride * flat.itemsize for stride in strides]
                seen = np.lib.stride_tricks.as_strided(flat, shape, steps, writeable=False)
            fill_panels(packed, seen, batch, width, group)

        by = f"by{group}" if group > 1 else ""
        key = f"panels{width}{by}.{batch}.{'x'.join(map(str, shape))}"
        if not whole:
            key += f"at{offset}:{'x'.join(map(str, strides))}"
        sizes = packed_shape(shape, batch, width, group)
        return self.store.derive_in_place([handle], key, type.dtype, sizes, fill)

    def _packed_nibbles(
        self, handle: str, type: tile.ViewType, batch: int, width: int, group: int
    ) -> str:
        """The same with the 4-bit elements of a group in one number, signed ones plus 8."""
        shape = tuple(d.value or 0 for d in type.shape)

        def compute(source: np.ndarray) -> np.ndarray:
            bits = source.reshape(shape).astype(np.int8).view(np.uint8) & 15
            if type.dtype == "i4":
                bits ^= 8
            return joined_nibbles(pack_panels(bits, batch, width, group))

        key = f"nibbles{width}.{batch}.{'x'.join(map(str, shape))}"
        sizes = packed_shape(shape, batch, width, group)[:-1]
        return self.store.derive([handle], key, "ui32", sizes, compute)

    def _packed_kernel(
        self, kernel: tile.KernelOp, position: int, packed: tile.ViewType
    ) -> tile.KernelOp:
        """The kernel with a packed operand; the original stays for other launches."""
        key = (kernel.sym_name.data, packed.panel_width)
        known = self.copies.get(key)
        if known is None:
            known = kernel.clone()
            name = f"{kernel.sym_name.data}_packed"
            known.properties["sym_name"] = type(kernel.sym_name)(name)
            Rewriter.replace_value_with_new_type(known.body.block.args[position], packed)
            Rewriter.insert_op(known, InsertPoint.after(kernel))
            self.copies[key] = known
            self.kernels[name] = known
        return known


def _weight_behind(view: SSAValue) -> tuple[program.WeightOp, int] | None:
    """The weight of which a view shows elements, and where in it the view begins."""
    offset = 0
    while isinstance(view.owner, program.AliasOp):
        alias = view.owner
        if alias.offset_dim.value is None:
            return None
        offset += alias.offset_dim.value
        view = alias.source
    return (view.owner, offset) if isinstance(view.owner, program.WeightOp) else None


def _nest_of(kernel: tile.KernelOp) -> contraction.Nest | None:
    """The kernel's contraction."""
    for op in kernel.body.block.ops:
        if isinstance(op, tile.ForOp) and (nest := contraction.match(op)) is not None:
            return nest
    return None


def packable_view(kernel: tile.KernelOp) -> int | None:
    """Which operand of a kernel is the right side of its contraction, if it has one."""
    nest = _nest_of(kernel)
    if nest is not None:
        uses = [use.operation for use in nest.rhs.view.uses]
        if uses == [nest.rhs] and _plain(nest):
            return next(i for i, v in enumerate(kernel.views) if v is nest.rhs.view)
    group = equal_products.in_kernel(kernel)
    if group is None or group.axis != 0 or group.loads[0].axis_list != (1, 2):
        return None
    if {use.operation for use in group.view.uses} != set(group.loads):
        return None
    return next(i for i, v in enumerate(kernel.views) if v is group.view)


def _plain(nest: contraction.Nest) -> bool:
    """Whether the right operand is [batch.., k.., n] in the order of the loops."""
    view = tile.view_type(nest.rhs.view)
    if nest.dot.transposed is not None or nest.rhs.axis_list[1] != view.rank - 1:
        return False
    offsets = list(nest.rhs.offsets)
    axes = [offsets.index(v) if v in offsets else -1 for v in nest.variables]
    if nest.whole:
        axes.append(nest.depth_axis)
    return axes == list(range(view.rank - 1 - len(axes), view.rank - 1))


def _batch_axes(kernel: tile.KernelOp, position: int) -> int:
    nest = _nest_of(kernel)
    if nest is None:
        return 0 if equal_products.in_kernel(kernel) is None else 1
    return tile.view_type(kernel.views[position]).rank - 1 - len(nest.loops) - nest.whole
