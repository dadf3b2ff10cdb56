"""Kernels that reduce each window by itself: depthwise convolution and pooling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.ir import SSAValue

from infini_ir.dialects.tile import ViewType
from infini_ir.lowering.cluster import Cluster
from infini_ir.lowering.domain import Axis, TileWriter, axes_of, merged
from infini_ir.lowering.epilogue import Epilogue, OwnMemory
from infini_ir.lowering.host_builder import HostBuilder
from infini_ir.lowering.kernel_builder import KernelBuilder
from infini_ir.lowering.kernels.pointwise import shape_key_of
from infini_ir.lowering.placement import Placement
from infini_ir.lowering.scalar_builder import ScalarBuilder
from infini_ir.utils.symbolic import ONE, ZERO, Dim

WINDOW = "window"


@dataclass
class WindowSum:
    """
    out[outer.., c] = reduction over the window of x[outer.., c, window..], each element
    multiplied by factors[window.., c] if there are any.
    """

    name: str
    kind: str
    """`add`, `max` or another kind of `tile.reduce`."""
    x: Placement
    factors: Placement | None = None


def launch_windows(
    host: HostBuilder,
    cluster: Cluster,
    windows: WindowSum,
    epilogue: Epilogue,
    dtype: str,
    own: OwnMemory,
) -> None:
    """Run the kernel of a reduction of windows and what follows it. `dtype`: the element
    type it computes in."""
    targets = epilogue.targets(host, contiguous=False, own=own)
    if targets[0].is_empty():
        return
    operands, axes = _axes(windows, targets, epilogue)
    writer = _Writer(windows, epilogue, len(targets), operands, axes, dtype)
    key = (
        "windows",
        windows.name,
        windows.kind,
        windows.factors is None,
        dtype,
        epilogue.expression.key,
        shape_key_of(axes, operands),
        tuple(p.offset for p in operands if p.root is None),
    )
    kernel = host.kernel(key, lambda: writer.build(cluster.origin))
    views = [
        host.view(operands[i], writer.types[i].shape, writer.types[i].strides)
        for i in writer.in_memory
    ]
    host.launch(kernel, views, cluster.label)


def _axes(
    windows: WindowSum, targets: Sequence[Placement], epilogue: Epilogue
) -> tuple[list[Placement], list[Axis]]:
    """All operands in the shape [outer.., c, window..], and its loops."""
    outer = targets[0].rank
    x = windows.x
    shape = x.shape

    def spread(p: Placement) -> Placement:
        strides = (*p.strides, *[ZERO] * (len(shape) - outer))
        return Placement(p.root, p.offset, shape, strides, p.dtype)

    operands = [x]
    if windows.factors is not None:
        f = windows.factors
        strides = (*[ZERO] * (outer - 1), f.strides[-1], *f.strides[:-1])
        operands.append(Placement(f.root, f.offset, shape, strides, f.dtype))
    operands += [spread(p) for p in (*targets, *epilogue.operands.placements)]
    labels = ["outer"] * (outer - 1) + ["channel"] + [WINDOW] * (len(shape) - outer)
    axes = merged(axes_of(operands, labels))
    if not any(axis.label == "channel" for axis in axes):
        before = sum(axis.label == "outer" for axis in axes)
        axes.insert(before, Axis(ONE, [ZERO] * len(operands), "channel"))
    if axes[0].label != "outer":
        axes.insert(0, Axis(ONE, [ZERO] * len(operands), "outer"))
    return operands, axes


class _Writer:
    def __init__(
        self,
        windows: WindowSum,
        epilogue: Epilogue,
        results: int,
        operands: list[Placement],
        axes: list[Axis],
        dtype: str,
    ) -> None:
        self.windows, self.epilogue, self.dtype = windows, epilogue, dtype
        self.operands, self.axes, self.results = operands, axes, results
        self.inputs = 1 if windows.factors is None else 2
        self.grid = [i for i, axis in enumerate(axes) if axis.label != WINDOW]
        self.window = [i for i, axis in enumerate(axes) if axis.label == WINDOW]
        self.in_memory = [i for i, p in enumerate(operands) if p.root is not None]
        self.types = [
            ViewType.of(
                [axes[a].size for a in self.view_axes(i)],
                p.dtype,
                [axes[a].strides[i] for a in self.view_axes(i)],
            )
            for i, p in enumerate(operands)
        ]

    def view_axes(self, operand: int) -> list[int]:
        return [*self.grid, *self.window] if operand < self.inputs else self.grid

    def build(self, origin: str) -> KernelBuilder:
        bounds = [self.axes[i].size for i in self.grid]
        steps = ["1"] * (len(self.grid) - 2) + ["BW", "BC"]
        types = [self.types[i] for i in self.in_memory]
        k = KernelBuilder(self.windows.name, types, bounds, steps, origin)
        views: list[SSAValue | None] = [None] * len(self.operands)
        for view, i in zip(k.views, self.in_memory, strict=True):
            views[i] = view
        outer = self.grid[-2:]
        capacity: dict[int, str | Dim] = {outer[0]: "BW", outer[1]: "BC"}
        capacity.update({i: self.axes[i].size for i in self.window})
        writer = TileWriter(
            k,
            self.axes,
            self.operands,
            views,
            [*k.offsets, *[0] * len(self.window)],
            capacity,
            [self.view_axes(i) for i in range(len(self.operands))],
        )
        total = self._reduced(k, writer, [outer[0], *self.window, outer[1]])
        self._finish(k, views, total, outer)
        return k

    def _reduced(self, k: KernelBuilder, writer: TileWriter, tile_axes: list[int]) -> SSAValue:
        loads = [writer.load(i, tile_axes) for i in range(self.inputs)]
        dtypes = [self.operands[i].dtype for i in range(self.inputs)]
        x = loads[0][0]
        plain = self.inputs == 1 and dtypes[0] == self.dtype
        if not plain or len(loads[0][1]) != len(tile_axes):
            shape = writer.shape(tile_axes)
            body = _Products(dtypes, self.dtype)
            (x,) = k.map(
                [load[0] for load in loads],
                [load[1] for load in loads],
                [self.dtype],
                shape,
                body,
            )
        inner = list(range(1, len(tile_axes) - 1))
        return k.reduce(self.windows.kind, x, inner) if inner else x

    def _finish(
        self,
        k: KernelBuilder,
        views: Sequence[SSAValue | None],
        total: SSAValue,
        outer: list[int],
    ) -> None:
        first = self.inputs + self.results
        if self.epilogue.is_plain:
            values: Sequence[SSAValue] = [total]
        else:
            count = len(self.grid)
            writer = TileWriter(
                k,
                [Axis(axis.size, axis.strides[first:]) for axis in self.axes[:count]],
                self.operands[first:],
                views[first:],
                k.offsets,
                {outer[0]: "BW", outer[1]: "BC"},
            )
            values = writer.map(self.epilogue.expression, outer, [(total, outer)])
        for value, view in zip(values, views[self.inputs : first], strict=True):
            assert view is not None
            k.store(value, view, k.offsets, outer)


@dataclass
class _Products:
    """The scalar code of a product, computed in another type."""

    given: Sequence[str]
    dtype: str

    def __call__(self, s: ScalarBuilder, *args: SSAValue) -> list[SSAValue]:
        from infini_ir.lowering.conversions import convert

        wide = [convert(s, a, g, self.dtype) for a, g in zip(args, self.given, strict=True)]
        return [wide[0] if len(wide) == 1 else s.mul(wide[0], wide[1])]
