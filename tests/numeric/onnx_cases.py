"""The backend test cases that the onnx package carries, run through a function of the caller.

A case is a model and data sets of inputs and expected outputs. `run` takes the model and
one set's inputs (numpy arrays; lists for sequences, None for empty optionals) and gives the
outputs. Dtypes and shapes are compared exactly, numbers with the suite's tolerance.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

KINDS = ("node", "simple", "pytorch-operator", "pytorch-converted", "real")
RELATIVE = 1e-3
ABSOLUTE = 1e-7
BFLOAT16_RELATIVE = 2**-6
"""Two units in the last place, as the suite allows."""

Run = Callable[[onnx.ModelProto, list[Any]], Sequence[Any]]
DataSet = tuple[list[Any], list[Any]]


def cases(kind: str = "node") -> list[str]:
    """The names of the cases of one kind (see `KINDS`)."""
    return sorted(_cases(kind))


def model_of(name: str) -> onnx.ModelProto:
    """The model of a case."""
    return _find(name)[0]


def data_of(name: str) -> Iterator[DataSet]:
    """The data sets of a case."""
    model, data_sets = _find(name)
    return data_sets(model)


def operators_of(name: str) -> set[str]:
    """The operators that a case's model contains."""
    return {node.op_type for node in model_of(name).graph.node}


def run_case(name: str, run: Run) -> None:
    """Run a case on all its data; `AssertionError` says what differs."""
    model, data_sets = _find(name)
    for inputs, expected in data_sets(model):
        compare(run(model, inputs), expected)


def compare(outputs: Sequence[Any], expected: Sequence[Any]) -> None:
    """Raise `AssertionError` where outputs are not the expected ones."""
    assert len(outputs) == len(expected), f"{len(outputs)} outputs, not {len(expected)}"
    for given, wanted in zip(outputs, expected, strict=True):
        _compare_value(given, wanted)


def _compare_value(given: Any, wanted: Any) -> None:
    if wanted is None:
        assert given is None, "an empty optional is expected"
    elif isinstance(wanted, list):
        assert isinstance(given, list), f"a sequence is expected, not {type(given)}"
        compare(given, wanted)
    else:
        _compare_arrays(np.asarray(given), np.asarray(wanted))


def _compare_arrays(given: np.ndarray, wanted: np.ndarray) -> None:
    assert given.shape == wanted.shape, f"shape {given.shape}, not {wanted.shape}"
    if wanted.dtype.kind in "OSU":
        np.testing.assert_array_equal(given, wanted)
        return
    assert given.dtype == wanted.dtype, f"dtype {given.dtype}, not {wanted.dtype}"
    relative = RELATIVE
    if wanted.dtype.name == "bfloat16":
        relative = BFLOAT16_RELATIVE
    if wanted.dtype.name.startswith(("bfloat", "float8", "float4", "int4", "uint4", "int2")):
        given, wanted = given.astype(np.float32), wanted.astype(np.float32)
    np.testing.assert_allclose(given, wanted, rtol=relative, atol=ABSOLUTE)


@cache
def _cases(kind: str) -> dict[str, Any]:
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {case.name: case for case in load_model_tests(kind=kind)}


@cache
def _find(name: str) -> tuple[onnx.ModelProto, Callable[[onnx.ModelProto], Iterator[DataSet]]]:
    for kind in KINDS:
        if name in _cases(kind):
            return _open(kind, _cases(kind)[name])
    raise KeyError(name)


def _open(
    kind: str, case: Any
) -> tuple[onnx.ModelProto, Callable[[onnx.ModelProto], Iterator[DataSet]]]:
    if case.model is not None and case.data_sets is not None:
        return case.model, lambda _: _generated(case.data_sets)
    if kind == "real":
        path = Path(onnx.__file__).parent.parent / case.url
        return onnx.load(path), lambda model: _dummy(model, path)
    folder = Path(case.model_dir)
    return onnx.load(folder / "model.onnx"), lambda model: _stored(model, folder)


def _generated(data_sets: Sequence[tuple[Sequence[Any], Sequence[Any]]]) -> Iterator[DataSet]:
    for inputs, outputs in data_sets:
        yield [_plain(value) for value in inputs], [_plain(value) for value in outputs]


def _plain(value: Any) -> Any:
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


def _stored(model: onnx.ModelProto, folder: Path) -> Iterator[DataSet]:
    for data in sorted(folder.glob("test_data_set*")):
        yield (
            _stored_values(data, "input", model.graph.input),
            _stored_values(data, "output", model.graph.output),
        )


def _stored_values(folder: Path, prefix: str, infos: Sequence[Any]) -> list[Any]:
    count = len(list(folder.glob(f"{prefix}_*.pb")))
    return [
        _parse((folder / f"{prefix}_{i}.pb").read_bytes(), infos[i].type) for i in range(count)
    ]


def _parse(content: bytes, type: onnx.TypeProto) -> Any:
    if type.HasField("sequence_type"):
        return numpy_helper.to_list(onnx.SequenceProto.FromString(content))
    if type.HasField("optional_type"):
        return numpy_helper.to_optional(onnx.OptionalProto.FromString(content))
    return numpy_helper.to_array(onnx.TensorProto.FromString(content))


def _dummy(model: onnx.ModelProto, path: Path) -> Iterator[DataSet]:
    """Inputs as the suite makes them for its light models, outputs stored beside them."""
    weights = {weight.name for weight in model.graph.initializer}
    inputs: list[np.ndarray] = []
    for info in model.graph.input:
        if info.name not in weights:
            shape = [d.dim_value or 1 for d in info.type.tensor_type.shape.dim]
            count = int(np.prod(shape))
            inputs.append((np.arange(count).reshape(shape) / count).astype(np.float32))
    outputs = [
        numpy_helper.to_array(onnx.load_tensor(f"{path.with_suffix('')}_output_{i}.pb"))
        for i in range(len(model.graph.output))
    ]
    yield inputs, outputs
