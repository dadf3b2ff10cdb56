"""Timed programs: each worker notes how long its launches and its barriers take.

A timed program has one more input, i64[workers, slots], that it writes into. A worker's row:

    0            the clock where it began
    1            the clock where it ended
    2 + 2 e      ticks that event e took, all its turns together
    3 + 2 e      its turns

An event is a launch or a barrier of the host program, numbered in the order of the program.
The clock is the processor's own (`rdtsc`, `cntvct_el0`): reading it takes some nanoseconds,
and what it counts in a second is found by comparing it with the time of day.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from xdsl.ir import Operation

from infini_ir.dialects.tile import program
from infini_ir.runtime.signature import TensorSpec
from infini_ir.targets.cpu.features import CpuFeatures
from infini_ir.targets.cpu.llvm.writer import Function, V, integer
from infini_ir.utils.symbolic import Dim

INPUT = "timings_"
"""Name of the added input; no model's input ends so."""

BEGIN, END, EVENTS = 0, 1, 2

DECLARATION = "declare hidden i64 @infini_now()\n"


@dataclass
class Stamps:
    """Asks for a timed program, and says after emission what its events are."""

    workers: int
    """Most workers that a call will have."""
    events: list[Operation] = field(default_factory=list)
    _rows: V | None = None

    @property
    def slots(self) -> int:
        """Words in a worker's row."""
        return EVENTS + 2 * len(self.events)

    def spec(self) -> TensorSpec:
        """The input that the program writes."""
        return TensorSpec(INPUT, "i64", (Dim.of(self.workers), Dim.of(self.slots)))

    def open(self, f: Function, entry: program.ProgramOp, rows: V) -> None:
        """Begin the program: `rows` points to all workers' rows."""
        self.events = [
            op for op in entry.walk() if isinstance(op, program.LaunchOp | program.BarrierOp)
        ]
        self._number = {op: i for i, op in enumerate(self.events)}
        own = f.mul(V("%worker", "i64"), integer(self.slots))
        self._rows = f.gep(rows, own, "i64")
        f.store(self._now(f), self._slot(f, BEGIN), 8)

    def close(self, f: Function) -> None:
        """End the program."""
        f.store(self._now(f), self._slot(f, END), 8)

    def around(self, f: Function, op: Operation, emit: Callable[[], None]) -> None:
        """Emit what an event does, timed."""
        slot = EVENTS + 2 * self._number[op]
        before = self._now(f)
        emit()
        self._add(f, slot, f.sub(self._now(f), before))
        self._add(f, slot + 1, integer(1))

    def _add(self, f: Function, slot: int, value: V) -> None:
        pointer = self._slot(f, slot)
        f.store(f.add(f.load(pointer, "i64", 1, 8), value), pointer, 8)

    def _slot(self, f: Function, slot: int) -> V:
        assert self._rows is not None
        return f.gep(self._rows, integer(slot), "i64")

    @staticmethod
    def _now(f: Function) -> V:
        return f.assign("call i64 @infini_now()", "i64")


def clock_ir(features: CpuFeatures) -> str:
    """The module with the clock."""
    if features.arch == "x86-64":
        read, more = "call i64 @llvm.readcyclecounter()", "declare i64 @llvm.readcyclecounter()"
    else:
        read = "call i64 @llvm.read_volatile_register.i64(metadata !0)"
        more = 'declare i64 @llvm.read_volatile_register.i64(metadata)\n!0 = !{!"CNTVCT_EL0"}'
    return f"define hidden i64 @infini_now() nounwind {{\n  %t = {read}\n  ret i64 %t\n}}\n{more}\n"
