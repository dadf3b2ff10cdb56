"""What differs between the vendors: compilers, headers, names, warps."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Vendor:
    """A vendor's dialect of CUDA C++ and its tools."""

    name: str
    title: str
    """The device, for the README."""
    suffix: str
    """Of the kernels' file."""
    warp: int
    """Lanes of a warp."""
    includes: tuple[str, ...]
    bf16: str
    """Its type of bfloat16 numbers."""
    api: str
    """What the names of the runtime's functions begin with."""
    runtime_header: str
    library: str
    """Of the runtime, to link with."""
    compiler: str
    """The compiler's command, for CMake; empty where CMake knows the language."""
    requirements: str
    shuffle: str = "__shfl_xor_sync(lanes, x, distance)"
    meet: str = "__syncwarp(lanes)"
    root: str = ""
    """Where its toolkit is by default."""
    blas: str = ""
    """Library of matrix products with the interface of cuBLAS; empty where none is used."""


_CUDA_INCLUDES = ("#include <cuda_bf16.h>", "#include <cuda_fp16.h>")

VENDORS = {
    vendor.name: vendor
    for vendor in (
        Vendor(
            "nvidia",
            "NVIDIA GPUs (CUDA C++)",
            "cu",
            32,
            _CUDA_INCLUDES,
            "__nv_bfloat16",
            "cuda",
            "cuda_runtime.h",
            "cudart",
            "",
            "The CUDA toolkit, 11.8 or later, and CMake 3.18 or later.",
            blas="cublas",
        ),
        Vendor(
            "iluvatar",
            "Iluvatar CoreX GPUs (CUDA C++)",
            "cu",
            64,
            _CUDA_INCLUDES,
            "__nv_bfloat16",
            "cuda",
            "cuda_runtime.h",
            "cudart",
            "clang++ -x ivcore --cuda-gpu-arch=ivcore20",
            "Iluvatar CoreX SDK: its `clang++`, CUDA headers and `libcudart` on the usual paths "
            "(`/usr/local/corex`).",
            root="/usr/local/corex",
            blas="cublas",
        ),
        Vendor(
            "metax",
            "MetaX GPUs (MACA C++)",
            "maca",
            64,
            ("#include <common/maca_bfloat16.h>", "#include <common/maca_fp16.h>"),
            "__maca_bfloat16",
            "mc",
            "mc_runtime.h",
            "mcruntime",
            "mxcc -x maca",
            "MetaX MACA SDK: `mxcc`, its headers and `libmcruntime` (`/opt/maca`).",
            root="/opt/maca",
        ),
        Vendor(
            "moore",
            "Moore Threads GPUs (MUSA C++)",
            "mu",
            32,
            ("#include <musa_bf16.h>", "#include <musa_fp16.h>"),
            "__mt_bfloat16",
            "musa",
            "musa_runtime.h",
            "musart",
            "mcc --cuda-gpu-arch=mp_31",
            "Moore Threads MUSA toolkit: `mcc`, its headers and `libmusart` (`/usr/local/musa`).",
            root="/usr/local/musa",
        ),
        Vendor(
            "hygon",
            "Hygon DCUs (CUDA C++)",
            "cu",
            64,
            _CUDA_INCLUDES,
            "__nv_bfloat16",
            "cuda",
            "cuda_runtime.h",
            "cudart",
            "nvcc -x cu",
            "Hygon DTK with its CUDA compatibility layer: its `nvcc`, headers and `libcudart` "
            "(`/opt/dtk/cuda`).",
            root="/opt/dtk/cuda",
            shuffle="__shfl_xor(x, distance)",
            meet="__threadfence_block()",
            blas="cublas",
        ),
    )
}
"""By the architecture's name; the first is the default."""


def vendor_header(vendor: Vendor) -> str:
    """`vendor.h`: what the prelude needs to be told."""
    mask = "unsigned" if vendor.warp == 32 else "unsigned long long"
    lanes = "(void)lanes;\n  " if "lanes" not in vendor.shuffle else ""
    waits = "(void)lanes;\n  " if "lanes" not in vendor.meet else ""
    # A model, or another card of the vendor, may have the other warp.
    return f"""// {vendor.title}: headers, names and warps.
#pragma once

#include <{vendor.runtime_header}>
{chr(10).join(vendor.includes)}

#ifndef VENDOR_WARP
#define VENDOR_WARP {vendor.warp}
using lane_mask_t = {mask};
#endif

using half_t = __half;
using bf16_t = {vendor.bf16};
using stream_t = {vendor.api}Stream_t;

// Another lane's value: the one whose number differs in the bits of `distance`.
template <typename T>
__device__ __forceinline__ T vendor_shuffle_xor(lane_mask_t lanes, T x, int distance) {{
  {lanes}return {vendor.shuffle};
}}

__device__ __forceinline__ void vendor_meet_lanes(lane_mask_t lanes) {{
  {waits}{vendor.meet};
}}
"""
