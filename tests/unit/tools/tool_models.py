"""Small ONNX models for the tools' tests."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def mlp_model() -> onnx.ModelProto:
    """`y = relu(x w + b)`, `x: f32[B, 16]`, `y: f32[B, 8]`."""
    rng = np.random.default_rng(0)
    weights = {"w": rng.standard_normal((16, 8)), "b": rng.standard_normal(8)}
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["product"], name="project"),
        helper.make_node("Add", ["product", "b"], ["sum"], name="bias"),
        helper.make_node("Relu", ["sum"], ["y"], name="relu"),
    ]
    graph = helper.make_graph(
        nodes,
        "mlp",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["B", 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["B", 8])],
        [numpy_helper.from_array(a.astype(np.float32), name) for name, a in weights.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def mlp_reference(x: np.ndarray) -> np.ndarray:
    """What `mlp_model` computes."""
    w, b = (numpy_helper.to_array(a) for a in mlp_model().graph.initializer)
    return np.maximum(x @ w + b, 0)


def unsupported_model() -> onnx.ModelProto:
    """A model with an operator that nobody knows."""
    model = mlp_model()
    model.graph.node[2].op_type = "Frobnicate"
    return model


def save(model: onnx.ModelProto, path: Path) -> str:
    """Write a model; its path as a text."""
    onnx.save(model, path)
    return str(path)
