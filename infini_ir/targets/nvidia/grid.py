"""Programs: one launch axis, from which the positions along all grid axes follow.

The last axis goes fastest. Where the plan says so, the last two are walked in bands, so that
programs which run at one time share rows and columns in the L2 cache.
"""

from __future__ import annotations

from infini_ir.dialects import tile
from infini_ir.targets.nvidia.frame import Frame
from infini_ir.targets.nvidia.indices import NARROW
from infini_ir.targets.nvidia.values import Text, number_text
from infini_ir.utils.errors import CompileError
from infini_ir.utils.symbolic import PARAMETERS, Dim, product


def program_count(kernel: tile.KernelOp) -> Dim:
    """How many programs a launch has."""
    return product(_counts(kernel))


def _counts(kernel: tile.KernelOp) -> list[Dim]:
    return [
        bound.ceil_divide(step)
        for bound, step in zip(kernel.bounds.data, kernel.steps.data, strict=True)
    ]


def open_grid(f: Frame) -> None:
    """Compute the position of a program along each grid axis."""
    kernel, counts = f.kernel, _counts(f.kernel)
    for step in kernel.steps.data:
        if step.symbols() & set(PARAMETERS):
            raise CompileError(
                f"kernel '{kernel.sym_name.data}' has a grid step of {step}; run nvidia-plan"
            )
    single = [count.value == 1 for count in counts]
    if not all(single):
        walk = [axis for axis in range(len(counts)) if not single[axis]]
        _walk(f, walk, counts)
    for axis, offset in enumerate(kernel.offsets):
        if single[axis]:
            f.scalars[offset] = number_text(0, "int32")
        f.define_limits(offset)


def _walk(f: Frame, axes: list[int], counts: list[Dim]) -> None:
    program = "tl.program_id(0)"
    if len(axes) > 1:
        program = f.writer.name("program")
        f.writer.line(f"{program} = tl.program_id(0)")
    if f.plan.group > 1 and axes[-2:] == [len(counts) - 2, len(counts) - 1]:
        program = _band(f, program, axes, counts)
        axes = axes[:-2]
    for axis in reversed(axes):
        if axis == axes[0]:
            _position(f, axis, program)
            continue
        count = _count(f, counts[axis])
        _position(f, axis, f"{program} % {count}")
        program = f"{program} // {count}"
        if axis != axes[1]:
            rest = f.writer.name("program")
            f.writer.line(f"{rest} = {program}")
            program = rest


def _band(f: Frame, program: str, axes: list[int], counts: list[Dim]) -> str:
    """The last two axes in bands of `group` tiles along the first of them; what is left of
    the program's number for the axes before."""
    rows, columns = axes[-2:]
    row_count, column_count = _count(f, counts[rows]), _count(f, counts[columns])
    w = f.writer
    rest = program
    if len(axes) > 2:
        total, rest, inner = w.name("plane"), w.name("program"), w.name("program")
        w.line(f"{total} = {row_count} * {column_count}")
        w.line(f"{rest} = {program} // {total}")
        w.line(f"{inner} = {program} % {total}")
        program = inner
    group, first, height = f.plan.group, w.name("first"), w.name("height")
    place = w.name("place")
    w.line(f"{first} = {program} // ({group} * {column_count}) * {group}")
    w.line(f"{height} = tl.minimum({row_count} - {first}, {group})")
    w.line(f"{place} = {program} % ({group} * {column_count})")
    _position(f, rows, f"{first} + {place} % {height}")
    _position(f, columns, f"{place} // {height}")
    return rest


def _count(f: Frame, count: Dim) -> str:
    """How many steps an axis has, in 32 bits."""
    text = f.sizes.text(count)
    if text.literal:
        return text.text
    name = f.writer.name("count")
    value = text.text
    if text.type == "int64":
        value = text.to("int32")
    elif text.atom and value.startswith("("):
        value = value[1:-1]
    f.writer.line(f"{name} = {value}")
    return name


def _position(f: Frame, axis: int, number: str) -> None:
    """The first element of a program along an axis."""
    kernel = f.kernel
    offset, step = kernel.offsets[axis], kernel.steps.data[axis].value
    bound = kernel.bounds.data[axis]
    limit = f.sizes.bound(bound)
    name = f.name_for(offset, _axis_name(f, axis))
    type = "int32"
    if limit is None or limit >= NARROW:
        number, type = f"tl.cast({number}, tl.int64)", "int64"
    elif step != 1 and " " in number:
        number = f"({number})"
    f.writer.line(f"{name} = {number}" + (f" * {step}" if step != 1 else ""))
    f.scalars[offset] = Text(name, type, bound=limit, natural=True)


def _axis_name(f: Frame, axis: int) -> str:
    """A letter: rows and columns last, batches before."""
    letters = "bghmn"
    rank = f.kernel.grid_rank
    return letters[max(0, len(letters) - rank + axis)]
