"""Values that are computed once and kept, and where they go."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import SSAValue

from infini_ir.dialects import tile
from infini_ir.targets.cuda_c.layouts import Layout, Spread
from infini_ir.targets.cuda_c.placement import access_order
from infini_ir.targets.cuda_c.sources import (
    At,
    GatherSource,
    MapSource,
    MemorySource,
    RegisterSource,
    ScalarSource,
    Source,
    element_types,
)
from infini_ir.targets.cuda_c.statements import Access
from infini_ir.targets.cuda_c.writer import KernelWriter
from infini_ir.utils.errors import CompileError


def home(k: KernelWriter, value: SSAValue, wish: str) -> MemorySource | RegisterSource:
    """New memory for a value: registers where only their owners read them, else shared."""
    layout = k.placement.layout(value)
    if layout is not None and k.placement.in_registers(value):
        return k.register_array(wish, element_types(value)[0], layout)
    return k.shared_tile(wish, value)


def keep(k: KernelWriter, outs: Sequence[SSAValue], wish: str) -> None:
    """Compute the results of an operation, all of one shape, and read them from memory from
    here on."""
    if k.placement.known_shape(outs[0]) is None:
        raise CompileError(
            f"kernel '{k.name}' must keep a tile of unknown size ({outs[0].type}); run "
            "tile-split-axis first"
        )
    layout = sweep_layout(k, outs[0])
    extents = k.extents(outs[0])
    used = [out for out in outs if out.first_use is not None]
    homes = [home(k, out, wish) for out in used]
    fill(k, used, homes, layout, extents)
    for out, memory in zip(used, homes, strict=True):
        k.sources[out] = memory


def sweep_layout(k: KernelWriter, value: SSAValue) -> Layout | None:
    """The layout in which a kept value is computed: its component's, but tiles that are
    loaded across go by their memory."""
    op = value.owner
    layout = k.placement.layout(value)
    if isinstance(op, tile.LoadOp) and isinstance(layout, Spread) and k.placement.is_turned(op):
        return Spread(layout.shape, access_order(op), layout.threads)
    return layout


def fill(
    k: KernelWriter,
    values: Sequence[SSAValue],
    homes: Sequence[MemorySource | RegisterSource],
    layout: Layout | None,
    extents: Sequence[int | str],
) -> None:
    """One loop that writes values to their memory."""
    registers = any(isinstance(h, RegisterSource) for h in homes) or any(
        uses_registers(k, value) for value in values
    )

    def body(at: At) -> None:
        results = [k.element(value, at) for value in values]
        for memory, result in zip(homes, results, strict=True):
            put(k, memory, at, result)

    k.step(lambda: k.sweep(layout, extents, body, registers=registers))


def put(k: KernelWriter, memory: MemorySource | RegisterSource, at: At, result: str) -> None:
    """Write an element of a kept value."""
    if isinstance(memory, RegisterSource):
        k.line(f"{memory.name}[{at.slot}] = {result};")
        return
    memory.owner = at.layout
    k.touch(Access(memory.memory, True, at.layout))
    memory.store(k, at, result)


def uses_registers(k: KernelWriter, value: SSAValue) -> bool:
    """Whether an element of a value is computed from registers."""
    source = k.sources.get(value)
    if isinstance(source, RegisterSource):
        return True
    if isinstance(source, MapSource):
        return any(uses_registers(k, v) for v in source.op.inputs if v in k.sources)
    if isinstance(source, GatherSource):
        return any(uses_registers(k, v) for v in source.op.positions if v in k.sources)
    return False


def depends_on(k: KernelWriter, value: SSAValue, cell: Source) -> bool:
    """Whether an element of a value is computed from a memory."""
    source = k.sources.get(value)
    if source is cell:
        return True
    if isinstance(source, MapSource):
        return any(depends_on(k, v, cell) for v in source.op.inputs if v in k.sources)
    if isinstance(source, GatherSource):
        return any(depends_on(k, v, cell) for v in source.op.positions if v in k.sources)
    return False


def copy_registers(k: KernelWriter, source: RegisterSource, target: RegisterSource) -> None:
    """Copy what a thread holds; the compiler renames it away."""
    slots = target.layout.slots

    def body() -> None:
        k.line("#pragma unroll")
        k.line(
            f"for (int slot = 0; slot < {slots}; ++slot) "
            f"{target.name}[slot] = {source.name}[slot];"
        )

    k.step(body)


def as_scalar(k: KernelWriter, outs: Sequence[SSAValue], wish: str) -> None:
    """Compute tiles of rank 0, in every thread."""
    texts: list[str] = []
    k.step(lambda: texts.extend(k.element(out, At(())) for out in outs))
    for out, text in zip(outs, texts, strict=True):
        k.sources[out] = ScalarSource(text)


def wide_enough(layout: Layout | None) -> bool:
    """Whether a thread has a few elements, to be loaded together before any is stored."""
    return isinstance(layout, Spread) and 2 <= layout.slots <= 8
