"""Whether an operator's inputs and attributes have types that the ONNX standard lets them have."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import onnx
from onnx import AttributeProto, TensorProto
from xdsl.ir import SSAValue

from infini_ir.dialects.graph.types import TensorType
from infini_ir.frontends.onnx.tensors import ONNX_DTYPES
from infini_ir.frontends.onnx.values import Initializer

if TYPE_CHECKING:
    from infini_ir.frontends.onnx.node import Node


_FLOATS = ("f32", "f64", "f16", "bf16")
_INTEGERS = ((("i8", "i16"), ("i32", "i64")), (("ui8", "ui16"), ("ui32", "ui64")))
"""Narrow ones, and those that an operator for numbers in general has of their kind."""


@dataclass(frozen=True)
class _Formal:
    """One input of an operator's definition."""

    variable: str
    """What stands for its type there: inputs with the same one have the same type."""
    allowed: frozenset[str]
    variadic: bool
    alike: bool
    """Whether all that a variadic input takes have one type."""


def check_operand_types(node: Node) -> None:
    """Refuse inputs of types that the operator cannot have, or that must be one and differ.

    Types that a later version of the standard lets it have are accepted, since it only adds
    some, any width of float where one is, and any of integers where the two largest are; any type
    at all where complex numbers are, since such an operator only moves elements.
    """
    formals = _formals(node.domain, node.op_type, node.opset)
    known: dict[str, tuple[int, str]] = {}
    for i in range(node.count):
        if not formals:
            return
        formal = formals[min(i, len(formals) - 1)]
        if i >= len(formals) and not formal.variadic:
            raise node.error(f"{node.op_type} takes {len(formals)} inputs, not {node.count}")
        dtype = _dtype(node, i)
        if dtype is None:
            continue
        if not _fits(dtype, formal.allowed):
            raise node.error(f"{node.op_type} takes no {dtype} as input {i}")
        if formal.variadic and not formal.alike:
            continue
        first, other = known.setdefault(formal.variable, (i, dtype))
        if other != dtype and not formal.variable.startswith("Tind"):
            raise node.error(
                f"inputs {first} and {i} of {node.op_type} must have one type, but are "
                f"{other} and {dtype}; insert a Cast"
            )


def check_attribute_types(node: Node) -> None:
    """Refuse attributes of another type than the operator's definition gives them."""
    wanted = _attributes(node.domain, node.op_type, node.opset)
    for name, proto in node.attribute_protos().items():
        kind = wanted.get(name)
        if proto is not None and kind is not None and proto.type not in (kind, 0):
            texts = [AttributeProto.AttributeType.Name(code) for code in (proto.type, kind)]
            raise node.error(f"attribute '{name}' is of type {texts[0]}, not {texts[1]}")


@cache
def _attributes(domain: str, name: str, opset: int) -> dict[str, int]:
    """The types of an operator's attributes; those of which the standard says nothing lack."""
    try:
        schema: Any = onnx.defs.get_schema(name, opset, domain)
    except onnx.defs.SchemaError:
        return {}
    return {key: int(value.type.value) for key, value in schema.attributes.items()}


def _fits(dtype: str, allowed: frozenset[str]) -> bool:
    if "tensor(complex128)" in allowed:
        return True
    if f"tensor({_standard_name(dtype)})" in allowed:
        return True
    if dtype in _FLOATS:
        return any(f"tensor({_standard_name(width)})" in allowed for width in _FLOATS)
    for widths, largest in _INTEGERS:
        if dtype in widths:
            return all(f"tensor({_standard_name(width)})" in allowed for width in largest)
    return False


def _dtype(node: Node, i: int) -> str | None:
    """The element type of an input that is a tensor and already known."""
    if not node.has(i):
        return None
    entry = node.scope.find(node.inputs[i])
    if isinstance(entry, Initializer):
        return entry.dtype or None
    if isinstance(entry, SSAValue) and isinstance(entry.type, TensorType):
        return entry.type.dtype
    return None


@cache
def _standard_name(dtype: str) -> str:
    return TensorProto.DataType.Name(ONNX_DTYPES[dtype]).lower()


@cache
def _formals(domain: str, name: str, opset: int) -> tuple[_Formal, ...]:
    """The inputs of an operator's definition; none where the standard does not have it."""
    try:
        schema: Any = onnx.defs.get_schema(name, opset, domain)
    except onnx.defs.SchemaError:
        return ()
    newest: Any = onnx.defs.get_schema(name, domain=domain)
    later = {formal.name: formal.types for formal in newest.inputs}
    variadic = onnx.defs.OpSchema.FormalParameterOption.Variadic
    return tuple(
        _Formal(
            formal.type_str,
            frozenset(formal.types) | frozenset(later.get(formal.name, ())),
            formal.option == variadic,
            formal.is_homogeneous,
        )
        for formal in schema.inputs
    )
