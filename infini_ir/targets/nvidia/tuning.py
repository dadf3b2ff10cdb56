"""Plans by measuring: the pass `nvidia-tune`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from infini_ir.dialects import tile
from infini_ir.dialects.dims import DimsAttr
from infini_ir.dialects.tile import view_type
from infini_ir.runtime.cuda.device import Device, default_device, runs_on
from infini_ir.targets.nvidia.autotune import Tuner
from infini_ir.targets.nvidia.emitted import EmittedKernel
from infini_ir.targets.nvidia.emitter import emit_kernel
from infini_ir.targets.nvidia.legalise import legalise
from infini_ir.targets.nvidia.limits import limits_of
from infini_ir.targets.nvidia.plan import Plan
from infini_ir.targets.nvidia.planning import candidates
from infini_ir.targets.nvidia.toolchain import architecture_of, compile_jobs
from infini_ir.utils.errors import ArtifactError, OptionError
from infini_ir.utils.object_cache import ObjectCache
from infini_ir.utils.symbolic import PARAMETERS

USUAL_SIZE = 512
"""What symbols that no size is given for are taken to be."""


@dataclass(frozen=True)
class NvidiaTunePass(ModulePass):
    """
    Gives kernels without a plan the fastest one for some sizes, measured on the device of
    this machine or, where another one measured it before, from the cache on disk. Kernels
    of which nothing is known are left to `nvidia-plan`, which comes after.
    """

    name = "nvidia-tune"
    architecture: str = "sm_90"
    sizes: tuple[str, ...] = ()
    """Symbols and their values, such as `M=512`; `USUAL_SIZE` for the others."""

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        limits = limits_of(self.architecture)
        capability = int(limits.architecture.removeprefix("sm_"))
        store = ObjectCache()
        tuner = Tuner(
            limits.architecture,
            capability,
            lambda kernel: [p for p in candidates(kernel, limits) if p.split == 1],
            planned_source,
            lambda jobs: compile_jobs(jobs, store),
            device_for(capability),
            store,
        )
        given = parse_sizes(self.sizes)
        for kernel in op.body.block.ops:
            if isinstance(kernel, tile.KernelOp) and kernel.plan is None:
                names = kernel_symbols(kernel)
                plan = tuner.best(kernel, {n: given.get(n, USUAL_SIZE) for n in names})
                if plan is not None:
                    kernel.properties["plan"] = plan.attribute()


def planned_source(kernel: tile.KernelOp, plan: Plan) -> EmittedKernel:
    """The source of a kernel with a plan; the kernel stays as it is."""
    copy = kernel.clone()
    copy.properties["plan"] = plan.attribute()
    legalise(copy)
    return emit_kernel(copy)


def device_for(capability: int) -> Device | None:
    """This machine's device, where it runs code of that capability."""
    try:
        device = default_device()
    except ArtifactError:
        return None
    return device if runs_on(architecture_of(capability), device.capability) else None


def parse_sizes(sizes: tuple[str, ...]) -> dict[str, int]:
    """Values of symbols from texts such as `M=512`."""
    found: dict[str, int] = {}
    for text in sizes:
        name, _, value = text.partition("=")
        if not name or not value.isdigit():
            raise OptionError(f"'{text}' is not a size; write it as M=512")
        found[name] = int(value)
    return found


def kernel_symbols(kernel: tile.KernelOp) -> list[str]:
    """The symbols of a kernel's views and sizes, in order."""
    names: set[str] = set()
    for op in kernel.walk():
        for attribute in op.properties.values():
            if isinstance(attribute, DimsAttr):
                names |= {n for dim in attribute.data for n in dim.symbols()}
    for view in kernel.views:
        type = view_type(view)
        names |= {n for dim in (*type.shape, *type.strides) for n in dim.symbols()}
    return sorted(names - set(PARAMETERS))


def sizes_text(sizes: Mapping[str, int]) -> tuple[str, ...]:
    """The reverse of `parse_sizes`."""
    return tuple(f"{name}={value}" for name, value in sorted(sizes.items()))
