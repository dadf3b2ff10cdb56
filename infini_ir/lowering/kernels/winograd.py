"""3x3 convolutions with 16 products instead of 36 for each tile of 2 x 2 results: the
algorithm F(2x2, 3x3) of Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks"
(2016).

    Y = A' [ (G g G') . (B' d B) ] A

`d` are the 4 x 4 inputs of a tile, `g` the 3 x 3 filter, transformed when compiling. A
program takes a block of tiles through all of it: the inputs of all channels transformed,
16 products of matrices (tiles by channels, channels by filters), the results transformed
back, and what follows the convolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from xdsl.ir import SSAValue

from infini_ir.dialects import graph
from infini_ir.dialects.tile import ViewType, program
from infini_ir.lowering.cluster import Cluster, UnfusableError
from infini_ir.lowering.domain import Axis, TileWriter
from infini_ir.lowering.epilogue import Epilogue, OwnMemory
from infini_ir.lowering.host_builder import HostBuilder
from infini_ir.lowering.kernel_builder import KernelBuilder
from infini_ir.lowering.placement import Placement
from infini_ir.lowering.scalar_builder import ScalarBuilder
from infini_ir.utils.symbolic import ONE, ZERO, Dim

TILE, WINDOW = 4, 2
"""Inputs and results of a tile along an axis."""

POINTS = [(i, j) for i in range(TILE) for j in range(TILE)]
PARITIES = [(a, b) for a in range(WINDOW) for b in range(WINDOW)]

FILTER_TRANSFORM = np.array(
    [[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], np.float64
)


@dataclass
class Winograd:
    """The parts of a convolution: its padded input [n, height, width, channels], its filters
    [3, 3, channels, filters], and the operation."""

    x: Placement
    w: Placement
    op: graph.ConvOp


def lower_winograd(
    host: HostBuilder, cluster: Cluster, conv: Winograd, epilogue: Epilogue, own: OwnMemory
) -> None:
    """Run the kernel of a convolution and what follows it."""
    targets = epilogue.targets(host, contiguous=True, own=own)
    if targets[0].is_empty():
        return
    count, height, width, filters = targets[0].shape
    channels = conv.x.shape[-1]
    grid = [count, height.ceil_divide(WINDOW), width.ceil_divide(WINDOW), filters]
    steps = conv.x.strides
    x = Placement(
        conv.x.root,
        conv.x.offset,
        (*grid[:3], Dim.of(TILE), Dim.of(TILE), channels),
        (steps[0], steps[1] * WINDOW, steps[2] * WINDOW, *steps[1:]),
        conv.x.dtype,
    )
    u = _transformed(host, conv.w)
    writer = _Writer(grid, x, u, epilogue, targets)
    key = ("winograd", epilogue.expression.key, tuple(map(str, writer.types)), writer.positions)
    kernel = host.kernel(key, lambda: writer.build(cluster.origin))
    views = [
        host.view(p, t.shape, t.strides)
        for p, t in zip(writer.in_memory, writer.types, strict=True)
    ]
    host.launch(kernel, views, cluster.label)


def transform_filters(filters: np.ndarray) -> np.ndarray:
    """[3, 3, channels, filters] as [16, channels, filters]: computed in f64, rounded once."""
    wide = filters.astype(np.float64)
    transformed = np.einsum("ik,klcf,jl->ijcf", FILTER_TRANSFORM, wide, FILTER_TRANSFORM)
    return transformed.reshape(TILE * TILE, *filters.shape[2:]).astype(filters.dtype)


def _transformed(host: HostBuilder, w: Placement) -> Placement:
    source = w.root.owner if w.root is not None else None
    sizes = [size.value for size in (*w.shape, *w.strides, w.offset)]
    if not isinstance(source, program.WeightOp) or None in sizes:
        raise UnfusableError("filters that are computed")
    known = [size or 0 for size in sizes]
    shape, strides, offset = known[:4], known[4:8], known[8]

    def compute(array: np.ndarray) -> np.ndarray:
        flat = np.ascontiguousarray(array).reshape(-1)
        steps = [stride * flat.itemsize for stride in strides]
        return transform_filters(np.lib.stride_tricks.as_strided(flat[offset:], shape, steps))

    made = [TILE * TILE, *shape[2:]]
    key = f"winograd{offset}:{shape}:{strides}".replace(" ", "")
    handle = host.weights.derive([source.handle.data], key, w.dtype, made, compute)
    return host.weight(handle, w.dtype, made)


@dataclass
class _Result:
    """Every second result along both axes, from (a, b) on: where the results and the
    operands of the epilogue lie."""

    a: int
    b: int
    shape: list[Dim]
    placements: list[Placement]


class _Writer:
    """Writes the kernel: its views are the input, the filters, and for each parity the
    results and the operands of the epilogue."""

    def __init__(
        self,
        grid: Sequence[Dim],
        x: Placement,
        u: Placement,
        epilogue: Epilogue,
        targets: Sequence[Placement],
    ) -> None:
        self.grid, self.epilogue, self.dtype = list(grid), epilogue, x.dtype
        self.channels = x.shape[-1]
        self.count = len(targets)
        placements = [*targets, *epilogue.operands.placements]
        self.results = [
            _every_second(a, b, targets[0].shape, grid, placements) for a, b in PARITIES
        ]
        self.results = [r for r in self.results if ZERO not in r.shape]
        every = [p for result in self.results for p in result.placements]
        self.in_memory = [x, u, *(p for p in every if p.root is not None)]
        self.positions = tuple(p.offset for p in every if p.root is None)
        self.types = [ViewType.of(p.shape, p.dtype, _used_strides(p)) for p in self.in_memory]

    def build(self, origin: str) -> KernelBuilder:
        k = KernelBuilder(
            "winograd_3x3", self.types, self.grid, ["1", "BH", "BW", "BN"], origin
        )
        products = self._products(k, self._inputs(k))
        views = iter(k.views[2:])
        values: list[tuple[SSAValue, SSAValue]] = []
        for result in self.results:
            own = [None if p.root is None else next(views) for p in result.placements]
            values += self._finish(k, result, products, own)
        for value, view in values:
            k.store(value, view, k.offsets, [1, 2, 3])
        return k

    def _inputs(self, k: KernelBuilder) -> Sequence[SSAValue]:
        """B' d B, for all channels: 16 tiles."""
        n, row, column, _ = k.offsets
        shape = ["BH", "BW", self.channels]
        loads = [
            k.load(k.views[0], [n, row, column, i, j, 0], [1, 2, 5], shape) for i, j in POINTS
        ]

        def body(s: ScalarBuilder, *d: SSAValue) -> list[SSAValue]:
            rows = [d[i * TILE : (i + 1) * TILE] for i in range(TILE)]
            half = list(
                zip(
                    *[_input_line(s, column) for column in zip(*rows, strict=True)], strict=True
                )
            )
            return [value for line in half for value in _input_line(s, line)]

        return k.map(loads, [[0, 1, 2]] * len(loads), [self.dtype] * len(POINTS), shape, body)

    def _products(self, k: KernelBuilder, inputs: Sequence[SSAValue]) -> list[SSAValue]:
        zero = k.full(0.0, ["BH", "BW", "BN"], self.dtype)
        result: list[SSAValue] = []
        for point, tile in enumerate(inputs):
            filters = k.load(
                k.views[1], [point, 0, k.offsets[-1]], [1, 2], [self.channels, "BN"]
            )
            result.append(k.dot(tile, filters, zero))
        return result

    def _finish(
        self,
        k: KernelBuilder,
        result: _Result,
        products: Sequence[SSAValue],
        views: Sequence[SSAValue | None],
    ) -> list[tuple[SSAValue, SSAValue]]:
        """A' M A at one parity, and the epilogue of that."""
        rows, columns = range(result.a, result.a + 3), range(result.b, result.b + 3)
        used = [products[i * TILE + j] for i in rows for j in columns]

        def body(s: ScalarBuilder, *m: SSAValue) -> list[SSAValue]:
            lines = [_result_line(s, result.a, m[j::3]) for j in range(3)]
            return [_result_line(s, result.b, lines)]

        shape = ["BH", "BW", "BN"]
        (total,) = k.map(used, [[0, 1, 2]] * len(used), [self.dtype], shape, body)
        if result.shape[1:3] != self.grid[1:3]:
            # The tiles at the end of an odd size have fewer results.
            total = k.open(total)
        tile_axes = [1, 2, 3]
        values: Sequence[SSAValue] = [total]
        if not self.epilogue.is_plain:
            own = result.placements[self.count :]
            axes = [
                Axis(size, [p.strides[i] for p in own]) for i, size in enumerate(result.shape)
            ]
            capacity: dict[int, str | Dim] = dict(zip(tile_axes, shape, strict=True))
            writer = TileWriter(k, axes, own, views[self.count :], k.offsets, capacity)
            values = writer.map(self.epilogue.expression, tile_axes, [(total, tile_axes)])
        stored: list[tuple[SSAValue, SSAValue]] = []
        for value, view in zip(values, views, strict=False):
            assert view is not None, "results lie in memory"
            stored.append((value, view))
        return stored


def _every_second(
    a: int, b: int, shape: Sequence[Dim], grid: Sequence[Dim], placements: Sequence[Placement]
) -> _Result:
    sizes = [shape[0], (shape[1] - a).ceil_divide(2), (shape[2] - b).ceil_divide(2), shape[3]]
    halves: list[Placement] = []
    for p in placements:
        # Along an axis that it does not move along, an operand is there for all tiles.
        own = [
            whole if step is ZERO else size
            for size, whole, step in zip(sizes, grid, p.strides, strict=True)
        ]
        halves.append(p.sliced([0, a, b, 0], [1, WINDOW, WINDOW, 1], own))
    return _Result(a, b, sizes, halves)


def _used_strides(p: Placement) -> list[Dim]:
    """Strides, but of axes of size 1, whose stride does not matter and might differ."""
    return [ONE if size is ONE else step for size, step in zip(p.shape, p.strides, strict=True)]


def _input_line(s: ScalarBuilder, d: Sequence[SSAValue]) -> list[SSAValue]:
    """B' along one axis."""
    return [s.sub(d[0], d[2]), s.add(d[1], d[2]), s.sub(d[2], d[1]), s.sub(d[1], d[3])]


def _result_line(s: ScalarBuilder, parity: int, m: Sequence[SSAValue]) -> SSAValue:
    """A' along one axis at one parity, of the three products that it takes."""
    if parity == 0:
        return s.add(s.add(m[0], m[1]), m[2])
    return s.sub(s.sub(m[0], m[1]), m[2])
