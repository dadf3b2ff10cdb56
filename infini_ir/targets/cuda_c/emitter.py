"""Kernels as text: the function that runs on the device, and the one that launches it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from infini_ir.dialects import tile
from infini_ir.targets.c_project.expressions import c_comment, c_expression, grid_axes
from infini_ir.targets.cuda_c import operations
from infini_ir.targets.cuda_c.barriers import check_barriers, insert_barriers
from infini_ir.targets.cuda_c.limits import LIMITS
from infini_ir.targets.cuda_c.plan import Plan
from infini_ir.targets.cuda_c.scalars import memory_type, scalar_type
from infini_ir.targets.cuda_c.statements import text, without_unused
from infini_ir.targets.cuda_c.storing import barrier_text
from infini_ir.targets.cuda_c.writer import KernelWriter
from infini_ir.utils.errors import CompileError
from infini_ir.utils.symbolic import Dim, product


@dataclass(frozen=True)
class Written:
    """A kernel's text, and what it takes."""

    text: str
    shared_bytes: int
    registers: int


def write_kernel(kernel: tile.KernelOp, plan: Plan) -> Written:
    """
    The kernel function and the launch function of a kernel, with a plan.

    Raises `CompileError` where it takes more than there is.
    """
    planned = kernel.clone()
    planned.properties["plan"] = plan.attribute()
    k = KernelWriter(planned, plan)
    counts = _program(k)
    operations.block(k, planned.body.block)
    insert_barriers(k.nodes)
    check_barriers(k.nodes)
    if k.registers > LIMITS.registers:
        raise CompileError(
            f"kernel '{k.name}' keeps {k.registers} registers' worth of values in a thread, "
            f"more than {LIMITS.registers}; give it smaller tiles or more threads"
        )
    body = _body(k)
    symbols = _symbols(k, body)
    lines = [*_function(k, body, symbols), "", *_launch(k, counts, symbols)]
    return Written("\n".join(lines) + "\n", k.shared_bytes(), k.registers)


def _program(k: KernelWriter) -> list[Dim]:
    """The scalars that say where a program stands; returns the axes of the grid."""
    counts = list(grid_axes(k.kernel))
    rest = "program"
    for axis in reversed(range(len(counts))):
        offset, count = k.kernel.offsets[axis], counts[axis]
        step = k.known(k.kernel.steps.data[axis])
        first = all(c.value == 1 for c in counts[:axis])
        if count.value == 1:
            k.scalars[offset] = "0"
        else:
            number = rest if first else f"{rest} % {_factor(k, count)}"
            scale = k.size(step)
            text = number if scale == 1 else f"({number}) * {scale}"
            if scale != 1 and number == rest and number.isidentifier():
                text = f"{number} * {scale}"
            wish = offset.name_hint or "ijlmopq"[axis % 7]
            k.scalars[offset] = k.define(wish, "index_t", text)
            if not first:
                rest = f"({rest} / {_factor(k, count)})"
        k.bounds[offset] = (k.known(k.kernel.bounds.data[axis]), step)
    return counts


def _factor(k: KernelWriter, dim: Dim) -> str:
    return str(k.size(dim))


def _views(k: KernelWriter) -> list[tuple[str, str]]:
    """The kernel's pointers: types and names."""
    written = k.kernel.written()
    result = []
    for number, (view, name) in enumerate(zip(k.kernel.views, k.signature.views, strict=True)):
        element = memory_type(tile.view_type(view).element)
        constant = "" if number in written else "const "
        result.append((f"Global<{constant}{element}>", name))
    return result


def index_type(kernel: tile.KernelOp, plan: Plan) -> str:
    """The C++ type of positions: 32 bits where all sizes are known and allow it."""
    known = plan.substitution
    for view in kernel.views:
        type = tile.view_type(view)
        reach = 0
        for size, stride in zip(type.shape, type.strides, strict=True):
            n, s = size.substitute(known).value, stride.substitute(known).value
            if n is None or s is None:
                return "int64_t"
            reach += max(n - 1, 0) * abs(s)
        if reach >= 1 << 30:
            return "int64_t"
    bounds = [dim.substitute(known).value for dim in kernel.bounds.data]
    if any(b is None or b >= 1 << 30 for b in bounds):
        return "int64_t"
    for op in kernel.body.walk():
        if isinstance(op, tile.SizeOp) and op.dim.substitute(known).value is None:
            return "int64_t"
        if op.name == "arith.index_cast" and scalar_type(op.operands[0].type) == "int64_t":
            return "int64_t"
        if isinstance(op, tile.ForOp) and op.step_size.substitute(known).value is None:
            return "int64_t"
    return "int"


def _body(k: KernelWriter) -> list[str]:
    """The lines of the kernel function between its braces."""
    lines = []
    for array in k.shared:
        count = array.count * k.plan.programs
        lines.append(f"  __shared__ Shared<{array.type}, {count}> {array.name};")
    lines += _identity(k)
    lines = without_unused([*lines, *text(k.nodes, barrier_text(k))])
    if any("index_t" in line for line in lines):
        lines.insert(0, f"  using index_t = {index_type(k.kernel, k.plan)};")
    return lines


def _symbols(k: KernelWriter, body: Sequence[str]) -> list[str]:
    """The sizes that the kernel function is given: those that it names."""
    words = set(re.findall(r"\w+", "\n".join(body)))
    names = [k.names.symbol(symbol) for symbol in k.signature.symbols]
    return [name for name in names if name in words]


def _function(k: KernelWriter, body: Sequence[str], symbols: Sequence[str]) -> list[str]:
    arguments = [f"{type} {name}" for type, name in _views(k)]
    arguments += [f"int64_t {name}" for name in symbols]
    if k.plan.programs > 1:
        arguments.append("int64_t programs")
    words = set(re.findall(r"\w+", "\n".join(body)))
    unread = [name for _, name in _views(k) if name not in words]
    return [
        *_comment(k),
        f"__global__ void __launch_bounds__({k.plan.threads})",
        f"{k.signature.name}({', '.join(arguments)}) {{",
        *[f"  (void){name};  // has no elements" for name in unread],
        *body,
        "}",
    ]


def _identity(k: KernelWriter) -> list[str]:
    """Which program and which of its threads this is."""
    plan = k.plan
    if plan.programs == 1:
        lines = ["  const int thread = threadIdx.x;"] if plan.lanes > 1 else []
        return [*lines, "  const index_t program = blockIdx.x;"]
    lines = []
    if plan.lanes > 1:
        lines.append(f"  const int thread = threadIdx.x % {plan.lanes};")
        lines.append(f"  const int group = threadIdx.x / {plan.lanes};")
    else:
        lines.append("  const int thread = 0;")
        lines.append("  const int group = threadIdx.x;")
    lines.append(
        f"  const index_t program = static_cast<index_t>(blockIdx.x) * {plan.programs} + group;"
    )
    lines.append("  if (program >= programs) return;")
    return lines


def _comment(k: KernelWriter) -> list[str]:
    lines = []
    if k.kernel.origin is not None:
        lines.append(f"// From {c_comment(k.kernel.origin.data)}.")
    if k.plan.reason:
        lines.append(f"// Plan: {c_comment(k.plan.reason)}.")
    return lines


def _launch(k: KernelWriter, counts: Sequence[Dim], symbols: Sequence[str]) -> list[str]:
    """The function that the host program calls."""
    plan, names = k.plan, k.signature.symbol_names()
    programs = c_expression(product(counts) if counts else Dim.of(1), names)
    given = [f"{type}({name})" for type, name in _views(k)]
    given += symbols
    if plan.programs > 1:
        given.append("programs")
    blocks = (
        "programs"
        if plan.programs == 1
        else f"(programs + {plan.programs - 1}) / {plan.programs}"
    )
    lines = [
        f"  const int64_t programs = {programs};",
        "  if (programs <= 0) return;",
        f"  INFINI_LAUNCH({k.signature.name}, grid_of({blocks}), {plan.threads}, stream_of(stream),",
        f"                {', '.join(given)});",
    ]
    words = set(re.findall(r"\w+", "\n".join(lines)))
    all_symbols = [k.names.symbol(symbol) for symbol in k.signature.symbols]
    unused = [name for name in ("cores", *all_symbols) if name not in words]
    ignored = "".join(f"(void){name}; " for name in unused).rstrip()
    return [k.signature.head() + " {", f"  {ignored}", *lines, "}"]
