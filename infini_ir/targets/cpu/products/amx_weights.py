"""Computed left factors of products on the matrix unit: rounded to bf16 as they are summed.

The weights of an attention are computed once: a pass over them adds them up in f32 and
writes them in pairs of bf16 (`amx_operands`), with rows in lanes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xdsl.dialects import arith
from xdsl.ir import SSAValue

from infini_ir.dialects import tile
from infini_ir.targets.cpu.kernel.sources import Coordinate, MemorySource
from infini_ir.targets.cpu.llvm.writer import ONE, V, floating, integer
from infini_ir.targets.cpu.products import across
from infini_ir.targets.cpu.products.amx_operands import LINE, LINES, RUN, Pairs, new_pairs
from infini_ir.targets.cpu.sweeps.transposing import interleaved

if TYPE_CHECKING:
    from infini_ir.targets.cpu.kernel.emitter import KernelEmitter

PAIRS = 2
"""Pairs of a turn of the loop: each of their elements has a sum of its own."""


def rounding_of(e: KernelEmitter, value: SSAValue) -> tile.MapOp | None:
    """The map that rounds a tile for a product on the matrix unit."""
    if e.plan.unit != "amx" or across.axis_of(e, value) != 0:
        return None
    users = [use.operation for use in value.uses]
    maps = [user for user in users if isinstance(user, tile.MapOp)]
    return next((user for user in maps if _rounds(user)), None)


def _rounds(op: tile.MapOp) -> bool:
    if len(op.inputs) != 1 or len(op.outs) != 1:
        return False
    narrows = isinstance(op.body.block.first_op, arith.TruncFOp)
    users = [use.operation for use in op.outs[0].uses]
    return (
        narrows
        and len(list(op.body.block.ops)) == 2
        and op.dim_lists == ((0, 1),)
        and all(isinstance(user, tile.DotOp) and user.lhs is op.outs[0] for user in users)
    )


def sum_and_round(e: KernelEmitter, op: tile.ReduceOp) -> bool:
    """Do a sum over a tile's columns together with rounding it, where both are wanted."""
    rounding = rounding_of(e, op.x)
    if rounding is None or op.kind.data != "add" or op.axis_list != (1,):
        return False
    e.prepare(op.x)
    memory = e.scratch_tile(op.out)
    pairs = new_pairs(e, rounding.outs[0])
    rows, keys = e.extents(op.x)
    e.vector_loop(rows, lambda row: _lanes(e, op, pairs, memory, row, keys))
    e.pairs[rounding.outs[0]] = pairs
    e.sources[op.out] = memory
    return True


def _lanes(
    e: KernelEmitter,
    op: tile.ReduceOp,
    pairs: Pairs,
    memory: MemorySource,
    row: Coordinate,
    keys: V,
) -> None:
    """A vector of rows: all their columns."""
    f = e.f
    zero = f.splat(floating(0.0), e.lanes)
    cells = [f.alloca(zero.full_type) for _ in range(2 * PAIRS)]
    for cell in cells:
        f.store(zero, cell, LINE)

    def element(key: V, cell: V, exists: V | None = None) -> V:
        level = e.enter()
        value = f.splat(e.element(op.x, (row, Coordinate(key))), e.lanes)
        e.leave(level)
        if exists is not None:
            value = f.select(exists, value, zero)
        old = f.load(cell, "float", e.lanes, LINE)
        f.store(f.assign(f"fadd {old.full_type} {old.text}, {value.text}", "float", e.lanes),
                cell, LINE)  # fmt: skip
        return value

    def write(pair: V, a: V, b: V) -> None:
        f.store(_rounded(e, a, b), pairs.pair(e, pair, row.position), LINE)

    def several(key: V) -> None:
        for i in range(0, 2 * PAIRS, 2):
            first = f.add(key, integer(i))
            a, b = element(first, cells[i]), element(f.add(first, ONE), cells[i + 1])
            write(f.add(f.udiv(key, integer(2)), integer(i // 2)), a, b)

    def last(key: V) -> None:
        second = f.add(key, ONE)
        exists = f.compare("slt", second, keys)
        a = element(key, cells[0])
        b = element(f.min(second, f.sub(keys, ONE)), cells[1], exists)
        write(f.udiv(key, integer(2)), a, b)

    step = integer(2 * PAIRS)
    whole = f.mul(f.udiv(keys, step), step)
    f.loop(whole, several, step=2 * PAIRS, hint="pairs")
    f.loop(keys, last, start=whole, step=2, hint="pair")
    end = f.mul(f.udiv(f.add(keys, integer(RUN - 1)), integer(RUN)), integer(LINES))
    empty = V("zeroinitializer", "i32", LINES)
    f.loop(
        end,
        lambda pair: f.store(empty, pairs.pair(e, pair, row.position), LINE),
        start=f.udiv(f.add(keys, ONE), integer(2)),
        hint="fill",
    )
    sums = [f.load(cell, "float", e.lanes, LINE) for cell in cells]
    while len(sums) > 1:
        sums = [
            f.assign(f"fadd {a.full_type} {a.text}, {b.text}", "float", e.lanes)
            for a, b in zip(sums[::2], sums[1::2], strict=True)
        ]
    memory.store(e, (row,), sums[0])


def _rounded(e: KernelEmitter, a: V, b: V) -> V:
    """Pairs of two vectors' elements in bf16."""
    name = "llvm.x86.avx512bf16.cvtne2ps2bf16.512"
    e.f.module.declare(f"declare <32 x bfloat> @{name}(<16 x float>, <16 x float>)")
    both = e.f.assign(f"call <32 x bfloat> @{name}({b.typed}, {a.typed})", "bfloat", RUN)
    words = e.f.assign(f"bitcast {both.typed} to <32 x i16>", "i16", RUN)
    halves = []
    for begin in (0, LINES):
        numbers = ", ".join(f"i32 {begin + i}" for i in range(LINES))
        text = f"shufflevector {words.typed}, <32 x i16> poison, <16 x i32> <{numbers}>"
        halves.append(e.f.assign(text, "i16", LINES))
    return interleaved(e, *halves)
