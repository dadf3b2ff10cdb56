"""Models whose shapes depend on values of their inputs: one program for each set of values.

ONNX lets an input's values decide the rank or the axes of a result, and -1 stand for a size
to be found out. Such a model is compiled when it is called, with those inputs as constants.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from infini_ir.frontends.onnx.errors import SpecializationNeeded
from infini_ir.runtime.arrays import as_input
from infini_ir.runtime.model import CompiledModel
from infini_ir.runtime.signature import TensorSpec
from infini_ir.utils.errors import ArtifactError, InputError, ModelError, SizeError

Given = dict[str, Any]
"""By input name: a shape, an array, lists of these for a sequence, None for no optional."""
Runner = Callable[[Sequence[np.ndarray]], Sequence[np.ndarray]]
Build = Callable[[Given], tuple[Runner, Sequence[str]]]
"""Gives a function of the flat inputs to the flat outputs, and the description of the
outputs (`infini_ir.frontends.onnx.importer.OUTPUTS`)."""

if TYPE_CHECKING:
    from infini_ir.frontends.onnx.interface import InputInfo, Interface

_SIZES = ("i32", "i64")

KEPT_PROGRAMS = 64
"""Programs kept of one model; the least recently used is dropped for another."""


@dataclass
class Specializer:
    """The programs of one model, built when a call needs them. Threads may share it."""

    interface: Interface
    build: Build
    fixed: Mapping[str, Any] = field(default_factory=dict)
    """Shapes and values that the caller gave for all programs."""
    values: set[str] = field(default_factory=set)
    """Inputs whose values programs are built for."""
    shapes: set[str] = field(default_factory=set)
    """Inputs whose sizes they are built for."""
    programs: OrderedDict[str, tuple[Runner, Sequence[str]]] = field(
        default_factory=OrderedDict
    )
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def inputs(self) -> list[InputInfo]:
        """The inputs that a call gives: those without a fixed value."""
        return [i for i in self.interface.inputs if not _is_array(self.fixed.get(i.name))]

    def run(self, values: Mapping[str, Any]) -> list[Any]:
        """The outputs: an array each, a list for a sequence, None for an empty optional."""
        for _ in range(len(self.inputs) + 2):
            given = self.given(values)
            try:
                run, outputs = self.program(given)
                return self._results(run(self._flat(values, given)), outputs)
            except SpecializationNeeded as needed:
                self.note(needed)
            except SizeError:
                if not self.note_sizes(values):
                    raise
        raise ModelError("the model asks for more values than it has inputs")

    def note(self, needed: SpecializationNeeded) -> None:
        """Remember what programs must be built for."""
        if set(needed.names) <= self.values and set(needed.shapes) <= self.shapes:
            raise needed
        self.values |= set(needed.names)
        self.shapes |= set(needed.shapes)

    def note_sizes(self, values: Mapping[str, Any]) -> bool:
        """After a size that cannot be: have the inputs that may hold sizes built in, where
        they are not yet. A -1 among them may mean a size to be found out."""
        lists = {i.name for i in self.inputs if _is_size_list(values.get(i.name))}
        if lists <= self.values:
            return False
        self.values |= lists
        return True

    def given(self, values: Mapping[str, Any]) -> Given:
        """What a program for these inputs is built for."""
        given: Given = dict(self.fixed)
        for info in self.inputs:
            value = values[info.name]
            if info.kind != "tensor":
                given[info.name] = _shapes(value)
            elif info.name in self.shapes - self.values:
                given[info.name] = tuple(np.shape(value))
            elif info.name in self.values:
                given[info.name] = _array(info, value)
        return given

    def program(self, given: Given) -> tuple[Runner, Sequence[str]]:
        """The program built for `given`, with the description of its outputs."""
        key = repr({name: _key(value) for name, value in sorted(given.items())})
        with self.lock:
            if key not in self.programs:
                self.programs[key] = self.build(given)
            self.programs.move_to_end(key)
            if len(self.programs) > KEPT_PROGRAMS:
                self.programs.popitem(last=False)
            return self.programs[key]

    def _flat(self, values: Mapping[str, Any], given: Given) -> list[Any]:
        """The tensors that a program takes."""
        flat: list[Any] = []
        for info in self.inputs:
            value = values[info.name]
            if isinstance(value, list | tuple) and info.kind != "tensor":
                flat += [np.asarray(item) for item in value]
            elif value is not None and not _is_array(given.get(info.name)):
                flat.append(value)
        return flat

    def _results(self, flat: Sequence[np.ndarray], outputs: Sequence[str]) -> list[Any]:
        rest = list(flat)
        results: list[Any] = []
        for name, text in zip(self.interface.outputs, outputs, strict=True):
            shape = text.removeprefix(name)
            if shape == "?":
                results.append(None)
            elif shape.startswith("["):
                count = int(shape[1:-1])
                results.append(rest[:count])
                del rest[:count]
            else:
                results.append(rest.pop(0))
        return results


class SpecializingModel:
    """A model compiled anew for each set of values that it must know when compiling.

    It is called as a `CompiledModel` is: by position, by name, or with a dict of inputs. A
    sequence is a list of arrays, an absent optional None. The first call with other values
    compiles. What needs one program, such as `save`, is refused.
    """

    def __init__(self, specializer: Specializer, needed: SpecializationNeeded):
        specializer.note(needed)
        self.specializer = specializer
        self.needed = needed
        """Why it cannot be one program."""

    def __call__(self, *arrays: Any, **named: Any) -> Any:
        as_dict = len(arrays) == 1 and not named and isinstance(arrays[0], Mapping)
        values = self._arrange((), arrays[0]) if as_dict else self._arrange(arrays, named)
        outputs = self.specializer.run(values)
        if as_dict:
            return dict(zip(self.specializer.interface.outputs, outputs, strict=True))
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The inputs as the model declares them."""
        specs = [info.spec for info in self.specializer.inputs if info.spec is not None]
        if len(specs) != len(self.specializer.inputs):
            raise self.needed
        return tuple(specs)

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """Refused: the outputs' types depend on values."""
        raise self.needed

    def save(self, path: str | os.PathLike[str]) -> None:
        """Refused: there is a program for each set of values."""
        raise ArtifactError(f"cannot write '{path}': {self.needed}")

    def report(self) -> dict[str, Any]:
        """How many programs there are, and the inputs they are for."""
        return {
            "programs": len(self.specializer.programs),
            "values": sorted(self.specializer.values),
            "sizes": sorted(self.specializer.shapes),
        }

    def ir(self, level: str) -> str:
        """Refused: there is a program for each set of values."""
        raise self.needed

    def __repr__(self) -> str:
        names = ", ".join(info.name for info in self.specializer.inputs)
        return f"<SpecializingModel ({names}) -> ({', '.join(self._output_names)})>"

    @property
    def _output_names(self) -> tuple[str, ...]:
        return self.specializer.interface.outputs

    def _arrange(self, first: Sequence[Any], named: Mapping[str, Any]) -> dict[str, Any]:
        """Values by input name, checked to be all there and no others."""
        infos = self.specializer.inputs
        wants = f"the model wants {', '.join(i.name for i in infos) or 'no inputs'}"
        if len(first) > len(infos):
            raise InputError(f"{len(first)} inputs were given, but {wants}")
        values = {info.name: value for info, value in zip(infos, first)}
        for name, value in named.items():
            if name not in {info.name for info in infos}:
                raise InputError(f"there is no input '{name}'; {wants}")
            if name in values:
                raise InputError(f"input '{name}' was given by position and by name")
            values[name] = value
        for info in infos:
            if info.name not in values:
                raise InputError(f"input '{info.name}' is missing; {wants}")
            if values[info.name] is None and info.kind != "optional":
                raise InputError(f"input '{info.name}' is None, but it is not optional")
            if isinstance(values[info.name], np.generic):
                values[info.name] = np.asarray(values[info.name])
        return values


def with_sizes_built_in(model: CompiledModel, made: Callable[[], Specializer]) -> CompiledModel:
    """Have a model compile again for the values of its inputs where a size that it computes
    from them cannot be: -1 may have meant a size to be found out. `made` when that happens."""
    checks = any(check.of_input for check in model.program.metadata.checks)
    if checks and any(len(s.shape) <= 1 and s.dtype in _SIZES for s in model.inputs):
        specializer = cache(made)

        def again(arrays: Sequence[Any], error: SizeError) -> list[Any]:
            values = {spec.name: as_input(spec, a) for spec, a in zip(model.inputs, arrays)}
            if not specializer().note_sizes(values) and not specializer().values:
                raise error
            try:
                return specializer().run(values)
            except ModelError:
                raise error from None

        model.on_size_error = again
    return model


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray | np.generic)


def _array(info: InputInfo, value: Any) -> np.ndarray:
    """A copy, since the caller may change its own."""
    array = np.asarray(value) if info.spec is None else as_input(info.spec, value)
    return array.copy()


def _shapes(value: Any) -> Any:
    """The shape of a tensor, a list of them for a sequence, None for nothing."""
    if isinstance(value, list | tuple):
        return [tuple(np.shape(item)) for item in value]
    return None if value is None else tuple(np.shape(value))


def _key(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return str(value.dtype), value.shape, value.tobytes()
    return value


def _is_size_list(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.ndim <= 1 and value.dtype.kind == "i"
