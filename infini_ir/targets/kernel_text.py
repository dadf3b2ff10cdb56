"""What a kernel does, as text: the name under which measurements of it are kept."""

from __future__ import annotations

from io import StringIO
from typing import Any

from xdsl.printer import Printer

from infini_ir.dialects import tile


def kernel_text(kernel: tile.KernelOp) -> str:
    """A kernel without its name, its origin and its plan."""
    plain: Any = kernel.clone()
    for name in ("plan", "origin"):
        plain.properties.pop(name, None)
    stream = StringIO()
    Printer(stream=stream).print_op(plain)
    return stream.getvalue().replace(f"@{kernel.sym_name.data}(", "@kernel(", 1)
