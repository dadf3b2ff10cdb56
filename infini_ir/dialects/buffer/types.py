"""Types and enumerations of the buffer dialect."""

from __future__ import annotations

from collections.abc import Sequence
from enum import auto

from xdsl.dialects.builtin import IntegerType
from xdsl.dialects.utils import EnumAttribute
from xdsl.ir import (
    Attribute,
    ParametrizedAttribute,
    SpacedOpaqueSyntaxAttribute,
    SSAValue,
    TypeAttribute,
)
from xdsl.irdl import irdl_attr_definition, param_def
from xdsl.parser import AttrParser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException
from xdsl.utils.str_enum import StrEnum

from infini_ir.dialects.dims import DimsAttr
from infini_ir.dialects.graph.types import element_name, element_type
from infini_ir.dialects.tile.types import scalar_of


class Space(StrEnum):
    """Memories of a core. `vector` is where vector instructions work; the others hold the
    operands (`left`, `right`), results (`accumulator`) and passing data (`stage`) of a
    matrix unit."""

    vector = auto()
    left = auto()
    right = auto()
    accumulator = auto()
    stage = auto()


@irdl_attr_definition
class SpaceAttr(EnumAttribute[Space], SpacedOpaqueSyntaxAttribute):
    """One memory of a core."""

    name = "buffer.space"


@irdl_attr_definition
class LocalType(ParametrizedAttribute, TypeAttribute):
    """
    Memory on the core: `!buffer.local<1024, f32, vector>`, flat, in elements.

    Elements are signless. `i1` makes a mask: the target chooses how a lane is held, and
    only compare, select and the mask instructions touch it. Bools as they lie in memory
    are bytes, `i8` of 0 and 1.
    """

    name = "buffer.local"

    size: DimsAttr = param_def()
    element: Attribute = param_def()
    space_attr: SpaceAttr = param_def()

    @staticmethod
    def of(count: int, element: str | Attribute, space: str = "vector") -> LocalType:
        attribute = element_type(element) if isinstance(element, str) else element
        return LocalType(DimsAttr.of([count]), attribute, SpaceAttr(Space(space)))

    @property
    def count(self) -> int:
        """Elements that it holds."""
        count = self.size.data[0].value
        assert count is not None, "checked by verify"
        return count

    @property
    def dtype(self) -> str:
        return element_name(self.element)

    @property
    def space(self) -> Space:
        return self.space_attr.data

    @property
    def is_mask(self) -> bool:
        return self.element == IntegerType(1)

    def verify(self) -> None:
        count = self.size.data[0].value
        if count is None or count < 1:
            raise VerifyException(f"local memory has a known size, not {self.size.data[0]}")
        if scalar_of(self.element) != self.element:
            raise VerifyException(f"elements of local memory are signless, not {self.element}")

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> Sequence[Attribute]:
        with parser.in_angle_brackets():
            count = parser.parse_integer(allow_boolean=False, allow_negative=False)
            parser.parse_punctuation(",")
            element = parser.parse_type()
            parser.parse_punctuation(",")
            space = parser.parse_str_enum(Space)
            return DimsAttr.of([count]), element, SpaceAttr(space)

    def print_parameters(self, printer: Printer) -> None:
        printer.print_string(f"<{self.size.data[0]}, ")
        printer.print_attribute(self.element)
        printer.print_string(f", {self.space.value}>")


class Pipe(StrEnum):
    """
    Units of a core that work at the same time, each doing its own instructions in order:
    copies from global memory, the vector unit, the scalar unit (which also issues all
    instructions), copies to global memory, and those of a matrix unit.
    """

    copy_in = auto()
    vector = auto()
    scalar = auto()
    copy_out = auto()
    matrix = auto()


@irdl_attr_definition
class PipeAttr(EnumAttribute[Pipe], SpacedOpaqueSyntaxAttribute):
    """One unit of a core."""

    name = "buffer.pipe"


class Queue(StrEnum):
    """
    Who fills and who empties the slots of a queue: `input` copy-in and vector, `output`
    vector and copy-out, `through` copy-in and copy-out.
    """

    input = auto()
    output = auto()
    through = auto()

    @property
    def producer(self) -> Pipe:
        return Pipe.vector if self is Queue.output else Pipe.copy_in

    @property
    def consumer(self) -> Pipe:
        return Pipe.vector if self is Queue.input else Pipe.copy_out


@irdl_attr_definition
class QueueAttr(EnumAttribute[Queue], SpacedOpaqueSyntaxAttribute):
    """Kind of a queue."""

    name = "buffer.queue"


class UnaryFunction(StrEnum):
    """Functions of `buffer.unary`."""

    exp = auto()
    ln = auto()
    sqrt = auto()
    rsqrt = auto()
    reciprocal = auto()
    abs = auto()
    neg = auto()
    relu = auto()
    floor = auto()
    ceil = auto()
    round_even = auto()
    trunc = auto()
    bit_not = auto()
    sin = auto()
    cos = auto()
    tanh = auto()
    erf = auto()
    sigmoid = auto()


@irdl_attr_definition
class UnaryFunctionAttr(EnumAttribute[UnaryFunction], SpacedOpaqueSyntaxAttribute):
    """Function of a `buffer.unary`."""

    name = "buffer.unary_function"


class BinaryFunction(StrEnum):
    """Functions of `buffer.binary` and `buffer.binary_scalar`."""

    add = auto()
    sub = auto()
    mul = auto()
    div = auto()
    max = auto()
    min = auto()
    bit_and = auto()
    bit_or = auto()
    bit_xor = auto()
    shift_left = auto()
    shift_right = auto()
    shift_right_unsigned = auto()


@irdl_attr_definition
class BinaryFunctionAttr(EnumAttribute[BinaryFunction], SpacedOpaqueSyntaxAttribute):
    """Function of a `buffer.binary`."""

    name = "buffer.binary_function"


class Comparison(StrEnum):
    """Relations of `buffer.compare`."""

    eq = auto()
    ne = auto()
    lt = auto()
    le = auto()
    gt = auto()
    ge = auto()


@irdl_attr_definition
class ComparisonAttr(EnumAttribute[Comparison], SpacedOpaqueSyntaxAttribute):
    """Relation of a `buffer.compare`."""

    name = "buffer.comparison"


class MaskFunction(StrEnum):
    """Functions of `buffer.mask_binary`."""

    bit_and = auto()
    bit_or = auto()
    bit_xor = auto()


@irdl_attr_definition
class MaskFunctionAttr(EnumAttribute[MaskFunction], SpacedOpaqueSyntaxAttribute):
    """Function of a `buffer.mask_binary`."""

    name = "buffer.mask_function"


class Rounding(StrEnum):
    """How a cast rounds: `exact` where every value is kept (or, between integers, the low
    bits are); else to nearest even, toward zero, down, up."""

    exact = auto()
    nearest_even = auto()
    trunc = auto()
    floor = auto()
    ceil = auto()


@irdl_attr_definition
class RoundingAttr(EnumAttribute[Rounding], SpacedOpaqueSyntaxAttribute):
    """Rounding of a `buffer.cast`."""

    name = "buffer.rounding"


def local_type(value: SSAValue) -> LocalType:
    """The type of a value that must be local memory."""
    assert isinstance(value.type, LocalType), value.type
    return value.type


BUFFER_ATTRIBUTES = (
    LocalType, SpaceAttr, PipeAttr, QueueAttr, UnaryFunctionAttr, BinaryFunctionAttr,
    ComparisonAttr, MaskFunctionAttr, RoundingAttr,
)  # fmt: skip
