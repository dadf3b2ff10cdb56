"""Memory and values of the tile interpreter: strided views of flat buffers, tiles, races."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from ml_dtypes import iinfo
from xdsl.dialects.builtin import IndexType
from xdsl.ir import Attribute

from infini_ir.dialects.graph.types import element_name
from infini_ir.dialects.tile.types import packed_shape
from infini_ir.utils.dtypes import numpy_dtype
from infini_ir.utils.errors import ModelError

Array = np.ndarray


def element_dtype(element: Attribute) -> np.dtype:
    """The numpy dtype of the elements of a view or a tile."""
    if isinstance(element, IndexType):
        return np.dtype(np.int64)
    return numpy_dtype(element_name(element))


def signless(array: Array) -> Array:
    """The bits of an unsigned array as the signed numbers that scalar code works on."""
    return array.view(f"i{array.dtype.itemsize}") if array.dtype.kind == "u" else array


def as_element(array: Array, dtype: np.dtype) -> Array:
    """The result of scalar code as elements of `dtype`: the inverse of `signless`."""
    if dtype.kind == "u" and array.dtype.kind == "i":
        return np.array(array, order="C").view(dtype)
    if dtype.kind == "V" and array.dtype.kind == "V" and dtype != array.dtype:
        # Numbers narrower than a byte: by their low bits.
        low = array.astype(np.int8).view(np.uint8) & ((1 << iinfo(dtype).bits) - 1)
        return low.astype(dtype)
    return array.astype(dtype, copy=False)


@dataclass(frozen=True)
class Memory:
    """A strided view of a flat buffer; strides and offset are in elements."""

    flat: Array
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    panel: int = 0
    """Width of the packed panels of the last axis, 0 where the layout is strided."""
    group: int = 1
    """How many neighbours of the axis before it lie side by side in a panel."""
    batch: int = 0
    """How many leading axes lie outside the panels."""

    @staticmethod
    def of_array(array: Array) -> Memory:
        """A numpy array as a view, in its own memory."""
        strides = tuple(s // array.itemsize for s in array.strides)
        if array.flags.c_contiguous:
            return Memory(array.reshape(-1), 0, array.shape, strides)
        memory = Memory(array, 0, array.shape, strides)
        memory.__dict__["array"] = array
        return memory

    def alias(
        self,
        offset: int,
        shape: tuple[int, ...],
        strides: tuple[int, ...],
        panel: int = 0,
        group: int = 1,
        batch: int = 0,
    ) -> Memory:
        """The same buffer seen another way; it must stay inside."""
        view = Memory(self.flat, self.offset + offset, shape, strides, panel, group, batch)
        if 0 not in shape and not panel:
            reach = [(n - 1) * s for n, s in zip(shape, strides, strict=True)]
            low = view.offset + sum(min(r, 0) for r in reach)
            high = view.offset + sum(max(r, 0) for r in reach)
            if low < 0 or high >= self.flat.size:
                raise ModelError(
                    f"a view of elements {low} to {high} is outside its buffer of "
                    f"{self.flat.size} elements; the program's aliases are wrong"
                )
        return view

    @cached_property
    def array(self) -> Array:
        """The elements as a numpy array that shares the memory (a copy for panels)."""
        return self.seen_through(self.flat)

    def seen_through(self, flat: Array) -> Array:
        """This view's elements of another buffer that runs along with `flat`."""
        if 0 in self.shape:
            return np.empty(self.shape, flat.dtype)
        if self.panel:
            return _unpack(flat, self.shape, self.panel, self.group, self.batch)
        strides = tuple(s * flat.itemsize for s in self.strides)
        # numpy cannot stride all types that it did not build in; bytes it can.
        plain = flat if flat.itemsize > 1 else flat.view(np.uint8)
        strided = np.lib.stride_tricks.as_strided(
            plain[self.offset :], self.shape, strides, writeable=flat.flags.writeable
        )
        return strided.view(flat.dtype)


def _unpack(flat: Array, shape: tuple[int, ...], panel: int, group: int, batch: int) -> Array:
    sizes = packed_shape(shape, batch, panel, group)
    packed = flat[: int(np.prod(sizes, dtype=np.int64))].reshape(sizes)
    if group > 1:
        # [.., groups, width, group] to [.., k, width]
        apart = np.moveaxis(packed, -1, -2)
        packed = apart.reshape(*sizes[:-3], -1, panel)[..., : shape[-2], :]
    logical = np.moveaxis(packed, batch, -2).reshape(*shape[:-1], -1)[..., : shape[-1]]
    logical.flags.writeable = False
    return logical


@dataclass(frozen=True)
class Tile:
    """
    A tile's value. An axis that nothing has sized yet (of a `full`, or of a map made from
    positions only) is `open`: it has the capacity, and is cut to what its user needs.
    """

    data: Array
    open: tuple[bool, ...]

    @staticmethod
    def sized(data: Array) -> Tile:
        return Tile(data, (False,) * data.ndim)

    def cut(self, extent: Sequence[int]) -> Tile:
        """The tile with its open axes cut to an extent, which the others must have."""
        for axis, (size, wanted) in enumerate(zip(self.data.shape, extent, strict=True)):
            if size < wanted or (size != wanted and not self.open[axis]):
                raise ModelError(
                    f"a tile of extent {list(self.data.shape)} meets one of {list(extent)}; "
                    "the kernel's tiles do not fit"
                )
        return Tile.sized(self.data[tuple(slice(n) for n in extent)])


def meet(left: tuple[int, bool], right: tuple[int, bool]) -> tuple[int, bool]:
    """The size of an axis that two tiles share, each with its size and whether it is open."""
    if left[1] and right[1]:
        return min(left[0], right[0]), True
    sized, other = (right, left) if left[1] else (left, right)
    if other[0] < sized[0] or (other[0] != sized[0] and not other[1]):
        raise ModelError(
            f"tiles of extent {left[0]} and {right[0]} meet; the kernel's tiles do not fit"
        )
    return sized[0], False


def common_extent(
    capacity: Sequence[int], covers: Sequence[tuple[Tile, Sequence[int]]]
) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    """The extent of a result that tiles cover some axes of, and which axes stay open."""
    axes = [(size, True) for size in capacity]
    for tile, dims in covers:
        for size, is_open, axis in zip(tile.data.shape, tile.open, dims, strict=True):
            axes[axis] = meet(axes[axis], (size, is_open))
    return tuple(size for size, _ in axes), tuple(is_open for _, is_open in axes)


def spread(tile: Tile, dims: Sequence[int], extent: Sequence[int]) -> Array:
    """A tile's elements laid along the axes of a result of that extent, others of size 1."""
    data = tile.cut([extent[axis] for axis in dims]).data
    order = sorted(range(len(dims)), key=lambda i: dims[i])
    shape = [extent[axis] if axis in dims else 1 for axis in range(len(extent))]
    return data.transpose(order).reshape(shape)


@dataclass
class RaceLog:
    """
    Who read and wrote each element during one launch: an element that one program writes
    must not be read or written by another.
    """

    kernel: str
    program: int = 0
    logs: dict[int, tuple[Array, Array, Array]] = field(default_factory=dict)

    NOBODY, MANY = -1, -2

    def _log(self, memory: Memory) -> tuple[Array, Array] | None:
        if memory.flat.ndim != 1 or memory.panel or 0 in memory.shape:
            return None
        key = id(memory.flat)
        if key not in self.logs:
            readers = np.full(memory.flat.size, self.NOBODY, np.int32)
            self.logs[key] = (memory.flat, readers, readers.copy())
        _, readers, writers = self.logs[key]
        return memory.seen_through(readers), memory.seen_through(writers)

    def read(self, memory: Memory, where: Any) -> None:
        log = self._log(memory)
        if log is None:
            return
        readers, writers = log
        self._check(writers[where], "reads what another writes")
        now = readers[where]
        readers[where] = np.where(
            (now == self.NOBODY) | (now == self.program), self.program, self.MANY
        )

    def write(self, memory: Memory, where: Any) -> None:
        log = self._log(memory)
        if log is None:
            return
        readers, writers = log
        self._check(readers[where], "writes what another reads")
        self._check(writers[where], "writes what another writes")
        writers[where] = self.program

    def _check(self, users: Array, what: str) -> None:
        if np.any((users != self.NOBODY) & (users != self.program)):
            raise ModelError(
                f"a program of kernel '{self.kernel}' {what}; programs of one launch run in "
                "any order, so the result is not defined"
            )
