"""Faults planted in emitted kernels are caught by the functional model, and what a device cannot
do is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import parser

from infini_ir.dialects.context import compiler_context
from infini_ir.frontends.onnx.importer import import_model
from infini_ir.models.kernels import KernelCase, cases
from infini_ir.targets.c_project.project import Project
from infini_ir.targets.cambricon.target import CambriconTarget
from infini_ir.utils.errors import CompileError, OptionError
from tests.devices.cambricon.runner import builder
from tests.devices.common.build import RunError
from tests.devices.common.corpus import project_of

CASE = next(case for case in cases() if case.name == "matmul-long-f32")
ROWS = next(case for case in cases() if case.name == "reduce-rows-symbolic-f32")
"""A loop whose loads vector instructions read where they lie."""


def project(case: KernelCase = CASE) -> Project:
    ctx = compiler_context()
    return project_of(case.module(ctx), ctx, CambriconTarget())


def changed(path: str, old: str, new: str, case: KernelCase = CASE) -> Project:
    """The project with all of one text in a file replaced."""
    made = project(case)
    text = made.sources[path]
    assert old in text
    return replace(made, sources={**made.sources, path: text.replace(old, new)})


def fault(made: Project, case: KernelCase = CASE) -> str:
    with pytest.raises(RunError) as raised:
        builder().run(made, case.inputs())
    return str(raised.value)


def test_the_kernel_loads_ahead_and_is_right() -> None:
    made, inputs = project(), CASE.inputs()
    assert "copy_in_ahead(" in made.sources["kernels.mlu"]
    outputs = builder().run(made, inputs)
    assert CASE.error([outputs[name] for name in CASE.outputs], inputs) < 1


def test_not_waiting_for_copies() -> None:
    made = changed("kernels.mlu", "wait_for_copies();", "")
    assert "MLU model: missing sync" in fault(made)


def test_not_waiting_for_computing() -> None:
    made = changed("kernels.mlu", "wait_for_computing();", "", ROWS)
    long = replace(ROWS, sizes={"M": 3, "N": 20000})
    assert "MLU model: missing sync: __memcpy_async" in fault(made, long)


def test_memory_of_chars_that_lies_anywhere() -> None:
    made = changed("core.h", "__attribute__((aligned(128)))", "")
    assert "MLU model: alignment" in fault(made)


def test_all_cores_run_all_programs() -> None:
    made = changed("kernels.mlu", "program = taskId;", "program = 0;")
    assert "MLU model: race" in fault(made)


def test_filter_without_its_layout() -> None:
    made = changed(
        "core_dot.h",
        "__bang_reshape_filter(operand<T>(1), operand<T>(0), nb, 1, 1, kb);",
        "__memcpy(operand<T>(1), operand<T>(0), nb * kb * sizeof(T), NRAM2NRAM);",
    )
    outputs = builder().run(made, CASE.inputs())
    assert CASE.error([outputs[name] for name in CASE.outputs], CASE.inputs()) > 1


def test_counts_that_are_no_groups() -> None:
    made = changed("core.h", "return (count + LANES - 1) / LANES * LANES;", "return count;")
    assert "MLU model: count" in fault(made)


def model(text: str) -> onnx.ModelProto:
    return parser.parse_model(f'<ir_version: 10, opset_import: ["" : 21]>\n{text}')


def test_doubles_are_refused() -> None:
    ctx = compiler_context()
    source = "g (double[M, 8] x) => (double[M, 8] y) { y = Add(x, x) }"
    module = import_model(model(source), ctx)
    with pytest.raises(CompileError, match=r"kernel 'add': .*no arithmetic on f64"):
        project_of(module, ctx, CambriconTarget())


def test_doubles_may_be_copied() -> None:
    ctx = compiler_context()
    source = "g (double[3, 8] x) => (double[8, 3] y) { y = Transpose(x) }"
    module = import_model(model(source), ctx)
    x = np.random.default_rng(0).standard_normal((3, 8))
    outputs = builder().run(project_of(module, ctx, CambriconTarget()), {"x": x})
    np.testing.assert_array_equal(outputs["y"], x.T)


def test_unknown_chips_are_refused() -> None:
    with pytest.raises(OptionError, match="mlu590, mlu370"):
        CambriconTarget("mlu100")
