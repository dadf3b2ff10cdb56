"""Walking one class of tile axes in chunks: a loop for each reduction, and for the stores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from xdsl.dialects import arith
from xdsl.dialects.builtin import IntegerAttr
from xdsl.ir import Block, Operation, Region, SSAValue
from xdsl.rewriter import InsertPoint, Rewriter

from infini_ir.dialects import tile
from infini_ir.dialects.tile.base import INDEX
from infini_ir.passes.tile.chunk_ops import ChunkWriter, is_zero
from infini_ir.passes.tile.combining import combining_map, neutral_tile
from infini_ir.utils.errors import CompileError
from infini_ir.utils.symbolic import Dim


class ChunkLoops:
    """
    Rewrites a kernel so that the tiles of one class of axes hold a chunk of `step` elements
    at a time. What such tiles end in (reductions along the axis, products over it, stores) is
    gathered into loops, as many at a time as need nothing from each other; each loop
    loads and computes anew what its ends need.
    """

    def __init__(
        self, kernel: tile.KernelOp, members: Mapping[SSAValue, tuple[int, ...]], step: Dim
    ) -> None:
        self.kernel = kernel
        self.axis = {value: axes[0] for value, axes in members.items()}
        self.step = step
        value, axes = next(iter(members.items()))
        self.size = tile.tile_type(value).shape[axes[0]]
        self.order = {op: number for number, op in enumerate(kernel.body.walk())}
        self.loops: dict[Operation, set[int]] = {}
        """The loops, by number, that each load and store of the class ended up in."""
        self.loop_count = 0
        doubled = next((value for value, axes in members.items() if len(axes) > 1), None)
        if doubled is not None:
            raise self.error(doubled.owner, "two axes of one tile follow one another")

    def error(self, op: Operation | Block, why: str) -> CompileError:
        """What to say where an operation cannot go by chunks."""
        name = f"'{op.name}'" if isinstance(op, Operation) else "a carried tile"
        return CompileError(
            f"kernel '{self.kernel.sym_name.data}': {name} cannot walk its axis of {self.size} "
            f"elements in chunks: {why}; make that size known and short, or raise the "
            "target's limit of a tile"
        )

    def run(self) -> None:
        self._split_block(self.kernel.body.block)
        self._check_memory()
        for op in reversed(self.order):
            if op.parent is not None and self._makes_chunks(op):
                assert all(not result.uses for result in op.results), op
                Rewriter.erase_op(op)

    # What the operations are to the axis

    def _touches(self, op: Operation) -> bool:
        return any(value in self.axis for value in (*op.operands, *op.results))

    def _makes_chunks(self, op: Operation) -> bool:
        return any(result in self.axis for result in op.results)

    def _is_end(self, op: Operation) -> bool:
        """Whether tiles of the axis go in, and none comes out."""
        return self._touches(op) and not self._makes_chunks(op) and bool(op.operands)

    # Loops

    def _split_block(self, block: Block) -> None:
        ends: list[Operation] = []
        for op in list(block.ops):
            if isinstance(op, tile.ForOp):
                ends = self._flush(ends, op)
                if self._touches(op):
                    raise self.error(op, "the loop carries a tile of it")
                self._split_block(op.body.block)
            elif isinstance(op, tile.YieldOp):
                ends = self._flush(ends, op)
            elif self._is_end(op):
                if self._needs([op, *self._producers([op])], ends):
                    ends = self._flush(ends, op)
                ends.append(op)
            elif not self._touches(op) and self._must_follow(op, ends):
                ends = self._flush(ends, op)
        if ends:
            self._flush(ends, None)

    def _must_follow(self, op: Operation, ends: Sequence[Operation]) -> bool:
        """Whether an operation that stays as it is comes after the pending ones."""
        stored = [end.view for end in ends if isinstance(end, tile.StoreOp | tile.ScatterOp)]
        if isinstance(op, tile.StoreOp | tile.ScatterOp):
            return bool(ends)
        if isinstance(op, tile.LoadOp | tile.GatherOp | tile.ReadOp) and op.view in stored:
            return True
        return self._needs([op], ends)

    @staticmethod
    def _needs(ops: Sequence[Operation], ends: Sequence[Operation]) -> bool:
        made = {result for end in ends for result in end.results}
        return any(operand in made for op in ops for operand in op.operands)

    def _producers(self, ends: Sequence[Operation]) -> list[Operation]:
        """All that makes the tiles of the axis that these end, in order."""
        found: set[Operation] = set()
        waiting = list(ends)
        while waiting:
            op = waiting.pop()
            for operand in op.operands:
                if operand not in self.axis:
                    continue
                owner = operand.owner
                if not isinstance(owner, Operation) or isinstance(owner, tile.ForOp):
                    raise self.error(owner, "a loop carries a tile of it")
                if owner not in found:
                    found.add(owner)
                    waiting.append(owner)
        return sorted(found, key=self.order.__getitem__)

    def _flush(self, ends: list[Operation], before: Operation | None) -> list[Operation]:
        """Write the loop of these ends; gives the empty list of those that are pending."""
        if not ends:
            return []
        block = ends[-1].parent
        assert block is not None
        where = InsertPoint.at_end(block) if before is None else InsertPoint.before(before)
        reductions = [op for op in ends if op.results]
        starts = [list(self._start(op)) for op in reductions]
        limit = self._limit()
        carried = [start[-1].results[0] if start else op.operands[2]
                   for op, start in zip(reductions, starts, strict=True)]  # fmt: skip
        body = Block(arg_types=[INDEX, *(value.type for value in carried)])
        self._fill(body, ends, dict(zip(reductions, body.args[1:], strict=True)))
        loop = tile.ForOp(limit, self.step, carried, Region(body))
        loop.location = ends[0].location
        Rewriter.insert_op([op for start in starts for op in start], where)
        Rewriter.insert_op([limit, loop], where)
        for op, out in zip(reductions, loop.outs, strict=True):
            op.results[0].replace_all_uses_with(out)
        for op in ends:
            Rewriter.erase_op(op)
        return []

    def _limit(self) -> Operation:
        if self.size.value is None:
            return tile.SizeOp(self.size)
        return arith.ConstantOp(IntegerAttr(self.size.value, INDEX))

    def _start(self, op: Operation) -> Sequence[Operation]:
        """What makes the first carried tile of a reduction; a product begins with its own."""
        if isinstance(op, tile.ReduceOp):
            return neutral_tile(op.kind.data, tile.tile_type(op.out))
        return ()

    def _fill(
        self, body: Block, ends: Sequence[Operation], carried: Mapping[Operation, SSAValue]
    ) -> None:
        writer = ChunkWriter(self, body)
        producers = self._producers(ends)
        for op in (*producers, *ends):
            if isinstance(op, tile.LoadOp | tile.GatherOp | tile.StoreOp | tile.ScatterOp):
                self.loops.setdefault(op, set()).add(self.loop_count)
        self.loop_count += 1
        for op in producers:
            writer.compute(op)
        given: list[SSAValue] = []
        for op in ends:
            if isinstance(op, tile.StoreOp):
                writer.store(op)
            elif isinstance(op, tile.ScatterOp):
                writer.scatter(op)
            elif isinstance(op, tile.ReduceOp):
                partial = tile.ReduceOp(op.kind.data, writer.bounded(op), op.axis_list)
                met = combining_map(op.kind.data, carried[op], partial.out)
                given.append(writer.add(op, partial, met))
            elif isinstance(op, tile.DotOp):
                given.append(writer.product(op, carried[op]))
            else:
                raise self.error(op, "it needs the axis whole")
        body.add_op(tile.YieldOp(given))

    # Memory

    def _check_memory(self) -> None:
        """What is loaded anew must not have been overwritten by an earlier loop or chunk."""
        stores = [op for op in self.loops if isinstance(op, tile.StoreOp | tile.ScatterOp)]
        written = [
            op.view for op in self.order if isinstance(op, tile.StoreOp | tile.ScatterOp)
        ]
        for load, loops in self.loops.items():
            if not isinstance(load, tile.LoadOp | tile.GatherOp) or load.view not in written:
                continue
            own = [op for op in stores if op.view is load.view]
            if len(own) != written.count(load.view) or any(
                self.loops[store] != loops or not _same_slice(load, store) for store in own
            ):
                raise self.error(load, "the kernel overwrites what it reads again")


def _same_slice(load: Operation, store: Operation) -> bool:
    return (
        isinstance(load, tile.LoadOp)
        and isinstance(store, tile.StoreOp)
        and load.axis_list == store.axis_list
        and load.out.type == store.value.type
        and all(
            a is b or (is_zero(a) and is_zero(b))
            for a, b in zip(load.offsets, store.offsets, strict=True)
        )
    )


def inexact(kernel: tile.KernelOp, axis: Mapping[SSAValue, int]) -> Iterator[Operation]:
    """Loads and stores whose axis is cut by the tile's capacity, not by the view: chunks
    must then divide the capacity."""
    for op in kernel.body.walk():
        if isinstance(op, tile.LoadOp):
            value = op.out
        elif isinstance(op, tile.StoreOp):
            value = op.value
        else:
            continue
        if value in axis:
            along = op.axis_list[axis[value]]
            size = tile.tile_type(value).shape[axis[value]]
            if tile.view_type(op.view).shape[along] is not size or not is_zero(
                op.offsets[along]
            ):
                yield op
