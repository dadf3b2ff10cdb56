"""Quantisation as operations: to integers by a scale and a zero point, back, and products of integers."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import IntegerAttr, i64
from xdsl.irdl import (
    AttrSizedOperandSegments,
    irdl_op_definition,
    operand_def,
    opt_operand_def,
    opt_prop_def,
    result_def,
    traits_def,
)
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException

from infini_ir.dialects.graph.base import (
    OPERANDS_FORMAT,
    GraphOp,
    Value,
    check_axis,
    optional_operands,
    type_of,
)
from infini_ir.dialects.graph.types import TensorType
from infini_ir.utils.symbolic import ONE


def _check_scales(x: TensorType, scale: TensorType, axis: int | None, block: int) -> None:
    """Scales are a scalar, one an element of `axis`, or one a block along `axis`."""
    if axis is None:
        fits = scale.rank == 0
    elif block:
        check_axis(axis, x.rank)
        fits = scale.rank == x.rank and all(
            given is wanted or given is ONE or i == axis
            for i, (given, wanted) in enumerate(zip(scale.shape, x.shape, strict=True))
        )
    else:
        check_axis(axis, x.rank)
        fits = scale.shape == (x.shape[axis],)
    if not fits:
        raise VerifyException(f"scale {scale} does not fit {x}")


@irdl_op_definition
class QuantizeOp(GraphOp):
    """
    saturate(round(x / scale) + zero): halves to even, then the zero point, then saturation.
    The scale is a scalar, one an element of `axis`, or with `block` one for so many
    neighbours along `axis` (the scale has the rank of x, and its other sizes or 1). The
    quotient is in f32 (f64 for f64). To a float type only the cast rounds.

        %q = graph.quantize %x, %s zero %z axis 1 : (...) -> !graph.tensor<[N, C], i8>
    """

    name = "graph.quantize"
    x = operand_def(TensorType)
    scale = operand_def(TensorType)
    zero = opt_operand_def(TensorType)
    axis = opt_prop_def(IntegerAttr.constr(i64))
    block = opt_prop_def(IntegerAttr.constr(i64))
    out = result_def(TensorType)
    traits = traits_def(Pure())
    assembly_format = (
        "$x `,` $scale (`zero` $zero^)? (`axis` $axis^)? (`block` $block^)?" + OPERANDS_FORMAT
    )

    def __init__(
        self,
        x: Value,
        scale: Value,
        zero: Value | None,
        dtype: str,
        *,
        axis: int | None = None,
        block: int = 0,
    ):
        super().__init__(
            operands=optional_operands(x, scale, zero),
            properties=_quantize_properties(axis, block),
            result_types=[type_of(x).with_element(dtype)],
        )

    def infer(self) -> Sequence[TensorType]:
        x, out = type_of(self.x), type_of(self.out)
        axis = None if self.axis is None else self.axis.value.data
        _check_scales(x, type_of(self.scale), axis, self.block.value.data if self.block else 0)
        return (x.with_element(out.element),)


def _quantize_properties(axis: int | None, block: int) -> dict[str, IntegerAttr | None]:
    return {
        "axis": None if axis is None else IntegerAttr(axis, i64),
        "block": IntegerAttr(block, i64) if block else None,
    }


@irdl_op_definition
class DequantizeOp(GraphOp):
    """
    (x - zero) * scale, the difference of integers in i32; scale and zero as in `quantize`.

        %y = graph.dequantize %q, %s zero %z : (...) -> !graph.tensor<[N, C], f32>
    """

    name = "graph.dequantize"
    x = operand_def(TensorType)
    scale = operand_def(TensorType)
    zero = opt_operand_def(TensorType)
    axis = opt_prop_def(IntegerAttr.constr(i64))
    block = opt_prop_def(IntegerAttr.constr(i64))
    out = result_def(TensorType)
    traits = traits_def(Pure())
    assembly_format = (
        "$x `,` $scale (`zero` $zero^)? (`axis` $axis^)? (`block` $block^)?" + OPERANDS_FORMAT
    )

    def __init__(
        self,
        x: Value,
        scale: Value,
        zero: Value | None = None,
        *,
        axis: int | None = None,
        block: int = 0,
        dtype: str | None = None,
    ):
        element = dtype if dtype else type_of(scale).element
        super().__init__(
            operands=optional_operands(x, scale, zero),
            properties=_quantize_properties(axis, block),
            result_types=[type_of(x).with_element(element)],
        )

    def infer(self) -> Sequence[TensorType]:
        x, out = type_of(self.x), type_of(self.out)
        axis = None if self.axis is None else self.axis.value.data
        _check_scales(x, type_of(self.scale), axis, self.block.value.data if self.block else 0)
        return (x.with_element(out.element),)


@irdl_op_definition
class QuantizedMatmulOp(GraphOp):
    """
    (a - a_zero) (b - b_zero) in integers: a: [.., M, K] and b: [.., K, N] of 8-bit integers,
    accumulated in i32; a_zero: scalar or [M]; b_zero: scalar or [N].

        %y = graph.quantized_matmul %a, %b a_zero %z : Z : A, B -> !graph.tensor<[M, N], i32>
    """

    name = "graph.quantized_matmul"
    a = operand_def(TensorType)
    b = operand_def(TensorType)
    a_zero = opt_operand_def(TensorType)
    b_zero = opt_operand_def(TensorType)
    out = result_def(TensorType)
    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    traits = traits_def(Pure())
    assembly_format = (
        "$a `,` $b (`a_zero` $a_zero^ `:` type($a_zero))? (`b_zero` $b_zero^ `:` type($b_zero))? "
        "attr-dict `:` type($a) `,` type($b) `->` type($out)"
    )

    def __init__(
        self, a: Value, b: Value, a_zero: Value | None = None, b_zero: Value | None = None
    ):
        super().__init__(
            operands=optional_operands(a, b, a_zero, b_zero),
            result_types=[_quantized_product(type_of(a), type_of(b))],
        )

    def infer(self) -> Sequence[TensorType]:
        return (_quantized_product(type_of(self.a), type_of(self.b)),)


def _quantized_product(a: TensorType, b: TensorType) -> TensorType:
    if a.rank < 2 or a.rank != b.rank or a.shape[-1] is not b.shape[-2]:
        raise VerifyException(f"{a} and {b} do not multiply")
    if a.shape[:-2] != b.shape[:-2]:
        raise VerifyException(f"batch axes of {a} and {b} differ")
    return TensorType.of([*a.shape[:-1], b.shape[-1]], "i32")


QUANTIZATION_OPS: tuple[type[GraphOp], ...] = (QuantizeOp, DequantizeOp, QuantizedMatmulOp)
