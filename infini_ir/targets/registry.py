"""Every target by name, made when asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from infini_ir.utils.errors import OptionError

if TYPE_CHECKING:
    from infini_ir.targets.target import Target


ALL_DTYPES = ("f32", "f16", "bf16", "f64", "i64", "i32", "i16", "i8", "ui8", "i1")


@dataclass(frozen=True)
class Entry:
    """What there is to know of a target without importing it."""

    name: str
    place: str
    """Module and class, `module:Class`, below `infini_ir.targets`."""
    architectures: tuple[str, ...]
    """The first is the default."""
    language: str
    """What its emitter writes."""
    gives: str
    """`program`: a model that runs; `project`: sources for the vendor's tools."""
    checked: str
    """How its kernels are checked where there is no device."""
    levels: tuple[str, ...] = ("source",)
    """Texts below the tile dialect that it can show."""
    dtypes: tuple[str, ...] = ALL_DTYPES
    """Element types that its kernels compute with or, at least, move and convert."""
    library: str = ""
    """The vendor's library that products can be left to, if any."""
    options: tuple[str, ...] = ()
    """Options that its constructor takes, of `cache`, `library`, `tune` and `threads`."""
    precisions: tuple[str, ...] = ("f32",)
    """What models of f32 can be computed in."""
    identity: str = ""
    """Module and function, `module:function`, which tells of an architecture and a number of
    threads what else decides a program; empty where programs are not kept on disk."""


ENTRIES = {
    entry.name: entry
    for entry in (
        Entry(
            "cpu",
            "cpu.target:CpuTarget",
            (
                "native",
                "x86-64",
                "x86-64-v3",
                "x86-64-v4",
                "alderlake",
                "cascadelake",
                "icelake-server",
                "znver4",
                "sapphirerapids",
                "aarch64",
            ),
            "LLVM IR",
            "program",
            "runs on the machine that compiles",
            ("llvm", "asm"),
            options=("cache", "tune", "threads"),
            precisions=("f32", "bf16"),
            identity="cpu.identity:identity",
        ),
        Entry(
            "nvidia",
            "nvidia.target:NvidiaTarget",
            ("sm_90", "sm_80", "sm_89", "sm_100"),
            "Triton",
            "program",
            "numbers in Triton's interpreter; PTX and SASS of every kernel compiled and read",
            ("triton", "ptx"),
            library="cuBLAS",
            options=("cache", "library", "tune"),
        ),
        Entry(
            "ascend",
            "ascend.target:AscendTarget",
            ("910b",),
            "Ascend C",
            "project",
            "the project, built with g++ against a functional model of Ascend C, run",
            library="aclnn",
            options=("library",),
        ),
        Entry(
            "cambricon",
            "cambricon.target:CambriconTarget",
            ("mlu590", "mlu370"),
            "BANG C",
            "project",
            "the project, built with g++ against a functional model of BANG C, run",
            library="CNNL",
            options=("library",),
        ),
        Entry(
            "cuda-c",
            "cuda_c.target:CudaCTarget",
            ("nvidia", "iluvatar", "metax", "moore", "hygon"),
            "CUDA C++",
            "project",
            "the project, built with g++ against a model of grids and blocks, run with "
            "warps of 32 and 64; compiled with nvcc where it is installed",
            library="cuBLAS",
            options=("library",),
        ),
        Entry(
            "kunlun",
            "kunlun.target:KunlunTarget",
            ("xpu3",),
            "XPU C",
            "project",
            "the project, built with g++ against a functional model of XPU C, run",
        ),
    )
}
"""All targets, by name."""


def parse(spec: str) -> tuple[Entry, str]:
    """The entry and the architecture of `name` or `name:architecture`.

    Raises `OptionError`, which lists what there is, for names that are not known.
    """
    name, colon, architecture = spec.partition(":")
    entry = ENTRIES.get(name)
    if entry is None:
        raise OptionError(f"unknown target '{name}'; there are: {', '.join(ENTRIES)}")
    if colon and not architecture:
        raise OptionError(f"target '{spec}' names no architecture; write '{name}' alone")
    if not architecture:
        return entry, entry.architectures[0]
    if architecture not in entry.architectures:
        raise OptionError(
            f"unknown architecture '{architecture}' of target '{name}'; "
            f"there are: {', '.join(entry.architectures)}"
        )
    return entry, architecture


def check(
    spec: str, *, library: bool = False, tune: bool = False, precision: str = "f32"
) -> None:
    """Raise `OptionError` for what `make` would refuse, and for a precision that the target
    does not have, importing no target."""
    entry, _ = parse(spec)
    if precision not in entry.precisions:
        offered = [e.name for e in ENTRIES.values() if precision in e.precisions]
        raise OptionError(
            f"target '{entry.name}' has no precision {precision}; those that do: "
            f"{', '.join(offered)}"
        )
    if library and "library" not in entry.options:
        offered = [e.name for e in ENTRIES.values() if "library" in e.options]
        raise OptionError(
            f"target '{entry.name}' calls no vendor library; those that do: {', '.join(offered)}"
        )
    if tune and "tune" not in entry.options:
        offered = [e.name for e in ENTRIES.values() if "tune" in e.options]
        raise OptionError(
            f"target '{entry.name}' tunes no kernels; those that do: {', '.join(offered)}"
        )


def identity(spec: str, threads: int | None) -> tuple[str, ...] | None:
    """What decides the target's programs besides sources and options, importing no compiler;
    None where that cannot be told, and programs are not to be kept. `threads` as in `make`."""
    entry, architecture = parse(spec)
    if not entry.identity:
        return None
    module, _, name = entry.identity.partition(":")
    return getattr(import_module(f"infini_ir.targets.{module}"), name)(architecture, threads)


def make(
    spec: str,
    *,
    cache: bool = True,
    library: bool = False,
    tune: Mapping[str, int] | None = None,
    threads: int | None = None,
) -> Target:
    """The target that `spec` names.

    `cache`: keep compiled kernels on disk; `library`: let the vendor's library do the
    products that it can; `tune`: measure plans of kernels on this machine's device, for these
    sizes of symbols; `threads`: those of a call, which measured plans are for. Raises
    `OptionError` for what is not known or not offered.
    """
    check(spec, library=library, tune=tune is not None)
    entry, architecture = parse(spec)
    given: dict[str, Any] = {
        "cache": cache,
        "library": library,
        "tune": tune,
        "threads": threads,
    }
    module, _, name = entry.place.partition(":")
    made = getattr(import_module(f"infini_ir.targets.{module}"), name)
    return made(architecture, **{key: given[key] for key in entry.options})
