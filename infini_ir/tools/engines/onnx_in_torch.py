"""An ONNX file as a PyTorch module, so that PyTorch can be compared on files it did not make.

A table gives each operator's form in PyTorch. It has those of convolutional networks with
sizes known when compiling; a file with another one is refused by its name. What depends on
constants alone is computed once, as the module is made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import helper, numpy_helper
from torch import nn

from infini_ir.tools.engines.quantized_in_torch import PREPARED, folds
from infini_ir.utils.errors import InfiniError

Attributes = Mapping[str, Any]


@dataclass(frozen=True)
class Step:
    """A node: its function, what it reads and what it makes."""

    function: Callable[..., torch.Tensor]
    attributes: Attributes
    inputs: tuple[str, ...]
    output: str

    def __call__(self, values: Mapping[str, Any]) -> torch.Tensor:
        return self.function(self.attributes, *(values[name] for name in self.inputs))


class OnnxModule(nn.Module):
    """The graph of an ONNX file; called with the inputs in the order of `inputs`.

    Constants of floats are buffers, which casts of the module reach. Raises `InfiniError` for
    operators that the table does not have.
    """

    def __init__(self, path: str, inputs: Sequence[str]) -> None:
        super().__init__()
        model = onnx.load(path)
        graph = model.graph
        unknown = sorted({n.op_type for n in graph.node if _name(n) not in FORMS | PREPARED})
        if unknown:
            raise InfiniError(f"no form in PyTorch for {', '.join(unknown)}")
        self.inputs, self.outputs = tuple(inputs), tuple(value.name for value in graph.output)
        opset = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
        constants: dict[str, Any] = {"": None}
        for tensor in graph.initializer:
            constants[tensor.name] = _constant(numpy_helper.to_array(tensor))
        self.steps: list[Step] = []
        for node in graph.node:
            attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            attributes["opset"] = opset
            function = FORMS.get(node.op_type)
            if function is None:
                function = _prepared(node, attributes, constants)
            step = Step(function, attributes, tuple(node.input), node.output[0])
            known = all(name in constants for name in step.inputs)
            if known and (not step.inputs or folds(node.op_type, constants[step.inputs[0]])):
                constants[step.output] = step(constants)
            else:
                self.steps.append(step)
        self.kept = self._keep(constants)

    def _keep(self, constants: Mapping[str, Any]) -> dict[str, Any]:
        """Make buffers of the weights that steps read; the other constants by name, sizes as
        lists of numbers, since a graph cannot depend on what is in a tensor."""
        read = {name for step in self.steps for name in step.inputs} & constants.keys()
        self.buffers_of: dict[str, str] = {}
        kept: dict[str, Any] = {}
        sizes = {n for s in self.steps if s.function in SIZED for n in s.inputs[1:]}
        for step in self.steps:
            sizes -= set(step.inputs[:1] if step.function in SIZED else step.inputs)
        for name in sorted(read):
            value = constants[name]
            if name in sizes and isinstance(value, torch.Tensor):
                kept[name] = value.reshape(-1).tolist()
            elif isinstance(value, torch.Tensor) and value.dtype in _KEPT_IN_BUFFERS:
                self.buffers_of[name] = f"constant{len(self.buffers_of)}"
                self.register_buffer(self.buffers_of[name], value)
            else:
                kept[name] = value
        return kept

    def forward(self, *tensors: torch.Tensor) -> list[torch.Tensor]:
        """The outputs, in the file's order."""
        values: dict[str, Any] = dict(self.kept)
        for name, buffer in self.buffers_of.items():
            values[name] = getattr(self, buffer)
        for name, tensor in zip(self.inputs, tensors, strict=True):
            values[name] = tensor
        for step in self.steps:
            values[step.output] = step(values)
        return [values[name] for name in self.outputs]


_KEPT_IN_BUFFERS = (torch.float64, torch.float32, torch.bfloat16, torch.int8, torch.uint8)


def _prepared(
    node: onnx.NodeProto, attributes: Attributes, constants: Mapping[str, Any]
) -> Callable[..., torch.Tensor]:
    """The function of a node whose parameters must be constants."""
    parameters = [name for name in node.input[1:] if name]
    if any(name not in constants for name in parameters):
        raise InfiniError(f"no form in PyTorch for {node.op_type} with computed scales")
    return PREPARED[node.op_type](attributes, *(constants[name] for name in parameters))


def _name(node: onnx.NodeProto) -> str:
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"


def _constant(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(array))


def _ints(value: torch.Tensor | Sequence[float]) -> list[int]:
    numbers = value.reshape(-1).tolist() if isinstance(value, torch.Tensor) else value
    return [int(number) for number in numbers]


# Windows


def _pads(a: Attributes, sizes: Sequence[int]) -> list[int]:
    """Padding before each axis, then after each."""
    kind = a.get("auto_pad", b"NOTSET").decode()
    kernel, rank = a["kernel_shape"], len(sizes)
    if kind in ("NOTSET", "VALID"):
        return list(a.get("pads", [0] * (2 * rank)))
    strides = a.get("strides", [1] * rank)
    dilations = a.get("dilations", [1] * rank)
    before, after = [], []
    for size, window, stride, dilation in zip(sizes, kernel, strides, dilations):
        reach = dilation * (window - 1) + 1
        whole = max(0, (math.ceil(size / stride) - 1) * stride + reach - size)
        half = whole // 2
        before.append(half if kind == "SAME_UPPER" else whole - half)
        after.append(whole - before[-1])
    return before + after


def _padded(x: torch.Tensor, pads: Sequence[int], value: float = 0.0) -> torch.Tensor:
    rank = len(pads) // 2
    pairs = [p for i in reversed(range(rank)) for p in (pads[i], pads[rank + i])]
    return F.pad(x, pairs, value=value)


def _conv(a: Attributes, x: torch.Tensor, w: torch.Tensor, b: Any = None) -> torch.Tensor:
    pads = _pads({**a, "kernel_shape": w.shape[2:]}, x.shape[2:])
    rank = len(pads) // 2
    if pads[:rank] != pads[rank:]:
        x, pads = _padded(x, pads), [0] * (2 * rank)
    convolve = (F.conv1d, F.conv2d, F.conv3d)[rank - 1]
    strides, dilations = a.get("strides", [1] * rank), a.get("dilations", [1] * rank)
    return convolve(x, w, b, strides, pads[:rank], dilations, a.get("group", 1))


def _max_pool(a: Attributes, x: torch.Tensor) -> torch.Tensor:
    pads, kernel = _pads(a, x.shape[2:]), a["kernel_shape"]
    strides = a.get("strides", [1] * len(kernel))
    dilations, whole = a.get("dilations", 1), bool(a.get("ceil_mode"))
    if (pad := _same_around(pads, kernel)) is not None:
        return F.max_pool2d(x, kernel, strides, pad, dilations, whole)
    if whole:
        raise InfiniError("no form in PyTorch for MaxPool with ceil_mode and uneven padding")
    return F.max_pool2d(_padded(x, pads, -math.inf), kernel, strides, 0, dilations)


def _average_pool(a: Attributes, x: torch.Tensor) -> torch.Tensor:
    pads, kernel = _pads(a, x.shape[2:]), a["kernel_shape"]
    strides = a.get("strides", [1] * len(kernel))
    if a.get("ceil_mode"):
        raise InfiniError("no form in PyTorch for AveragePool with ceil_mode")
    padded = bool(a.get("count_include_pad"))
    if (pad := _same_around(pads, kernel)) is not None:
        return F.avg_pool2d(x, kernel, strides, pad, count_include_pad=padded)
    sums = F.avg_pool2d(_padded(x, pads), kernel, strides)
    if padded:
        return sums
    ones = torch.ones((1, 1, *x.shape[2:]), dtype=x.dtype)
    return sums / F.avg_pool2d(_padded(ones, pads), kernel, strides)


def _same_around(pads: Sequence[int], kernel: Sequence[int]) -> list[int] | None:
    """The padding of each axis, where PyTorch's pools have it: as much after as before."""
    rank = len(kernel)
    before = list(pads[:rank])
    fits = all(2 * pad <= window for pad, window in zip(before, kernel))
    return before if fits and before == list(pads[rank:]) else None


def _lrn(a: Attributes, x: torch.Tensor) -> torch.Tensor:
    alpha, beta, bias = a.get("alpha", 1e-4), a.get("beta", 0.75), a.get("bias", 1.0)
    return F.local_response_norm(x, a["size"], alpha, beta, bias)


# Shapes


def _reshape(a: Attributes, x: torch.Tensor, shape: Any) -> torch.Tensor:
    sizes = _ints(shape)
    return x.reshape([x.shape[i] if size == 0 else size for i, size in enumerate(sizes)])


def _flatten(a: Attributes, x: torch.Tensor) -> torch.Tensor:
    return x.reshape(math.prod(x.shape[: a.get("axis", 1)]), -1)


def _unsqueeze(a: Attributes, x: torch.Tensor, axes: Any = None) -> torch.Tensor:
    places = a.get("axes") or _ints(axes)
    rank = x.ndim + len(places)
    for place in sorted(place % rank for place in places):
        x = x.unsqueeze(place)
    return x


def _slice(a: Attributes, x: torch.Tensor, *bounds: Any) -> torch.Tensor:
    starts, ends = _ints(bounds[0]), _ints(bounds[1])
    axes = _ints(bounds[2]) if len(bounds) > 2 else list(range(len(starts)))
    steps = _ints(bounds[3]) if len(bounds) > 3 else [1] * len(starts)
    index = [slice(None)] * x.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps):
        index[axis] = slice(start, min(end, x.shape[axis]), step)
    return x[tuple(index)]


def _resize(a: Attributes, x: torch.Tensor, *operands: Any) -> torch.Tensor:
    scales = operands[1] if len(operands) > 1 else torch.zeros(0)
    whole = len(scales) == x.ndim and all(float(s) == int(s) for s in scales)
    if a.get("mode", b"nearest") != b"nearest" or not whole or _ints(scales)[:2] != [1, 1]:
        raise InfiniError("no form in PyTorch for Resize but whole multiples of nearest")
    return F.interpolate(x, scale_factor=tuple(float(s) for s in _ints(scales)[2:]))


# The rest


def _gemm(a: Attributes, x: torch.Tensor, y: torch.Tensor, z: Any = None) -> torch.Tensor:
    x, y = (x.mT if a.get("transA") else x), (y.mT if a.get("transB") else y)
    out = a.get("alpha", 1.0) * (x @ y)
    return out if z is None else out + a.get("beta", 1.0) * z


def _batch_norm(a: Attributes, x: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
    scale, bias, mean, variance = parameters
    return F.batch_norm(x, mean, variance, scale, bias, eps=a.get("epsilon", 1e-5))


def _reduce_mean(a: Attributes, x: torch.Tensor, axes: Any = None) -> torch.Tensor:
    places = a.get("axes") or (None if axes is None else _ints(axes))
    if not places:
        raise InfiniError("no form in PyTorch for ReduceMean of all axes")
    return x.mean(places, keepdim=bool(a.get("keepdims", 1)))


def _softmax(a: Attributes, x: torch.Tensor) -> torch.Tensor:
    if a["opset"] >= 13:
        return F.softmax(x, a.get("axis", -1))
    flat = x.reshape(math.prod(x.shape[: a.get("axis", 1)]), -1)
    return F.softmax(flat, 1).reshape(x.shape)


FORMS: dict[str, Callable[..., Any]] = {
    "Add": lambda a, x, y: x + y,
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Concat": lambda a, *x: torch.cat(x, a["axis"]),
    "Constant": lambda a: _constant(numpy_helper.to_array(a["value"])),
    "Conv": _conv,
    "Div": lambda a, x, y: x / y,
    "Dropout": lambda a, x, *_: x,
    "Flatten": _flatten,
    "Gemm": _gemm,
    "GlobalAveragePool": lambda a, x: x.mean(tuple(range(2, x.ndim)), keepdim=True),
    "Identity": lambda a, x: x,
    "LRN": _lrn,
    "MatMul": lambda a, x, y: x @ y,
    "MaxPool": _max_pool,
    "Mul": lambda a, x, y: x * y,
    "ReduceMean": _reduce_mean,
    "Relu": lambda a, x: F.relu(x),
    "Reshape": _reshape,
    "Resize": _resize,
    "Sigmoid": lambda a, x: torch.sigmoid(x),
    "Slice": _slice,
    "Softmax": _softmax,
    "Sub": lambda a, x, y: x - y,
    "Sum": lambda a, *x: sum(x[1:], start=x[0]),
    "Tanh": lambda a, x: torch.tanh(x),
    "Transpose": lambda a, x: x.permute(a.get("perm") or list(range(x.ndim))[::-1]),
    "Unsqueeze": _unsqueeze,
}
"""By operator: the function of the attributes and the inputs."""
SIZED = (_reshape, _unsqueeze, _slice, _resize, _reduce_mean)
"""Functions whose inputs after the first are sizes, places and scales."""
