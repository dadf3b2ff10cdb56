"""What every target is: the graph operations it keeps, its passes, and what it builds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from xdsl.dialects.builtin import ModuleOp
    from xdsl.passes import ModulePass

    from infini_ir.dialects.context import CompilerContext
    from infini_ir.runtime.program import Program
    from infini_ir.targets.c_project.project import Project


class Target(Protocol):
    """A device to compile for. Made from the name of an architecture, empty for the default."""

    @property
    def name(self) -> str:
        """As users write it before the colon, such as `nvidia`."""
        ...

    @property
    def architecture(self) -> str:
        """As users write it after the colon, such as `sm_90`."""
        ...

    @property
    def composites(self) -> frozenset[str]:
        """Composite operations of the graph dialect that reach the lowering; the others are
        expanded into primitives."""
        ...

    def passes(self) -> tuple[ModulePass, ...]:
        """From a tile program to the legalised form that the emitter translates: every
        decision about the device is made by these."""
        ...

    def build(
        self,
        module: ModuleOp,
        ctx: CompilerContext,
        *,
        report: dict[str, Any] | None = None,
        texts: Mapping[str, str] | None = None,
    ) -> Program | Project:
        """A legalised module as something to run (`Program`) or to build with the vendor's
        tools (`Project`). `report` and `texts` (of the levels above) go along with it.

        Raises `CompileError` where a kernel cannot be had or a tool is missing.
        """
        ...
