"""The way from Python into a program, as LLVM IR text: a call like the last one needs no Python.

`infini_enter` is a function of CPython's calling convention for `METH_FASTCALL`. Given arrays of
the types and shapes that it was set up for, it makes the results, runs the program and returns
them, in a fraction of a microsecond beside the program itself; for anything else it calls the
slower function in Python that can do everything. `docs/internals/native-abi.md` has the layout of
what it is set up with, `infini_ir/runtime/desk.py` sets it up. The functions of Python and numpy come
in a table; the runtime checks that their objects have their fields where this code looks for them.
"""

from __future__ import annotations

from infini_ir.runtime.desk import (
    BLOCK,
    CARRAY,
    OBJECT_DATA,
    OBJECT_DTYPE,
    OBJECT_FLAGS,
    OBJECT_RANK,
    OBJECT_SIZES,
    READABLE,
    RECORD,
    Desk,
    Python,
    Wanted,
)
from infini_ir.runtime.pool import BUSY, PINNED, PROCESSORS, READY
from infini_ir.runtime.results import BLOCKS

ENTRIES = ("infini_enter", "infini_share", "infini_swap")


def _at(name: str, base: str, index: int, stride: str = "i64") -> str:
    return f"%{name}.at = getelementptr {stride}, ptr %{base}, i64 {int(index)}"


def _load(name: str, base: str, index: int, type: str = "ptr", stride: str = "i64") -> str:
    return f"{_at(name, base, index, stride)}\n  %{name} = load {type}, ptr %{name}.at, align 4"


def _call(name: str, function: Python, arguments: str = "", type: str = "void") -> str:
    """A call of a function of Python's, whose table is at %python; of what it gives, if
    anything, `name` is the name."""
    given = "" if type == "void" else f"%{name} = "
    called = f"call {type} %{name}.function({arguments})"
    return f"{_load(f'{name}.function', 'python', function)}\n  {given}{called}"


_SHARE = f"""
; Nanoseconds of the system's steady clock.
define internal i64 @infini_now(ptr %context) nounwind {{
  %time = alloca [2 x i64], align 8
  {_load("functions", "context", 7)}
  {_load("clock", "functions", 2)}
  %r = call i32 %clock(i32 1, ptr %time)
  %seconds = load i64, ptr %time, align 8
  {_load("rest", "time", 1, "i64")}
  %whole = mul i64 %seconds, 1000000000
  %now = add i64 %whole, %rest
  ret i64 %now
}}

; Run %main with %workers, or alone where another call has the pool; how many ran it. %times gets
; when that began and ended.
define i64 @infini_share(ptr %pool, ptr %context, ptr %main, i64 %workers, ptr %times) nounwind {{
entry:
  {_at("users", "context", 5)}
  {_at("end", "times", 1)}
  %begin = call i64 @infini_now(ptr %context)
  store i64 %begin, ptr %times, align 8
  %many = icmp sgt i64 %workers, 1
  br i1 %many, label %try, label %alone
try:
  {_at("busy", "pool", BUSY, "i8")}
  %taken = cmpxchg ptr %busy.at, i32 0, i32 1 acquire monotonic, align 64
  %mine = extractvalue {{ i32, i1 }} %taken, 1
  br i1 %mine, label %together, label %alone
together:
  store i64 %workers, ptr %users.at, align 8
  %r = call i64 @infini_run(ptr %pool, ptr %context, ptr %main, i64 %workers)
  store atomic i32 0, ptr %busy.at release, align 64
  br label %done
alone:
  store i64 1, ptr %users.at, align 8
  call void %main(ptr %context, i64 0)
  br label %done
done:
  %used = phi i64 [ %workers, %together ], [ 1, %alone ]
  %end = call i64 @infini_now(ptr %context)
  store i64 %end, ptr %end.at, align 8
  ret i64 %used
}}

define i64 @infini_swap(ptr %word, i64 %value) nounwind {{
  %old = atomicrmw xchg ptr %word, i64 %value seq_cst, align 8
  ret i64 %old
}}
"""

_INPUTS = f"""
; Whether the arguments are arrays as the desk has them; their addresses go into the context.
define internal i1 @infini_take_inputs(ptr %desk, ptr %context, ptr %arguments) nounwind {{
entry:
  {_load("type", "desk", Desk.ARRAY_TYPE)}
  {_load("count", "desk", Desk.INPUT_COUNT, "i64")}
  {_load("records", "desk", Desk.INPUTS)}
  %inputs = load ptr, ptr %context, align 8
  br label %each
each:
  %i = phi i64 [ 0, %entry ], [ %i.next, %fits ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %look, label %good
look:
  %argument.at = getelementptr ptr, ptr %arguments, i64 %i
  %x = load ptr, ptr %argument.at, align 8
  %offset = mul i64 %i, {RECORD}
  %record = getelementptr i8, ptr %records, i64 %offset
  {_load("x.type", "x", 8, "ptr", "i8")}
  %is.array = icmp eq ptr %x.type, %type
  br i1 %is.array, label %array, label %bad
array:
  {_load("x.dtype", "x", OBJECT_DTYPE, "ptr", "i8")}
  {_load("dtype", "record", Wanted.DTYPE)}
  {_load("x.flags", "x", OBJECT_FLAGS, "i32", "i8")}
  {_load("x.rank", "x", OBJECT_RANK, "i32", "i8")}
  {_load("rank", "record", Wanted.RANK, "i64")}
  {_load("x.sizes", "x", OBJECT_SIZES, "ptr", "i8")}
  {_load("sizes", "record", Wanted.SIZES)}
  %same.dtype = icmp eq ptr %x.dtype, %dtype
  %flags = and i32 %x.flags, {READABLE}
  %readable = icmp eq i32 %flags, {READABLE}
  %x.wide = zext i32 %x.rank to i64
  %same.rank = icmp eq i64 %x.wide, %rank
  %b0 = and i1 %same.dtype, %readable
  %b1 = and i1 %b0, %same.rank
  br i1 %b1, label %size, label %bad
size:
  %j = phi i64 [ 0, %array ], [ %j.next, %same ]
  %sizes.left = icmp slt i64 %j, %rank
  br i1 %sizes.left, label %compare, label %fits
compare:
  %a.at = getelementptr i64, ptr %x.sizes, i64 %j
  %a = load i64, ptr %a.at, align 8
  %b.at = getelementptr i64, ptr %sizes, i64 %j
  %b = load i64, ptr %b.at, align 8
  %equal = icmp eq i64 %a, %b
  br i1 %equal, label %same, label %bad
same:
  %j.next = add i64 %j, 1
  br label %size
fits:
  {_load("data", "x", OBJECT_DATA, "ptr", "i8")}
  %input.at = getelementptr ptr, ptr %inputs, i64 %i
  store ptr %data, ptr %input.at, align 8
  %i.next = add i64 %i, 1
  br label %each
good:
  ret i1 true
bad:
  ret i1 false
}}
"""

_ARRAY = (
    "ptr %type, ptr %dtype, i32 %rank, ptr %sizes, ptr null, ptr %data, i32 %flags, ptr null"
)

_OUTPUTS = f"""
; A block that fits and that nobody but its owner refers to; its record, or null.
define internal ptr @infini_free_block(ptr %record) nounwind {{
entry:
  {_load("least", "record", Wanted.BYTES, "i64")}
  {_load("most", "record", Wanted.MOST_BYTES, "i64")}
  {_load("blocks", "record", Wanted.BLOCKS)}
  br label %each
each:
  %i = phi i64 [ 0, %entry ], [ %i.next, %next ]
  %more = icmp slt i64 %i, {BLOCKS}
  br i1 %more, label %look, label %none
look:
  %offset = mul i64 %i, {BLOCK}
  %block = getelementptr i8, ptr %blocks, i64 %offset
  %object = load ptr, ptr %block, align 8
  %is.there = icmp ne ptr %object, null
  br i1 %is.there, label %known, label %next
known:
  {_load("bytes", "block", 2, "i64")}
  %users = load i32, ptr %object, align 4
  %alone = icmp eq i32 %users, 1
  %enough = icmp sge i64 %bytes, %least
  %modest = icmp sle i64 %bytes, %most
  %b0 = and i1 %alone, %enough
  %b1 = and i1 %b0, %modest
  br i1 %b1, label %found, label %next
next:
  %i.next = add i64 %i, 1
  br label %each
found:
  ret ptr %block
none:
  ret ptr null
}}

; An array for an output; null, and no exception, where there is no memory at hand.
define internal ptr @infini_new_array(ptr %desk, ptr %record) nounwind {{
entry:
  {_load("python", "desk", Desk.PYTHON)}
  {_load("most", "record", Wanted.MOST_BYTES, "i64")}
  %ordinary = icmp eq i64 %most, 0
  br i1 %ordinary, label %make, label %find
find:
  %block = call ptr @infini_free_block(ptr %record)
  %found = icmp ne ptr %block, null
  br i1 %found, label %use, label %none
use:
  %object = load ptr, ptr %block, align 8
  {_load("address", "block", 1)}
  br label %make
make:
  %base = phi ptr [ null, %entry ], [ %object, %use ]
  %data = phi ptr [ null, %entry ], [ %address, %use ]
  %flags = phi i32 [ 0, %entry ], [ {CARRAY}, %use ]
  {_load("type", "desk", Desk.ARRAY_TYPE)}
  {_load("dtype", "record", Wanted.DTYPE)}
  {_load("rank", "record", Wanted.RANK, "i32")}
  {_load("sizes", "record", Wanted.SIZES)}
  {_call("take.dtype", Python.TAKE, "ptr %dtype")}
  {_call("array", Python.NEW_ARRAY, _ARRAY, "ptr")}
  %made = icmp ne ptr %array, null
  br i1 %made, label %own, label %failed
own:
  %borrowed = icmp ne ptr %base, null
  br i1 %borrowed, label %bind, label %done
bind:
  {_call("take.base", Python.TAKE, "ptr %base")}
  {_call("set", Python.SET_BASE, "ptr %array, ptr %base", "i32")}
  br label %done
done:
  ret ptr %array
failed:
  {_call("clear", Python.CLEAR)}
  br label %none
none:
  ret ptr null
}}

; The result of the call, an array or a tuple of them, whose addresses go into the context; null,
; and no exception, where there is no memory at hand.
define internal ptr @infini_make_outputs(ptr %desk, ptr %context) nounwind {{
entry:
  {_load("python", "desk", Desk.PYTHON)}
  {_load("count", "desk", Desk.OUTPUT_COUNT, "i64")}
  {_load("records", "desk", Desk.OUTPUTS)}
  {_load("outputs", "context", 1)}
  %single = icmp eq i64 %count, 1
  br i1 %single, label %each, label %several
several:
  {_call("new.tuple", Python.NEW_TUPLE, "i64 %count", "ptr")}
  %made = icmp ne ptr %new.tuple, null
  br i1 %made, label %each, label %failed
each:
  %tuple = phi ptr [ null, %entry ], [ %new.tuple, %several ], [ %tuple, %add ]
  %i = phi i64 [ 0, %entry ], [ 0, %several ], [ %i.next, %add ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %make, label %done
make:
  %offset = mul i64 %i, {RECORD}
  %record = getelementptr i8, ptr %records, i64 %offset
  %array = call ptr @infini_new_array(ptr %desk, ptr %record)
  %good = icmp ne ptr %array, null
  br i1 %good, label %place, label %undo
place:
  {_load("data", "array", OBJECT_DATA, "ptr", "i8")}
  %output.at = getelementptr ptr, ptr %outputs, i64 %i
  store ptr %data, ptr %output.at, align 8
  br i1 %single, label %one, label %add
one:
  ret ptr %array
add:
  {_call("set", Python.SET_ITEM, "ptr %tuple, i64 %i, ptr %array", "i32")}
  %i.next = add i64 %i, 1
  br label %each
done:
  ret ptr %tuple
undo:
  %partial = icmp ne ptr %tuple, null
  br i1 %partial, label %drop, label %none
drop:
  {_call("drop.tuple", Python.DROP, "ptr %tuple")}
  br label %none
failed:
  {_call("clear", Python.CLEAR)}
  br label %none
none:
  ret ptr null
}}
"""

_ENTER = f"""
; The pool for the call that comes, if Python need not be asked first: it says for how many calls
; not, and wants to know of pauses and to move a caller that is where a worker is bound to. Null
; where it must; anything else where one thread is to be used.
define internal ptr @infini_ready_pool(ptr %desk, ptr %context) nounwind {{
entry:
  {_load("left", "desk", Desk.LEFT, "i64")}
  {_load("workers", "desk", Desk.WORKERS, "i64")}
  {_load("pause", "desk", Desk.PAUSE, "i64")}
  {_load("ended", "desk", Desk.END, "i64")}
  %some = icmp sgt i64 %left, 0
  br i1 %some, label %timing, label %ask
timing:
  %patient = icmp slt i64 %pause, 0
  br i1 %patient, label %sharing, label %pausing
pausing:
  %now = call i64 @infini_now(ptr %context)
  %since = sub i64 %now, %ended
  %soon = icmp sle i64 %since, %pause
  br i1 %soon, label %sharing, label %ask
sharing:
  %many = icmp sgt i64 %workers, 1
  br i1 %many, label %place, label %alone
place:
  {_load("pool.word", "desk", Desk.POOL)}
  %pool = load ptr, ptr %pool.word, align 8
  %made = icmp ne ptr %pool, null
  br i1 %made, label %counting, label %ask
counting:
  {_load("there", "pool", READY, "i64", "i8")}
  %enough = icmp sge i64 %there, %workers
  br i1 %enough, label %where, label %ask
where:
  {_load("python", "desk", Desk.PYTHON)}
  {_call("processor", Python.PROCESSOR, "", "i32")}
  %near = icmp ult i32 %processor, {PROCESSORS}
  br i1 %near, label %bit, label %good
bit:
  %byte = lshr i32 %processor, 3
  %byte.wide = zext i32 %byte to i64
  {_at("pinned", "pool", PINNED, "i8")}
  %bits.at = getelementptr i8, ptr %pinned.at, i64 %byte.wide
  %bits = load i8, ptr %bits.at, align 1
  %place.in = and i32 %processor, 7
  %shift = trunc i32 %place.in to i8
  %shifted = lshr i8 %bits, %shift
  %last = and i8 %shifted, 1
  %bound = icmp ne i8 %last, 0
  br i1 %bound, label %ask, label %good
good:
  ret ptr %pool
alone:
  ret ptr %desk
ask:
  ret ptr null
}}

; Keep count of calls that took no longer than was expected. Python hears of one that did at once.
define internal void @infini_note(ptr %desk, i64 %used) nounwind {{
entry:
  {_load("begin", "desk", Desk.BEGIN, "i64")}
  {_load("end", "desk", Desk.END, "i64")}
  {_load("most", "desk", Desk.MOST, "i64")}
  {_load("left", "desk", Desk.LEFT, "i64")}
  {_load("workers", "desk", Desk.WORKERS, "i64")}
  {_load("count", "desk", Desk.COUNT, "i64")}
  {_load("total", "desk", Desk.TOTAL, "i64")}
  {_load("quickest", "desk", Desk.QUICKEST, "i64")}
  %time = sub i64 %end, %begin
  %left.less = sub i64 %left, 1
  store i64 %left.less, ptr %left.at, align 8
  %as.said = icmp eq i64 %used, %workers
  br i1 %as.said, label %compare, label %done
compare:
  %usual = icmp sle i64 %time, %most
  br i1 %usual, label %add, label %tell
add:
  %count.next = add i64 %count, 1
  %total.next = add i64 %total, %time
  %quicker = icmp slt i64 %time, %quickest
  %quickest.next = select i1 %quicker, i64 %time, i64 %quickest
  store i64 %count.next, ptr %count.at, align 8
  store i64 %total.next, ptr %total.at, align 8
  store i64 %quickest.next, ptr %quickest.at, align 8
  br label %done
tell:
  {_load("python", "desk", Desk.PYTHON)}
  {_load("late", "desk", Desk.LATE)}
  {_call("answer", Python.CALL, "ptr %late, ptr null, i64 0, ptr null", "ptr")}
  %well = icmp ne ptr %answer, null
  br i1 %well, label %forget, label %failed
forget:
  {_call("drop", Python.DROP, "ptr %answer")}
  br label %done
failed:
  {_call("clear", Python.CLEAR)}
  br label %done
done:
  ret void
}}

; PyObject *(PyObject *self, PyObject *const *arguments, Py_ssize_t count); %self is the array
; whose memory the desk is. One call at a time has the context; others go the slow way.
define ptr @infini_enter(ptr %self, ptr %arguments, i64 %count) nounwind {{
entry:
  {_load("desk", "self", OBJECT_DATA, "ptr", "i8")}
  {_load("python", "desk", Desk.PYTHON)}
  {_load("wanted", "desk", Desk.INPUT_COUNT, "i64")}
  {_at("context", "desk", Desk.CONTEXT)}
  %right = icmp eq i64 %count, %wanted
  br i1 %right, label %take, label %slow
take:
  %word = atomicrmw xchg ptr %context.at, i64 0 acquire, align 8
  %context = inttoptr i64 %word to ptr
  %free = icmp ne i64 %word, 0
  br i1 %free, label %ready, label %slow
ready:
  %pool = call ptr @infini_ready_pool(ptr %desk, ptr %context)
  %sure = icmp ne ptr %pool, null
  br i1 %sure, label %inputs, label %back
inputs:
  %fit = call i1 @infini_take_inputs(ptr %desk, ptr %context, ptr %arguments)
  br i1 %fit, label %outputs, label %back
outputs:
  %result = call ptr @infini_make_outputs(ptr %desk, ptr %context)
  %made = icmp ne ptr %result, null
  br i1 %made, label %run, label %back
run:
  {_load("main", "desk", Desk.MAIN)}
  {_load("workers", "desk", Desk.WORKERS, "i64")}
  {_at("begin", "desk", Desk.BEGIN)}
  {_call("state", Python.LET_OTHERS, "", "ptr")}
  %used = call i64 @infini_share(ptr %pool, ptr %context, ptr %main, i64 %workers, ptr %begin.at)
  {_call("come", Python.COME_BACK, "ptr %state")}
  call void @infini_note(ptr %desk, i64 %used)
  {_load("status", "context", 8, "i64")}
  {_load("taken", "context", 11)}
  %well = icmp eq i64 %status, 0
  br i1 %well, label %blocks, label %fail
blocks:
  %clean = icmp eq ptr %taken, null
  br i1 %clean, label %done, label %free.blocks
free.blocks:
  call void @infini_release(ptr %context)
  br label %done
done:
  store atomic i64 %word, ptr %context.at release, align 8
  ret ptr %result
back:
  store atomic i64 %word, ptr %context.at release, align 8
  br label %slow
slow:
  {_load("slow.way", "desk", Desk.SLOW)}
  {_call("given", Python.CALL, "ptr %slow.way, ptr %arguments, i64 %count, ptr null", "ptr")}
  ret ptr %given
fail:
  {_call("drop", Python.DROP, "ptr %result")}
  {_load("failure", "desk", Desk.FAIL)}
  {_call("raised", Python.CALL, "ptr %failure, ptr %arguments, i64 %count, ptr null", "ptr")}
  ret ptr %raised
}}
"""

ENTRY = _SHARE + _INPUTS + _OUTPUTS + _ENTER
"""The text, to go with the pool's."""
