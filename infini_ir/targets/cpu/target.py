"""The CPU target: from a tile program to a runnable native program, in named stages."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from infini_ir.dialects import tile
from infini_ir.dialects.context import CompilerContext
from infini_ir.dialects.tile import program
from infini_ir.passes.graph.winograd import GraphWinogradPass
from infini_ir.passes.tile.expand_math import ExpandMathPass
from infini_ir.passes.tile.insert_barriers import InsertBarriersPass
from infini_ir.passes.tile.plan_memory import PlanMemoryPass
from infini_ir.passes.tile.reciprocal_sums import ReciprocalSumsPass
from infini_ir.passes.tile.share_kernels import ShareKernelsPass
from infini_ir.passes.tile.split_axis import SplitAxisPass
from infini_ir.passes.tile.split_reduction import SplitReductionPass
from infini_ir.runtime.metadata import Check, Metadata, weight_table
from infini_ir.runtime.program import CodeBytes, Program
from infini_ir.targets.cpu.features import CpuFeatures, named
from infini_ir.targets.cpu.functions.native_math import native_functions
from infini_ir.targets.cpu.image.linker import link
from infini_ir.targets.cpu.image.program import ProgramEmitter
from infini_ir.targets.cpu.image.support import DECLARATIONS, support_ir
from infini_ir.targets.cpu.kernel.emitter import KernelEmitter
from infini_ir.targets.cpu.llvm.plain_math import plain_math_ir
from infini_ir.targets.cpu.llvm.toolchain import assembly, compile_modules
from infini_ir.targets.cpu.llvm.writer import Module
from infini_ir.targets.cpu.plans.cost import claimed_kernels, program_nanoseconds
from infini_ir.targets.cpu.plans.normal_factors import CpuNormalFactorsPass
from infini_ir.targets.cpu.plans.packing import CpuPackWeightsPass
from infini_ir.targets.cpu.plans.plan import Plan
from infini_ir.targets.cpu.plans.planning import SWEEP_ELEMENTS, CpuPlanPass
from infini_ir.targets.cpu.plans.product_sizes import PROGRAMS
from infini_ir.targets.cpu.plans.round_factors import CpuRoundFactorsPass
from infini_ir.targets.cpu.timing.stamps import DECLARATION, Stamps, clock_ir
from infini_ir.targets.cpu.tuning.passes import CpuMeasuredPlansPass, CpuTunePass
from infini_ir.targets.programs import (
    input_symbols,
    program_of,
    remove_unused,
    signature_of,
    symbols_of,
    weight_names,
)
from infini_ir.targets.target import COMPOSITES
from infini_ir.targets.texts import LazyTexts
from infini_ir.utils.errors import CompileError
from infini_ir.utils.object_cache import ObjectCache
from infini_ir.utils.symbolic import Dim, product

if TYPE_CHECKING:
    from infini_ir.passes.graph.pipeline import QuantizedWeights

PRODUCER = "infini-ir 0.1.0"


REDUCED_ELEMENTS = 64
"""Elements of a reduced axis, such as that of a window, from which on it may be shared out."""

COLUMN_ROWS = 64
"""Rows from which on columns are reduced some rows at a time, and not one after the other."""


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
    """Compiles tile programs for a CPU. `architecture` names it, "native" being this
    machine's; `cache` keeps machine code on disk, in its usual folder or a given one."""

    architecture: str = "native"
    cache: ObjectCache | bool = True
    tune: Mapping[str, int] | None = None
    """Measure plans of a program's kernels for these sizes of symbols before it is compiled."""
    threads: int | None = None
    """Threads of a call, which measured plans are for; None: as a call chooses."""
    name: ClassVar[str] = "cpu"
    composites: ClassVar[frozenset[str]] = COMPOSITES
    quantized_weights: ClassVar[QuantizedWeights] = "packed"
    integer_products: ClassVar[bool] = True
    device_limits: ClassVar[None] = None
    objects: ObjectCache | None = field(init=False)

    def __post_init__(self) -> None:
        named(self.architecture)
        if isinstance(self.cache, ObjectCache):
            self.objects = self.cache
        else:
            self.objects = ObjectCache() if self.cache else None

    @property
    def features(self) -> CpuFeatures:
        return named(self.architecture)

    @property
    def winograd(self) -> GraphWinogradPass:
        """Wherever it is faster on this processor."""
        return GraphWinogradPass()

    def passes(self, *, measured: bool = True) -> tuple[ModulePass, ...]:
        """The tile passes that legalise a program, in order: long reductions are shared out,
        and columns reduced some rows at a time; kernels that differ in constants alone become one;
        then plans (they fix the panel widths), by
        rule and, with `measured`, those that tuning has found to be faster; the
        layouts that follow from them, memory when all buffers are there, barriers last, since
        shared memory decides them."""
        lanes = self.features.vector_bytes // 4
        return (
            ReciprocalSumsPass(),
            SplitReductionPass(PROGRAMS, columns=SWEEP_ELEMENTS, least=REDUCED_ELEMENTS),
            SplitAxisPass(limit=1 << 62, symbolic=False, beside=COLUMN_ROWS),
            CpuNormalFactorsPass(),
            CpuRoundFactorsPass(self.architecture),
            ShareKernelsPass(),
            *(self._tuning() if measured else ()),
            CpuPlanPass(self.architecture),
            *(self._measured() if measured else ()),
            CpuPackWeightsPass(lanes),
            ExpandMathPass(
                native_f32=native_functions(self.features),
                sigmoid=True,
                estimates=self.features.has_avx512,
            ),
            PlanMemoryPass(),
            InsertBarriersPass(),
        )

    def _tuning(self) -> tuple[ModulePass, ...]:
        if self.tune is None:
            return ()
        sizes = tuple(f"{name}={size}" for name, size in sorted(self.tune.items()))
        return (CpuTunePass(self.architecture, self.threads or 0, sizes),)

    def _measured(self) -> tuple[ModulePass, ...]:
        return (CpuMeasuredPlansPass(self.architecture, self.threads or 0),)

    def emit(
        self, module: ModuleOp, weights: Mapping[str, int], stamps: Stamps | None = None
    ) -> Emitted:
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
            features = self.features
            written = Module(rounds_bf16=features.rounds_bf16, has_avx512=features.has_avx512)
            emitter = KernelEmitter(
                kernel, written, Plan.read(kernel.plan), index, features=features
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
            entry,
            main,
            symbols,
            len(inputs),
            weights,
            kernels,
            scratch,
            claimed_kernels(kernels, self.features),
            stamps,
        )
        host_program.emit()
        text = DECLARATIONS + (DECLARATION if stamps is not None else "") + main.text()
        return Emitted(texts, text, tuple(host_program.checks), symbols, host_program.scratch())

    def build(
        self,
        module: ModuleOp,
        ctx: CompilerContext,
        *,
        report: dict[str, Any] | None = None,
        texts: Mapping[str, str] | None = None,
        threads: int | None = None,
        stamps: Stamps | None = None,
    ) -> Program:
        """The runnable program of a legalised module; with `stamps`, a timed one."""
        remove_unused(module)
        store, entry = ctx.weights, program_of(module)
        names = weight_names(module)
        for name in names:
            if name not in store:
                raise CompileError(
                    f"weight '{name}' has no data; compile from the model, not from its text"
                )
        table = weight_table((n, store.dtype(n), store.shape(n)) for n in names)
        emitted = self.emit(module, {w.name: w.offset for w in table}, stamps)
        begin = time.perf_counter()
        features = self.features
        modules = [*emitted.kernels.values(), emitted.main, support_ir(features)]
        if features.arch == "x86-64" and not features.has_fma:
            rounding = "sse4.1" not in features.features
            modules.append(plain_math_ir(rounding=rounding, fma=True))
        if stamps is not None:
            modules.append(clock_ir(features))
        objects = compile_modules(
            modules, features, threads, light={len(emitted.kernels)}, cache=self.objects
        )
        image = link(objects)
        inputs, outputs = signature_of(entry)
        metadata = Metadata(
            target="cpu",
            inputs=inputs if stamps is None else (*inputs, stamps.spec()),
            outputs=outputs,
            entries=image.entries,
            arch=features.arch,
            flags=tuple(sorted(features.required_flags)),
            symbols=emitted.symbols,
            arena=entry.attributes["arena"].data[0],  # pyright: ignore[reportAttributeAccessIssue]
            scratch=emitted.scratch,
            max_workers=None if _has_parallel_launch(module) else 1,
            work=_work(module, entry, features),
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
        texts = [assembly(text, self.features) for text in emitted.kernels.values()]
        return "\n".join([*texts, assembly(emitted.main, self.features, light=True)])


def _work(module: ModuleOp, entry: program.ProgramOp, features: CpuFeatures) -> Dim:
    """Nanoseconds of a call on one thread; sizes that the program computes count as 64."""
    kernels = {
        k.sym_name.data: k for k in module.body.block.ops if isinstance(k, tile.KernelOp)
    }
    work = program_nanoseconds(entry, kernels, features)
    given = set(input_symbols(entry))
    return work.substitute({name: Dim.of(64) for name in work.symbols() - given})


def _has_parallel_launch(module: ModuleOp) -> bool:
    """Whether a second thread has anything to do."""
    return any(
        isinstance(op, program.LaunchOp)
        and op.serial is None
        and _program_count(op.callee()).value != 1
        for op in module.walk()
    )


def _program_count(kernel: tile.KernelOp) -> Dim:
    """Programs of a kernel's grid."""
    sizes = Plan.read(kernel.plan).substitution
    pairs = zip(kernel.bounds.data, kernel.steps.data, strict=True)
    return product(bound.ceil_divide(step.substitute(sizes)) for bound, step in pairs)
