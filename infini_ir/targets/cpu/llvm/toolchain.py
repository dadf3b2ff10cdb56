"""LLVM IR text to machine code: from the cache where it is there, else by LLVM.

LLVM is loaded only when something must be generated: it takes more memory and time than
all else that compiling a small model needs.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor

import llvmlite

from infini_ir.runtime.host import cpu_count_available
from infini_ir.targets.cpu.features import CpuFeatures
from infini_ir.utils.object_cache import ObjectCache

_VERSION = "3"
"""Raised whenever `codegen` would make other bytes from the same text."""


def compile_ir(text: str, features: CpuFeatures, *, cache: ObjectCache | None = None) -> bytes:
    """The relocatable ELF object of one module's IR text."""
    return compile_modules([text], features, 1, cache=cache)[0]


def compile_modules(
    texts: Sequence[str],
    features: CpuFeatures,
    threads: int | None = None,
    *,
    light: Collection[int] = (),
    cache: ObjectCache | None = None,
) -> list[bytes]:
    """The objects of independent modules, in their order, compiled by `threads` threads.

    By default one thread runs for each processor this process may use. `light`: the numbers
    of modules whose code runs once a call, and so is not worth much time.
    """
    jobs = [(text, i in light) for i, text in enumerate(texts)]
    if cache is None:
        return _generated(jobs, features, threads)
    keys = [_key(text, features, light) for text, light in jobs]
    found = [cache.load(key) for key in keys]
    missing = [i for i, built in enumerate(found) if built is None]
    made = _generated([jobs[i] for i in missing], features, threads)
    for i, built in zip(missing, made, strict=True):
        cache.store(keys[i], built)
        found[i] = built
    return [built for built in found if built is not None]


def assembly(text: str, features: CpuFeatures, *, light: bool = False) -> str:
    """The assembly text of one module's IR, `light` as in `compile_modules`."""
    from infini_ir.targets.cpu.llvm.codegen import generate

    return generate(text, features, as_object=False, light=light).decode()


def _key(text: str, features: CpuFeatures, light: bool) -> str:
    return ObjectCache.key(
        text,
        features.triple,
        features.cpu,
        features.feature_string,
        llvmlite.__version__,
        _VERSION,
        "light" if light else "",
    )


def _generated(
    jobs: Sequence[tuple[str, bool]], features: CpuFeatures, threads: int | None
) -> list[bytes]:
    """The objects by LLVM, whose own memory is given back at the end."""
    if not jobs:
        return []
    from infini_ir.targets.cpu.llvm import codegen

    def generate(job: tuple[str, bool]) -> bytes:
        text, light = job
        return codegen.generate(text, features, as_object=True, light=light)

    workers = min(len(jobs), threads or cpu_count_available())
    try:
        if workers <= 1:
            return [generate(job) for job in jobs]
        with (
            codegen.options(features),
            ThreadPoolExecutor(workers, "infini-compile") as pool,
        ):
            return list(pool.map(generate, jobs))
    finally:
        codegen.release_memory()
