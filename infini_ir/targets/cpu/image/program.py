"""The host program as `infini_main`: every worker runs it, each on its share of each grid."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from xdsl.ir import Block, Operation, SSAValue

from infini_ir.dialects import tile
from infini_ir.dialects.tile import program
from infini_ir.runtime.metadata import Check
from infini_ir.runtime.pool import GENERATION, LEFT, LINE, SHARES
from infini_ir.targets.cpu.kernel.emitter import ceil_divide
from infini_ir.targets.cpu.kernel.sizes import Sizes
from infini_ir.targets.cpu.llvm.writer import ZERO, Function, Module, V, integer
from infini_ir.targets.cpu.plans import cost
from infini_ir.targets.cpu.plans.plan import Plan
from infini_ir.targets.cpu.timing.stamps import Stamps
from infini_ir.targets.programs import defined_symbols, known_outputs
from infini_ir.utils.dtypes import item_size
from infini_ir.utils.errors import CompileError
from infini_ir.utils.symbolic import Dim, maximum

INPUTS, OUTPUTS, WEIGHTS, ARENA, SYMBOLS, WORKERS, STATUS = 0, 1, 2, 3, 4, 5, 8
"""Fields of the context; see docs/internals/native-abi.md."""

MOST_PROGRAMS, MOST_LAUNCHES = 1 << 24, 1 << 8
"""Programs of a launch that are taken one by one, and such launches between two barriers: what the
words of shares have room for."""

MOST_STATIC = 2
"""Programs of which there is nothing to take from others."""

_PREDICATES = {"eq": "eq", "le": "sle", "ge": "sge"}
_WORDS = {"eq": "must equal", "le": "must be at most", "ge": "must be at least"}


@dataclass
class ProgramEmitter:
    """Writes `infini_main` for one host program."""

    entry: program.ProgramOp
    module: Module
    symbols: Sequence[str]
    input_symbols: int
    """How many of the symbols, the first ones, the caller fills in."""
    weight_offsets: Mapping[str, int]
    kernels: Mapping[str, tile.KernelOp]
    kernel_scratch: Mapping[str, Dim]
    """Scratch bytes that each worker uses in a kernel, by the kernel's name."""
    claimed: Mapping[str, Dim] = field(default_factory=dict[str, Dim])
    """Nanoseconds of the kernels whose programs are taken one by one where each is long."""
    stamps: Stamps | None = None
    """Asks for a program that times its launches."""
    checks: list[Check] = field(default_factory=list)
    views: dict[SSAValue, V] = field(default_factory=dict)
    since_barrier: int | None = None
    """Launches by claims since the barrier before, None where none is surely before."""
    f: Function = field(init=False)
    sizes: Sizes = field(init=False)

    def emit(self) -> None:
        """Write the function; the checks it makes are in `checks`."""
        self.f = self.module.function("define void @infini_main(ptr %context, i64 %worker)")
        self._open_symbols()
        self.sizes = Sizes(self.f, {name: i for i, name in enumerate(self.symbols)}, {})
        self.workers = self._field(WORKERS, "i64")
        self.weights = self._field(WEIGHTS, "ptr")
        self.arena = self._field(ARENA, "ptr")
        arena = self.entry.attributes["arena"].data[0]  # pyright: ignore[reportAttributeAccessIssue]
        worker = V("%worker", "i64")
        scratch = self.sizes.of(self.scratch())
        offset = self.f.add(self.sizes.of(arena), self.f.mul(worker, scratch))
        self.scratch_pointer = self.f.gep(self.arena, offset, "i8")
        self._open_arguments()
        if self.stamps is not None:
            self._open_stamps(self.stamps)
        if self.entry.facts is not None:
            self._facts(self.entry.facts.data, of_input=True)
        self._block(self.entry.body.block)
        if self.stamps is not None:
            self.stamps.close(self.f)
        self.f.emit("ret void")

    def scratch(self) -> Dim:
        """Scratch bytes a worker has beside the arena: the largest of the kernels whose
        need is known on entry."""
        total = Dim.of(0)
        for size in self.kernel_scratch.values():
            if self._known_on_entry(size):
                total = maximum(total, size)
        return total

    def _known_on_entry(self, size: Dim) -> bool:
        return size.symbols() <= set(self.symbols[: self.input_symbols])

    def _scratch_for(self, kernel: tile.KernelOp) -> V:
        """Where a kernel's scratch memory begins for this worker."""
        size = self.kernel_scratch[kernel.sym_name.data]
        if self._known_on_entry(size):
            return self.scratch_pointer
        each = self.sizes.of(size)
        pointer = self._take_dynamic(self.f.mul(each, self.workers))
        return self.f.gep(pointer, self.f.mul(V("%worker", "i64"), each), "i8")

    def _field(self, index: int, type: str) -> V:
        pointer = self.f.gep(V("%context", "ptr"), integer(index), "i64")
        return self.f.load(pointer, type, 1, 8)

    def _open_symbols(self) -> None:
        """A table of the worker's own: workers need not agree on when a symbol changes."""
        count = max(1, len(self.symbols))
        table = self.f.alloca("i64", count)
        self.f.emit(f"%symbols = getelementptr i64, ptr {table.text}, i64 0")
        given = self._field(SYMBOLS, "ptr")
        for index in range(self.input_symbols):
            value = self.f.load(self.f.gep(given, integer(index), "i64"), "i64", 1, 8)
            self.f.store(value, self.f.gep(table, integer(index), "i64"), 8)
        self.shared_symbols = given

    def _open_arguments(self) -> None:
        inputs, outputs = self._field(INPUTS, "ptr"), self._field(OUTPUTS, "ptr")
        count = self.entry.input_count.value.data
        numbers = known_outputs(self.entry)
        for index, argument in enumerate(self.entry.body.block.args):
            table, slot = (
                (inputs, index) if index < count else (outputs, numbers[index - count])
            )
            pointer = self.f.gep(table, integer(slot), "ptr")
            self.views[argument] = self.f.load(pointer, "ptr", 1, 8)

    def _open_stamps(self, stamps: Stamps) -> None:
        """The rows are one input more than the program declares."""
        slot = integer(self.entry.input_count.value.data)
        pointer = self.f.gep(self._field(INPUTS, "ptr"), slot, "ptr")
        stamps.open(self.f, self.entry, self.f.load(pointer, "ptr", 1, 8))

    def _timed(self, op: Operation, emit: Callable[[], None]) -> None:
        if self.stamps is None:
            emit()
        else:
            self.stamps.around(self.f, op, emit)

    # Operations

    def _block(self, block: Block) -> None:
        self.since_barrier = None
        for op in block.ops:
            _HANDLERS[op.__class__](self, op)
            if isinstance(op, program.BarrierOp):
                self.since_barrier = 0
            elif op.regions:
                self.since_barrier = None

    def _region(self, block: Block) -> None:
        """A block that may not run: what it computed is not known after it, nor what was
        computed before from a symbol that it sets."""
        known, self.sizes.known = self.sizes.known, dict(self.sizes.known)
        self._block(block)
        self.sizes.known = {
            dim: value for dim, value in known.items() if self.sizes.known.get(dim) is value
        }

    def _alloc(self, op: program.AllocOp) -> None:
        if op.dynamic is None:
            assert op.offset is not None, "run tile-plan-memory first"
            self.views[op.out] = self.f.gep(self.arena, self.sizes.of(op.offset.data[0]), "i8")
            return
        type = tile.view_type(op.out)
        size = self.sizes.of(type.element_count() * item_size(type.dtype))
        self.views[op.out] = self._take_dynamic(size)

    def _take_dynamic(self, size: V) -> V:
        """Memory whose size is known only now: the first worker takes it for all."""
        slot = self._dynamic_slot()
        self.f.when(self._is_first(), lambda: self._take(size, slot), "take")
        self._barrier()
        pointer = self.f.load(slot, "ptr", 1, 8)
        taken = self.f.assign(f"icmp ne ptr {pointer.text}, null", "i1")
        self._check(taken, Check("out of memory: {0} bytes were wanted", False), size, ZERO)
        # The slot may be used again only when all have read it.
        self._barrier()
        return pointer

    def _dynamic_slot(self) -> V:
        """A word all workers see: the last of the barrier's cache lines is free for it."""
        barrier = self._field(6, "ptr")
        return self.f.gep(barrier, integer(15), "i64")

    def _take(self, size: V, slot: V) -> None:
        pointer = self.f.assign(
            f"call ptr @infini_allocate(ptr %context, i64 {size.text})", "ptr"
        )
        self.f.store(pointer, slot, 8)

    def _is_first(self) -> V:
        return self.f.assign("icmp eq i64 %worker, 0", "i1")

    def _weight(self, op: program.WeightOp) -> None:
        offset = self.weight_offsets[op.handle.data]
        self.views[op.out] = self.f.gep(self.weights, integer(offset), "i8")

    def _alias(self, op: program.AliasOp) -> None:
        type = tile.view_type(op.out)
        size = item_size(type.dtype)
        offset = self.f.mul(self.sizes.of(op.offset_dim), integer(size))
        self.views[op.out] = self.f.gep(self.views[op.source], offset, "i8")

    def _launch(self, op: program.LaunchOp) -> None:
        kernel = self.kernels[op.kernel.string_value()]
        plan = Plan.read(kernel.plan)
        parameters = plan.substitution
        total = integer(1)
        for bound, step in zip(kernel.bounds.data, kernel.steps.data, strict=True):
            count = ceil_divide(
                self.f, self.sizes.of(bound), self.sizes.of(step.substitute(parameters))
            )
            total = self.f.mul(total, count)
        views = [f"ptr {self.views[view].text}" for view in op.views]
        fixed = ["ptr %symbols", f"ptr {self._scratch_for(kernel).text}"]

        def run(begin: V, end: V) -> None:
            arguments = ", ".join([*views, *fixed, begin.typed, end.typed])
            self.f.emit(f"call void @{kernel.sym_name.data}({arguments})")

        def call(begin: V, end: V) -> None:
            self._timed(op, lambda: run(begin, end))

        if op.serial is not None or total.number == 1:
            if total.number != 0:
                self.f.when(self._is_first(), lambda: call(ZERO, total), "serial")
            return
        if self._may_claim(op, total):
            time = self.claimed[kernel.sym_name.data]
            self._timed(op, lambda: self._take_in_turn(total, time, run))
            return
        begin, end = self._share(total, V("%worker", "i64"))
        self.f.when(self.f.compare("slt", begin, end), lambda: call(begin, end), "share")

    def _may_claim(self, op: program.LaunchOp, total: V) -> bool:
        """Whether workers take the programs of a launch one by one, unless sizes that are not known
        yet speak against it: those of others, too, once their own are done, as processors may be of
        unequal speed and busy with other things."""
        time = self.claimed.get(op.kernel.string_value())
        return (
            time is not None
            and time.symbols() <= set(self.symbols)
            and (total.number is None or MOST_STATIC < int(total.number) < MOST_PROGRAMS)
            and self.since_barrier is not None
            and self.since_barrier < MOST_LAUNCHES
        )

    def _take_in_turn(self, total: V, time: Dim, run: Callable[[V, V], None]) -> None:
        """Programs of the worker's own share, then of the next worker's."""
        number, self.since_barrier = self.since_barrier or 0, (self.since_barrier or 0) + 1
        worker, barrier = V("%worker", "i64"), self._field(6, "ptr")

        def shares() -> None:
            at = self.f.gep(barrier, integer(GENERATION), "i8")
            text = f"load atomic i32, ptr {at.text} monotonic, align 4"
            generation = self.f.assign(text, "i32")
            wide = self.f.assign(f"zext {generation.typed} to i64", "i64")
            upper = self.f.assign(f"shl {wide.typed}, 32", "i64")
            launch = self.f.assign(f"or {upper.typed}, {number * MOST_PROGRAMS}", "i64")

            def share(step: V) -> None:
                turned = self.f.add(worker, step)
                owner = self.f.assign(f"urem {turned.typed}, {self.workers.text}", "i64")
                offset = self.f.add(integer(LEFT), self.f.mul(owner, integer(LINE)))
                self._take_all(self.f.gep(barrier, offset, "i8"), launch, total, owner, run)

            self.f.loop(self.workers, share, hint="shares")

        claimed = self._is_claimed(total, time)
        own = self.f.assign(f"xor i1 {claimed.text}, true", "i1")
        self.f.when(claimed, shares, "claims")
        self.f.when(own, lambda: run(*self._share(total, worker)), "share", likely=False)

    def _is_claimed(self, total: V, time: Dim) -> V:
        """Whether there are others to share with, and, where sizes become known only now, enough
        programs, each long enough."""
        holds = [("sgt", self.workers, integer(1)), ("sle", self.workers, integer(SHARES))]
        if total.number is None:
            holds.append(("sgt", total, integer(MOST_STATIC)))
            holds.append(("slt", total, integer(MOST_PROGRAMS)))
        if total.number is None or time.value is None:
            least = self.f.mul(total, integer(cost.CLAIMED_NANOSECONDS))
            holds.append(("sge", self.sizes.of(time), least))
        first, *others = [self.f.compare(*condition) for condition in holds]
        for other in others:
            first = self.f.assign(f"and i1 {first.text}, {other.text}", "i1")
        return first

    def _take_all(
        self, word: V, launch: V, total: V, owner: V, run: Callable[[V, V], None]
    ) -> None:
        """Programs of a share until none is left."""
        begin, end = self._share(total, owner)
        claim, inside, done = (self.f.label(hint) for hint in ("claim", "claimed", "taken"))
        self.f.branch(claim)
        self.f.start(claim)
        arguments = ", ".join(v.typed for v in (word, launch, begin, end))
        taken = self.f.assign(f"call i64 @infini_claim({arguments})", "i64")
        self.f.branch_if(self.f.compare("sge", taken, ZERO), inside, done)
        self.f.start(inside)
        run(taken, self.f.add(taken, integer(1)))
        self.f.branch(claim)
        self.f.start(done)

    def _share(self, total: V, worker: V) -> tuple[V, V]:
        """The programs of a worker: from one on, to before another."""
        begin = self.f.udiv(self.f.mul(total, worker), self.workers)
        following = self.f.mul(total, self.f.add(worker, integer(1)))
        return begin, self.f.udiv(following, self.workers)

    def _library(self, op: program.LibraryOp) -> None:
        raise CompileError(
            f"library call '{op.kind.data}' of {op.label.data if op.label else 'the program'}: "
            "the cpu target has no library; leave `tile-use-library` out for it"
        )

    def _barrier(self) -> None:
        self.f.emit("call void @infini_barrier(ptr %context)")

    def _bind(self, op: program.BindOp) -> None:
        value = self.f.load(self.views[op.value], "i64", 1, 8)
        enough = self.f.compare("sge", value, ZERO)
        message = (
            f"size '{op.symbol.data}' computed by the model is {{0}}, but must not be negative"
        )
        self._check(enough, Check(message), value, ZERO)
        self._define(op.symbol.data, value)
        if op.facts is not None:
            self._facts(op.facts.data, of_input=True)

    def _set(self, op: program.SetOp) -> None:
        self._define(op.symbol.data, self.sizes.of(op.value.data[0]))
        if op.facts is not None:
            self._facts(op.facts.data, of_input=True)

    def _define(self, symbol: str, value: V) -> None:
        """Give a symbol a value, here and (by the first worker) for the caller."""
        index = integer(list(self.symbols).index(symbol))
        self.f.store(value, self.f.gep(V("%symbols", "ptr"), index, "i64"), 8)
        if int(index.number or 0) >= self.input_symbols:
            pointer = self.f.gep(self.shared_symbols, index, "i64")
            self.f.when(self._is_first(), lambda: self.f.store(value, pointer, 8), "tell")
        self.sizes.forget(symbol)

    def _facts(self, facts: Sequence[tuple[Dim, str, Dim]], *, of_input: bool) -> None:
        for left, relation, right in facts:
            a, b = self.sizes.of(left), self.sizes.of(right)
            holds = self.f.compare(_PREDICATES[relation], a, b)
            text = f"size {left} {_WORDS[relation]} {right}, but they are {{0}} and {{1}}"
            self._check(holds, Check(text, of_input), a, b)

    def _check(self, holds: V, check: Check, first: V, second: V) -> None:
        """Leave with a status unless the condition holds."""
        if holds.number == 1:
            return
        if check not in self.checks:
            self.checks.append(check)
        status = self.checks.index(check) + 1

        def fail() -> None:
            for field_index, value in ((STATUS, integer(status)), (9, first), (10, second)):
                pointer = self.f.gep(V("%context", "ptr"), integer(field_index), "i64")
                self.f.when(
                    self._is_first(),
                    lambda value=value, pointer=pointer: self.f.store(value, pointer, 8),
                    "fail",
                )
            self.f.emit("ret void")
            self.f.start(self.f.label("after"))

        wrong = (
            V("true", "i1", 1, 1)
            if holds.number == 0
            else self.f.assign(f"xor i1 {holds.text}, true", "i1")
        )
        self.f.when(wrong, fail, "check")

    # Control

    def _flag(self, view: SSAValue) -> V:
        byte = self.f.load(self.views[view], "i8", 1, 1)
        return self.f.assign(f"icmp ne i8 {byte.text}, 0", "i1")

    def _if(self, op: program.IfOp) -> None:
        flag = self._flag(op.condition)
        then, other, done = self.f.label("then"), self.f.label("else"), self.f.label("endif")
        self.f.branch_if(flag, then, other)
        for label, region in ((then, op.then_region), (other, op.else_region)):
            self.f.start(label)
            self._region(region.block)
            self.f.branch(done)
        self.f.start(done)

    def _while(self, op: program.WhileOp) -> None:
        head, body, done = self.f.label("test"), self.f.label("while"), self.f.label("endwhile")
        for name in defined_symbols(op):
            self.sizes.forget(name)
        self.f.branch(head)
        self.f.start(head)
        self._region(op.condition.block)
        self.f.branch_if(self._flag(op.flag), body, done)
        self.f.start(body)
        self._region(op.body.block)
        self.f.branch(head)
        self.f.start(done)

    def _loop(self, op: program.LoopOp) -> None:
        limit = self.sizes.of(op.to.data[0])
        symbol = op.symbol.data
        for name in defined_symbols(op):
            self.sizes.forget(name)
        counter = self.f.alloca("i64")
        self.f.store(ZERO, counter, 8)
        head, body, done = self.f.label("test"), self.f.label("turn"), self.f.label("endloop")
        self.f.branch(head)
        self.f.start(head)
        current = self.f.load(counter, "i64", 1, 8)
        self._define(symbol, current)
        self.f.branch_if(self.f.compare("slt", current, limit), body, done)
        self.f.start(body)
        self._region(op.body.block)
        self.f.store(self.f.add(current, integer(1)), counter, 8)
        if op.until is None:
            self.f.branch(head)
        else:
            stop = self.f.label("stop")
            self.f.branch_if(self._flag(op.until), head, stop)
            self.f.start(stop)
            self._define(symbol, self.f.add(current, integer(1)))
            self.f.branch(done)
        self.f.start(done)
        self.sizes.forget(symbol)

    def _publish(self, op: program.PublishOp) -> None:
        outputs = self._field(OUTPUTS, "ptr")
        pointer = self.f.gep(outputs, integer(op.index.value.data), "ptr")
        view = self.views[op.view]
        self.f.when(self._is_first(), lambda: self.f.store(view, pointer, 8), "publish")


_HANDLERS: dict[type[Operation], Callable[..., None]] = {
    program.AllocOp: ProgramEmitter._alloc,
    program.WeightOp: ProgramEmitter._weight,
    program.AliasOp: ProgramEmitter._alias,
    program.LaunchOp: ProgramEmitter._launch,
    program.LibraryOp: ProgramEmitter._library,
    program.BarrierOp: lambda self, op: self._timed(op, self._barrier),
    program.BindOp: ProgramEmitter._bind,
    program.SetOp: ProgramEmitter._set,
    program.IfOp: ProgramEmitter._if,
    program.WhileOp: ProgramEmitter._while,
    program.LoopOp: ProgramEmitter._loop,
    program.PublishOp: ProgramEmitter._publish,
}
