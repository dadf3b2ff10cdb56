"""Positions of nonzero elements: one program goes through them in order, counting."""

from __future__ import annotations

from xdsl.ir import SSAValue

from infini_ir.dialects import graph
from infini_ir.lowering.host_builder import HostBuilder, label_of, lowers, origin_of
from infini_ir.lowering.kernel_builder import KernelBuilder
from infini_ir.lowering.kernels.combining import accumulation_type
from infini_ir.lowering.placement import Placement
from infini_ir.lowering.scalar_builder import ScalarBuilder
from infini_ir.utils import dtypes
from infini_ir.utils.symbolic import ZERO, Dim


@lowers(graph.NonzeroOp)
def lower_nonzero(op: graph.NonzeroOp, host: HostBuilder) -> None:
    """The positions go to memory that has room for every element; the result is the part of
    it that was filled."""
    x = host.placement(op.x)
    room = x.element_count()
    found = host.alloc([x.rank, room], "i64")
    count = host.alloc([], "i64")
    k = KernelBuilder(
        "nonzero", [count.view_type, found.view_type, x.view_type], [], [], origin_of(op)
    )
    k.serial = True
    _write(k, x)
    host.launch(k, [host.view(count), host.view(found), host.view(x)], label_of(op))
    size = host.bind(count, symbol=op.symbol.data)
    host.place(op.out, found.sliced([ZERO, ZERO], None, [Dim.of(x.rank), size]))


def _write(k: KernelBuilder, x: Placement) -> None:
    count, found, memory = k.views

    def look(s: ScalarBuilder, value: SSAValue, total: SSAValue) -> list[SSAValue]:
        nonzero = _is_nonzero(s, value, x.dtype)
        # What is zero goes to position -1, which is outside and so is dropped.
        place = s.select(nonzero, total, s.constant(-1, "i64"))
        more = s.add(total, s.constant(1, "i64"))
        return [place, s.select(nonzero, more, total)]

    def loop(positions: list[SSAValue], total: SSAValue) -> SSAValue:
        if len(positions) < x.rank:
            (after,) = k.for_(
                x.shape[len(positions)], 1, [total], lambda i, t: [loop([*positions, i], t)]
            )
            return after
        value = k.load(memory, positions, [], [])
        place, after = k.map([value, total], [[], []], ["i64", "i64"], [], look)
        for axis, position in enumerate(positions):
            number = k.full(k.from_index(position), [], "i64")
            k.scatter(number, found, [axis, place], [[], []])
        return after

    k.store(loop([], k.full(0, [], "i64")), count, [], [])


def _is_nonzero(s: ScalarBuilder, value: SSAValue, dtype: str) -> SSAValue:
    if dtype == "i1":
        return value
    if dtypes.is_float(dtype):
        value = s.widen(value, accumulation_type(dtype))
    return s.compare("ne", value, s.like(0, value))
