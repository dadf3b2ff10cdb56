"""Hand-written device programs over the fake driver."""

from __future__ import annotations

from typing import Any

import numpy as np

from infini_ir.runtime.cuda.device import Device
from infini_ir.runtime.cuda.driver import Driver
from infini_ir.runtime.cuda.executor import PLAN_FILE, CudaExecutor
from infini_ir.runtime.launch_plan import (
    Argument,
    LaunchPlan,
    PlannedKernel,
    Pointer,
    Step,
    Variant,
)
from infini_ir.runtime.metadata import LAUNCH_PLAN, Metadata, weight_table
from infini_ir.runtime.package import pack
from infini_ir.runtime.program import CodeBytes, Program
from infini_ir.runtime.signature import TensorSpec
from infini_ir.utils.symbolic import ONE, Dim
from infini_ir.utils.weights import WeightStore
from tests.devices.nvidia.fake_driver import FakeDriver, Kernel, image


def at(base: str, index: int = 0, offset: int | str | Dim = 0) -> Pointer:
    """A pointer."""
    return Pointer(base, index, Dim.of(offset))


class Fake:
    """A driver whose kernels are Python functions of arrays, and a plan over them."""

    def __init__(self, **options: Any):
        self.driver = FakeDriver({}, **options)
        self.kernels: list[PlannedKernel] = []
        self.images: dict[str, bytes] = {}

    def kernel(
        self,
        name: str,
        arguments: list[tuple[str, str | int]],
        function: Any,
        *,
        grid: str = "1",
        scratch: int = 0,
        shared: int = 0,
        divisible: tuple[str, ...] = (),
    ) -> int:
        """A kernel `function(view, *values)`; `view(address, dtype, count)` gives arrays. One
        with divisible sizes also has a general variant called `name_any`."""
        kinds = [kind for kind, _ in arguments]
        names = (name, f"{name}_any") if divisible else (name,)
        variants = []
        for which in names:
            self.driver.kernels[which] = Kernel(  # type: ignore[index]
                kinds,
                lambda grid, values: function(self.driver.view, *values),
                shared=shared,
                scratch=scratch,
            )
            self.images[f"{which}.cubin"] = image(which)
            conditions = tuple(map(Dim.of, divisible)) if which == name else ()
            variants.append(Variant(f"{which}.cubin", which, 128, shared, scratch, conditions))
        built = tuple(
            Argument(kind, int(value))
            if kind == "pointer"
            else Argument(kind, size=Dim.of(value))
            for kind, value in arguments
        )
        self.kernels.append(
            PlannedKernel(name, built, (Dim.of(grid), ONE, ONE), tuple(variants))
        )
        return len(self.kernels) - 1

    def program(
        self,
        steps: tuple[Step, ...],
        inputs: list[TensorSpec],
        outputs: list[TensorSpec],
        *,
        symbols: tuple[str, ...] = (),
        given: tuple[int, ...] | None = None,
        arena: str = "0",
        weights: WeightStore | None = None,
        arch: str = "sm_90a",
    ) -> Program:
        """A program; `given`: the outputs whose memory the caller gives (default: all)."""
        numbers = tuple(range(len(outputs))) if given is None else given
        plan = LaunchPlan(tuple(self.kernels), steps, numbers)
        store = weights or WeightStore()
        table = weight_table((n, store.dtype(n), store.shape(n)) for n in store.names())
        metadata = Metadata(
            target="nvidia",
            inputs=tuple(inputs),
            outputs=tuple(outputs),
            entries={},
            arch=arch,
            form=LAUNCH_PLAN,
            symbols=symbols,
            arena=Dim.of(arena),
            weights=table,
        )
        files = {PLAN_FILE: plan.to_text().encode(), **self.images}
        return Program(metadata, CodeBytes(pack(files)), store)

    def device(self) -> Device:
        return Device(Driver(self.driver))

    def executor(self, program: Program) -> CudaExecutor:
        return CudaExecutor(program, self.device())


def add_one(view: Any, y: int, x: int, n: int) -> None:
    """y = x + 1 over f32[n]."""
    view(y, np.float32, n)[:] = view(x, np.float32, n) + 1


ADD = [("pointer", 0), ("pointer", 1), ("i32", "N")]
X = TensorSpec.of("x", "f32", "N")
Y = TensorSpec.of("y", "f32", "N")
