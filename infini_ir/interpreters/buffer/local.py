"""Local memory of the buffer interpreter: bytes, and which bits of them mean something."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from infini_ir.dialects.buffer import LocalType, memory
from infini_ir.utils.dtypes import numpy_dtype
from infini_ir.utils.errors import ModelError

Array = np.ndarray


@dataclass(frozen=True)
class CoreLimits:
    """What is asserted of a kernel."""

    bytes: int = 1 << 20
    alignment: int = 32
    mask_bits: int = 1
    max_count: int = 1 << 30
    reduce_carries_nan: bool = False


@dataclass
class Lanes:
    """Elements and, of each, whether anybody has written it."""

    data: Array
    valid: Array

    def demand(self, what: str) -> Array:
        """The elements, all of which must have been written."""
        if not np.all(self.valid):
            raise ModelError(f"{what} an element of local memory that nobody has written")
        return self.data


class LocalMemory:
    """One core's memory. Allocations are places in it, so that overlapping ones show."""

    def __init__(self, limits: CoreLimits) -> None:
        self.limits = limits
        self.bytes = np.zeros(limits.bytes, np.uint8)
        self.valid = np.zeros(limits.bytes * 8, np.bool_)

    def forget(self) -> None:
        """A new program begins: nothing is known of the contents."""
        self.valid[:] = False


@dataclass
class Local:
    """An allocation or a slot of a queue."""

    memory: LocalMemory
    type: LocalType
    offset: int
    """Its first byte."""

    @property
    def bits(self) -> int:
        """Bits that one element takes."""
        if self.type.is_mask:
            return self.memory.limits.mask_bits
        return 8 * numpy_dtype(self.type.dtype).itemsize

    def span(self, begin: int, count: int, *, aligned: bool = True) -> tuple[int, int]:
        """The bits of a run of elements, checked."""
        if begin < 0 or begin + count > self.type.count:
            raise ModelError(f"elements {begin} to {begin + count - 1} are outside {self.type}")
        if count > self.memory.limits.max_count:
            raise ModelError(f"{count} elements are too many for one instruction")
        first = self.offset * 8 + begin * self.bits
        alignment = self.memory.limits.alignment * 8
        if aligned and first % alignment:
            raise ModelError(
                f"element {begin} of {self.type} at byte {self.offset} is not aligned to "
                f"{self.memory.limits.alignment} bytes"
            )
        return first, first + count * self.bits

    def read(self, begin: int, count: int, *, aligned: bool = True) -> Lanes:
        """A run of elements."""
        first, last = self.span(begin, count, aligned=aligned)
        bits_valid = self.memory.valid[first:last].reshape(count, self.bits)
        valid: Array = np.logical_and.reduce(bits_valid, axis=1)
        if self.type.is_mask:
            if self.bits == 1:
                low = first // 8
                bits = np.unpackbits(self.memory.bytes[low : -(-last // 8)], bitorder="little")
                return Lanes(bits[first - low * 8 :][:count].astype(np.bool_), valid)
            step = self.bits // 8
            return Lanes(self.memory.bytes[first // 8 : last // 8 : step] != 0, valid)
        raw = self.memory.bytes[first // 8 : last // 8]
        return Lanes(raw.view(numpy_dtype(self.type.dtype)).copy(), valid)

    def write(self, begin: int, lanes: Lanes, *, aligned: bool = True) -> None:
        """Write a run of elements."""
        count = len(lanes.data)
        first, last = self.span(begin, count, aligned=aligned)
        self.memory.valid[first:last] = np.repeat(lanes.valid, self.bits)
        if self.type.is_mask:
            self._write_mask(first, last, lanes.data)
            return
        data = np.ascontiguousarray(lanes.data.astype(numpy_dtype(self.type.dtype), copy=False))
        self.memory.bytes[first // 8 : last // 8] = data.view(np.uint8).reshape(-1)

    def _write_mask(self, first: int, last: int, data: Array) -> None:
        if self.bits > 1:
            raw = self.memory.bytes[first // 8 : last // 8].reshape(len(data), self.bits // 8)
            raw[:] = 0
            raw[:, 0] = data
            return
        low, high = first // 8, -(-last // 8)
        bits = np.unpackbits(self.memory.bytes[low:high], bitorder="little")
        bits[first - low * 8 :][: len(data)] = data
        self.memory.bytes[low:high] = np.packbits(bits, bitorder="little")


def place_of(memory: LocalMemory, op: memory.AllocOp, slot: int = 0) -> Local:
    """Where an allocation, or one slot of it, lies."""
    type = op.out.type
    assert isinstance(type, LocalType)
    local = Local(memory, type, 0)
    size = -(-type.count * local.bits // 8)
    alignment = memory.limits.alignment
    size = -(-size // alignment) * alignment
    begin = (op.offset or 0) + slot * size
    if begin % alignment or begin + size > memory.limits.bytes:
        raise ModelError(f"{type} at byte {begin} is not in local memory, or not aligned")
    return Local(memory, type, begin)
