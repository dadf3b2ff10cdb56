"""The texts below the tile dialect, as outputs of `infini-opt` and `infini compile --emit`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.utils.target import Target

from infini_ir.dialects.context import weights_of
from infini_ir.dialects.tile import program
from infini_ir.runtime.metadata import weight_table
from infini_ir.utils.errors import CompileError
from infini_ir.utils.weights import WeightStore

if TYPE_CHECKING:
    from infini_ir.targets.cpu.target import Emitted


@dataclass(frozen=True)
class LlvmOutput(Target):
    """The LLVM IR of a legalised tile program: every kernel, then the host program."""

    name = "llvm"
    cpu: str = "native"

    def emit(self, ctx: Context, module: ModuleOp, output: IO[str]) -> None:
        output.write(emitted(ctx, module, self.cpu).text())


@dataclass(frozen=True)
class AsmOutput(Target):
    """The machine's assembly of a legalised tile program."""

    name = "asm"
    cpu: str = "native"

    def emit(self, ctx: Context, module: ModuleOp, output: IO[str]) -> None:
        from infini_ir.targets.cpu.features import named
        from infini_ir.targets.cpu.llvm.toolchain import assembly

        made = emitted(ctx, module, self.cpu)
        for text in [*made.kernels.values(), made.main]:
            output.write(assembly(text, named(self.cpu)) + "\n")


@dataclass(frozen=True)
class TritonOutput(Target):
    """The Triton source of every kernel of a module that is planned and legalised for NVIDIA."""

    name = "triton"

    def emit(self, ctx: Context, module: ModuleOp, output: IO[str]) -> None:
        from infini_ir.dialects import tile
        from infini_ir.targets.nvidia.emitter import emit_kernel

        for op in module.body.block.ops:
            if isinstance(op, tile.KernelOp):
                output.write(emit_kernel(op).source + "\n")


def emitted(ctx: Context, module: ModuleOp, cpu: str) -> Emitted:
    """The LLVM IR for a machine."""
    from infini_ir.targets.cpu.target import CpuTarget
    from infini_ir.targets.programs import program_of, remove_unused

    entry = program_of(module)
    if "arena" not in entry.attributes:
        raise CompileError(
            "the tile program is not legalised for a CPU; run --pipeline=default, or "
            "--pipeline=tile on a module of the graph dialect, before this output"
        )
    remove_unused(module)
    offsets = weight_offsets(module, weights_of(ctx))
    return CpuTarget(cpu, cache=False).emit(module, offsets)


def weight_offsets(module: ModuleOp, store: WeightStore) -> dict[str, int]:
    """Where each weight lies in the section of weights."""
    sizes: dict[str, tuple[str, tuple[int, ...]]] = {}
    for op in module.walk():
        if isinstance(op, program.WeightOp):
            handle = op.handle.data
            sizes.setdefault(handle, (store.dtype(handle), store.shape(handle)))
    table = weight_table((name, dtype, shape) for name, (dtype, shape) in sizes.items())
    return {entry.name: entry.offset for entry in table}
