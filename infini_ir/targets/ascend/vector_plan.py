"""Kernels for vector cores, from tiles to instructions: the pass `ascend-lower-vector`."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass


@dataclass(frozen=True)
class LowerVectorPass(ModulePass):
    """Lower kernels that are not for cube cores."""

    name = "ascend-lower-vector"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        raise NotImplementedError
