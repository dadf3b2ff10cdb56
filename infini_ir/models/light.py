"""The nine ImageNet networks that the `onnx` package carries, with random weights.

Their files hold structure only: each weight is a constant repeated, under which every output
is the same and a wrong kernel goes unseen. Here each gets seeded random values of a scale that
keeps activations of the order of one through the whole network.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from infini_ir.utils.errors import ModelError

LIGHT_MODELS = (
    "bvlc_alexnet",
    "densenet121",
    "inception_v1",
    "inception_v2",
    "resnet50",
    "shufflenet",
    "squeezenet",
    "vgg19",
    "zfnet512",
)

_RESIDUAL_SCALE = 0.5
"""Of a normalisation that feeds a sum: sixteen residual blocks then grow 6-fold, not 256-fold."""

_LAST_SCALE = {"inception_v1": 0.02, "shufflenet": 0.02}
"""Of the last matrix of networks whose activations grow all the same, lest softmax saturate."""

_Uses = dict[str, list[tuple[onnx.NodeProto, int]]]


def light_model(name: str, seed: int = 0) -> onnx.ModelProto:
    """The network `name` (of `LIGHT_MODELS`), its weights drawn from `seed`."""
    if name not in LIGHT_MODELS:
        raise ModelError(f"no light model '{name}'; there are: {', '.join(LIGHT_MODELS)}")
    model = onnx.load(_folder() / f"light_{name}.onnx")
    graph, rng = model.graph, np.random.default_rng(seed)
    uses, last = _uses(graph), _LAST_SCALE.get(name, 1.0)
    weights = [
        numpy_helper.from_array(_values(shape, uses, weight, rng, last), weight)
        for weight, shape in _weights(graph, uses)
    ]
    drawn = {weight.name for weight in weights}
    nodes = [node for node in graph.node if node.op_type != "ConstantOfShape"]
    read = {name for node in nodes for name in node.input}
    kept = [i for i in graph.initializer if i.name in read and i.name not in drawn]
    inputs = [i for i in graph.input if i.name in read - drawn - {k.name for k in kept}]
    for part in (graph.node, graph.initializer, graph.input):
        del part[:]
    graph.node.extend(nodes)
    graph.initializer.extend([*kept, *weights])
    graph.input.extend(inputs)
    model.ir_version = max(model.ir_version, 4)  # initializers need not be graph inputs
    return model


def light_inputs(name: str, seed: int = 0) -> dict[str, np.ndarray]:
    """Standard normal arrays for the input of a light model: one image, by its name."""
    shape = (1, 3, 224, 224)
    model = onnx.load(_folder() / f"light_{name}.onnx")
    image = next(i.name for i in model.graph.input if _shape(i) == shape)
    return {image: np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)}


def _shape(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    return tuple(d.dim_value for d in value.type.tensor_type.shape.dim)


def _folder() -> Path:
    return Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"


def _uses(graph: onnx.GraphProto) -> _Uses:
    """Who reads a value, and as which operand."""
    uses: _Uses = defaultdict(list)
    for node in graph.node:
        for position, name in enumerate(node.input):
            uses[name].append((node, position))
    return uses


def _weights(graph: onnx.GraphProto, uses: _Uses) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of the float constants that are read, in graph order."""
    constants = {i.name: i for i in graph.initializer}
    for initializer in graph.initializer:
        if initializer.data_type == onnx.TensorProto.FLOAT and initializer.name in uses:
            yield initializer.name, tuple(initializer.dims)
    for node in graph.node:
        if node.op_type == "ConstantOfShape" and node.output[0] in uses:
            shape = numpy_helper.to_array(constants[node.input[0]])
            yield node.output[0], tuple(int(size) for size in shape)


def _values(
    shape: tuple[int, ...], uses: _Uses, name: str, rng: np.random.Generator, last: float
) -> np.ndarray:
    """Random values for a weight, scaled by what it is to the node that reads it."""
    node, position = _reader(uses, name)
    normal = rng.standard_normal(shape, dtype=np.float32)
    if node.op_type == "Conv" and position == 1:
        return normal * np.float32(np.sqrt(2 / np.prod(shape[1:])))
    if node.op_type == "Gemm" and position == 1:
        return normal * np.float32(last * np.sqrt(1 / shape[1]))
    if node.op_type == "BatchNormalization" and position == 4:
        return (1 + 0.1 * np.tanh(normal)).astype(np.float32)
    if (node.op_type == "BatchNormalization" and position == 1) or node.op_type == "Mul":
        residual = any(user.op_type == "Sum" for user, _ in uses[node.output[0]])
        scale = _RESIDUAL_SCALE if residual else 1.0
        return (scale * (1 + 0.1 * normal)).astype(np.float32)
    return 0.1 * normal


def _reader(uses: _Uses, name: str) -> tuple[onnx.NodeProto, int]:
    """The node that computes with a constant, past the reshaping of it."""
    node, position = uses[name][0]
    while node.op_type in ("Unsqueeze", "Reshape") and position == 0:
        node, position = uses[node.output[0]][0]
    return node, position
