"""Small native programs, written by hand in LLVM IR, and what runs them in another process."""

import os
import time
from collections.abc import Callable, Mapping
from typing import Any

from infini_ir.runtime.metadata import REQUIRED_ENTRIES, Check, Metadata, weight_table
from infini_ir.runtime.program import CodeBytes, Program
from infini_ir.runtime.signature import TensorSpec
from infini_ir.targets.cpu import features
from infini_ir.targets.cpu.image import linker, support
from infini_ir.targets.cpu.llvm import toolchain
from infini_ir.utils.symbolic import Dim
from infini_ir.utils.weights import WeightStore

_ELEMENTS = """
  %outputs.at = getelementptr i64, ptr %c, i64 1
  %outputs = load ptr, ptr %outputs.at
  %symbols.at = getelementptr i64, ptr %c, i64 4
  %symbols = load ptr, ptr %symbols.at
  %n = load i64, ptr %symbols
  %workers.at = getelementptr i64, ptr %c, i64 5
  %workers = load i64, ptr %workers.at
  br label %loop
loop:
  %i = phi i64 [ %worker, %entry ], [ %next, %body ]
  %more = icmp slt i64 %i, %n
  br i1 %more, label %body, label %done
body:"""
"""A loop for i = worker, worker + workers, ... below N, the first symbol; and the outputs."""

ADD = f"""
; y[i] = x[i] + w[0], for i = worker, worker + workers, ...; fails where x[0] is 13.
define void @infini_main(ptr %c, i64 %worker) {{
entry:
  %inputs = load ptr, ptr %c
  %x = load ptr, ptr %inputs
  %w.at = getelementptr i64, ptr %c, i64 2
  %weights = load ptr, ptr %w.at
  %w = load float, ptr %weights{_ELEMENTS}
  %y = load ptr, ptr %outputs
  %p = getelementptr float, ptr %x, i64 %i
  %a = load float, ptr %p
  %s = fadd float %a, %w
  %q = getelementptr float, ptr %y, i64 %i
  store float %s, ptr %q
  %next = add i64 %i, %workers
  br label %loop
done:
  call void @infini_barrier(ptr %c)
  %some = icmp sgt i64 %n, 0
  br i1 %some, label %test, label %end
test:
  %first = load float, ptr %x
  %bad = fcmp oeq float %first, 13.0
  br i1 %bad, label %fail, label %end
fail:
  %status.at = getelementptr i64, ptr %c, i64 8
  store i64 1, ptr %status.at
  %v0 = getelementptr i64, ptr %c, i64 9
  store i64 13, ptr %v0
  %v1 = getelementptr i64, ptr %c, i64 10
  store i64 %n, ptr %v1
  br label %end
end:
  ret void
}}
"""

FIRST_HALF = """
; K = N / 2; y = x[:K] in memory the program takes; the symbols are N, K.
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
define void @infini_main(ptr %c, i64 %worker) {
entry:
  %zero = icmp eq i64 %worker, 0
  br i1 %zero, label %work, label %end
work:
  %inputs = load ptr, ptr %c
  %x = load ptr, ptr %inputs
  %outputs.at = getelementptr i64, ptr %c, i64 1
  %outputs = load ptr, ptr %outputs.at
  %symbols.at = getelementptr i64, ptr %c, i64 4
  %symbols = load ptr, ptr %symbols.at
  %n = load i64, ptr %symbols
  %k = sdiv i64 %n, 2
  %k.at = getelementptr i64, ptr %symbols, i64 1
  store i64 %k, ptr %k.at
  %bytes = mul i64 %k, 4
  %y = call ptr @infini_allocate(ptr %c, i64 %bytes)
  call void @llvm.memcpy.p0.p0.i64(ptr %y, ptr %x, i64 %bytes, i1 false)
  store ptr %y, ptr %outputs
  br label %end
end:
  ret void
}
"""

SUM_AND_DIFFERENCE = f"""
; s[i] = x[i] + z[i] and d[i] = x[i] - z[i], for i = worker, worker + workers, ...
define void @infini_main(ptr %c, i64 %worker) {{
entry:
  %inputs = load ptr, ptr %c
  %x = load ptr, ptr %inputs
  %z.at = getelementptr i64, ptr %inputs, i64 1
  %z = load ptr, ptr %z.at{_ELEMENTS}
  %s = load ptr, ptr %outputs
  %d.at = getelementptr i64, ptr %outputs, i64 1
  %d = load ptr, ptr %d.at
  %p = getelementptr float, ptr %x, i64 %i
  %a = load float, ptr %p
  %q = getelementptr float, ptr %z, i64 %i
  %b = load float, ptr %q
  %sum = fadd float %a, %b
  %difference = fsub float %a, %b
  %r = getelementptr float, ptr %s, i64 %i
  store float %sum, ptr %r
  %t = getelementptr float, ptr %d, i64 %i
  store float %difference, ptr %t
  %next = add i64 %i, %workers
  br label %loop
done:
  ret void
}}
"""

CLAIMS = """
; y[i] = how often program i of a grid of N was run, in 200 times three launches without a barrier
; between them.
define internal void @launch(ptr %c, i64 %worker, i64 %number, ptr %y, i64 %n) noinline {
entry:
  %workers.at = getelementptr i64, ptr %c, i64 5
  %workers = load i64, ptr %workers.at
  %barrier.at = getelementptr i64, ptr %c, i64 6
  %barrier = load ptr, ptr %barrier.at
  %generation.at = getelementptr i8, ptr %barrier, i64 64
  %generation = load atomic i32, ptr %generation.at monotonic, align 4
  %wide = zext i32 %generation to i64
  %upper = shl i64 %wide, 32
  %lower = shl i64 %number, 24
  %launch = or i64 %upper, %lower
  %several = icmp sgt i64 %workers, 1
  br i1 %several, label %share, label %alone
alone:
  %i = phi i64 [ 0, %entry ], [ %next, %one ]
  %another = icmp slt i64 %i, %n
  br i1 %another, label %one, label %done
one:
  %z = getelementptr i32, ptr %y, i64 %i
  %was = atomicrmw add ptr %z, i32 1 monotonic
  %next = add i64 %i, 1
  br label %alone
share:
  %step = phi i64 [ 0, %entry ], [ %following, %none ]
  %turned = add i64 %worker, %step
  %owner = urem i64 %turned, %workers
  %line = shl i64 %owner, 6
  %offset = add i64 %line, 128
  %word = getelementptr i8, ptr %barrier, i64 %offset
  %before = mul i64 %n, %owner
  %begin = udiv i64 %before, %workers
  %after = add i64 %before, %n
  %end = udiv i64 %after, %workers
  br label %claim
claim:
  %p = call i64 @infini_claim(ptr %word, i64 %launch, i64 %begin, i64 %end)
  %some = icmp sge i64 %p, 0
  br i1 %some, label %take, label %none
take:
  %q = getelementptr i32, ptr %y, i64 %p
  %old = atomicrmw add ptr %q, i32 1 monotonic
  br label %claim
none:
  %following = add i64 %step, 1
  %more = icmp slt i64 %following, %workers
  br i1 %more, label %share, label %done
done:
  ret void
}

define void @infini_main(ptr %c, i64 %worker) {
entry:
  %outputs.at = getelementptr i64, ptr %c, i64 1
  %outputs = load ptr, ptr %outputs.at
  %y = load ptr, ptr %outputs
  %symbols.at = getelementptr i64, ptr %c, i64 4
  %symbols = load ptr, ptr %symbols.at
  %n = load i64, ptr %symbols
  %first = icmp eq i64 %worker, 0
  br i1 %first, label %clear, label %begin
clear:
  %bytes = mul i64 %n, 4
  call void @llvm.memset.p0.i64(ptr %y, i8 0, i64 %bytes, i1 false)
  br label %begin
begin:
  br label %round
round:
  %r = phi i64 [ 0, %begin ], [ %following, %round ]
  call void @infini_barrier(ptr %c)
  call void @launch(ptr %c, i64 %worker, i64 0, ptr %y, i64 %n)
  call void @launch(ptr %c, i64 %worker, i64 1, ptr %y, i64 %n)
  call void @launch(ptr %c, i64 %worker, i64 2, ptr %y, i64 %n)
  %following = add i64 %r, 1
  %more = icmp slt i64 %following, 200
  br i1 %more, label %round, label %done
done:
  ret void
}
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
"""


def build(main: str, weights: WeightStore | None = None, **metadata: object) -> Program:
    """A program from the IR of its `infini_main` and some of its metadata."""
    cpu = features.host()
    objects = [
        toolchain.compile_ir(main + support.DECLARATIONS, cpu),
        toolchain.compile_ir(support.support_ir(cpu), cpu),
    ]
    image = linker.link(objects)
    store = weights or WeightStore()
    table = weight_table((n, store.dtype(n), store.shape(n)) for n in store.names())
    meta = Metadata(
        target="cpu",
        arch=cpu.arch,
        flags=tuple(sorted(cpu.required_flags)),
        entries=image.entries,
        weights=table,
        producer="test",
        **metadata,  # type: ignore[arg-type]
    )
    return Program(meta, CodeBytes(image.code), store, {"graph": "text\n" * 100})


def bare_metadata(**changes: object) -> Metadata:
    """Metadata of a program with no code behind it."""
    fields: Mapping[str, object] = {
        "target": "cpu",
        "arch": "x86-64",
        "inputs": (),
        "outputs": (),
        "entries": dict.fromkeys(REQUIRED_ENTRIES, 0),
    }
    return Metadata(**{**fields, **changes})  # type: ignore[arg-type]


def add_signature() -> dict[str, Any]:
    """Metadata that goes with `ADD`."""
    return {
        "inputs": (TensorSpec.of("x", "f32", "N"),),
        "outputs": (TensorSpec.of("y", "f32", "N"),),
        "symbols": ("N",),
        "arena": Dim.parse("64*N"),
        "checks": (Check("x starts with {0} in {1} elements"),),
        "report": {"kernels": 1},
    }


def good_in_a_child(check: Callable[[], bool]) -> bool:
    """Whether `check` holds in a forked process, within half a minute."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if check() else 2
        finally:
            os._exit(code)
    deadline = time.monotonic() + 30
    while (done := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < deadline:
        time.sleep(0.01)
    return done == (child, 0)
