"""What kernels of both kinds have: views, the loop over programs, the launch function."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from infini_ir.dialects import tile
from infini_ir.targets.ascend.writer import KernelWriter, c_type
from infini_ir.targets.c_project.expressions import c_comment, grid_axes, grid_size
from infini_ir.targets.c_project.signatures import KernelSignature
from infini_ir.utils.symbolic import ONE, Dim


def kernel_head(kernel: tile.KernelOp, signature: KernelSignature, kind: str) -> list[str]:
    """The lines before a kernel's views."""
    names = signature.symbol_names()
    arguments = [f"GM_ADDR {view}_address" for view in signature.views]
    arguments += [f"int64_t {names.symbol(symbol)}" for symbol in signature.symbols]
    origin = [f"// {c_comment(kernel.origin.data)}"] if kernel.origin is not None else []
    return [
        *origin,
        f'extern "C" __global__ __aicore__ void {signature.name}({", ".join(arguments)}) {{',
        f"  KERNEL_TASK_TYPE_DEFAULT({kind});",
        "  AscendC::TPipe pipe;",
    ]


def declare_views(kernel: tile.KernelOp, signature: KernelSignature, w: KernelWriter) -> None:
    """The global memory of each view, with its size where it is known from the sizes."""
    for view, name in zip(kernel.views, signature.views, strict=True):
        type = tile.view_type(view)
        kind = c_type(type.element)
        w.values[view] = name
        address = f"reinterpret_cast<__gm__ {kind}*>({name}_address)"
        w.line(f"AscendC::GlobalTensor<{kind}> {name};")
        span = _span(type)
        size = f", {w.names.expression(span)}" if span is not None else ""
        w.line(f"{name}.SetGlobalBuffer({address}{size});")


def _span(type: tile.ViewType) -> Dim | None:
    """Elements from a view's first to its last; None where some lie before the first."""
    if any(not stride.is_nonnegative() for stride in type.strides):
        return None
    if type.is_dense():
        return type.element_count()
    total = ONE
    for size, stride in zip(type.shape, type.strides, strict=True):
        total = total + (size - 1) * stride
    return total


@contextmanager
def program_loop(kernel: tile.KernelOp, w: KernelWriter) -> Iterator[None]:
    """The loop over the programs of this core, with the grid's offsets."""
    w.line(f"const int64_t programs = {w.names.expression(grid_size(kernel))};")
    head = (
        "for (int64_t program = AscendC::GetBlockIdx(); program < programs; "
        "program += AscendC::GetBlockNum())"
    )
    with w.block(head):
        _offsets(kernel, w)
        yield


def _offsets(kernel: tile.KernelOp, w: KernelWriter) -> None:
    """Where a program is on each axis of the grid, in elements."""
    axes = list(zip(kernel.offsets, grid_axes(kernel), kernel.steps.data, strict=True))
    after = ONE
    for place in range(len(axes) - 1, -1, -1):
        offset, count, step = axes[place]
        if count is ONE:
            w.values[offset] = "0"
            continue
        if offset.uses:
            text = "program" if after is ONE else f"program / {w.stride(after)}"
            if any(other is not ONE for _, other, _ in axes[:place]):
                text = f"{text} % {w.stride(count)}"
            if step is not ONE:
                text = f"{text} * {w.stride(step)}"
            w.line(f"const int64_t {w.name(offset, 'ijklmn'[place % 6])} = {text};")
        after = after * count


def launch_function(
    kernel: tile.KernelOp, signature: KernelSignature, *, cube: bool = False
) -> str:
    """What the host program calls: as many blocks as there are cores and programs."""
    names = signature.symbol_names()
    size = names.expression(grid_size(kernel))
    cores = "(cores + 1) / 2" if cube else "cores"
    arguments = [f"static_cast<uint8_t*>({view})" for view in signature.views]
    arguments += [names.symbol(symbol) for symbol in signature.symbols]
    call = ", ".join([signature.name, "blocks", "nullptr", "stream", *arguments])
    return "\n".join(
        [
            f"{signature.head()} {{",
            "  using host::floor_div, host::floor_mod, host::larger, host::smaller;",
            f"  const int64_t programs = {size};",
            "  if (programs <= 0) return;",
            f"  const int64_t blocks = smaller({cores}, programs);",
            f"  INFINI_LAUNCH({call});",
            "}",
        ]
    )
