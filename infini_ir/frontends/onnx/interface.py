"""What a model file says of its inputs and outputs, before anything is imported."""

from __future__ import annotations

from dataclasses import dataclass

import onnx

from infini_ir.frontends.onnx.loading import Source, load_model
from infini_ir.frontends.onnx.session import identifier
from infini_ir.frontends.onnx.tensors import DTYPES
from infini_ir.runtime.signature import TensorSpec
from infini_ir.utils.symbolic import Dim


@dataclass(frozen=True)
class InputInfo:
    """One input as the model declares it."""

    name: str
    kind: str
    """tensor, sequence or optional."""
    spec: TensorSpec | None
    """Of a tensor whose rank is declared."""


@dataclass(frozen=True)
class Interface:
    """The inputs that a caller gives, and the names of the outputs."""

    inputs: tuple[InputInfo, ...]
    outputs: tuple[str, ...]

    @staticmethod
    def of(source: Source) -> Interface:
        """Read a model. Raises `ModelError` for what is none."""
        graph = load_model(source)[0].graph
        stored = {tensor.name for tensor in graph.initializer}
        stored |= {sparse.values.name for sparse in graph.sparse_initializer}
        given = [info for info in graph.input if info.name not in stored]
        return Interface(
            tuple(_input_info(info) for info in given),
            tuple(info.name for info in graph.output),
        )


def _input_info(info: onnx.ValueInfoProto) -> InputInfo:
    field = info.type.WhichOneof("value") or "tensor_type"
    kind = field.removesuffix("_type")
    tensor = info.type.tensor_type
    if kind != "tensor" or not tensor.HasField("shape") or tensor.elem_type not in DTYPES:
        return InputInfo(info.name, kind, None)
    shape = tuple(
        Dim.of(dim.dim_value)
        if dim.HasField("dim_value") and dim.dim_value >= 0
        else Dim.symbol(identifier(dim.dim_param or f"{info.name}_dim{axis}"))
        for axis, dim in enumerate(tensor.shape.dim)
    )
    return InputInfo(info.name, kind, TensorSpec(info.name, DTYPES[tensor.elem_type], shape))
