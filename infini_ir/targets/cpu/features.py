"""What the processor that code is generated for can do.

The feature list handed to LLVM is always our own: LLVM's guess of the host's name is wrong
for processors whose features a hypervisor masks, and cross-compilation has no host to ask.
Every feature in our tables that a processor lacks is switched off by name, so an LLVM
processor name only chooses the scheduling model.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from infini_ir.runtime.host import host_arch, host_flags
from infini_ir.utils.errors import OptionError

_X86_64: Mapping[str, str] = {
    "pni": "sse3",
    "ssse3": "ssse3",
    "sse4_1": "sse4.1",
    "sse4_2": "sse4.2",
    "cx16": "cx16",
    "popcnt": "popcnt",
    "movbe": "movbe",
    "abm": "lzcnt",
    "bmi1": "bmi",
    "bmi2": "bmi2",
    "3dnowprefetch": "prfchw",
    "avx": "avx",
    "f16c": "f16c",
    "fma": "fma",
    "avx2": "avx2",
    "avx_vnni": "avxvnni",
    "gfni": "gfni",
    "avx512f": "avx512f",
    "avx512bw": "avx512bw",
    "avx512cd": "avx512cd",
    "avx512dq": "avx512dq",
    "avx512vl": "avx512vl",
    "avx512ifma": "avx512ifma",
    "avx512vbmi": "avx512vbmi",
    "avx512_vbmi2": "avx512vbmi2",
    "avx512_vnni": "avx512vnni",
    "avx512_bitalg": "avx512bitalg",
    "avx512_vpopcntdq": "avx512vpopcntdq",
    "avx512_bf16": "avx512bf16",
    "avx512_fp16": "avx512fp16",
    "amx_tile": "amx-tile",
    "amx_int8": "amx-int8",
    "amx_bf16": "amx-bf16",
    "amx_fp16": "amx-fp16",
}
"""The kernel's flags that code generation uses, and LLVM's names for them."""

_AARCH64: Mapping[str, str] = {
    "asimd": "neon",
    "asimdhp": "fullfp16",
    "asimddp": "dotprod",
    "atomics": "lse",
    "bf16": "bf16",
    "i8mm": "i8mm",
}

_TABLES = {"x86-64": _X86_64, "aarch64": _AARCH64}

_V2 = frozenset({"sse3", "ssse3", "sse4.1", "sse4.2", "cx16", "popcnt"})
_V3 = _V2 | {"avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe"}
_V4 = _V3 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
_SAPPHIRE_RAPIDS = frozenset(_X86_64.values()) - {"amx-fp16"}


@dataclass(frozen=True)
class CpuFeatures:
    """A kind of processor: what it executes and how much its caches hold."""

    arch: str
    """`x86-64` or `aarch64`."""
    features: frozenset[str]
    """LLVM's names of the features it has, beyond those every processor of `arch` has."""
    cpu: str
    """LLVM's processor name, for the scheduling model."""
    l1_bytes: int = 32 << 10
    """First-level data cache of one core."""
    l2_bytes: int = 1 << 20
    """Second-level cache of one core."""

    @property
    def triple(self) -> str:
        """LLVM's target triple."""
        return (
            "x86_64-unknown-linux-gnu" if self.arch == "x86-64" else "aarch64-unknown-linux-gnu"
        )

    @property
    def feature_string(self) -> str:
        """LLVM's feature list: what is off before what is on, since turning one off takes along those above it."""
        known = set(_TABLES[self.arch].values())
        off = [f"-{name}" for name in sorted(known - self.features)]
        return ",".join(off + [f"+{name}" for name in sorted(self.features)])

    @property
    def required_flags(self) -> frozenset[str]:
        """What a machine's `runtime.host.host_flags()` must include to run this code."""
        return frozenset(
            flag for flag, name in _TABLES[self.arch].items() if name in self.features
        )

    @property
    def vector_bytes(self) -> int:
        """Bytes in the widest vector register: 64, 32 or 16."""
        if self.has_avx512:
            return 64
        return 32 if "avx" in self.features else 16

    @property
    def vector_registers(self) -> int:
        """How many vector registers there are."""
        return 32 if self.has_avx512 or self.arch == "aarch64" else 16

    @property
    def has_avx512(self) -> bool:
        """AVX-512 as in x86-64-v4: F, BW, CD, DQ and VL."""
        return self.features >= _V4 - _V3

    @property
    def has_avx2(self) -> bool:
        return "avx2" in self.features

    @property
    def has_fma(self) -> bool:
        """A fused multiply-add of vectors; part of the base on aarch64."""
        return "fma" in self.features or self.arch == "aarch64"

    @property
    def has_f16c(self) -> bool:
        """Conversion between f16 and f32 in vectors; part of the base on aarch64."""
        return "f16c" in self.features or self.arch == "aarch64"

    @property
    def has_avx512_bf16(self) -> bool:
        return "avx512bf16" in self.features

    @property
    def rounds_bf16(self) -> bool:
        """An instruction that rounds f32 to bf16."""
        return bool(self.features & {"avx512bf16", "bf16"})

    @property
    def has_avx512_fp16(self) -> bool:
        return "avx512fp16" in self.features

    @property
    def has_avx512_vnni(self) -> bool:
        return "avx512vnni" in self.features

    @property
    def has_avx_vnni(self) -> bool:
        return "avxvnni" in self.features

    @property
    def has_amx_bf16(self) -> bool:
        return self.features >= {"amx-tile", "amx-bf16"}

    @property
    def bf16_products(self) -> str:
        """How factors of bf16 are multiplied, in words."""
        if self.has_amx_bf16:
            return "multiplied in tiles (AMX): --precision bf16 pays"
        if self.has_avx512_bf16:
            return "multiplied in vectors (AVX512-BF16): --precision bf16 pays"
        return "converted to f32: --precision bf16 only saves memory"

    @property
    def has_amx_int8(self) -> bool:
        return self.features >= {"amx-tile", "amx-int8"}


_AVX512_MODEL = "sapphirerapids"
"""The scheduling model for all processors with AVX-512: with those of x86-64-v4, Ice Lake and
Zen 4 LLVM moves loads up so far that an accumulator of the 14 x 2 register tile is spilled."""

_CASCADE_LAKE = _V4 | {"avx512vnni"}
_ICE_LAKE = _CASCADE_LAKE | {
    "avx512ifma", "avx512vbmi", "avx512vbmi2", "avx512bitalg", "avx512vpopcntdq", "gfni",
}  # fmt: skip
_ZEN4 = _ICE_LAKE | {"avx512bf16", "prfchw"}
_ALDER_LAKE = _V3 | {"avxvnni", "gfni", "prfchw"}

_NAMED = {
    "x86-64": CpuFeatures("x86-64", frozenset(), "x86-64", 32 << 10, 256 << 10),
    "x86-64-v3": CpuFeatures("x86-64", _V3, "x86-64-v3", 32 << 10, 512 << 10),
    "x86-64-v4": CpuFeatures("x86-64", _V4, _AVX512_MODEL, 32 << 10, 1 << 20),
    "alderlake": CpuFeatures("x86-64", _ALDER_LAKE, "x86-64-v3", 32 << 10, 1 << 20),
    "cascadelake": CpuFeatures("x86-64", _CASCADE_LAKE, _AVX512_MODEL, 32 << 10, 1 << 20),
    "icelake-server": CpuFeatures("x86-64", _ICE_LAKE, _AVX512_MODEL, 48 << 10, 1280 << 10),
    "znver4": CpuFeatures("x86-64", _ZEN4, _AVX512_MODEL, 32 << 10, 1 << 20),
    "sapphirerapids": CpuFeatures("x86-64", _SAPPHIRE_RAPIDS, _AVX512_MODEL, 48 << 10, 2 << 20),
    "aarch64": CpuFeatures("aarch64", frozenset({"neon"}), "generic", 64 << 10, 1 << 20),
}

NAMES = ("native", *_NAMED)
"""What `named` accepts."""


def named(name: str) -> CpuFeatures:
    """The processor called `name`; `native` is this machine's."""
    if name == "native":
        return host()
    if name not in _NAMED:
        raise OptionError(f"unknown processor '{name}'; choose one of {', '.join(NAMES)}")
    return _NAMED[name]


@cache
def host() -> CpuFeatures:
    """This machine's processor."""
    arch = host_arch()
    if arch not in _TABLES:
        raise OptionError(
            f"no code generator for this machine's '{arch}' processor; "
            f"name the one to compile for: {', '.join(_NAMED)}"
        )
    l1, l2 = _cache_bytes(Path("/sys/devices/system/cpu/cpu0/cache"))
    return from_flags(arch, host_flags(), l1, l2)


def from_flags(
    arch: str, flags: frozenset[str], l1_bytes: int = 32 << 10, l2_bytes: int = 1 << 20
) -> CpuFeatures:
    """The processor of architecture `arch` whose kernel reports `flags`.

    AVX-512 counts only as a whole: without all of x86-64-v4, none of it is used.
    """
    features = frozenset(name for flag, name in _TABLES[arch].items() if flag in flags)
    if arch == "aarch64":
        return CpuFeatures(arch, features | {"neon"}, "generic", l1_bytes, l2_bytes)
    if not features >= _V4:
        features = frozenset(f for f in features if not f.startswith(("avx512", "amx")))
    return CpuFeatures(arch, features, _x86_model(features), l1_bytes, l2_bytes)


def _x86_model(features: frozenset[str]) -> str:
    if features >= _V4:
        return _AVX512_MODEL
    for name, level in (("x86-64-v3", _V3), ("x86-64-v2", _V2)):
        if features >= level:
            return name
    return "x86-64"


def _cache_bytes(folder: Path) -> tuple[int, int]:
    """Sizes of the data caches of levels 1 and 2 below `folder`, or usual ones where it says nothing."""
    sizes = {1: 32 << 10, 2: 1 << 20}
    for index in folder.glob("index*"):
        try:
            level = int((index / "level").read_text())
            kind = (index / "type").read_text().strip()
            size = (index / "size").read_text().strip()
        except (OSError, ValueError):
            continue
        if kind in ("Data", "Unified") and level in sizes and size[:-1].isdigit():
            sizes[level] = int(size[:-1]) << {"K": 10, "M": 20}.get(size[-1], 0)
    return sizes[1], sizes[2]
