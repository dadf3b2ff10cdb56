"""A compiled model as a Python function of arrays."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from infini_ir.runtime import artifact
from infini_ir.runtime.desk import weakly
from infini_ir.runtime.executor import Executor, choose_threads
from infini_ir.runtime.metadata import LAUNCH_PLAN
from infini_ir.runtime.program import Program
from infini_ir.runtime.signature import TensorSpec
from infini_ir.utils.errors import InputError, OptionError, SizeError


class Runner(Protocol):
    """What runs a program: takes inputs in signature order, gives fresh outputs."""

    def run(self, inputs: Sequence[Any]) -> list[Any]: ...


def make_runner(program: Program, threads: int | None = None) -> Runner:
    """What runs this program: on the processor, or on the device that it was compiled for.

    Raises `ArtifactError` where this machine has no device that can.
    """
    if program.metadata.form != LAUNCH_PLAN:
        return Executor(program, threads)
    from infini_ir.runtime.cuda.executor import CudaExecutor

    return CudaExecutor(program)


class CompiledModel:
    """A compiled model: call it with arrays.

    `model(x, y)` and `model(x, y=y)` return one array, or a tuple where there are several
    outputs; `model({"x": x, "y": y})` returns a dict. An input is a numpy array of exactly the
    declared dtype, anything `np.asarray` makes one of, or a CPU tensor of another library
    (DLPack). Outputs are fresh arrays. Any number of threads may call at once.

    A model compiled for a device also takes tensors that lie in the device's memory; where
    one is given, the outputs stay there too, as arrays that other libraries take by DLPack.
    """

    def __init__(
        self,
        program: Program,
        threads: int | None = None,
        ir: Callable[[str], str | None] | None = None,
    ):
        """`ir` gives the text of a level that the program does not carry, or None."""
        self.program = program
        self.threads = choose_threads(threads)
        """Most threads that one call uses."""
        self.inputs: tuple[TensorSpec, ...] = program.metadata.inputs
        self.outputs: tuple[TensorSpec, ...] = program.metadata.outputs
        self.on_size_error: Callable[[Sequence[Any], SizeError], list[Any]] | None = None
        """Called with the inputs of a call that failed so; gives its outputs or raises."""
        self._ir = ir
        self._lock = threading.Lock()
        self._runner: Runner | None = None
        self._enter: Callable[..., Any] = self._first_call
        """What takes inputs in signature order and gives an output, or a tuple of them."""
        self._single = len(self.outputs) == 1

    def __call__(self, *arrays: Any, **named: Any) -> Any:
        if named:
            arrays = self._arrange(dict(zip(self._names(len(arrays)), arrays)), named)
        return self._enter(*arrays)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to a file for `load`; `ArtifactError` where that cannot be done."""
        artifact.write(self.program, path)

    def report(self) -> dict[str, Any]:
        """What the compiler has to say of the model: decisions, sizes, times."""
        return dict(self.program.metadata.report)

    def ir(self, level: str) -> str:
        """The model's text at a level (`graph`, `tile`, `llvm`), where it was kept."""
        if level in self.program.texts:
            return self.program.texts[level]
        text = self._ir(level) if self._ir is not None else None
        if text is None:
            kept = ", ".join(self.program.texts) or "none"
            raise OptionError(f"this model has no text of level '{level}' (it has: {kept})")
        return text

    def __repr__(self) -> str:
        inputs, outputs = (", ".join(map(str, specs)) for specs in (self.inputs, self.outputs))
        return f"<CompiledModel ({inputs}) -> ({outputs})>"

    def _first_call(self, *arrays: Any) -> Any:
        """Make what runs the program, then run: a model that is only saved never gathers its
        weights."""
        with self._lock:
            if self._runner is None:
                self._runner = make_runner(self.program, self.threads)
                quick = None
                if isinstance(self._runner, Executor):
                    quick = self._runner.open_entry(
                        weakly(self._any_call), weakly(self._failed_call)
                    )
                self._enter = quick or self._any_call
        return self._any_call(*arrays)

    def _any_call(self, *arrays: Any) -> Any:
        """A call with whatever may be given by position."""
        if (
            len(arrays) == 1
            and arrays[0].__class__ is not np.ndarray
            and isinstance(arrays[0], Mapping)
        ):
            result = self._enter(*self._arrange({}, arrays[0]))
            outputs = (result,) if self._single else result
            return {spec.name: array for spec, array in zip(self.outputs, outputs)}
        assert self._runner is not None
        try:
            outputs = self._runner.run(arrays)
        except SizeError as error:
            outputs = self._again(arrays, error)
        return outputs[0] if self._single else tuple(outputs)

    def _failed_call(self, *arrays: Any) -> Any:
        """The result of a call that failed a check of the program."""
        assert isinstance(self._runner, Executor)
        try:
            self._runner.fail()
        except SizeError as error:
            outputs = self._again(arrays, error)
        return outputs[0] if self._single else tuple(outputs)

    def _again(self, arrays: Sequence[Any], error: SizeError) -> list[Any]:
        """The outputs after an error of sizes, if something can be done about it."""
        if self.on_size_error is None:
            raise error
        return self.on_size_error(arrays, error)

    def _names(self, count: int) -> list[str]:
        """Names of the first `count` inputs."""
        if count > len(self.inputs):
            raise InputError(f"{count} inputs were given, but {self._wants()}")
        return [spec.name for spec in self.inputs[:count]]

    def _arrange(self, first: Mapping[str, Any], named: Mapping[str, Any]) -> tuple[Any, ...]:
        """Values in signature order, from those given by position and those given by name."""
        known = {spec.name for spec in self.inputs}
        unknown = [str(name) for name in named if name not in known]
        if unknown:
            raise InputError(f"there is no input {_quoted(unknown)}; {self._wants()}")
        twice = [name for name in first if name in named]
        if twice:
            raise InputError(f"input {_quoted(twice)} was given by position and by name")
        given = {**first, **named}
        missing = [spec.name for spec in self.inputs if spec.name not in given]
        if missing:
            raise InputError(f"input {_quoted(missing)} is missing; {self._wants()}")
        return tuple([given[spec.name] for spec in self.inputs])

    def _wants(self) -> str:
        return f"the model wants {', '.join(map(str, self.inputs)) or 'no inputs'}"


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def load(path: str | os.PathLike[str], threads: int | None = None) -> CompiledModel:
    """The model saved at `path`, ready to call; weights are read as they are used.

    `threads` is the most that one call uses: by default `INFINI_NUM_THREADS`, or as many as
    there are processors. `ArtifactError` where the file is damaged or made for another machine.
    """
    return CompiledModel(artifact.read(path), threads)
