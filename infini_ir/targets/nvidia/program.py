"""Emitted kernels and a host program as a `Program`: machine code, plan, weights, texts."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from xdsl.dialects.builtin import ModuleOp

from infini_ir.dialects import tile
from infini_ir.dialects.context import CompilerContext
from infini_ir.runtime.cuda.executor import PLAN_FILE
from infini_ir.runtime.launch_plan import LaunchPlan, PlannedKernel
from infini_ir.runtime.metadata import LAUNCH_PLAN, Metadata, weight_table
from infini_ir.runtime.package import pack, unpack
from infini_ir.runtime.program import CodeBytes, Program
from infini_ir.targets.nvidia.emitted import EmittedKernel
from infini_ir.targets.nvidia.launch_plan import (
    HostProgram,
    MakeProduct,
    VariantChoice,
    host_program,
    jobs_of,
    planned_kernel,
    variants_of,
)
from infini_ir.targets.nvidia.plan import Plan
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

MOST_WARPS = 16
"""Of a block whose registers are to suffice: 512 threads have 128 registers each."""

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

    def build(
        self,
        module: ModuleOp,
        ctx: CompilerContext,
        *,
        report: dict[str, Any] | None = None,
        texts: Mapping[str, str] | None = None,
    ) -> Program:
        """Emit, compile, plan, pack."""
        remove_unused(module)
        store, entry = ctx.weights, program_of(module)
        names = weight_names(module)
        for name in names:
            if name not in store:
                raise CompileError(
                    f"weight '{name}' has no data; compile from the model, not from its text"
                )
        table = weight_table((n, store.dtype(n), store.shape(n)) for n in names)
        begin = time.perf_counter()
        built = self.kernels(module, {w.name: w.offset for w in table})
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

    def kernels(self, module: ModuleOp, weights: Mapping[str, int]) -> Built:
        """The kernels, compiled, with the plan of their launches."""
        kernels = {
            k.sym_name.data: k for k in module.body.block.ops if isinstance(k, tile.KernelOp)
        }
        product = self.product(kernels) if self.product is not None else None
        host = host_program(program_of(module), weights, product)
        emitted = [self.emit(kernels[name]) for name in host.kernels]
        choices = [variants_of(k, host.launches(i)) for i, k in enumerate(emitted)]
        compiled = self._compile(emitted, choices)
        self._unspill(emitted, choices, compiled)
        for variants, codes in zip(choices, compiled, strict=True):
            if len(codes) == 2 and codes[0].cubin == codes[1].cubin:
                del variants[0], codes[0]  # knowing that sizes divide changed nothing
        planned = [
            planned_kernel(*parts) for parts in zip(emitted, choices, compiled, strict=True)
        ]
        images: dict[str, CompiledKernel] = {}
        for kernel, codes in zip(planned, compiled, strict=True):
            for variant, code in zip(kernel.variants, codes, strict=True):
                self._check(code)
                images[variant.image] = code
        facts = [
            _kernel_report(kernels[name], kernel, codes)
            for name, kernel, codes in zip(host.kernels, emitted, compiled, strict=True)
        ]
        return Built(host, emitted, planned, images, facts)

    def _compile(
        self, emitted: Sequence[EmittedKernel], choices: Sequence[Sequence[VariantChoice]]
    ) -> list[list[CompiledKernel]]:
        """All variants of each kernel."""
        jobs = [jobs_of(k, c, self.capability) for k, c in zip(emitted, choices, strict=True)]
        done = iter(self.toolchain([job for group in jobs for job in group]))
        return [[next(done) for _ in group] for group in jobs]

    def _unspill(
        self,
        emitted: list[EmittedKernel],
        choices: Sequence[Sequence[VariantChoice]],
        compiled: list[list[CompiledKernel]],
    ) -> None:
        """Give kernels whose registers do not suffice more warps, which share the tiles: how
        many an epilogue takes is known only from machine code."""
        tried = list(emitted)
        while True:
            again = [
                i
                for i, codes in enumerate(compiled)
                if any(code.stack for code in codes) and tried[i].num_warps < MOST_WARPS
            ]
            if not again:
                return
            for i in again:
                tried[i] = replace(tried[i], num_warps=2 * tried[i].num_warps)
            new = self._compile([tried[i] for i in again], [choices[i] for i in again])
            for i, codes in zip(again, new, strict=True):
                if _stack(codes) < _stack(compiled[i]):
                    emitted[i], compiled[i] = tried[i], codes
                else:
                    tried[i] = replace(tried[i], num_warps=MOST_WARPS)

    def _check(self, code: CompiledKernel) -> None:
        if code.shared > self.shared_limit:
            raise CompileError(
                f"kernel '{code.name}' wants {code.shared} bytes of shared memory, but a block "
                f"of sm_{self.capability} has {self.shared_limit}; give it smaller tiles or "
                "fewer stages in its plan"
            )


def _stack(codes: Sequence[CompiledKernel]) -> int:
    return max(code.stack for code in codes)


def _kernel_report(
    kernel: tile.KernelOp, emitted: EmittedKernel, compiled: Sequence[CompiledKernel]
) -> dict[str, Any]:
    """What there is to say of a kernel: plain data."""
    plan = Plan.read(kernel.plan)
    return {
        "name": emitted.name,
        "origin": kernel.origin.data if kernel.origin is not None else "",
        "parameters": dict(plan.parameters),
        "reason": plan.reason,
        "grid": [str(size) for size in emitted.grid],
        "warps": emitted.num_warps,
        "stages": emitted.num_stages,
        "variants": len(compiled),
        "shared": max(code.shared for code in compiled),
        "stack": _stack(compiled),
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
