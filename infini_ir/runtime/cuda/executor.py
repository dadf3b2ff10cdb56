"""Calls a program on a CUDA device: takes inputs there, launches, brings outputs back.

A call with shapes seen before works out no size again: its launches are a fixed list, and
from the second time on a graph that the driver runs at once. Only a program that must read
sizes or conditions from the device while it runs is walked step by step.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from infini_ir.runtime.arrays import as_input
from infini_ir.runtime.binding import Binding, bind, check_bindable
from infini_ir.runtime.cuda.arrays import Block, DeviceArray, OutputPool, device_tensor
from infini_ir.runtime.cuda.blas import Blas
from infini_ir.runtime.cuda.device import Device, default_device
from infini_ir.runtime.cuda.dlpack import Shared
from infini_ir.runtime.cuda.launches import BufferTable, Kernels, Ready
from infini_ir.runtime.cuda.session import Layout, Prepared, Session, tensor_bytes
from infini_ir.runtime.cuda.walk import Maker, Walk, flatten
from infini_ir.runtime.launch_plan import ALIGNMENT, LaunchPlan, Product, reads_back, steps_of
from infini_ir.runtime.memory import address_of
from infini_ir.runtime.package import unpack
from infini_ir.runtime.program import Program, weight_array
from infini_ir.utils.dtypes import numpy_dtype
from infini_ir.utils.errors import ArtifactError, DeviceError, InputError

PLAN_FILE = "launch_plan.json"
"""The plan's name in the package of a program."""

_KNOWN_BINDINGS = 64
"""Input shapes remembered; a server that sees more starts over."""


class CudaExecutor:
    """Runs one program. Any number of threads may call `run` at once."""

    def __init__(self, program: Program, device: Device | None = None):
        metadata = program.metadata
        try:
            check_bindable(metadata)
        except ValueError as error:
            raise ArtifactError(f"the program cannot be called: {error}") from error
        self.program, self.metadata = program, metadata
        self.device = device or default_device()
        self.device.check(metadata.arch, "this program")
        self.device.activate()
        package = unpack(program.code.read())
        if PLAN_FILE not in package:
            raise ArtifactError("the program has no launch plan; compile the model again")
        self.plan = LaunchPlan.from_text(package[PLAN_FILE])
        self.kernels = Kernels(self.plan, package, self.device)
        self._buffers = BufferTable(len(metadata.inputs), len(metadata.outputs))
        self._walked = reads_back(self.plan.steps)
        products = any(isinstance(step, Product) for step in steps_of(self.plan.steps))
        self._blas = Blas.find(self.device) if products else None
        self._weights = self._upload(program)
        self._pool = OutputPool(self.device)
        self._bindings: dict[tuple[tuple[int, ...], ...], Binding] = {}
        self._free: deque[tuple[Session, Maker]] = deque()

    def _upload(self, program: Program) -> int:
        """Bring the weights to the device, one by one; where they lie there."""
        size = self.metadata.weights_size
        if not size:
            return 0
        base = self.device.allocate(size, "the model's weights")
        stream = self.device.stream()
        for entry in self.metadata.weights:
            array = np.ascontiguousarray(weight_array(program.weights, entry))
            target = base + entry.offset
            self.device.copy_in(target, address_of(array), entry.nbytes, stream)
            self.device.synchronize(stream)
            program.weights.release(entry.name)
        self.device.destroy_stream(stream)
        return base

    def run(self, inputs: Sequence[Any]) -> list[Any]:
        """Fresh outputs for `inputs`, in signature order: numpy arrays, or `DeviceArray`s
        where an input was given in device memory.

        `InputError` for inputs that do not fit the signature or fail a check of the program.
        """
        self.device.activate()
        session, maker = self._session()
        try:
            given = self._accept(inputs, session)
            prepared = self._prepare(tuple(value.shape for value in given), session, maker)
            outputs = self._call(session, maker, prepared, given)
        except DeviceError:
            # The stream may have failed, and with it the session.
            with suppress(DeviceError):
                session.close()
            raise
        except BaseException:
            self._settle(session)
            self._free.append((session, maker))
            raise
        self._free.append((session, maker))
        return outputs

    def _session(self) -> tuple[Session, Maker]:
        try:
            return self._free.pop()
        except IndexError:
            session = Session(self.device)
            return session, Maker(self.plan, self.kernels, self._buffers, self._product)

    def _product(
        self, step: Product, symbols: Mapping[str, int], buffers: BufferTable
    ) -> Ready | None:
        assert self._blas is not None
        return self._blas.prepare(step, symbols, buffers)

    def _settle(self, session: Session) -> None:
        """After a call that did not get to its end: nothing of it may still be running."""
        session.end()
        self.device.synchronize(session.stream)

    # Inputs

    def _accept(self, inputs: Sequence[Any], session: Session) -> list[np.ndarray | Shared]:
        specs = self.metadata.inputs
        if len(inputs) != len(specs):
            raise InputError(
                f"{len(inputs)} inputs were given, but the model wants {len(specs)}: "
                f"{', '.join(map(str, specs))}"
            )
        given: list[np.ndarray | Shared] = []
        for spec, value in zip(specs, inputs, strict=True):
            shared = device_tensor(spec, value, self.device, session.stream)
            given.append(as_input(spec, value) if shared is None else shared)
        return given

    def _bind(self, shapes: tuple[tuple[int, ...], ...]) -> Binding:
        binding = self._bindings.get(shapes)
        if binding is None:
            binding = bind(self.metadata, shapes)
            if len(self._bindings) >= _KNOWN_BINDINGS:
                self._bindings = {}
            self._bindings[shapes] = binding
        return binding

    def _prepare(
        self, shapes: tuple[tuple[int, ...], ...], session: Session, maker: Maker
    ) -> Prepared:
        binding = self._bind(shapes)
        prepared = session.prepared.get(binding)
        if prepared is None:
            if len(session.prepared) >= _KNOWN_BINDINGS:
                for old in session.prepared.values():
                    session.drop_graphs(old)
                session.prepared.clear()
            prepared = self._make(binding, shapes, maker)
            session.reserve(prepared)
            session.prepared[binding] = prepared
        return prepared

    def _make(
        self, binding: Binding, shapes: tuple[tuple[int, ...], ...], maker: Maker
    ) -> Prepared:
        names = self.metadata.symbols
        symbols = {names[index]: value for index, value in binding.symbols}
        work = None if self._walked else flatten(maker, dict(symbols))
        scratch = max((ready.scratch for ready in work or ()), default=0)
        specs = self.metadata
        input_bytes = [tensor_bytes(s, shape) for s, shape in zip(specs.inputs, shapes)]
        output_bytes = [
            tensor_bytes(spec, shape) if shape is not None and index in self.plan.outputs else 0
            for index, (spec, shape) in enumerate(zip(specs.outputs, binding.outputs))
        ]
        layout = Layout.of(binding.arena, scratch, input_bytes, output_bytes)
        return Prepared(binding, symbols, layout, work)

    # Running

    def _call(
        self,
        session: Session,
        maker: Maker,
        prepared: Prepared,
        given: Sequence[np.ndarray | Shared],
    ) -> list[Any]:
        host = [isinstance(value, np.ndarray) for value in given]
        stay = not all(host)
        inputs = [self._place(session, prepared, i, value) for i, value in enumerate(given)]
        blocks = self._blocks(session, prepared) if stay else {}
        places = [session.memory + offset for offset in prepared.layout.outputs]
        outputs = [blocks[i].pointer if i in blocks else p for i, p in enumerate(places)]
        addresses = session.addresses(prepared, self._weights, inputs, outputs)
        walk = None
        if prepared.work is not None:
            session.run_all(prepared, addresses, host)
        else:
            walk = self._walk(session, maker, prepared, addresses, host)
        results = self._results(session, prepared, blocks, walk, stay=stay)
        session.end()
        return results

    def _place(
        self, session: Session, prepared: Prepared, index: int, value: np.ndarray | Shared
    ) -> int:
        """Where an input is in device memory, or will be before the first launch."""
        own = session.memory + prepared.layout.inputs[index]
        if isinstance(value, np.ndarray):
            session.stage(prepared, index, value)
            return own
        if value.pointer % ALIGNMENT == 0:
            return value.pointer
        size = prepared.layout.input_bytes[index]
        self.device.copy(own, value.pointer, size, session.stream)
        return own

    def _blocks(self, session: Session, prepared: Prepared) -> dict[int, Block]:
        """Memory of their own for outputs that stay on the device."""
        sizes = prepared.layout.output_bytes
        return {i: self._pool.take(sizes[i], session.stream) for i in self.plan.outputs}

    def _walk(
        self,
        session: Session,
        maker: Maker,
        prepared: Prepared,
        addresses: list[int],
        host: Sequence[bool],
    ) -> Walk:
        session.copies_in(prepared, host)
        walk = Walk(
            maker,
            dict(prepared.symbols),
            addresses,
            run=session.run_now,
            take=session.take,
            read=session.read,
        )
        walk.block(self.plan.steps)
        session.copies_out(prepared)
        return walk

    def _results(
        self,
        session: Session,
        prepared: Prepared,
        blocks: Mapping[int, Block],
        walk: Walk | None,
        *,
        stay: bool,
    ) -> list[Any]:
        """The outputs; all work of the call is done when this returns."""
        shapes = self._shapes(prepared, walk)
        if walk is not None and stay:
            blocks = {**blocks, **self._keep_published(session, walk, shapes)}
        self.device.synchronize(session.stream)
        results: list[Any] = []
        for index, (spec, shape) in enumerate(zip(self.metadata.outputs, shapes)):
            if index in blocks:
                results.append(DeviceArray(self.device, blocks[index], spec.dtype, shape))
                continue
            array = np.empty(shape, numpy_dtype(spec.dtype))
            if index in self.plan.outputs:
                session.collect(prepared, index, array)
            else:
                assert walk is not None
                session.fetch(array, walk.address_of_output(index), array.nbytes)
            results.append(array)
        return results

    def _shapes(self, prepared: Prepared, walk: Walk | None) -> list[tuple[int, ...]]:
        known = prepared.binding.outputs
        symbols = walk.symbols if walk is not None else prepared.symbols
        return [
            shape if shape is not None else tuple(d.evaluate(symbols) for d in spec.shape)
            for spec, shape in zip(self.metadata.outputs, known)
        ]

    def _keep_published(
        self, session: Session, walk: Walk, shapes: Sequence[tuple[int, ...]]
    ) -> dict[int, Block]:
        """Copies of published outputs in memory that outlives the call."""
        kept: dict[int, Block] = {}
        for index, spec in enumerate(self.metadata.outputs):
            if index not in self.plan.outputs:
                size = tensor_bytes(spec, shapes[index])
                block = kept[index] = self._pool.take(size, session.stream)
                source = walk.address_of_output(index)
                self.device.copy(block.pointer, source, size, session.stream)
        return kept
