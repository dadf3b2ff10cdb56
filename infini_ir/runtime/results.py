"""Memory for the arrays that calls return, used again once the caller has let go of them.

Fresh memory is slow: the system zeroes each page at its first touch, about 0.25 us for 4 KB,
in the middle of the kernel that writes it. A caller who drops a result before asking for the
next but one gets the same pages again. Whether it was dropped is seen from the reference
count of the memory, which every view, DLPack tensor and buffer of the result raises.
"""

from __future__ import annotations

import sys
import threading

import numpy as np

from infini_ir.runtime.memory import address_of

ALIGNMENT = 64
"""Bytes: a line of the cache, and a row of a matrix unit's tile."""

SMALL = 4096
"""Bytes below which a result is an ordinary array, which is quicker to make."""

BLOCKS = 2
"""Blocks remembered for an output: one that the caller holds while the next is written."""


def _references_to_free_block() -> int:
    """Those found while one is looked at: the list's, and what a variable and an argument add."""
    blocks = [np.empty(1, np.uint8)]
    block = blocks[0]
    return sys.getrefcount(block)


_UNSHARED = _references_to_free_block()

COUNTED = getattr(sys, "_is_gil_enabled", lambda: True)() and (
    sys.implementation.name == "cpython"
)
"""Whether a reference count says who holds an object."""


class ResultMemory:
    """The memory of one output of a program. Any number of threads may take arrays at once."""

    def __init__(self) -> None:
        self._blocks: list[np.ndarray | None] = [None] * BLOCKS
        self._lock = threading.Lock()
        self._next = 0
        """Which is forgotten for a new one."""
        self.places = np.zeros((BLOCKS, 3), np.int64)
        """Of each block the address of its object, that of its first aligned byte, and how many
        bytes there are from there, for native code; zeros where there is no block."""

    def array(self, shape: tuple[int, ...], dtype: np.dtype, size: int) -> np.ndarray:
        """An array of `size` bytes, aligned to `ALIGNMENT`, of which nobody else has any part.

        Its contents are arbitrary.
        """
        block = self._free(size)
        if block is None:
            block = np.empty(size + ALIGNMENT, np.uint8)
            if COUNTED:
                self._remember(block)
        return np.ndarray(shape, dtype, block, -address_of(block) % ALIGNMENT)

    def most(self, size: int) -> int:
        """The largest block that is not too large for so many bytes."""
        return 2 * size + SMALL

    def _free(self, size: int) -> np.ndarray | None:
        """A block that fits and that no caller has.

        Two threads that look at the same one both find it taken; native code finds it taken as
        long as a thread that looks at it has not made an array of it.
        """
        for i in range(BLOCKS):
            block = self._blocks[i]
            if (
                block is not None
                and size + ALIGNMENT <= len(block) <= self.most(size)
                and sys.getrefcount(block) == _UNSHARED
            ):
                return block
        return None

    def _remember(self, block: np.ndarray) -> None:
        """In the place of the block that has been there longest."""
        offset = -address_of(block) % ALIGNMENT
        with self._lock:
            i = self._next
            self._next = (i + 1) % BLOCKS
            self.places[i] = 0
            self._blocks[i] = block
            self.places[i] = id(block), address_of(block) + offset, len(block) - offset
