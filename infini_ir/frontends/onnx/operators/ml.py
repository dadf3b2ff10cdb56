"""Classical machine learning (domain ai.onnx.ml): encoders, scalers, linear models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from infini_ir.dialects.graph.types import tensor_type
from infini_ir.frontends.onnx.node import Node
from infini_ir.frontends.onnx.operators.positions import need_size, with_sizes
from infini_ir.frontends.onnx.operators.scores import class_labels, transformed, two_columns
from infini_ir.frontends.onnx.operators.shaping import joined_sizes
from infini_ir.frontends.onnx.registry import operator
from infini_ir.utils import dtypes
from infini_ir.utils.symbolic import ONE, Dim

ML = "ai.onnx.ml"


@operator("ArrayFeatureExtractor", domain=ML)
def array_feature_extractor(n: Node) -> SSAValue:
    b, kind = n.builder, n.type(0)
    count = n.type(1).element_count()
    indices = b.reshape(n.value(1), [count])
    picked = b.gather(n.value(0), indices, kind.rank - 1)
    return b.reshape(picked, [ONE, count]) if kind.rank == 1 else picked


@operator("Binarizer", domain=ML)
def binarizer(n: Node) -> SSAValue:
    b, kind = n.builder, n.type(0)
    x = n.value(0)
    if dtypes.is_integer(kind.dtype):
        x = b.cast(x, "f64")
    return b.cast(b.compare("gt", x, n.attribute("threshold", 0.0)), kind.dtype)


# Encoders


def _table(n: Node, side: str) -> np.ndarray:
    """The `keys_*` or `values_*` of a label encoder."""
    forms: Sequence[tuple[str, Any]] = (("floats", np.float32), ("int64s", np.int64))
    for form, dtype in forms:
        values = n.attribute(f"{side}_{form}", None)
        if values is not None:
            return np.array(values, dtype)
    tensor = n.attribute(f"{side}_tensor", None)
    if tensor is None or tensor.dtype.kind in "OSU":
        raise n.error(f"{side} are strings: encode them before the model")
    return tensor


@operator("LabelEncoder", since=2, domain=ML)
def label_encoder(n: Node) -> SSAValue:
    b, x = n.builder, n.value(0)
    keys, values = _table(n, "keys"), _table(n, "values")
    spread = b.reshape(x, [*n.type(0).shape, ONE])
    same = b.compare("eq", spread, n.array_constant(keys.astype(_numpy(n))))
    if keys.dtype.kind == "f" and np.isnan(keys).any():
        absent = b.compare("ne", spread, spread)
        same = b.logical_or(same, b.logical_and(absent, n.array_constant(np.isnan(keys))))
    rank = n.type(0).rank
    # The last of equal keys counts.
    index = b.arg_reduce("max", b.cast(same, "ui8"), rank, last=True)
    found = b.gather(n.array_constant(values), index, 0)
    default = n.array_constant(np.asarray(_default(n, values)).astype(values.dtype))
    return b.select(b.reduce("max", same, [rank]), found, b.reshape(default, []))


def _numpy(n: Node) -> np.dtype:
    return dtypes.numpy_dtype(n.type(0).dtype)


def _default(n: Node, values: np.ndarray) -> Any:
    tensor = n.attribute("default_tensor", None)
    if tensor is not None:
        return tensor.ravel()[0]
    if values.dtype.kind == "f":
        return n.attribute("default_float", -0.0)
    return n.attribute("default_int64", -1)


@operator("OneHotEncoder", domain=ML)
def one_hot_encoder(n: Node) -> SSAValue:
    categories = n.attribute("cats_int64s", None)
    if not categories:
        raise n.error("categories are strings: encode them before the model")
    b = n.builder
    x = b.reshape(b.cast(n.value(0), "i64"), [*n.type(0).shape, ONE])
    return b.cast(b.compare("eq", x, n.array_constant(np.array(categories, np.int64))), "f32")


@operator("Imputer", domain=ML)
def imputer(n: Node) -> SSAValue:
    b, x = n.builder, n.value(0)
    integral = dtypes.is_integer(n.type(0).dtype)
    form = "int64s" if integral else "floats"
    imputed = np.array(n.required(f"imputed_value_{form}")).astype(_numpy(n))
    replaced = n.attribute("replaced_value_" + form[:-1], 0)
    if replaced != replaced:
        missing = b.compare("ne", x, x)
    else:
        missing = b.compare("eq", x, replaced if integral else float(replaced))
    value = n.array_constant(imputed if imputed.size > 1 else imputed.reshape(()))
    return b.select(missing, value, x)


@operator("FeatureVectorizer", domain=ML)
def feature_vectorizer(n: Node) -> SSAValue:
    b, parts = n.builder, []
    widths = n.attribute("inputdimensions", None)
    for i in range(n.count):
        kind = n.type(i)
        x = b.cast(n.value(i), "f32")
        if kind.rank == 1:
            x = b.reshape(x, [kind.shape[0], ONE])
        width = tensor_type(x).shape[1]
        wanted = Dim.of(widths[i]) if widths else width
        if wanted is not width:
            x = b.pad(x, b.constant(0.0, "f32"), [0, 0], [0, wanted - width])
        parts.append(x)
    return b.concat(joined_sizes(n, parts, 1), 1)


# Scaling


@operator("Scaler", domain=ML)
def scaler(n: Node) -> SSAValue:
    b = n.builder
    x = b.cast(n.value(0), "f32")
    for name, method in (("offset", b.sub), ("scale", b.mul)):
        values = n.attribute(name, None)
        if values:
            array = np.array(values, np.float32)
            x = method(x, n.array_constant(array if array.size > 1 else array.reshape(())))
    return x


@operator("Normalizer", domain=ML)
def normalizer(n: Node) -> SSAValue:
    b, norm = n.builder, n.attribute("norm", "MAX")
    x = b.cast(n.value(0), "f32")
    axis = n.type(0).rank - 1
    if norm == "MAX":
        divisor = b.reduce("max", b.abs(x), [axis], keep=True)
    elif norm == "L1":
        divisor = b.reduce("sum", b.abs(x), [axis], keep=True)
    elif norm == "L2":
        divisor = b.sqrt(b.reduce("sum", b.mul(x, x), [axis], keep=True))
    else:
        raise n.error(f"norm '{norm}' is not one of MAX, L1, L2")
    return b.div(x, b.select(b.compare("eq", divisor, 0.0), 1.0, divisor))


# Linear models


def _features(n: Node, width: int) -> SSAValue:
    """Operand 0 as [rows, width]; a vector is one row."""
    shape = n.type(0).shape
    if len(shape) == 1:
        return with_sizes(n, n.builder.reshape(n.value(0), [ONE, *shape]), [ONE, Dim.of(width)])
    return with_sizes(n, n.value(0), [shape[0], Dim.of(width)])


def _products(n: Node, outputs: int) -> SSAValue:
    """x times the coefficients, plus intercepts: [rows, outputs]."""
    b = n.builder
    kind = "f64" if n.type(0).dtype == "f64" else "f32"
    dtype = dtypes.numpy_dtype(kind)
    weights = np.array(n.required("coefficients"), dtype).reshape(outputs, -1)
    x = b.cast(_features(n, weights.shape[1]), kind)
    y = b.dot(x, n.array_constant(weights), contract=([1], [1]))
    intercepts = n.attribute("intercepts", None)
    if intercepts:
        y = b.add(y, n.array_constant(np.array(intercepts, dtype)))
    return b.cast(y, "f32")


@operator("LinearRegressor", domain=ML)
def linear_regressor(n: Node) -> SSAValue:
    scores = _products(n, n.attribute("targets", 1))
    return transformed(n, scores, n.attribute("post_transform", "NONE"))


@operator("LinearClassifier", domain=ML)
def linear_classifier(n: Node) -> Sequence[SSAValue]:
    b = n.builder
    labels = class_labels(n, "classlabels_ints")
    outputs = len(n.attribute("intercepts", None) or [])
    if not outputs:
        width = need_size(n, n.type(0).shape[-1], "the number of features")
        outputs = len(n.required("coefficients")) // max(width, 1)
    scores = _products(n, outputs)
    post = n.attribute("post_transform", "NONE")
    if outputs == 1 and len(labels) == 2:
        scores = two_columns(n, scores)
    scores = transformed(n, scores, post)
    if tensor_type(scores).shape[1] is not ONE:
        best = b.arg_reduce("max", scores, 1)
        return [b.gather(n.array_constant(labels), best, 0), scores]
    above = b.compare("ge", scores, 0.0 if post == "NONE" else 0.5)
    label = b.select(above, b.constant(int(labels[0]), "i64"), b.constant(0, "i64"))
    return [b.reshape(label, [tensor_type(scores).shape[0]]), scores]


@operator("SVMRegressor", domain=ML)
def svm_regressor(n: Node) -> SSAValue:
    b = n.builder
    coefficients = np.array(n.required("coefficients"), np.float32)
    supports = n.attribute("n_supports", 0)
    kernel = n.attribute("kernel_type", "LINEAR") if supports else "LINEAR"
    if supports:
        vectors = np.array(n.required("support_vectors"), np.float32).reshape(supports, -1)
        x = b.cast(_features(n, vectors.shape[1]), "f32")
        values = _kernel_values(n, x, vectors, kernel)
        scores = b.dot(values, n.array_constant(coefficients), contract=([1], [0]))
    else:
        x = b.cast(_features(n, len(coefficients)), "f32")
        scores = b.dot(x, n.array_constant(coefficients), contract=([1], [0]))
    scores = b.add(scores, float(n.required("rho")[0]))
    if n.attribute("one_class", 0):
        scores = b.select(b.compare("gt", scores, 0.0), b.constant(1.0, "f32"), -1.0)
    scores = b.unsqueeze(scores, [1])
    return transformed(n, scores, n.attribute("post_transform", "NONE"))


def _kernel_values(n: Node, x: SSAValue, vectors: np.ndarray, kernel: str) -> SSAValue:
    """The kernel of every row with every support vector: [rows, vectors]."""
    b = n.builder
    gamma, offset, degree = n.attribute("kernel_params", None) or (0.0, 0.0, 0.0)
    if kernel == "RBF":
        rows, width = tensor_type(x).shape
        apart = b.sub(b.reshape(x, [rows, ONE, width]), n.array_constant(vectors))
        return b.exp(b.mul(b.reduce("sum", b.mul(apart, apart), [2]), -gamma))
    product = b.dot(x, n.array_constant(vectors), contract=([1], [1]))
    if kernel == "LINEAR":
        return product
    inner = b.add(b.mul(product, gamma), offset)
    if kernel == "POLY":
        return b.pow(inner, degree)
    if kernel == "SIGMOID":
        return b.tanh(inner)
    raise n.error(f"kernel_type '{kernel}' is not one of LINEAR, POLY, RBF, SIGMOID")
