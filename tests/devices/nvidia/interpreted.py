"""Whole models on the fake driver, their kernels run by the tile interpreter.

`Interpreted` stands in for the emitter and Triton: a kernel's code is its tile operation.
What is checked is all around the kernels: the launch plan, memory, parameters, executor.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from xdsl.dialects.builtin import ModuleOp

from infini_ir.dialects import tile
from infini_ir.dialects.context import CompilerContext, compiler_context
from infini_ir.dialects.tile import ViewType, view_type
from infini_ir.interpreters.tile.kernel import run_kernel
from infini_ir.interpreters.tile.memory import Memory, element_dtype
from infini_ir.lowering.graph_to_tile import GraphToTilePass
from infini_ir.passes.graph.pipeline import graph_pipeline
from infini_ir.passes.tile.plan_memory import PlanMemoryPass
from infini_ir.runtime.cuda.device import Device
from infini_ir.runtime.cuda.driver import Driver
from infini_ir.runtime.cuda.executor import CudaExecutor
from infini_ir.runtime.program import Program
from infini_ir.targets.nvidia.emitted import Argument, EmittedKernel
from infini_ir.targets.nvidia.library import library_products
from infini_ir.targets.nvidia.program import Builder
from infini_ir.targets.nvidia.toolchain import CompiledKernel, Job
from infini_ir.targets.nvidia.tuning import kernel_symbols
from infini_ir.utils.symbolic import Dim, product
from tests.devices.nvidia.fake_driver import FakeDriver, Kernel, image

COMPOSITES = frozenset(
    f"graph.{name}"
    for name in ("softmax", "layer_norm", "rms_norm", "attention", "conv", "pool")
)
SIZES = {"BM": 16, "BN": 16, "BK": 16, "BR": 16, "BC": 64, "BH": 4, "BW": 8}
"""Tile sizes of kernels without a plan."""


class Interpreted:
    """Kernels by name, and the driver that runs them."""

    def __init__(self, **options: Any):
        self.driver = FakeDriver({}, **options)
        self._kernels: dict[str, tile.KernelOp] = {}

    def emit(self, kernel: tile.KernelOp) -> EmittedKernel:
        name = kernel.sym_name.data
        self._kernels[name] = kernel.clone()
        sizes = {key: Dim.of(value) for key, value in SIZES.items()}
        counts = [
            bound.ceil_divide(step.substitute(sizes))
            for bound, step in zip(kernel.bounds.data, kernel.steps.data, strict=True)
        ]
        views = [
            Argument(f"view_{i}", "*i8", i, divisible=True) for i in range(len(kernel.views))
        ]
        symbols = [
            Argument(f"size_{i}", "i64", symbol=symbol, divisible=True)
            for i, symbol in enumerate(kernel_symbols(kernel))
        ]
        text = f"# {name}\n"
        return EmittedKernel(name, text, (*views, *symbols), (product(counts),), 4, 1)

    def compile(self, jobs: Sequence[Job]) -> list[CompiledKernel]:
        return [self._compile(job) for job in jobs]

    def _compile(self, job: Job) -> CompiledKernel:
        name = job.kernel.name
        kernel = self._kernels[name]
        arguments = job.kernel.arguments
        kinds = ["pointer" if a.view is not None else a.type for a in arguments]
        names = [a.symbol for a in arguments if a.symbol is not None]

        def run(grid: tuple[int, int, int], values: list[int]) -> None:
            for number in job.divisible:
                assert values[number] % 16 == 0, f"{name}: argument {number} is not divisible"
            count = len(kernel.views)
            sizes = dict(zip(names, values[count:], strict=True))
            views = [
                self._memory(view_type(view), pointer, sizes)
                for view, pointer in zip(kernel.views, values, strict=False)
            ]
            run_kernel(kernel, views, sizes, SIZES)

        self.driver.kernels[name] = Kernel(kinds, run)  # type: ignore[index]
        code = image(name)
        return CompiledKernel(name, name, 128, 0, 0, job.divisible, 0, f"// {name}", code)

    def _memory(self, type: ViewType, pointer: int, sizes: dict[str, int]) -> Memory:
        """The device memory of a view, checked to be all allocated."""
        shape = tuple(dim.evaluate(sizes) for dim in type.shape)
        strides = tuple(dim.evaluate(sizes) for dim in type.strides)
        dtype = element_dtype(type.element)
        if 0 in shape:
            return Memory(np.empty(0, dtype), 0, shape, strides)
        reach = [(n - 1) * s for n, s in zip(shape, strides, strict=True)]
        low, high = sum(min(r, 0) for r in reach), sum(max(r, 0) for r in reach)
        flat = self.driver.view(pointer + low * dtype.itemsize, dtype, high - low + 1)
        return Memory(flat, -low, shape, strides)

    def program(self, source: Any, *, library: bool = False) -> Program:
        """A model (of the kernel corpus, or ONNX) as a program of this driver."""
        ctx = compiler_context()
        module = lowered(source, ctx)
        builder = Builder(
            90, 227 << 10, self.emit, self.compile, library_products if library else None
        )
        return builder.build(module, ctx)

    def executor(self, program: Program) -> CudaExecutor:
        return CudaExecutor(program, Device(Driver(self.driver)))


def lowered(source: Any, ctx: CompilerContext) -> ModuleOp:
    """A model down to tile, memory planned."""
    from infini_ir.frontends.onnx.importer import import_model

    module = source.module(ctx) if hasattr(source, "module") else import_model(source, ctx)
    for step in (*graph_pipeline(COMPOSITES), GraphToTilePass(), PlanMemoryPass()):
        step.apply(ctx, module)
    return module
