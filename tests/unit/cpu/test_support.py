"""The pool, the barrier and the memory functions, run for real."""

import ctypes
import mmap
import struct
import threading
import time

import numpy as np
import pytest

from infini_ir.runtime.image import Image
from infini_ir.targets.cpu.features import NAMES, host, named
from infini_ir.targets.cpu.image.linker import link
from infini_ir.targets.cpu.image.support import DECLARATIONS, ENTRIES, POOL_BYTES, support_ir
from infini_ir.targets.cpu.llvm import toolchain

ROUNDS = 6

# Inputs is an array of one i64 a worker. In each round every worker adds one to its own, meets
# the others, checks that all of them got as far, and meets them again. status counts failures.
MAIN = f"""
{DECLARATIONS}
define void @infini_main(ptr %context, i64 %worker) {{
entry:
  %counts = load ptr, ptr %context
  %workers.at = getelementptr i64, ptr %context, i64 5
  %workers = load i64, ptr %workers.at
  %status = getelementptr i64, ptr %context, i64 8
  %mine = getelementptr i64, ptr %counts, i64 %worker
  br label %round
round:
  %r = phi i64 [ 0, %entry ], [ %r.next, %after ]
  %old = load i64, ptr %mine
  %new = add i64 %old, 1
  store i64 %new, ptr %mine
  call void @infini_barrier(ptr %context)
  br label %check
check:
  %i = phi i64 [ 0, %round ], [ %i.next, %check ]
  %at = getelementptr i64, ptr %counts, i64 %i
  %count = load i64, ptr %at
  %wrong = icmp ne i64 %count, %new
  %one = zext i1 %wrong to i64
  %unused = atomicrmw add ptr %status, i64 %one monotonic
  %i.next = add i64 %i, 1
  %more = icmp ult i64 %i.next, %workers
  br i1 %more, label %check, label %after
after:
  call void @infini_barrier(ptr %context)
  %r.next = add i64 %r, 1
  %again = icmp ult i64 %r.next, {ROUNDS}
  br i1 %again, label %round, label %done
done:
  ret void
}}
define ptr @allocate(ptr %context, i64 %bytes) {{
  %p = call ptr @infini_allocate(ptr %context, i64 %bytes)
  ret ptr %p
}}
declare ptr @memcpy(ptr, ptr, i64)
declare ptr @memmove(ptr, ptr, i64)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
define void @copy(ptr %a, ptr %b, i64 %n) {{
  %r = call ptr @memcpy(ptr %a, ptr %b, i64 %n)
  ret void
}}
define void @move(ptr %a, ptr %b, i64 %n) {{
  %r = call ptr @memmove(ptr %a, ptr %b, i64 %n)
  ret void
}}
define void @fill(ptr %a, i8 %b, i64 %n) {{
  call void @llvm.memset.p0.i64(ptr %a, i8 %b, i64 %n, i1 false)
  ret void
}}
"""


class Program:
    """The linked test program and its functions."""

    def __init__(self):
        objects = toolchain.compile_modules([MAIN, support_ir(host())], host())
        linked = link(objects)
        self.image = Image.from_bytes(linked.code).keep()
        self.entries = linked.entries
        pointer, i64 = ctypes.c_void_p, ctypes.c_int64
        self.run = self.function("infini_run", i64, pointer, pointer, pointer, i64)
        self.worker = self.function("infini_worker", None, pointer, i64)
        self.stop = self.function("infini_stop", None, pointer)
        self.release = self.function("infini_release", None, pointer)
        self.main = self.image.address(linked.entries["infini_main"])

    def function(self, name, *types):
        return self.image.function(self.entries[name], *types)


@pytest.fixture(scope="module")
def program():
    return Program()


class Aligned:
    """Zeroed, page-aligned memory."""

    def __init__(self, size):
        self.memory = mmap.mmap(-1, size)
        self.words = np.frombuffer(self.memory, np.int64)
        self.address = self.words.ctypes.data


class Pool:
    def __init__(self, program, size, late=0.0):
        self.program = program
        self.state = Aligned(4096)
        self.address = self.state.address
        assert not self.state.memory[POOL_BYTES:].strip(b"\0")
        self.late = late
        self.threads = [threading.Thread(target=self._serve, args=(i,)) for i in range(1, size)]
        for thread in self.threads:
            thread.daemon = True
            thread.start()

    def _serve(self, worker):
        time.sleep(self.late)
        self.program.worker(self.address, worker)

    def close(self):
        self.program.stop(self.address)
        for thread in self.threads:
            thread.join(10)
            assert not thread.is_alive()


class Context:
    def __init__(self, workers, counts):
        self.fields = Aligned(4096)
        self.barrier = Aligned(4096)
        self.counts = counts
        self.fields.words[0] = counts.ctypes.data
        self.fields.words[5] = workers
        self.fields.words[6] = self.barrier.address
        self.address = self.fields.address


def run_job(program, pool, workers, counts):
    context = Context(workers, counts)
    address = pool.address if pool else None
    return program.run(address, context.address, program.main, workers)


def test_one_worker_needs_no_pool(program):
    counts = np.zeros(1, np.int64)
    assert run_job(program, None, 1, counts) == 0
    assert counts[0] == ROUNDS


@pytest.mark.parametrize("size", [2, 3, 4])
def test_many_jobs_of_changing_width(program, size):
    pool = Pool(program, size)
    counts = np.zeros(size, np.int64)
    contexts = [None] + [Context(w, counts) for w in range(1, size + 1)]
    expected = 0
    jobs = 3000 if size == 2 else 400
    for job in range(jobs):
        workers = 2 + job * 7 % (size - 1) if size > 2 else 1 + (job % 5 != 0)
        counts[:] = job
        context = contexts[workers]
        assert program.run(pool.address, context.address, program.main, workers) == 0
        expected = job + ROUNDS
        assert (counts[:workers] == expected).all()
        assert (counts[workers:] == job).all()
    pool.close()


def test_parked_workers_wake(program):
    pool = Pool(program, 3)
    counts = np.zeros(3, np.int64)
    for round_ in range(1, 30):
        time.sleep(0.004)
        workers = 2 + round_ % 2
        counts[:] = 0
        assert run_job(program, pool, workers, counts) == 0
        assert (counts[:workers] == ROUNDS).all()
    pool.close()


def test_parked_workers_use_no_time(program):
    pool = Pool(program, 3)
    time.sleep(0.02)
    before = time.process_time()
    time.sleep(0.1)
    assert time.process_time() - before < 0.02
    parked = struct.unpack_from("<i", pool.state.memory, 64)[0]
    assert parked == 2
    pool.close()


def test_workers_that_start_late(program):
    pool = Pool(program, 3, late=0.03)
    counts = np.zeros(3, np.int64)
    assert run_job(program, pool, 3, counts) == 0
    assert (counts == ROUNDS).all()
    pool.close()


def test_stop_before_the_workers_start(program):
    pool = Pool(program, 2, late=0.02)
    pool.close()


def test_blocks(program):
    libc = ctypes.CDLL(None)
    taken = set()

    @ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_size_t)
    def malloc(size):
        libc.malloc.restype = ctypes.c_void_p
        address = libc.malloc(ctypes.c_size_t(size)) if size < 1 << 40 else None
        if address:
            taken.add(address)
        return address

    @ctypes.CFUNCTYPE(None, ctypes.c_void_p)
    def free(address):
        taken.remove(address)
        libc.free(ctypes.c_void_p(address))

    functions = (ctypes.c_void_p * 2)(
        ctypes.cast(malloc, ctypes.c_void_p), ctypes.cast(free, ctypes.c_void_p)
    )
    context = Context(1, np.zeros(1, np.int64))
    context.fields.words[7] = ctypes.addressof(functions)
    allocate = program.function("allocate", ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
    for size in (0, 1, 63, 64, 1000):
        address = allocate(context.address, size)
        assert address % 64 == 0
        ctypes.memset(address, 0xFF, size)
    assert len(taken) == 5
    assert allocate(context.address, 1 << 50) is None
    program.release(context.address)
    assert not taken
    assert context.fields.words[11] == 0
    program.release(context.address)


def test_memory_functions(program):
    pointer, i64 = ctypes.c_void_p, ctypes.c_int64
    copy = program.function("copy", None, pointer, pointer, i64)
    move = program.function("move", None, pointer, pointer, i64)
    fill = program.function("fill", None, pointer, ctypes.c_int8, i64)
    rng = np.random.default_rng(0)
    for size in (0, 1, 31, 32, 33, 64, 100, 257):
        source = rng.integers(0, 256, 400, np.uint8)
        target = np.zeros(400, np.uint8)
        copy(target.ctypes.data + 3, source.ctypes.data + 5, size)
        assert (target[3 : 3 + size] == source[5 : 5 + size]).all()
        assert not target[3 + size :].any() and not target[:3].any()
        fill(target.ctypes.data + 1, -7, size)
        assert (target[1 : 1 + size] == 249).all()
        for start, end in ((0, 7), (7, 0), (40, 3), (3, 40)):
            moved, wanted = source.copy(), source.copy()
            wanted[end : end + size] = source[start : start + size]
            move(moved.ctypes.data + end, moved.ctypes.data + start, size)
            assert (moved == wanted).all()


@pytest.mark.parametrize("name", NAMES)
def test_compiles_for_every_processor(name):
    features = named(name)
    built = toolchain.compile_ir(support_ir(features), features)
    machine = struct.unpack_from("<H", built, 18)[0]
    assert machine == (183 if features.arch == "aarch64" else 62)
    assert set(link(built).entries) == set(ENTRIES)


def test_system_call_of_aarch64():
    features = named("aarch64")
    linked = link(toolchain.compile_ir(support_ir(features), features))
    words = memoryview(linked.code[: len(linked.code) // 4 * 4]).cast("I")
    assert list(words[:3]) == [0xAA0603E8, 0xD4000001, 0xD65F03C0]
