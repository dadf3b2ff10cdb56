"""The text of one kernel while it is written: names, values, lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from xdsl.dialects.builtin import IndexType
from xdsl.ir import Attribute, SSAValue

from infini_ir.dialects import tile
from infini_ir.dialects.graph.types import element_name
from infini_ir.targets.c_project.expressions import Names, c_factor
from infini_ir.utils.errors import CompileError
from infini_ir.utils.symbolic import ONE, Dim

C_TYPES = {
    "f32": "float", "f16": "half", "bf16": "bfloat16_t", "i8": "int8_t", "i16": "int16_t",
    "i32": "int32_t", "i64": "int64_t", "f64": "int64_t", "i1": "int8_t", "ui8": "int8_t",
    "ui16": "int16_t", "ui32": "int32_t", "ui64": "int64_t",
}  # fmt: skip
"""How elements are held. Those without arithmetic of their own (f64, unsigned) are moved as
integers of their width; bools are bytes."""


RESERVED = (
    "pipe", "memory", "scratch", "program", "programs", "rest", "blocks", "half", "AscendC",
    "half_t", "bf16_t", "Order", "Kind", "Sync", "floor_div", "floor_mod", "smaller", "larger",
    "absolute", "with_sign", "magnitude", "quotient", "saturate", "infinity",
    "larger_but_nan", "smaller_but_nan",
)  # fmt: skip


def c_type(element: Attribute) -> str:
    """The C++ type of elements in memory. Raises `CompileError` for one that there is not."""
    name = "i64" if isinstance(element, IndexType) else element_name(element)
    if name not in C_TYPES:
        raise CompileError(
            f"Ascend kernels do not hold elements of {name}; cast the model to another type"
        )
    return C_TYPES[name]


@dataclass
class KernelWriter:
    """Lines of a kernel's body, and what its values are called."""

    kernel: str
    names: Names
    values: dict[SSAValue, str] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    indent: str = "  "
    scratch: bool = False
    """Whether some step wants the scratch memory."""

    def line(self, text: str) -> None:
        """Append a line."""
        self.lines.append(f"{self.indent}{text}")

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """A statement with a body in braces."""
        self.line(f"{head} {{")
        self.indent += "  "
        yield
        self.indent = self.indent[2:]
        self.line("}")

    def __getitem__(self, value: SSAValue) -> str:
        return self.values[value]

    def name(self, value: SSAValue, wish: str) -> str:
        """A new name for a value: its own hint where it has one."""
        hint = value.name_hint or wish
        self.values[value] = self.names.fresh(hint)
        return self.values[value]

    def scratch_memory(self) -> str:
        """The name of the scratch memory, which the kernel then has."""
        self.scratch = True
        return "scratch"

    def at(self, local: SSAValue, offset: SSAValue) -> str:
        """Local memory from an element on."""
        text = self[offset]
        return self[local] if text == "0" else f"{self[local]}[{text}]"

    def mask_at(self, local: SSAValue, offset: SSAValue) -> str:
        """A mask from a lane on, which is the first of a byte."""
        text = self[offset]
        if text.isdigit():
            return self[local] if text == "0" else f"{self[local]}[{int(text) // 8}]"
        return f"{self[local]}[{text} / 8]"

    def stride(self, dim: Dim) -> str:
        """A view's stride as a factor."""
        self.names.used |= dim.symbols()
        return c_factor(dim, self.names)

    def view_offset(self, view: SSAValue, offsets: Sequence[str]) -> str:
        """Where an element of a view lies, from its first, in elements."""
        terms: list[str] = []
        for text, stride in zip(offsets, tile.view_type(view).strides, strict=True):
            if text == "0" or stride.value == 0:
                continue
            terms.append(text if stride is ONE else f"{text} * {self.stride(stride)}")
        return " + ".join(terms) or "0"

    def global_at(self, view: SSAValue, offsets: Sequence[str]) -> str:
        """Global memory from an element of a view on."""
        text = self.view_offset(view, offsets)
        return self[view] if text == "0" else f"{self[view]}[{text}]"
