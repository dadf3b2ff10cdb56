"""The cuda-c target: from a tile program to a project in plain CUDA C++."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from infini_ir.dialects import tile
from infini_ir.dialects.context import CompilerContext
from infini_ir.dialects.tile import program
from infini_ir.passes.tile.expand_math import ExpandMathPass
from infini_ir.passes.tile.plan_memory import PlanMemoryPass
from infini_ir.passes.tile.split_reduction import SplitReductionPass
from infini_ir.targets.c_project.assemble import make_project
from infini_ir.targets.c_project.project import Project
from infini_ir.targets.c_project.signatures import KernelSignature
from infini_ir.targets.cuda_c.emitter import write_kernel
from infini_ir.targets.cuda_c.library import UseBlasPass, emit_call, library_source
from infini_ir.targets.cuda_c.plan import Plan
from infini_ir.targets.cuda_c.planning import PROGRAMS, CudaCPlanPass
from infini_ir.targets.cuda_c.runtime import device_runtime, toolchain
from infini_ir.targets.cuda_c.scalars import NATIVE_MATH
from infini_ir.targets.cuda_c.vendors import VENDORS, Vendor, vendor_header
from infini_ir.targets.cuda_c.writer import RESERVED
from infini_ir.targets.programs import remove_unused
from infini_ir.targets.target import COMPOSITES
from infini_ir.utils.errors import CompileError, OptionError

if TYPE_CHECKING:
    from infini_ir.passes.graph.pipeline import QuantizedWeights


@dataclass(frozen=True)
class CudaCTarget:
    """Writes CUDA C++ that the compilers of several vendors take. `architecture`: the vendor,
    `nvidia` where it is empty."""

    architecture: str = "nvidia"
    library: bool = False
    """Whether the vendor's library does the plain matrix products."""
    name: ClassVar[str] = "cuda-c"
    composites: ClassVar[frozenset[str]] = COMPOSITES
    quantized_weights: ClassVar[QuantizedWeights] = "fused"
    integer_products: ClassVar[bool] = False
    winograd: ClassVar[None] = None
    device_limits: ClassVar[None] = None

    def __post_init__(self) -> None:
        if not self.architecture:
            object.__setattr__(self, "architecture", "nvidia")
        if self.architecture not in VENDORS:
            raise OptionError(
                f"target 'cuda-c' knows no vendor '{self.architecture}'; there are: "
                + ", ".join(VENDORS)
            )
        if self.library and not self.vendor.blas:
            offered = [vendor.name for vendor in VENDORS.values() if vendor.blas]
            raise OptionError(
                f"target 'cuda-c:{self.architecture}' calls no vendor library; "
                f"those that do: {', '.join(offered)}"
            )

    @property
    def vendor(self) -> Vendor:
        return VENDORS[self.architecture]

    def passes(self) -> tuple[ModulePass, ...]:
        """Long reductions of few programs are shared out, functions that no compiler has
        become arithmetic, every kernel gets its plan, then intermediate values get their
        places in memory."""
        return (
            *([UseBlasPass()] if self.library else []),
            SplitReductionPass(2 * PROGRAMS),
            ExpandMathPass(NATIVE_MATH),
            CudaCPlanPass(),
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
        """The project of a planned module."""
        remove_unused(module)
        folder = Path(__file__).parent / "sources"
        called = any(isinstance(op, program.LibraryOp) for op in module.walk())
        return make_project(
            module,
            ctx,
            target=self.name,
            architecture=self.architecture,
            runtime=device_runtime(self.vendor),
            toolchain=toolchain(self.vendor, library=called),
            kernels={
                f"kernels.{self.vendor.suffix}": kernels_source(module),
                "prelude.h": (folder / "prelude.h").read_text(encoding="utf-8"),
                "vendor.h": vendor_header(self.vendor),
                **({"library.cpp": library_source()} if called else {}),
            },
            report=report,
            texts=texts,
            signatures={
                kernel.sym_name.data: KernelSignature.of(kernel, RESERVED)
                for kernel in module.body.block.ops
                if isinstance(kernel, tile.KernelOp)
            },
            operations={program.LibraryOp: emit_call},
        )


def kernels_source(module: ModuleOp) -> str:
    """The text of all kernels of a planned module."""
    parts = [
        "// The kernels of the model, each followed by the function that launches it.\n\n"
        '#include "kernels.h"\n#include "prelude.h"\n'
    ]
    for kernel in module.body.block.ops:
        if isinstance(kernel, tile.KernelOp):
            if kernel.plan is None:
                raise CompileError(
                    f"kernel '{kernel.sym_name.data}' has no plan; run cuda-c-plan first"
                )
            parts.append(write_kernel(kernel, Plan.read(kernel.plan)).text)
    return "\n".join(parts)
