"""The memory that `infini_enter` works with: what calls it takes, and what became of them.

`infini_enter` (`docs/internals/native-abi.md`) is the way from Python into a program that needs no
Python. A desk tells it which types and shapes of inputs it is for, where it gets memory for
results, how many threads to use and for how many calls; all else, such as other shapes, it passes
on to a function in Python. What is on the desk changes only while whoever changes it holds the
desk's context, so that no call is under way.
"""

from __future__ import annotations

import ctypes
import struct
import sys
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

from infini_ir.runtime.image import Image
from infini_ir.runtime.memory import address_of, anonymous
from infini_ir.runtime.pace import Ahead, Run
from infini_ir.runtime.pool import pool_word
from infini_ir.runtime.results import COUNTED, SMALL, ResultMemory


class Desk(IntEnum):
    """Fields of 8 bytes of what `infini_enter` is set up with."""

    SLOW, FAIL, LATE, ARRAY_TYPE, PYTHON, POOL, MAIN, CONTEXT = range(8)
    INPUT_COUNT, INPUTS, OUTPUT_COUNT, OUTPUTS = range(8, 12)
    WORKERS, LEFT, MOST, PAUSE, COUNT, TOTAL, QUICKEST, BEGIN, END = range(12, 21)


_WORKERS, _COUNT = int(Desk.WORKERS), int(Desk.COUNT)
"""As plain numbers, which are quicker to use."""

_RULE = struct.Struct("7q")
"""The fields from `WORKERS` to `QUICKEST`."""


class Python(IntEnum):
    """Its table of functions."""

    NEW_ARRAY, SET_BASE, CALL, NEW_TUPLE, SET_ITEM, TAKE, DROP, CLEAR = range(8)
    LET_OTHERS, COME_BACK, PROCESSOR = range(8, 11)


class Wanted(IntEnum):
    """Fields of an input's or output's record, of `RECORD` bytes."""

    DTYPE, RANK, SIZES, BYTES, MOST_BYTES, BLOCKS = range(6)


RECORD = 64
BLOCK = 24
"""Bytes of the record of a block of `ResultMemory`: object, address, bytes."""

OBJECT_DATA, OBJECT_RANK, OBJECT_SIZES, OBJECT_DTYPE, OBJECT_FLAGS = 16, 24, 32, 56, 64
"""Where numpy's arrays have these, in bytes (PyArrayObject_fields); the type of any object is at 8,
how many refer to it at 0."""

READABLE, CARRAY = 0x101, 0x501
"""Flags: contiguous and aligned; writeable too."""


_FAST_CALL = 0x80
"""METH_FASTCALL: an array of arguments and their number."""

_MOST = 1 << 62
"""Nanoseconds that no call takes."""

_LONG = _MOST * 1e-9
"""The same in seconds."""


class _Method(ctypes.Structure):
    """PyMethodDef."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("text", ctypes.c_char_p),
    )


@dataclass(frozen=True)
class Callbacks:
    """What an entry calls. Should not keep alive what keeps the entry: weights are large."""

    slow: Callable[..., Any]
    """With the inputs of a call that the desk is not for; gives its result."""
    fail: Callable[..., Any]
    """With the inputs of a call that ended with a status, its context still held."""
    late: Callable[[], None]
    """After a call that took longer than was expected, its context still held."""


class Entry:
    """A desk, and the function that works at it."""

    def __init__(
        self,
        image: Image,
        entries: dict[str, int],
        context: int,
        callbacks: Callbacks,
    ):
        """`context` is the address of the one whose holder has the desk, here the caller."""
        self._callbacks = callbacks
        self._image = image
        self._records: list[Any] = []
        self.words = anonymous(8 * len(Desk)).view(np.int64)
        self._numbers = self.words.data.cast("B").cast("q")
        """The same, which Python reads and writes faster."""
        self._context = context
        self._swap = image.function(
            entries["infini_swap"], ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64
        )
        self._context_word = address_of(self.words) + 8 * Desk.CONTEXT
        for field, value in (
            (Desk.SLOW, id(callbacks.slow)),
            (Desk.FAIL, id(callbacks.fail)),
            (Desk.LATE, id(callbacks.late)),
            (Desk.ARRAY_TYPE, id(np.ndarray)),
            (Desk.PYTHON, address_of(_python_functions())),
            (Desk.POOL, address_of(pool_word)),
            (Desk.MAIN, image.address(entries["infini_main"])),
        ):
            self.words[field] = value
        self._method = _Method(
            b"infini_enter", image.address(entries["infini_enter"]), _FAST_CALL, None
        )
        kind = ctypes.PYFUNCTYPE(
            ctypes.py_object, ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p
        )
        new = kind(("PyCFunction_NewEx", ctypes.pythonapi))
        self.enter: Callable[..., Any] = new(ctypes.addressof(self._method), self.words, None)

    def take(self) -> bool:
        """Take the context, unless a call has it."""
        return self._swap(self._context_word, 0) != 0

    def give_back(self) -> None:
        """Let calls have it again."""
        self._swap(self._context_word, self._context)

    def set_up(
        self,
        inputs: Sequence[tuple[np.dtype, tuple[int, ...]]],
        outputs: Sequence[tuple[np.dtype, tuple[int, ...], int, ResultMemory]],
    ) -> None:
        """Take calls with such inputs from now on: types and shapes; of outputs bytes, too, and
        where they are to be had."""
        records, kept = _records([(dtype, shape) for dtype, shape, *_ in (*inputs, *outputs)])
        first = address_of(records)
        for record, (_, _, size, memory) in zip(records[len(inputs) :], outputs, strict=True):
            if size >= SMALL:
                record[Wanted.BYTES], record[Wanted.MOST_BYTES] = size, memory.most(size)
                record[Wanted.BLOCKS] = address_of(memory.places)
        self.words[Desk.INPUT_COUNT : Desk.OUTPUTS + 1] = (
            len(inputs), first, len(outputs), first + RECORD * len(inputs),
        )  # fmt: skip
        self._records = [records, *kept]

    def allow(self, workers: int, ahead: Ahead) -> None:
        """Let calls with so many threads go by."""
        pause = -1 if ahead.pause is None else _nanoseconds(ahead.pause)
        most = _nanoseconds(ahead.most)
        _RULE.pack_into(
            self._numbers, 8 * _WORKERS, workers, ahead.calls, most, pause, 0, 0, _MOST
        )

    def run_since(self) -> Run | None:
        """The usual calls that went by, if there were any."""
        if not self._numbers[_COUNT]:
            return None
        count, total, quickest, _, end = self.words[Desk.COUNT :].tolist()
        return Run(count, total * 1e-9, quickest * 1e-9, end * 1e-9)

    @property
    def times(self) -> int:
        """The address of two numbers: when the latest call began and ended, in nanoseconds."""
        return self._context_word + 8 * (Desk.BEGIN - Desk.CONTEXT)

    def latest(self) -> tuple[float, float]:
        """These times, in seconds."""
        begin, end = self.words[Desk.BEGIN :].tolist()
        return begin * 1e-9, end * 1e-9


def weakly(method: Callable[..., Any]) -> Callable[..., Any]:
    """A bound method that does not keep its object alive; whoever calls it does."""
    found = weakref.WeakMethod(method)

    def call(*arguments: Any) -> Any:
        method = found()
        assert method is not None
        return method(*arguments)

    return call


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9) if seconds < _LONG else _MOST


def _records(
    wanted: Sequence[tuple[np.dtype, tuple[int, ...]]],
) -> tuple[np.ndarray, list[Any]]:
    """Records with types, ranks and sizes, and what they point to."""
    records = np.zeros((len(wanted), RECORD // 8), np.int64)
    kept: list[Any] = []
    for record, (dtype, shape) in zip(records, wanted, strict=True):
        sizes = np.array(shape, np.int64)
        record[Wanted.DTYPE], record[Wanted.RANK] = id(dtype), len(shape)
        record[Wanted.SIZES] = address_of(sizes)
        kept += (dtype, sizes)
    return records, kept


@cache
def _python_functions() -> np.ndarray:
    """Addresses of the functions in `Python`, in its order."""
    api, table = ctypes.pythonapi, _numpy_functions()

    def of(function: Any) -> int:
        return ctypes.cast(function, ctypes.c_void_p).value or 0

    functions = [
        table[94],  # PyArray_NewFromDescr
        table[282],  # PyArray_SetBaseObject
        of(api.PyObject_Vectorcall),
        of(api.PyTuple_New),
        of(api.PyTuple_SetItem),
        of(api.Py_IncRef),
        of(api.Py_DecRef),
        of(api.PyErr_Clear),
        of(api.PyEval_SaveThread),
        of(api.PyEval_RestoreThread),
        of(ctypes.CDLL(None).sched_getcpu),
    ]
    return np.array(functions, np.uint64)


def _numpy_functions() -> Any:
    """numpy's table for C; places in it never change."""
    kind = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)
    get = kind(("PyCapsule_GetPointer", ctypes.pythonapi))
    capsule = import_module("numpy._core._multiarray_umath")._ARRAY_API
    return (ctypes.c_size_t * 300).from_address(get(capsule, None))


@cache
def can_enter() -> bool:
    """Whether objects of this Python and numpy are as `infini_enter` takes them to be."""
    if not COUNTED or sys.maxsize <= 1 << 32 or sys.byteorder != "little":
        return False
    try:
        _python_functions()
    except (AttributeError, ImportError, OSError, TypeError, ValueError):
        return False
    array = np.zeros((3, 5), np.float32)[:, ::2]
    sizes = _word(_word(id(array) + OBJECT_SIZES)), _word(_word(id(array) + OBJECT_SIZES) + 8)
    before = _word(id(array))
    other = array
    return (
        object.__basicsize__ == OBJECT_DATA
        and _word(id(array) + 8) == id(np.ndarray)
        and _word(id(array) + OBJECT_DATA) == array.__array_interface__["data"][0]
        and _word(id(array) + OBJECT_RANK) & 0xFFFFFFFF == 2
        and sizes == array.shape
        and _word(id(array) + OBJECT_DTYPE) == id(array.dtype)
        and _word(id(array) + OBJECT_FLAGS) & 0xFFFFFFFF == array.flags.num
        and (_word(id(other)) - before) & 0xFFFFFFFF == 1
    )


def _word(address: int) -> int:
    return ctypes.c_size_t.from_address(address).value
