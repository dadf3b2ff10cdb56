"""The inputs of a model: their types with symbolic sizes, and what a caller fixes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx

from infini_ir.dialects.graph.types import TensorType
from infini_ir.frontends.onnx.errors import SpecializationNeeded
from infini_ir.frontends.onnx.session import Session
from infini_ir.frontends.onnx.tensors import dtype_of
from infini_ir.utils.dtypes import dtype_name
from infini_ir.utils.errors import ModelError
from infini_ir.utils.symbolic import Dim

Given = Mapping[str, Any]
"""By input name: a shape (ints, symbols), a known array; lists of these for a sequence; None
for an absent optional."""


@dataclass
class Tensor:
    """One tensor that a model takes: an argument, or a known array."""

    name: str
    type: TensorType
    array: np.ndarray | None = None


@dataclass
class Input:
    """One input of the model."""

    name: str
    kind: str
    """tensor, sequence or optional."""
    tensors: list[Tensor] = field(default_factory=list)
    """The tensors it consists of."""
    element: TensorType | None = None
    inner: str = "tensor"
    """What an optional holds."""
    present: bool = True


class SignatureReader:
    """Turns the inputs of a graph into types, giving sizes their symbols."""

    def __init__(self, session: Session, given: Given) -> None:
        self.session = session
        self.given = dict(given)
        self.names: dict[str, str] = {}
        """Symbol of each dim_param that is one name."""
        self.fixed: dict[str, Dim] = {}
        """Symbols that given shapes replace."""

    def read(self, graph: onnx.GraphProto) -> list[Input]:
        """The inputs that are not initializers."""
        stored = {t.name for t in graph.initializer}
        stored |= {s.values.name for s in graph.sparse_initializer}
        infos = [info for info in graph.input if info.name not in stored]
        unknown = self.given.keys() - {info.name for info in infos}
        if unknown:
            raise ModelError(
                f"{self.session.label}: there is no input '{sorted(unknown)[0]}' to give a "
                f"shape or value; inputs are {', '.join(info.name for info in infos) or 'none'}"
            )
        inputs = [self._input(info) for info in infos]
        self._settle([tensor for item in inputs for tensor in item.tensors])
        return inputs

    def fail(self, name: str, message: str) -> ModelError:
        return ModelError(f"{self.session.label}: input '{name}': {message}")

    def _input(self, info: onnx.ValueInfoProto) -> Input:
        kind = info.type.WhichOneof("value")
        if kind == "tensor_type":
            given = self.given.get(info.name)
            tensor = self._tensor(info.name, info.type.tensor_type, given)
            return Input(info.name, "tensor", [tensor])
        if kind == "sequence_type":
            return self._sequence(info.name, info.type.sequence_type, "sequence")
        if kind == "optional_type":
            return self._optional(info.name, info.type.optional_type.elem_type)
        raise self.fail(info.name, f"its type ({kind or 'none given'}) is not supported")

    def _sequence(self, name: str, proto: onnx.TypeProto.Sequence, kind: str) -> Input:
        element = proto.elem_type.tensor_type
        if proto.elem_type.WhichOneof("value") != "tensor_type":
            raise self.fail(name, "only sequences of tensors are supported")
        if name not in self.given:
            raise SpecializationNeeded(self.session.label, [name], reason="it is a sequence")
        tensors = [
            self._tensor(f"{name}[{index}]", element, item, alone=False)
            for index, item in enumerate(self.given[name])
        ]
        dtype = dtype_of(element.elem_type, lambda text: self.fail(name, text))
        return Input(name, kind, tensors, TensorType.of((), dtype), "sequence")

    def _optional(self, name: str, proto: onnx.TypeProto) -> Input:
        if name not in self.given:
            raise SpecializationNeeded(self.session.label, [name], reason="it is optional")
        given = self.given[name]
        if given is None:
            return Input(name, "optional", present=False)
        if proto.WhichOneof("value") == "sequence_type":
            return self._sequence(name, proto.sequence_type, "optional")
        tensor = self._tensor(f"{name}", proto.tensor_type, given)
        return Input(name, "optional", [tensor])

    def _tensor(
        self, name: str, proto: onnx.TypeProto.Tensor, given: Any, *, alone: bool = True
    ) -> Tensor:
        """A tensor; one that is not `alone` is an element of a sequence, whose named sizes
        may differ from element to element."""
        dtype = dtype_of(proto.elem_type, lambda text: self.fail(name, text))
        declared = self._declared(name, proto)
        if given is None:
            if declared is None:
                raise self.fail(name, "the model does not give its rank; use inputs={...}")
            return Tensor(name, TensorType.of(declared, dtype))
        array = given if isinstance(given, np.ndarray | np.generic) else None
        shape = self._given_shape(name, given if array is None else np.shape(array))
        if alone:
            self._fix(name, declared, shape)
        if array is not None:
            array = np.asarray(array)
            if _dtype(array) != dtype:
                raise self.fail(name, f"it is {dtype}, not {array.dtype} as given")
        return Tensor(name, TensorType.of(shape, dtype), array)

    def _given_shape(self, name: str, shape: Any) -> list[Dim]:
        if isinstance(shape, str) or not isinstance(shape, Sequence):
            raise self.fail(name, f"{shape!r} is neither a shape nor an array")
        dims = []
        for size in shape:
            try:
                dims.append(Dim.of(size if isinstance(size, str | Dim) else int(size)))
            except (TypeError, ValueError):
                raise self.fail(name, f"{size!r} is not a size") from None
            if dims[-1].value is not None and dims[-1].value < 0:
                raise self.fail(name, f"size {size} is negative")
        return dims

    def _fix(self, name: str, declared: list[Dim] | None, shape: list[Dim]) -> None:
        """A given shape must fit; what it says of a named size holds for all inputs."""
        if declared is None:
            return
        if len(declared) != len(shape):
            raise self.fail(name, f"it has {len(declared)} axes, not {len(shape)} as given")
        for axis, (old, new) in enumerate(zip(declared, shape, strict=True)):
            if old.name is not None:
                known = self.fixed.setdefault(old.name, new)
                if known is not new and known.is_constant and new.is_constant:
                    raise self.fail(name, f"size '{old}' is given as {known} and as {new}")
            elif old.is_constant and new.is_constant and old is not new:
                raise self.fail(name, f"axis {axis} has size {old}, not {new} as given")

    def _declared(self, name: str, proto: onnx.TypeProto.Tensor) -> list[Dim] | None:
        if not proto.HasField("shape"):
            return None
        stem = re.sub(r"\W", "_", name)
        return [self._dim(dim, f"{stem}_dim{axis}") for axis, dim in enumerate(proto.shape.dim)]

    def _dim(self, proto: onnx.TensorShapeProto.Dimension, hint: str) -> Dim:
        if proto.HasField("dim_value") and proto.dim_value >= 0:
            return Dim.of(proto.dim_value)
        text = proto.dim_param.strip()
        if re.search(r"\w", text) and not re.fullmatch(r"-?\d+", text):
            if re.search(r"[-+*(]", text):
                try:
                    return Dim.parse(text)
                except (ValueError, ZeroDivisionError):
                    pass
            return self._named(text)
        return Dim.symbol(self.session.fresh_symbol(hint))

    def _named(self, text: str) -> Dim:
        if text not in self.names:
            self.names[text] = self.session.fresh_symbol(text)
        return Dim.symbol(self.names[text])

    def _settle(self, tensors: list[Tensor]) -> None:
        """Replace fixed symbols, and expressions of symbols that no input defines."""
        for tensor in tensors:
            shape = [dim.substitute(self.fixed) for dim in tensor.type.shape]
            tensor.type = tensor.type.with_shape(shape)
        arguments = [tensor for tensor in tensors if tensor.array is None]
        bare = {d.name for tensor in arguments for d in tensor.type.shape if d.name}
        for tensor in arguments:
            shape = [
                dim if dim.symbols() <= bare else self._stand_in(dim, bare)
                for dim in tensor.type.shape
            ]
            tensor.type = tensor.type.with_shape(shape)
            for dim in shape:
                if dim.name is not None:
                    self.session.symbol_inputs.setdefault(dim.name, tensor.name)
        self.session.symbols |= bare
        self.session.argument_symbols |= bare

    def _stand_in(self, dim: Dim, bare: set[str]) -> Dim:
        """A symbol for an expression that cannot be computed from the inputs' shapes."""
        symbol = self._named(str(dim))
        bare |= symbol.symbols()
        return symbol


def _dtype(array: np.ndarray) -> str:
    try:
        return dtype_name(array.dtype)
    except KeyError:
        return str(array.dtype)
