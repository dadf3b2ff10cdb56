"""Every kernel of the corpus as CUDA C++, in the functional model with warps of 32 and 64."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

import infini_ir
from infini_ir.compiler import Compilation, Options
from infini_ir.models.kernels import KernelCase, cases
from infini_ir.models.zoo import models
from infini_ir.targets.c_project.project import Project
from infini_ir.targets.registry import ENTRIES
from tests.devices.checks import record
from tests.devices.cuda.runner import builder

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++")
CASES = cases()
VENDOR_CASES = ("softmax-bf16", "matmul-gelu-f16", "reduce-rows-f32")


def project_of(case: KernelCase, vendor: str = "nvidia") -> Project:
    return Compilation(Options(target=f"cuda-c:{vendor}")).build_project(case)


def check(case: KernelCase, project: Project, warp_size: int) -> None:
    inputs = case.inputs()
    given = builder(warp_size).run(project, inputs)
    assert case.error([given[name] for name in case.outputs], inputs) < 1


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_with_warps_of_32(case: KernelCase) -> None:
    check(case, project_of(case), 32)
    record("cuda-c", case.kernel, case.dtype, "model")


SHUFFLED = ("softmax", "norm", "reduce", "arg", "attention", "cumulative", "top")
"""Kernels in whose numbers the warp has a part."""


@pytest.mark.parametrize(
    "case",
    [case for case in CASES if case.kernel.startswith(SHUFFLED) or "norm" in case.kernel],
    ids=lambda case: case.name,
)
def test_with_warps_of_64(case: KernelCase) -> None:
    check(case, project_of(case), 64)


@pytest.mark.parametrize("vendor", ENTRIES["cuda-c"].architectures)
def test_vendors_differ_in_headers_alone(vendor: str) -> None:
    """Their projects run in the model too, under their own names of the runtime."""
    for case in CASES:
        if case.name in VENDOR_CASES:
            project = project_of(case, vendor)
            check(case, project, 64 if vendor in ("iluvatar", "metax", "hygon") else 32)
            (kernels,) = [
                path
                for path in project.sources
                if path.startswith("kernels.") and path != "kernels.h"
            ]
            assert project.text(kernels) == project_of(case).text("kernels.cu")


PRODUCTS = ("matmul-plain-f32", "matmul-odd-f16", "batched-matmul-bf16", "matmul-gelu-f32")


@pytest.mark.parametrize("case", [c for c in CASES if c.name in PRODUCTS], ids=lambda c: c.name)
def test_products_by_the_library(case: KernelCase) -> None:
    """cuBLAS does what is a product and nothing more."""
    options = Options(target="cuda-c", library=True)
    project = Compilation(options).build_project(case)
    assert ("library.cpp" in project.sources) == case.name.startswith(
        ("matmul-plain", "batched")
    )
    check(case, project, 32)


@pytest.mark.parametrize("name", ["gpt2", "llama_block"])
def test_small_networks(name: str) -> None:
    """A network's outputs are those of the compiled program for this machine."""
    pytest.importorskip("torch")
    model = models(small=True)[name]
    source, inputs = model.source(), model.inputs()
    project = infini_ir.compile(source, target="cuda-c")
    assert isinstance(project, Project)
    given = builder().run(project, inputs, timeout=300)
    wanted = infini_ir.compile(source)(*inputs.values())
    wanted = wanted if isinstance(wanted, list | tuple) else [wanted]
    for one, other in zip(given.values(), wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * np.abs(other).max())
    record("cuda-c", name, "f32", "model")
