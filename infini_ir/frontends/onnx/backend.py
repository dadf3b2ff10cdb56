"""The backend that the official ONNX test suite drives, on top of `infini_ir.compile`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx.backend.base import Backend as OnnxBackend
from onnx.backend.base import BackendRep as OnnxBackendRep
from onnx.backend.base import namedtupledict

from infini_ir.frontends.onnx.errors import SpecializationNeeded
from infini_ir.utils.errors import InputError, ModelError

Given = dict[str, Any]
Runner = Callable[[Sequence[np.ndarray]], Sequence[np.ndarray]]
Compile = Callable[[onnx.ModelProto, Given], tuple[Runner, Sequence[str]]]
"""Gives a function of the flat inputs to the flat outputs, and the description of the
outputs (`infini_ir.frontends.onnx.importer.OUTPUTS`)."""


def compile_model(model: onnx.ModelProto, given: Given) -> tuple[Runner, Sequence[str]]:
    """Compile for this machine."""
    import infini_ir
    from infini_ir.dialects.context import compiler_context
    from infini_ir.frontends.onnx.importer import import_model, output_descriptions

    if any(o.type.WhichOneof("value") != "tensor_type" for o in model.graph.output):
        descriptions = output_descriptions(
            import_model(model, compiler_context(), inputs=given)
        )
    else:
        descriptions = [o.name for o in model.graph.output]
    compiled = infini_ir.compile(model, inputs=given)

    def run(inputs: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        outputs = compiled(*inputs)
        if isinstance(outputs, Mapping):
            return list(outputs.values())
        return list(outputs) if isinstance(outputs, list | tuple) else [outputs]

    return run, descriptions


class BackendRep(OnnxBackendRep):
    """A model, compiled once for each set of values that it must be specialised for."""

    def __init__(self, model: onnx.ModelProto, compile: Compile = compile_model) -> None:
        self.model = model
        self.compile = compile
        stored = {tensor.name for tensor in model.graph.initializer}
        stored |= {sparse.values.name for sparse in model.graph.sparse_initializer}
        self.inputs = [info for info in model.graph.input if info.name not in stored]
        self.compiled: dict[str, tuple[Runner, Sequence[str]]] = {}
        self.values: set[str] = set()
        """Inputs whose values programs are specialised for."""
        self.shapes: set[str] = set()
        """Inputs whose sizes they are specialised for."""

    def prepare(self) -> None:
        """Compile, unless that must wait for the first inputs."""
        if all(info.type.WhichOneof("value") == "tensor_type" for info in self.inputs):
            try:
                self._compiled({})
            except SpecializationNeeded as needed:
                self._note(needed)

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """The outputs, by position and by name; sequences are lists, an empty optional None."""
        values = self._by_name(inputs)
        for _ in range(len(self.inputs) + 2):
            given = self._given(values)
            try:
                run, outputs = self._compiled(given)
                flat = [a for name, v in values.items() for a in _arguments(v, given.get(name))]
                return self._result(run(flat), outputs)
            except SpecializationNeeded as needed:
                self._note(needed)
            except InputError:
                # A run-time size came out negative: in ONNX -1 may mean "infer".
                integers = {n for n, v in values.items() if _is_size_list(v)}
                if integers <= self.values:
                    raise
                self.values |= integers
        raise ModelError("the model asks for more values than it has inputs")

    def _by_name(self, inputs: Any) -> dict[str, Any]:
        names = [info.name for info in self.inputs]
        if isinstance(inputs, Mapping):
            return {name: inputs[name] for name in names}
        if isinstance(inputs, np.ndarray):
            inputs = [inputs]
        if len(inputs) > len(names):
            raise InputError(f"the model takes {len(names)} inputs, not {len(inputs)}")
        return dict(zip(names, inputs, strict=False))

    def _note(self, needed: SpecializationNeeded) -> None:
        if set(needed.names) <= self.values and set(needed.shapes) <= self.shapes:
            raise needed
        self.values |= set(needed.names)
        self.shapes |= set(needed.shapes)

    def _given(self, values: Mapping[str, Any]) -> Given:
        given: Given = {}
        for info in self.inputs:
            name, value = info.name, values.get(info.name)
            plain = info.type.WhichOneof("value") == "tensor_type"
            if name in self.values and plain:
                given[name] = np.asarray(value)
            elif not plain or name in self.shapes:
                given[name] = _shapes(value)
        return given

    def _compiled(self, given: Given) -> tuple[Runner, Sequence[str]]:
        key = repr({n: _key(v) for n, v in sorted(given.items())})
        if key not in self.compiled:
            self.compiled[key] = self.compile(self.model, given)
        return self.compiled[key]

    def _result(self, flat: Sequence[np.ndarray], outputs: Sequence[str]) -> tuple[Any, ...]:
        names = [info.name for info in self.model.graph.output]
        rest = list(flat)
        results: list[Any] = []
        for name, text in zip(names, outputs, strict=True):
            shape = text.removeprefix(name)
            if shape == "?":
                results.append(None)
            elif shape.startswith("["):
                count = int(shape[1:-1])
                results.append(rest[:count])
                del rest[:count]
            else:
                results.append(rest.pop(0))
        return namedtupledict("Outputs", names)(*results)


def _shapes(value: Any) -> Any:
    """The shape of a tensor, a list of them for a sequence, None for nothing."""
    if isinstance(value, list | tuple):
        return [tuple(np.shape(item)) for item in value]
    return None if value is None else tuple(np.shape(value))


def _arguments(value: Any, given: Any) -> list[np.ndarray]:
    """The tensors that a program takes for an input."""
    if value is None or isinstance(given, np.ndarray):
        return []
    return [np.asarray(v) for v in value] if isinstance(value, list | tuple) else [value]


def _key(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return str(value.dtype), value.shape, value.tobytes()
    return value


def _is_size_list(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.ndim <= 1 and value.dtype.kind == "i"


class Backend(OnnxBackend):
    """`onnx.backend.base.Backend` on the CPU."""

    @classmethod
    def supports_device(cls, device: str) -> bool:
        return device.upper().split(":")[0] == "CPU"

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> BackendRep:
        """Compile a model; one whose input values decide compiles when it first runs."""
        rep = BackendRep(model)
        rep.prepare()
        return rep

    @classmethod
    def run_model(
        cls, model: onnx.ModelProto, inputs: Any, device: str = "CPU", **kwargs: Any
    ) -> tuple[Any, ...]:
        return cls.prepare(model, device, **kwargs).run(inputs)

    @classmethod
    def run_node(
        cls,
        node: onnx.NodeProto,
        inputs: Any,
        device: str = "CPU",
        outputs_info: Sequence[tuple[np.dtype, tuple[int, ...]]] | None = None,
        **kwargs: Any,
    ) -> tuple[Any, ...]:
        """Run one node on arrays: a model of just that node."""
        arrays = inputs if isinstance(inputs, list | tuple) else [inputs]
        names = [name for name in node.input if name]
        helper = onnx.helper
        graph = helper.make_graph(
            [node],
            "node",
            [
                helper.make_tensor_value_info(
                    name, helper.np_dtype_to_tensor_dtype(np.asarray(a).dtype), np.shape(a)
                )
                for name, a in zip(names, arrays, strict=True)
            ],
            [onnx.ValueInfoProto(name=name) for name in node.output if name],
        )
        version = kwargs.get("opset_version", onnx.defs.onnx_opset_version())
        imports = [helper.make_opsetid(node.domain, version)]
        return cls.run_model(helper.make_model(graph, opset_imports=imports), list(arrays))


prepare = Backend.prepare
run_model = Backend.run_model
run_node = Backend.run_node
supports_device = Backend.supports_device
