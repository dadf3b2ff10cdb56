"""Loops that a processor runs at its highest rate, as LLVM IR: arithmetic and reads.

Arithmetic is independent multiply-adds in registers, for each element type by the widest
instruction that products of such elements could use: vectors of f32, and for bf16 and bytes
matrix tiles (AMX), else dot products of vectors, where the processor has them.
"""

from __future__ import annotations

from dataclasses import dataclass

from infini_ir.targets.cpu.features import CpuFeatures

CHAINS = 12
"""Independent sums: more than latency times units of any processor, fewer than registers."""


@dataclass(frozen=True)
class Peak:
    """A loop `name(out, count)`, or one that reads: `name(out, data, mask, count)`."""

    name: str
    text: str
    operations: int
    """Operations of one turn; a multiply-add counts two."""
    matrix: bool = False
    """On a unit of its own, beside the vectors'."""


def float_peak(features: CpuFeatures) -> Peak:
    """Multiply-adds of f32."""
    lanes = features.vector_bytes // 4
    vector = f"<{lanes} x float>"
    half = "splat (float 0.5)"
    body = [
        f"  %n{i} = call {vector} @llvm.fma.v{lanes}f32({vector} %s{i}, {vector} {half}, {vector} {half})"
        for i in range(CHAINS)
    ]
    declared = f"declare {vector} @llvm.fma.v{lanes}f32({vector}, {vector}, {vector})"
    text = "\n".join([declared, *_loop("peak_f32", "ptr %out, i64 %count", vector, body)])
    return Peak("peak_f32", text, CHAINS * lanes * 2)


def half_peak(features: CpuFeatures) -> Peak | None:
    """Products of bf16 added up in f32; None without instructions for them."""
    if features.has_amx_bf16:
        return _tiles("peak_bf16", "tdpbf16ps", 32)
    if not features.has_avx512_bf16:
        return None
    call = "<16 x float> @llvm.x86.avx512bf16.dpbf16ps.512"
    return _dots("peak_bf16", call, "<16 x float>", "<32 x bfloat>", 32)


def byte_peak(features: CpuFeatures) -> Peak | None:
    """Products of bytes added up in i32; None without instructions for them."""
    if features.has_amx_int8:
        return _tiles("peak_i8", "tdpbusd", 64)
    if features.has_avx512_vnni:
        call = "<16 x i32> @llvm.x86.avx512.vpdpbusd.512"
        return _dots("peak_i8", call, "<16 x i32>", "<64 x i8>", 64)
    if features.has_avx_vnni:
        call = "<8 x i32> @llvm.x86.avx512.vpdpbusd.256"
        return _dots("peak_i8", call, "<8 x i32>", "<32 x i8>", 32)
    return None


def reading(features: CpuFeatures) -> Peak:
    """`read(out, data, mask, count)`: `count` blocks of `CHAINS` vectors, round and round."""
    lanes = features.vector_bytes // 4
    vector = f"<{lanes} x float>"
    body = ["  %block = and i64 %i, %mask", f"  %at = mul i64 %block, {CHAINS}"]
    for i in range(CHAINS):
        body += [
            f"  %o{i} = add i64 %at, {i}",
            f"  %p{i} = getelementptr {vector}, ptr %data, i64 %o{i}",
            f"  %v{i} = load {vector}, ptr %p{i}, align 4",
            f"  %n{i} = fadd {vector} %s{i}, %v{i}",
        ]
    arguments = "ptr %out, ptr %data, i64 %mask, i64 %count"
    return Peak("read", "\n".join(_loop("read", arguments, vector, body)), 0)


def _dots(name: str, call: str, sums: str, pair: str, products: int) -> Peak:
    body = [f"  %n{i} = call {call}({sums} %s{i}, {pair} %a, {pair} %a)" for i in range(CHAINS)]
    load = [f"  %a = load {pair}, ptr %out, align 4"]
    declared = f"declare {call}({sums}, {pair}, {pair})"
    lines = _loop(name, "ptr %out, i64 %count", sums, body, load)
    return Peak(name, "\n".join([declared, *lines]), CHAINS * products * 2)


def _tiles(name: str, instruction: str, depth: int) -> Peak:
    """Four sums of 16 x 16 from two tiles each of rows and columns, as a product has them."""
    settings = [
        "  %config = alloca [64 x i8], align 64",
        "  call void @llvm.memset.p0.i64(ptr align 64 %config, i8 0, i64 64, i1 false)",
        "  store i8 1, ptr %config, align 64",
    ]
    for tile in range(8):
        settings += [
            f"  %c{tile} = getelementptr i8, ptr %config, i64 {16 + 2 * tile}",
            f"  store i16 64, ptr %c{tile}, align 2",
            f"  %r{tile} = getelementptr i8, ptr %config, i64 {48 + tile}",
            f"  store i8 16, ptr %r{tile}, align 1",
        ]
    settings += ["  call void @llvm.x86.ldtilecfg(ptr %config)"]
    settings += [f"  call void @llvm.x86.tilezero(i8 {tile})" for tile in range(8)]
    pairs = ((0, 4, 6), (1, 4, 7), (2, 5, 6), (3, 5, 7))
    steps = [
        f"  call void @llvm.x86.{instruction}(i8 {acc}, i8 {a}, i8 {b})" for acc, a, b in pairs
    ]
    lines = [
        "declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)",
        "declare void @llvm.x86.ldtilecfg(ptr)",
        "declare void @llvm.x86.tilerelease()",
        "declare void @llvm.x86.tilezero(i8 immarg)",
        f"declare void @llvm.x86.{instruction}(i8 immarg, i8 immarg, i8 immarg)",
        f"define void @{name}(ptr %out, i64 %count) {{",
        "entry:",
        *settings,
        "  br label %turn",
        "turn:",
        "  %i = phi i64 [0, %entry], [%next, %turn]",
        *steps,
        "  %next = add i64 %i, 1",
        "  %more = icmp slt i64 %next, %count",
        "  br i1 %more, label %turn, label %done",
        "done:",
        "  call void @llvm.x86.tilerelease()",
        "  ret void",
        "}",
    ]
    return Peak(name, "\n".join(lines), len(pairs) * 16 * 16 * depth * 2, matrix=True)


def _loop(
    name: str, arguments: str, vector: str, body: list[str], before: list[str] | None = None
) -> list[str]:
    """A function that carries the sums through `count` turns and stores their sum."""
    add = "fadd" if "float" in vector else "add"
    phis = [
        f"  %s{i} = phi {vector} [zeroinitializer, %entry], [%n{i}, %turn]"
        for i in range(CHAINS)
    ]
    total = [f"  %t0 = {add} {vector} %n0, %n1"]
    total += [f"  %t{i} = {add} {vector} %t{i - 1}, %n{i + 1}" for i in range(1, CHAINS - 1)]
    return [
        f"define void @{name}({arguments}) {{",
        "entry:",
        *(before or []),
        "  br label %turn",
        "turn:",
        "  %i = phi i64 [0, %entry], [%next, %turn]",
        *phis,
        *body,
        "  %next = add i64 %i, 1",
        "  %more = icmp slt i64 %next, %count",
        "  br i1 %more, label %turn, label %done",
        "done:",
        *total,
        f"  store {vector} %t{CHAINS - 2}, ptr %out, align 4",
        "  ret void",
        "}",
    ]
