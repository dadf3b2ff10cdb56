"""Constants, shapes and data movement: operations that compute no arithmetic on elements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from xdsl.dialects.builtin import DenseArrayBase, IntegerAttr, StringAttr, i64
from xdsl.ir import Data, Operation, SSAValue
from xdsl.irdl import (
    irdl_attr_definition,
    irdl_op_definition,
    operand_def,
    opt_prop_def,
    prop_def,
    result_def,
    traits_def,
    var_operand_def,
)
from xdsl.parser import AttrParser
from xdsl.printer import Printer
from xdsl.traits import ConstantLike, Pure
from xdsl.utils.exceptions import VerifyException

from infini_ir.dialects.dims import DimsAttr, FactsAttr
from infini_ir.dialects.graph.base import (
    GraphOp,
    IntsConstraint,
    check_axes,
    check_axis,
    ints,
    ints_of,
    type_of,
)
from infini_ir.dialects.graph.types import TensorType
from infini_ir.utils import dtypes
from infini_ir.utils.symbolic import ONE, Dim

CONSTANT_LIMIT = 1024
"""Bytes that a constant may hold in the IR; anything larger is a weight behind a handle."""


@irdl_attr_definition
class LiteralAttr(Data[tuple[int | float | bool, ...]]):
    """The elements of a constant, row-major: `[1.0, 2.0]`; `nan`, `inf` and `-inf` are numbers."""

    name = "graph.literal"

    @classmethod
    def parse_parameter(cls, parser: AttrParser) -> tuple[int | float | bool, ...]:
        with parser.in_angle_brackets():
            return tuple(
                parser.parse_comma_separated_list(
                    AttrParser.Delimiter.SQUARE, lambda: _parse_number(parser), " in a literal"
                )
            )

    def print_parameter(self, printer: Printer) -> None:
        printer.print_string("<[" + ", ".join(map(_number_text, self.data)) + "]>")


def _parse_number(parser: AttrParser) -> int | float | bool:
    negative = parser.parse_optional_punctuation("-") is not None
    for keyword, number in (("inf", float("inf")), ("nan", float("nan"))):
        if parser.parse_optional_keyword(keyword):
            return -number if negative else number
    for keyword, flag in (("true", True), ("false", False)):
        if parser.parse_optional_keyword(keyword):
            return flag
    number = parser.parse_number(allow_boolean=False)
    return -number if negative else number


def _number_text(number: int | float | bool) -> str:
    if isinstance(number, bool):
        return "true" if number else "false"
    if isinstance(number, int):
        return str(number)
    text = repr(number)
    # MLIR's float literals want a point before the exponent.
    return text if "e" not in text or "." in text else text.replace("e", ".0e")


def _literal(array: np.ndarray) -> LiteralAttr:
    """The literal of an array; NaNs are shared so that equal constants compare equal."""
    kind = array.dtype
    if kind == np.bool_:
        return LiteralAttr(tuple(bool(v) for v in array.ravel()))
    if dtypes.is_float(dtypes.dtype_name(kind)):
        wide = array.astype(np.float64).ravel().tolist()
        return LiteralAttr(tuple(_NAN if v != v else v for v in wide))
    return LiteralAttr(tuple(int(v) for v in array.astype(object).ravel()))


_NAN = float("nan")


@irdl_op_definition
class ConstantOp(GraphOp):
    """
    A small constant, at most 1 KiB; its elements in row-major order.

        %c = graph.constant <[1.0, 2.0]> : !graph.tensor<[2], f32>
    """

    name = "graph.constant"
    value = prop_def(LiteralAttr)
    out = result_def(TensorType)
    traits = traits_def(Pure(), ConstantLike())
    assembly_format = "$value attr-dict `:` type($out)"

    def __init__(self, value: Any, dtype: str | None = None):
        """A constant from an array-like; `dtype` names the element type (default: numpy's)."""
        array = np.asarray(value)
        if dtype is not None:
            array = np.asarray(value, dtypes.numpy_dtype(dtype))
        element = dtypes.dtype_name(array.dtype)
        super().__init__(
            properties={"value": _literal(array)},
            result_types=[TensorType.of(array.shape, element)],
        )

    def array(self) -> np.ndarray:
        """The elements as a numpy array of the result's shape."""
        out = type_of(self.out)
        flat = np.array(self.value.data, dtype=dtypes.numpy_dtype(out.dtype))
        return flat.reshape(out.static_shape())

    def infer(self) -> Sequence[TensorType]:
        out = type_of(self.out)
        count = out.element_count().value
        if count is None:
            raise VerifyException(f"a constant's size must be known, not {out}")
        if count != len(self.value.data):
            raise VerifyException(f"{len(self.value.data)} elements given for {out}")
        if count * dtypes.item_size(out.dtype) > CONSTANT_LIMIT:
            raise VerifyException(f"{out} is over {CONSTANT_LIMIT} bytes: make it a weight")
        return (out,)


@irdl_op_definition
class WeightOp(GraphOp):
    """
    A parameter of the model by its handle; the data stays outside the IR.

        %w = graph.weight "conv1.weight" : !graph.tensor<[64, 3, 7, 7], f32>
    """

    name = "graph.weight"
    handle = prop_def(StringAttr)
    digest = opt_prop_def(StringAttr)
    out = result_def(TensorType)
    traits = traits_def(Pure())
    assembly_format = "$handle (`digest` $digest^)? attr-dict `:` type($out)"

    def __init__(self, handle: str, type: TensorType):
        super().__init__(properties={"handle": StringAttr(handle)}, result_types=[type])

    def infer(self) -> Sequence[TensorType]:
        out = type_of(self.out)
        if not out.is_static():
            raise VerifyException(f"a weight's shape must be known, not {out}")
        return (out,)


@irdl_op_definition
class IotaOp(GraphOp):
    """
    Positions along one axis: element [.., i, ..] is i.

        %i = graph.iota axis 1 : !graph.tensor<[B, S], i64>
    """

    name = "graph.iota"
    axis = prop_def(IntegerAttr.constr(i64))
    out = result_def(TensorType)
    traits = traits_def(Pure())
    assembly_format = "`axis` $axis attr-dict `:` type($out)"

    def __init__(self, shape: Sequence[int | Dim], dtype: str, axis: int):
        super().__init__(
            properties={"axis": IntegerAttr(axis, i64)},
            result_types=[TensorType.of(shape, dtype)],
        )

    def infer(self) -> Sequence[TensorType]:
        out = type_of(self.out)
        check_axis(self.axis.value.data, out.rank)
        if out.dtype == "i1":
            raise VerifyException("positions are numbers, not i1")
        return (out,)


@irdl_op_definition
class BroadcastOp(GraphOp):
    """
    Repetition: shapes align at the right, and only a size that is literally 1 is repeated.

        %y = graph.broadcast %x : (!graph.tensor<[64, 1], f32>) -> !graph.tensor<[B, 64, S], f32>
    """

    name = "graph.broadcast"
    x = operand_def(TensorType)
    out = result_def(TensorType)
    traits = traits_def(Pure())
    assembly_format = "$x attr-dict `:` functional-type(operands, results)"

    def __init__(self, x: SSAValue | Operation, shape: Sequence[int | Dim]):
        super().__init__(operands=[x], result_types=[type_of(x).with_shape(shape)])

    def infer(self) -> Sequence[TensorType]:
        x, out = type_of(self.x), type_of(self.out)
        if x.rank > out.rank:
            raise VerifyException(f"{x} has more axes than {out}")
        for size, wanted in zip(x.shape, out.shape[out.rank - x.rank :], strict=True):
            if size is not wanted and size is not ONE:
                raise VerifyException(f"size {size} does not repeat to {wanted}")
        return (x.with_shape(out.shape),)


@irdl_op_definition
class ReshapeOp(GraphOp):
    """
    The same elements in row-major order under another shape with the same element count.

        %y = graph.reshape %x : (!graph.tensor<[B, S, 768], f32>) -> !graph.tensor<[B*S, 768], f32>
    """

    name = "graph.reshape"
    x = operand_def(TensorType)
    out = result_def(TensorType)
    traits = traits_def(Pure())
    assembly_format = "$x attr-dict `:` functional-type(operands, results)"

    def __init__(self, x: SSAValue | Operation, shape: Sequence[int | Dim]):
        super().__init__(operands=[x], result_types=[type_of(x).with_shape(shape)])

    def infer(self) -> Sequence[TensorType]:
        x, out = type_of(self.x), type_of(self.out)
        # Symbolic counts may be equal only by facts that are checked on entry.
        counts = x.element_count(), out.element_count()
        if counts[0].is_constant and counts[1].is_constant and counts[0] is not counts[1]:
            raise VerifyException(f"{x} and {out} have different numbers of elements")
        return (x.with_shape(out.shape),)


@irdl_op_definition
class TransposeOp(GraphOp):
    """
    Axes in another order: axis i of the result is axis `perm[i]` of the operand.

        %y = graph.transpose %x [0, 2, 1] : (!graph.tensor<[B, S, D], f32>) -> !graph.tensor<[B, D, S], f32>
    """

    name = "graph.transpose"
    x = operand_def(TensorType)
    perm = prop_def(IntsConstraint)
    out = result_def(TensorType)
    traits = traits_def(Pure())
    assembly_format = "$x $perm attr-dict `:` functional-type(operands, results)"

    def __init__(self, x: SSAValue | Operation, perm: Sequence[int]):
        shape = type_of(x).shape
        super().__init__(
            operands=[x],
            properties={"perm": ints(perm)},
            result_types=[type_of(x).with_shape([shape[axis] for axis in perm])],
        )

    @property
    def permutation(self) -> tuple[int, ...]:
        return ints_of(self.perm)

    def infer(self) -> Sequence[TensorType]:
        x, perm = type_of(self.x), self.permutation
        if sorted(perm) != list(range(x.rank)):
            raise VerifyException(f"{list(perm)} is not a permutation of {x.rank} axes")
        return (x.with_shape([x.shape[axis] for axis in perm]),)


@irdl_op_definition
class ConcatOp(GraphOp):
    """
    Tensors one after another along an axis.

        %y = graph.concat %a, %b axis 1 : (!graph.tensor<[B, P], f32>, !graph.tensor<[B, S], f32>) -> !graph.tensor<[B, P + S], f32>
    """

    name = "graph.concat"
    inputs = var_operand_def(TensorType)
    axis = prop_def(IntegerAttr.constr(i64))
    out = result_def(TensorType)
    traits = traits_def(Pure())
    assembly_format = "$inputs `axis` $axis attr-dict `:` functional-type(operands, results)"

    def __init__(self, inputs: Sequence[SSAValue | Operation], axis: int):
        types = [type_of(value) for value in inputs]
        super().__init__(
            operands=[list(inputs)],
            properties={"axis": IntegerAttr(axis, i64)},
            result_types=[_concat_type(types, axis)],
        )

    def infer(self) -> Sequence[TensorType]:
        return (_concat_type(self.tensor_types(), self.axis.value.data),)


def _concat_type(types: Sequence[TensorType], axis: int) -> TensorType:
    if not types:
        raise VerifyException("concat wants at least one operand")
    first = types[0]
    check_axis(axis, first.rank)
    total = Dim.of(0)
    for other in types:
        if other.element != first.element or other.rank != first.rank:
            raise VerifyException(f"{first} and {other} do not concatenate")
        for index, (a, b) in enumerate(zip(first.shape, other.shape, strict=True)):
            if index != axis and a is not b:
                raise VerifyException(f"sizes of axis {index} differ: {first} and {other}")
        total = total + other.shape[axis]
    shape = list(first.shape)
    shape[axis] = total
    return first.with_shape(shape)


@irdl_op_definition
class SliceOp(GraphOp):
    """
    Elements `start + i * step` of each axis; the result type says how many.

    A start is an expression, or (axes listed in `dynamic`) an i64 scalar operand which is
    clamped at run time so that the slice fits. Steps are nonzero and may be negative.

        %y = graph.slice %x starts [0, S - 1] steps [1, 1] : (...) -> ...
        %z = graph.slice %x, %i starts [0, 0] steps [1, 1] dynamic [1] : (...) -> ...
    """

    name = "graph.slice"
    x = operand_def(TensorType)
    dynamic_starts = var_operand_def(TensorType)
    starts = prop_def(DimsAttr)
    steps = prop_def(IntsConstraint)
    dynamic = prop_def(IntsConstraint, default_value=ints(()))
    out = result_def(TensorType)
    traits = traits_def(Pure())
    assembly_format = (
        "$x (`,` $dynamic_starts^)? `starts` $starts `steps` $steps (`dynamic` $dynamic^)? attr-dict "
        "`:` functional-type(operands, results)"
    )

    def __init__(
        self,
        x: SSAValue | Operation,
        starts: Sequence[int | Dim | SSAValue],
        sizes: Sequence[int | Dim],
        steps: Sequence[int] | None = None,
    ):
        dynamic = [axis for axis, start in enumerate(starts) if isinstance(start, SSAValue)]
        super().__init__(
            operands=[x, [start for start in starts if isinstance(start, SSAValue)]],
            properties={
                "starts": DimsAttr.of(0 if isinstance(s, SSAValue) else s for s in starts),
                "steps": ints(steps if steps is not None else [1] * len(starts)),
                "dynamic": ints(dynamic),
            },
            result_types=[type_of(x).with_shape(sizes)],
        )

    @property
    def step_list(self) -> tuple[int, ...]:
        return ints_of(self.steps)

    @property
    def dynamic_axes(self) -> tuple[int, ...]:
        return ints_of(self.dynamic)

    def infer(self) -> Sequence[TensorType]:
        x, out = type_of(self.x), type_of(self.out)
        if not len(self.starts.data) == len(self.step_list) == x.rank == out.rank:
            raise VerifyException(f"wants a start, step and size for each axis of {x}")
        if 0 in self.step_list:
            raise VerifyException("a step is 0")
        _check_dynamic(self.dynamic_axes, self.dynamic_starts, x.rank)
        for axis, (start, step) in enumerate(
            zip(self.starts.data, self.step_list, strict=True)
        ):
            if axis not in self.dynamic_axes:
                _check_range(axis, start, step, out.shape[axis], x.shape[axis])
        return (x.with_shape(out.shape),)


def _check_dynamic(axes: Sequence[int], operands: Sequence[SSAValue], rank: int) -> None:
    check_axes(axes, rank, "dynamic axis")
    if len(axes) != len(operands):
        raise VerifyException(f"{len(operands)} starts given for dynamic axes {list(axes)}")
    for operand in operands:
        if type_of(operand) != TensorType.of((), "i64"):
            raise VerifyException(f"a start is an i64 scalar, not {operand.type}")


def _check_range(axis: int, start: Dim, step: int, size: Dim, limit: Dim) -> None:
    if start.value is None or size.value is None or limit.value is None or size.value == 0:
        return
    last = start.value + (size.value - 1) * step
    if min(start.value, last) < 0 or max(start.value, last) >= limit.value:
        raise VerifyException(
            f"axis {axis}: elements {start} to {last} of {limit} do not exist"
        )


@irdl_op_definition
class InsertSliceOp(GraphOp):
    """
    The operand with a block replaced by `update`, which begins at the starts.

    Starts are expressions or i64 scalars (clamped so that the update fits), as in `slice`.

        %y = graph.insert_slice %cache, %new, %at starts [0, 0] dynamic [1] : (...) -> ...
    """

    name = "graph.insert_slice"
    x = operand_def(TensorType)
    update = operand_def(TensorType)
    dynamic_starts = var_operand_def(TensorType)
    starts = prop_def(DimsAttr)
    dynamic = prop_def(IntsConstraint, default_value=ints(()))
    out = result_def(TensorType)
    traits = traits_def(Pure())
    assembly_format = (
        "$x `,` $update (`,` $dynamic_starts^)? `starts` $starts (`dynamic` $dynamic^)? attr-dict "
        "`:` functional-type(operands, results)"
    )

    def __init__(
        self,
        x: SSAValue | Operation,
        update: SSAValue | Operation,
        starts: Sequence[int | Dim | SSAValue],
    ):
        dynamic = [axis for axis, start in enumerate(starts) if isinstance(start, SSAValue)]
        super().__init__(
            operands=[x, update, [s for s in starts if isinstance(s, SSAValue)]],
            properties={
                "starts": DimsAttr.of(0 if isinstance(s, SSAValue) else s for s in starts),
                "dynamic": ints(dynamic),
            },
            result_types=[type_of(x)],
        )

    @property
    def dynamic_axes(self) -> tuple[int, ...]:
        return ints_of(self.dynamic)

    def infer(self) -> Sequence[TensorType]:
        x, update = type_of(self.x), type_of(self.update)
        if (
            x.rank != update.rank
            or x.element != update.element
            or len(self.starts.data) != x.rank
        ):
            raise VerifyException(f"{update} does not go into {x}")
        _check_dynamic(self.dynamic_axes, self.dynamic_starts, x.rank)
        for axis, start in enumerate(self.starts.data):
            if axis not in self.dynamic_axes:
                _check_range(axis, start, 1, update.shape[axis], x.shape[axis])
        return (x,)


@irdl_op_definition
class PadOp(GraphOp):
    """
    `lo` and `hi` elements of a scalar value around each axis (negative: crop), and
    `interior` of them between neighbours.

        %y = graph.pad %x, %zero lo [0, 1] hi [0, 1] interior [0, 0] : (...) -> ...
    """

    name = "graph.pad"
    x = operand_def(TensorType)
    value = operand_def(TensorType)
    lo = prop_def(DimsAttr)
    hi = prop_def(DimsAttr)
    interior = prop_def(IntsConstraint)
    out = result_def(TensorType)
    traits = traits_def(Pure())
    assembly_format = (
        "$x `,` $value `lo` $lo `hi` $hi `interior` $interior attr-dict "
        "`:` functional-type(operands, results)"
    )

    def __init__(
        self,
        x: SSAValue | Operation,
        value: SSAValue | Operation,
        lo: Sequence[int | Dim],
        hi: Sequence[int | Dim],
        interior: Sequence[int] | None = None,
    ):
        properties = {
            "lo": DimsAttr.of(lo),
            "hi": DimsAttr.of(hi),
            "interior": ints(interior if interior is not None else [0] * len(lo)),
        }
        out = _pad_type(type_of(x), properties["lo"], properties["hi"], properties["interior"])
        super().__init__(operands=[x, value], properties=properties, result_types=[out])

    @property
    def interior_list(self) -> tuple[int, ...]:
        return ints_of(self.interior)

    def infer(self) -> Sequence[TensorType]:
        x, value = type_of(self.x), type_of(self.value)
        if value.rank or value.element != x.element:
            raise VerifyException(f"the value is a scalar of {x.dtype}, not {value}")
        return (_pad_type(x, self.lo, self.hi, self.interior),)


def _pad_type(
    x: TensorType, lo: DimsAttr, hi: DimsAttr, interior: DenseArrayBase
) -> TensorType:
    between = ints_of(interior)
    if not len(lo.data) == len(hi.data) == len(between) == x.rank:
        raise VerifyException(f"wants lo, hi and interior for each axis of {x}")
    if any(count < 0 for count in between):
        raise VerifyException(f"interior counts {list(between)} must not be negative")
    shape: list[Dim] = []
    for size, low, high, count in zip(x.shape, lo.data, hi.data, between, strict=True):
        stretched = size * (count + 1) - count if count else size
        if count and size.value == 0:
            stretched = size
        shape.append(stretched + low + high)
    return x.with_shape(shape)


@irdl_op_definition
class WindowOp(GraphOp):
    """
    A view of sliding windows: the listed axes become the numbers of windows, and the
    positions inside a window follow as new last axes.
    `windows = floordiv(n - (k - 1) * dilation - 1, stride) + 1`.

        %y = graph.window %x axes [1] sizes [3] strides [2] dilations [1] : (!graph.tensor<[B, 9], f32>) -> !graph.tensor<[B, 4, 3], f32>
    """

    name = "graph.window"
    x = operand_def(TensorType)
    axes = prop_def(IntsConstraint)
    sizes = prop_def(DimsAttr)
    strides = prop_def(IntsConstraint)
    dilations = prop_def(IntsConstraint)
    out = result_def(TensorType)
    traits = traits_def(Pure())
    assembly_format = (
        "$x `axes` $axes `sizes` $sizes `strides` $strides `dilations` $dilations attr-dict "
        "`:` functional-type(operands, results)"
    )

    def __init__(
        self,
        x: SSAValue | Operation,
        axes: Sequence[int],
        sizes: Sequence[int | Dim],
        strides: Sequence[int] | None = None,
        dilations: Sequence[int] | None = None,
    ):
        strides = list(strides) if strides is not None else [1] * len(axes)
        dilations = list(dilations) if dilations is not None else [1] * len(axes)
        dims = DimsAttr.of(sizes)
        super().__init__(
            operands=[x],
            properties={
                "axes": ints(axes),
                "sizes": dims,
                "strides": ints(strides),
                "dilations": ints(dilations),
            },
            result_types=[_window_type(type_of(x), axes, dims.data, strides, dilations)],
        )

    def infer(self) -> Sequence[TensorType]:
        return (
            _window_type(
                type_of(self.x),
                ints_of(self.axes),
                self.sizes.data,
                ints_of(self.strides),
                ints_of(self.dilations),
            ),
        )


def window_count(size: Dim, window: int | Dim, stride: int, dilation: int) -> Dim:
    """How many windows fit in `size` elements."""
    return (size - (Dim.of(window) - 1) * dilation - 1) // stride + 1


def _window_type(
    x: TensorType,
    axes: Sequence[int],
    sizes: Sequence[Dim],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> TensorType:
    check_axes(axes, x.rank)
    if not len(axes) == len(sizes) == len(strides) == len(dilations):
        raise VerifyException("wants a size, stride and dilation for each axis")
    if any(value < 1 for value in (*strides, *dilations)):
        raise VerifyException("strides and dilations must be at least 1")
    shape = list(x.shape)
    for axis, window, stride, dilation in zip(axes, sizes, strides, dilations, strict=True):
        shape[axis] = window_count(shape[axis], window, stride, dilation)
    return x.with_shape([*shape, *sizes])


@irdl_op_definition
class DimOp(GraphOp):
    """
    A size as a value: an i64 scalar.

        %n = graph.dim <[P + S]> : !graph.tensor<[], i64>
    """

    name = "graph.dim"
    size = prop_def(DimsAttr)
    out = result_def(TensorType)
    traits = traits_def(Pure())
    assembly_format = "$size attr-dict `:` type($out)"

    def __init__(self, size: int | Dim):
        super().__init__(
            properties={"size": DimsAttr.of([size])}, result_types=[TensorType.of((), "i64")]
        )

    @property
    def dim(self) -> Dim:
        return self.size.data[0]

    def infer(self) -> Sequence[TensorType]:
        if len(self.size.data) != 1:
            raise VerifyException("gives one size")
        return (TensorType.of((), "i64"),)


@irdl_op_definition
class BindOp(GraphOp):
    """
    A value as a size: from here on the symbol stands for the i64 scalar, which must not be
    negative (checked at run time, as are the facts).

        graph.bind %n as "K" : !graph.tensor<[], i64>
    """

    name = "graph.bind"
    value = operand_def(TensorType)
    symbol = prop_def(StringAttr)
    facts = opt_prop_def(FactsAttr)
    assembly_format = "$value `as` $symbol (`where` $facts^)? attr-dict `:` type($value)"

    def __init__(
        self, value: SSAValue | Operation, symbol: str, facts: FactsAttr | None = None
    ):
        super().__init__(
            operands=[value], properties={"symbol": StringAttr(symbol), "facts": facts}
        )

    def infer(self) -> Sequence[TensorType]:
        if type_of(self.value) != TensorType.of((), "i64"):
            raise VerifyException(f"binds an i64 scalar, not {self.value.type}")
        return ()


SHAPING_OPS: tuple[type[GraphOp], ...] = (
    ConstantOp, WeightOp, IotaOp, BroadcastOp, ReshapeOp, TransposeOp, ConcatOp, SliceOp,
    InsertSliceOp, PadOp, WindowOp, DimOp, BindOp,
)  # fmt: skip
SHAPING_ATTRIBUTES = (LiteralAttr, DimsAttr, FactsAttr)
