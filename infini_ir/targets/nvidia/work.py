"""What a program of a kernel does, as sizes in the kernel's parameters and symbols: how many
programs there are, what they load, multiply and hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from xdsl.dialects import arith, math
from xdsl.ir import Block, Operation, SSAValue

from infini_ir.dialects import tile
from infini_ir.dialects.tile import tile_type, view_type
from infini_ir.targets.nvidia.indices import IndexRanges
from infini_ir.utils.dtypes import item_size
from infini_ir.utils.symbolic import ONE, PARAMETERS, Dim, product

ASSUMED = 1024
"""What a symbol counts as where its value is not known."""
COSTLY = (
    math.ErfOp, math.ExpOp, math.ExpM1Op, math.LogOp, math.PowFOp, math.SinOp, math.CosOp,
    math.TanhOp, arith.DivfOp,
)  # fmt: skip
"""Operations that take many registers for each element."""


@dataclass(frozen=True)
class Product:
    """One `tile.dot`: its sizes, its operands' element type, how often a program does it."""

    rows: Dim
    columns: Dim
    depth: Dim
    dtype: str
    times: Dim
    buffers: tuple[str, str]
    """Where the operands are kept for it: `staged` (loaded in the same loop, so once for each
    stage), `shared` (loaded before it), or `registers` (computed; of a right operand too,
    which then goes through shared memory)."""
    sources: tuple[tuple[Dim, int], ...] = ()
    """Elements, and bytes of one, of what is loaded in the same loop to compute operands."""


@dataclass(frozen=True)
class Access:
    """One load or store: elements, bytes of one, how often, and whether neighbours in the
    tile's last axes lie side by side (the parameters of the axis of stride 1)."""

    shape: tuple[Dim, ...]
    item: int
    times: Dim
    contiguous: Dim | None
    feeds_product: bool


@dataclass
class Work:
    """One kernel."""

    programs: Dim
    products: list[Product] = field(default_factory=list)
    accesses: list[Access] = field(default_factory=list)
    turns: list[Dim] = field(default_factory=list)
    """How many turns a program makes in each loop, those around it counted in."""
    scatters: bool = False
    functions: int = 0
    """Transcendental functions in the maps of a kernel that multiplies."""
    tiles: list[tuple[tuple[Dim, ...], int]] = field(default_factory=list)
    """Shape and bytes of an element of every tile that is computed."""
    bounds: dict[str, Dim] = field(default_factory=dict)
    """What each parameter steps through."""
    assumed: Mapping[str, int] = field(default_factory=dict)
    """What symbols count as, if not as `ASSUMED`."""

    def number(self, dim: Dim, parameters: Mapping[str, int]) -> int:
        """A size for these parameters; symbols mostly count alike, so differences may come
        out below 0."""
        values = {name: self.assumed.get(name, ASSUMED) for name in dim.symbols()}
        return max(0, dim.evaluate({**values, **parameters}))


def work_of(kernel: tile.KernelOp, assumed: Mapping[str, int] | None = None) -> Work:
    """The work of a kernel whose parameters may still be names. `assumed`: what symbols
    count as, where not as usual."""
    counts = [
        bound.ceil_divide(step)
        for bound, step in zip(kernel.bounds.data, kernel.steps.data, strict=True)
    ]
    work = Work(product(counts), assumed=assumed or {})
    for bound, step in zip(kernel.bounds.data, kernel.steps.data, strict=True):
        _steps(work, step, bound)
    ranges = IndexRanges(kernel)
    for op, times in _walk(kernel.body.block, ONE, ranges, work):
        _add(work, op, times)
    return work


def _walk(
    block: Block, times: Dim, ranges: IndexRanges, work: Work
) -> Iterator[tuple[Operation, Dim]]:
    for op in block.ops:
        yield op, times
        if isinstance(op, tile.ForOp):
            limit = ranges.greatest(op.to)
            count = Dim.of(ASSUMED) if limit is None else limit
            _steps(work, op.step_size, count)
            inner = times * count.ceil_divide(op.step_size)
            work.turns.append(inner)
            yield from _walk(op.body.block, inner, ranges, work)


def _steps(work: Work, step: Dim, bound: Dim) -> None:
    if step.name in PARAMETERS:
        known = work.bounds.get(step.name)
        larger = known is None or work.number(bound, {}) > work.number(known, {})
        if larger:
            work.bounds[step.name] = bound


def _add(work: Work, op: Operation, times: Dim) -> None:
    if isinstance(op, tile.LoadOp):
        feeds = any(isinstance(use.operation, tile.DotOp) for use in op.out.uses)
        work.accesses.append(_access(op, times, feeds))
    elif isinstance(op, tile.StoreOp):
        work.accesses.append(_access(op, times, False))
    elif isinstance(op, tile.ScatterOp):
        work.scatters = True
    elif isinstance(op, tile.DotOp):
        lhs, acc = tile_type(op.lhs), tile_type(op.acc)
        rows, columns = product(acc.shape[:-1]), acc.shape[-1]
        dtype = lhs.dtype if lhs.dtype == tile_type(op.rhs).dtype else tile_type(op.rhs).dtype
        buffers = (_buffer(op, op.lhs), _buffer(op, op.rhs))
        sources = tuple(
            (product(tile_type(load.out).shape), item_size(tile_type(load.out).dtype))
            for load in dict.fromkeys([*_sources(op, op.lhs), *_sources(op, op.rhs)])
        )
        depth = lhs.shape[-1]
        work.products.append(Product(rows, columns, depth, dtype, times, buffers, sources))
    elif isinstance(op, tile.MapOp):
        work.functions += sum(isinstance(each, COSTLY) for each in op.body.block.ops)
    for result in op.results:
        if isinstance(result.type, tile.TileType):
            item = item_size(result.type.dtype)
            work.tiles.append((result.type.shape, item))


def _buffer(dot: tile.DotOp, operand: SSAValue) -> str:
    source = operand.owner
    if not isinstance(source, tile.LoadOp):
        return "registers"
    return "staged" if source.parent is dot.parent else "shared"


def _sources(dot: tile.DotOp, operand: SSAValue) -> Iterator[tile.LoadOp]:
    """The loads in a product's loop that a computed operand is made from."""
    owner = operand.owner
    if isinstance(owner, tile.MapOp) and owner.parent is dot.parent:
        for value in owner.inputs:
            if isinstance(value.owner, tile.LoadOp) and value.owner.parent is dot.parent:
                yield value.owner
            yield from _sources(dot, value)


def _access(op: tile.LoadOp | tile.StoreOp, times: Dim, feeds: bool) -> Access:
    held = tile_type(op.out if isinstance(op, tile.LoadOp) else op.value)
    view = view_type(op.view)
    strides = [view.strides[axis] for axis in op.axis_list]
    unit = next((d for d, s in zip(held.shape, strides, strict=True) if s.value == 1), None)
    moved = tuple(d for d, s in zip(held.shape, strides, strict=True) if s.value != 0)
    return Access(moved, item_size(held.dtype), times, unit, feeds)
