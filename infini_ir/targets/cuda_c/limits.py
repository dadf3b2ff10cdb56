"""What a kernel may use on any of the vendors' devices. Data, for the plan and its messages."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """The smallest of what NVIDIA, Iluvatar, MetaX, Moore Threads and Hygon offer."""

    shared_bytes: int = 48 * 1024
    """Shared memory of a block that needs no special request."""
    threads: int = 1024
    """Threads of a block."""
    warp: int = 32
    """The smaller of the two warp sizes: threads of one group of lanes."""
    registers: int = 128
    """32-bit registers of a thread that kept values and accumulators may take."""
    blocks: int = (1 << 31) - 1
    """Blocks of a launch along x."""


LIMITS = Limits()
