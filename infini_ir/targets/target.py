"""What every target is: the graph operations it keeps, its passes, and what it builds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from xdsl.dialects.builtin import ModuleOp
    from xdsl.passes import ModulePass

    from infini_ir.dialects.context import CompilerContext
    from infini_ir.passes.graph.pipeline import QuantizedWeights
    from infini_ir.passes.graph.winograd import GraphWinogradPass
    from infini_ir.runtime.program import Program
    from infini_ir.targets.c_project.project import Project


COMPOSITES = frozenset(
    {
        "graph.softmax",
        "graph.layer_norm",
        "graph.rms_norm",
        "graph.attention",
        "graph.paged_attention",
        "graph.conv",
        "graph.pool",
    }
)
"""Composite operations that the lowering makes kernels of; targets keep all of these, unless
they say otherwise."""


@dataclass(frozen=True)
class DeviceLimits:
    """What a typical board of an architecture can do at most."""

    board: str
    bandwidth: float
    """Bytes a second from its memory."""
    peaks: Mapping[str, float]
    """Operations a second of products by the type of their operands; `f32` also for all
    other arithmetic."""

    def seconds(self, operations: float, traffic: float, dtype: str) -> tuple[float, str]:
        """The least time for a kernel whose products have operands of a type, and what sets
        it: `compute` or `memory`."""
        computing = operations / self.peaks.get(dtype, self.peaks["f32"])
        moving = traffic / self.bandwidth
        return (computing, "compute") if computing >= moving else (moving, "memory")


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

    @property
    def quantized_weights(self) -> QuantizedWeights:
        """Where 8-bit weights of products become floats."""
        ...

    @property
    def integer_products(self) -> bool:
        """Whether products of two dequantised values are computed of their bytes."""
        ...

    @property
    def winograd(self) -> GraphWinogradPass | None:
        """Chooses the 3x3 convolutions that are to take fewer products; None: no one does."""
        ...

    @property
    def device_limits(self) -> DeviceLimits | None:
        """What kernels can be held against; None where nothing is published, and where the
        machine itself is measured."""
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
