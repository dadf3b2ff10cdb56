"""Machine code of every kernel of the corpus for NVIDIA's architectures, without a device.

One case of each kernel is compiled, in f16 where there is one; all of them with
`INFINI_FULL_CODE=1`.
"""

from __future__ import annotations

import os

import pytest

from infini_ir.compiler import Compilation, Options
from infini_ir.dialects import tile
from infini_ir.dialects.tile import tile_type
from infini_ir.models.kernels import KernelCase, cases
from infini_ir.targets.nvidia.limits import ARCHITECTURES
from infini_ir.targets.nvidia.program import compiled_kernels, kernels_of
from infini_ir.targets.nvidia.resources import kernel_resources
from infini_ir.targets.nvidia.shapes import is_product
from infini_ir.utils.symbolic import product
from tests.devices.checks import record

TENSOR_ROWS = 16
"""Rows of a product that tensor cores do."""
PREFERRED = ("f16", "f32")


def chosen() -> list[KernelCase]:
    """All cases, or one of each kernel."""
    if os.environ.get("INFINI_FULL_CODE"):
        return list(cases())

    def order(case: KernelCase) -> int:
        return PREFERRED.index(case.dtype) if case.dtype in PREFERRED else len(PREFERRED)

    best: dict[str, KernelCase] = {}
    for case in cases():
        if case.kernel not in best or order(case) < order(best[case.kernel]):
            best[case.kernel] = case
    return list(best.values())


def on_tensor_cores(kernel: tile.KernelOp) -> bool:
    """Whether a kernel, its plan carried out, has a product for tensor cores."""
    dots = [op for op in kernel.walk() if isinstance(op, tile.DotOp)]
    rows = [product(tile_type(dot.lhs).shape[:-1]).value for dot in dots if is_product(dot)]
    return any(count is not None and count >= TENSOR_ROWS for count in rows)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("case", chosen(), ids=lambda case: case.name)
def test_code(case: KernelCase, architecture: str):
    compilation = Compilation(Options(f"nvidia:{architecture}"), keep_texts=False)
    module = compilation.import_model(case)
    compilation.graph_passes(module)
    compilation.lower(module)
    program = compilation.target.build(module, compilation.ctx)
    for row in program.metadata.report["kernels"]:
        assert row["stack"] == 0, row
        assert row["shared"] <= ARCHITECTURES[architecture].shared_bytes, row
    products = {name for name, kernel in kernels_of(module).items() if on_tensor_cores(kernel)}
    for code in compiled_kernels(program):
        if code.name.removesuffix("_any") in products:
            used = kernel_resources(code)
            assert used.tensor > 0, used
    record("nvidia", case.kernel, case.dtype, "compiled")
