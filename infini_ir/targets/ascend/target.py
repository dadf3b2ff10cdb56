"""The Ascend target: from a tile program to a project in Ascend C."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from infini_ir.dialects import tile
from infini_ir.dialects.context import CompilerContext
from infini_ir.dialects.tile import program
from infini_ir.passes.tile.block_rows import BlockRowsPass
from infini_ir.passes.tile.expand_math import ExpandMathPass
from infini_ir.passes.tile.lay_out_weights import LayOutWeightsPass
from infini_ir.passes.tile.narrow_doubles import NarrowDoublesPass
from infini_ir.passes.tile.plan_memory import PlanMemoryPass
from infini_ir.passes.tile.split_reduction import SplitReductionPass
from infini_ir.targets.ascend.cube_kernel import cube_kernel
from infini_ir.targets.ascend.cube_plan import SplitCubePass, is_cube
from infini_ir.targets.ascend.library import UseAclnnPass, emit_call, library_source
from infini_ir.targets.ascend.machine import VECTOR_CORE
from infini_ir.targets.ascend.runtime import RUNTIME, toolchain
from infini_ir.targets.ascend.vector_kernel import vector_kernel
from infini_ir.targets.ascend.vector_plan import NATIVE_MATH, LowerVectorPass
from infini_ir.targets.ascend.writer import RESERVED
from infini_ir.targets.c_project.assemble import make_project, static_source
from infini_ir.targets.c_project.project import Project
from infini_ir.targets.c_project.signatures import KernelSignature, signatures_of
from infini_ir.targets.programs import remove_unused
from infini_ir.targets.texts import LazyTexts
from infini_ir.utils.errors import OptionError

if TYPE_CHECKING:
    from infini_ir.passes.graph.pipeline import QuantizedWeights

ARCHITECTURES = ("910b",)

COMPOSITES = frozenset(
    {"graph.softmax", "graph.layer_norm", "graph.rms_norm", "graph.conv", "graph.pool"}
)
"""Attention is expanded: its products run on cube cores, its softmax on vector cores, which
exchange nothing but through memory."""

SHORT_ROW = 2048
"""Elements of a row of which a program takes several."""

KERNELS_A_FILE = 16


@dataclass
class AscendTarget:
    """Projects for Ascend 910B. `library`: products are calls of aclnn."""

    architecture: str = "910b"
    library: bool = False
    name: ClassVar[str] = "ascend"
    composites: ClassVar[frozenset[str]] = COMPOSITES
    quantized_weights: ClassVar[QuantizedWeights] = "converted"
    integer_products: ClassVar[bool] = False
    winograd: ClassVar[None] = None
    device_limits: ClassVar[None] = None

    def __post_init__(self) -> None:
        self.architecture = self.architecture or ARCHITECTURES[0]
        if self.architecture not in ARCHITECTURES:
            raise OptionError(
                f"unknown Ascend '{self.architecture}'; there are: {', '.join(ARCHITECTURES)}"
            )

    def passes(self) -> tuple[ModulePass, ...]:
        """From a tile program to kernels for cube and for vector cores: no f64 where f32 will
        do, weights in the order of their use, long reductions shared out, products on their
        own, long rows in pieces, the mathematics that vector cores lack, local memory and
        queues, global memory."""
        return (
            *([UseAclnnPass()] if self.library else []),
            NarrowDoublesPass(),
            LayOutWeightsPass(),
            SplitReductionPass(VECTOR_CORE.cores),
            SplitCubePass(),
            ExpandMathPass(native=NATIVE_MATH, float_only=True),
            BlockRowsPass(SHORT_ROW),
            LowerVectorPass(),
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
        signatures = kernel_signatures(module)
        kernels = kernel_files(module, signatures)
        called = any(isinstance(op, program.LibraryOp) for op in module.walk())
        if called:
            kernels["library.cpp"] = library_source()
        source = "\n".join(text for path, text in kernels.items() if path.startswith("kernels"))
        levels = LazyTexts({**(texts or {}), "source": source}, {})
        return make_project(
            module,
            ctx,
            target=self.name,
            architecture=self.architecture,
            runtime=RUNTIME,
            toolchain=toolchain(kernels, library=called),
            kernels=kernels,
            report=report,
            texts=levels,
            signatures=signatures,
            operations={program.LibraryOp: emit_call},
        )


def kernel_signatures(module: ModuleOp) -> dict[str, KernelSignature]:
    """The launch functions; kernels are called `softmax_kernel`, so that none has the name of
    a function of C."""
    found = signatures_of(module, RESERVED)
    return {
        key: replace(signature, name=f"{signature.name}_kernel")
        for key, signature in found.items()
    }


def kernel_files(module: ModuleOp, signatures: Mapping[str, KernelSignature]) -> dict[str, str]:
    """
    The texts of all kernels, some in each file, and the headers that they include. Those for
    vector and for cube cores lie in files of their own: the vendor's build finds the first
    `KERNEL_TASK_TYPE_DEFAULT` of a file and takes all of its kernels for that.
    """
    vectors: list[str] = []
    cubes: list[str] = []
    for op in module.body.block.ops:
        if isinstance(op, tile.KernelOp):
            signature = signatures[op.sym_name.data]
            if is_cube(op):
                cubes.append(cube_kernel(op, signature))
            else:
                vectors.append(vector_kernel(op, signature))
    files = {**_parts("kernels", vectors), **_parts("kernels_cube", cubes)}
    if not files:
        files["kernels.cpp"] = HEAD
    for header in ("ascend_ops.h", "ascend_cube.h"):
        files[header] = (Path(__file__).parent / "sources" / header).read_text("utf-8")
    files["core_scalars.h"] = static_source("core_scalars.h")
    return files


def _parts(name: str, texts: list[str]) -> dict[str, str]:
    files: dict[str, str] = {}
    for first in range(0, len(texts), KERNELS_A_FILE):
        number = f"_{first // KERNELS_A_FILE + 1}" if len(texts) > KERNELS_A_FILE else ""
        part = texts[first : first + KERNELS_A_FILE]
        files[f"{name}{number}.cpp"] = "\n".join([HEAD, *part])
    return files


HEAD = """\
#include "ascend_ops.h"
#include "ascend_cube.h"
#include "kernels.h"

#ifndef INFINI_LAUNCH
#define INFINI_LAUNCH(kernel, blocks, threads, stream, ...) \\
  kernel<<<static_cast<uint32_t>(blocks), threads, stream>>>(__VA_ARGS__)
#endif
"""
