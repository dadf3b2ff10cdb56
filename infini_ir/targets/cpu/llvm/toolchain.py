"""LLVM IR text to machine code: from the cache where it is there, else by LLVM.

LLVM is loaded only when something must be generated: it takes more memory and time than
all else that compiling a small model needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import llvmlite

from infini_ir.runtime.host import cpu_count_available
from infini_ir.targets.cpu.features import CpuFeatures
from infini_ir.utils.object_cache import ObjectCache

_VERSION = "2"
"""Raised whenever `codegen` would make other bytes from the same text."""


def compile_ir(text: str, features: CpuFeatures, *, cache: ObjectCache | None = None) -> bytes:
    """The relocatable ELF object of one module's IR text."""
    return compile_modules([text], features, 1, cache=cache)[0]


def compile_modules(
    texts: Sequence[str],
    features: CpuFeatures,
    threads: int | None = None,
    *,
    cache: ObjectCache | None = None,
) -> list[bytes]:
    """The objects of independent modules, in their order, compiled by `threads` threads.

    By default one thread runs for each processor this process may use.
    """
    if cache is None:
        return _generated(texts, features, threads)
    keys = [_key(text, features) for text in texts]
    found = [cache.load(key) for key in keys]
    missing = [i for i, built in enumerate(found) if built is None]
    made = _generated([texts[i] for i in missing], features, threads)
    for i, built in zip(missing, made, strict=True):
        cache.store(keys[i], built)
        found[i] = built
    return [built for built in found if built is not None]


def assembly(text: str, features: CpuFeatures) -> str:
    """The assembly text of one module's IR."""
    from infini_ir.targets.cpu.llvm.codegen import generate

    return generate(text, features, as_object=False).decode()


def _key(text: str, features: CpuFeatures) -> str:
    return ObjectCache.key(
        text,
        features.triple,
        features.cpu,
        features.feature_string,
        llvmlite.__version__,
        _VERSION,
    )


def _generated(texts: Sequence[str], features: CpuFeatures, threads: int | None) -> list[bytes]:
    """The objects by LLVM, whose own memory is given back at the end."""
    if not texts:
        return []
    from infini_ir.targets.cpu.llvm import codegen

    def generate(text: str) -> bytes:
        return codegen.generate(text, features, as_object=True)

    workers = min(len(texts), threads or cpu_count_available())
    try:
        if workers <= 1:
            return [generate(text) for text in texts]
        with (
            codegen.options(features),
            ThreadPoolExecutor(workers, "infini-compile") as pool,
        ):
            return list(pool.map(generate, texts))
    finally:
        codegen.release_memory()
