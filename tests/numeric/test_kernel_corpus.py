"""Every kernel of the corpus, on the CPU of this machine and in the tile interpreter."""

import pytest

from infini_ir.compiler import Compilation, Options
from infini_ir.models.kernels import KernelCase, cases
from infini_ir.runtime.model import CompiledModel
from tests.devices.checks import record

CASES = cases()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_on_this_machine(case: KernelCase):
    compilation = Compilation(Options(), keep_texts=False)
    model = CompiledModel(compilation.run(case))
    inputs = case.inputs()
    given = model(inputs)
    assert case.error([given[name] for name in case.outputs], inputs) < 1
    record("cpu", case.kernel, case.dtype, "device")


def test_names_are_unique():
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)
