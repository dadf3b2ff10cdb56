"""The backend that the official ONNX test suite drives, on top of `infini_ir.compile`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import onnx
from onnx.backend.base import Backend as OnnxBackend
from onnx.backend.base import BackendRep as OnnxBackendRep
from onnx.backend.base import namedtupledict

from infini_ir.frontends.onnx.errors import SpecializationNeeded
from infini_ir.frontends.onnx.interface import Interface
from infini_ir.frontends.onnx.specialize import Build, Given, Runner, Specializer
from infini_ir.utils.errors import InputError


class BackendRep(OnnxBackendRep):
    """A model, compiled once for each set of values that it must be specialised for."""

    def __init__(self, model: onnx.ModelProto, build: Build | None = None) -> None:
        """`build` makes a program; by default it compiles for this machine."""
        self.interface = Interface.of(model)
        self.specializer = Specializer(self.interface, build or partial(compile_model, model))

    def prepare(self) -> None:
        """Compile, unless that must wait for the first inputs."""
        if all(info.kind == "tensor" for info in self.interface.inputs):
            try:
                self.specializer.program({})
            except SpecializationNeeded as needed:
                self.specializer.note(needed)

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """The outputs, by position and by name; sequences are lists, an empty optional None."""
        outputs = self.specializer.run(self._by_name(inputs))
        return namedtupledict("Outputs", list(self.interface.outputs))(*outputs)

    def _by_name(self, inputs: Any) -> dict[str, Any]:
        names = [info.name for info in self.interface.inputs]
        if isinstance(inputs, Mapping):
            return {name: inputs[name] for name in names}
        if isinstance(inputs, np.ndarray):
            inputs = [inputs]
        if len(inputs) > len(names):
            raise InputError(f"the model takes {len(names)} inputs, not {len(inputs)}")
        return dict.fromkeys(names) | dict(zip(names, inputs, strict=False))


def compile_model(model: onnx.ModelProto, given: Given) -> tuple[Runner, Sequence[str]]:
    """Compile for this machine."""
    import infini_ir

    return infini_ir.compile_for(model, given)


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
