"""XPU C as an output of `infini-opt`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.utils.target import Target

from infini_ir.targets.c_project.signatures import signatures_of
from infini_ir.targets.kunlun.emitter import RESERVED, kernel_sources


@dataclass(frozen=True)
class XpuOutput(Target):
    """The sources of a module whose kernels are in buffer form, one after the other."""

    name = "kunlun"

    def emit(self, ctx: Context, module: ModuleOp, output: IO[str]) -> None:
        for path, text in kernel_sources(module, signatures_of(module, RESERVED)).items():
            output.write(f"// {path}\n{text}\n")
