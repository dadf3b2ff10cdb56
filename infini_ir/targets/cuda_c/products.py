"""Products of tiles outside of nests: the factors are staged piece by piece, or taken from
where they are kept. The accumulator is in registers, a block of it in each thread."""

from __future__ import annotations

from xdsl.ir import SSAValue

from infini_ir.dialects import tile
from infini_ir.targets.cuda_c.keeping import uses_registers
from infini_ir.targets.cuda_c.layouts import Number, sum_of
from infini_ir.targets.cuda_c.multiplying import multiply
from infini_ir.targets.cuda_c.sources import At, MemorySource, RegisterSource, element_types
from infini_ir.targets.cuda_c.staging import Factor, Product, product_of, stage, zero_rest
from infini_ir.targets.cuda_c.statements import Access
from infini_ir.targets.cuda_c.writer import KernelWriter
from infini_ir.utils.errors import CompileError


def emit_dot(k: KernelWriter, op: tile.DotOp) -> None:
    """A product outside of a nest: the accumulator's value, then piece after piece."""
    product = product_of(k, op, k.plan.slice)
    total = accumulator(k, product)
    _add_product(k, product, total)
    k.sources[op.out] = total


def accumulator(k: KernelWriter, product: Product) -> RegisterSource:
    """Registers that hold the value to which a product is added."""
    op, layout = product.op, product.layout
    total = k.register_array(op.out.name_hint or "sums", product.type, layout)
    extents = k.extents(op.out)

    def body(at: At) -> None:
        value = k.element(op.acc, at)
        if element_types(op.acc)[0] != product.type:
            value = f"convert<{product.type}>({value})"
        k.line(f"{total.name}[{at.slot}] = {value};")

    def first(slot: str) -> None:
        k.line(f"{total.name}[{slot}] = 0;")

    k.step(lambda: k.sweep(layout, extents, body, registers=True, first=first))
    return total


def _kept(k: KernelWriter, value: SSAValue) -> MemorySource | None:
    """The shared memory that holds a factor, if it is kept."""
    source = k.sources[value]
    kept = isinstance(source, MemorySource) and any(a.name == source.name for a in k.shared)
    return source if kept and isinstance(source, MemorySource) else None


def _add_product(k: KernelWriter, product: Product, total: RegisterSource) -> None:
    op = product.op
    shape = k.placement.known_shape(op.lhs)
    assert shape is not None
    whole, piece = shape[-1], product.left.length
    kept = {id(f): _kept(k, f.value) for f in (product.left, product.right)}
    staged = [f for f in (product.left, product.right) if kept[id(f)] is None]
    if not staged:
        product.left.length = product.right.length = piece = whole
    arrays = {}
    for side, factor in (("left", product.left), ("right", product.right)):
        if kept[id(factor)] is None:
            if uses_registers(k, factor.value):
                raise CompileError(
                    f"kernel '{k.name}': a factor is in registers; the placement is wrong"
                )
            array = k.pooled(f"staged_{side}", product.type, factor.count)
            arrays[id(factor)] = array.name
    extent = min_extent(k, product)

    def pieces(first: str) -> None:
        for factor in staged:
            _stage_step(k, factor, arrays[id(factor)], first)
        _multiply_step(k, product, total, first, extent, kept, arrays)

    if piece >= whole:
        pieces("0")
    else:
        name = k.fresh("piece")
        k.loop(
            f"for (int {name} = 0; {name} < {extent}; {name} += {piece})", lambda: pieces(name)
        )


def min_extent(k: KernelWriter, product: Product) -> Number:
    """The extent of the contracted axis: of the factor that something sizes."""
    op = product.op
    left = k.sized(op.lhs)[-1]
    right = k.sized(op.rhs)[product.right.contracted]
    known = left if left is not None else right
    return known if known is not None else k.extents(op.lhs)[-1]


def _stage_step(k: KernelWriter, factor: Factor, array: str, first: str) -> None:
    pool = next(a for a in k.shared if a.name == array)
    base = k.group_base(pool.count)

    def write(place: str, text: str) -> None:
        k.line(f"{array}[{sum_of(base, place)}] = {text};")

    def body() -> None:
        k.touch(Access(array, True))
        zero_rest(k, factor, array, base)
        stage(k, factor, first, write)

    k.step(body)


def _multiply_step(k, product, total, first, extent, kept, arrays) -> None:
    left, right = product.left, product.right

    def source(factor: Factor) -> tuple[MemorySource | None, str]:
        memory = kept[id(factor)]
        if memory is not None:
            k.touch(Access(memory.memory, False))
            return memory, first
        name = arrays[id(factor)]
        k.touch(Access(name, False))
        pool = next(a for a in k.shared if a.name == name)
        return None, f"{name}@{k.group_base(pool.count)}"

    def body() -> None:
        length: Number = left.length
        all_kept = kept[id(left)] is not None or kept[id(right)] is not None
        if all_kept and extent != k.placement.known_shape(product.op.lhs)[-1]:
            # What is kept has no zeros past its extent.
            length = f"extent_of({extent} - {first}, {left.length})"
        elif all_kept and isinstance(extent, int) and extent % left.length:
            length = f"extent_of({extent} - {first}, {left.length})"
        multiply(k, product, total.name, length, source(left), source(right))

    k.step(body)
