"""The compiler's context: the loaded dialects and what stands beside a module.

Beside the module: the weights that its handles name, the decisions that passes made, and
kernels as they were before their plans.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from xdsl.context import Context
from xdsl.dialects import arith, builtin, func, math, scf
from xdsl.ir import Operation

from infini_ir.dialects.buffer import Buffer
from infini_ir.dialects.graph import Graph
from infini_ir.dialects.tile import Tile
from infini_ir.utils.symbolic import Dim
from infini_ir.utils.weights import WeightStore


@dataclass(frozen=True)
class Decision:
    """One choice that a pass made, for `infini explain`."""

    by: str
    """Name of the pass."""
    subject: str
    """What it is about: a kernel, a value or an ONNX node."""
    choice: str
    """What was chosen."""
    reason: str
    """Why, with the numbers that decided."""
    traffic: Dim | None = None
    """Bytes to and from memory that the choice saves, or costs where it is negative; None
    where it is not about these."""


@dataclass
class CompilerContext(Context):
    """An xDSL context that also carries the weights and the decisions of a compilation."""

    weights: WeightStore = field(default_factory=WeightStore)
    decisions: list[Decision] = field(default_factory=list)
    originals: dict[str, Operation] = field(default_factory=dict)
    """Kernels as they were before a target's plan was carried out, by name, for targets that
    try another plan where machine code shows that one does not serve."""

    def decide(
        self, by: str, subject: str, choice: str, reason: str, traffic: Dim | None = None
    ) -> None:
        """Record a choice."""
        self.decisions.append(Decision(by, subject, choice, reason, traffic))


def weights_of(ctx: Context) -> WeightStore:
    """The weight store of a context; an empty one for a plain xDSL context."""
    return ctx.weights if isinstance(ctx, CompilerContext) else WeightStore()


def compiler_context() -> CompilerContext:
    """A context with every dialect of the compiler loaded."""
    ctx = CompilerContext()
    ours = (Graph, Tile, Buffer)
    for dialect in (builtin.Builtin, func.Func, arith.Arith, math.Math, scf.Scf, *ours):
        ctx.load_dialect(dialect)
    return ctx
