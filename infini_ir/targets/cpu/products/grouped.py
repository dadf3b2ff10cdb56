"""Products whose instructions sum over a few neighbours along k: two of bf16, four bytes.

The right operand is read in panels of 16 columns with k interleaved, [panels, k.., groups,
16, group]: a group of 16 columns is 64 bytes, one row of a matrix unit's tile and one vector
of the instructions `dpbf16ps` and `vpdpbusd`. Weights have that layout in memory
(`packing`); other right operands are copied to scratch memory in it. The groups of an axis
come in runs of one length (`group_runs`), the last filled up with zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from xdsl.dialects.builtin import BFloat16Type, Float32Type, IntegerType
from xdsl.ir import Attribute

from infini_ir.dialects.tile.types import GROUPS, group_runs
from infini_ir.targets.cpu.features import CpuFeatures
from infini_ir.targets.cpu.kernel.sources import Point
from infini_ir.targets.cpu.llvm.writer import ZERO, V, integer
from infini_ir.utils.symbolic import Dim, product

if TYPE_CHECKING:
    from infini_ir.targets.cpu.kernel.emitter import KernelEmitter

ROW = 64
"""Bytes of a group of 16 columns."""

LINES = 4
"""Cache lines of columns that are copied to panels at once: long enough runs of memory."""

AHEAD = 8
"""Groups of k ahead that rows are fetched while they are copied to panels."""


def group_of(a: Attribute, b: Attribute, accumulator: Attribute) -> int:
    """How many neighbours along k are summed at once for these types; 1: the product is not
    one of those here."""
    if isinstance(a, BFloat16Type) and isinstance(b, BFloat16Type):
        return 2 if isinstance(accumulator, Float32Type) else 1
    if _is_byte(a) and _is_byte(b) and isinstance(accumulator, IntegerType):
        return 4 if accumulator.width.data == 32 else 1
    return 1


def _is_byte(type: Attribute) -> bool:
    return isinstance(type, IntegerType) and type.width.data == 8


def unit_for(group: int, features: CpuFeatures) -> str:
    """What multiplies groups on a processor: "amx", or "" where nothing here does."""
    if group == 2 and features.has_amx_bf16:
        return "amx"
    if group == 4 and features.has_amx_int8:
        return "amx"
    return ""


@dataclass(frozen=True)
class Depth:
    """The contracted axes, outermost first: how their products are cut into runs of groups."""

    outer: list[V]
    """Counts of all axes but the last."""
    size: V
    """Of the last one, in elements."""
    group: int
    height: int
    """Groups in a run."""
    runs: V
    """Runs along the last axis."""
    outer_dims: list[Dim]
    runs_dim: Dim

    @property
    def all_runs(self) -> Dim:
        return product([*self.outer_dims, self.runs_dim])

    @property
    def step(self) -> int:
        """Elements of the last axis in a run."""
        return self.height * self.group

    @property
    def is_whole(self) -> bool:
        """Whether the runs end where the axis does."""
        size = self.size.number
        return size is not None and int(size) == int(self.runs.number or 0) * self.step


def depth_of(e: KernelEmitter, counts: Sequence[V], dims: Sequence[Dim], group: int) -> Depth:
    """How loops over k of these counts are cut."""
    last = dims[-1].value
    if last is None:
        runs_dim = (dims[-1] + (GROUPS * group - 1)) // (GROUPS * group)
        height = GROUPS
    else:
        runs, height = group_runs(last, group)
        runs_dim = Dim.of(runs if last else 0)
    runs = e.sizes.of(runs_dim)
    return Depth(list(counts[:-1]), counts[-1], group, height, runs, list(dims[:-1]), runs_dim)


@dataclass
class GroupedPanels:
    """The right operand: `pointer` is the program's first panel at k = 0; in bytes."""

    pointer: V
    panel_stride: V
    outer_strides: list[V]
    run_stride: V
    fill: Callable[[V, V], None] | None = None
    """Copies columns from one on, so many, to `pointer`, where there is room for two panels
    alone; None: all panels lie there one after the other."""


def packed_panels(e: KernelEmitter, pointer: V, depth: Depth) -> GroupedPanels:
    """Panels in memory from a pointer on."""
    run = integer(depth.height * ROW)
    strides: list[V] = []
    step = e.f.mul(depth.runs, run)
    for count in reversed(depth.outer):
        strides.insert(0, step)
        step = e.f.mul(step, count)
    return GroupedPanels(pointer, step, strides, run)


@dataclass
class GroupedProduct:
    """out[rows.., columns] = finish(sum over the contracted axes of left * right)."""

    left: Strided
    """Its rows are the product's; k strides of all contracted axes."""
    right: GroupedPanels
    depth: Depth
    rows: list[V]
    """Extents of the one or two row axes."""
    row_dims: list[Dim]
    """What they are at most."""
    columns: V
    column_dim: Dim
    """How many there are at most."""
    accumulator: str
    """`float` or `i32`."""
    unsigned: tuple[bool, bool]
    """Whether bytes of the left and of the right operand have no sign."""
    finish: Callable[[Point, V], None]
    """What follows, for a vector of columns at a point."""


@dataclass
class Strided:
    """An operand as it lies in memory: strides in elements."""

    pointer: V
    free_strides: list[V]
    """Of the rows, or of the column axis."""
    outer_strides: list[V]
    """Of the contracted axes but the last."""
    k_stride: V
    """Of the last contracted axis."""
    element: str
    """LLVM's type of the bits of an element."""


def gathered_panels(
    e: KernelEmitter, source: Strided, depth: Depth, columns: V, capacity: Dim
) -> GroupedPanels:
    """The columns of a program copied to scratch memory in panels."""
    panels = _new_panels(e, depth, (capacity + (GROUPS - 1)) // GROUPS)
    _gather(e, source, depth, panels, columns)
    return panels


def panels_in_turn(e: KernelEmitter, source: Strided, depth: Depth) -> GroupedPanels:
    """Scratch memory for two panels, which is filled for each use: it stays in the first cache
    where columns of the whole program would not."""
    panels = _new_panels(e, depth, Dim.of(2))

    def fill(column: V, count: V) -> None:
        begin = e.f.gep(source.pointer, e.f.mul(column, source.free_strides[0]), source.element)
        _gather(e, replace(source, pointer=begin), depth, panels, count)

    panels.fill = fill
    return panels


def _new_panels(e: KernelEmitter, depth: Depth, count: Dim) -> GroupedPanels:
    return packed_panels(e, e.scratch(count * depth.all_runs * (depth.height * ROW)), depth)


def _gather(
    e: KernelEmitter, source: Strided, depth: Depth, panels: GroupedPanels, columns: V
) -> None:
    groups = e.f.mul(depth.runs, integer(depth.height))

    def panel(column: V) -> None:
        lanes = e.f.min(integer(GROUPS), e.f.sub(columns, column))
        _along(e, source, depth, panels, column, lambda k, to: one(k, to, lanes))

    def one(start: V, target: V, lanes: V) -> None:
        e.f.loop(groups, lambda g: fill(g, start, target, lanes), hint="group")

    def fill(group: V, start: V, target: V, lanes: V) -> None:
        values = _group(e, source, start, e.f.mul(group, integer(depth.group)), depth, lanes)
        e.f.store(values, e.f.gep(target, e.f.mul(group, integer(ROW)), "i8"), 64)

    def lines(column: V, count: int) -> None:
        body = lambda start, target: several(start, target, count)  # noqa: E731
        _along(e, source, depth, panels, column, body)

    def several(start: V, target: V, count: int) -> None:
        full = e.f.udiv(depth.size, integer(depth.group))

        def each(group: V) -> None:
            for i in range(count):
                moved = e.f.gep(start, integer(i * width), source.element)
                step = e.f.mul(integer(i * depth.group), panels.panel_stride)
                to = e.f.gep(target, step, "i8")
                _line_groups(e, source, depth.group, moved, to, group, panels)

        e.f.loop(full, each, hint="groups")
        for i in range(count * depth.group):
            moved = e.f.gep(start, integer(i * GROUPS), source.element)
            to = e.f.gep(target, e.f.mul(integer(i), panels.panel_stride), "i8")
            e.f.loop(
                groups,
                lambda g, k=moved, to=to: fill(g, k, to, integer(GROUPS)),
                start=full,
                hint="group",
            )

    begin, width = ZERO, GROUPS * depth.group
    for count in (LINES, 1) if source.free_strides[0].number == 1 else ():
        step = count * width
        end = e.f.mul(e.f.udiv(columns, integer(step)), integer(step))
        e.f.loop(end, lambda j, n=count: lines(j, n), start=begin, step=step, hint="lines")
        begin = end
    e.f.loop(columns, panel, start=begin, step=GROUPS, hint="pack")


def _along(
    e: KernelEmitter,
    source: Strided,
    depth: Depth,
    panels: GroupedPanels,
    column: V,
    body: Callable[[V, V], None],
) -> None:
    """The body for each position of the outer contracted axes: of where the last one begins
    at a column, and of its panel there."""

    def level(number: int, start: V, target: V) -> None:
        if number == len(depth.outer):
            body(start, target)
            return

        def inside(i: V) -> None:
            moved = e.f.gep(start, e.f.mul(i, source.outer_strides[number]), source.element)
            place = e.f.gep(target, e.f.mul(i, panels.outer_strides[number]), "i8")
            level(number + 1, moved, place)

        e.f.loop(depth.outer[number], inside, hint="k")

    start = e.f.gep(source.pointer, e.f.mul(column, source.free_strides[0]), source.element)
    index = e.f.udiv(column, integer(GROUPS))
    level(0, start, e.f.gep(panels.pointer, e.f.mul(index, panels.panel_stride), "i8"))


def _line_groups(
    e: KernelEmitter,
    source: Strided,
    size: int,
    start: V,
    target: V,
    number: V,
    panels: GroupedPanels,
) -> None:
    """The group of k of a number for a cache line of columns, side by side in memory: as many
    panels as a group has elements."""
    f = e.f
    rows: list[V] = []
    for u in range(size):
        position = f.add(f.mul(number, integer(size)), integer(u))
        at = f.gep(start, f.mul(position, source.k_stride), source.element)
        rows.append(f.load(at, source.element, GROUPS * size, 1))
        ahead = f.gep(at, f.mul(source.k_stride, integer(AHEAD * size)), source.element)
        f.prefetch(ahead, level=1)
    for i in range(size):
        order = ", ".join(f"i32 {i * GROUPS + j}" for j in range(GROUPS))
        parts = [
            f.assign(
                f"shufflevector {row.typed}, {row.full_type} poison, <{GROUPS} x i32> <{order}>",
                row.type,
                GROUPS,
            )
            for row in rows
        ]
        place = f.add(f.mul(number, integer(ROW)), f.mul(integer(i), panels.panel_stride))
        f.store(interleaved(e, parts), f.gep(target, place, "i8"), 64)


def _group(e: KernelEmitter, source: Strided, start: V, k: V, depth: Depth, lanes: V) -> V:
    """A group of k for 16 columns, `lanes` of them in memory: [16, group], zero elsewhere."""
    bits = "i16" if depth.group == 2 else "i8"
    if source.k_stride.number == 1 and depth.is_whole:
        return _neighbours(e, source, e.f.gep(start, k, bits), depth, lanes)
    rows: list[V] = []
    for u in range(depth.group):
        position = e.f.add(k, integer(u))
        exists = e.f.compare("slt", position, depth.size)
        present = lanes
        if exists.number is None:
            present = e.f.assign(f"select i1 {exists.text}, i64 {lanes.text}, i64 0", "i64")
        elif not exists.number:
            present = ZERO
        mask = e.f.first_lanes(present, GROUPS)
        at = e.f.gep(start, e.f.mul(position, source.k_stride), bits)
        rows.append(_row(e, at, bits, source.free_strides[0], mask))
    return interleaved(e, rows)


def _neighbours(e: KernelEmitter, source: Strided, pointer: V, depth: Depth, lanes: V) -> V:
    """A group whose elements are neighbours in memory: one word a column."""
    step = e.f.splat(source.free_strides[0], GROUPS)
    numbers = e.f.lane_numbers(GROUPS)
    indices = e.f.assign(f"mul {numbers.full_type} {numbers.text}, {step.text}", "i64", GROUPS)
    addresses = e.f.addresses(pointer, indices, source.element)
    words = e.f.gather(addresses, "i32", 1, e.f.first_lanes(lanes, GROUPS))
    count = GROUPS * depth.group
    return e.f.assign(
        f"bitcast {words.full_type} {words.text} to <{count} x {source.element}>",
        source.element,
        count,
    )


def _row(e: KernelEmitter, pointer: V, bits: str, stride: V, mask: V) -> V:
    if stride.number == 1:
        return e.f.load(pointer, bits, GROUPS, 1, mask)
    step = e.f.splat(stride, GROUPS)
    numbers = e.f.lane_numbers(GROUPS)
    indices = e.f.assign(f"mul {numbers.full_type} {numbers.text}, {step.text}", "i64", GROUPS)
    return e.f.gather(e.f.addresses(pointer, indices, bits), bits, 1, mask)


def interleaved(e: KernelEmitter, rows: Sequence[V]) -> V:
    """Vectors of equal length as one, element by element: [lanes, vectors]."""
    parts = list(rows)
    while len(parts) > 1:
        # Neighbours at half the distance last: the bits of the order are turned round.
        half = len(parts) // 2
        parts = [_zipped(e, parts[i], parts[i + half]) for i in range(half)]
    return parts[0]


def _zipped(e: KernelEmitter, a: V, b: V) -> V:
    order = ", ".join(f"i32 {i}, i32 {a.lanes + i}" for i in range(a.lanes))
    return e.f.assign(
        f"shufflevector {a.typed}, {b.typed}, <{2 * a.lanes} x i32> <{order}>",
        a.type,
        2 * a.lanes,
    )
