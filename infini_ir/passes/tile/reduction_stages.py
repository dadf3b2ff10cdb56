"""Kernels that share out a long axis among programs, in place of one that walks it whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from xdsl.dialects import arith
from xdsl.dialects.builtin import IntegerAttr, ModuleOp
from xdsl.ir import Block, BlockArgument, Operation, SSAValue
from xdsl.rewriter import InsertPoint, Rewriter

from infini_ir.dialects import tile
from infini_ir.dialects.tile import ViewType, program, tile_type, view_type
from infini_ir.dialects.tile.base import INDEX
from infini_ir.passes.tile.chunk_ops import ChunkWriter
from infini_ir.passes.tile.combining import combining_map
from infini_ir.passes.tile.cut_epilogue import (
    launch_like,
    launches_of,
    replace_kernel,
    workspace_for,
)
from infini_ir.passes.tile.long_axis import WHOLE, LongAxis
from infini_ir.utils.errors import CompileError
from infini_ir.utils.symbolic import ONE, Dim

Slot = tuple[str, int, int]
"""A view of a stage: `("given", view, 0)` of the old kernel; `("parts", view, axis)` and
`("rest", view, axis)`, which show it cut along an axis; `("sums", reduction, 0)`."""


@dataclass(frozen=True)
class Parts:
    """An axis as so many parts of one length, and a rest, which may be nothing. Where the axis
    has no known size, there may be no parts at all."""

    count: Dim
    length: Dim
    rest: Dim

    def parts_view(self, view: ViewType, axis: int) -> ViewType:
        """A view with the axis as two: the part, and the position inside it."""
        shape, strides = list(view.shape), list(view.strides)
        shape[axis : axis + 1] = [self.count, self.length]
        strides[axis : axis + 1] = [strides[axis] * self.length, strides[axis]]
        return ViewType.of(shape, view.element, strides)

    def rest_view(self, view: ViewType, axis: int) -> ViewType:
        """What the parts leave over."""
        shape = list(view.shape)
        shape[axis] = self.rest
        return ViewType.of(shape, view.element, view.strides)


def share_out(long: LongAxis, parts: Parts, module: ModuleOp) -> None:
    """
    Replace a kernel by its stages, and its launches by theirs. A stage for each level of
    reductions writes what each part of the axis comes to; it combines what the levels before
    wrote, as does the last stage, which has no parts and takes in the rest of the axis.
    """
    assert parts.rest.value == 0 or not long.row_stores, "rows are stored by equal parts"
    stages: list[_Stage] = []
    for level in range(1, max(long.levels.values()) + 1):
        stages.append(_Stage(long, parts, "part"))
        stages[-1].write_parts([op for op, own in long.levels.items() if own == level])
    if long.row_stores:
        stages.append(_Stage(long, parts, "rows"))
        stages[-1].write_rows()
    if long.other_stores:
        stages.append(_Stage(long, parts, "total", whole=True))
        stages[-1].write_totals()
    for stage in stages:
        stage.finish()
    replace_kernel(module, long.kernel, [stage.kernel for stage in stages])
    for launch in launches_of(module, long.kernel):
        _launch_all(launch, parts, stages)


class _Stage:
    """One kernel, written into a copy of the old one, from which what it does not need is
    then taken out."""

    def __init__(
        self, long: LongAxis, parts: Parts, suffix: str, *, whole: bool = False
    ) -> None:
        self.long = long
        self.parts = parts
        old = long.kernel
        self.slots = _slots(long)
        bounds, steps = list(old.bounds.data), list(old.steps.data)
        self.kernel = tile.KernelOp(
            f"{old.sym_name.data}_{suffix}",
            [self._slot_type(slot) for slot in self.slots],
            bounds if whole else [parts.count, *bounds],
            steps if whole else [ONE, *steps],
            old.origin.data if old.origin is not None else "",
        )
        self.kernel.location = old.location
        self.views = dict(zip(self.slots, self.kernel.views, strict=True))
        self.part: BlockArgument | None = None if whole else self.kernel.offsets[0]
        self.offsets = self.kernel.offsets[len(self.kernel.offsets) - len(bounds) :]
        self.own: dict[Operation, Operation] = {}
        self.axis: dict[SSAValue, int] = {}
        self._copy(old)

    def _slot_type(self, slot: Slot) -> ViewType:
        kind, number, axis = slot
        if kind == "sums":
            return self.sums_type(list(self.long.levels)[number])
        view = view_type(self.long.kernel.views[number])
        if kind == "parts":
            return self.parts.parts_view(view, axis)
        return self.parts.rest_view(view, axis) if kind == "rest" else view

    def sums_type(self, op: tile.ReduceOp) -> ViewType:
        """The partial results of a reduction: for each part, where its result lies on the
        grid, then whole axes."""
        shape = tile_type(op.out).shape
        whole = [d for d, h in zip(shape, self.long.homes[op], strict=True) if h == WHOLE]
        bounds = self.long.kernel.bounds.data
        return ViewType.of([self.parts.count, *bounds, *whole], tile_type(op.out).element)

    def _copy(self, old: tile.KernelOp) -> None:
        values: dict[SSAValue, SSAValue] = dict(zip(old.offsets, self.offsets, strict=True))
        for number, view in enumerate(old.views):
            values[view] = self.views[("given", number, 0)]
        for op in old.body.block.ops:
            own = op.clone(values)
            self.kernel.body.block.add_op(own)
            self.own[op] = own
            for result, new in zip(op.results, own.results, strict=True):
                if result in self.long.axis:
                    self.axis[new] = self.long.axis[result]

    # What a stage does

    def write_parts(self, reductions: Sequence[tile.ReduceOp]) -> None:
        """Reductions along the parts, stored; those before them are totals."""
        for op, level in self.long.levels.items():
            if level < self.long.levels[reductions[0]]:
                self._put_total(op)
        writer = self._writer(self.kernel.body.block.last_op, rest=False)
        for op in self.long.producers(reductions):
            writer.compute(self.own[op])
        for op in reductions:
            out = writer.reduction(self._own_reduction(op))
            zero = _zero()
            offsets, axes = self._place(op, self.part, zero)
            view = self.views[self._sums_slot(op)]
            writer.append(op, zero, tile.StoreOp(out, view, offsets, axes))
        writer.close()
        self._erase([*self.long.row_stores, *self.long.other_stores])

    def write_rows(self) -> None:
        """The stores of rows, by parts."""
        for op in self.long.levels:
            self._put_total(op)
        writer = self._writer(self.kernel.body.block.last_op, rest=False)
        for op in self.long.producers(self.long.row_stores):
            writer.compute(self.own[op])
        for op in self.long.row_stores:
            own = self.own[op]
            assert isinstance(own, tile.StoreOp)
            writer.store(own)
        writer.close()
        self._erase([*self.long.row_stores, *self.long.other_stores])

    def write_totals(self) -> None:
        """All that is left to do once the parts are there."""
        for op in self.long.levels:
            self._put_total(op)
        self._erase(self.long.row_stores)

    def _own_reduction(self, op: tile.ReduceOp) -> tile.ReduceOp:
        own = self.own[op]
        assert isinstance(own, tile.ReduceOp)
        return own

    def _sums_slot(self, op: tile.ReduceOp) -> Slot:
        return "sums", list(self.long.levels).index(op), 0

    def _place(
        self, op: tile.ReduceOp, part: SSAValue | None, zero: Operation
    ) -> tuple[list[SSAValue], list[int]]:
        """Where the result of a reduction lies among its partial results: the offsets, and
        the axes of its tile."""
        at = zero.results[0]
        homes = self.long.homes[op]
        offsets = [at if part is None else part, *self.offsets]
        axes: list[int] = []
        for home in homes:
            axes.append(home + 1 if home != WHOLE else len(offsets))
            if home == WHOLE:
                offsets.append(at)
        return offsets, axes

    def _put_total(self, op: tile.ReduceOp) -> None:
        """Combine the partial results of a reduction instead of reducing."""
        own = self._own_reduction(op)
        zero = _zero()
        offsets, axes = self._place(op, None, zero)
        shape = tile_type(own.out).shape
        view = self.views[self._sums_slot(op)]
        sums = tile.LoadOp(view, offsets, [0, *axes], [self.parts.count, *shape])
        total = tile.ReduceOp(own.kind.data, sums, [0])
        made: list[Operation] = [zero, sums, total]
        for each in made:
            each.location = own.location
        Rewriter.insert_op(made, InsertPoint.before(own))
        result = total.out
        if self.parts.rest.value != 0:
            writer = self._writer(own, rest=True)
            for each in self.long.producers([op]):
                writer.compute(self.own[each])
            rest = writer.reduction(own)
            met = combining_map(own.kind.data, result, rest)
            writer.append(own, met)
            writer.close()
            result = met.outs[0]
        own.out.replace_all_uses_with(result)

    def _writer(self, before: Operation | None, *, rest: bool) -> _PartWriter:
        """What writes operations on a part, or on the rest, before another."""
        assert before is not None
        length = self.parts.count * self.parts.length if rest else self.parts.length
        begin = size = tile.SizeOp(length)
        made: list[Operation] = [size]
        if not rest:
            assert self.part is not None
            begin = arith.MuliOp(self.part, size.results[0])
            made.append(begin)
        Rewriter.insert_op(made, InsertPoint.before(before))
        return _PartWriter(self, before, begin.results[0], rest=rest)

    # Leaving out what is not needed

    def _erase(self, ops: Sequence[Operation]) -> None:
        for op in ops:
            Rewriter.erase_op(self.own[op])

    def finish(self) -> None:
        """Take out what nothing uses: operations, then views."""
        for op in reversed(list(self.kernel.body.block.ops)):
            if op.results and all(not result.uses for result in op.results):
                Rewriter.erase_op(op)
        self.slots = [slot for slot in self.slots if self.views[slot].uses]
        for view in self.views.values():
            if not view.uses:
                self.kernel.body.block.erase_arg(view)


def _slots(long: LongAxis) -> list[Slot]:
    """All views that a stage may need."""
    views: list[SSAValue] = list(long.kernel.views)
    cut = dict.fromkeys(
        (views.index(op.view), long.along(op)) for op in (*long.loads, *long.row_stores)
    )
    slots: list[Slot] = [("given", number, 0) for number in range(len(views))]
    slots += [(kind, *each) for kind in ("parts", "rest") for each in cut]
    return slots + [("sums", number, 0) for number in range(len(long.levels))]


def _zero() -> arith.ConstantOp:
    return arith.ConstantOp(IntegerAttr(0, INDEX))


@dataclass(frozen=True)
class _Piece:
    """One part of the axis, or its rest, as a kernel has it."""

    kernel: str
    axis: Mapping[SSAValue, int]
    size: Dim

    @property
    def step(self) -> Dim:
        return self.size

    def error(self, op: Operation | Block, why: str) -> CompileError:
        """What to say of an operation that cannot be written so."""
        name = f"'{op.name}'" if isinstance(op, Operation) else "a loop"
        return CompileError(f"kernel '{self.kernel}': {name} cannot be shared out: {why}")


class _PartWriter(ChunkWriter):
    """Writes operations on one part of the axis, or on its rest."""

    def __init__(
        self, stage: _Stage, before: Operation, begin: SSAValue, *, rest: bool
    ) -> None:
        size = stage.parts.rest if rest else stage.parts.length
        piece = _Piece(stage.long.kernel.sym_name.data, stage.axis, size)
        super().__init__(piece, Block(arg_types=[INDEX]))
        self.begin = begin
        self.stage = stage
        self.before = before
        self.rest = rest

    def append(self, source: Operation, *ops: Operation) -> None:
        """Append operations at the place of `source` in the model."""
        for op in ops:
            op.location = source.location
            self.body.add_op(op)

    def reduction(self, op: tile.ReduceOp) -> SSAValue:
        """A reduction along the part."""
        return self.add(op, tile.ReduceOp(op.kind.data, self.chunk(op.x), op.axis_list))

    def close(self) -> None:
        """Put all that was written where it belongs."""
        for op in list(self.body.ops):
            op.detach()
            Rewriter.insert_op(op, InsertPoint.before(self.before))

    def _load(self, op: tile.LoadOp) -> tile.LoadOp:
        view, offsets, axes = self._access(op, self.axis[op.out])
        return tile.LoadOp(view, offsets, axes, self._type(op.out).shape)

    def store(self, op: tile.StoreOp) -> None:
        view, offsets, axes = self._access(op, self.axis[op.value])
        value = self.chunk(op.value)
        self.append(op, tile.StoreOp(value, view, offsets, axes, op.combine.data))

    def _access(
        self, op: tile.LoadOp | tile.StoreOp, own: int
    ) -> tuple[SSAValue, list[SSAValue], list[int]]:
        along = op.axis_list[own]
        views = self.stage.views.items()
        number = next(slot[1] for slot, view in views if view is op.view)
        offsets, axes = list(op.offsets), list(op.axis_list)
        if self.rest:
            return self.stage.views[("rest", number, along)], offsets, axes
        assert self.stage.part is not None
        offsets.insert(along, self.stage.part)
        axes = [axis + (axis >= along) for axis in axes]
        return self.stage.views[("parts", number, along)], offsets, axes


def _launch_all(launch: program.LaunchOp, parts: Parts, stages: Sequence[_Stage]) -> None:
    views: dict[Slot, SSAValue] = {
        ("given", number, 0): view for number, view in enumerate(launch.views)
    }
    for stage in stages:
        for slot in stage.slots:
            if slot not in views:
                made = _view(launch, parts, stage, slot)
                made.location = launch.location
                Rewriter.insert_op(made, InsertPoint.before(launch))
                views[slot] = made.results[0]
        own = launch_like(launch, stage.kernel, [views[slot] for slot in stage.slots])
        Rewriter.insert_op(own, InsertPoint.before(launch))
    Rewriter.erase_op(launch)


def _view(launch: program.LaunchOp, parts: Parts, stage: _Stage, slot: Slot) -> Operation:
    """What makes a view of a stage."""
    kind, number, axis = slot
    wanted = view_type(stage.views[slot])
    if kind == "sums":
        return workspace_for(launch, wanted)
    source = launch.views[number]
    begin = parts.length * parts.count * view_type(source).strides[axis]
    return program.AliasOp(source, begin if kind == "rest" else 0, wanted)
