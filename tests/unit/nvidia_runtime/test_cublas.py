"""Products by the vendor's library: which kernels, with which operands."""

import numpy as np
import pytest
from onnx import parser

from infini_ir.models.kernels import KernelCase, cases
from infini_ir.runtime.cuda import blas
from infini_ir.runtime.cuda.blas import Blas
from infini_ir.utils.errors import ArtifactError
from tests.devices.nvidia.fake_blas import FakeBlas
from tests.devices.nvidia.interpreted import Interpreted


@pytest.fixture
def made(monkeypatch):
    made = Interpreted()
    made.blas = FakeBlas(made.driver)
    monkeypatch.setattr(Blas, "find", staticmethod(lambda device: Blas(made.blas, device)))
    return made


FORMS = {
    "rows and columns": ("float[M,64] x, float[64,N] w", "y = MatMul(x, w)"),
    "transposed right": ("float[M,64] x, float[96,64] w", "y = Gemm<transB=1>(x, w)"),
    "transposed left": ("float[64,M] x, float[64,96] w", "y = Gemm<transA=1>(x, w)"),
    "both": ("float[64,M] x, float[96,64] w", "y = Gemm<transA=1,transB=1>(x, w)"),
    "batches": ("float[B,3,M,64] x, float[B,3,64,N] w", "y = MatMul(x, w)"),
    "one right for all": ("float[B,M,64] x, float[64,N] w", "y = MatMul(x, w)"),
    "half": ("float16[B,M,64] x, float16[B,64,N] w", "y = MatMul(x, w)"),
    "double": ("double[M,64] x, double[64,N] w", "y = MatMul(x, w)"),
}
SIZES = {"M": 33, "N": 20, "B": 2}


@pytest.mark.parametrize("form", FORMS)
def test_forms(made, form):
    inputs, body = FORMS[form]
    kind = inputs.partition("[")[0]
    text = f'<ir_version: 10, opset_import: ["" : 23]>\nm ({inputs}) => ({kind} y) {{ {body} }}'
    model = parser.parse_model(text)
    program = made.program(model, library=True)
    executor = made.executor(program)
    assert not program.metadata.report["kernels"], "no kernel is left"
    rng = np.random.default_rng(0)
    arrays = []
    for spec in program.metadata.inputs:
        shape = tuple(dim.evaluate(SIZES) for dim in spec.shape)
        numpy_type = {"f32": np.float32, "f16": np.float16, "f64": np.float64}[spec.dtype]
        arrays.append(rng.standard_normal(shape).astype(numpy_type))
    x, w = (array.astype(np.float64) for array in arrays)
    if "transA=1" in body:
        x = x.T
    if "transB=1" in body:
        w = w.T
    for _ in range(3):
        (y,) = executor.run(arrays)
        np.testing.assert_allclose(
            y, x @ w, rtol=2e-2, atol=5e-2 if kind == "float16" else 1e-4
        )
    assert made.blas.products and made.driver.calls["cuGraphLaunch"] == 2
    made.driver.assert_clean()


@pytest.mark.parametrize("case", cases("matmul"), ids=lambda case: case.name)
def test_corpus(made, case: KernelCase):
    executor = made.executor(made.program(case, library=True))
    inputs = case.inputs()
    assert case.error(executor.run(list(inputs.values())), inputs) < 1
    made.driver.assert_clean()


def test_a_fused_product_stays_a_kernel(made):
    text = (
        '<ir_version: 10, opset_import: ["" : 23]>\nm (float[M,64] x, float[64,96] w) => '
        "(float y) { z = MatMul(x, w) y = Relu(z) }"
    )
    program = made.program(parser.parse_model(text), library=True)
    assert len(program.metadata.report["kernels"]) == 1


def test_no_library(monkeypatch):
    monkeypatch.setattr(blas, "NAMES", ("libnothing.so",))
    with pytest.raises(ArtifactError, match="compiled to call cuBLAS, which this machine"):
        Blas.find(None)  # type: ignore[arg-type]
