"""One call in flight: a stream, scratch memory, staging memory, graphs."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from infini_ir.runtime.binding import Binding
from infini_ir.runtime.cuda.device import Device, Handle
from infini_ir.runtime.cuda.launches import BufferTable, Ready
from infini_ir.runtime.memory import address_of
from infini_ir.runtime.signature import TensorSpec
from infini_ir.utils.dtypes import item_size
from infini_ir.utils.errors import DeviceError

_ALIGNMENT = 256
STAGING_LIMIT = 64 << 20
"""Inputs and outputs up to so many bytes go through page-locked memory, in one copy each
way that is part of the graph; larger ones are copied straight from and to the caller's."""

GRAPH_LIMIT = 4096
"""Launches beyond which a call is not made a graph."""
_KNOWN_GRAPHS = 8
"""Sets of addresses for which a call's graph is kept."""


def align(size: int) -> int:
    """The next multiple of what every buffer begins at."""
    return -(-size // _ALIGNMENT) * _ALIGNMENT


@dataclass(frozen=True)
class Layout:
    """Where things lie in a session's memory, as offsets: arena, scratch, inputs, outputs."""

    scratch: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    input_bytes: tuple[int, ...]
    output_bytes: tuple[int, ...]
    begin: int
    """Where the inputs begin, and so the part that staging memory mirrors."""
    middle: int
    """Where the outputs begin."""
    end: int

    @staticmethod
    def of(
        arena: int, scratch: int, input_bytes: Sequence[int], output_bytes: Sequence[int]
    ) -> Layout:
        begin = position = align(arena) + align(scratch)
        places: list[int] = []
        for size in (*input_bytes, *output_bytes):
            places.append(position)
            position += align(size)
        count = len(input_bytes)
        middle = begin + sum(map(align, input_bytes))
        return Layout(
            align(arena),
            tuple(places[:count]),
            tuple(places[count:]),
            tuple(input_bytes),
            tuple(output_bytes),
            begin,
            middle,
            position,
        )

    @property
    def staged(self) -> bool:
        """Whether inputs and outputs go through staging memory."""
        return self.end - self.begin <= STAGING_LIMIT


def tensor_bytes(spec: TensorSpec, shape: Sequence[int]) -> int:
    """Bytes of a tensor."""
    return math.prod(shape) * item_size(spec.dtype)


@dataclass(eq=False)
class Prepared:
    """A session's calls with inputs of the same shapes."""

    binding: Binding
    symbols: dict[str, int]
    layout: Layout
    work: list[Ready] | None
    """All launches in order; None for a plan that reads from the device while it runs."""
    filled: tuple[int, ...] = ()
    """The addresses that `work` has taken over."""
    graphs: dict[tuple[object, ...], Handle] = field(default_factory=dict)
    """By addresses and copies: 0 where they were seen once, -1 where capture failed."""

    def may_be_graph(self) -> bool:
        return self.work is not None and len(self.work) <= GRAPH_LIMIT


class Session:
    """Memory and order of calls that follow one another."""

    def __init__(self, device: Device):
        self.device = device
        self.stream = device.stream()
        self.memory = 0
        self._memory_size = 0
        self.staging = 0
        self._staging_size = 0
        self._word = device.allocate_host(8)
        self.prepared: dict[Binding, Prepared] = {}
        self.taken: list[int] = []
        """Memory that the program took in this call."""

    def reserve(self, prepared: Prepared) -> None:
        """Have memory for calls of these sizes. More memory makes what was ready stale."""
        layout = prepared.layout
        # Where every buffer is empty, kernels still are given an address.
        size = max(layout.end, 1)
        if size > self._memory_size:
            self._forget_addresses()
            if self.memory:
                memory, self.memory, self._memory_size = self.memory, 0, 0
                self.device.free(memory)
            self.memory = self.device.allocate(size, "the model, with these input sizes,")
            self._memory_size = size
        staging = layout.end - layout.begin if layout.staged else 0
        if staging > self._staging_size:
            self._forget_addresses()
            if self.staging:
                block, self.staging, self._staging_size = self.staging, 0, 0
                self.device.free_host(block)
            self.staging = self.device.allocate_host(staging)
            self._staging_size = staging

    def _forget_addresses(self) -> None:
        for prepared in self.prepared.values():
            self.drop_graphs(prepared)
            prepared.filled = ()

    def drop_graphs(self, prepared: Prepared) -> None:
        """Give a call's graphs back."""
        for graph in prepared.graphs.values():
            if graph > 0:
                self.device.destroy_graph(graph)
        prepared.graphs.clear()

    # One call

    def addresses(
        self,
        prepared: Prepared,
        weights: int,
        inputs: Sequence[int],
        outputs: Sequence[int],
    ) -> list[int]:
        """The addresses of all buffers."""
        fixed = (weights, self.memory, self.memory + prepared.layout.scratch)
        return BufferTable.addresses(fixed, inputs, outputs)

    def stage(self, prepared: Prepared, index: int, array: np.ndarray) -> None:
        """Bring a host input on its way to the device."""
        layout = prepared.layout
        offset, size = layout.inputs[index], layout.input_bytes[index]
        if layout.staged:
            target = self.staging + offset - layout.begin
            ctypes.memmove(target, address_of(array), size)
        else:
            self.device.copy_in(self.memory + offset, address_of(array), size, self.stream)

    def copies_in(self, prepared: Prepared, host: Sequence[bool]) -> None:
        """Put the copies of staged host inputs on the stream."""
        layout = prepared.layout
        if not layout.staged or not any(host):
            return
        if all(host):
            self._copy_in(layout, layout.begin, layout.middle - layout.begin)
            return
        for index, here in enumerate(host):
            if here:
                self._copy_in(layout, layout.inputs[index], layout.input_bytes[index])

    def _copy_in(self, layout: Layout, offset: int, size: int) -> None:
        source = self.staging + offset - layout.begin
        self.device.copy_in(self.memory + offset, source, size, self.stream)

    def copies_out(self, prepared: Prepared) -> None:
        """Put the copy of staged outputs on the stream."""
        layout = prepared.layout
        if layout.staged:
            target = self.staging + layout.middle - layout.begin
            size = layout.end - layout.middle
            self.device.copy_out(target, self.memory + layout.middle, size, self.stream)

    def collect(self, prepared: Prepared, index: int, array: np.ndarray) -> None:
        """An output in host memory, once the stream is done."""
        layout = prepared.layout
        offset, size = layout.outputs[index], layout.output_bytes[index]
        if layout.staged:
            ctypes.memmove(address_of(array), self.staging + offset - layout.begin, size)
        else:
            self.fetch(array, self.memory + offset, size)

    def fetch(self, array: np.ndarray, pointer: int, size: int) -> None:
        """Copy device memory into an array and wait for it."""
        self.device.copy_out(address_of(array), pointer, size, self.stream)
        self.device.synchronize(self.stream)

    def read(self, pointer: int, size: int) -> int:
        """An integer of 1 or 8 bytes, once what is on the stream by now is done."""
        self.device.copy_out(self._word, pointer, size, self.stream)
        self.device.synchronize(self.stream)
        kind = ctypes.c_int64 if size == 8 else ctypes.c_uint8
        return kind.from_address(self._word).value

    def take(self, size: int) -> int:
        """Memory until the end of the call."""
        pointer = self.device.take(size, self.stream)
        self.taken.append(pointer)
        return pointer

    def run_now(self, ready: Ready, addresses: list[int]) -> None:
        """Put one piece of work on the stream, with scratch memory of its own."""
        if ready.scratch:
            scratch = self.device.take(ready.scratch, self.stream)
            addresses = [*addresses[:2], scratch, *addresses[3:]]
        ready.fill(addresses)
        ready.run(self.device, self.stream)
        if ready.scratch:
            self.device.give(addresses[2], self.stream)

    def run_all(self, prepared: Prepared, addresses: list[int], host: Sequence[bool]) -> None:
        """Put the copies and the launches of a fixed call on the stream: as a graph from the
        second time on that the same addresses are seen."""
        key = (*addresses, *host)
        graph = prepared.graphs.get(key) if prepared.may_be_graph() else -1
        if graph is None:
            if len(prepared.graphs) >= _KNOWN_GRAPHS:
                self.drop_graphs(prepared)
            prepared.graphs[key] = 0
        elif graph == 0:
            graph = prepared.graphs[key] = self._capture(prepared, addresses, host) or -1
        if graph is not None and graph > 0:
            self.device.run_graph(graph, self.stream)
        else:
            self._enqueue(prepared, addresses, host)

    def _capture(
        self, prepared: Prepared, addresses: list[int], host: Sequence[bool]
    ) -> Handle:
        """The call as a graph; 0 where the driver cannot make one of it."""
        try:
            self.device.begin_capture(self.stream)
        except DeviceError:
            return 0
        noted = True
        try:
            self._enqueue(prepared, addresses, host)
        except DeviceError:
            noted = False
        graph = self.device.end_capture(self.stream)
        if graph and not noted:
            self.device.destroy_graph(graph)
        return graph if noted else 0

    def _enqueue(self, prepared: Prepared, addresses: list[int], host: Sequence[bool]) -> None:
        assert prepared.work is not None
        self.copies_in(prepared, host)
        now = tuple(addresses)
        if prepared.filled != now:
            for ready in prepared.work:
                ready.fill(addresses)
            prepared.filled = now
        for ready in prepared.work:
            ready.run(self.device, self.stream)
        self.copies_out(prepared)

    def end(self) -> None:
        """Give back what the program took, in the stream's order."""
        for pointer in self.taken:
            self.device.give(pointer, self.stream)
        self.taken.clear()

    def close(self) -> None:
        """Give everything back; the stream must be done."""
        self._forget_addresses()
        self.prepared.clear()
        if self.memory:
            self.device.free(self.memory)
        if self.staging:
            self.device.free_host(self.staging)
        self.device.free_host(self._word)
        self.device.destroy_stream(self.stream)
        self.memory = self.staging = self._word = 0
