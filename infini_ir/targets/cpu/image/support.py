"""The code every image carries beside its kernels, as LLVM IR text.

`docs/internals/native-abi.md` says what the entry points do. Nothing here uses inline
assembly: llvmlite can assemble it only for the machine it runs on, and images are also
compiled for others. The one instruction that has no IR form, the system call, is stored as
bytes in front of an empty function.

The pool
--------
`POOL_BYTES` zeroed bytes, 64-byte aligned, that only this code reads:

    byte 0    i32  generation: counts jobs; the word that workers spin and sleep on
         4    i32  workers of the latest job, or -1 once the pool is stopped
         8    ptr  the job's main
        16    ptr  the job's context
        64    i32  parked: how many workers sleep or are about to
       128    i32  pending: pool workers that have not finished the job
       132    i32  finished: generation of the latest finished job
       136    i32  how many callers sleep until that changes
       140    i32  how many more times they do
       192    i32  busy: 1 while a call has the pool (`infini_share`)
       200    i64  ready: how many workers a call may have; written by who makes them
       256    bits of the processors that workers are bound to; the same

Generation and workers are read and written as one i64, so a worker learns in one load that
there is a job and whether it takes part. If it does, main and context stay as they are until
it has finished; if it does not, it never looks at them. A job therefore waits for its own
workers alone, however late the others notice it.

A worker that parks raises `parked`, then sleeps on the condition that generation is still the
one it saw; a caller raises generation, then reads `parked`. Both are sequentially consistent,
so one of them sees the other. Sleepers are chosen by a mask of worker numbers modulo 32, which
leaves those a job does not want asleep.

One call at a time may use a pool; `infini_share` keeps them apart. After `infini_stop` a pool
runs no more jobs.

The barrier
-----------
Byte 0 holds how many have arrived, byte 64 the generation that the last to arrive raises, byte 68
how many sleep until then, byte 72 how many more times workers sleep rather than yield.

Shares
------
From byte 128 on each worker has a cache line whose first i64 says what is left of its share of a
launch: the launch's number in the upper 40 bits, and below them the first program that nobody has
taken. A launch's number is the barrier's generation, which no two launches with a barrier between them
have in common, and how many launches came since the barrier. Whoever comes first to a share of an
earlier launch, its worker or one that has nothing left to do, begins the new one.
"""

from infini_ir.runtime.pool import PINNED, PROCESSORS
from infini_ir.targets.cpu.features import CpuFeatures
from infini_ir.targets.cpu.image import entry
from infini_ir.targets.cpu.llvm.conversions import CONVERSIONS

POOL_BYTES = PINNED + PROCESSORS // 8
"""What Python allocates for a pool: zeroed, 64-byte aligned."""

ENTRIES = ("infini_run", "infini_worker", "infini_stop", "infini_release", *entry.ENTRIES)
"""The entry points of the artifact that this code defines."""

DECLARATIONS = """\
declare hidden void @infini_barrier(ptr)
declare hidden ptr @infini_allocate(ptr, i64)
declare hidden i64 @infini_claim(ptr, i64, i64, i64)
"""
"""What a kernel module declares to use this code; hidden, so that calls are direct."""


_X86_64 = """\
; i64 (a0, a1, a2, a3, a4, a5, number): mov r10, rcx; mov rax, [rsp + 8]; syscall; ret
define weak hidden i64 @infini_syscall(i64, i64, i64, i64, i64, i64, i64) noinline nounwind
    prologue [11 x i8] c"\\49\\89\\CA\\48\\8B\\44\\24\\08\\0F\\05\\C3" {
  ret i64 0
}

declare void @llvm.x86.sse2.pause()
declare i64 @llvm.readcyclecounter()

define internal void @infini_pause() alwaysinline {
  call void @llvm.x86.sse2.pause()
  ret void
}

define internal i64 @infini_clock() alwaysinline {
  %now = call i64 @llvm.readcyclecounter()
  ret i64 %now
}

; The time-stamp counter runs at 2 to 4 GHz; nothing depends on the exact rate.
define internal i64 @infini_ticks(i64 %microseconds) alwaysinline {
  %ticks = mul i64 %microseconds, 2500
  ret i64 %ticks
}

@futex = internal constant i64 202
@sched_yield = internal constant i64 24
"""

_AARCH64 = """\
; i64 (a0, a1, a2, a3, a4, a5, number): mov x8, x6; svc #0; ret
define weak hidden i64 @infini_syscall(i64, i64, i64, i64, i64, i64, i64) noinline nounwind
    prologue [12 x i8] c"\\E8\\03\\06\\AA\\01\\00\\00\\D4\\C0\\03\\5F\\D6" {
  ret i64 0
}

declare void @llvm.aarch64.isb(i32)
declare i64 @llvm.read_volatile_register.i64(metadata)

; A barrier of the instruction stream takes longer than `yield`, which many cores ignore.
define internal void @infini_pause() alwaysinline {
  call void @llvm.aarch64.isb(i32 15)
  ret void
}

define internal i64 @infini_clock() alwaysinline {
  %now = call i64 @llvm.read_volatile_register.i64(metadata !0)
  ret i64 %now
}

define internal i64 @infini_ticks(i64 %microseconds) alwaysinline {
  %hertz = call i64 @llvm.read_volatile_register.i64(metadata !1)
  %product = mul i64 %hertz, %microseconds
  %ticks = udiv i64 %product, 1000000
  ret i64 %ticks
}

!0 = !{!"CNTVCT_EL0"}
!1 = !{!"CNTFRQ_EL0"}

@futex = internal constant i64 98
@sched_yield = internal constant i64 124
"""

_WAITING = """
; Spin while the word equals %old and the clock is before %deadline; whether the word changed.
define internal i1 @infini_spin(ptr %word, i32 %old, i64 %deadline) nounwind {
entry:
  br label %round
round:
  br label %look
look:
  %tries = phi i32 [ 0, %round ], [ %next, %again ]
  %value = load atomic i32, ptr %word acquire, align 4
  %same = icmp eq i32 %value, %old
  br i1 %same, label %again, label %changed
again:
  call void @infini_pause()
  %next = add i32 %tries, 1
  %more = icmp ult i32 %next, 32
  br i1 %more, label %look, label %timing
timing:
  %now = call i64 @infini_clock()
  %left = sub i64 %deadline, %now
  %early = icmp sgt i64 %left, 0
  br i1 %early, label %round, label %late
changed:
  ret i1 true
late:
  ret i1 false
}

; FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG: sleep unless the word already differs from %old.
define internal void @infini_sleep(ptr %word, i32 %old, i32 %mask) nounwind {
  %address = ptrtoint ptr %word to i64
  %value = zext i32 %old to i64
  %bits = zext i32 %mask to i64
  %number = load i64, ptr @futex
  %r = call i64 @infini_syscall(i64 %address, i64 137, i64 %value, i64 0, i64 0, i64 %bits, i64 %number)
  ret void
}

; FUTEX_WAKE_BITSET | FUTEX_PRIVATE_FLAG: wake every sleeper whose mask meets %mask.
define internal void @infini_wake(ptr %word, i32 %mask) nounwind {
  %address = ptrtoint ptr %word to i64
  %bits = zext i32 %mask to i64
  %number = load i64, ptr @futex
  %r = call i64 @infini_syscall(i64 %address, i64 138, i64 2147483647, i64 0, i64 0, i64 %bits, i64 %number)
  ret void
}

; Wait until the word differs from %old: spin about 20 us, then give the processor away
; between looks, so that whoever is to change the word can run on it. On a free machine that is
; quicker than sleeping. To yield for more than 200 us was to wait for somebody else's time slice,
; which happens each time then, while who sleeps is let in soon after waking: sleep the next
; times, which %crowded counts.
define internal void @infini_await(ptr %word, i32 %old) nounwind {
entry:
  %sleepers = getelementptr i8, ptr %word, i64 4
  %crowded.at = getelementptr i8, ptr %word, i64 8
  %start = call i64 @infini_clock()
  %patience = call i64 @infini_ticks(i64 20)
  %slice = call i64 @infini_ticks(i64 200)
  %deadline = add i64 %start, %patience
  %soon = call i1 @infini_spin(ptr %word, i32 %old, i64 %deadline)
  br i1 %soon, label %done, label %choose
choose:
  %crowded = load i32, ptr %crowded.at, align 4
  %free = icmp eq i32 %crowded, 0
  br i1 %free, label %yield, label %crowd
yield:
  %before = call i64 @infini_clock()
  %number = load i64, ptr @sched_yield
  %r = call i64 @infini_syscall(i64 0, i64 0, i64 0, i64 0, i64 0, i64 0, i64 %number)
  %after = call i64 @infini_clock()
  %taken = sub i64 %after, %before
  %long = icmp sgt i64 %taken, %slice
  br i1 %long, label %note, label %look
note:
  store i32 64, ptr %crowded.at, align 4
  br label %look
look:
  %value = load atomic i32, ptr %word acquire, align 4
  %same = icmp eq i32 %value, %old
  br i1 %same, label %choose, label %done
crowd:
  %less = sub i32 %crowded, 1
  store i32 %less, ptr %crowded.at, align 4
  %r0 = atomicrmw add ptr %sleepers, i32 1 seq_cst, align 4
  br label %sleep
sleep:
  call void @infini_sleep(ptr %word, i32 %old, i32 -1)
  %new = load atomic i32, ptr %word acquire, align 4
  %still = icmp eq i32 %new, %old
  br i1 %still, label %sleep, label %awake
awake:
  %r1 = atomicrmw sub ptr %sleepers, i32 1 monotonic, align 4
  br label %done
done:
  ret void
}

; Change a word that `infini_await` may wait for, and wake who sleeps.
define internal void @infini_announce(ptr %word, i32 %value) nounwind {
entry:
  %sleepers.at = getelementptr i8, ptr %word, i64 4
  store atomic i32 %value, ptr %word seq_cst, align 4
  %sleepers = load atomic i32, ptr %sleepers.at seq_cst, align 4
  %none = icmp eq i32 %sleepers, 0
  br i1 %none, label %done, label %wake
wake:
  call void @infini_wake(ptr %word, i32 -1)
  br label %done
done:
  ret void
}
"""

_POOL = """
; Raise generation, with %workers beside it, and wake sleepers in %mask. Returns the old one.
define internal i32 @infini_publish(ptr %pool, i32 %workers, i32 %mask) nounwind {
entry:
  %before = load atomic i64, ptr %pool monotonic, align 64
  %old = trunc i64 %before to i32
  %new = add i32 %old, 1
  %low = zext i32 %new to i64
  %wide = zext i32 %workers to i64
  %high = shl i64 %wide, 32
  %job = or i64 %high, %low
  store atomic i64 %job, ptr %pool seq_cst, align 64
  %parked.at = getelementptr i8, ptr %pool, i64 64
  %parked = load atomic i32, ptr %parked.at seq_cst, align 64
  %none = icmp eq i32 %parked, 0
  br i1 %none, label %done, label %wake
wake:
  call void @infini_wake(ptr %pool, i32 %mask)
  br label %done
done:
  ret i32 %old
}

define i64 @infini_run(ptr %pool, ptr %context, ptr %main, i64 %workers) nounwind {
entry:
  %alone = icmp sle i64 %workers, 1
  br i1 %alone, label %single, label %share
single:
  call void %main(ptr %context, i64 0)
  br label %done
share:
  %main.at = getelementptr i8, ptr %pool, i64 8
  store ptr %main, ptr %main.at, align 8
  %context.at = getelementptr i8, ptr %pool, i64 16
  store ptr %context, ptr %context.at, align 16
  %count = trunc i64 %workers to i32
  %others = sub i32 %count, 1
  %pending.at = getelementptr i8, ptr %pool, i64 128
  store atomic i32 %others, ptr %pending.at monotonic, align 64
  %many = icmp ugt i32 %count, 31
  %shift = select i1 %many, i32 0, i32 %count
  %power = shl i32 1, %shift
  %numbers = sub i32 %power, 2
  %mask = select i1 %many, i32 -1, i32 %numbers
  %old = call i32 @infini_publish(ptr %pool, i32 %count, i32 %mask)
  call void %main(ptr %context, i64 0)
  %finished.at = getelementptr i8, ptr %pool, i64 132
  call void @infini_await(ptr %finished.at, i32 %old)
  br label %done
done:
  %status.at = getelementptr i8, ptr %context, i64 64
  %status = load i64, ptr %status.at, align 8
  ret i64 %status
}

define void @infini_worker(ptr %pool, i64 %worker) nounwind {
entry:
  %parked.at = getelementptr i8, ptr %pool, i64 64
  %pending.at = getelementptr i8, ptr %pool, i64 128
  %finished.at = getelementptr i8, ptr %pool, i64 132
  %main.at = getelementptr i8, ptr %pool, i64 8
  %context.at = getelementptr i8, ptr %pool, i64 16
  %number = trunc i64 %worker to i32
  %class = and i32 %number, 31
  %mask = shl i32 1, %class
  br label %rest
rest:                                       ; after a job: be quick for the next for 1 ms
  %seen.rest = phi i32 [ 0, %entry ], [ %generation, %finish ], [ %generation, %last ]
  %now = call i64 @infini_clock()
  %patience = call i64 @infini_ticks(i64 1000)
  %deadline = add i64 %now, %patience
  br label %wait
wait:
  %seen = phi i32 [ %seen.rest, %rest ], [ %generation, %pass ]
  %soon = call i1 @infini_spin(ptr %pool, i32 %seen, i64 %deadline)
  br i1 %soon, label %look, label %park
park:
  %r0 = atomicrmw add ptr %parked.at, i32 1 seq_cst, align 64
  call void @infini_sleep(ptr %pool, i32 %seen, i32 %mask)
  %r1 = atomicrmw sub ptr %parked.at, i32 1 seq_cst, align 64
  br label %look
look:
  %job = load atomic i64, ptr %pool acquire, align 64
  %generation = trunc i64 %job to i32
  %upper = lshr i64 %job, 32
  %workers = trunc i64 %upper to i32
  %new = icmp ne i32 %generation, %seen
  %mine = icmp slt i32 %number, %workers
  %take = and i1 %new, %mine
  br i1 %take, label %run, label %pass
pass:
  %stopped = icmp eq i32 %workers, -1
  br i1 %stopped, label %stop, label %wait
run:
  %main = load ptr, ptr %main.at, align 8
  %context = load ptr, ptr %context.at, align 16
  call void %main(ptr %context, i64 %worker)
  br label %finish
finish:
  %before = atomicrmw sub ptr %pending.at, i32 1 acq_rel, align 64
  %more = icmp ne i32 %before, 1
  br i1 %more, label %rest, label %last
last:
  call void @infini_announce(ptr %finished.at, i32 %generation)
  br label %rest
stop:
  ret void
}

define void @infini_stop(ptr %pool) nounwind {
  %r = call i32 @infini_publish(ptr %pool, i32 -1, i32 -1)
  ret void
}
"""

_BARRIER = """
define hidden void @infini_barrier(ptr %context) nounwind {
entry:
  %workers.at = getelementptr i8, ptr %context, i64 40
  %workers = load i64, ptr %workers.at, align 8
  %alone = icmp sle i64 %workers, 1
  br i1 %alone, label %done, label %meet
meet:
  %barrier.at = getelementptr i8, ptr %context, i64 48
  %barrier = load ptr, ptr %barrier.at, align 8
  %generation.at = getelementptr i8, ptr %barrier, i64 64
  %generation = load atomic i32, ptr %generation.at monotonic, align 64
  %before = atomicrmw add ptr %barrier, i32 1 acq_rel, align 64
  %arrived = add i32 %before, 1
  %count = trunc i64 %workers to i32
  %last = icmp eq i32 %arrived, %count
  br i1 %last, label %open, label %wait
open:
  store atomic i32 0, ptr %barrier monotonic, align 64
  %next = add i32 %generation, 1
  call void @infini_announce(ptr %generation.at, i32 %next)
  br label %done
wait:
  call void @infini_await(ptr %generation.at, i32 %generation)
  br label %done
done:
  ret void
}
"""

_SHARES = """
; The next program of a share, whose word says how much of it is left, or -1 when nothing is.
define hidden i64 @infini_claim(ptr %word, i64 %launch, i64 %begin, i64 %end) nounwind {
entry:
  %first = load atomic i64, ptr %word monotonic, align 8
  br label %try
try:
  %seen = phi i64 [ %first, %entry ], [ %now, %take ]
  %of = and i64 %seen, -16777216
  %behind = sub i64 %launch, %of
  %same = icmp eq i64 %behind, 0
  %position = and i64 %seen, 16777215
  %next = select i1 %same, i64 %position, i64 %begin
  %left = icmp slt i64 %next, %end
  ; Who goes on to another launch leaves nothing of this one. Differences are right over a wrap.
  %later = icmp slt i64 %behind, 0
  %now.or.before = xor i1 %later, true
  %some = and i1 %left, %now.or.before
  br i1 %some, label %take, label %none
take:
  %following = add i64 %next, 1
  %new = or i64 %launch, %following
  %pair = cmpxchg ptr %word, i64 %seen, i64 %new monotonic monotonic, align 8
  %now = extractvalue { i64, i1 } %pair, 0
  %won = extractvalue { i64, i1 } %pair, 1
  br i1 %won, label %done, label %try
done:
  ret i64 %next
none:
  ret i64 -1
}
"""

_BLOCKS = """
declare ptr @llvm.ptrmask.p0.i64(ptr, i64)

; 64-byte aligned memory until infini_release; null when there is none. Worker 0 only.
define hidden ptr @infini_allocate(ptr %context, i64 %bytes) nounwind {
entry:
  %functions.at = getelementptr i8, ptr %context, i64 56
  %functions = load ptr, ptr %functions.at, align 8
  %malloc = load ptr, ptr %functions, align 8
  %size = add i64 %bytes, 128
  %block = call ptr %malloc(i64 %size)
  %failed = icmp eq ptr %block, null
  br i1 %failed, label %none, label %chain
chain:
  %head.at = getelementptr i8, ptr %context, i64 88
  %head = load ptr, ptr %head.at, align 8
  store ptr %head, ptr %block, align 8
  store ptr %block, ptr %head.at, align 8
  %past = getelementptr i8, ptr %block, i64 127
  %data = call ptr @llvm.ptrmask.p0.i64(ptr %past, i64 -64)
  ret ptr %data
none:
  ret ptr null
}

define void @infini_release(ptr %context) nounwind {
entry:
  %functions.at = getelementptr i8, ptr %context, i64 56
  %head.at = getelementptr i8, ptr %context, i64 88
  %head = load ptr, ptr %head.at, align 8
  store ptr null, ptr %head.at, align 8
  %empty = icmp eq ptr %head, null
  br i1 %empty, label %done, label %start
start:
  %functions = load ptr, ptr %functions.at, align 8
  %free.at = getelementptr i8, ptr %functions, i64 8
  %free = load ptr, ptr %free.at, align 8
  br label %loop
loop:
  %block = phi ptr [ %head, %start ], [ %next, %loop ]
  %next = load ptr, ptr %block, align 8
  call void %free(ptr %block)
  %end = icmp eq ptr %next, null
  br i1 %end, label %done, label %loop
done:
  ret void
}
"""


def _forward(wide_load: str, wide: str, byte_load: str, byte: str) -> str:
    """A loop from the first byte up, 32 bytes at a time and then one: at %i the loads give %wide, at %j %byte."""
    return f"""
wide:
  %i = phi i64 [ 0, %entry ], [ %i.next, %wide.body ]
  %i.next = add i64 %i, 32
  %whole = icmp ule i64 %i.next, %n
  br i1 %whole, label %wide.body, label %tail
wide.body:
  {wide_load}
  %wide.q = getelementptr i8, ptr %to, i64 %i
  store <32 x i8> {wide}, ptr %wide.q, align 1
  br label %wide
tail:
  %j = phi i64 [ %i, %wide ], [ %j.next, %tail.body ]
  %left = icmp ult i64 %j, %n
  br i1 %left, label %tail.body, label %done
tail.body:
  {byte_load}
  %q = getelementptr i8, ptr %to, i64 %j
  store i8 {byte}, ptr %q, align 1
  %j.next = add i64 %j, 1
  br label %tail
done:
  ret ptr %to"""


_COPY = _forward(
    "%wide.p = getelementptr i8, ptr %from, i64 %i\n"
    "  %wide.value = load <32 x i8>, ptr %wide.p, align 1",
    "%wide.value",
    "%p = getelementptr i8, ptr %from, i64 %j\n  %value = load i8, ptr %p, align 1",
    "%value",
)

_FILL = _forward("", "%all", "", "%byte")

_BACKWARD = """
down:
  %k = phi i64 [ %n, %entry ], [ %k.next, %down.body ]
  %k.next = sub i64 %k, 32
  %block = icmp uge i64 %k, 32
  br i1 %block, label %down.body, label %rest
down.body:
  %down.p = getelementptr i8, ptr %from, i64 %k.next
  %down.value = load <32 x i8>, ptr %down.p, align 1
  %down.q = getelementptr i8, ptr %to, i64 %k.next
  store <32 x i8> %down.value, ptr %down.q, align 1
  br label %down
rest:
  %m = phi i64 [ %k, %down ], [ %m.next, %rest.body ]
  %some = icmp ne i64 %m, 0
  br i1 %some, label %rest.body, label %done
rest.body:
  %m.next = sub i64 %m, 1
  %rest.p = getelementptr i8, ptr %from, i64 %m.next
  %rest.value = load i8, ptr %rest.p, align 1
  %rest.q = getelementptr i8, ptr %to, i64 %m.next
  store i8 %rest.value, ptr %rest.q, align 1
  br label %rest"""


# LLVM calls these by itself; `no-builtins` keeps it from turning their loops into calls of themselves.
_MEMORY = f"""
define hidden ptr @memcpy(ptr %to, ptr %from, i64 %n) nounwind "no-builtins" {{
entry:
  br label %wide{_COPY}
}}

define hidden ptr @memmove(ptr %to, ptr %from, i64 %n) nounwind "no-builtins" {{
entry:
  %to.address = ptrtoint ptr %to to i64
  %from.address = ptrtoint ptr %from to i64
  %ahead = sub i64 %to.address, %from.address
  %safe = icmp uge i64 %ahead, %n
  br i1 %safe, label %wide, label %down{_COPY}{_BACKWARD}
}}

define hidden ptr @memset(ptr %to, i32 %byte.wide, i64 %n) nounwind "no-builtins" {{
entry:
  %byte = trunc i32 %byte.wide to i8
  %one = insertelement <32 x i8> poison, i8 %byte, i32 0
  %all = shufflevector <32 x i8> %one, <32 x i8> poison, <32 x i32> zeroinitializer
  br label %wide{_FILL}
}}
"""


def support_ir(features: CpuFeatures) -> str:
    """The support module for a processor, to be linked with the kernels' objects."""
    machine = _X86_64 + CONVERSIONS if features.arch == "x86-64" else _AARCH64
    return machine + _WAITING + _POOL + _BARRIER + _SHARES + _BLOCKS + entry.ENTRY + _MEMORY
