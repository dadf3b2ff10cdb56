"""Tile sizes by measuring: the plans that planning holds legal, timed on the device here.

What was found is kept on disk by the kernel's text, its sizes and the architecture, so a
machine without the device can use what another has measured. Without either, planning's
own choice stays.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

from infini_ir.dialects import tile
from infini_ir.dialects.tile import ViewType, view_type
from infini_ir.runtime.cuda.device import Device
from infini_ir.runtime.cuda.launches import BufferTable, Kernels
from infini_ir.runtime.launch_plan import INPUT, Launch, LaunchPlan, Pointer
from infini_ir.targets.kernel_text import kernel_text
from infini_ir.targets.nvidia.emitted import EmittedKernel
from infini_ir.targets.nvidia.launch_plan import jobs_of, planned_kernel, variants_of
from infini_ir.targets.nvidia.plan import Plan
from infini_ir.targets.nvidia.toolchain import CompiledKernel, Toolchain, triton_version
from infini_ir.utils.dtypes import item_size
from infini_ir.utils.errors import ArtifactError, CompileError, DeviceError
from infini_ir.utils.object_cache import ObjectCache
from infini_ir.utils.symbolic import Dim

WARM_RUNS, RUNS = 3, 10
"""Launches before the time counts, and those that are timed."""

_FORMAT = "nvidia tuning 1"


@dataclass(frozen=True)
class Timing:
    """A plan and how long a launch with it takes."""

    plan: Plan
    milliseconds: float


@dataclass
class Tuner:
    """Finds the fastest plan of kernels for given sizes."""

    architecture: str
    capability: int
    candidates: Callable[[tile.KernelOp], Sequence[Plan]]
    """The legal plans of a kernel, the one that planning would take first."""
    emit: Callable[[tile.KernelOp, Plan], EmittedKernel]
    """The source of a kernel with a plan."""
    toolchain: Toolchain
    device: Device | None = None
    """Where to measure; None leaves what is known already."""
    store: ObjectCache | None = None

    def best(self, kernel: tile.KernelOp, sizes: Mapping[str, int]) -> Plan | None:
        """The fastest plan, from the disk or measured; None where neither is to be had."""
        key = self._key(kernel, sizes)
        known = self._known(key)
        if known is not None or self.device is None:
            return known
        timings = self.measure(kernel, sizes)
        if not timings:
            return None
        best = min(timings, key=lambda timing: timing.milliseconds)
        if self.store is not None:
            self.store.store(key, json.dumps(asdict(best.plan)).encode())
        return best.plan

    def measure(self, kernel: tile.KernelOp, sizes: Mapping[str, int]) -> list[Timing]:
        """All candidates that compile and fit the device, timed on it."""
        assert self.device is not None
        timings: list[Timing] = []
        for plan in self.candidates(kernel):
            emitted = self.emit(kernel, plan)
            try:
                with_code = self._compile(kernel, emitted)
                spent = time_kernel(self.device, kernel, emitted, *with_code, sizes)
            except (CompileError, ArtifactError, DeviceError):
                continue  # too large for this device: not a candidate after all
            timings.append(Timing(plan, spent))
        return timings

    def _compile(
        self, kernel: tile.KernelOp, emitted: EmittedKernel
    ) -> tuple[Launch, list[CompiledKernel]]:
        views = tuple(Pointer(INPUT, i, Dim.of(0)) for i in range(len(kernel.views)))
        launch = Launch(0, views)
        jobs = jobs_of(emitted, variants_of(emitted, [launch]), self.capability)
        return launch, self.toolchain(jobs)

    def _key(self, kernel: tile.KernelOp, sizes: Mapping[str, int]) -> str:
        facts = json.dumps(dict(sorted(sizes.items())))
        return ObjectCache.key(
            _FORMAT, self.architecture, triton_version(), kernel_text(kernel), facts
        )

    def _known(self, key: str) -> Plan | None:
        data = self.store.load(key) if self.store is not None else None
        if data is None:
            return None
        try:
            return Plan(**json.loads(data))
        except (TypeError, ValueError):
            return None


def time_kernel(
    device: Device,
    kernel: tile.KernelOp,
    emitted: EmittedKernel,
    launch: Launch,
    compiled: Sequence[CompiledKernel],
    sizes: Mapping[str, int],
) -> float:
    """Milliseconds of a launch on the device, over memory that is all zeros."""
    choices = variants_of(emitted, [launch])
    planned = planned_kernel(emitted, choices, compiled)
    plan = LaunchPlan((planned,), (launch,), ())
    package = {v.image: code.cubin for v, code in zip(planned.variants, compiled, strict=True)}
    device.activate()
    kernels = Kernels(plan, package, device)
    stream, blocks = device.stream(), list[int]()
    try:
        table = BufferTable(len(kernel.views), 0)
        ready = kernels.prepare(planned, launch.views, sizes, table)
        if ready is None:
            return 0.0
        places: list[int] = []
        for view in kernel.views:
            size, begin = _extent(view_type(view), sizes)
            blocks.append(device.allocate(size))
            device.clear(blocks[-1], size, stream)
            places.append(blocks[-1] + begin)
        blocks.append(device.allocate(ready.scratch))
        ready.fill(BufferTable.addresses((0, 0, blocks[-1]), places, []))
        for _ in range(WARM_RUNS):
            ready.run(device, stream)
        first, last = device.event(timed=True), device.event(timed=True)
        device.record(first, stream)
        for _ in range(RUNS):
            ready.run(device, stream)
        device.record(last, stream)
        spent = device.milliseconds(first, last) / RUNS
        device.destroy_event(first)
        device.destroy_event(last)
        return spent
    finally:
        device.synchronize(stream)
        device.destroy_stream(stream)
        for block in blocks:
            device.free(block)
        kernels.unload()


def _extent(type: ViewType, sizes: Mapping[str, int]) -> tuple[int, int]:
    """Bytes of memory that a view reaches over, and where in them its first element is."""
    shape = [dim.evaluate(sizes) for dim in type.shape]
    strides = [dim.evaluate(sizes) for dim in type.strides]
    size = item_size(type.dtype)
    reach = [max(n - 1, 0) * s for n, s in zip(shape, strides, strict=True)]
    low, high = sum(min(r, 0) for r in reach), sum(max(r, 0) for r in reach)
    return (high - low + 1) * size, -low * size
