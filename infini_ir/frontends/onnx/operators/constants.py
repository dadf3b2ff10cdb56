"""Constants, shapes as values, conversions of element types, and identities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from infini_ir.dialects import graph
from infini_ir.dialects.graph.types import tensor_type
from infini_ir.frontends.onnx.node import Node
from infini_ir.frontends.onnx.registry import operator
from infini_ir.frontends.onnx.tensors import dtype_of, sparse_initializer
from infini_ir.frontends.onnx.values import Entry, Initializer
from infini_ir.utils import dtypes
from infini_ir.utils.dtypes import dtype_name
from infini_ir.utils.symbolic import Dim, maximum, product

_NUMBERS: dict[str, type] = {
    "value_float": np.float32,
    "value_floats": np.float32,
    "value_int": np.int64,
    "value_ints": np.int64,
}


def known_tensor(n: Node, array: Any) -> Initializer:
    """A known array as a node's result; it enters the IR where it is used."""
    array = np.asarray(array)
    dtype = "" if array.dtype == object else dtype_name(array.dtype)
    return Initializer.of(n.name, array, dtype)


@operator("Constant")
def constant(n: Node) -> Entry:
    for name, dtype in _NUMBERS.items():
        if n.has_attribute(name):
            return known_tensor(n, np.array(n.attribute(name), dtype))
    for name in ("value_string", "value_strings"):
        if n.has_attribute(name):
            return known_tensor(n, np.array(n.attribute(name), object))
    if n.has_attribute("sparse_value"):
        files = n.scope.session.files
        return sparse_initializer(n.attribute("sparse_value"), files, n.error)
    return known_tensor(n, n.required("value"))


@operator("ConstantOfShape", since=9)
def constant_of_shape(n: Node) -> SSAValue:
    shape = n.need_sizes(0, "the shape")
    value = np.asarray(n.attribute("value", np.zeros(1, np.float32))).reshape(())
    return n.builder.broadcast_to(n.builder.constant(value), shape)


@operator("Identity")
def identity(n: Node) -> Entry:
    return n.entry(0)


@operator("Shape")
def shape(n: Node) -> SSAValue | Entry:
    dims = n.type(0).shape
    start, end, _ = slice(n.attribute("start", 0), n.attribute("end"), 1).indices(len(dims))
    return size_list(n, dims[start:end])


def size_list(n: Node, sizes: Sequence[Dim]) -> SSAValue | Entry:
    """Sizes as an i64 vector, output 0 of the node."""
    if all(size.is_constant for size in sizes):
        return known_tensor(n, np.array([size.value for size in sizes], np.int64))
    n.set_sizes(0, sizes)
    return n.builder.concat([n.builder.reshape(n.builder.dim(d), [1]) for d in sizes], 0)


@operator("Size")
def size(n: Node) -> SSAValue:
    return n.builder.dim(product(n.type(0).shape))


@operator("Range", since=11)
def arange(n: Node) -> SSAValue:
    b, dtype = n.builder, n.type(0).dtype
    count = _range_length(n)
    wide = "f32" if dtype in ("f16", "bf16") else dtype
    start, delta = (b.cast(b.reshape(n.value(i), []), wide) for i in (0, 2))
    positions = b.iota([count], wide, 0)
    return b.cast(b.add(b.mul(positions, delta), start), dtype)


def _range_length(n: Node) -> Dim:
    """How many elements the range has; bound at run time where it must be."""
    known = [n.known(i) for i in range(3)]
    if all(v is not None for v in known):
        start, limit, delta = (np.asarray(v, np.float64).item() for v in known)
        if not delta:
            raise n.error("the step is 0")
        return Dim.of(max(0, int(np.ceil((limit - start) / delta))))
    sizes = [n.sizes(i) for i in range(3)]
    if all(v is not None and len(v) == 1 for v in sizes):
        start, limit, delta = (v[0] for v in sizes if v is not None)
        if delta.value:
            span = limit - start if delta.value > 0 else start - limit
            return maximum(0, span.ceil_divide(abs(delta.value)))
    b = n.builder
    start, limit, delta = (b.cast(b.reshape(n.value(i), []), "f64") for i in range(3))
    count = b.ceil(b.div(b.sub(limit, start), delta))
    return n.bind(b.cast(b.max(count, 0.0), "i64"), f"{n.name}_length")


@operator("EyeLike", since=9)
def eye_like(n: Node) -> SSAValue:
    b, kind = n.builder, n.type(0)
    if kind.rank != 2:
        raise n.error(f"wants a matrix, not {kind}")
    code = n.attribute("dtype")
    dtype = kind.dtype if code is None else dtype_of(code, n.error)
    rows, columns = (b.iota(kind.shape, "i64", axis) for axis in (0, 1))
    on_diagonal = b.compare("eq", b.add(rows, n.attribute("k", 0)), columns)
    return b.cast(on_diagonal, dtype)


@operator("Cast")
def cast(n: Node) -> SSAValue:
    return convert(n, dtype_of(n.required("to"), n.error))


@operator("CastLike", since=15)
def cast_like(n: Node) -> SSAValue:
    return convert(n, n.type(1).dtype)


def convert(n: Node, dtype: str) -> SSAValue:
    """Input 0 in another element type, by the node's rounding attributes."""
    x = n.value(0)
    if tensor_type(x).dtype == dtype:
        return x
    if dtype in ("i4", "ui4", "i2", "ui2") and dtypes.is_float(tensor_type(x).dtype):
        # Out of range values wrap here, where they saturate for whole-byte integers.
        x = n.builder.cast(x, "i32")
    rounding = None
    if dtype == "f8E8M0FNU":
        rounding = n.attribute("round_mode", "up")
    saturate = bool(n.attribute("saturate", 1))
    op = graph.CastOp(x, dtype, saturate=saturate, rounding=rounding)
    return n.builder.insert(op).out


@operator("BitCast", since=26)
def bitcast(n: Node) -> SSAValue:
    return n.builder.bitcast(n.value(0), dtype_of(n.required("to"), n.error))


@operator("Dropout", since=7)
def dropout(n: Node) -> list[SSAValue]:
    x = n.value(0)
    mask = n.builder.full(n.type(0).shape, 1, "i1" if n.opset >= 10 else n.type(0).dtype)
    return [x, mask]


@operator("Dropout", since=12)
def dropout_12(n: Node) -> list[SSAValue]:
    training = n.has(2) and bool(n.need_known(2, "the training mode").item())
    if training and (not n.has(1) or n.need_known(1, "the ratio").item() != 0):
        raise n.error("dropout while training is not supported; export the model in eval mode")
    return [n.value(0), n.builder.full(n.type(0).shape, True, "i1")]
