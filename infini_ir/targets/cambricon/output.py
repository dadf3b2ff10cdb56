"""BANG C as an output of `infini-opt`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.utils.target import Target

from infini_ir.targets.c_project.signatures import signatures_of
from infini_ir.targets.cambricon.emitter import RESERVED, kernels_source


@dataclass(frozen=True)
class BangOutput(Target):
    """`kernels.mlu` of a module whose kernels are lowered for an MLU."""

    name = "cambricon"

    def emit(self, ctx: Context, module: ModuleOp, output: IO[str]) -> None:
        output.write(kernels_source(module, signatures_of(module, RESERVED)))
