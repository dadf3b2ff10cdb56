"""Composite operations: kept whole until lowering, each defined by primitives.

`infini_ir.passes.graph.expand_composites` holds the definitions. In f16 and bf16 they
compute in f32 and round once.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import auto

from xdsl.dialects.builtin import FloatAttr, IntegerAttr, StringAttr, UnitAttr, f64, i64
from xdsl.dialects.utils import EnumAttribute
from xdsl.ir import Operation, SpacedOpaqueSyntaxAttribute, SSAValue
from xdsl.irdl import (
    AnyAttr,
    AttrSizedOperandSegments,
    EqAttrConstraint,
    ParamAttrConstraint,
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
    GraphOp,
    IntsConstraint,
    check_axis,
    ints,
    ints_of,
    type_of,
)
from infini_ir.dialects.graph.shaping import window_count
from infini_ir.dialects.graph.types import TensorType
from infini_ir.utils import dtypes
from infini_ir.utils.symbolic import ONE, Dim

Value = SSAValue | Operation
_F64 = ParamAttrConstraint(FloatAttr, (AnyAttr(), EqAttrConstraint(f64)))
"""A float whose type goes without saying in text: `scale 0.125`."""
_FORMAT = " attr-dict `:` functional-type(operands, results)"


def _flag(value: bool) -> UnitAttr | None:
    return UnitAttr() if value else None


def _operands(*values: Value | None) -> list[Value | list[Value]]:
    """Operands for a build: None is an absent optional one."""
    return [[] if value is None else value for value in values]


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
    assembly_format = "$x `axis` $axis (`log` $log^)?" + _FORMAT

    def __init__(self, x: Value, axis: int, *, log: bool = False):
        super().__init__(
            operands=[x],
            properties={"axis": IntegerAttr(axis, i64), "log": _flag(log)},
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
    epsilon = prop_def(_F64)
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
            operands=_operands(x, scale, bias),
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
    epsilon = prop_def(_F64)
    out = result_def(TensorType)
    traits = traits_def(Pure())
    assembly_format = "$x (`scale` $scale^)? `axis` $axis `epsilon` $epsilon" + _FORMAT

    def __init__(self, x: Value, scale: Value | None, axis: int, epsilon: float):
        super().__init__(
            operands=_operands(x, scale),
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
    assembly_format = "$x (`tanh` $tanh^)?" + _FORMAT

    def __init__(self, x: Value, *, tanh: bool = False):
        super().__init__(
            operands=[x], properties={"tanh": _flag(tanh)}, result_types=[type_of(x)]
        )

    def infer(self) -> Sequence[TensorType]:
        return (type_of(self.x),)


@irdl_op_definition
class AttentionOp(GraphOp):
    """
    softmax(scale * q k^T, masked and biased) v, with grouped heads.

    q: [B, H, S, D]; k: [B, G, T, D]; v: [B, G, T, E] with H a multiple of G; result
    [B, H, S, E]. `bias`: float (added) or bool (true: may attend) that has the rank 4 and
    sizes of [B, H, S, T] or 1. `kv_len`: i64 [B], how many keys of each row are valid.
    `offset`: i64 scalar, the position of the first query among the keys. `causal`: query s
    sees keys up to s + offset (default offset: valid keys - S). `window` w: keys more than
    w before are not seen. `softcap` c: c * tanh(score / c) before mask and bias. A row that
    may attend to nothing gives 0. What lies at keys from `kv_len` on has no influence.

        %y = graph.attention %q, %k, %v bias %m : M scale 0.125 causal : Q, K, V -> Y
    """

    name = "graph.attention"
    q = operand_def(TensorType)
    k = operand_def(TensorType)
    v = operand_def(TensorType)
    bias = opt_operand_def(TensorType)
    kv_len = opt_operand_def(TensorType)
    offset = opt_operand_def(TensorType)
    scale = prop_def(_F64)
    causal = opt_prop_def(UnitAttr)
    window = opt_prop_def(IntegerAttr.constr(i64))
    softcap = opt_prop_def(_F64)
    out = result_def(TensorType)
    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    traits = traits_def(Pure())
    assembly_format = (
        "$q `,` $k `,` $v (`bias` $bias^ `:` type($bias))? (`kv_len` $kv_len^ `:` type($kv_len))? "
        "(`offset` $offset^ `:` type($offset))? `scale` $scale (`causal` $causal^)? "
        "(`window` $window^)? (`softcap` $softcap^)? attr-dict "
        "`:` type($q) `,` type($k) `,` type($v) `->` type($out)"
    )

    def __init__(
        self,
        q: Value,
        k: Value,
        v: Value,
        *,
        scale: float,
        bias: Value | None = None,
        kv_len: Value | None = None,
        offset: Value | None = None,
        causal: bool = False,
        window: int | None = None,
        softcap: float | None = None,
    ):
        super().__init__(
            operands=_operands(q, k, v, bias, kv_len, offset),
            properties={
                "scale": FloatAttr(scale, f64),
                "causal": _flag(causal),
                "window": None if window is None else IntegerAttr(window, i64),
                "softcap": FloatAttr(softcap, f64) if softcap else None,
            },
            result_types=[_attention_type(type_of(q), type_of(k), type_of(v))],
        )

    def infer(self) -> Sequence[TensorType]:
        q, k, v = type_of(self.q), type_of(self.k), type_of(self.v)
        if self.bias is not None:
            scores = (q.shape[0], q.shape[1], q.shape[2], k.shape[2])
            bias = type_of(self.bias)
            if bias.rank != 4 or any(
                given is not wanted and given is not ONE
                for given, wanted in zip(bias.shape, scores, strict=True)
            ):
                raise VerifyException(f"bias {bias} does not repeat to the scores")
        return (_attention_type(q, k, v),)


def _attention_type(q: TensorType, k: TensorType, v: TensorType) -> TensorType:
    if not q.rank == k.rank == v.rank == 4:
        raise VerifyException("q, k and v are [batch, heads, positions, width]")
    if (
        q.shape[3] is not k.shape[3]
        or k.shape[:3] != v.shape[:3]
        or q.shape[0] is not k.shape[0]
    ):
        raise VerifyException(f"{q}, {k} and {v} do not fit")
    if q.shape[1].exact_divide(k.shape[1]) is None:
        raise VerifyException(f"{q.shape[1]} heads do not group over {k.shape[1]}")
    return q.with_shape([*q.shape[:3], v.shape[3]])


@irdl_op_definition
class PagedAttentionOp(GraphOp):
    """
    Attention whose keys and values lie in pages: `k_pages`, `v_pages`: [P, page, G, D];
    `table`: i32 or i64 [B, N], page numbers of each row in order; `kv_len`: i64 [B], valid
    keys of each row. q: [B, H, S, D], its queries being the last S valid positions.

        %y = graph.paged_attention %q, %kp, %vp, %table, %len scale 0.125 : (...) -> ...
    """

    name = "graph.paged_attention"
    q = operand_def(TensorType)
    k_pages = operand_def(TensorType)
    v_pages = operand_def(TensorType)
    table = operand_def(TensorType)
    kv_len = operand_def(TensorType)
    scale = prop_def(_F64)
    out = result_def(TensorType)
    traits = traits_def(Pure())
    assembly_format = (
        "$q `,` $k_pages `,` $v_pages `,` $table `,` $kv_len `scale` $scale" + _FORMAT
    )

    def __init__(
        self,
        q: Value,
        k_pages: Value,
        v_pages: Value,
        table: Value,
        kv_len: Value,
        scale: float,
    ):
        super().__init__(
            operands=[q, k_pages, v_pages, table, kv_len],
            properties={"scale": FloatAttr(scale, f64)},
            result_types=[type_of(q)],
        )

    def infer(self) -> Sequence[TensorType]:
        q, k_pages, v_pages, table, kv_len = self.tensor_types()
        if q.rank != 4 or k_pages.rank != 4 or k_pages != v_pages or table.rank != 2:
            raise VerifyException(f"{q}, {k_pages}, {v_pages} and {table} do not fit")
        if kv_len != TensorType.of([q.shape[0]], "i64"):
            raise VerifyException(f"kv_len is one i64 a row, not {kv_len}")
        return (q,)


@irdl_op_definition
class RopeOp(GraphOp):
    """
    Rotary position embedding (Su et al., 2021) of the last axis' first 2 * R elements; cos
    and sin repeat to [.., R]. Pairs are (i, i + R), or (2i, 2i + 1) when `interleaved`.

        %y = graph.rope %x, %cos, %sin : (...) -> ...
    """

    name = "graph.rope"
    x = operand_def(TensorType)
    cos = operand_def(TensorType)
    sin = operand_def(TensorType)
    interleaved = opt_prop_def(UnitAttr)
    out = result_def(TensorType)
    traits = traits_def(Pure())
    assembly_format = "$x `,` $cos `,` $sin (`interleaved` $interleaved^)?" + _FORMAT

    def __init__(self, x: Value, cos: Value, sin: Value, *, interleaved: bool = False):
        super().__init__(
            operands=[x, cos, sin],
            properties={"interleaved": _flag(interleaved)},
            result_types=[type_of(x)],
        )

    def infer(self) -> Sequence[TensorType]:
        x, cos, sin = self.tensor_types()
        if cos != sin or cos.rank != x.rank:
            raise VerifyException(f"cos and sin have one type and the rank of x: {cos}, {sin}")
        for given, wanted in zip(cos.shape[:-1], x.shape[:-1], strict=True):
            if given is not wanted and given is not ONE:
                raise VerifyException(f"{cos} does not repeat over {x}")
        return (x,)


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
        "(`winograd` $winograd^)?" + _FORMAT
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
            operands=_operands(x, w, bias), properties=properties, result_types=[placeholder]
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
        "`lo` $lo `hi` $hi (`count_pad` $count_hi^)?" + _FORMAT
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
    assembly_format = "$x `axis` $axis (`largest` $largest^)?" + _FORMAT

    def __init__(self, x: Value, k: int | Dim, axis: int, *, largest: bool = True):
        shape = list(type_of(x).shape)
        shape[axis] = Dim.of(k)
        super().__init__(
            operands=[x],
            properties={"axis": IntegerAttr(axis, i64), "largest": _flag(largest)},
            result_types=[type_of(x).with_shape(shape), TensorType.of(shape, "i64")],
        )

    def infer(self) -> Sequence[TensorType]:
        x, axis = type_of(self.x), self.axis.value.data
        check_axis(axis, x.rank)
        shape = list(x.shape)
        shape[axis] = type_of(self.values).shape[axis]
        return (x.with_shape(shape), TensorType.of(shape, "i64"))


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
        "$x `,` $scale (`zero` $zero^)? (`axis` $axis^)? (`block` $block^)?" + _FORMAT
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
            operands=_operands(x, scale, zero),
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
        "$x `,` $scale (`zero` $zero^)? (`axis` $axis^)? (`block` $block^)?" + _FORMAT
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
            operands=_operands(x, scale, zero),
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
            operands=_operands(a, b, a_zero, b_zero),
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


COMPOSITE_OPS: tuple[type[GraphOp], ...] = (
    SoftmaxOp, LayerNormOp, RmsNormOp, GeluOp, AttentionOp, PagedAttentionOp, RopeOp, ConvOp,
    PoolOp, TopkOp, QuantizeOp, DequantizeOp, QuantizedMatmulOp,
)  # fmt: skip
COMPOSITE_ATTRIBUTES = (LayoutAttr, PoolKindAttr)
