"""Composite operations: kept whole until lowering, each defined by primitives.

`infini_ir.passes.graph.expand_composites` holds the definitions. In f16 and bf16 they
compute in f32 and round once.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import FloatAttr, IntegerAttr, UnitAttr, f64, i64
from xdsl.ir import SSAValue
from xdsl.irdl import (
    AttrSizedOperandSegments,
    irdl_op_definition,
    operand_def,
    opt_operand_def,
    opt_prop_def,
    prop_def,
    result_def,
    traits_def,
)
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException

from infini_ir.dialects.graph.base import (
    F64,
    OPERANDS_FORMAT,
    GraphOp,
    Value,
    check_axis,
    flag,
    optional_operands,
    type_of,
)
from infini_ir.dialects.graph.types import TensorType
from infini_ir.utils.symbolic import ONE, Dim


@irdl_op_definition
class SoftmaxOp(GraphOp):
    """
    exp(x - max) / sum(exp(x - max)) along an axis, or with `log` its logarithm.

        %y = graph.softmax %x axis 1 : (!graph.tensor<[B, S], f32>) -> !graph.tensor<[B, S], f32>
    """

    name = "graph.softmax"
    x = operand_def(TensorType)
    axis = prop_def(IntegerAttr.constr(i64))
    log = opt_prop_def(UnitAttr)
    out = result_def(TensorType)
    traits = traits_def(Pure())
    assembly_format = "$x `axis` $axis (`log` $log^)?" + OPERANDS_FORMAT

    def __init__(self, x: Value, axis: int, *, log: bool = False):
        super().__init__(
            operands=[x],
            properties={"axis": IntegerAttr(axis, i64), "log": flag(log)},
            result_types=[type_of(x)],
        )

    def infer(self) -> Sequence[TensorType]:
        check_axis(self.axis.value.data, type_of(self.x).rank)
        return (type_of(self.x),)


def _check_affine(x: TensorType, axis: int, *parameters: SSAValue | None) -> None:
    check_axis(axis, x.rank)
    wanted = x.with_shape(x.shape[axis:])
    for parameter in parameters:
        if parameter is not None and type_of(parameter) != wanted:
            raise VerifyException(f"scale and bias are {wanted}, not {parameter.type}")


@irdl_op_definition
class LayerNormOp(GraphOp):
    """
    (x - mean) / sqrt(variance + epsilon) over the axes from `axis` on, times scale, plus
    bias (both of the shape of those axes). Also gives the mean and 1/std, in f32 (f64 for
    f64), the normalised axes kept with size 1.

        %y, %m, %r = graph.layer_norm %x scale %s : S bias %b : S axis 2 epsilon 1e-05 : X -> X, M, M
    """

    name = "graph.layer_norm"
    x = operand_def(TensorType)
    scale = opt_operand_def(TensorType)
    bias = opt_operand_def(TensorType)
    axis = prop_def(IntegerAttr.constr(i64))
    epsilon = prop_def(F64)
    out = result_def(TensorType)
    mean = result_def(TensorType)
    inverse_std = result_def(TensorType)
    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    traits = traits_def(Pure())
    assembly_format = (
        "$x (`scale` $scale^ `:` type($scale))? (`bias` $bias^ `:` type($bias))? `axis` $axis "
        "`epsilon` $epsilon attr-dict `:` type($x) `->` type($out) `,` type($mean) `,` type($inverse_std)"
    )

    def __init__(
        self, x: Value, scale: Value | None, bias: Value | None, axis: int, epsilon: float
    ):
        statistics = _statistics_type(type_of(x), axis)
        super().__init__(
            operands=optional_operands(x, scale, bias),
            properties={"axis": IntegerAttr(axis, i64), "epsilon": FloatAttr(epsilon, f64)},
            result_types=[type_of(x), statistics, statistics],
        )

    def infer(self) -> Sequence[TensorType]:
        x, axis = type_of(self.x), self.axis.value.data
        _check_affine(x, axis, self.scale, self.bias)
        return (x, _statistics_type(x, axis), _statistics_type(x, axis))


def _statistics_type(x: TensorType, axis: int) -> TensorType:
    shape = [ONE if i >= axis else d for i, d in enumerate(x.shape)]
    return TensorType.of(shape, "f64" if x.dtype == "f64" else "f32")


@irdl_op_definition
class RmsNormOp(GraphOp):
    """
    x / sqrt(mean(x * x) + epsilon) over the axes from `axis` on, times scale.

        %y = graph.rms_norm %x scale %s axis 2 epsilon 1e-05 : (...) -> ...
    """

    name = "graph.rms_norm"
    x = operand_def(TensorType)
    scale = opt_operand_def(TensorType)
    axis = prop_def(IntegerAttr.constr(i64))
    epsilon = prop_def(F64)
    out = result_def(TensorType)
    traits = traits_def(Pure())
    assembly_format = "$x (`scale` $scale^)? `axis` $axis `epsilon` $epsilon" + OPERANDS_FORMAT

    def __init__(self, x: Value, scale: Value | None, axis: int, epsilon: float):
        super().__init__(
            operands=optional_operands(x, scale),
            properties={"axis": IntegerAttr(axis, i64), "epsilon": FloatAttr(epsilon, f64)},
            result_types=[type_of(x)],
        )

    def infer(self) -> Sequence[TensorType]:
        _check_affine(type_of(self.x), self.axis.value.data, self.scale)
        return (type_of(self.x),)


@irdl_op_definition
class GeluOp(GraphOp):
    """
    x * Phi(x) with Phi the normal distribution function, or its `tanh` approximation
    (Hendrycks and Gimpel, 2016).

        %y = graph.gelu %x tanh : (!graph.tensor<[B, S], f32>) -> !graph.tensor<[B, S], f32>
    """

    name = "graph.gelu"
    x = operand_def(TensorType)
    tanh = opt_prop_def(UnitAttr)
    out = result_def(TensorType)
    traits = traits_def(Pure())
    assembly_format = "$x (`tanh` $tanh^)?" + OPERANDS_FORMAT

    def __init__(self, x: Value, *, tanh: bool = False):
        super().__init__(
            operands=[x], properties={"tanh": flag(tanh)}, result_types=[type_of(x)]
        )

    def infer(self) -> Sequence[TensorType]:
        return (type_of(self.x),)


@irdl_op_definition
class TopkOp(GraphOp):
    """
    The k largest (or smallest) elements along an axis in order, and their i64 indices; of
    equals the lower index comes first. NaN is the greatest number.

        %v, %i = graph.topk %x axis 1 largest : (!graph.tensor<[B, S], f32>) -> (!graph.tensor<[B, 5], f32>, !graph.tensor<[B, 5], i64>)
    """

    name = "graph.topk"
    x = operand_def(TensorType)
    axis = prop_def(IntegerAttr.constr(i64))
    largest = opt_prop_def(UnitAttr)
    values = result_def(TensorType)
    indices = result_def(TensorType)
    traits = traits_def(Pure())
    assembly_format = "$x `axis` $axis (`largest` $largest^)?" + OPERANDS_FORMAT

    def __init__(self, x: Value, k: int | Dim, axis: int, *, largest: bool = True):
        shape = list(type_of(x).shape)
        shape[axis] = Dim.of(k)
        super().__init__(
            operands=[x],
            properties={"axis": IntegerAttr(axis, i64), "largest": flag(largest)},
            result_types=[type_of(x).with_shape(shape), TensorType.of(shape, "i64")],
        )

    def infer(self) -> Sequence[TensorType]:
        x, axis = type_of(self.x), self.axis.value.data
        check_axis(axis, x.rank)
        shape = list(x.shape)
        shape[axis] = type_of(self.values).shape[axis]
        return (x.with_shape(shape), TensorType.of(shape, "i64"))


COMPOSITE_OPS: tuple[type[GraphOp], ...] = (SoftmaxOp, LayerNormOp, RmsNormOp, GeluOp, TopkOp)
