"""Products of f32 with weights of 8 and 4 bits on the CPU: packed, and made floats when loaded."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tile_programs import CPUS, all_threads

import infini_ir
from infini_ir.compiler import Compilation, Options
from infini_ir.interpreters.tile import interpret_program

CODES = {
    "i8": (TensorProto.INT8, np.int8, -128, 127),
    "ui8": (TensorProto.UINT8, np.uint8, 0, 255),
    "i4": (TensorProto.INT4, ml_dtypes.int4, -8, 7),
    "ui4": (TensorProto.UINT4, ml_dtypes.uint4, 0, 15),
}
BLOCK = 32


class Case:
    """y = x (q - zero) scale, and its weight in f64."""

    def __init__(
        self,
        kind: str,
        k: int,
        n: int,
        *,
        blocks: bool,
        zeros: bool,
        seed: int = 0,
        block: int = BLOCK,
    ):
        code, dtype, low, high = CODES[kind]
        rng = np.random.default_rng(seed)
        self.k, self.n = k, n
        q = rng.integers(low, high + 1, (k, n))
        shape = (k // block, n) if blocks else (n,)
        scale = rng.uniform(0.001, 0.02, shape).astype(np.float32)
        zero = rng.integers(low, high + 1, shape) if zeros else np.zeros(shape, np.int64)
        self.initializers = [
            stored("q", q, code, dtype),
            numpy_helper.from_array(scale, "scale"),
            stored("zero", zero, code, dtype),
        ]
        self.attributes = {"axis": 0, "block_size": block} if blocks else {"axis": 1}
        if blocks:
            scale, zero = np.repeat(scale, block, 0), np.repeat(zero, block, 0)
        self.weight = (q - zero).astype(np.float64) * scale.astype(np.float64)

    def model(self, rows: int | str) -> onnx.ModelProto:
        nodes = [
            helper.make_node(
                "DequantizeLinear", ["q", "scale", "zero"], ["w"], **self.attributes
            ),
            helper.make_node("MatMul", ["x", "w"], ["y"]),
        ]
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [rows, self.k])
        y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [rows, self.n])
        graph = helper.make_graph(nodes, "g", [x], [y], self.initializers)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])

    def x(self, rows: int) -> np.ndarray:
        return np.random.default_rng(1).standard_normal((rows, self.k)).astype(np.float32)

    def given(self, rows: int, *names: str) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
        """The model with some of what it stores as inputs, and those inputs."""
        model = self.model(rows)
        arrays = {}
        for tensor in [t for t in model.graph.initializer if t.name in names]:
            value = helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            model.graph.input.append(value)
            model.graph.initializer.remove(tensor)
            arrays[tensor.name] = numpy_helper.to_array(tensor)
        return model, arrays

    def check(self, y: np.ndarray, x: np.ndarray) -> None:
        wanted = x.astype(np.float64) @ self.weight
        magnitude = np.abs(x).astype(np.float64) @ np.abs(self.weight)
        assert np.all(np.abs(y - wanted) <= 2e-6 * magnitude + 1e-30)


def stored(name: str, values: np.ndarray, code: int, dtype: type) -> onnx.TensorProto:
    if code in (TensorProto.INT8, TensorProto.UINT8):
        return numpy_helper.from_array(values.astype(dtype), name)
    bits = values.reshape(-1).astype(np.int64) & 15
    bits = np.append(bits, 0) if len(bits) % 2 else bits
    raw = (bits[0::2] | bits[1::2] << 4).astype(np.uint8).tobytes()
    return helper.make_tensor(name, code, list(values.shape), raw, raw=True)


SHAPES = [(64, 48), (256, 512), (96, 33), (1024, 70), (32, 1)]


@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("blocks", [False, True])
@pytest.mark.parametrize("kind", CODES)
def test_against_f64(kind: str, blocks: bool, zeros: bool):
    for k, n in SHAPES:
        case = Case(kind, k, n, blocks=blocks, zeros=zeros)
        for rows in (1, 5, "m"):
            x = case.x(rows if isinstance(rows, int) else 19)
            case.check(infini_ir.compile(case.model(rows), threads=2)(x), x)


@pytest.mark.parametrize("cpu", CPUS[1:])
@pytest.mark.parametrize("kind", CODES)
def test_other_processors(kind: str, cpu: str):
    for rows, k in ((1, 96), (14, 96), (3, 1056)):
        case = Case(kind, k, 41, blocks=True, zeros=True)
        x = case.x(rows)
        case.check(infini_ir.compile(case.model(rows), target=f"cpu:{cpu}")(x), x)


@pytest.mark.parametrize("names", [["q"], ["zero"], ["scale"], ["q", "scale", "zero"]], ids=str)
@pytest.mark.parametrize("kind", CODES)
def test_what_is_only_known_when_running(kind: str, names: list[str]):
    for rows in (1, 5):
        case = Case(kind, 64, 41, blocks=True, zeros=True)
        model, arrays = case.given(rows, *names)
        x = case.x(rows)
        case.check(infini_ir.compile(model)({"x": x, **arrays})["y"], x)


def test_a_depth_that_is_no_multiple_of_eight():
    for k in (1, 7, 8, 13, 131):
        case = Case("i4", k, 40, blocks=False, zeros=True)
        x = case.x(3)
        case.check(infini_ir.compile(case.model(3))(x), x)


@pytest.mark.parametrize("kind", ("i4", "ui4"))
@pytest.mark.parametrize("block", (16, 24, 48, 128, 256))
def test_blocks_of_other_sizes(kind: str, block: int):
    """In slices where they are whole vectors, in parts where they are long."""
    for rows in (1, 3):
        case = Case(kind, 3 * block, 81, blocks=True, zeros=True, block=block)
        x = case.x(rows)
        case.check(infini_ir.compile(case.model(rows))(x), x)


@pytest.mark.parametrize("kind", ("i4", "ui4"))
def test_any_number_of_rows(kind: str):
    """One program, with register tiles of many rows in floats and of few in slices."""
    case = Case(kind, 256, 100, blocks=True, zeros=kind == "ui4")
    compiled = infini_ir.compile(case.model("m"), threads=2)
    for rows in (1, 2, 3, 4, 5, 7, 8, 11, 12, 13, 16, 97, 101):
        x = case.x(rows)
        case.check(compiled(x), x)
        case.check(infini_ir.compile(case.model(rows), threads=2)(x), x)


def test_no_less_accurate_than_floats():
    """Errors against f64, by the sum of the products' magnitudes: some roundings to f32, also
    where an element of each block is much larger than the others."""
    case = Case("i4", 4096, 64, blocks=True, zeros=False)
    for rows, factor in ((1, 1), (1, 100), (1, 1e4), (4, 1e4), (8, 1e4)):
        x = case.x(rows)
        x[:, ::32] *= np.float32(factor)
        y = infini_ir.compile(case.model(rows))(x)
        wanted = x.astype(np.float64) @ case.weight
        magnitude = np.abs(x).astype(np.float64) @ np.abs(case.weight)
        assert np.max(np.abs(y - wanted) / magnitude) <= 3e-7


def test_activations_of_zeros_and_of_extremes():
    case = Case("i4", 64, 32, blocks=True, zeros=False)
    compiled = infini_ir.compile(case.model(1))
    for value in (0.0, 1e-38, 1e-30, 3e37):
        x = np.full((1, 64), value, np.float32)
        case.check(compiled(x), x)


def test_as_many_bits_as_the_model_has():
    bits = {"i8": 8, "i4": 4}
    for kind, count in bits.items():
        case = Case(kind, 1024, 512, blocks=True, zeros=False)
        compiled = infini_ir.compile(case.model(1))
        weights = 1024 * 512 * count // 8 + 4 * 1024 * 512 // BLOCK
        assert compiled.program.metadata.weights_size <= weights + 4096


def test_threads_do_not_change_results():
    case = Case("i4", 512, 700, blocks=True, zeros=True)
    x = case.x(3)
    with all_threads(5):
        results = [infini_ir.compile(case.model(3), threads=t)(x) for t in range(1, 6)]
    for other in results[1:]:
        assert np.array_equal(results[0], other)


@pytest.mark.parametrize("kind", CODES)
def test_the_packed_program_means_the_same(kind: str):
    case = Case(kind, 96, 40, blocks=True, zeros=True)
    compilation = Compilation(Options(cache=False))
    module = compilation.import_model(case.model(2))
    compilation.graph_passes(module)
    compilation.lower(module)
    x = case.x(2)
    (y,) = interpret_program(module, [x], compilation.ctx)
    case.check(y, x)


def test_infinities_and_nan_pass_through():
    case = Case("i4", 64, 32, blocks=True, zeros=False)
    x = case.x(3)
    x[0, 5], x[1, 9] = np.inf, np.nan
    y = infini_ir.compile(case.model(3))(x)
    with np.errstate(invalid="ignore"):
        wanted = x.astype(np.float64) @ case.weight
    assert np.array_equal(np.isnan(y[:2]), np.isnan(wanted[:2]))
    finite = np.isfinite(wanted)
    assert np.array_equal(y[np.isinf(wanted)], wanted[np.isinf(wanted)])
    assert np.allclose(y[finite], wanted[finite], rtol=1e-4, atol=1e-5)
