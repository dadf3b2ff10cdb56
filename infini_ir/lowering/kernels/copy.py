"""Copies, and filling memory with one number."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from xdsl.ir import SSAValue

from infini_ir.lowering.domain import Axis, view_types
from infini_ir.lowering.host_builder import HostBuilder
from infini_ir.lowering.kernel_builder import KernelBuilder
from infini_ir.lowering.kernels.pointwise import loops_of, shape_key_of
from infini_ir.lowering.placement import Placement
from infini_ir.lowering.scalar_builder import ScalarBuilder


def copy_elements(
    host: HostBuilder, source: Placement, target: Placement, label: str = ""
) -> None:
    """Write the elements of one placement to another of the same shape."""
    if target.is_empty():
        return
    axes = loops_of([target, source])
    key = ("copy", shape_key_of(axes, [target, source]))

    def build() -> KernelBuilder:
        k, capacity, tile_axes = start_kernel("copy", axes, [target, source])
        value = k.load(k.views[1], k.offsets, tile_axes, capacity)
        (same,) = k.map([value], [list(range(len(capacity)))], [target.dtype], capacity, _same)
        k.store(same, k.views[0], k.offsets, tile_axes)
        return k

    host.launch(host.kernel(key, build), views_of(host, axes, [target, source]), label)


def fill(
    host: HostBuilder,
    target: Placement,
    number: float | int | bool | None,
    scalar: Placement | None = None,
    label: str = "",
) -> None:
    """Write one number, or the scalar in memory where the number is None, everywhere."""
    if target.is_empty():
        return
    if number is None:
        assert scalar is not None
        copy_elements(host, scalar.broadcast(target.shape), target, label)
        return
    axes = _longest_in_tile(loops_of([target]))
    key: Hashable = ("fill", repr(number), shape_key_of(axes, [target]))

    def build() -> KernelBuilder:
        k, capacity, tile_axes = start_kernel("fill", axes, [target])
        k.store(k.full(number, capacity, target.dtype), k.views[0], k.offsets, tile_axes)
        return k

    host.launch(host.kernel(key, build), views_of(host, axes, [target]), label)


def _longest_in_tile(axes: list[Axis]) -> list[Axis]:
    """The axes, the longest of those before the last moved next to it: a program fills its
    tile of two axes, and borders are short along some."""
    known = [axis.size.value or 0 for axis in axes[:-1]]
    if len(known) < 2 or max(known) <= known[-1]:
        return axes
    longest = known.index(max(known))
    return [*axes[:longest], *axes[longest + 1 : -1], axes[longest], axes[-1]]


def start_kernel(
    name: str, axes: Sequence[Axis], placements: Sequence[Placement], origin: str = ""
) -> tuple[KernelBuilder, list[str], list[int]]:
    """A kernel over loops, tiles of the last two: it, the tiles' shape, and their axes."""
    capacity = ["BR", "BC"] if len(axes) > 1 else ["BC"]
    steps = ["1"] * (len(axes) - len(capacity)) + capacity
    bounds = [axis.size for axis in axes]
    k = KernelBuilder(name, view_types(axes, placements), bounds, steps, origin)
    return k, capacity, list(range(len(axes) - len(capacity), len(axes)))


def views_of(
    host: HostBuilder, axes: Sequence[Axis], placements: Sequence[Placement]
) -> list[SSAValue]:
    """The views of placements in the shape of the loops."""
    shape = [axis.size for axis in axes]
    return [
        host.view(p, shape, [axis.strides[i] for axis in axes])
        for i, p in enumerate(placements)
    ]


def _same(s: ScalarBuilder, x: SSAValue) -> list[SSAValue]:
    return [x]
