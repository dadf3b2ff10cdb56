"""The NVIDIA target: from a tile program to Triton kernels, machine code and a launch plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from infini_ir.dialects.context import CompilerContext
from infini_ir.passes.tile.block_rows import BlockRowsPass
from infini_ir.passes.tile.depth_major import DepthMajorPass
from infini_ir.passes.tile.expand_math import ExpandMathPass
from infini_ir.passes.tile.lay_out_weights import LayOutWeightsPass
from infini_ir.passes.tile.plan_memory import PlanMemoryPass
from infini_ir.passes.tile.split_axis import SplitAxisPass
from infini_ir.passes.tile.split_k import SplitKPass
from infini_ir.passes.tile.split_reduction import SplitReductionPass
from infini_ir.runtime.program import Program
from infini_ir.targets.nvidia.emitter import emit_kernel
from infini_ir.targets.nvidia.folder import write_folder
from infini_ir.targets.nvidia.legalise import NvidiaLegalisePass
from infini_ir.targets.nvidia.library import library_products
from infini_ir.targets.nvidia.limits import Limits, limits_of
from infini_ir.targets.nvidia.planning import NvidiaPlanPass
from infini_ir.targets.nvidia.program import Builder, Emit
from infini_ir.targets.nvidia.scalars import NATIVE_MATH
from infini_ir.targets.nvidia.toolchain import CompiledKernel, Job, Toolchain, compile_jobs
from infini_ir.targets.nvidia.tuning import NvidiaTunePass, sizes_text
from infini_ir.targets.target import COMPOSITES, DeviceLimits
from infini_ir.utils.object_cache import ObjectCache

if TYPE_CHECKING:
    from infini_ir.passes.graph.pipeline import QuantizedWeights


SHORT_ROW = 256
"""Elements of a row of which a program may take several."""

PROGRAMS_EACH = 4
"""Programs of a shared out reduction for each multiprocessor: enough loads under way."""

BESIDE = 128
"""Elements of an axis across neighbours in memory, of which tiles then have 32 and more."""

_FINISH = (NvidiaLegalisePass(), ExpandMathPass(NATIVE_MATH))
"""What carries out the plans of kernels."""

__all__ = ["COMPOSITES", "NvidiaTarget", "write_folder"]


@dataclass
class NvidiaTarget:
    """Compiles tile programs for NVIDIA GPUs, on machines that need not have one.

    `architecture`: one of `limits.ARCHITECTURES`, by default sm_90. `cache` keeps machine
    code on disk, in its usual folder or a given one; `library` leaves plain products to
    cuBLAS.
    """

    architecture: str = ""
    cache: ObjectCache | bool = True
    library: bool = False
    tune: Mapping[str, int] | None = None
    """Sizes of symbols to measure plans for, on this machine's device; None measures none."""
    toolchain: Toolchain | None = None
    """What compiles emitted kernels; by default Triton."""
    emit: Emit | None = None
    """What makes source of a kernel; by default the emitter."""
    name: ClassVar[str] = "nvidia"
    composites: ClassVar[frozenset[str]] = COMPOSITES
    quantized_weights: ClassVar[QuantizedWeights] = "fused"
    integer_products: ClassVar[bool] = False
    winograd: ClassVar[None] = None
    objects: ObjectCache | None = field(init=False)

    def __post_init__(self) -> None:
        self.architecture = self.limits.architecture
        if isinstance(self.cache, ObjectCache):
            self.objects = self.cache
        else:
            self.objects = ObjectCache() if self.cache else None

    @property
    def limits(self) -> Limits:
        """What the architecture has; `OptionError` for one that is not known."""
        return limits_of(self.architecture)

    @property
    def device_limits(self) -> DeviceLimits:
        """A typical board; products of f32 are three of tf32."""
        known = self.limits
        types = ("f16", "bf16", "i8", "f64", "f32")
        peaks = {dtype: known.peak(dtype, "tf32x3") for dtype in types}
        return DeviceLimits(known.board, known.bandwidth, peaks)

    @property
    def capability(self) -> int:
        """The compute capability as a number, such as 90."""
        return int(self.architecture.removeprefix("sm_"))

    def passes(self) -> tuple[ModulePass, ...]:
        """The tile passes that legalise a program, in order: long reductions of few programs
        are shared out, axes that no block can hold split, short rows taken together, weights
        laid out as kernels read them, tile sizes, warps and stages decided and put into the
        kernels (long products of few programs become two kernels, the second with a plan of
        its own), functions that libdevice lacks expanded, memory planned when all buffers are
        there. One stream keeps the order, so there are no barriers."""
        return (
            SplitReductionPass(PROGRAMS_EACH * self.limits.multiprocessors),
            SplitAxisPass(beside=BESIDE),
            BlockRowsPass(SHORT_ROW),
            DepthMajorPass(),
            LayOutWeightsPass(),
            *self._tuning(),
            NvidiaPlanPass(self.architecture),
            SplitKPass(),
            *self._tuning(),
            NvidiaPlanPass(self.architecture),
            *_FINISH,
            PlanMemoryPass(),
        )

    def _tuning(self) -> tuple[ModulePass, ...]:
        if self.tune is None:
            return ()
        return (NvidiaTunePass(self.architecture, sizes_text(self.tune)),)

    def build(
        self,
        module: ModuleOp,
        ctx: CompilerContext,
        *,
        report: dict[str, Any] | None = None,
        texts: Mapping[str, str] | None = None,
    ) -> Program:
        """The runnable program of a legalised module: kernels emitted, compiled, planned."""
        builder = Builder(
            self.capability,
            self.limits.shared_bytes,
            self.emit or emit_kernel,
            self.toolchain or self._compile,
            library_products if self.library else None,
            self.limits,
            _FINISH,
        )
        return builder.build(module, ctx, report=report, texts=texts)

    def _compile(self, jobs: Sequence[Job]) -> list[CompiledKernel]:
        return compile_jobs(jobs, self.objects)
