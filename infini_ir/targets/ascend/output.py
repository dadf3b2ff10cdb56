"""Ascend C text as a form in which `infini-opt` prints a module."""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.utils.target import Target

from infini_ir.targets.ascend.target import kernel_files, kernel_signatures


@dataclass(frozen=True)
class AscendOutput(Target):
    """The kernels of a legalised module as Ascend C."""

    name = "ascend"

    def emit(self, ctx: Context, module: ModuleOp, output: IO[str]) -> None:
        """Write the kernels' files after each other."""
        files = kernel_files(module, kernel_signatures(module))
        output.write("\n".join(text for path, text in files.items() if path.endswith(".cpp")))
