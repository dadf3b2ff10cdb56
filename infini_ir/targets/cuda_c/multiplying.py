"""The innermost loop of a product: a thread's rows and columns, position by position."""

from __future__ import annotations

from infini_ir.targets.cuda_c.layouts import Blocks, Number, sum_of, times
from infini_ir.targets.cuda_c.sources import MemorySource
from infini_ir.targets.cuda_c.staging import Factor, Product
from infini_ir.targets.cuda_c.writer import KernelWriter


def multiply(
    k: KernelWriter,
    product: Product,
    total: str,
    length: Number,
    left: tuple[MemorySource | None, str],
    right: tuple[MemorySource | None, str],
) -> None:
    """
    Lines that add the product of two pieces to the accumulator. A factor is staged (None and
    the index of its first element in the array of that name), or kept (its memory).
    """
    layout, type = product.layout, product.type
    k.line("#pragma unroll 4" if isinstance(length, int) and length > 16 else "#pragma unroll")
    k.line(f"for (int p = 0; p < {length}; ++p) {{")
    k.line(f"{type} a[{layout.rows}], b[{layout.columns}];")
    _read_block(k, product.left, left, "a", layout.rows, layout, rows=True)
    _read_block(k, product.right, right, "b", layout.columns, layout, rows=False)
    k.line("#pragma unroll")
    k.line(f"for (int slot = 0; slot < {layout.slots}; ++slot) {{")
    n = layout.columns
    k.line(
        f"{total}[slot] = multiply_add(a[slot / {n}], b[slot % {n}], {total}[slot]);"
        if n > 1
        else f"{total}[slot] = multiply_add(a[slot], b[0], {total}[slot]);"
    )
    k.line("}")
    k.line("}")


def _read_block(
    k: KernelWriter,
    factor: Factor,
    source: tuple[MemorySource | None, str],
    name: str,
    count: int,
    layout: Blocks,
    *,
    rows: bool,
) -> None:
    """A thread's rows of the left factor, or columns of the right one, at position p."""
    memory, base = source
    group = next(g for g in (4, 2, 1) if count % g == 0) if memory is None else 1
    if not rows:
        group = min(group, layout.group)
    loop = count > group
    number = "r" if loop else "0"
    if loop:
        k.line("#pragma unroll")
        k.line(f"for (int r = 0; r < {count}; r += {group}) {{")
    at = sum_of(layout.first_row(), number) if rows else layout.column(number)
    if memory is None:
        array, offset = base.split("@")
        index = sum_of(offset, f"p * {factor.pitch}", at)
        if group > 1:
            k.line(f"read_group<{group}>({array}, {index}, &{name}[{number}]);")
        else:
            k.line(f"{name}[{number}] = {array}[{index}];")
    else:
        _read_kept(k, factor, memory, at, sum_of(base, "p"), f"{name}[{number}]")
    if loop:
        k.line("}")


def _read_kept(
    k: KernelWriter, factor: Factor, memory: MemorySource, at: str, position: str, target: str
) -> None:
    """An element of a factor that is kept as a tile; 0 outside."""
    shape = k.placement.known_shape(factor.value)
    assert shape is not None
    others = [axis for axis in range(len(shape)) if axis != factor.contracted]
    count = times([shape[axis] for axis in others])
    point = ["0"] * len(shape)
    point[factor.contracted] = f"({position})" if "+" in position else position
    inner = 1
    for axis in reversed(others):
        text = f"({at})" if inner == 1 else f"({at}) / {inner}"
        point[axis] = text if axis == others[0] else f"{text} % {shape[axis]}"
        if "/" in point[axis] or "%" in point[axis]:
            point[axis] = f"({point[axis]})"
        inner *= shape[axis]
    extents = k.extents(factor.value)
    conditions = [f"{at} < {count}"] if factor.width > count else []
    for axis in others:
        if extents[axis] != shape[axis]:
            conditions.append(f"{point[axis]} < {extents[axis]}")
    read = factor.widened(f"{memory.name}[{memory.index(point)}]", memory.type)
    if conditions:
        k.line(f"{target} = 0;")
        k.line(f"if ({' && '.join(conditions)}) {target} = {read};")
    else:
        k.line(f"{target} = {read};")
