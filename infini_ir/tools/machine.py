"""What this machine can do at most: arithmetic and memory traffic, measured once and kept.

The numbers are limits to compare kernels with: loops of independent multiply-adds in
registers, and sums over memory that a core's first cache holds, its second, and none.
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from infini_ir.tools.work import BYTE, FLOAT, HALF

_ROUNDS = 24
_ROUND_SECONDS = 0.02
_MEMORY_BYTES = 64 << 20
"""What each thread reads over and over; larger than its share of any last-level cache."""
_READ_BYTES = 512 << 20
"""Read by each thread in a run, which takes up to 20 ms."""


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
    rates: Mapping[str, float] = field(default_factory=dict)
    """Operations a second in products of other elements (`bf16`, `i8`), where the processor
    has instructions for them."""
    matrix: tuple[str, ...] = ()
    """Those that a unit beside the vectors' does."""

    def rate(self, kind: str) -> float:
        """Operations a second of a class of arithmetic (`tools.work`)."""
        return self.rates.get(kind, self.flops)

    def computing(self, work: Mapping[str, float]) -> tuple[float, str]:
        """The least time of arithmetic, and the class that takes most of it."""
        times = {kind: amount / self.rate(kind) for kind, amount in work.items()}
        if not times:
            return 0.0, "compute"
        vectors = sum(t for kind, t in times.items() if kind not in self.matrix)
        tiles = sum(t for kind, t in times.items() if kind in self.matrix)
        most = max(times, key=lambda kind: times[kind])
        return max(vectors, tiles), "compute" if most == FLOAT else f"{most} compute"

    def moving(self, traffic: float, l1_miss: float, l2_miss: float) -> tuple[float, str]:
        """The least time of `traffic` bytes of which so many are not in the first, and not in
        the second caches."""
        times = [(l2_miss / self.memory, "memory")]
        if self.l2_bytes:
            times.append((l1_miss / self.l2, "L2"))
        if self.l1_bytes:
            times.append((traffic / self.l1, "L1"))
        return max(times)

    def worth(self, traffic: float) -> float:
        """The time that bytes take from the smallest cache that could hold them all, or from
        memory; negative for traffic that is negative."""
        amount = abs(traffic)
        in_l1, in_l2 = amount <= self.l1_bytes, amount <= self.l2_bytes
        missing = (0.0 if in_l1 else amount, 0.0 if in_l2 else amount)
        return math.copysign(self.moving(amount, *missing)[0], traffic)

    def best(self, other: Machine) -> Machine:
        """The higher of each limit, of two measurements of one machine."""
        rates = {k: max(self.rate(k), other.rate(k)) for k in self.rates}
        speeds = {
            name: max(getattr(self, name), getattr(other, name))
            for name in ("flops", "memory", "l1", "l2")
        }
        return replace(self, rates=rates, **speeds)

    def part(self) -> Machine:
        """One thread of it: a core has its share of everything but the way to memory."""
        n = self.threads
        rates = {kind: rate / n for kind, rate in self.rates.items()}
        return Machine(
            1,
            self.flops / n,
            self.memory,
            self.l1 / n,
            self.l1_bytes // n,
            self.l2 / n,
            self.l2_bytes // n,
            rates,
            self.matrix,
        )


def known_machine(threads: int, *, again: bool = False) -> Machine:
    """The limits as kept in the cache folder, measured where they are not there, or `again`.

    Of several measurements the best counts, limit by limit: whatever else runs on a machine
    only takes away from it.
    """
    from infini_ir.utils.entry_folder import cache_folder
    from infini_ir.utils.object_cache import ObjectCache

    path = cache_folder() / "machine.json"
    key = ObjectCache.key(*_identity(threads))[:16]
    kept: dict[str, Any] = {}
    known: Machine | None = None
    try:
        kept = json.loads(path.read_text())
        known = _read(kept[key])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    if known is not None and not again:
        return known
    machine = measure(threads)
    if known is not None:
        machine = machine.best(known)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps({**kept, key: asdict(machine)}))
        os.replace(temporary, path)
    except (OSError, TypeError):
        return machine  # it is measured again next time
    return machine


def _read(data: Mapping[str, Any]) -> Machine:
    return Machine(**{**data, "matrix": tuple(data["matrix"])})


def _identity(threads: int) -> tuple[str, ...]:
    from infini_ir.runtime.host import cpu_count_available, host_flags

    return ("6", str(threads), str(cpu_count_available()), " ".join(sorted(host_flags())))


def measure(threads: int) -> Machine:
    """Measure the limits of `threads` threads; about a second."""
    with Probes(threads) as probes:
        rates = {kind: _rate(probes.computing(kind)) for kind in probes.peaks}
        l1, l2, memory = (_rate(probes.reading(level)) for level in LEVELS)
    features = probes.features
    return Machine(
        threads,
        rates.pop(FLOAT),
        memory,
        l1,
        threads * features.l1_bytes,
        l2,
        threads * features.l2_bytes,
        rates,
        tuple(kind for kind in rates if probes.peaks[kind].matrix),
    )


LEVELS = ("L1", "L2", "memory")
"""Where bytes are read from, as `Machine.moving` calls them."""


@dataclass(frozen=True)
class Probe:
    """A loop that one limit alone bounds, in all threads."""

    run: Callable[[], None]
    amount: float
    """Operations or bytes of a run, of all threads."""


class Probes:
    """The loops that find the limits of a number of threads. A run takes 20 ms."""

    def __init__(self, threads: int) -> None:
        from infini_ir.targets.cpu.features import host
        from infini_ir.tools.peaks import byte_peak, float_peak, half_peak

        self.threads = threads
        self.features = features = host()
        self.peaks = {FLOAT: float_peak(features)}
        if may_use_tiles() or not features.has_amx_bf16:
            found = {HALF: half_peak(features), BYTE: byte_peak(features)}
            self.peaks |= {kind: peak for kind, peak in found.items() if peak is not None}
        peaks = self.peaks.values()
        self._functions = _functions([p.name for p in peaks], [p.text for p in peaks])
        self._pool = ThreadPoolExecutor(threads)
        self._out = np.zeros((threads, 64), np.float32)
        self._made: dict[str, Probe] = {}

    def __enter__(self) -> Probes:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def of(self, limit: str, footprint: float) -> Probe:
        """The loop of a limit, by the name that `Machine.computing` and `moving` give it; for
        memory over so many bytes of all threads, some of which caches that processors share
        may hold."""
        if limit == "memory":
            return self.reading(limit, int(footprint) // self.threads)
        if limit not in self._made:
            kind = limit.removesuffix("compute").strip() or FLOAT
            found = self.reading(limit) if limit in LEVELS else self.computing(kind)
            self._made[limit] = found
        return self._made[limit]

    def computing(self, kind: str) -> Probe:
        """Multiply-adds of a class of arithmetic (`tools.work`), in registers; of f32 where the
        processor has none for it."""
        peak = self.peaks.get(kind, self.peaks[FLOAT])
        run = self._functions[peak.name]
        count = _turns(lambda turns: run(self._out[0].ctypes.data, turns))
        return self._probe(
            lambda thread: run(self._out[thread].ctypes.data, count), count * peak.operations
        )

    def reading(self, level: str, size: int = _MEMORY_BYTES) -> Probe:
        """Sums of memory, read over and over, that each thread's caches of that level hold, or
        of so many bytes, from the first to the last."""
        from infini_ir.runtime.memory import anonymous
        from infini_ir.tools.peaks import CHAINS

        features, read = self.features, self._functions["read"]
        block = CHAINS * features.vector_bytes
        held = {"L1": features.l1_bytes * 3 // 4, "L2": features.l2_bytes // 2}.get(level)
        blocks = max(1, (held or size) // block)
        mask, turns = -1, blocks  # all of it in order
        if held:
            # Too short for a call: it goes round where the number of blocks is a power of 2.
            blocks = 1 << (blocks.bit_length() - 1)
            mask, turns = blocks - 1, _READ_BYTES // block
        calls = max(1, _READ_BYTES // (turns * block))
        data = [anonymous(blocks * block) for _ in range(self.threads)]
        for memory in data:
            memory.fill(0)

        def work(thread: int) -> None:
            out, memory = self._out[thread].ctypes.data, data[thread].ctypes.data
            for _ in range(calls):
                read(out, memory, mask, turns)

        return self._probe(work, calls * turns * block)

    def _probe(self, work: Callable[[int], None], amount: float) -> Probe:
        """The same in every thread; `amount` of each."""

        def run() -> None:
            for _ in self._pool.map(work, range(self.threads)):
                pass

        return Probe(run, self.threads * float(amount))


def may_use_tiles() -> bool:
    """Whether the system lets this process use matrix tiles (AMX); Linux wants to be asked."""
    arch_prctl, ask, tiles = 158, 0x1023, 18
    return ctypes.CDLL(None, use_errno=True).syscall(arch_prctl, ask, tiles) == 0


def _turns(run: Callable[[int], Any]) -> int:
    """How many turns take about a round."""
    turns = 1000
    while True:
        begin = time.perf_counter()
        run(turns)
        taken = time.perf_counter() - begin
        if taken >= _ROUND_SECONDS / 4:
            return max(1, int(turns * _ROUND_SECONDS / taken))
        turns *= 4


def _rate(probe: Probe) -> float:
    """The best of some rounds: what all threads do together in a second."""
    best = 0.0
    for _ in range(_ROUNDS):
        begin = time.perf_counter()
        probe.run()
        best = max(best, probe.amount / (time.perf_counter() - begin))
    return best


def _functions(names: list[str], texts: list[str]) -> dict[str, Any]:
    """The loops, compiled: `name(out, count)` and `read(out, data, mask, count)`."""
    from infini_ir.runtime.image import Image
    from infini_ir.targets.cpu.features import host
    from infini_ir.targets.cpu.image.linker import link
    from infini_ir.targets.cpu.llvm.toolchain import compile_ir
    from infini_ir.tools.peaks import reading

    objects = [compile_ir(text, host()) for text in [*texts, reading(host()).text]]
    linked = link(objects)
    image = Image.from_bytes(linked.code)
    pointer, word = ctypes.c_void_p, ctypes.c_int64
    found: dict[str, Any] = {
        name: image.function(linked.entries[name], None, pointer, word) for name in names
    }
    found["read"] = image.function(linked.entries["read"], None, pointer, pointer, word, word)
    return found
