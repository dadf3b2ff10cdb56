"""What a compiled kernel uses, read from its machine code: registers, memory, instructions.

Good code shows: products on tensor cores, tiles staged by asynchronous copies, 16 bytes an
access, nothing spilled to the stack. `infini explain` prints these, tests demand them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from infini_ir.targets.nvidia.toolchain import CompiledKernel, Usage, dump, usage_of

_INSTRUCTION = re.compile(r"^\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_.]*)")

_TENSOR = ("HMMA", "IMMA", "DMMA", "HGMMA", "IGMMA", "QGMMA", "UTCHMMA", "UTCIMMA", "UTCQMMA")
"""Products on tensor cores: of a warp, of a warp group (9.0), with tensor memory (10.0)."""
_ASYNC = ("LDGSTS",)
"""`cp.async`: from global to shared memory without registers."""
_BULK = ("UTMALDG", "UBLKCP")
"""The bulk copy engine (TMA)."""


@dataclass(frozen=True)
class Resources:
    """What one kernel uses."""

    kernel: str
    registers: int
    """Of each thread."""
    threads: int
    shared: int
    """Bytes of shared memory of a block, both kinds."""
    scratch: int
    """Bytes of global memory that each program wants."""
    stack: int
    """Bytes of each thread's stack."""
    spills: int
    """Loads and stores of local memory."""
    instructions: int
    tensor: int
    """Instructions on tensor cores."""
    async_copies: int
    bulk_copies: int
    loads: int
    """Loads and asynchronous copies from global memory."""
    wide_loads: int
    """Those of 16 bytes a thread, and bulk copies."""
    stores: int
    wide_stores: int

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def kernel_resources(kernel: CompiledKernel) -> Resources:
    """Read a kernel's machine code, with the tool that comes with Triton."""
    usage = usage_of(kernel.cubin, kernel.name)
    return _count(kernel, usage, opcodes(sass(kernel)))


def resources(kernels: Sequence[CompiledKernel]) -> list[dict[str, Any]]:
    """What each kernel uses, as plain data, in order."""
    return [kernel_resources(kernel).to_dict() for kernel in kernels]


def sass(kernel: CompiledKernel) -> str:
    """The machine code of a kernel as text."""
    return dump(kernel.cubin, kernel.name, "-sass")


def opcodes(sass: str) -> Counter[str]:
    """How often each instruction, with its modifiers, is in a text of machine code."""
    lines = (_INSTRUCTION.match(line) for line in sass.splitlines())
    return Counter(found.group(1) for found in lines if found is not None)


def _count(kernel: CompiledKernel, usage: Usage, found: Counter[str]) -> Resources:
    def of(*names: str, wide: bool = False) -> int:
        return sum(
            count
            for opcode, count in found.items()
            if (parts := opcode.split("."))[0] in names and (not wide or "128" in parts)
        )

    bulk = of(*_BULK)
    return Resources(
        kernel=kernel.name,
        registers=usage.registers,
        threads=kernel.threads,
        shared=usage.shared + kernel.shared,
        scratch=kernel.scratch,
        stack=usage.stack,
        spills=of("LDL", "STL"),
        instructions=sum(found.values()),
        tensor=of(*_TENSOR),
        async_copies=of(*_ASYNC),
        bulk_copies=bulk,
        loads=of("LDG", *_ASYNC) + bulk,
        wide_loads=of("LDG", *_ASYNC, wide=True) + bulk,
        stores=of("STG", "UTMASTG"),
        wide_stores=of("STG", wide=True) + of("UTMASTG"),
    )
