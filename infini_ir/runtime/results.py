"""Memory for the arrays that calls return, used again once the caller has let go of them.

Fresh memory is slow: the system zeroes each page at its first touch, about 0.25 us for 4 KB,
in the middle of the kernel that writes it. A caller who drops a result before asking for the
next but one gets the same pages again. Whether it was dropped is seen from the reference
count of the memory, which every view, DLPack tensor and buffer of the result raises.
"""

from __future__ import annotations

import sys
from collections import deque

import numpy as np

from infini_ir.runtime.memory import address_of

ALIGNMENT = 64
"""Bytes: a line of the cache, and a row of a matrix unit's tile."""

SMALL = 4096
"""Bytes below which a result is an ordinary array, which is quicker to make."""

_KEPT = 2
"""Blocks remembered for an output: one that the caller holds while the next is written."""

_UNSHARED = 3
"""References to a free block while it is looked at: its pair's, a variable's, an argument's."""

_COUNTED = getattr(sys, "_is_gil_enabled", lambda: True)() and (
    sys.implementation.name == "cpython"
)
"""Whether a reference count says who holds an object."""


class ResultMemory:
    """The memory of one output of a program. Any number of threads may take arrays at once."""

    def __init__(self) -> None:
        self._blocks: deque[tuple[np.ndarray, int]] = deque()
        """Bytes, and where the first aligned one of them is."""

    def array(self, shape: tuple[int, ...], dtype: np.dtype, size: int) -> np.ndarray:
        """An array of `size` bytes, aligned to `ALIGNMENT`, of which nobody else has any part.

        Its contents are arbitrary.
        """
        pair = self._free(size) or _new_block(size)
        array = np.ndarray(shape, dtype, pair[0], pair[1])
        if _COUNTED:
            self._blocks.append(pair)
        return array

    def _free(self, size: int) -> tuple[np.ndarray, int] | None:
        """Take out a block that fits and that no caller has; forget those there is no room for."""
        blocks = self._blocks
        for _ in range(len(blocks)):
            try:
                pair = blocks.popleft()  # seen by no other thread until it is put back
            except IndexError:
                return None
            block = pair[0]
            fits = size < len(block) <= 2 * size + SMALL
            if fits and sys.getrefcount(block) == _UNSHARED:
                return pair
            if len(blocks) < _KEPT - 1:
                blocks.append(pair)
        return None


def _new_block(size: int) -> tuple[np.ndarray, int]:
    block = np.empty(size + ALIGNMENT, np.uint8)
    return block, -address_of(block) % ALIGNMENT
