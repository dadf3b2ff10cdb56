"""Small models give the same bits on any number of threads, and what onnxruntime gives."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import onnxruntime
import pytest
from small_models import MODELS, SmallModel
from tile_programs import all_threads

import infini_ir
from infini_ir.targets.cpu.image import program as host_program
from infini_ir.targets.cpu.llvm.writer import V
from infini_ir.targets.cpu.plans import cost


@pytest.mark.parametrize("precision", ["f32", "bf16"])
@pytest.mark.parametrize("case", MODELS, ids=lambda case: case.name)
def test_threads_do_not_change_a_bit(case: SmallModel, precision: str):
    model, inputs = case.model(), case.inputs()
    names = [spec.name for spec in model.graph.input]
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    wanted = session.run(None, dict(zip(names, inputs, strict=True)))
    with all_threads(5):
        program = infini_ir.compile(model, precision=precision, threads=1)
        alone = outputs_of(program(*inputs))
        for threads in range(2, 6):
            together = infini_ir.compile(model, precision=precision, threads=threads)
            for one, other in zip(outputs_of(together(*inputs)), alone, strict=True):
                assert one.tobytes() == other.tobytes(), threads
    tolerance = 1e-5 if precision == "f32" else 0.03
    for one, other in zip(alone, wanted, strict=True):
        assert one.shape == other.shape and one.dtype == other.dtype
        if precision == "f32" or other.dtype.kind == "f":
            largest = np.abs(other).max()
            np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance * largest)


@pytest.mark.parametrize("case", MODELS, ids=lambda case: case.name)
def test_programs_taken_from_others_do_not_change_a_bit(
    case: SmallModel, monkeypatch: pytest.MonkeyPatch
):
    """Short ones, too, which are not worth taking."""
    monkeypatch.setattr(cost, "CLAIMED_NANOSECONDS", 0)
    monkeypatch.setattr(host_program, "MOST_STATIC", 1)
    model, inputs = case.model(), case.inputs()
    with all_threads(5):
        alone = outputs_of(infini_ir.compile(model, threads=1, cache=False)(*inputs))
        for threads in (2, 3, 5):
            program = infini_ir.compile(model, threads=threads, cache=False)
            for _ in range(10):
                for one, other in zip(outputs_of(program(*inputs)), alone, strict=True):
                    assert one.tobytes() == other.tobytes(), threads


ALIKE = """
<ir_version: 10, opset_import: ["" : 20]>
alike (float[40] x, uint8[40] n) => (float[40] a, float[40] b, float[40] c, uint8[40] d, uint8[40] e)
<float zero = {0.0}, float negative = {-0.0}, float one = {1.0}, uint8 small = {3}, uint8 large = {200}>
{
    a = Min(x, zero)
    b = Min(x, negative)
    c = Min(x, one)
    d = Min(n, small)
    e = Min(n, large)
}
"""


def test_kernels_that_share_code_keep_their_own_constants():
    """Zeros of two signs, and bytes that are negative where they are read as signed."""
    x = np.resize(np.array([1.5, 0.5, -2.0, np.nan, np.inf], np.float32), 40)
    n = np.resize(np.array([0, 3, 100, 200, 255], np.uint8), 40)
    given = outputs_of(infini_ir.compile(onnx.parser.parse_model(ALIKE))(x, n))
    wanted = [*(np.minimum(x, np.float32(limit)) for limit in (0.0, -0.0, 1.0))]
    wanted += [np.minimum(n, 3), np.minimum(n, 200)]
    for one, other in zip(given, wanted, strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.signbit(given[0][0]) and np.signbit(given[1][0])


ROWS = """
<ir_version: 10, opset_import: ["" : 20]>
rows (float[N, 96] x) => (float[N, 80] y)
<float[96, 320] first, float[320, 80] second>
{
    wide = MatMul(x, first)
    bent = Tanh(wide)
    narrow = MatMul(bent, second)
    y = Softmax(narrow)
}
"""


@pytest.mark.parametrize("least", [0, cost.CLAIMED_NANOSECONDS])
@pytest.mark.parametrize("size", ["N", "113"])
def test_programs_of_known_and_open_sizes_are_taken_from_others(
    size: str, least: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(cost, "CLAIMED_NANOSECONDS", least)
    totals = watch_claims(monkeypatch)
    random = np.random.default_rng(0)
    model = onnx.parser.parse_model(ROWS.replace("N", size))
    for name, shape in (("first", (96, 320)), ("second", (320, 80))):
        values = random.standard_normal(shape, np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    with all_threads(5):
        alone = infini_ir.compile(model, threads=1, cache=False)
        for threads in (2, 3, 5):
            program = infini_ir.compile(model, threads=threads, cache=False)
            for rows in (0, 1, 2, 15, 113, 640) if size == "N" else (113,):
                x = random.standard_normal((rows, 96), np.float32)
                wanted = outputs_of(alone(x))[0]
                for _ in range(5):
                    assert outputs_of(program(x))[0].tobytes() == wanted.tobytes(), threads
    if size == "N" or least == 0:
        assert totals
    assert all((total is None) == (size == "N") for total in totals)


def watch_claims(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Numbers of programs of the launches that are compiled to be taken one by one; None: open."""
    totals: list[object] = []
    emit = host_program.ProgramEmitter._take_in_turn

    def watch(emitter: host_program.ProgramEmitter, total: V, *others: object) -> None:
        totals.append(total.number)
        emit(emitter, total, *others)

    monkeypatch.setattr(host_program.ProgramEmitter, "_take_in_turn", watch)
    return totals


def outputs_of(result: object) -> list[np.ndarray]:
    return list(result) if isinstance(result, tuple) else [np.asarray(result)]
