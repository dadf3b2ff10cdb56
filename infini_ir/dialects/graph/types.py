"""The tensor type of the graph dialect, and element types as attributes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache

from xdsl.dialects import builtin
from xdsl.dialects.builtin import IntegerType, Signedness
from xdsl.ir import Attribute, ParametrizedAttribute, SSAValue, TypeAttribute
from xdsl.irdl import irdl_attr_definition, param_def
from xdsl.parser import AttrParser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException

from infini_ir.dialects.dims import DimsAttr, dim_list_text, parse_dim_list
from infini_ir.utils import dtypes
from infini_ir.utils.symbolic import Dim, product

_FLOATS: dict[str, type[Attribute]] = {
    "f16": builtin.Float16Type,
    "bf16": builtin.BFloat16Type,
    "f32": builtin.Float32Type,
    "f64": builtin.Float64Type,
    "f8E4M3FN": builtin.Float8E4M3FNType,
    "f8E4M3FNUZ": builtin.Float8E4M3FNUZType,
    "f8E5M2": builtin.Float8E5M2Type,
    "f8E5M2FNUZ": builtin.Float8E5M2FNUZType,
    "f8E8M0FNU": builtin.Float8E8M0FNUType,
    "f4E2M1FN": builtin.Float4E2M1FNType,
}


@cache
def element_type(name: str) -> Attribute:
    """The element type attribute called `name` (see `infini_ir.utils.dtypes`).

    Unsigned integers are `uiN`; signed ones are signless `iN`, as MLIR prints them.
    Raises `KeyError` for an unknown name.
    """
    if name in _FLOATS:
        return _FLOATS[name]()
    if name not in dtypes.NAMES:
        raise KeyError(name)
    if name.startswith("ui"):
        return IntegerType(int(name[2:]), Signedness.UNSIGNED)
    return IntegerType(int(name[1:]))


@cache
def _names() -> dict[Attribute, str]:
    return {element_type(name): name for name in dtypes.NAMES}


def element_name(element: Attribute) -> str:
    """The name of an element type attribute; `KeyError` for one the dialect lacks."""
    return _names()[element]


@irdl_attr_definition
class TensorType(ParametrizedAttribute, TypeAttribute):
    """
    A value with a shape of symbolic sizes and an element type:
    `!graph.tensor<[B, P + S, 64], f32>`.
    """

    name = "graph.tensor"

    dims: DimsAttr = param_def()
    element: Attribute = param_def()

    @staticmethod
    def of(shape: Iterable[int | str | Dim], element: str | Attribute) -> TensorType:
        """The tensor type of a shape and an element type or its name. Types are shared."""
        attribute = element_type(element) if isinstance(element, str) else element
        return _shared_type(tuple(Dim.of(dim) for dim in shape), attribute)

    @property
    def shape(self) -> tuple[Dim, ...]:
        return self.dims.data

    @property
    def rank(self) -> int:
        return len(self.dims.data)

    @property
    def dtype(self) -> str:
        """The element type's name, such as `f32` or `ui8`."""
        return element_name(self.element)

    def is_static(self) -> bool:
        return all(dim.is_constant for dim in self.shape)

    def static_shape(self) -> tuple[int, ...]:
        """The shape as integers; `ValueError` when a size is symbolic."""
        sizes = tuple(dim.value for dim in self.shape)
        if any(size is None for size in sizes):
            raise ValueError(f"{self} has a symbolic size")
        return sizes  # pyright: ignore[reportReturnType]

    def element_count(self) -> Dim:
        return product(self.shape)

    def with_shape(self, shape: Sequence[int | Dim]) -> TensorType:
        return TensorType.of(shape, self.element)

    def with_element(self, element: str | Attribute) -> TensorType:
        return TensorType.of(self.shape, element)

    def verify(self) -> None:
        if self.element not in _names():
            raise VerifyException(f"{self.element} is not an element type of the graph dialect")

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> Sequence[Attribute]:
        with parser.in_angle_brackets():
            dims = DimsAttr(parse_dim_list(parser))
            parser.parse_punctuation(",")
            return dims, parser.parse_type()

    def print_parameters(self, printer: Printer) -> None:
        printer.print_string(f"<{dim_list_text(self.shape)}, ")
        printer.print_attribute(self.element)
        printer.print_string(">")


@cache
def _shared_type(shape: tuple[Dim, ...], element: Attribute) -> TensorType:
    return TensorType(DimsAttr(shape), element)


def tensor_type(value: SSAValue) -> TensorType:
    """The type of a value that must be a tensor."""
    assert isinstance(value.type, TensorType), value.type
    return value.type


def is_tensor(value: SSAValue) -> bool:
    return isinstance(value.type, TensorType)
