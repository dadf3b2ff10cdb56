"""Choice and loops: regions of the host program over buffers that they share."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import Block, Operation, Region, SSAValue

from infini_ir.dialects import graph
from infini_ir.dialects.graph import tensor_type
from infini_ir.dialects.tile import program
from infini_ir.lowering.host_builder import HostBuilder, label_of, lowers
from infini_ir.lowering.kernels.joining import put
from infini_ir.lowering.kernels.views import write_size
from infini_ir.lowering.placement import Placement
from infini_ir.utils.errors import CompileError
from infini_ir.utils.symbolic import Dim


def terminator_of(block: Block) -> graph.YieldOp:
    last = block.last_op
    assert isinstance(last, graph.YieldOp)
    return last


def lower_into(
    host: HostBuilder, block: Block, targets: Sequence[Placement | None], label: str
) -> None:
    """Lower a region's block; what it gives is put into the targets there are."""
    last = terminator_of(block)
    host.targets[last] = list(targets)
    host.lower_block(block)
    for value, target in zip(last.values, targets, strict=True):
        if target is not None:
            put(host, value, target, label)


def check_sizes(host: HostBuilder, op: Operation, values: Sequence[SSAValue]) -> None:
    """That the memory of results can be taken before the region runs."""
    for value in values:
        for size in tensor_type(value).shape:
            unknown = size.symbols() - host.symbols
            if unknown:
                raise CompileError(
                    f"{label_of(op) or op.name}: the size {size} of a result is known only "
                    f"inside the loop ({', '.join(sorted(unknown))}); make every iteration "
                    "give the same size"
                )


# If ---------------------------------------------------------------------------------------


@lowers(graph.IfOp)
def lower_if(op: graph.IfOp, host: HostBuilder) -> None:
    """Both branches write the same memory. Where a result's size depends on the branch, the
    sizes are worked out first, by running the branch for them if it has to be."""
    condition, label = host.view(host.placement(op.condition)), label_of(op)
    if op.defines is not None:
        names = [name.data for name in op.defines]
        regions = [
            _size_region(op, region, names, host) for region in (op.then_region, op.else_region)
        ]
        host.emit(program.IfOp(condition, *regions))
        for name in names:
            host.declare(name)
    targets = [host.destination(out) for out in op.outs]
    made: list[Region] = []
    for region in (op.then_region, op.else_region):
        block = Block()
        with host.inside(block):
            lower_into(host, region.block, targets, label)
        made.append(Region(block))
    host.emit(program.IfOp(condition, *made))


def _size_region(
    op: graph.IfOp, region: Region, names: Sequence[str], host: HostBuilder
) -> Region:
    """A region that sets the symbols to the sizes that a branch gives."""
    copy = region.clone()
    values = terminator_of(copy.block).values
    sizes: dict[str, Dim] = {}
    for out, value in zip(op.outs, values, strict=True):
        for wanted, size in zip(tensor_type(out).shape, tensor_type(value).shape, strict=True):
            if wanted.name in names:
                assert wanted.name is not None
                sizes.setdefault(wanted.name, size)
    block = Block()
    with host.inside(block):
        if any(not size.symbols() <= host.symbols for size in sizes.values()):
            before = set(host.symbols)
            host.lower_block(copy.block)
            host.symbols = before
        for name, size in sizes.items():
            host.emit(program.SetOp(name, size))
    return Region(block)


# Loops ------------------------------------------------------------------------------------


def _start(
    host: HostBuilder, initial: Sequence[SSAValue], outs: Sequence[SSAValue], label: str
) -> list[Placement]:
    """The carried buffers, holding the initial values; the results are in them at the end."""
    buffers = [host.destination(out) for out in outs]
    for value, buffer in zip(initial, buffers, strict=True):
        put(host, value, buffer, label)
    return buffers


def _carry(
    host: HostBuilder, values: Sequence[SSAValue], buffers: Sequence[Placement], label: str
) -> None:
    """Put an iteration's values into the carried buffers. A value that lies in one of them
    is saved first, as that one may be written before it is read."""
    roots = {buffer.root for buffer in buffers}
    sources: list[Placement | None] = []
    for value, buffer in zip(values, buffers, strict=True):
        if host.literal(value) is not None and value not in host.places:
            sources.append(None)
            continue
        source = host.placement(value)
        if source.root in roots and not source.same_elements(buffer):
            saved = host.alloc(source.shape, source.dtype)
            host.copy(source, saved, label)
            source = saved
        sources.append(source)
    for value, source, buffer in zip(values, sources, buffers, strict=True):
        if source is None:
            put(host, value, buffer, label)
        else:
            host.copy(source, buffer, label)


@lowers(graph.WhileOp)
def lower_while(op: graph.WhileOp, host: HostBuilder) -> None:
    label = label_of(op)
    buffers = _start(host, op.initial, op.outs, label)
    flag = host.alloc([], "i1")
    condition, body = Block(), Block()
    for region, block in ((op.condition, condition), (op.body, body)):
        for argument, buffer in zip(region.block.args, buffers, strict=True):
            host.place(argument, buffer)
        with host.inside(block):
            if region is op.condition:
                lower_into(host, region.block, [flag], label)
            else:
                host.lower_block(region.block)
                _carry(host, terminator_of(region.block).values, buffers, label)
    host.emit(program.WhileOp(host.view(flag), Region(condition), Region(body)))


@lowers(graph.ScanOp)
def lower_scan(op: graph.ScanOp, host: HostBuilder) -> None:
    label, count = label_of(op), len(op.initial)
    check_sizes(host, op, op.outs[:count] if op.until is not None else op.outs)
    buffers = _start(host, op.initial, op.outs[:count], label)
    stacks = [_stack(op, out, host) for out in op.outs[count:]]
    flag = None if op.until is None else host.alloc([], "i1")
    step, block = host.fresh_symbol("step"), Block()
    before = set(host.symbols)
    assert step.name is not None
    host.declare(step.name)
    body = op.body.block
    for argument, buffer in zip(body.args[1 : 1 + count], buffers, strict=True):
        host.place(argument, buffer)
    for argument, scanned in zip(body.args[1 + count :], op.scanned, strict=True):
        host.place(argument, host.placement(scanned).indexed(0, step))
    flags = [] if flag is None else [flag]
    with host.inside(block):
        if body.args[0].uses:
            number = host.alloc([], "i64")
            host.place(body.args[0], number)
            write_size(host, step, number, label)
        last = terminator_of(body)
        slices = [stack.indexed(0, step) for stack in stacks]
        host.targets[last] = [*flags, *[None] * count, *slices]
        host.lower_block(body)
        values = list(last.values)
        for value, target in zip(values[: len(flags)], flags, strict=True):
            put(host, value, target, label)
        values = values[len(flags) :]
        for value, target in zip(values[count:], slices, strict=True):
            put(host, value, target, label)
        _carry(host, values[:count], buffers, label)
    host.symbols = before
    until = None if flag is None else host.view(flag)
    host.emit(program.LoopOp(step.name, op.trip_count, Region(block), until))
    if op.until is not None:
        _finish_until(op, host, step, stacks, count)


def _stack(op: graph.ScanOp, out: SSAValue, host: HostBuilder) -> Placement:
    """Memory for all slices of a stacked result; with `until`, for the most there can be."""
    if op.until is None:
        return host.destination(out)
    kind = tensor_type(out)
    return host.alloc([op.trip_count, *kind.shape[1:]], kind.dtype)


def _finish_until(
    op: graph.ScanOp, host: HostBuilder, step: Dim, stacks: Sequence[Placement], count: int
) -> None:
    """The symbol becomes the number of iterations done, and stacks that high."""
    assert op.until is not None
    host.emit(program.SetOp(op.until.data, step))
    host.declare(op.until.data)
    for out, stack in zip(op.outs[count:], stacks, strict=True):
        host.place(out, stack.sliced([0] * stack.rank, None, tensor_type(out).shape))
