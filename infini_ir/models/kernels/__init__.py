"""The kernels that every target must have, each as a small model with inputs and a reference.

for case in cases(kernel="softmax", dtype="f16"):
    model = infini_ir.compile(case.source(), target=...)
    case.check(model(case.inputs()))
"""

from infini_ir.models.kernels.case import KernelCase
from infini_ir.models.kernels.corpus import cases, kernels

__all__ = ["KernelCase", "cases", "kernels"]
