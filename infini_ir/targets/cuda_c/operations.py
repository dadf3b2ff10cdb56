"""The operations of a program, one by one, as steps."""

from __future__ import annotations

from collections.abc import Callable

from xdsl.ir import Block, Operation, SSAValue

from infini_ir.dialects import tile
from infini_ir.targets.cuda_c import basics, nests, products, reducing, scanning
from infini_ir.targets.cuda_c.keeping import (
    as_scalar,
    copy_registers,
    depends_on,
    fill,
    home,
    keep,
)
from infini_ir.targets.cuda_c.sources import (
    At,
    GatherSource,
    MapSource,
    MemorySource,
    RegisterSource,
    ScalarSource,
    element_types,
)
from infini_ir.targets.cuda_c.statements import Step
from infini_ir.targets.cuda_c.storing import scatter, store_group, stores
from infini_ir.targets.cuda_c.writer import KernelWriter


def block(k: KernelWriter, body: Block) -> None:
    """The operations of a program or a loop body, in order."""
    ops = list(body.ops)
    index = 0
    while index < len(ops):
        op = ops[index]
        if isinstance(op, tile.StoreOp):
            group = store_group(k, ops, index)
            stores(k, group)
            index += len(group)
            continue
        one(k, op)
        index += 1


def one(k: KernelWriter, op: Operation) -> None:
    """One operation other than a store."""
    handler = _HANDLERS.get(op.__class__)
    if handler is not None:
        handler(k, op)
    elif not isinstance(op, tile.YieldOp):
        basics.one(k, op)


def _load(k: KernelWriter, op: tile.LoadOp) -> None:
    if not any(True for _ in op.out.uses):
        return
    k.sources[op.out] = k.slice_of(op.view, op.offsets, op.axis_list, op.out)
    if not op.axis_list:
        as_scalar(k, [op.out], "x")
    elif k.placement.keeps(op):
        keep(k, [op.out], f"{k.view(op.view)}_tile")


def _gather(k: KernelWriter, op: tile.GatherOp) -> None:
    is_open = None in k.sized(op.out)
    kept = tile.tile_type(op.out).rank > 0 and k.placement.keeps(op)
    k.sources[op.out] = GatherSource(op, clipped=is_open and kept)
    if tile.tile_type(op.out).rank == 0:
        as_scalar(k, [op.out], "x")
    elif kept:
        keep(k, [op.out], f"{k.view(op.view)}_gathered")


def _map(k: KernelWriter, op: tile.MapOp) -> None:
    for index, out in enumerate(op.outs):
        k.sources[out] = MapSource(op, index)
    if tile.tile_type(op.outs[0]).rank == 0:
        as_scalar(k, op.outs, "v")
    elif k.placement.keeps(op):
        keep(k, op.outs, op.outs[0].name_hint or "kept")


# Loops


def _for(k: KernelWriter, op: tile.ForOp) -> None:
    nest = nests.match(op)
    if nest is not None:
        nests.emit_nest(k, nest)
        return
    cells = [_cell(k, op, number) for number in range(len(op.carried))]
    body = op.body.block
    position = k.fresh(body.args[0].name_hint or "k")
    step = k.size(op.step_size)

    def turn() -> None:
        k.scalars[body.args[0]] = position
        k.bounds[body.args[0]] = (basics.bound_of(k, op), k.known(op.step_size))
        for argument, cell in zip(body.args[1:], cells, strict=True):
            k.sources[argument] = cell
        block(k, body)
        _carry(k, list(tile.yielded(op.body)), cells)

    head = f"for (index_t {position} = 0; {position} < {k.scalar(op.to)}; {position} += {step})"
    k.loop(head, turn)
    for result, cell in zip(op.outs, cells, strict=True):
        k.sources[result] = cell


Cell = ScalarSource | MemorySource | RegisterSource


def _cell(k: KernelWriter, op: tile.ForOp, number: int) -> Cell:
    """Memory for a carried tile, holding its initial value."""
    initial, argument = op.carried[number], op.body.block.args[number + 1]
    wish = argument.name_hint or "carried"
    type = element_types(initial)[0]
    if tile.tile_type(initial).rank == 0:
        name, texts = k.fresh(wish), []
        k.step(lambda: texts.append(k.element(initial, At(()))))
        k.nodes.append(Step([f"{type} {name} = {texts[0]};"]))
        return ScalarSource(name)
    layout = k.placement.layout(initial)
    stays = k.placement.in_registers(argument) and k.placement.in_registers(op.outs[number])
    cell: MemorySource | RegisterSource
    if stays and layout is not None:
        cell = k.register_array(wish, type, layout)
    else:
        cell = k.shared_tile(wish, initial)
    fill(k, [initial], [cell], layout, k.extents(initial))
    return cell


def _carry(k: KernelWriter, values: list[SSAValue], cells: list[Cell]) -> None:
    """Store the next carried values, all computed before any is overwritten."""
    scalars: list[tuple[str, str]] = []
    moved: list[tuple[SSAValue, MemorySource | RegisterSource]] = []
    for value, cell in zip(values, cells, strict=True):
        if isinstance(cell, ScalarSource):
            texts: list[str] = []
            k.step(lambda value=value, texts=texts: texts.append(k.element(value, At(()))))
            copied = k.fresh("next")
            type = element_types(value)[0]
            k.nodes.append(Step([f"const {type} {copied} = {texts[0]};"]))
            scalars.append((cell.text, copied))
        elif k.sources[value] is not cell:
            moved.append((value, cell))
    for value, cell in moved:
        others = [c for _, c in moved if c is not cell]
        if any(depends_on(k, value, other) for other in others) or _reads_elsewhere(
            k, value, cell
        ):
            fresh = home(k, value, "next")
            fill(k, [value], [fresh], k.placement.layout(value), k.extents(value))
            k.sources[value] = fresh
    for value, cell in moved:
        source = k.sources[value]
        if isinstance(source, RegisterSource) and isinstance(cell, RegisterSource):
            copy_registers(k, source, cell)
        else:
            fill(k, [value], [cell], k.placement.layout(value), k.extents(value))
    if scalars:
        k.nodes.append(Step([f"{cell} = {copied};" for cell, copied in scalars]))


def _reads_elsewhere(k: KernelWriter, value: SSAValue, cell: Cell) -> bool:
    """Whether a value computed on the spot reads a cell at other elements than its own."""
    source = k.sources[value]
    if not isinstance(source, MapSource | GatherSource):
        return False
    op = source.op
    operands = op.inputs if isinstance(op, tile.MapOp) else op.positions
    identity = tuple(range(tile.tile_type(value).rank))
    for operand, dims in zip(operands, op.dim_lists, strict=True):
        if operand not in k.sources:
            continue
        if dims != identity and depends_on(k, operand, cell):
            return True
        if dims == identity and _reads_elsewhere(k, operand, cell):
            return True
    return False


def _dot(k: KernelWriter, op: tile.DotOp) -> None:
    products.emit_dot(k, op)
    if k.placement.crosses(op.out):
        memory = k.shared_tile("product", op.out)
        fill(k, [op.out], [memory], k.placement.layout(op.out), k.extents(op.out))
        k.sources[op.out] = memory


_HANDLERS: dict[type[Operation], Callable[..., None]] = {
    tile.LoadOp: _load,
    tile.GatherOp: _gather,
    tile.MapOp: _map,
    tile.ReduceOp: reducing.reduce,
    tile.ScanOp: scanning.scan,
    tile.ForOp: _for,
    tile.DotOp: _dot,
    tile.ScatterOp: scatter,
}
