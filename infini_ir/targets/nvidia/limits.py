"""What NVIDIA's architectures have: the numbers that plans are made from.

Sizes are from the table of technical specifications by compute capability in NVIDIA's CUDA
programming guide; counts of multiprocessors, bandwidths and peaks (dense, in f16 with f32
sums) from NVIDIA's architecture papers and data sheets of the boards that are named.
"""

from __future__ import annotations

from dataclasses import dataclass

from infini_ir.utils.errors import OptionError


@dataclass(frozen=True)
class Limits:
    """One architecture, as a typical board has it."""

    architecture: str
    board: str
    multiprocessors: int
    shared_bytes: int
    """Shared memory that one block may have."""
    shared_bytes_multiprocessor: int
    threads: int
    """Threads that a multiprocessor holds."""
    bandwidth: float
    """Bytes a second from memory."""
    cache_bytes: int
    """L2 cache."""
    peak_f16: float
    """Operations a second of products, by the type of the operands."""
    peak_tf32: float
    peak_f32: float
    peak_f64: float
    wide_products: bool
    """Whether four warps do products together from shared memory (wgmma, tcgen05)."""
    registers: int = 65536
    """32-bit registers of a multiprocessor."""
    registers_thread: int = 255
    max_warps: int = 32
    """Warps of one block."""

    @property
    def cache_bandwidth(self) -> float:
        """Bytes a second from the L2 cache, about."""
        return 64 * 1.5e9 * self.multiprocessors

    def peak(self, dtype: str, precision: str) -> float:
        """Operations a second of a product of such operands."""
        if dtype in ("f16", "bf16"):
            return self.peak_f16
        if dtype == "i8":
            return 2 * self.peak_f16
        if dtype == "f64":
            return self.peak_f64
        return {"tf32": self.peak_tf32, "tf32x3": self.peak_tf32 / 3}.get(
            precision, self.peak_f32
        )


KIB = 1024

ARCHITECTURES = {
    limits.architecture: limits
    for limits in (
        Limits("sm_80", "A100", 108, 163 * KIB, 164 * KIB, 2048, 2.0e12, 40 << 20, 312e12,
               156e12, 19.5e12, 19.5e12, wide_products=False),
        Limits("sm_89", "L40S", 142, 99 * KIB, 100 * KIB, 1536, 0.86e12, 96 << 20, 362e12,
               183e12, 91.6e12, 1.4e12, wide_products=False),
        Limits("sm_90", "H100", 132, 227 * KIB, 228 * KIB, 2048, 3.35e12, 50 << 20, 989e12,
               494e12, 67e12, 67e12, wide_products=True),
        Limits("sm_100", "B200", 148, 227 * KIB, 228 * KIB, 2048, 8.0e12, 126 << 20, 2250e12,
               1125e12, 75e12, 37e12, wide_products=True),
    )
}  # fmt: skip
"""The architectures that can be compiled for."""


def limits_of(architecture: str) -> Limits:
    """The limits of an architecture; empty names the default."""
    name = architecture or "sm_90"
    if name not in ARCHITECTURES:
        raise OptionError(
            f"unknown NVIDIA architecture '{name}'; there are: {', '.join(ARCHITECTURES)}"
        )
    return ARCHITECTURES[name]
