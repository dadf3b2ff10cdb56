"""What the fake driver is made of: statuses, kernels, and what its handles stand for."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

SUCCESS, INVALID_VALUE, OUT_OF_MEMORY, NO_BINARY, INVALID_HANDLE = 0, 1, 2, 209, 400
NOT_FOUND, ILLEGAL_ADDRESS, LAUNCH_OUT_OF_RESOURCES = 500, 700, 701
CAPTURE_UNSUPPORTED = 900
_NAMES = {
    INVALID_VALUE: "CUDA_ERROR_INVALID_VALUE",
    OUT_OF_MEMORY: "CUDA_ERROR_OUT_OF_MEMORY",
    NO_BINARY: "CUDA_ERROR_NO_BINARY_FOR_GPU",
    INVALID_HANDLE: "CUDA_ERROR_INVALID_HANDLE",
    NOT_FOUND: "CUDA_ERROR_NOT_FOUND",
    ILLEGAL_ADDRESS: "CUDA_ERROR_ILLEGAL_ADDRESS",
    LAUNCH_OUT_OF_RESOURCES: "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES",
    CAPTURE_UNSUPPORTED: "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
}
TEXTS = {code: name.encode() for code, name in _NAMES.items()}

MAGIC = b"FAKECUBIN"
GUARD = 256
POISON = 0xFF


class Fault(Exception):
    """A rule that the caller broke: a status and what happened."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


@dataclass
class Kernel:
    """A kernel of a fake module: its parameters, `pointer`, `i32` or `i64`, without the two
    that Triton adds, and what it does: called with the grid and the values."""

    parameters: Sequence[str]
    run: Callable[[tuple[int, int, int], list[int]], None]
    threads: int = 128
    shared: int = 0
    scratch: int = 0
    milliseconds: float = 0.125
    """How long a launch takes by the driver's events."""


def image(name: str) -> bytes:
    """The "cubin" of the kernel called `name`."""
    text = json.dumps({"kernel": name}).encode()
    return MAGIC + len(text).to_bytes(4, "little") + text


@dataclass
class Allocation:
    block: np.ndarray
    begin: int
    size: int
    host: bool
    live: bool = True

    def holds(self, address: int, size: int) -> bool:
        return self.begin <= address and address + size <= self.begin + self.size


@dataclass
class Stream:
    queue: list[Callable[[], None]] = field(default_factory=list)
    capturing: list[Callable[[], None]] | None = None


@dataclass
class Event:
    happened: bool = True
    stream: int = 0
    time: float = 0.0


@dataclass
class LaunchRecord:
    """One launch that was run."""

    kernel: str
    grid: tuple[int, int, int]
    values: list[int]
    graph: bool
