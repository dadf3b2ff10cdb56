"""Models compiled for NVIDIA and run by the real executor, with the device left out: the
fake driver has the memory, Triton's interpreter runs the emitted kernels.

For the process that has the interpreter, see `runner`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from xdsl.dialects.builtin import ModuleOp

from infini_ir.dialects.context import CompilerContext
from infini_ir.interpreters.tile.memory import Memory
from infini_ir.runtime.cuda.device import Device
from infini_ir.runtime.cuda.driver import Driver
from infini_ir.runtime.cuda.executor import CudaExecutor
from infini_ir.targets.nvidia.target import NvidiaTarget
from infini_ir.targets.nvidia.toolchain import CompiledKernel, Job
from tests.devices.nvidia import interpreter
from tests.devices.nvidia.fake_driver import FakeDriver, Kernel, image


class TritonDevice:
    """A driver whose kernels are emitted Triton text."""

    def __init__(self) -> None:
        self.driver = FakeDriver({})

    def executor(self, module: ModuleOp, ctx: CompilerContext) -> CudaExecutor:
        """What runs a legalised module."""
        target = NvidiaTarget(cache=False, toolchain=self._compile)
        program = target.build(module, ctx)
        return CudaExecutor(program, Device(Driver(self.driver)))

    def _compile(self, jobs: Sequence[Job]) -> list[CompiledKernel]:
        return [self._kernel(job) for job in jobs]

    def _kernel(self, job: Job) -> CompiledKernel:
        emitted = job.kernel
        # Variants differ in what they take to be divisible, so each has a name.
        name = f"{emitted.name}_{'_'.join(map(str, job.divisible))}"
        loaded = interpreter._Kernel(emitted)

        def run(grid: tuple[int, int, int], values: list[int]) -> None:
            assert grid[1:] == (1, 1), grid
            for number in job.divisible:
                assert values[number] % 16 == 0, f"{name}: argument {number} is not divisible"
            views: dict[int, Memory] = {}
            symbols: dict[str, int] = {}
            for argument, value in zip(emitted.arguments, values, strict=True):
                if argument.symbol is not None:
                    symbols[argument.symbol] = value
                elif argument.view is not None:
                    flat = self.driver.view(value, np.uint8, min(1, self.driver.room(value)))
                    views[argument.view] = Memory(flat, 0, (1,), (1,))
            loaded.run([views[i] for i in range(len(views))], symbols, grid[0])

        kinds = ["pointer" if a.view is not None else a.type for a in emitted.arguments]
        threads = 32 * emitted.num_warps
        self.driver.kernels[name] = Kernel(kinds, run, threads)  # type: ignore[index]
        code = image(name)
        return CompiledKernel(emitted.name, name, threads, 0, 0, job.divisible, 0, "", code)


def run_twice(
    module: ModuleOp, ctx: CompilerContext, inputs: Sequence[np.ndarray], calls: int = 2
) -> list[np.ndarray]:
    """The outputs of a legalised module: of a second call, which replays a graph where the
    program allows one, and which must give what the first one gave. `calls` may be 1."""
    device = TritonDevice()
    executor = device.executor(module, ctx)
    try:
        first = executor.run(inputs)
        second = executor.run(inputs) if calls > 1 else first
    finally:
        device.driver.assert_clean()
    for one, other in zip(first, second, strict=True):
        assert one.shape == other.shape and one.tobytes() == other.tobytes()
    return second
