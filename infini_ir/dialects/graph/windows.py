"""Convolutions and pooling, composites over windows of an image, and the layouts of images."""

from __future__ import annotations

from collections.abc import Sequence
from enum import auto

from xdsl.dialects.builtin import IntegerAttr, StringAttr, i64
from xdsl.dialects.utils import EnumAttribute
from xdsl.ir import SpacedOpaqueSyntaxAttribute
from xdsl.irdl import (
    irdl_attr_definition,
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
from xdsl.utils.str_enum import StrEnum

from infini_ir.dialects.dims import DimsAttr
from infini_ir.dialects.graph.base import (
    OPERANDS_FORMAT,
    GraphOp,
    IntsConstraint,
    Value,
    ints,
    ints_of,
    optional_operands,
    type_of,
)
from infini_ir.dialects.graph.shaping import window_count
from infini_ir.dialects.graph.types import TensorType
from infini_ir.utils import dtypes
from infini_ir.utils.symbolic import Dim


class Layout(StrEnum):
    """Where the channels are: [N, C, spatial..] or [N, spatial.., C]."""

    channels_first = auto()
    channels_last = auto()


@irdl_attr_definition
class LayoutAttr(EnumAttribute[Layout], SpacedOpaqueSyntaxAttribute):
    """Layout of a `graph.conv` or `graph.pool`."""

    name = "graph.layout"


def spatial_axes(layout: Layout, rank: int) -> tuple[int, ...]:
    """The spatial axes of a tensor of that rank."""
    first = 2 if layout is Layout.channels_first else 1
    return tuple(range(first, first + rank - 2))


def channel_axis(layout: Layout, rank: int) -> int:
    return 1 if layout is Layout.channels_first else rank - 1


@irdl_op_definition
class ConvOp(GraphOp):
    """
    Convolution (cross-correlation) in any number of spatial dimensions.

    x: [N, C, spatial..], w: [O, C/groups, kernel..] (channels_first), or x: [N, spatial.., C],
    w: [kernel.., C/groups, O] (channels_last); bias: [O]. Padding `lo`, `hi` a spatial axis
    (negative: crop); `input_dilation` d puts d - 1 elements between neighbours of x before
    padding, which makes transposed convolutions. What is put in is 0, or on integers the
    number `border`: the zero point of a quantised x. `winograd` asks for the kernel with
    fewer products, for a reason; it means the same.

        %y = graph.conv channels_first %x, %w bias %b groups 1 strides [2, 2] dilations [1, 1] lo [3, 3] hi [3, 3] input_dilation [1, 1] : (...) -> ...
    """

    name = "graph.conv"
    layout = prop_def(LayoutAttr)
    x = operand_def(TensorType)
    w = operand_def(TensorType)
    bias = opt_operand_def(TensorType)
    groups = prop_def(IntegerAttr.constr(i64))
    strides = prop_def(IntsConstraint)
    dilations = prop_def(IntsConstraint)
    lo = prop_def(DimsAttr)
    hi = prop_def(DimsAttr)
    input_dilation = prop_def(IntsConstraint)
    border = opt_prop_def(IntegerAttr.constr(i64))
    winograd = opt_prop_def(StringAttr)
    out = result_def(TensorType)
    traits = traits_def(Pure())
    assembly_format = (
        "$layout $x `,` $w (`bias` $bias^)? `groups` $groups `strides` $strides `dilations` $dilations "
        "`lo` $lo `hi` $hi `input_dilation` $input_dilation (`border` $border^)? "
        "(`winograd` $winograd^)?" + OPERANDS_FORMAT
    )

    def __init__(
        self,
        x: Value,
        w: Value,
        bias: Value | None = None,
        *,
        layout: str = "channels_first",
        groups: int = 1,
        strides: Sequence[int] | None = None,
        dilations: Sequence[int] | None = None,
        lo: Sequence[int | Dim] | None = None,
        hi: Sequence[int | Dim] | None = None,
        input_dilation: Sequence[int] | None = None,
        border: int = 0,
        dtype: str | None = None,
        winograd: str | None = None,
    ):
        """`dtype` names the result's element type (default: that of x)."""
        n = type_of(x).rank - 2
        ones, zeros = [1] * n, [0] * n
        properties = {
            "layout": LayoutAttr(Layout(layout)),
            "groups": IntegerAttr(groups, i64),
            "strides": ints(strides or ones),
            "dilations": ints(dilations or ones),
            "lo": DimsAttr.of(lo if lo is not None else zeros),
            "hi": DimsAttr.of(hi if hi is not None else zeros),
            "input_dilation": ints(input_dilation or ones),
            "border": IntegerAttr(border, i64) if border else None,
            "winograd": None if winograd is None else StringAttr(winograd),
        }
        placeholder = type_of(x).with_element(dtype) if dtype else type_of(x)
        super().__init__(
            operands=optional_operands(x, w, bias),
            properties=properties,
            result_types=[placeholder],
        )
        self.out._type = self.infer()[0]  # pyright: ignore[reportPrivateUsage]

    @property
    def border_value(self) -> int:
        """What is put around x."""
        return 0 if self.border is None else self.border.value.data

    def changed(
        self,
        x: Value,
        w: Value,
        bias: Value | None,
        *,
        layout: str | None = None,
        lo: Sequence[int | Dim] | None = None,
        hi: Sequence[int | Dim] | None = None,
        border: int | None = None,
        dtype: str | None = None,
    ) -> ConvOp:
        """The same convolution of other operands, with what else is given in place of its
        own."""
        return ConvOp(
            x,
            w,
            bias,
            layout=layout or self.layout.data,
            groups=self.groups.value.data,
            strides=ints_of(self.strides),
            dilations=ints_of(self.dilations),
            lo=self.lo.data if lo is None else lo,
            hi=self.hi.data if hi is None else hi,
            input_dilation=ints_of(self.input_dilation),
            border=self.border_value if border is None else border,
            dtype=dtype or type_of(self.out).dtype,
            winograd=None if self.winograd is None else self.winograd.data,
        )

    def infer(self) -> Sequence[TensorType]:
        x, w, layout = type_of(self.x), type_of(self.w), self.layout.data
        n = x.rank - 2
        if self.border_value and dtypes.is_float(x.dtype):
            raise VerifyException(f"the border of {x} is 0")
        lists = ints_of(self.strides), ints_of(self.dilations), ints_of(self.input_dilation)
        if (
            n < 0
            or w.rank != x.rank
            or any(len(values) != n for values in (*lists, self.lo.data, self.hi.data))
        ):
            raise VerifyException(f"{x}, {w} and the spatial attributes do not fit")
        if min((1, *lists[0], *lists[1], *lists[2])) < 1:
            raise VerifyException("strides and dilations must be at least 1")
        first = layout is Layout.channels_first
        kernel = w.shape[2:] if first else w.shape[:n]
        inner, outer = (w.shape[1], w.shape[0]) if first else (w.shape[n], w.shape[n + 1])
        groups = self.groups.value.data
        if x.shape[channel_axis(layout, x.rank)] is not inner * groups:
            raise VerifyException(f"{x} does not have {groups} groups of {inner} channels")
        if outer.value is not None and outer.value % groups:
            raise VerifyException(f"{outer} filters do not split into {groups} groups")
        if self.bias is not None and type_of(self.bias).shape != (outer,):
            raise VerifyException(f"the bias is one value a filter, not {self.bias.type}")
        sizes: list[Dim] = []
        for i, axis in enumerate(spatial_axes(layout, x.rank)):
            stride, dilation, spread = lists[0][i], lists[1][i], lists[2][i]
            size = (x.shape[axis] - 1) * spread + 1 + self.lo.data[i] + self.hi.data[i]
            sizes.append(window_count(size, kernel[i], stride, dilation))
        shape = [x.shape[0], outer, *sizes] if first else [x.shape[0], *sizes, outer]
        return (TensorType.of(shape, type_of(self.out).element),)


class PoolKind(StrEnum):
    """What a pooling window gives."""

    max = auto()
    sum = auto()
    avg = auto()


@irdl_attr_definition
class PoolKindAttr(EnumAttribute[PoolKind], SpacedOpaqueSyntaxAttribute):
    """Kind of a `graph.pool`."""

    name = "graph.pool_kind"


@irdl_op_definition
class PoolOp(GraphOp):
    """
    Reduction over sliding windows of the spatial axes. Padding never wins a maximum and
    adds nothing to a sum; an average divides by the number of real elements, or with
    `count_pad` also of padding within `lo` and `count_hi` (what `hi` exceeds `count_hi` by,
    as ceil mode does, never counts).

        %y = graph.pool max channels_first %x sizes [3, 3] strides [2, 2] dilations [1, 1] lo [1, 1] hi [1, 1] : (...) -> ...
    """

    name = "graph.pool"
    kind = prop_def(PoolKindAttr)
    layout = prop_def(LayoutAttr)
    x = operand_def(TensorType)
    sizes = prop_def(IntsConstraint)
    strides = prop_def(IntsConstraint)
    dilations = prop_def(IntsConstraint)
    lo = prop_def(DimsAttr)
    hi = prop_def(DimsAttr)
    count_hi = opt_prop_def(DimsAttr)
    out = result_def(TensorType)
    traits = traits_def(Pure())
    assembly_format = (
        "$kind $layout $x `sizes` $sizes `strides` $strides `dilations` $dilations "
        "`lo` $lo `hi` $hi (`count_pad` $count_hi^)?" + OPERANDS_FORMAT
    )

    def __init__(
        self,
        kind: str,
        x: Value,
        sizes: Sequence[int],
        *,
        layout: str = "channels_first",
        strides: Sequence[int] | None = None,
        dilations: Sequence[int] | None = None,
        lo: Sequence[int | Dim] | None = None,
        hi: Sequence[int | Dim] | None = None,
        count_hi: Sequence[int | Dim] | None = None,
    ):
        """`count_hi` given: padding counts in an average."""
        ones, zeros = [1] * len(sizes), [0] * len(sizes)
        super().__init__(
            operands=[x],
            properties={
                "kind": PoolKindAttr(PoolKind(kind)),
                "layout": LayoutAttr(Layout(layout)),
                "sizes": ints(sizes),
                "strides": ints(strides or ones),
                "dilations": ints(dilations or ones),
                "lo": DimsAttr.of(lo if lo is not None else zeros),
                "hi": DimsAttr.of(hi if hi is not None else zeros),
                "count_hi": None if count_hi is None else DimsAttr.of(count_hi),
            },
            result_types=[type_of(x)],
        )
        self.out._type = self.infer()[0]  # pyright: ignore[reportPrivateUsage]

    def infer(self) -> Sequence[TensorType]:
        x = type_of(self.x)
        n = x.rank - 2
        sizes, strides, dilations = map(ints_of, (self.sizes, self.strides, self.dilations))
        lists = (sizes, strides, dilations, self.lo.data, self.hi.data)
        if n < 0 or any(len(values) != n for values in lists):
            raise VerifyException(
                f"wants a size, stride, dilation and padding a spatial axis of {x}"
            )
        shape = list(x.shape)
        for i, axis in enumerate(spatial_axes(self.layout.data, x.rank)):
            padded = x.shape[axis] + self.lo.data[i] + self.hi.data[i]
            shape[axis] = window_count(padded, sizes[i], strides[i], dilations[i])
        return (x.with_shape(shape),)


WINDOW_OPS: tuple[type[GraphOp], ...] = (ConvOp, PoolOp)
WINDOW_ATTRIBUTES = (LayoutAttr, PoolKindAttr)
