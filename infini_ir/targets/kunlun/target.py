"""The Kunlun target: from a tile program to a project in XPU C."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from infini_ir.dialects.context import CompilerContext
from infini_ir.passes.tile.block_rows import BlockRowsPass
from infini_ir.passes.tile.expand_math import FLOAT_ONLY_NATIVE, ExpandMathPass
from infini_ir.passes.tile.lay_out_weights import LayOutWeightsPass
from infini_ir.passes.tile.narrow_doubles import NarrowDoublesPass
from infini_ir.passes.tile.plan_memory import PlanMemoryPass
from infini_ir.passes.tile.split_reduction import SplitReductionPass
from infini_ir.targets.c_project.assemble import make_project, static_source
from infini_ir.targets.c_project.project import Project
from infini_ir.targets.c_project.signatures import signatures_of
from infini_ir.targets.kunlun.emitter import RESERVED, kernel_sources
from infini_ir.targets.kunlun.limits import MACHINE
from infini_ir.targets.kunlun.lower import KunlunLowerPass
from infini_ir.targets.kunlun.runtime import HEADERS, RUNTIME, toolchain
from infini_ir.targets.programs import remove_unused
from infini_ir.targets.target import COMPOSITES
from infini_ir.utils.errors import OptionError

if TYPE_CHECKING:
    from infini_ir.passes.graph.pipeline import QuantizedWeights


SHORT_ROW = 192
"""Elements of a row of which a program takes several."""

NATIVE_MATH = tuple(sorted(FLOAT_ONLY_NATIVE))
"""Functions of the device's library; the others are made of them."""


@dataclass(frozen=True)
class KunlunTarget:
    """Writes XPU C. `architecture` is `xpu3`, also where it is empty."""

    architecture: str = "xpu3"
    name: ClassVar[str] = "kunlun"
    composites: ClassVar[frozenset[str]] = COMPOSITES
    quantized_weights: ClassVar[QuantizedWeights] = "fused"
    integer_products: ClassVar[bool] = False
    winograd: ClassVar[None] = None
    device_limits: ClassVar[None] = None

    def __post_init__(self) -> None:
        if not self.architecture:
            object.__setattr__(self, "architecture", "xpu3")
        if self.architecture != "xpu3":
            raise OptionError(
                f"target 'kunlun' knows no architecture '{self.architecture}'; there is: xpu3"
            )

    def passes(self) -> tuple[ModulePass, ...]:
        """From tile programs to kernels in buffer form with all memory placed."""
        return (
            LayOutWeightsPass(),
            NarrowDoublesPass(),
            SplitReductionPass(MACHINE.cores),
            ExpandMathPass(native=NATIVE_MATH, float_only=True),
            BlockRowsPass(SHORT_ROW),
            KunlunLowerPass(),
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
        headers = {name: (folder / name).read_text(encoding="utf-8") for name in HEADERS}
        return make_project(
            module,
            ctx,
            target=self.name,
            architecture=self.architecture,
            runtime=RUNTIME,
            toolchain=toolchain(),
            kernels={
                **kernel_sources(module, signatures),
                **headers,
                "core_scalars.h": static_source("core_scalars.h"),
            },
            report=report,
            texts=texts,
            alignment=64,
            signatures=signatures,
        )
