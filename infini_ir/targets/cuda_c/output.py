"""CUDA C++ as an output of `infini-opt`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.utils.target import Target

from infini_ir.targets.cuda_c.target import kernels_source


@dataclass(frozen=True)
class CudaCOutput(Target):
    """The kernels of a module that has plans (`cuda-c-plan`), each with its launch function."""

    name = "cuda-c"

    def emit(self, ctx: Context, module: ModuleOp, output: IO[str]) -> None:
        output.write(kernels_source(module))
