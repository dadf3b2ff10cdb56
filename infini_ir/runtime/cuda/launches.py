"""Launches made ready: code chosen, grid and sizes worked out, parameters packed."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from typing import Protocol

from infini_ir.runtime.cuda.device import Device, Handle
from infini_ir.runtime.launch_plan import (
    ALIGNMENT,
    ARENA,
    INPUT,
    OUTPUT,
    TAKEN,
    WEIGHTS,
    LaunchPlan,
    PlannedKernel,
    Pointer,
    Variant,
)
from infini_ir.utils.errors import ArtifactError, InputError

GRID_LIMITS = (2**31 - 1, 65535, 65535)

_SCRATCH = 2
_FIXED = 3
"""Buffers of which a program has one each come first."""


class BufferTable:
    """Numbers for the buffers of a program: the places of their addresses in a list."""

    def __init__(self, inputs: int, outputs: int):
        self._first = {
            WEIGHTS: 0,
            ARENA: 1,
            INPUT: _FIXED,
            OUTPUT: _FIXED + inputs,
            TAKEN: _FIXED + inputs + outputs,
        }

    def number(self, pointer: Pointer) -> int:
        """The place of the buffer that a pointer begins in."""
        return self._first[pointer.base] + pointer.index

    @staticmethod
    def addresses(
        fixed: tuple[int, int, int], inputs: Sequence[int], outputs: Sequence[int]
    ) -> list[int]:
        """The list, from those of weights, arena and scratch memory; blocks that the program
        takes follow as it takes them."""
        return [*fixed, *inputs, *outputs]


class Ready(Protocol):
    """A piece of work for the device with everything known but where buffers are."""

    scratch: int
    """Bytes of scratch memory that it wants for itself."""

    def fill(self, addresses: Sequence[int]) -> None:
        """Take over the addresses of the buffers."""
        ...

    def run(self, device: Device, stream: Handle) -> None:
        """Put it on the stream."""
        ...


class ReadyLaunch:
    """A launch of one kernel."""

    __slots__ = ("_parameters", "_places", "_shape", "_storage", "scratch")

    def __init__(
        self,
        function: Handle,
        grid: tuple[int, int, int],
        variant: Variant,
        values: Sequence[int],
        places: Sequence[tuple[int, int, int]],
    ):
        """`values`: the parameters, 8 bytes each; `places`: (parameter, buffer, offset) of
        those that are addresses."""
        self._storage = (ctypes.c_uint64 * len(values))(*values)
        base = ctypes.addressof(self._storage)
        slots = [base + 8 * index for index in range(len(values))]
        self._parameters = (ctypes.c_void_p * len(values))(*slots)
        self._places = places
        self._shape = (function, *grid, variant.threads, 1, 1, variant.shared)
        self.scratch = grid[0] * grid[1] * grid[2] * variant.scratch

    def fill(self, addresses: Sequence[int]) -> None:
        storage = self._storage
        for index, buffer, offset in self._places:
            storage[index] = addresses[buffer] + offset

    def run(self, device: Device, stream: Handle) -> None:
        device.driver.call("cuLaunchKernel", *self._shape, stream, self._parameters, None)


class Kernels:
    """The kernels of a program, loaded into a device."""

    def __init__(self, plan: LaunchPlan, package: Mapping[str, bytes], device: Device):
        self.device = device
        self._kernels = plan.kernels
        self._modules: dict[str, Handle] = {}
        self._functions: dict[tuple[str, str], Handle] = {}
        for kernel in plan.kernels:
            for variant in kernel.variants:
                self._load(kernel, variant, package)

    def _load(
        self, kernel: PlannedKernel, variant: Variant, package: Mapping[str, bytes]
    ) -> None:
        if variant.image not in package:
            raise ArtifactError(
                f"the program has no code for kernel '{kernel.name}' ({variant.image}); "
                "compile the model again"
            )
        if variant.image not in self._modules:
            what = f"kernel '{kernel.name}'"
            self._modules[variant.image] = self.device.load(package[variant.image], what)
        key = variant.image, variant.function
        if key not in self._functions:
            module = self._modules[variant.image]
            self._functions[key] = self.device.function(
                module, variant.function, variant.shared
            )

    def unload(self) -> None:
        """Give all code back; nothing may run any more."""
        for module in self._modules.values():
            self.device.unload(module)
        self._modules.clear()
        self._functions.clear()

    def prepare(
        self,
        kernel: PlannedKernel,
        views: Sequence[Pointer],
        symbols: Mapping[str, int],
        buffers: BufferTable,
    ) -> ReadyLaunch | None:
        """A launch with these sizes; None where its grid is empty."""
        small = kernel.small
        if small is not None and small.size.evaluate(symbols) <= small.most:
            kernel = self._kernels[small.kernel]
        grid = _grid(kernel, symbols)
        if 0 in grid:
            return None
        offsets = [view.offset.evaluate(symbols) for view in views]
        variant = _choose(kernel, offsets, symbols)
        values: list[int] = []
        places: list[tuple[int, int, int]] = []
        for argument in kernel.arguments:
            if argument.size is None:
                places.append(
                    (len(values), buffers.number(views[argument.view]), offsets[argument.view])
                )
                values.append(0)
            else:
                value = argument.size.evaluate(symbols)
                values.append(_packed(kernel, argument.type, str(argument.size), value))
        # What Triton adds to every kernel: scratch memory, and the profiler's, always null.
        if variant.scratch:
            places.append((len(values), _SCRATCH, 0))
        values += [0, 0]
        function = self._functions[variant.image, variant.function]
        return ReadyLaunch(function, grid, variant, values, places)


def _grid(kernel: PlannedKernel, symbols: Mapping[str, int]) -> tuple[int, int, int]:
    x, y, z = (size.evaluate(symbols) for size in kernel.grid)
    for size, limit in zip((x, y, z), GRID_LIMITS, strict=True):
        if size > limit:
            raise InputError(
                f"kernel '{kernel.name}' would need {size} programs along one axis for these "
                f"input sizes, but the device has at most {limit}; use smaller inputs"
            )
    return max(x, 0), max(y, 0), max(z, 0)


def _choose(
    kernel: PlannedKernel, offsets: Sequence[int], symbols: Mapping[str, int]
) -> Variant:
    """The first variant whose conditions hold. Buffers begin at multiples of `ALIGNMENT`."""
    for variant in kernel.variants:
        if all(size.evaluate(symbols) % ALIGNMENT == 0 for size in variant.divisible) and all(
            offsets[view] % ALIGNMENT == 0 for view in variant.aligned
        ):
            return variant
    raise ArtifactError(
        f"kernel '{kernel.name}' has no code for these sizes; compile the model again"
    )


def _packed(kernel: PlannedKernel, kind: str, size: str, value: int) -> int:
    """A size as the bits of a parameter."""
    limit = 1 << (31 if kind == "i32" else 63)
    if kernel.limit is not None:
        limit = min(limit, kernel.limit)
    if not -limit <= value < limit:
        raise InputError(
            f"kernel '{kernel.name}': size {size} is {value}, but must be below {limit}; use "
            "smaller inputs"
        )
    return value & (1 << 64) - 1
