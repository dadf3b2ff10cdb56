"""What a compiled model takes and what it refuses."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from native_programs import bare_metadata

from infini_ir.runtime.arrays import as_input
from infini_ir.runtime.binding import bind, check_bindable
from infini_ir.runtime.metadata import REQUIRED_ENTRIES, Check
from infini_ir.runtime.model import CompiledModel
from infini_ir.runtime.program import Program
from infini_ir.runtime.signature import TensorSpec
from infini_ir.utils.errors import ArtifactError, InputError, OptionError

X = TensorSpec.of("x", "f32", "N")


@pytest.fixture
def model(add_program: Program) -> CompiledModel:
    return CompiledModel(add_program, 1)


def test_ways_to_call(model: CompiledModel):
    x = np.zeros(3, np.float32)
    assert model(x).tolist() == [1, 1, 1]
    assert model(x=x).tolist() == [1, 1, 1]
    named = model({"x": x})
    assert list(named) == ["y"] and named["y"].tolist() == [1, 1, 1]


def test_signature_and_texts(model: CompiledModel):
    assert str(model.inputs[0]) == "x: f32[N]" and str(model.outputs[0]) == "y: f32[N]"
    assert repr(model) == "<CompiledModel (x: f32[N]) -> (y: f32[N])>"
    assert model.threads == 1 and model.report() == {"kernels": 1}
    assert model.ir("graph").startswith("text")
    with pytest.raises(OptionError, match=r"no text of level 'tile' \(it has: graph\)"):
        model.ir("tile")


def test_texts_from_the_compiler(add_program: Program):
    model = CompiledModel(add_program, ir={"tile": "tile text"}.get)
    assert model.ir("tile") == "tile text"


@pytest.mark.parametrize(
    "value",
    [
        np.arange(8, dtype=np.float32)[::2],
        np.arange(8, dtype=np.float32)[::-1],
        np.frombuffer(b"\0" * 17, np.uint8)[1:].view(np.float32),
        np.arange(4, dtype=np.float32).view(type("Sub", (np.ndarray,), {})),
    ],
    ids=["strided", "reversed", "unaligned", "subclass"],
)
def test_layouts(model: CompiledModel, value: np.ndarray):
    np.testing.assert_array_equal(model(value), np.asarray(value) + 1)


def test_read_only(model: CompiledModel):
    x = np.zeros(4, np.float32)
    x.setflags(write=False)
    assert model(x).tolist() == [1] * 4


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.zeros(4), "input 'x' has dtype float64, but the model wants float32"),
        (np.zeros(4, ">f4"), r"big-endian float32; convert it with .astype\('float32'\)"),
        (np.zeros(4, np.int32), "dtype int32"),
        ([1.0, 2.0], "dtype float64"),
        (None, "input 'x' is None"),
        ("text", "input 'x' is of type str"),
        ([[1.0], [1.0, 2.0]], "cannot be made an array"),
        (object(), "of type object"),
        (
            np.zeros((2, 2), np.float32),
            r"has 2 dimensions, shape \[2, 2\]; the model wants f32\[N\]",
        ),
        (np.float32(1), "has 0 dimensions"),
        (np.zeros(4, np.complex64), "dtype complex64"),
        (np.ma.masked_array(np.zeros(4, np.float32)), "masked array"),
    ],
)
def test_bad_values(model: CompiledModel, value: Any, message: str):
    with pytest.raises(InputError, match=message):
        model(value)
    with pytest.raises(InputError, match=message):
        model({"x": value})


@pytest.mark.parametrize(
    ("args", "named", "message"),
    [
        ((), {}, "0 inputs were given, but the model wants 1: x: f32"),
        ((1, 2), {}, "2 inputs were given"),
        ((), {"z": 1}, "there is no input 'z'; the model wants x: f32"),
        (({"x": 1, "z": 2},), {}, "there is no input 'z'"),
        (({},), {}, "input 'x' is missing"),
        ((1,), {"x": 1}, "by position and by name"),
        ((1, 2), {"x": 1}, "2 inputs were given"),
    ],
)
def test_bad_names(model: CompiledModel, args: Any, named: Any, message: str):
    with pytest.raises(InputError, match=message):
        model(*args, **named)


def test_exact_array_likes():
    assert as_input(TensorSpec.of("n", "i64"), 3).dtype == np.int64
    assert as_input(TensorSpec.of("n", "f64", 2), [1.0, 2.0]).tolist() == [1, 2]
    assert as_input(TensorSpec.of("b", "i1"), True).item() is True
    assert as_input(TensorSpec.of("h", "f32"), np.float32(2)).item() == 2
    spec = TensorSpec.of("h", "bf16", 2)
    half = np.ones(2, ml_dtypes.bfloat16)
    assert as_input(spec, half) is not None
    with pytest.raises(InputError, match="has dtype float32, but the model wants bfloat16"):
        as_input(spec, np.ones(2, np.float32))


def test_dlpack_shares_memory(model: CompiledModel):
    class Tensor:
        def __init__(self, array: np.ndarray):
            self.array = array

        def __dlpack__(self, **options: Any) -> Any:
            return self.array.__dlpack__(**options)

        def __dlpack_device__(self) -> tuple[int, int]:
            return self.array.__dlpack_device__()

    x = np.zeros(4, np.float32)
    assert model(Tensor(x)).tolist() == [1] * 4
    assert np.shares_memory(as_input(X, Tensor(x)), x)
    assert np.from_dlpack(model(x)).tolist() == [1] * 4


def test_dlpack_on_another_device():
    class Tensor:
        def __dlpack__(self, **options: Any) -> Any:
            raise AssertionError

        def __dlpack_device__(self) -> tuple[int, int]:
            return (2, 0)

    with pytest.raises(InputError, match="input 'x' is on another device"):
        as_input(X, Tensor())


def test_torch_tensors(model: CompiledModel):
    torch = pytest.importorskip("torch")
    assert model(torch.zeros(3)).tolist() == [1] * 3
    assert model(torch.zeros(3, requires_grad=True)).tolist() == [1] * 3
    assert model(torch.arange(8.0)[::2]).tolist() == [1, 3, 5, 7]
    half = as_input(TensorSpec.of("h", "bf16", 2), torch.ones(2, dtype=torch.bfloat16))
    assert half.dtype == ml_dtypes.bfloat16 and half.tolist() == [1, 1]
    eighth = torch.ones(2).to(torch.float8_e4m3fn)
    assert as_input(TensorSpec.of("q", "f8E4M3FN", 2), eighth).tolist() == [1, 1]


def test_binding_of_symbols():
    metadata = bare_metadata(
        inputs=(
            TensorSpec.of("mask", "f32", "B", "S"),
            TensorSpec.of("x", "f32", "B", "S", 8),
            TensorSpec.of("past", "f32", "P + S"),
            TensorSpec.of("p", "f32", "P"),
        ),
        outputs=(TensorSpec.of("y", "f32", "2*S", "B"), TensorSpec.of("z", "f32", "K")),
        symbols=("K", "B", "S", "P"),
    )
    binding = bind(metadata, ((2, 8), (2, 8, 8), (13,), (5,)))
    assert dict(binding.symbols) == {1: 2, 2: 8, 3: 5}
    assert binding.outputs == ((16, 2), None)
    cases = {
        (
            (2, 8),
            (2, 7, 8),
            (13,),
            (5,),
        ): r"^input 'x': dim 1 is 7, but 'S' is 8 by input 'mask'$",
        (
            (2, 8),
            (2, 8, 9),
            (13,),
            (5,),
        ): r"^input 'x': dim 2 is 9, but the model wants 8: f32\[B, S, 8\]$",
        ((2, 8), (2, 8, 8), (12,), (5,)): (
            r"^input 'past': dim 0 is 12, but 'P \+ S' is 13, as "
            r"'P' is 5 by input 'p', 'S' is 8 by input 'mask'$"
        ),
        ((2, 8), (2, 8), (13,), (5,)): r"input 'x' has 2 dimensions, shape \[2, 8\]",
    }
    for shapes, message in cases.items():
        with pytest.raises(InputError, match=message):
            bind(metadata, shapes)


def test_signatures_nobody_could_call():
    with pytest.raises(ArtifactError, match="does not list: N"):
        bare_metadata(inputs=(X,))
    with pytest.raises(ArtifactError, match="no entry point infini_stop"):
        bare_metadata(entries={n: 0 for n in REQUIRED_ENTRIES if n != "infini_stop"})
    with pytest.raises(ValueError, match="nowhere a size by itself"):
        check_bindable(
            bare_metadata(inputs=(TensorSpec.of("x", "f32", "2*N"),), symbols=("N",))
        )


def test_spec_json_and_check_json():
    spec = TensorSpec.of("images", "f32", "batch", 3, "4*H - 1")
    assert str(spec) == "images: f32[batch, 3, 4*H - 1]"
    assert TensorSpec.from_json(spec.to_json()) == spec and not spec.is_static
    check = Check("{0}", of_input=False)
    assert Check.from_json(check.to_json()) == check
    with pytest.raises(ValueError, match="more than two values"):
        Check("{2}")
