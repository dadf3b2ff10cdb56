"""Elementwise operations: operands of one shape and one dtype, no broadcasting, no casting."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from enum import auto
from typing import ClassVar

from xdsl.dialects.builtin import UnitAttr
from xdsl.dialects.utils import EnumAttribute
from xdsl.ir import Attribute, Operation, SpacedOpaqueSyntaxAttribute, SSAValue
from xdsl.irdl import (
    VarConstraint,
    base,
    irdl_attr_definition,
    irdl_op_definition,
    operand_def,
    opt_prop_def,
    prop_def,
    result_def,
    traits_def,
)
from xdsl.traits import Commutative, Pure
from xdsl.utils.exceptions import VerifyException
from xdsl.utils.str_enum import StrEnum

from infini_ir.dialects.graph.base import GraphOp, check_same_shape, type_of
from infini_ir.dialects.graph.types import TensorType
from infini_ir.utils import dtypes


def _check_kind(op: Operation, dtype: str, kinds: Sequence[str]) -> None:
    """Whether the element type is of one of the kinds: float, integer, bool."""
    kind = "bool" if dtype == "i1" else "float" if dtypes.is_float(dtype) else "integer"
    if kind not in kinds:
        raise VerifyException(f"works on {' and '.join(kinds)} elements, not on {dtype}")
    if dtype in dtypes.STORAGE_ONLY:
        raise VerifyException(f"{dtype} only stores: cast before arithmetic")


class UnaryOp(GraphOp, abc.ABC):
    """`x -> T`, elementwise."""

    T: ClassVar = VarConstraint("T", base(TensorType))
    KINDS: ClassVar[tuple[str, ...]] = ("float",)

    x = operand_def(T)
    out = result_def(T)
    traits = traits_def(Pure())
    assembly_format = "$x attr-dict `:` type($out)"

    def __init__(self, x: SSAValue | Operation):
        super().__init__(operands=[x], result_types=[SSAValue.get(x).type])

    def infer(self) -> Sequence[TensorType]:
        return (type_of(self.x),)

    def verify_(self) -> None:
        _check_kind(self, type_of(self.x).dtype, self.KINDS)


class BinaryOp(GraphOp, abc.ABC):
    """`lhs, rhs -> T`, elementwise; both operands of the same type."""

    T: ClassVar = VarConstraint("T", base(TensorType))
    KINDS: ClassVar[tuple[str, ...]] = ("float", "integer")

    lhs = operand_def(T)
    rhs = operand_def(T)
    out = result_def(T)
    traits = traits_def(Pure())
    assembly_format = "$lhs `,` $rhs attr-dict `:` type($out)"

    def __init__(self, lhs: SSAValue | Operation, rhs: SSAValue | Operation):
        super().__init__(operands=[lhs, rhs], result_types=[SSAValue.get(lhs).type])

    def infer(self) -> Sequence[TensorType]:
        return (type_of(self.lhs),)

    def verify_(self) -> None:
        _check_kind(self, type_of(self.lhs).dtype, self.KINDS)


@irdl_op_definition
class NegOp(UnaryOp):
    """
    Negation; integers wrap.

        %y = graph.neg %x : !graph.tensor<[N], f32>
    """

    name = "graph.neg"
    KINDS: ClassVar[tuple[str, ...]] = ("float", "integer")


@irdl_op_definition
class AbsOp(UnaryOp):
    """
    Absolute value; the lowest integer stays itself.

        %y = graph.abs %x : !graph.tensor<[N], f32>
    """

    name = "graph.abs"
    KINDS: ClassVar[tuple[str, ...]] = ("float", "integer")


@irdl_op_definition
class FloorOp(UnaryOp):
    """
    Largest integer not above.

        %y = graph.floor %x : !graph.tensor<[N], f32>
    """

    name = "graph.floor"


@irdl_op_definition
class CeilOp(UnaryOp):
    """
    Smallest integer not below.

        %y = graph.ceil %x : !graph.tensor<[N], f32>
    """

    name = "graph.ceil"


@irdl_op_definition
class RoundOp(UnaryOp):
    """
    Nearest integer, halves to even.

        %y = graph.round %x : !graph.tensor<[N], f32>
    """

    name = "graph.round"


@irdl_op_definition
class SqrtOp(UnaryOp):
    """
    Square root; NaN below zero.

        %y = graph.sqrt %x : !graph.tensor<[N], f32>
    """

    name = "graph.sqrt"


@irdl_op_definition
class RsqrtOp(UnaryOp):
    """
    1 / sqrt(x).

        %y = graph.rsqrt %x : !graph.tensor<[N], f32>
    """

    name = "graph.rsqrt"


@irdl_op_definition
class ExpOp(UnaryOp):
    """
    e to the x.

        %y = graph.exp %x : !graph.tensor<[N], f32>
    """

    name = "graph.exp"


@irdl_op_definition
class Expm1Op(UnaryOp):
    """
    exp(x) - 1, accurate near zero.

        %y = graph.expm1 %x : !graph.tensor<[N], f32>
    """

    name = "graph.expm1"


@irdl_op_definition
class LogOp(UnaryOp):
    """
    Natural logarithm; -inf at 0, NaN below.

        %y = graph.log %x : !graph.tensor<[N], f32>
    """

    name = "graph.log"


@irdl_op_definition
class Log1pOp(UnaryOp):
    """
    log(1 + x), accurate near zero.

        %y = graph.log1p %x : !graph.tensor<[N], f32>
    """

    name = "graph.log1p"


@irdl_op_definition
class SinOp(UnaryOp):
    """
    Sine, in radians.

        %y = graph.sin %x : !graph.tensor<[N], f32>
    """

    name = "graph.sin"


@irdl_op_definition
class CosOp(UnaryOp):
    """
    Cosine, in radians.

        %y = graph.cos %x : !graph.tensor<[N], f32>
    """

    name = "graph.cos"


@irdl_op_definition
class TanOp(UnaryOp):
    """
    Tangent, in radians.

        %y = graph.tan %x : !graph.tensor<[N], f32>
    """

    name = "graph.tan"


@irdl_op_definition
class TanhOp(UnaryOp):
    """
    Hyperbolic tangent.

        %y = graph.tanh %x : !graph.tensor<[N], f32>
    """

    name = "graph.tanh"


@irdl_op_definition
class SigmoidOp(UnaryOp):
    """
    1 / (1 + exp(-x)).

        %y = graph.sigmoid %x : !graph.tensor<[N], f32>
    """

    name = "graph.sigmoid"


@irdl_op_definition
class ErfOp(UnaryOp):
    """
    Gauss error function.

        %y = graph.erf %x : !graph.tensor<[N], f32>
    """

    name = "graph.erf"


@irdl_op_definition
class NotOp(UnaryOp):
    """
    Logical negation of bools, bitwise negation of integers.

        %y = graph.not %x : !graph.tensor<[N], i1>
    """

    name = "graph.not"
    KINDS: ClassVar[tuple[str, ...]] = ("bool", "integer")


@irdl_op_definition
class AddOp(BinaryOp):
    """
    Sum; integers wrap.

        %y = graph.add %a, %b : !graph.tensor<[N], f32>
    """

    name = "graph.add"
    traits = traits_def(Pure(), Commutative())


@irdl_op_definition
class SubOp(BinaryOp):
    """
    Difference; integers wrap.

        %y = graph.sub %a, %b : !graph.tensor<[N], f32>
    """

    name = "graph.sub"


@irdl_op_definition
class MulOp(BinaryOp):
    """
    Product; integers wrap.

        %y = graph.mul %a, %b : !graph.tensor<[N], f32>
    """

    name = "graph.mul"
    traits = traits_def(Pure(), Commutative())


@irdl_op_definition
class DivOp(BinaryOp):
    """
    Quotient; integers truncate toward zero, x/0 = 0, lowest/-1 = lowest.

        %y = graph.div %a, %b : !graph.tensor<[N], f32>
    """

    name = "graph.div"


@irdl_op_definition
class RemOp(BinaryOp):
    """
    Remainder with the dividend's sign; integer x rem 0 = 0.

        %y = graph.rem %a, %b : !graph.tensor<[N], f32>
    """

    name = "graph.rem"


@irdl_op_definition
class PowOp(BinaryOp):
    """
    lhs to the rhs, as C99 pow; integer powers wrap, a negative one truncates.

        %y = graph.pow %a, %b : !graph.tensor<[N], f32>
    """

    name = "graph.pow"


@irdl_op_definition
class MaxOp(BinaryOp):
    """
    Larger of the two; NaN if either is NaN.

        %y = graph.max %a, %b : !graph.tensor<[N], f32>
    """

    name = "graph.max"
    KINDS: ClassVar[tuple[str, ...]] = ("float", "integer", "bool")
    traits = traits_def(Pure(), Commutative())


@irdl_op_definition
class MinOp(BinaryOp):
    """
    Smaller of the two; NaN if either is NaN.

        %y = graph.min %a, %b : !graph.tensor<[N], f32>
    """

    name = "graph.min"
    KINDS: ClassVar[tuple[str, ...]] = ("float", "integer", "bool")
    traits = traits_def(Pure(), Commutative())


@irdl_op_definition
class Atan2Op(BinaryOp):
    """
    Angle of the point (rhs, lhs) in radians, signed zeros as C99.

        %y = graph.atan2 %a, %b : !graph.tensor<[N], f32>
    """

    name = "graph.atan2"
    KINDS: ClassVar[tuple[str, ...]] = ("float",)


@irdl_op_definition
class AndOp(BinaryOp):
    """
    Logical and of bools, bitwise and of integers.

        %y = graph.and %a, %b : !graph.tensor<[N], i1>
    """

    name = "graph.and"
    KINDS: ClassVar[tuple[str, ...]] = ("bool", "integer")
    traits = traits_def(Pure(), Commutative())


@irdl_op_definition
class OrOp(BinaryOp):
    """
    Logical or of bools, bitwise or of integers.

        %y = graph.or %a, %b : !graph.tensor<[N], i1>
    """

    name = "graph.or"
    KINDS: ClassVar[tuple[str, ...]] = ("bool", "integer")
    traits = traits_def(Pure(), Commutative())


@irdl_op_definition
class XorOp(BinaryOp):
    """
    Exclusive or of bools, bitwise of integers.

        %y = graph.xor %a, %b : !graph.tensor<[N], i1>
    """

    name = "graph.xor"
    KINDS: ClassVar[tuple[str, ...]] = ("bool", "integer")
    traits = traits_def(Pure(), Commutative())


@irdl_op_definition
class ShlOp(BinaryOp):
    """
    Shift left; an amount outside [0, width) gives 0.

        %y = graph.shl %a, %b : !graph.tensor<[N], i32>
    """

    name = "graph.shl"
    KINDS: ClassVar[tuple[str, ...]] = ("integer",)


@irdl_op_definition
class ShrOp(BinaryOp):
    """
    Shift right, arithmetic for signed types; an amount outside [0, width) gives 0, or all sign bits for a signed type.

        %y = graph.shr %a, %b : !graph.tensor<[N], i32>
    """

    name = "graph.shr"
    KINDS: ClassVar[tuple[str, ...]] = ("integer",)


class Predicate(StrEnum):
    """Order relations; a NaN operand satisfies `ne` only."""

    eq = auto()
    ne = auto()
    lt = auto()
    le = auto()
    gt = auto()
    ge = auto()


@irdl_attr_definition
class PredicateAttr(EnumAttribute[Predicate], SpacedOpaqueSyntaxAttribute):
    """The relation of a `graph.compare`."""

    name = "graph.predicate"


@irdl_op_definition
class CompareOp(GraphOp):
    """
    Elementwise relation, giving bools.

        %c = graph.compare lt %a, %b : (T, T) -> !graph.tensor<[N], i1>
    """

    name = "graph.compare"
    predicate = prop_def(PredicateAttr)
    lhs = operand_def(TensorType)
    rhs = operand_def(TensorType)
    out = result_def(TensorType)
    traits = traits_def(Pure())
    assembly_format = (
        "$predicate $lhs `,` $rhs attr-dict `:` functional-type(operands, results)"
    )

    def __init__(self, predicate: str, lhs: SSAValue | Operation, rhs: SSAValue | Operation):
        super().__init__(
            operands=[lhs, rhs],
            properties={"predicate": PredicateAttr(Predicate(predicate))},
            result_types=[type_of(lhs).with_element("i1")],
        )

    def infer(self) -> Sequence[TensorType]:
        lhs, rhs = type_of(self.lhs), type_of(self.rhs)
        if lhs != rhs:
            raise VerifyException(f"operand types differ: {lhs} and {rhs}")
        return (lhs.with_element("i1"),)


@irdl_op_definition
class SelectOp(GraphOp):
    """
    Elementwise choice: `on_true` where the condition holds, else `on_false`.

        %y = graph.select %c, %a, %b : (!graph.tensor<[N], i1>, T, T) -> T
    """

    name = "graph.select"
    condition = operand_def(TensorType)
    on_true = operand_def(TensorType)
    on_false = operand_def(TensorType)
    out = result_def(TensorType)
    traits = traits_def(Pure())
    assembly_format = (
        "$condition `,` $on_true `,` $on_false attr-dict `:` functional-type(operands, results)"
    )

    def __init__(
        self,
        condition: SSAValue | Operation,
        on_true: SSAValue | Operation,
        on_false: SSAValue | Operation,
    ):
        super().__init__(
            operands=[condition, on_true, on_false], result_types=[type_of(on_true)]
        )

    def infer(self) -> Sequence[TensorType]:
        condition, on_true, on_false = self.tensor_types()
        if on_true != on_false:
            raise VerifyException(f"the choices' types differ: {on_true} and {on_false}")
        if condition.dtype != "i1":
            raise VerifyException(f"the condition has elements of {condition.dtype}, not i1")
        check_same_shape(condition, on_true)
        return (on_true,)


class Rounding(StrEnum):
    """How a cast to a narrower float rounds."""

    nearest = auto()
    up = auto()
    down = auto()


@irdl_attr_definition
class RoundingAttr(EnumAttribute[Rounding], SpacedOpaqueSyntaxAttribute):
    """Rounding of a `graph.cast`."""

    name = "graph.rounding"


@irdl_op_definition
class CastOp(GraphOp):
    """
    Conversion to another element type.

    Float to integer truncates and saturates, NaN becomes 0. Integer to narrower integer
    wraps. To bool: nonzero (NaN included). To a float: round half to even, unless
    `rounding` (f8E8M0FNU only) says otherwise; to an f8 type out-of-range values become
    the largest finite value when `saturate`, else infinity or NaN.

        %y = graph.cast %x {saturate} : (!graph.tensor<[N], f32>) -> !graph.tensor<[N], i8>
    """

    name = "graph.cast"
    x = operand_def(TensorType)
    out = result_def(TensorType)
    saturate = opt_prop_def(UnitAttr)
    rounding = opt_prop_def(RoundingAttr)
    traits = traits_def(Pure())
    assembly_format = (
        "$x (`saturate` $saturate^)? (`rounding` $rounding^)? attr-dict `:` "
        "functional-type(operands, results)"
    )

    def __init__(
        self,
        x: SSAValue | Operation,
        element: str | Attribute,
        *,
        saturate: bool = True,
        rounding: str | None = None,
    ):
        super().__init__(
            operands=[x],
            properties={
                "saturate": UnitAttr() if saturate else None,
                "rounding": RoundingAttr(Rounding(rounding)) if rounding else None,
            },
            result_types=[type_of(x).with_element(element)],
        )

    def infer(self) -> Sequence[TensorType]:
        return (type_of(self.x).with_element(type_of(self.out).element),)


@irdl_op_definition
class BitcastOp(GraphOp):
    """
    The same bits as another element type of the same width.

        %y = graph.bitcast %x : (!graph.tensor<[N], f32>) -> !graph.tensor<[N], ui32>
    """

    name = "graph.bitcast"
    x = operand_def(TensorType)
    out = result_def(TensorType)
    traits = traits_def(Pure())
    assembly_format = "$x attr-dict `:` functional-type(operands, results)"

    def __init__(self, x: SSAValue | Operation, element: str | Attribute):
        super().__init__(operands=[x], result_types=[type_of(x).with_element(element)])

    def infer(self) -> Sequence[TensorType]:
        x, out = type_of(self.x), type_of(self.out)
        if dtypes.item_size(x.dtype) != dtypes.item_size(out.dtype):
            raise VerifyException(f"{x.dtype} and {out.dtype} have different widths")
        return (x.with_element(out.element),)


UNARY_OPS: tuple[type[UnaryOp], ...] = (
    NegOp, AbsOp, FloorOp, CeilOp, RoundOp, SqrtOp, RsqrtOp, ExpOp, Expm1Op, LogOp, Log1pOp,
    SinOp, CosOp, TanOp, TanhOp, SigmoidOp, ErfOp, NotOp,
)  # fmt: skip
BINARY_OPS: tuple[type[BinaryOp], ...] = (
    AddOp, SubOp, MulOp, DivOp, RemOp, PowOp, MaxOp, MinOp, Atan2Op, AndOp, OrOp, XorOp, ShlOp, ShrOp,
)  # fmt: skip
ELEMENTWISE_OPS: tuple[type[GraphOp], ...] = (
    *UNARY_OPS, *BINARY_OPS, CompareOp, SelectOp, CastOp, BitcastOp,
)  # fmt: skip
