"""Calls a native program: checks inputs, gives it memory and threads, collects outputs.

The time outside native code counts here: a call with shapes seen before does no more than
compare dtypes and shapes, store pointers and make the outputs.
"""

from __future__ import annotations

import ctypes
import math
import os
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from infini_ir.runtime.arrays import as_input
from infini_ir.runtime.binding import Binding, bind, check_bindable
from infini_ir.runtime.host import cpu_count_available
from infini_ir.runtime.memory import address_of, anonymous
from infini_ir.runtime.metadata import Metadata
from infini_ir.runtime.pool import shared_pool
from infini_ir.runtime.program import Program
from infini_ir.runtime.results import SMALL, ResultMemory
from infini_ir.runtime.signature import TensorSpec
from infini_ir.utils.dtypes import numpy_dtype
from infini_ir.utils.errors import (
    ArtifactError,
    InputError,
    ModelError,
    OptionError,
    SizeError,
)

# Indices of the context's 8-byte fields.
_INPUTS, _OUTPUTS, _WEIGHTS, _ARENA, _SYMBOLS, _WORKERS, _BARRIER = range(7)
_FUNCTIONS, _STATUS, _VALUES, _BLOCKS = 7, 8, 9, 11
_BARRIER_START, _BARRIER_END = 16, 32
"""The barrier's 128 bytes lie in the context's own block, 64-byte aligned."""

_KNOWN_BINDINGS = 64
"""Input shapes remembered; a server that sees more starts over."""


def choose_threads(threads: int | None = None) -> int:
    """`threads`, else `INFINI_NUM_THREADS`, else as many as this thread may use processors."""
    what, value = "threads", threads
    if threads is None:
        what, value = "INFINI_NUM_THREADS", os.environ.get("INFINI_NUM_THREADS")
        if not value:
            return cpu_count_available()
    try:
        count = int(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        count = 0
    if count < 1:
        raise OptionError(f"{what} is {value!r}; give a whole number of threads, at least 1")
    return count


def _function_table() -> np.ndarray:
    libc = ctypes.CDLL(None)
    functions = [ctypes.cast(f, ctypes.c_void_p).value for f in (libc.malloc, libc.free)]
    return np.array(functions, np.uint64)


_functions = _function_table()


class _Context:
    """The native context of one call in flight, with its own scratch memory."""

    __slots__ = (
        "address",
        "arena",
        "binding",
        "block",
        "fields",
        "handle",
        "outputs",
        "symbols",
    )

    def __init__(self, metadata: Metadata, weights: int):
        inputs = _BARRIER_END
        self.outputs = inputs + len(metadata.inputs)
        self.symbols = self.outputs + len(metadata.outputs)
        self.block = anonymous(8 * (self.symbols + len(metadata.symbols)))
        self.address = address_of(self.block)
        self.handle = ctypes.c_void_p(self.address)
        """The address as ctypes passes it on: 0.1 us less than making it anew."""
        self.fields = self.block.data.cast("q")
        self.binding: Binding | None = None
        self.use_arena(anonymous(0))
        for field, index in (
            (_INPUTS, inputs),
            (_OUTPUTS, self.outputs),
            (_SYMBOLS, self.symbols),
            (_BARRIER, _BARRIER_START),
        ):
            self.fields[field] = self.address + 8 * index
        self.fields[_WEIGHTS] = weights
        self.fields[_FUNCTIONS] = address_of(_functions)

    def use_arena(self, arena: np.ndarray) -> None:
        self.arena = arena
        self.fields[_ARENA] = address_of(arena)

    def bind(self, binding: Binding) -> None:
        """Take over symbol values, and a larger arena where they ask for one."""
        if len(self.arena) < binding.arena:
            self.binding = None
            self.use_arena(anonymous(0))  # the old one is freed before the new one is taken
            self.use_arena(_allocate_arena(binding.arena))
        for index, value in binding.symbols:
            self.fields[self.symbols + index] = value
        self.binding = binding

    def reset(self) -> tuple[int, int]:
        """After a failed check: its two values, and the state made fit for the next call."""
        values = self.fields[_VALUES], self.fields[_VALUES + 1]
        for index in (_STATUS, _VALUES, _VALUES + 1, *range(_BARRIER_START, _BARRIER_END)):
            self.fields[index] = 0
        return values


def _allocate_arena(size: int) -> np.ndarray:
    try:
        return anonymous(size)
    except (OSError, ValueError, OverflowError) as error:
        raise InputError(
            f"the model needs {size} bytes of scratch memory for these input sizes, which the "
            f"system does not give ({error}); use smaller inputs"
        ) from error


_READABLE = 0x0101
"""NPY_ARRAY_C_CONTIGUOUS and NPY_ARRAY_ALIGNED of an array's flags: what native code reads."""


@dataclass(frozen=True, slots=True)
class _Known:
    """Input shapes seen before."""

    binding: Binding
    outputs: tuple[tuple[tuple[int, ...] | None, np.dtype, int, ResultMemory | None], ...]
    """Of each output to make: shape, type, bytes, and where to take them from."""
    open: bool
    """Whether the program decides the shape of an output while running."""


class Executor:
    """Runs one program. Any number of threads may call `run` at once."""

    def __init__(self, program: Program, threads: int | None = None):
        metadata = program.metadata
        try:
            check_bindable(metadata)
        except ValueError as error:
            raise ArtifactError(f"the program cannot be called: {error}") from error
        self.program = program
        self.metadata = metadata
        self.threads = choose_threads(threads)
        # More workers than processors would wait for each other's time slices: 1 ms a call.
        useful = min(metadata.max_workers or self.threads, cpu_count_available())
        self._workers = min(self.threads, useful)
        self._input_dtypes = [numpy_dtype(spec.dtype) for spec in metadata.inputs]
        self._output_dtypes = [numpy_dtype(spec.dtype) for spec in metadata.outputs]
        self._known: dict[tuple[tuple[int, ...], ...], _Known] = {}
        self._free: deque[_Context] = deque()
        self._results = [ResultMemory() for _ in metadata.outputs]
        self._weights = program.weight_section.base
        self._load_entries()
        program.tell_ready()

    def _load_entries(self) -> None:
        image, entries = self.program.image, self.metadata.entries
        pointer = ctypes.c_void_p
        self._main = image.address(entries["infini_main"])
        self._run = image.function(
            entries["infini_run"], ctypes.c_int64, pointer, pointer, pointer, ctypes.c_int64
        )
        self._alone = image.function(entries["infini_main"], None, pointer, pointer)
        self._release = image.function(entries["infini_release"], None, pointer)

    def run(self, inputs: Sequence[Any]) -> list[np.ndarray]:
        """Fresh outputs for `inputs`, in signature order.

        `InputError` for inputs that do not fit the signature or fail a check of the program.
        """
        arrays = self._accept(inputs)
        # Without a list for the usual one input: 0.1 us.
        one = len(arrays) == 1
        shapes = (arrays[0].shape,) if one else tuple([array.shape for array in arrays])
        known = self._known.get(shapes) or self._bind(shapes)
        binding = known.binding
        try:
            context = self._free.pop()
        except IndexError:
            context = _Context(self.metadata, self._weights)
        fields, index = context.fields, _BARRIER_END
        try:
            if context.binding is not binding:
                context.bind(binding)
            for array in arrays:
                fields[index] = address_of(array)
                index += 1
            outputs: list[Any] = []
            for shape, dtype, size, memory in known.outputs:
                if shape is None:
                    outputs.append(None)
                    index += 1
                    continue
                if memory is None:
                    output = _empty(shape, dtype)
                else:
                    output = memory.array(shape, dtype, size)
                fields[index] = address_of(output)
                outputs.append(output)
                index += 1
            if binding.workers == 1:
                # As `_call_alone`, whose call takes 0.07 us.
                fields[_WORKERS] = 1
                self._alone(context.handle, None)
                if status := fields[_STATUS]:
                    raise self._failure(context, status)
            else:
                self._paced_call(context, binding)
            if known.open:
                self._collect(context, outputs)
        finally:
            if fields[_BLOCKS]:
                self._release(context.address)
                fields[_BLOCKS] = 0
            self._free.append(context)
        return outputs

    def _accept(self, inputs: Sequence[Any]) -> list[np.ndarray]:
        """Arrays that native code can read."""
        dtypes = self._input_dtypes
        if len(inputs) != len(dtypes):
            raise InputError(
                f"{len(inputs)} inputs were given, but the model wants {len(dtypes)}: "
                f"{', '.join(map(str, self.metadata.inputs))}"
            )
        arrays: list[np.ndarray] = []
        for value, dtype in zip(inputs, dtypes):
            if (
                value.__class__ is not np.ndarray
                or (value.dtype is not dtype and value.dtype != dtype)
                or value.flags.num & _READABLE != _READABLE
            ):
                value = as_input(self.metadata.inputs[len(arrays)], value)
            arrays.append(value)
        return arrays

    def _bind(self, shapes: tuple[tuple[int, ...], ...]) -> _Known:
        binding = bind(self.metadata, shapes, self._workers)
        outputs = tuple(map(_to_make, binding.outputs, self._output_dtypes, self._results))
        if len(self._known) >= _KNOWN_BINDINGS:
            self._known = {}
        self._known[shapes] = known = _Known(binding, outputs, None in binding.outputs)
        return known

    def _paced_call(self, context: _Context, binding: Binding) -> None:
        """Run native code with as many threads as have been quickest of late."""
        pace, begin = binding.pace, perf_counter()
        used = self._call(context, pace.choose(binding.workers, begin))
        pace.note(used, begin, perf_counter())

    def _call(self, context: _Context, workers: int) -> int:
        """Run native code, with the pool's threads where they are free; how many ran it."""
        if workers > 1:
            pool = shared_pool()
            if pool.acquire(workers, self.program.image, self.metadata.entries):
                context.fields[_WORKERS] = workers
                try:
                    status = self._run(pool.address, context.address, self._main, workers)
                finally:
                    pool.release()
                if status:
                    raise self._failure(context, status)
                return workers
        self._call_alone(context)
        return 1

    def _call_alone(self, context: _Context) -> None:
        """Run native code on this thread; `infini_run` would do the same with more arguments."""
        fields = context.fields
        fields[_WORKERS] = 1
        self._alone(context.handle, None)
        if status := fields[_STATUS]:
            raise self._failure(context, status)

    def _failure(self, context: _Context, status: int) -> SizeError | ModelError:
        values = context.reset()
        checks = self.metadata.checks
        if not 1 <= status <= len(checks):
            return ModelError(
                f"the program stopped with status {status}, which it does not list"
            )
        check = checks[status - 1]
        kind = SizeError if check.of_input else ModelError
        return kind(check.message.format(*values))

    def _collect(self, context: _Context, outputs: list[Any]) -> None:
        """Copy the outputs whose memory the program took, once their sizes are known."""
        base = context.symbols
        values = {
            name: context.fields[base + index]
            for index, name in enumerate(self.metadata.symbols)
        }
        for index, spec in enumerate(self.metadata.outputs):
            if outputs[index] is None:
                pointer = context.fields[context.outputs + index]
                outputs[index] = _copy_out(spec, values, pointer)


_empty = np.empty
"""Looked up once: the attribute takes as long as half the allocation."""


def _to_make(
    shape: tuple[int, ...] | None, dtype: np.dtype, memory: ResultMemory
) -> tuple[tuple[int, ...] | None, np.dtype, int, ResultMemory | None]:
    """What `_Known.outputs` has for an output."""
    size = 0 if shape is None else math.prod(shape) * dtype.itemsize
    return shape, dtype, size, memory if size >= SMALL else None


def _copy_out(spec: TensorSpec, values: dict[str, int], pointer: int) -> np.ndarray:
    shape = tuple(dim.evaluate(values) for dim in spec.shape)
    output = np.empty(shape, numpy_dtype(spec.dtype))
    size = math.prod(shape) * output.itemsize
    if size:
        if not pointer:
            raise ModelError(f"the program gave no memory for output '{spec.name}'")
        ctypes.memmove(address_of(output), pointer, size)
    return output
