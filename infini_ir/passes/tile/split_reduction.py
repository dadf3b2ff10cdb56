"""Long reductions of few programs shared out along the reduced axis: `tile-split-reduction`."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from infini_ir.dialects import tile
from infini_ir.dialects.context import CompilerContext
from infini_ir.dialects.tile import view_type
from infini_ir.passes.tile.long_axis import LongAxis, assumed, find_long_axis
from infini_ir.passes.tile.reduction_stages import Parts, share_out
from infini_ir.utils.dtypes import item_size
from infini_ir.utils.symbolic import ONE, PARAMETERS, Dim, maximum, minimum, product

UNITS = (64, 8)
"""Lengths of parts are best multiples of these, so that accesses stay wide."""
SYMBOLIC_UNIT = 16
SYMBOLIC_WEIGHT = 8
SYMBOLIC_PARTS = 128
"""An axis of unknown size has at least so many parts: it may be long."""


@dataclass(frozen=True)
class SplitReductionPass(ModulePass):
    """
    Shares out a long reduced axis among programs, where a kernel has few of them.

    A kernel of loads, maps, reductions along one axis, and stores becomes several: each
    program of the first reduces one part of the axis into a workspace; the last combines
    the parts and does what follows. Reductions that need others (an exponential sum its
    maximum) get a kernel each. Rows that are stored are shared out too, if into equal parts.

    A kernel that reads little, or of which a program does, stays as it is: a launch more
    costs more than it saves. Symbols count as 1024, and what is read along an axis of unknown
    size eight times: the launch is little beside a long axis in one program. Before `tile-plan-memory`, and before
    plans, which are not handed on. Results depend on `programs`, not on the machine.
    """

    name = "tile-split-reduction"
    programs: int = 256
    """Programs that keep the device busy."""
    bytes: int = 1 << 20
    """What a kernel has to read; one of its programs an eighth of that for each launch more,
    and a part a sixty-fourth."""

    columns: int = 64
    """Elements of a grid's axis that a program is taken to have where a parameter says so."""

    least: int = 2
    """Elements that an axis of known size must have."""

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for kernel in list(op.body.block.ops):
            if not isinstance(kernel, tile.KernelOp) or kernel.plan is not None:
                continue
            long = find_long_axis(kernel)
            parts = None if long is None else choose_parts(long, self)
            if long is None or parts is None:
                continue
            share_out(long, parts, op)
            if isinstance(ctx, CompilerContext):
                what = f"{parts.count} parts of {parts.length} elements"
                why = f"its grid {list(map(str, kernel.bounds.data))} has few programs"
                ctx.decide(self.name, f"kernel {kernel.sym_name.data}", what, why)


def choose_parts(long: LongAxis, limits: SplitReductionPass) -> Parts | None:
    """Into what parts the axis is shared out; None where that does not pay."""
    own = _programs(long.kernel, limits.columns)
    if own is None:
        return None
    known = long.size.value
    if known is not None and known < limits.least:
        return None
    each = _bytes_read(long) // max(1, own)
    times = 1 if known is not None else SYMBOLIC_WEIGHT
    least = limits.bytes // 8 * (long.stages - 1)
    if times * each * own < limits.bytes or times * each < least:
        return None
    most = each // max(1, limits.bytes // 64)
    most = max(most, SYMBOLIC_PARTS) if known is None else min(most, known)
    count = min(limits.programs // max(1, own), most)
    if count < 2:
        return None
    if known is not None:
        return _known_parts(long, count, known)
    return _symbolic_parts(long, count, limits.bytes // 64)


def _programs(kernel: tile.KernelOp, columns: int) -> int | None:
    """About how many programs a kernel has; None where that is not known."""
    total = 1
    for bound, step in zip(kernel.bounds.data, kernel.steps.data, strict=True):
        if bound.value is None:
            return None
        known = dict.fromkeys(step.symbols() & set(PARAMETERS), columns)
        if step.symbols() - set(PARAMETERS):
            return None
        total *= -(-bound.value // max(1, step.evaluate(known)))
    return total


def _bytes_read(long: LongAxis) -> int:
    total = 0
    for view in dict.fromkeys(load.view for load in long.loads):
        type = view_type(view)
        moved = [d for d, s in zip(type.shape, type.strides, strict=True) if s.value != 0]
        total += assumed(product(moved)) * item_size(type.dtype)
    return total


def _known_parts(long: LongAxis, count: int, size: int) -> Parts | None:
    """About so many parts, equal where that can be."""
    units = UNITS if _contiguous(long) else (1,)
    for unit in (*units, 1) if long.row_stores else units:
        for number in range(count, max(2, count // 2) - 1, -1):
            if size % (number * unit) == 0:
                return Parts(Dim.of(number), Dim.of(size // number), Dim.of(0))
    if long.row_stores:
        return None
    # The rest is read by every program that needs the total.
    unit = next((unit for unit in units if 8 * unit * count * count <= size), 1)
    length = size // (unit * count) * unit
    return Parts(Dim.of(count), Dim.of(length), Dim.of(size - length * count))


def _symbolic_parts(long: LongAxis, most: int, least: int) -> Parts | None:
    """At most so many parts. Where they need not be equal, they are fewer for an axis that
    proves short: a part reads `least` bytes, as far as is known, and the rest less."""
    for number in range(most, max(2, most // 2) - 1, -1):
        length = long.size.exact_divide(number)
        if length is not None:
            return Parts(Dim.of(number), length, Dim.of(0))
    if long.row_stores:
        return None
    unit = SYMBOLIC_UNIT if _contiguous(long) else 1
    beside = max(1, _bytes_read(long) // assumed(long.size))
    shortest = -(-max(1, least) // (beside * unit)) * unit
    length = maximum(shortest, Dim.of(unit) * (long.size // (unit * most)))
    count = minimum(most, long.size // length)
    return Parts(count, length, long.size - length * count)


def _contiguous(long: LongAxis) -> bool:
    return any(view_type(load.view).strides[long.along(load)] is ONE for load in long.loads)
