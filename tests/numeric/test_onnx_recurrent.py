"""Recurrent layers against PyTorch's, which the backend cases hardly cover."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from tests.numeric.onnx_import import interpret_model

STEPS, BATCH, INPUTS, HIDDEN = 5, 3, 4, 6
LENGTHS = [5, 2, 4]

ORDER = {"LSTM": [0, 3, 1, 2], "GRU": [1, 0, 2], "RNN": [0]}
"""ONNX's gates among PyTorch's."""


def gates_in_order(array: np.ndarray, kind: str) -> np.ndarray:
    parts = np.split(array, len(ORDER[kind]))
    return np.concatenate([parts[i] for i in ORDER[kind]])


def parameters(layer: torch.nn.RNNBase, kind: str, directions: int) -> list[np.ndarray]:
    """W, R and B of the ONNX operator."""
    found = {name: value.detach().numpy() for name, value in layer.named_parameters()}

    def stacked(name: str) -> np.ndarray:
        suffixes = ["", "_reverse"][:directions]
        return np.stack([gates_in_order(found[f"{name}_l0{s}"], kind) for s in suffixes])

    bias = np.concatenate([stacked("bias_ih"), stacked("bias_hh")], axis=1)
    return [stacked("weight_ih"), stacked("weight_hh"), bias]


def model_of(kind: str, directions: int, **attributes: object) -> onnx.ModelProto:
    """A model of one layer, sequence length and batch symbolic."""
    direction = "bidirectional" if directions == 2 else "forward"
    states = ["h0", "c0"] if kind == "LSTM" else ["h0"]
    outputs = ["Y", "Y_h", "Y_c"] if kind == "LSTM" else ["Y", "Y_h"]
    node = helper.make_node(
        kind,
        ["X", "W", "R", "B", "lens", *states],
        outputs,
        hidden_size=HIDDEN,
        direction=direction,
        **attributes,
    )
    shapes = {
        "X": ["S", "N", INPUTS],
        "W": [directions, "rows", INPUTS],
        "R": [directions, "rows", HIDDEN],
        "B": [directions, "biases"],
    }
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in shapes.items()
    ]
    inputs.append(helper.make_tensor_value_info("lens", TensorProto.INT32, ["N"]))
    inputs += [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [directions, "N", HIDDEN])
        for name in states
    ]
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    graph = helper.make_graph([node], "layer", inputs, results)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)])


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("directions", [1, 2])
def test_lengths_and_states(kind: str, directions: int) -> None:
    torch.manual_seed(0)
    layer = getattr(torch.nn, kind)(INPUTS, HIDDEN, bidirectional=directions == 2)
    x = torch.randn(STEPS, BATCH, INPUTS)
    states = [torch.randn(directions, BATCH, HIDDEN) for _ in range(2 if kind == "LSTM" else 1)]
    packed = pack_padded_sequence(x, torch.tensor(LENGTHS), enforce_sorted=False)
    y, last = layer(packed, tuple(states) if kind == "LSTM" else states[0])
    y, _ = pad_packed_sequence(y, total_length=STEPS)
    y = y.detach().numpy().reshape(STEPS, BATCH, directions, HIDDEN).transpose(0, 2, 1, 3)
    expected = [y, *(v.detach().numpy() for v in (last if kind == "LSTM" else [last]))]

    attributes = {"linear_before_reset": 1} if kind == "GRU" else {}
    weights = parameters(layer, kind, directions)
    inputs = [x.numpy(), *weights, np.array(LENGTHS, np.int32), *(s.numpy() for s in states)]
    model = model_of(kind, directions, **attributes)
    for given, wanted in zip(interpret_model(model, inputs), expected, strict=True):
        np.testing.assert_allclose(given, wanted, rtol=1e-4, atol=1e-6)
