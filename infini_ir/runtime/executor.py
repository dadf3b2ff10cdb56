"""Calls a native program: checks inputs, gives it memory and threads, collects outputs.

The time outside native code counts: a call with shapes like those of the one before is all native
(`open_entry`, `infini_ir.runtime.desk`). What is here is for all others.
"""

from __future__ import annotations

import ctypes
import math
import os
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, NoReturn

import numpy as np

from infini_ir.runtime.arrays import as_input
from infini_ir.runtime.binding import Binding, bind, check_bindable
from infini_ir.runtime.desk import Callbacks, Desk, Entry, can_enter, weakly
from infini_ir.runtime.host import cpu_count_available
from infini_ir.runtime.memory import address_of, anonymous
from infini_ir.runtime.metadata import Metadata
from infini_ir.runtime.pace import EVERYTHING_AHEAD, NOTHING_AHEAD, Ahead
from infini_ir.runtime.pool import BARRIER_BYTES, shared_pool
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
_BARRIER_START = 16
_BARRIER_END = _BARRIER_START + BARRIER_BYTES // 8
"""The barrier's memory lies in the context's own block, 64-byte aligned."""

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
    functions = libc.malloc, libc.free, libc.clock_gettime
    return np.array([ctypes.cast(f, ctypes.c_void_p).value for f in functions], np.uint64)


_functions = _function_table()


class _Context:
    """The native context of one call in flight, with its own scratch memory."""

    __slots__ = (
        "address",
        "arena",
        "binding",
        "block",
        "fields",
        "inputs",
        "outputs",
        "symbols",
        "times",
    )

    def __init__(self, metadata: Metadata, weights: int):
        self.inputs = _BARRIER_END
        self.outputs = self.inputs + len(metadata.inputs)
        self.symbols = self.outputs + len(metadata.outputs)
        self.block = anonymous(8 * (self.symbols + len(metadata.symbols)))
        self.address = address_of(self.block)
        self.fields = self.block.data.cast("q")
        self.times = np.zeros(2, np.int64)
        """When its latest call began and ended."""
        self.binding: Binding | None = None
        self.use_arena(anonymous(0))
        for field, index in (
            (_INPUTS, self.inputs),
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
class _Output:
    """An output to make."""

    shape: tuple[int, ...] | None
    """None where the program decides while running."""
    dtype: np.dtype
    size: int
    """In bytes."""
    memory: ResultMemory


@dataclass(frozen=True, slots=True, eq=False)
class _Known:
    """Input shapes seen before."""

    inputs: tuple[tuple[int, ...], ...]
    binding: Binding
    outputs: tuple[_Output, ...]
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
        self._entry: Entry | None = None
        self._first: _Context | None = None
        """The context of the entry."""
        self._open_for: _Known | None = None
        """What the entry is set up for."""
        self._weights = program.weight_section.base
        self._load_entries()
        program.tell_ready()

    def _load_entries(self) -> None:
        image, entries = self.program.image, self.metadata.entries
        pointer, i64 = ctypes.c_void_p, ctypes.c_int64
        self._main = image.address(entries["infini_main"])
        self._share = image.function(
            entries["infini_share"], i64, pointer, pointer, pointer, i64, pointer
        )
        self._release = image.function(entries["infini_release"], None, pointer)

    def run(self, inputs: Sequence[Any]) -> list[np.ndarray]:
        """Fresh outputs for `inputs`, in signature order.

        `InputError` for inputs that do not fit the signature or fail a check of the program.
        """
        arrays = self._accept(inputs)
        shapes = tuple([array.shape for array in arrays])
        known = self._known.get(shapes) or self._bind(shapes)
        context = self._take_context()
        try:
            usual = context.binding is known.binding
            if not usual:
                context.bind(known.binding)
            fields = context.fields
            for index, array in enumerate(arrays, context.inputs):
                fields[index] = address_of(array)
            outputs: list[Any] = [_make(output) for output in known.outputs]
            for index, output in enumerate(outputs, context.outputs):
                if output is not None:
                    fields[index] = address_of(output)
            if context is self._first:
                self._call_at_desk(context, known, usual)
            else:
                self._call(context, known.binding, address_of(context.times))
            if fields[_STATUS]:
                raise self._failure(context)
            if known.open:
                self._collect(context, outputs)
        finally:
            self._free_blocks(context)
            self._give_back(context)
        return outputs

    # The quick way in

    def open_entry(
        self, slow: Callable[..., Any], failed: Callable[..., Any]
    ) -> Callable[..., Any] | None:
        """A function of inputs that gives an output, or a tuple of them, without Python where it
        can. Else it calls `slow` with the inputs, which should end up in `run`; a call that fails
        a check is the result of `failed` with the inputs, which should end up in `fail`.

        None where this Python has no such functions. To be called once.
        """
        assert self._entry is None
        if not can_enter():
            return None
        context = _Context(self.metadata, self._weights)
        image, entries = self.program.image, self.metadata.entries
        callbacks = Callbacks(slow, failed, weakly(self._note_late))
        self._entry = Entry(image, entries, context.address, callbacks)
        self._first = context
        self._entry.give_back()
        return self._entry.enter

    def fail(self) -> NoReturn:
        """Raise the error of the latest call that went the quick way in."""
        assert self._first is not None
        try:
            raise self._failure(self._first)
        finally:
            self._free_blocks(self._first)
            self._give_back(self._first)

    def _take_context(self) -> _Context:
        """One that no other call has, that of the entry if it can be had."""
        if self._entry is not None and self._entry.take():
            assert self._first is not None
            self._note_run()
            self._entry.allow(1, NOTHING_AHEAD)  # until this call has gone well
            return self._first
        try:
            return self._free.pop()
        except IndexError:
            return _Context(self.metadata, self._weights)

    def _give_back(self, context: _Context) -> None:
        if context is self._first:
            assert self._entry is not None
            self._entry.give_back()
        else:
            self._free.append(context)

    def _free_blocks(self, context: _Context) -> None:
        """Those that the program took while it ran."""
        if context.fields[_BLOCKS]:
            self._release(context.address)
            context.fields[_BLOCKS] = 0

    def _call_at_desk(self, context: _Context, known: _Known, usual: bool) -> None:
        """Call with the context of the entry, and let calls like this one go by from then on:
        from the second on, as setting that up takes longer than a call does."""
        entry, binding = self._entry, known.binding
        assert entry is not None
        if self._open_for is not known:
            self._open_for = None
            if usual and not known.open:
                entry.set_up(
                    [(d, s) for d, s in zip(self._input_dtypes, known.inputs, strict=True)],
                    [(o.dtype, o.shape or (), o.size, o.memory) for o in known.outputs],
                )
                self._open_for = known
        ahead, used = self._call(context, binding, entry.times)
        entry.allow(used, ahead if self._open_for is known else NOTHING_AHEAD)

    def _note_run(self) -> None:
        """Tell the pace of the calls that went by."""
        assert self._entry is not None
        run = self._entry.run_since()
        if (
            run is not None
            and self._open_for is not None
            and self._open_for.binding.workers > 1
        ):
            self._open_for.binding.pace.note_run(run)

    def _note_late(self) -> None:
        """Tell it of one that took longer than was expected."""
        assert self._entry is not None and self._open_for is not None
        self._note_run()
        workers = int(self._entry.words[Desk.WORKERS])
        pace = self._open_for.binding.pace
        pace.note(workers, *self._entry.latest())
        self._entry.allow(workers, pace.ahead())

    # One call

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
        self._known[shapes] = known = _Known(shapes, binding, outputs, None in binding.outputs)
        return known

    def _call(self, context: _Context, binding: Binding, times: int) -> tuple[Ahead, int]:
        """Run native code with as many threads as have been quickest of late, where the pool's
        are free; how many ran it, and what may go on like that."""
        pace, workers = binding.pace, binding.workers
        if workers > 1:
            workers = pace.choose(workers, monotonic())
        shared = shared_pool() if workers > 1 else None
        if shared and shared.prepare(workers, self.program.image, self.metadata.entries):
            with shared.caller_apart():
                used = self._share(shared.address, context.address, self._main, workers, times)
        else:
            workers = 1
            used = self._share(0, context.address, self._main, workers, times)
        if binding.workers == 1:
            return EVERYTHING_AHEAD, 1
        begin, end = (ctypes.c_int64 * 2).from_address(times)
        pace.note(used, begin * 1e-9, end * 1e-9)
        return pace.ahead() if used == workers else NOTHING_AHEAD, used

    def _failure(self, context: _Context) -> SizeError | ModelError:
        """What a context's status says; the context is made fit for the next call."""
        status = context.fields[_STATUS]
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


def _to_make(shape: tuple[int, ...] | None, dtype: np.dtype, memory: ResultMemory) -> _Output:
    return _Output(
        shape, dtype, 0 if shape is None else math.prod(shape) * dtype.itemsize, memory
    )


def _make(output: _Output) -> np.ndarray | None:
    """Memory for an output, if its size is known."""
    if output.shape is None:
        return None
    if output.size < SMALL:
        return np.empty(output.shape, output.dtype)
    return output.memory.array(output.shape, output.dtype, output.size)


def _copy_out(spec: TensorSpec, values: dict[str, int], pointer: int) -> np.ndarray:
    shape = tuple(dim.evaluate(values) for dim in spec.shape)
    output = np.empty(shape, numpy_dtype(spec.dtype))
    size = math.prod(shape) * output.itemsize
    if size:
        if not pointer:
            raise ModelError(f"the program gave no memory for output '{spec.name}'")
        ctypes.memmove(address_of(output), pointer, size)
    return output
