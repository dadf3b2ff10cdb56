"""Emitted kernels and a host program as a `Program`: machine code, plan, weights, texts."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation
from xdsl.passes import ModulePass
from xdsl.rewriter import Rewriter

from infini_ir.dialects import tile
from infini_ir.dialects.context import CompilerContext
from infini_ir.runtime.cuda.executor import PLAN_FILE
from infini_ir.runtime.launch_plan import Launch, LaunchPlan, PlannedKernel, Replacement
from infini_ir.runtime.metadata import LAUNCH_PLAN, Metadata, weight_table
from infini_ir.runtime.package import pack, unpack
from infini_ir.runtime.program import CodeBytes, Program
from infini_ir.targets.nvidia.emitted import EmittedKernel
from infini_ir.targets.nvidia.fitting import Attempt, Source, fit, other_sources
from infini_ir.targets.nvidia.launch_plan import (
    HostProgram,
    MakeProduct,
    host_program,
    jobs_of,
    planned_kernel,
    variants_of,
)
from infini_ir.targets.nvidia.limits import Limits
from infini_ir.targets.nvidia.plan import Few, Plan
from infini_ir.targets.nvidia.toolchain import CompiledKernel, Toolchain, architecture_of
from infini_ir.targets.programs import (
    program_of,
    remove_unused,
    signature_of,
    symbols_of,
    weight_names,
)
from infini_ir.targets.texts import SAVED_TEXTS, LazyTexts
from infini_ir.utils.errors import CompileError

PRODUCER = "infini-ir 0.1.0"

SAVED = (*SAVED_TEXTS, "triton", "ptx")
"""The levels that an artifact keeps."""

_MARKS = {"triton": ("#", "kernels", "py"), "ptx": ("//", "ptx", "ptx")}
"""For texts of many files: what begins a comment, folder and ending of the files."""

Emit = Callable[[tile.KernelOp], EmittedKernel]


@dataclass
class Built:
    """What building gives before it is packed."""

    host: HostProgram
    emitted: list[EmittedKernel]
    planned: list[PlannedKernel]
    images: dict[str, CompiledKernel]
    """By their file's name."""
    report: list[dict[str, Any]] = field(default_factory=list)
    """What there is to say of each kernel."""

    @property
    def plan(self) -> LaunchPlan:
        return LaunchPlan(tuple(self.planned), self.host.steps, self.host.outputs)


@dataclass
class Builder:
    """Builds the program of a legalised module."""

    capability: int
    shared_limit: int
    """Bytes of shared memory that a block can have."""
    emit: Emit
    toolchain: Toolchain
    product: Callable[[Mapping[str, tile.KernelOp]], MakeProduct] | None = None
    """Which kernels the vendor's library does, where it may."""
    limits: Limits | None = None
    """What to look for better plans by where machine code wants too much; None looks for
    none."""
    finish: Sequence[ModulePass] = ()
    """What carries out the plan of a kernel."""

    def build(
        self,
        module: ModuleOp,
        ctx: CompilerContext,
        *,
        report: dict[str, Any] | None = None,
        texts: Mapping[str, str] | None = None,
    ) -> Program:
        """Emit, compile, plan, pack."""
        few = [Plan.read(kernel.plan).few for kernel in kernels_of(module).values()]
        remove_unused(module, [each.kernel for each in few if each is not None])
        store, entry = ctx.weights, program_of(module)
        names = weight_names(module)
        for name in names:
            if name not in store:
                raise CompileError(
                    f"weight '{name}' has no data; compile from the model, not from its text"
                )
        table = weight_table((n, store.dtype(n), store.shape(n)) for n in names)
        begin = time.perf_counter()
        built = self.kernels(module, {w.name: w.offset for w in table}, ctx.originals)
        inputs, outputs = signature_of(entry)
        metadata = Metadata(
            target="nvidia",
            inputs=inputs,
            outputs=outputs,
            entries={},
            arch=architecture_of(self.capability),
            form=LAUNCH_PLAN,
            symbols=symbols_of(entry),
            arena=entry.attributes["arena"].data[0],  # pyright: ignore[reportAttributeAccessIssue]
            weights=table,
            producer=PRODUCER,
            report={
                **(report or {}),
                "kernels": built.report,
                "triton_seconds": time.perf_counter() - begin,
            },
        )
        code = {PLAN_FILE: built.plan.to_text().encode()}
        code |= {name: kernel.cubin for name, kernel in built.images.items()}
        return Program(metadata, CodeBytes(pack(code)), store, _texts(built, texts or {}))

    def kernels(
        self, module: ModuleOp, weights: Mapping[str, int], originals: Mapping[str, Operation]
    ) -> Built:
        """The kernels, compiled, with the plan of their launches. `originals`: those that
        may get another plan, as they were before theirs."""
        kernels, limits = kernels_of(module), self.limits
        product = self.product(kernels) if self.product is not None else None
        host = host_program(program_of(module), weights, product)
        names, fews = [*host.kernels], dict[int, Few]()
        launches = [host.launches(i) for i in range(len(names))]
        for number, name in enumerate(host.kernels):
            few = Plan.read(kernels[name].plan).few
            if few is not None:
                fews[number] = few
                names.append(few.kernel)
                launches.append(launches[number])

        def compiled(sources: Sequence[tuple[int, Source]]) -> list[Attempt]:
            return self._compile([(source, launches[i]) for i, source in sources])

        def others(attempt: Attempt) -> Iterator[list[Source]]:
            original = originals.get(attempt.kernel.sym_name.data)
            known = original if isinstance(original, tile.KernelOp) else None
            assert limits is not None
            return other_sources(attempt, known, limits, self._with_plan)

        first = [(i, (kernels[n], self.emit(kernels[n]))) for i, n in enumerate(names)]
        attempts = compiled(first)
        if limits is not None:
            attempts = fit(attempts, limits.shared_bytes, others, compiled)
        planned: list[PlannedKernel] = []
        images: dict[str, CompiledKernel] = {}
        for number, attempt in enumerate(attempts):
            _replace(kernels[names[number]], attempt.kernel)
            self._check(attempt)
            small = _replacement(fews.get(number), attempt.kernel, names)
            kernel, codes = _planned(attempt, launches[number], small)
            planned.append(kernel)
            images |= {v.image: code for v, code in zip(kernel.variants, codes, strict=True)}
        emitted = [attempt.emitted for attempt in attempts]
        return Built(host, emitted, planned, images, [_kernel_report(a) for a in attempts])

    def _with_plan(self, original: tile.KernelOp, plan: Plan) -> Source:
        """A kernel with another plan, carried out."""
        kernel = original.clone()
        kernel.properties["plan"] = plan.attribute()
        module, ctx = ModuleOp([kernel]), CompilerContext()
        for step in self.finish:
            step.apply(ctx, module)
        kernel.detach()
        return kernel, self.emit(kernel)

    def _compile(self, sources: Sequence[tuple[Source, Sequence[Launch]]]) -> list[Attempt]:
        """All variants of each kernel."""
        jobs = [
            jobs_of(emitted, variants_of(emitted, launches), self.capability)
            for (_, emitted), launches in sources
        ]
        done = iter(self.toolchain([job for group in jobs for job in group]))
        return [
            Attempt(kernel, emitted, [next(done) for _ in group])
            for ((kernel, emitted), _), group in zip(sources, jobs, strict=True)
        ]

    def _check(self, attempt: Attempt) -> None:
        if attempt.shared > self.shared_limit:
            raise CompileError(
                f"kernel '{attempt.emitted.name}' wants {attempt.shared} bytes of shared "
                f"memory, but a block of sm_{self.capability} has {self.shared_limit}; give it "
                "smaller tiles or fewer stages in its plan"
            )


def kernels_of(module: ModuleOp) -> dict[str, tile.KernelOp]:
    """The kernels of a module by name."""
    return {k.sym_name.data: k for k in module.body.block.ops if isinstance(k, tile.KernelOp)}


def _replace(old: tile.KernelOp, new: tile.KernelOp) -> None:
    """Put a kernel with another plan in the module, whose text then says what was built."""
    if new is not old:
        Rewriter.replace_op(old, new)


def _replacement(
    few: Few | None, kernel: tile.KernelOp, names: Sequence[str]
) -> Replacement | None:
    if few is None:
        return None
    return Replacement(names.index(few.kernel), kernel.bounds.data[few.axis], few.most)


def _planned(
    attempt: Attempt, launches: Sequence[Launch], small: Replacement | None
) -> tuple[PlannedKernel, list[CompiledKernel]]:
    """The kernel of the launch plan, and the code of its variants."""
    choices, codes = variants_of(attempt.emitted, launches), attempt.codes
    if len(codes) == 2 and codes[0].cubin == codes[1].cubin:
        choices, codes = choices[1:], codes[1:]  # knowing that sizes divide changed nothing
    return planned_kernel(attempt.emitted, choices, codes, small), codes


def _kernel_report(attempt: Attempt) -> dict[str, Any]:
    """What there is to say of a kernel: plain data."""
    kernel, emitted = attempt.kernel, attempt.emitted
    plan = Plan.read(kernel.plan)
    return {
        "name": emitted.name,
        "origin": kernel.origin.data if kernel.origin is not None else "",
        "parameters": dict(plan.parameters),
        "reason": plan.reason,
        "grid": [str(size) for size in emitted.grid],
        "warps": emitted.num_warps,
        "stages": emitted.num_stages,
        "variants": len({code.cubin for code in attempt.codes}),
        "shared": attempt.shared,
        "stack": attempt.stack,
    }


# Texts and files


def _texts(built: Built, above: Mapping[str, str]) -> LazyTexts:
    made: dict[str, Callable[[], str]] = {
        level: partial(above.__getitem__, level) for level in above
    }
    sources = {kernel.name: kernel.source for kernel in built.emitted}
    ptx = {name.removesuffix(".cubin"): code.ptx for name, code in built.images.items()}
    made["triton"] = lambda: _joined("triton", sources)
    made["ptx"] = lambda: _joined("ptx", ptx)
    made["plan"] = built.plan.to_text
    return LazyTexts({}, made, SAVED)


def _joined(level: str, parts: Mapping[str, str]) -> str:
    """Texts of several files as one, each under a line with its name."""
    comment, folder, ending = _MARKS[level]
    return "".join(
        f"{comment} --- {folder}/{name}.{ending}\n{text.strip()}\n\n"
        for name, text in parts.items()
    )


def _split(level: str, text: str) -> dict[str, str]:
    """The reverse of `_joined`."""
    comment, _, _ = _MARKS[level]
    pieces = re.split(rf"^{re.escape(comment)} --- (\S+)\n", text, flags=re.MULTILINE)[1:]
    return {
        name: f"{body.strip()}\n" for name, body in zip(pieces[::2], pieces[1::2], strict=True)
    }


def files(program: Program) -> dict[str, bytes | str]:
    """The program as files to look at: `kernels/*.py` (Triton), `ptx/*.ptx`,
    `cubin/*.cubin` and `launch_plan.json`; those whose texts were kept."""
    found: dict[str, bytes | str] = {}
    for level in _MARKS:
        if level in program.texts:
            found |= _split(level, program.texts[level])
    for name, data in unpack(program.code.read()).items():
        if name == PLAN_FILE:
            found[name] = data.decode()
        else:
            found[f"cubin/{name}"] = data
    return found


def compiled_kernels(program: Program) -> list[CompiledKernel]:
    """The machine code in a program, each kernel's variants in order; also of a program
    that was read from a file."""
    package = unpack(program.code.read())
    plan = LaunchPlan.from_text(package[PLAN_FILE])
    ptx = _split("ptx", program.texts["ptx"]) if "ptx" in program.texts else {}
    return [
        CompiledKernel(
            variant.image.removesuffix(".cubin"),
            variant.function,
            variant.threads,
            variant.shared,
            variant.scratch,
            (),
            0,
            ptx.get(f"ptx/{variant.image.removesuffix('.cubin')}.ptx", ""),
            package[variant.image],
        )
        for kernel in plan.kernels
        for variant in kernel.variants
    ]
