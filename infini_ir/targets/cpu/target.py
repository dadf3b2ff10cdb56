"""The CPU target: from a tile program to a runnable native program, in named stages."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from io import StringIO
from typing import Any

from xdsl.dialects.builtin import ArrayAttr, ModuleOp, StringAttr
from xdsl.passes import ModulePass
from xdsl.printer import Printer

from infini_ir.dialects import tile
from infini_ir.dialects.context import CompilerContext
from infini_ir.dialects.graph import TensorType
from infini_ir.dialects.tile import program
from infini_ir.passes.tile.expand_math import ExpandMathPass
from infini_ir.passes.tile.insert_barriers import InsertBarriersPass
from infini_ir.passes.tile.plan_memory import PlanMemoryPass
from infini_ir.runtime.metadata import Check, Metadata, weight_table
from infini_ir.runtime.program import CodeBytes, Program
from infini_ir.runtime.signature import TensorSpec
from infini_ir.targets.cpu.cost import program_nanoseconds
from infini_ir.targets.cpu.emitter import KernelEmitter
from infini_ir.targets.cpu.features import CpuFeatures, host, named
from infini_ir.targets.cpu.linker import link
from infini_ir.targets.cpu.object_cache import ObjectCache
from infini_ir.targets.cpu.packing import CpuPackWeightsPass, remove_unused, weight_names
from infini_ir.targets.cpu.plain_math import plain_math_ir
from infini_ir.targets.cpu.plan import Plan
from infini_ir.targets.cpu.planning import CpuPlanPass
from infini_ir.targets.cpu.program import ProgramEmitter, defined_symbols, known_outputs
from infini_ir.targets.cpu.support import DECLARATIONS, support_ir
from infini_ir.targets.cpu.toolchain import assembly, compile_modules
from infini_ir.targets.cpu.writer import Module
from infini_ir.utils.errors import CompileError
from infini_ir.utils.symbolic import Dim

PRODUCER = "infini-ir 0.1.0"

COMPOSITES = frozenset(
    {
        "graph.softmax",
        "graph.layer_norm",
        "graph.rms_norm",
        "graph.attention",
        "graph.conv",
        "graph.pool",
    }
)
"""Composite operations that the lowering makes kernels of; the others are expanded."""


@dataclass
class Emitted:
    """The LLVM IR of a program: one module for each kernel, one for the host program."""

    kernels: dict[str, str]
    main: str
    checks: tuple[Check, ...]
    symbols: tuple[str, ...]
    scratch: Dim

    def text(self) -> str:
        """All of it, for reading."""
        parts = [f"; kernel @{name}\n{text}" for name, text in self.kernels.items()]
        return "\n".join([*parts, f"; host program\n{self.main}"])


@dataclass
class CpuTarget:
    """Compiles tile programs for a CPU. `cpu` names it, "native" being this machine's."""

    cpu: str = "native"
    cache: ObjectCache | None = field(default_factory=ObjectCache)

    @property
    def features(self) -> CpuFeatures:
        return host() if self.cpu == "native" else named(self.cpu)

    def passes(self) -> tuple[ModulePass, ...]:
        """The tile passes that legalise a program, in order: plans first (they fix the
        panel widths), then the layouts that follow from them, memory when all buffers are
        there, barriers last, since shared memory decides them."""
        lanes = self.features.vector_bytes // 4
        return (
            CpuPlanPass(self.cpu),
            CpuPackWeightsPass(lanes),
            ExpandMathPass(),
            PlanMemoryPass(),
            InsertBarriersPass(),
        )

    def emit(self, module: ModuleOp, weights: Mapping[str, int]) -> Emitted:
        """The LLVM IR of a legalised program. `weights`: offsets by name."""
        entry = program_of(module)
        kernels = {
            k.sym_name.data: k for k in module.body.block.ops if isinstance(k, tile.KernelOp)
        }
        symbols = symbols_of(entry)
        index = {name: i for i, name in enumerate(symbols)}
        texts: dict[str, str] = {}
        scratch: dict[str, Dim] = {}
        for name, kernel in kernels.items():
            written = Module()
            emitter = KernelEmitter(
                kernel, written, Plan.read(kernel.plan), index, features=self.features
            )
            emitter.emit()
            texts[name] = written.text()
            scratch[name] = emitter.scratch_bytes
        main = Module()
        for name, kernel in kernels.items():
            views = ["ptr"] * len(kernel.views)
            types = ", ".join([*views, "ptr", "ptr", "i64", "i64"])
            main.declare(f"declare hidden void @{name}({types})")
        inputs = input_symbols(entry)
        host_program = ProgramEmitter(
            entry, main, symbols, len(inputs), weights, kernels, scratch
        )
        host_program.emit()
        text = DECLARATIONS + main.text()
        return Emitted(texts, text, tuple(host_program.checks), symbols, host_program.scratch())

    def build(
        self,
        module: ModuleOp,
        ctx: CompilerContext,
        *,
        report: dict[str, Any] | None = None,
        texts: Mapping[str, str] | None = None,
        threads: int | None = None,
    ) -> Program:
        """The runnable program of a legalised module."""
        remove_unused(module)
        store, entry = ctx.weights, program_of(module)
        names = weight_names(module)
        for name in names:
            if name not in store:
                raise CompileError(
                    f"weight '{name}' has no data; compile from the model, not from its text"
                )
        table = weight_table((n, store.dtype(n), store.shape(n)) for n in names)
        emitted = self.emit(module, {w.name: w.offset for w in table})
        begin = time.perf_counter()
        features = self.features
        modules = [*emitted.kernels.values(), emitted.main, support_ir(features)]
        if features.arch == "x86-64" and not features.has_fma:
            rounding = "sse4.1" not in features.features
            modules.append(plain_math_ir(rounding=rounding, fma=True))
        objects = compile_modules(modules, features, threads, cache=self.cache)
        image = link(objects)
        inputs, outputs = signature_of(entry)
        metadata = Metadata(
            target="cpu",
            inputs=inputs,
            outputs=outputs,
            entries=image.entries,
            arch=features.arch,
            flags=tuple(sorted(features.required_flags)),
            symbols=emitted.symbols,
            arena=entry.attributes["arena"].data[0],  # pyright: ignore[reportAttributeAccessIssue]
            scratch=emitted.scratch,
            max_workers=None if _has_parallel_launch(module) else 1,
            work=_work(module, entry, emitted.symbols),
            checks=emitted.checks,
            weights=table,
            producer=PRODUCER,
            report={**(report or {}), "llvm_seconds": time.perf_counter() - begin},
        )
        above = texts or {}
        made: dict[str, Callable[[], str]] = {
            level: partial(above.__getitem__, level) for level in above
        }
        made |= {"llvm": emitted.text, "asm": lambda: self._assembly(emitted)}
        lazy = LazyTexts({}, made)
        return Program(metadata, CodeBytes(image.code), store, texts=lazy)

    def _assembly(self, emitted: Emitted) -> str:
        modules = [*emitted.kernels.values(), emitted.main]
        return "\n".join(assembly(text, self.features) for text in modules)


SAVED_TEXTS = ("graph", "tile")
"""The levels that go into an artifact; the others are long, and made when asked for."""


class LazyTexts(Mapping[str, str]):
    """Texts of IR levels, made when they are first asked for. Iteration, and so an
    artifact, has only the levels of `SAVED_TEXTS`."""

    def __init__(self, ready: dict[str, str], made: Mapping[str, Callable[[], str]]) -> None:
        self.ready = ready
        self.made = made

    def __getitem__(self, key: str) -> str:
        if key not in self.ready:
            self.ready[key] = self.made[key]()
        return self.ready[key]

    def __contains__(self, key: object) -> bool:
        return key in self.ready or key in self.made

    def __iter__(self) -> Iterator[str]:
        return (key for key in SAVED_TEXTS if key in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def program_of(module: ModuleOp) -> program.ProgramOp:
    """The host program of a module."""
    for op in module.body.block.ops:
        if isinstance(op, program.ProgramOp):
            return op
    raise CompileError("the module has no tile.program; run graph-to-tile first")


def input_symbols(entry: program.ProgramOp) -> list[str]:
    """Symbols that are a bare size of some input, in order."""
    names: dict[str, None] = {}
    for argument in entry.body.block.args[: entry.input_count.value.data]:
        for dim in tile.view_type(argument).shape:
            if dim.name is not None:
                names.setdefault(dim.name)
    return list(names)


def symbols_of(entry: program.ProgramOp) -> tuple[str, ...]:
    """All symbols of a program: those of the inputs, then those that it defines."""
    inputs = input_symbols(entry)
    return (*inputs, *sorted(defined_symbols(entry) - set(inputs)))


def signature_of(
    entry: program.ProgramOp,
) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Inputs and outputs by name."""
    signature = entry.signature.data
    count = entry.input_count.value.data

    def names(key: str, number: int) -> list[str]:
        given = signature.get(key)
        if isinstance(given, ArrayAttr):
            return [n.data for n in given.data if isinstance(n, StringAttr)]
        return [f"{key[:-1]}{i}" for i in range(number)]

    arguments = [tile.view_type(a) for a in entry.body.block.args]
    inputs = tuple(
        TensorSpec(name, type.dtype, type.shape)
        for name, type in zip(names("inputs", count), arguments[:count], strict=True)
    )
    declared = signature.get("output_types")
    if isinstance(declared, ArrayAttr):
        types = [(t.dtype, t.shape) for t in declared.data if isinstance(t, TensorType)]
    else:
        types = [(t.dtype, t.shape) for t in arguments[count:]]
        assert known_outputs(entry) == list(range(len(types)))
    outputs = tuple(
        TensorSpec(name, dtype, shape)
        for name, (dtype, shape) in zip(names("outputs", len(types)), types, strict=True)
    )
    return inputs, outputs


def _work(module: ModuleOp, entry: program.ProgramOp, symbols: tuple[str, ...]) -> Dim:
    """Nanoseconds of a call on one thread; sizes that the program computes count as 64."""
    kernels = {
        k.sym_name.data: k for k in module.body.block.ops if isinstance(k, tile.KernelOp)
    }
    work = program_nanoseconds(entry, kernels)
    given = set(input_symbols(entry))
    return work.substitute({name: Dim.of(64) for name in work.symbols() - given})


def _has_parallel_launch(module: ModuleOp) -> bool:
    return any(isinstance(op, program.LaunchOp) and op.serial is None for op in module.walk())


def module_text(module: ModuleOp) -> str:
    """A module as text."""
    stream = StringIO()
    Printer(stream=stream).print_op(module)
    return stream.getvalue() + "\n"
