"""Matrix products, and all that is one: batch, m, n and k axes, and an epilogue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from xdsl.ir import SSAValue

from infini_ir.dialects import graph
from infini_ir.dialects.graph import tensor_type
from infini_ir.dialects.tile import ViewType, program
from infini_ir.lowering.cluster import Cluster, UnfusableError
from infini_ir.lowering.domain import Axis, TileWriter, merged, sorted_by
from infini_ir.lowering.epilogue import Epilogue, OwnMemory
from infini_ir.lowering.expression import Expression, Operands, accumulation_type
from infini_ir.lowering.host_builder import HostBuilder
from infini_ir.lowering.kernel_builder import KernelBuilder, Position
from infini_ir.lowering.kernels.elementwise import ANCHORS
from infini_ir.lowering.placement import Placement
from infini_ir.lowering.view_ops import Chain, View
from infini_ir.utils.symbolic import ONE, ZERO, Dim

A, B = 0, 1
"""Numbers of the two factors among the operands; results and the epilogue's follow, then
what else computed factors read."""

WHOLE_DEPTH = 128
"""An inner contracted axis of a computed factor (the positions that share a scale) is one
tile up to this size: the loop around it, not a loop of a few steps in it, is what overlaps
loads with products."""


@dataclass
class Computed:
    """A factor that the kernel computes from what it loads, such as a weight of bytes that
    becomes floats."""

    expression: Expression
    main: int
    """The operand of the expression that is the factor's memory: it moves along all axes."""

    @property
    def placements(self) -> list[Placement]:
        return self.expression.operands.placements

    @property
    def others(self) -> list[Placement]:
        """The operands beside the main one."""
        return [p for i, p in enumerate(self.placements) if i != self.main]

    def numbers(self, main: int, first_other: int) -> list[int]:
        """The kernel's number of each operand, by those of the main one and of the others."""
        count = len(self.placements)
        others = iter(range(first_other, first_other + count - 1))
        return [main if i == self.main else next(others) for i in range(count)]


@dataclass
class Contraction:
    """
    out[batch, m, n] = sum over k of a[batch, m, k] * b[batch, n, k], as placements whose
    axes are in these groups and this order.
    """

    name: str
    a: Placement
    b: Placement
    batch: int
    """How many axes each group has."""
    m: int
    n: int
    k: int
    computed: dict[int, Computed] = field(default_factory=dict)
    """How the factors that are computed in the kernel, `A` or `B`, are; their placement is
    that of the main operand."""


def lower_contraction(cluster: Cluster, host: HostBuilder) -> None:
    """A cluster around a `graph.dot`."""
    (op,) = anchors(cluster, graph.DotOp)
    kernel_dtype = accumulation_type(tensor_type(op.out).dtype)
    epilogue = Epilogue(cluster, op.out, (), kernel_dtype)
    batch, contract, free = op.batch, op.contract, op.free()
    computed: dict[int, Computed] = {}
    sides: list[Placement] = []
    for side, value in ((A, op.lhs), (B, op.rhs)):
        order = [*batch[side], *free[side], *contract[side]]
        source, chain = cluster.source(value)
        if cluster.is_operand(source):
            sides.append(cluster.operand(source, chain).transposed(order))
        else:
            computed[side] = factor = _computed(cluster, value, order)
            sides.append(factor.placements[factor.main])
    counts = (len(batch[0]), len(free[0]), len(free[1]), len(contract[0]))
    a, b = sides
    dot = Contraction("dot", a, b, *counts, computed)
    launch_contraction(host, cluster, dot, epilogue, kernel_dtype)


def _computed(cluster: Cluster, value: SSAValue, order: Sequence[int]) -> Computed:
    """A factor that the cluster computes, its axes in an order."""
    expression = Expression(cluster, Operands(), None)
    arranged: Chain = (View((value, "factor"), lambda p: p.transposed(order)),)
    expression.add_root(value, arranged)
    for number, placement in enumerate(expression.operands.placements):
        moves = zip(placement.shape, placement.strides, strict=True)
        in_memory = placement.root is not None
        if in_memory and all(size is ONE or stride is not ZERO for size, stride in moves):
            return Computed(expression, number)
    raise UnfusableError("a computed factor without an operand of its shape")


def anchors(cluster: Cluster, kind: type) -> list:
    """The anchor of a cluster, which has only one."""
    found = [op for op in cluster.ops() if isinstance(op, kind)]
    if len(found) != 1:
        raise UnfusableError("more than one anchor")
    return found


ANCHORS[graph.DotOp] = lower_contraction


def launch_contraction(
    host: HostBuilder,
    cluster: Cluster,
    dot: Contraction,
    epilogue: Epilogue,
    kernel_dtype: str,
    own: OwnMemory | None = None,
) -> None:
    """Run the kernel of a contraction and what follows it."""
    targets = epilogue.targets(host, contiguous=True, own=own)
    if targets[0].is_empty():
        return
    operands = [dot.a, dot.b, *targets, *epilogue.operands.placements]
    factors: dict[int, list[int]] = {A: [A], B: [B]}
    for side, factor in dot.computed.items():
        factors[side] = factor.numbers(side, len(operands))
        operands += factor.others
    operands, loops = _loops(host, dot, operands, factors)
    if len(loops.n) > 1 and loops.n[-1].strides[2] is not ONE:
        raise UnfusableError("no free axis of the right factor is contiguous in the result")
    groups = loops.views(len(operands), factors)
    # Positions are computed, they have no memory.
    in_memory = [i for i, p in enumerate(operands) if p.root is not None]
    types = {
        i: ViewType.of(
            [axis.size for axis in groups[i]],
            operands[i].dtype,
            [_stride(axis, i) for axis in groups[i]],
        )
        for i in in_memory
    }
    positions = tuple(p.offset for p in operands if p.root is None)
    key = (
        "contraction",
        dot.name,
        epilogue.expression.key,
        tuple((side, factor.expression.key) for side, factor in dot.computed.items()),
        tuple((label, a.size, tuple(a.strides)) for label, a in loops.labelled()),
        tuple(p.dtype for p in operands),
        positions,
    )
    writer = _ContractionWriter(
        dot, loops, operands, factors, in_memory, types, epilogue, len(targets), kernel_dtype
    )
    kernel = host.kernel(key, lambda: writer.build(cluster.origin))
    views = [host.view(operands[i], types[i].shape, types[i].strides) for i in in_memory]
    host.launch(kernel, views, cluster.label)


def _stride(axis: Axis, operand: int) -> Dim:
    """The stride in a view; of an axis of size 1 that stands in for none, 1."""
    return ONE if axis.size is ONE and axis.label in "mnk" else axis.strides[operand]


Factors = Mapping[int, Sequence[int]]
"""The numbers of the operands that each factor is made of."""


@dataclass
class _Loops:
    """The loops of a contraction by group, merged where all operands allow."""

    batch: list[Axis]
    m: list[Axis]
    n: list[Axis]
    k: list[Axis]

    def labelled(self) -> list[tuple[str, Axis]]:
        groups = (("batch", self.batch), ("m", self.m), ("n", self.n), ("k", self.k))
        return [(label, axis) for label, group in groups for axis in group]

    @property
    def grid(self) -> list[Axis]:
        """Batch axes, all free axes of the right factor but the last, m, and the last n."""
        return [*self.batch, *self.n[:-1], *self.m, self.n[-1]]

    def factor(self, side: int) -> list[Axis]:
        """The axes of the views of a factor."""
        if side == A:
            return [*self.batch, *self.m, *self.k]
        return [*self.batch, *self.n[:-1], *self.k, self.n[-1]]

    def views(self, count: int, factors: Factors) -> list[list[Axis]]:
        """The axes of each operand's view."""
        views = [self.grid] * count
        for side, numbers in factors.items():
            for number in numbers:
                views[number] = self.factor(side)
        return views


def _loops(
    host: HostBuilder, dot: Contraction, operands: list[Placement], factors: Factors
) -> tuple[list[Placement], _Loops]:
    first_n, first_k = dot.batch + dot.m, dot.batch + dot.m + dot.n
    total = first_k + dot.k
    sizes = [*dot.a.shape[: dot.batch + dot.m], *dot.b.shape[dot.batch :]]
    columns: list[list[Dim]] = [[ZERO] * total for _ in operands]
    for i, placement in enumerate(operands):
        if i in factors[A]:
            where = [*range(first_n), *range(first_k, total)]
        elif i in factors[B]:
            where = [*range(dot.batch), *range(first_n, total)]
        else:
            where = list(range(first_k))
        for axis, stride in zip(where, placement.strides, strict=True):
            columns[i][axis] = stride
    axes = [Axis(sizes[i], [column[i] for column in columns]) for i in range(total)]
    groups = [
        [axis for axis in part if axis.size is not ONE]
        for part in (
            axes[: dot.batch],
            axes[dot.batch : first_n],
            axes[first_n:first_k],
            axes[first_k:],
        )
    ]
    batch, m, n, k = groups
    n = sorted_by(n, 2) if len(n) > 1 else n
    k = sorted_by(k, A) if len(k) > 1 else k
    loops = _Loops(batch, m, n, k)
    operands = _lay_out_weight(host, operands, loops)
    loops = _Loops(*(merged(group) for group in (loops.batch, loops.m, loops.n, loops.k)))
    for label, group in (("m", loops.m), ("n", loops.n), ("k", loops.k)):
        if not group:
            group.append(Axis(ONE, [ZERO] * len(operands), label))
    return operands, loops


def _lay_out_weight(
    host: HostBuilder, operands: list[Placement], loops: _Loops
) -> list[Placement]:
    """A right factor that is a weight gets its columns next to each other."""
    b = operands[B]
    weight = b.root.owner if b.root is not None else None
    if not isinstance(weight, program.WeightOp):
        return operands
    if not loops.n or loops.n[-1].strides[B] is ONE:
        return operands
    order = [axis for axis in loops.batch if axis.strides[B] is not ZERO]
    order += [*loops.n[:-1], *loops.k, loops.n[-1]]
    if any(axis.size.value is None or axis.strides[B].value is None for axis in order):
        return operands
    shape = [axis.size.value or 0 for axis in order]
    strides = [axis.strides[B].value or 0 for axis in order]
    placed = _derived(host, weight, b, shape, strides)
    for axis, stride in zip(order, placed.strides, strict=True):
        axis.strides[B] = stride
    result = list(operands)
    result[B] = placed
    return result


def _derived(
    host: HostBuilder,
    weight: program.WeightOp,
    b: Placement,
    shape: Sequence[int],
    strides: Sequence[int],
) -> Placement:
    offset = b.offset.value or 0

    def gather(array: np.ndarray) -> np.ndarray:
        flat = np.ascontiguousarray(array).reshape(-1)
        steps = [stride * flat.itemsize for stride in strides]
        return np.lib.stride_tricks.as_strided(flat[offset:], shape, steps)

    key = f"strided{offset}:{list(shape)}:{list(strides)}".replace(" ", "")
    source = weight.handle.data
    handle = host.weights.derive([source], key, b.dtype, list(shape), gather)
    return host.weight(handle, b.dtype, list(shape))


@dataclass
class _ContractionWriter:
    dot: Contraction
    loops: _Loops
    operands: list[Placement]
    factors: Factors
    in_memory: list[int]
    types: dict[int, ViewType]
    epilogue: Epilogue
    results: int
    dtype: str

    def build(self, origin: str) -> KernelBuilder:
        loops = self.loops
        tiles = self._m_tiles()
        outer = len(loops.batch) + len(loops.n) - 1
        steps = ["1"] * (outer + len(loops.m) - len(tiles)) + [*tiles, "BN"]
        bounds = [axis.size for axis in loops.grid]
        types = [self.types[i] for i in self.in_memory]
        k = KernelBuilder(self.dot.name, types, bounds, steps, origin)
        views: list[SSAValue | None] = [None] * len(self.operands)
        for view, i in zip(k.views, self.in_memory, strict=True):
            views[i] = view
        total = self._sum(k, views, tiles)
        self._finish(k, views, total, tiles)
        return k

    def _m_tiles(self) -> list[str]:
        return ["BM"] if len(self.loops.m) == 1 else ["BH", "BW"]

    def _sum(
        self, k: KernelBuilder, views: Sequence[SSAValue | None], tiles: list[str]
    ) -> SSAValue:
        loops, offsets = self.loops, k.offsets
        batch = list(offsets[: len(loops.batch)])
        outer = list(offsets[len(loops.batch) : len(loops.batch) + len(loops.n) - 1])
        m = list(offsets[len(batch) + len(outer) : -1])
        zero = k.full(0.0 if self.dtype.startswith("f") else 0, [*tiles, "BN"], self.dtype)
        transposed = self._is_transposed()
        depth = len(loops.k)
        first_m = len(batch) + len(m) - len(tiles)
        a_axes = [*range(first_m, len(batch) + len(m)), len(batch) + len(m) + depth - 1]
        b_k = len(batch) + len(outer) + depth - 1

        b_axes = [b_k + 1, b_k] if transposed else [b_k, b_k + 1]
        step_depth = self._depth()
        a_sizes = dict(zip(a_axes, [*tiles, step_depth], strict=True))
        b_sizes: dict[int, str | Dim] = {b_k: step_depth, b_k + 1: "BN"}

        def level(number: int, at: list[Position], acc: SSAValue) -> SSAValue:
            if number == depth:
                left = self._factor(k, A, views, [*batch, *m, *at], a_axes, a_sizes)
                where = [*batch, *outer, *at, offsets[-1]]
                right = self._factor(k, B, views, where, b_axes, b_sizes)
                return k.dot(left, right, acc, transposed=transposed)
            if number == depth - 1 and step_depth != "BK":
                return level(depth, [*at, 0], acc)
            step = "BK" if number == depth - 1 else 1
            (out,) = k.for_(
                loops.k[number].size,
                step,
                [acc],
                lambda position, carried: [level(number + 1, [*at, position], carried)],
            )
            return out

        return level(0, [], zero)

    def _depth(self) -> str | Dim:
        """How much of the innermost contracted axis a product of tiles takes."""
        size = self.loops.k[-1].size.value or 0
        whole = len(self.loops.k) > 1 and size % 16 == 0 and 0 < size <= WHOLE_DEPTH
        return self.loops.k[-1].size if self.dot.computed and whole else "BK"

    def _factor(
        self,
        k: KernelBuilder,
        side: int,
        views: Sequence[SSAValue | None],
        offsets: Sequence[Position],
        tile_axes: Sequence[int],
        capacity: dict[int, str | Dim],
    ) -> SSAValue:
        """The tile of a factor: loaded, or computed from what is."""
        if side not in self.dot.computed:
            view = views[side]
            assert view is not None, "factors lie in memory"
            return k.load(view, offsets, tile_axes, [capacity[axis] for axis in tile_axes])
        numbers = self.factors[side]
        axes = [
            Axis(
                axis.size, [_stride(axis, i) if i == side else axis.strides[i] for i in numbers]
            )
            for axis in self.loops.factor(side)
        ]
        writer = TileWriter(
            k,
            axes,
            [self.operands[i] for i in numbers],
            [views[i] for i in numbers],
            offsets,
            capacity,
        )
        (result,) = writer.map(self.dot.computed[side].expression, tile_axes)
        return result

    def _is_transposed(self) -> bool:
        n, k = self.loops.n[-1], self.loops.k[-1]
        return n.size is not ONE and n.strides[B] is not ONE and k.strides[B] is ONE

    def _finish(self, k: KernelBuilder, views: list, total: SSAValue, tiles: list[str]) -> None:
        grid = self.loops.grid
        tile_axes = list(range(len(grid) - len(tiles) - 1, len(grid)))
        first = 2 + self.results
        count = len(self.epilogue.operands.placements)
        own = slice(first, first + count)
        if self.epilogue.is_plain:
            values: Sequence[SSAValue] = [total]
        else:
            writer = TileWriter(
                k,
                [Axis(axis.size, axis.strides[own]) for axis in grid],
                self.operands[own],
                views[own],
                k.offsets,
                dict(zip(tile_axes, [*tiles, "BN"], strict=True)),
            )
            values = writer.map(self.epilogue.expression, tile_axes, [(total, tile_axes)])
        for value, view in zip(values, views[2:first], strict=True):
            k.store(value, view, k.offsets, tile_axes)
