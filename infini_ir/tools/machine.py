"""What this machine can do at most: arithmetic and memory traffic, measured once and kept.

The numbers are limits to compare kernels with: a loop of independent multiply-adds in
registers, and sums over memory that a core's first cache holds, its second, and none.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

_CHAINS = 12
"""Independent sums: more than latency times units of any processor, fewer than registers."""
_ROUNDS = 8
_MEMORY_BYTES = 64 << 20
"""Read by each thread; larger than its share of any last-level cache."""


@dataclass(frozen=True)
class Machine:
    """Limits of a number of threads."""

    threads: int
    flops: float
    """f32 operations a second; a multiply-add counts two."""
    memory: float
    """Bytes a second read from memory."""
    l1: float = 0.0
    """Bytes a second read from the first-level caches."""
    l1_bytes: int = 0
    """What the threads' first-level caches hold."""
    l2: float = 0.0
    l2_bytes: int = 0

    def seconds(
        self, operations: float, traffic: float, *, serial: bool = False
    ) -> tuple[float, str]:
        """The least time for a kernel, and what sets it: `compute`, `L1`, `L2` or `memory`.

        `serial`: on one of the threads.
        """
        part = self.threads if serial else 1
        computing = operations / self.flops * part
        if traffic <= self.l1_bytes // part:
            moving, place = traffic / self.l1 * part, "L1"
        elif traffic <= self.l2_bytes // part:
            moving, place = traffic / self.l2 * part, "L2"
        else:
            moving, place = traffic / self.memory, "memory"
        return (computing, "compute") if computing >= moving else (moving, place)


def known_machine(threads: int) -> Machine:
    """The limits as kept in the cache folder, measured where they are not there."""
    from infini_ir.utils.object_cache import ObjectCache, cache_folder

    path = cache_folder() / "machine.json"
    key = ObjectCache.key(*_identity(threads))[:16]
    try:
        kept: dict[str, Any] = json.loads(path.read_text())
        return Machine(**kept[key])
    except (OSError, ValueError, KeyError, TypeError):
        kept = {}
    machine = measure(threads)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps({**kept, key: asdict(machine)}))
        os.replace(temporary, path)
    except OSError:
        return machine  # it is measured again next time
    return machine


def _identity(threads: int) -> tuple[str, ...]:
    from infini_ir.runtime.host import cpu_count_available, host_flags

    return ("3", str(threads), str(cpu_count_available()), " ".join(sorted(host_flags())))


def measure(threads: int) -> Machine:
    """Measure the limits of `threads` threads; about a second."""
    from infini_ir.targets.cpu.features import host

    features = host()
    lanes = features.vector_bytes // 4
    multiply, read = _functions(lanes)
    out = np.zeros((threads, 64), np.float32)

    def compute(thread: int) -> float:
        count = 500_000
        multiply(out[thread].ctypes.data, count)
        return float(count * _CHAINS * lanes * 2)

    def reader(size: int) -> Callable[[int], float]:
        """Reads `size` bytes of memory over and over, in blocks whose number is a power of 2."""
        block = _CHAINS * features.vector_bytes
        blocks = 1 << max(0, (size // block).bit_length() - 1)
        turns = max(blocks, _MEMORY_BYTES // block)
        data = np.ones((threads, blocks * block // 4), np.float32)

        def work(thread: int) -> float:
            read(out[thread].ctypes.data, data[thread].ctypes.data, blocks - 1, turns)
            return float(turns * block)

        return work

    with ThreadPoolExecutor(threads) as pool:
        flops = _rate(pool, threads, compute)
        sizes = (features.l1_bytes * 3 // 4, features.l2_bytes // 2, _MEMORY_BYTES)
        rates = [_rate(pool, threads, reader(size)) for size in sizes]
    l1, l2, memory = rates
    return Machine(
        threads, flops, memory, l1, threads * features.l1_bytes, l2, threads * features.l2_bytes
    )


def _rate(pool: ThreadPoolExecutor, threads: int, work: Callable[[int], float]) -> float:
    """The best of some rounds: what all threads do together in a second."""
    best = 0.0
    for _ in range(_ROUNDS):
        begin = time.perf_counter()
        done = sum(pool.map(work, range(threads)))
        best = max(best, done / (time.perf_counter() - begin))
    return best


def _functions(lanes: int) -> tuple[Any, Any]:
    """`multiply(out, count)` and `read(out, data, mask, count)`, compiled."""
    import ctypes

    from infini_ir.runtime.image import Image
    from infini_ir.targets.cpu.features import host
    from infini_ir.targets.cpu.linker import link
    from infini_ir.targets.cpu.toolchain import compile_ir

    linked = link(compile_ir(_kernel_text(lanes), host()))
    image = Image.from_bytes(linked.code)
    pointer, word = ctypes.c_void_p, ctypes.c_int64
    return (
        image.function(linked.entries["multiply"], None, pointer, word),
        image.function(linked.entries["read"], None, pointer, pointer, word, word),
    )


def _kernel_text(lanes: int) -> str:
    vector = f"<{lanes} x float>"
    half = "splat (float 0.5)"
    multiply = [
        f"  %n{i} = call {vector} @llvm.fma.v{lanes}f32({vector} %s{i}, {vector} {half}, {vector} {half})"
        for i in range(_CHAINS)
    ]
    read = ["  %block = and i64 %i, %mask", f"  %at = mul i64 %block, {_CHAINS}"]
    for i in range(_CHAINS):
        read += [
            f"  %o{i} = add i64 %at, {i}",
            f"  %p{i} = getelementptr {vector}, ptr %data, i64 %o{i}",
            f"  %v{i} = load {vector}, ptr %p{i}, align 4",
            f"  %n{i} = fadd {vector} %s{i}, %v{i}",
        ]
    return "\n".join(
        [
            f"declare {vector} @llvm.fma.v{lanes}f32({vector}, {vector}, {vector})",
            *_loop("multiply", "ptr %out, i64 %count", vector, multiply),
            *_loop("read", "ptr %out, ptr %data, i64 %mask, i64 %count", vector, read),
        ]
    )


def _loop(name: str, arguments: str, vector: str, body: list[str]) -> list[str]:
    """A function that carries the sums through `count` turns and stores their sum."""
    phis = [
        f"  %s{i} = phi {vector} [zeroinitializer, %entry], [%n{i}, %turn]"
        for i in range(_CHAINS)
    ]
    total = ["  %t0 = fadd " + vector + " %n0, %n1"]
    total += [f"  %t{i} = fadd {vector} %t{i - 1}, %n{i + 1}" for i in range(1, _CHAINS - 1)]
    return [
        f"define void @{name}({arguments}) {{",
        "entry:",
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
        f"  store {vector} %t{_CHAINS - 2}, ptr %out, align 4",
        "  ret void",
        "}",
    ]
