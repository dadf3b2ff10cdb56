"""The Cambricon target: from a tile program to a project in BANG C."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from infini_ir.dialects.context import CompilerContext
from infini_ir.dialects.tile import program
from infini_ir.passes.tile.block_rows import BlockRowsPass
from infini_ir.passes.tile.expand_math import FLOAT_ONLY_NATIVE, ExpandMathPass
from infini_ir.passes.tile.lay_out_weights import LayOutWeightsPass
from infini_ir.passes.tile.narrow_doubles import NarrowDoublesPass
from infini_ir.passes.tile.plan_memory import PlanMemoryPass
from infini_ir.passes.tile.split_reduction import SplitReductionPass
from infini_ir.targets.c_project.assemble import make_project, static_source
from infini_ir.targets.c_project.project import Project
from infini_ir.targets.c_project.signatures import signatures_of
from infini_ir.targets.cambricon.emitter import RESERVED, kernels_source
from infini_ir.targets.cambricon.library import UseCnnlPass, emit_call, library_source
from infini_ir.targets.cambricon.limits import ARCHITECTURES, MACHINE
from infini_ir.targets.cambricon.lower import CambriconLowerPass
from infini_ir.targets.cambricon.runtime import RUNTIME, toolchain
from infini_ir.targets.programs import remove_unused
from infini_ir.targets.target import COMPOSITES
from infini_ir.utils.errors import OptionError

if TYPE_CHECKING:
    from infini_ir.passes.graph.pipeline import QuantizedWeights


SHORT_ROW = 2048
"""Elements of a row of which a program takes several."""

NATIVE_MATH = tuple(sorted(FLOAT_ONLY_NATIVE))
"""Functions of whole rows, or of the scalar unit; the others are made of them."""

HEADERS = (
    "core.h", "core_copies.h", "core_rows.h", "core_masks.h", "core_reduce.h", "core_dot.h",
)  # fmt: skip


@dataclass(frozen=True)
class CambriconTarget:
    """Writes BANG C for an MLU. `architecture`: the chip, `mlu590` where it is empty;
    `library`: products of matrices are calls of CNNL."""

    architecture: str = "mlu590"
    library: bool = False
    name: ClassVar[str] = "cambricon"
    composites: ClassVar[frozenset[str]] = COMPOSITES
    quantized_weights: ClassVar[QuantizedWeights] = "fused"
    integer_products: ClassVar[bool] = False
    winograd: ClassVar[None] = None
    device_limits: ClassVar[None] = None

    def __post_init__(self) -> None:
        if not self.architecture:
            object.__setattr__(self, "architecture", "mlu590")
        if self.architecture not in ARCHITECTURES:
            raise OptionError(
                f"target 'cambricon' knows no chip '{self.architecture}'; there are: "
                + ", ".join(ARCHITECTURES)
            )

    def passes(self) -> tuple[ModulePass, ...]:
        """From tile programs to kernels in buffer form with all memory placed."""
        return (
            *([UseCnnlPass()] if self.library else []),
            LayOutWeightsPass(),
            NarrowDoublesPass(),
            SplitReductionPass(MACHINE.cores),
            ExpandMathPass(native=NATIVE_MATH, float_only=True),
            BlockRowsPass(SHORT_ROW),
            CambriconLowerPass(),
            PlanMemoryPass(),
        )

    def build(
        self,
        module: ModuleOp,
        ctx: CompilerContext,
        *,
        report: dict[str, Any] | None = None,
        texts: Mapping[str, str] | None = None,
    ) -> Project:
        """The project of a legalised module."""
        remove_unused(module)
        signatures = signatures_of(module, RESERVED)
        folder = Path(__file__).parent / "sources"
        called = any(isinstance(op, program.LibraryOp) for op in module.walk())
        headers = {name: (folder / name).read_text(encoding="utf-8") for name in HEADERS}
        return make_project(
            module,
            ctx,
            target=self.name,
            architecture=self.architecture,
            runtime=RUNTIME,
            toolchain=toolchain(self.architecture, library=called),
            kernels={
                "kernels.mlu": kernels_source(module, signatures),
                **headers,
                **({"library.cpp": library_source()} if called else {}),
                "core_scalars.h": static_source("core_scalars.h"),
            },
            report=report,
            texts=texts,
            alignment=128,
            signatures=signatures,
            operations={program.LibraryOp: emit_call},
        )
