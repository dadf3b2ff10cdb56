"""Tile programs put together by hand, run natively and by the interpreter."""

from __future__ import annotations

import ctypes
import mmap
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Region, SSAValue

from infini_ir.dialects.context import CompilerContext, compiler_context
from infini_ir.dialects.tile import ViewType, program, view_type
from infini_ir.interpreters.tile import interpret_program
from infini_ir.lowering.kernel_builder import KernelBuilder
from infini_ir.runtime import binding, executor
from infini_ir.runtime.binding import bind
from infini_ir.runtime.host import host_arch, host_flags
from infini_ir.runtime.memory import address_of
from infini_ir.runtime.model import CompiledModel
from infini_ir.runtime.program import Program
from infini_ir.targets.cpu.features import named
from infini_ir.targets.cpu.plans import planning
from infini_ir.targets.cpu.target import CpuTarget
from infini_ir.utils.dtypes import is_float, item_size, numpy_dtype
from infini_ir.utils.object_cache import ObjectCache

if TYPE_CHECKING:
    from convolution_cases import Convolution

Array = np.ndarray
Sizes = Sequence[int | str]
CPUS = tuple(
    name
    for name in ("native", "x86-64-v3", "x86-64", "x86-64-v4")
    if name == "native"
    or (named(name).arch == host_arch() and named(name).required_flags <= host_flags())
)
"""The kinds of processor that this machine can be."""
GROUPED_CPUS = tuple(
    name
    for name in ("alderlake", "cascadelake", "znver4")
    if named(name).arch == host_arch() and named(name).required_flags <= host_flags()
)
"""Those with instructions that sum products of groups in vectors, and no matrix unit."""


class TileProgram:
    """A host program and its kernels. `views` are the inputs, then the outputs."""

    def __init__(
        self, inputs: Sequence[tuple[Sizes, str]], outputs: Sequence[tuple[Sizes, str]]
    ) -> None:
        types = [ViewType.of(shape, dtype) for shape, dtype in (*inputs, *outputs)]
        self.entry = program.ProgramOp("main", types, len(inputs))
        self.module = ModuleOp([self.entry])
        self.ctx: CompilerContext = compiler_context()
        self.views = list(self.entry.body.block.args)
        self.block: Block = self.entry.body.block

    def emit(self, op: Any) -> Any:
        self.block.add_op(op)
        return op.results[0] if op.results else None

    def alloc(self, shape: Sizes, dtype: str, *, dynamic: bool = False) -> SSAValue:
        return self.emit(program.AllocOp(ViewType.of(shape, dtype), dynamic=dynamic))

    def alias(
        self, view: SSAValue, shape: Sizes, strides: Sizes | None = None, offset: Any = 0
    ) -> SSAValue:
        """The view's memory with another shape, strides and begin."""
        wanted = ViewType.of(shape, view_type(view).element, strides)
        return self.emit(program.AliasOp(view, offset, wanted))

    def weight(self, name: str, array: Array, shape: Sizes | None = None) -> SSAValue:
        handle = self.ctx.weights.add(name, array)
        wanted = ViewType.of(shape or array.shape, self.ctx.weights.dtype(handle))
        return self.emit(program.WeightOp(handle, wanted))

    def kernel(
        self, name: str, views: Sequence[SSAValue], bounds: Sizes, steps: Sizes
    ) -> KernelBuilder:
        """A kernel for these views; write its body, then launch it."""
        builder = KernelBuilder(name, [view_type(v) for v in views], bounds, steps)
        self.module.body.block.insert_op_before(builder.op, self.entry)
        return builder

    def launch(self, kernel: KernelBuilder, views: Sequence[SSAValue]) -> None:
        self.emit(program.LaunchOp(kernel.op.sym_name.data, views))

    def loop(self, symbol: str, to: Any, body: Callable[[], None], until: Any = None) -> None:
        """A counted loop of the host program, filled by `body`."""
        outer, self.block = self.block, Block()
        body()
        inner, self.block = self.block, outer
        self.emit(program.LoopOp(symbol, to, Region(inner), until))


def reference(
    p: TileProgram, inputs: Sequence[Array], parameters: Mapping[str, int] | None = None
) -> list[Array]:
    """What the interpreter makes of the program, with tile sizes of its own."""
    return interpret_program(p.module, inputs, p.ctx, parameters=parameters, check_races=True)


@cache
def _cache_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="infini-tests-")


def legalised(
    p: TileProgram | Convolution, cpu: str, until: str = ""
) -> tuple[ModuleOp, CompilerContext]:
    """The program after the target's passes, the last of them `until` if given."""
    ctx = compiler_context()
    ctx.weights = p.ctx.weights
    module = p.module.clone()
    module.verify()
    for step in _target(cpu).passes():
        step.apply(ctx, module)
        if step.name == until:
            break
    module.verify()
    return module, ctx


def _target(cpu: str) -> CpuTarget:
    return CpuTarget(cpu, ObjectCache(Path(_cache_folder().name)))


def build(p: TileProgram | Convolution, cpu: str = "native") -> Program:
    """The native program."""
    module, ctx = legalised(p, cpu)
    return _target(cpu).build(module, ctx, threads=1)


def native(
    p: TileProgram,
    inputs: Sequence[Array],
    cpu: str = "native",
    threads: int = 1,
) -> list[Array]:
    """The outputs of the program compiled for a kind of processor."""
    return run_native(build(p, cpu), inputs, threads)


def run_native(built: Program, inputs: Sequence[Array], threads: int = 1) -> list[Array]:
    """The outputs of a built program, with as many workers as asked for."""
    with all_threads(threads):
        outputs = CompiledModel(built, threads)(*inputs)
    return list(outputs) if isinstance(outputs, tuple) else [outputs]


@contextmanager
def all_threads(count: int, *, all_kernels: bool = True) -> Iterator[None]:
    """Models that are first called here use as many threads as they were asked to, up to so
    many: however few processors there are, and however short a call is. `all_kernels`: those
    compiled here have no kernel on one thread because it is small."""
    with pytest.MonkeyPatch.context() as patch:
        if all_kernels:
            patch.setattr(planning, "SERIAL_NANOSECONDS", 0)
        patch.setattr(executor, "cpu_count_available", lambda: count)
        patch.setattr(binding, "SHORTEST_CALL", 0)
        patch.setattr(binding, "SHORT_CALL", 0)
        yield


def check(
    p: TileProgram,
    inputs: Sequence[Array],
    *,
    cpus: Sequence[str] = ("native",),
    wanted: Sequence[Array] | None = None,
    rtol: float = 1e-5,
    atol: float = 1e-6,
    exact: bool = False,
) -> None:
    """Compare native results with `wanted`, by default what the interpreter gives."""
    expected = reference(p, inputs) if wanted is None else wanted
    for cpu in cpus:
        given = native(p, inputs, cpu)
        assert len(given) == len(expected)
        for number, (one, other) in enumerate(zip(given, expected, strict=True)):
            same(one, other, f"{cpu}, output {number}", rtol, atol, exact)


def same(
    given: Array, wanted: Array, what: str, rtol: float, atol: float, exact: bool = False
) -> None:
    assert given.shape == wanted.shape and given.dtype == wanted.dtype, what
    if exact or wanted.dtype.kind in "iub":
        if wanted.dtype.kind in "fV":
            given, wanted = given.astype(np.float64), wanted.astype(np.float64)
        np.testing.assert_array_equal(given, wanted, what)
        return
    one, other = given.astype(np.float64), wanted.astype(np.float64)
    np.testing.assert_allclose(one, other, rtol, atol, err_msg=what)


def random(shape: Sequence[int], dtype: str, seed: int = 0) -> Array:
    """Numbers of a type: all of its integers, or floats around 0."""
    rng = np.random.default_rng([seed, *shape])
    wanted = numpy_dtype(dtype)
    if dtype == "i1":
        return rng.integers(0, 2, shape).astype(bool)
    if is_float(dtype):
        return rng.standard_normal(shape).astype(wanted)
    info = np.iinfo(wanted)
    return rng.integers(info.min, info.max, shape, wanted, endpoint=True)


# Buffers between pages that must not be touched


class Guarded:
    """Memory at the end or at the begin of a run of pages, with forbidden ones around it."""

    def __init__(self, size: int, *, at_end: bool) -> None:
        page = mmap.PAGESIZE
        pages = max(1, -(-size // page))
        self.block = mmap.mmap(-1, (pages + 2) * page)
        base = address_of(np.frombuffer(self.block, np.uint8))
        libc = ctypes.CDLL(None, use_errno=True)
        libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        for guard in (base, base + (pages + 1) * page):
            assert libc.mprotect(guard, page, 0) == 0
        self.address = base + page + (pages * page - size if at_end else 0)
        self.size = size

    def write(self, data: bytes) -> None:
        ctypes.memmove(self.address, data, len(data))

    def read(self) -> bytes:
        return ctypes.string_at(self.address, self.size)


@dataclass
class GuardedRun:
    """One call of a program whose every buffer lies between forbidden pages."""

    program: Program
    at_end: bool

    def __call__(self, inputs: Sequence[Array]) -> list[Array]:
        metadata = self.program.metadata
        binding = bind(metadata, tuple(a.shape for a in inputs), 1)
        symbols = np.zeros(max(1, len(metadata.symbols)), np.int64)
        for index, value in binding.symbols:
            symbols[index] = value
        given = [self._holding(array.tobytes()) for array in inputs]
        outputs: list[Guarded] = []
        for spec, shape in zip(metadata.outputs, binding.outputs, strict=True):
            assert shape is not None, "outputs of known size only"
            outputs.append(self._of(int(np.prod(shape)) * item_size(spec.dtype)))
        section = self.program.weight_section.block[: metadata.weights_size]
        weights, arena = self._holding(section.tobytes()), self._of(binding.arena)
        tables = [np.array([g.address for g in group], np.uint64) for group in (given, outputs)]
        context = np.zeros(64, np.uint64)
        context[:6] = [
            *map(address_of, tables), weights.address, arena.address, address_of(symbols), 1
        ]  # fmt: skip
        begin = address_of(context)
        context[6] = (begin + 8 * 16 + 63) // 64 * 64
        context[7] = address_of(executor._functions)
        self._call(begin)
        return [
            np.frombuffer(buffer.read(), numpy_dtype(spec.dtype)).reshape(shape)
            for buffer, spec, shape in zip(
                outputs, metadata.outputs, binding.outputs, strict=True
            )
        ]

    def _of(self, size: int) -> Guarded:
        buffer = Guarded(size, at_end=self.at_end)
        buffer.write(b"\xff" * size)
        return buffer

    def _holding(self, data: bytes) -> Guarded:
        buffer = self._of(len(data))
        buffer.write(data)
        return buffer

    def _call(self, context: int) -> None:
        entries, image = self.program.metadata.entries, self.program.image
        pointer = ctypes.c_void_p
        run = image.function(
            entries["infini_run"], ctypes.c_int64, pointer, pointer, pointer, ctypes.c_int64
        )
        status = run(None, context, image.address(entries["infini_main"]), 1)
        assert status == 0, f"status {status}"
