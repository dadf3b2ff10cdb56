"""What the host program knows of a kernel: its launch function."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr, ModuleOp
from xdsl.ir import Attribute, Operation, ParametrizedAttribute

from infini_ir.dialects import tile
from infini_ir.dialects.dims import DimsAttr
from infini_ir.targets.c_project.expressions import (
    Names,
    c_comment,
    c_identifier,
    plan_parameters,
)
from infini_ir.utils.symbolic import PARAMETERS, Dim

FIXED = ("stream", "cores")
"""Arguments that every launch function begins with."""


@dataclass(frozen=True)
class KernelSignature:
    """A kernel's launch function: pointers for its views, then integers for its symbols."""

    kernel: str
    """The kernel's name in the IR."""
    name: str
    """Its name in C++."""
    views: tuple[str, ...]
    """Names of the pointers, in order."""
    symbols: tuple[str, ...]
    """Symbols of the IR, in the order of the arguments."""
    reserved: tuple[str, ...] = ()
    """Names that the kernel uses for other things."""

    @staticmethod
    def of(kernel: tile.KernelOp, reserved: Iterable[str] = ()) -> KernelSignature:
        """The launch function of a kernel; its arguments are not called as in `reserved`."""
        reserved = tuple(reserved)
        names = Names.reserving([*FIXED, *reserved])
        symbols = kernel_symbols(kernel)
        for symbol in symbols:
            names.symbol(symbol)
        views = tuple(
            names.fresh(view.name_hint or f"v{number}")
            for number, view in enumerate(kernel.views)
        )
        name = kernel.sym_name.data
        return KernelSignature(name, c_identifier(name), views, symbols, reserved)

    @property
    def launch(self) -> str:
        """The launch function's name."""
        return f"launch_{self.name}"

    def symbol_names(self) -> Names:
        """A scope with the arguments' names, for expressions in the launch function and in
        the kernel."""
        names = Names.reserving([*FIXED, *self.reserved, *self.views])
        for symbol in self.symbols:
            names.symbol(symbol)
        return names

    def arguments(self) -> list[tuple[str, str]]:
        """Types and names of what follows the stream and the cores."""
        names = self.symbol_names()
        return [
            *(("void*", view) for view in self.views),
            *(("int64_t", names.symbol(symbol)) for symbol in self.symbols),
        ]

    def head(self) -> str:
        """The function's head, for its declaration and its definition."""
        given = [("infini::Stream", "stream"), ("int64_t", "cores"), *self.arguments()]
        arguments = ", ".join(f"{type} {name}" for type, name in given)
        return f'extern "C" void {self.launch}({arguments})'


def signatures_of(module: ModuleOp, reserved: Iterable[str] = ()) -> dict[str, KernelSignature]:
    """The launch functions of a module's kernels, by the kernel's name in the IR. No argument
    is called as in `reserved`, which are names that the kernels' text uses."""
    taken, signatures = Names(), {}
    for op in module.body.block.ops:
        if isinstance(op, tile.KernelOp):
            signature = KernelSignature.of(op, reserved)
            unique = replace(signature, name=taken.fresh(signature.name))
            signatures[signature.kernel] = unique
    return signatures


def kernels_header(module: ModuleOp, signatures: Mapping[str, KernelSignature]) -> str:
    """`kernels.h`: the launch functions that `model.cpp` calls."""
    lines = [
        "// What starts the kernels. Pointers are to device memory, at a view's first element;",
        "// `cores` is what device_cores says. Nothing is started where a grid is empty.",
        "#pragma once",
        "",
        "#include <cstdint>",
        "",
        '#include "device.h"',
    ]
    for op in module.body.block.ops:
        if isinstance(op, tile.KernelOp):
            origin = f"// {c_comment(op.origin.data)}\n" if op.origin is not None else ""
            head = signatures[op.sym_name.data].head()
            lines += ["", f"{origin}{head};"]
    return "\n".join([*lines, ""])


def kernel_symbols(kernel: tile.KernelOp) -> tuple[str, ...]:
    """The symbols that a planned kernel needs to know, sorted: those in the sizes of its views,
    in its grid and anywhere in its body. Parameters that its plan fixes are none."""
    known = plan_parameters(kernel)
    names: set[str] = set()
    for dim in _dims_of(kernel):
        names |= dim.substitute(known).symbols()
    return tuple(sorted(names - set(PARAMETERS)))


def _dims_of(kernel: tile.KernelOp) -> Iterator[Dim]:
    for argument in kernel.views:
        yield from _dims_in(argument.type)
    for op in kernel.walk():
        yield from _dims_of_operation(op)


def _dims_of_operation(op: Operation) -> Iterator[Dim]:
    for key, attribute in (*op.properties.items(), *op.attributes.items()):
        if key != "plan":
            yield from _dims_in(attribute)
    for result in op.results:
        yield from _dims_in(result.type)


def _dims_in(attribute: Attribute) -> Iterator[Dim]:
    """All sizes in an attribute or a type."""
    if isinstance(attribute, DimsAttr):
        yield from attribute.data
    elif isinstance(attribute, ArrayAttr):
        for inner in attribute.data:
            yield from _dims_in(inner)
    elif isinstance(attribute, DictionaryAttr):
        for inner in attribute.data.values():
            yield from _dims_in(inner)
    elif isinstance(attribute, ParametrizedAttribute):
        for inner in attribute.parameters:
            yield from _dims_in(inner)
