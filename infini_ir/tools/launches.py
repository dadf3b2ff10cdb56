"""The kernel launches of a legalised tile program: what each does, costs and was decided."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation

from infini_ir.dialects import tile
from infini_ir.dialects.tile import program
from infini_ir.targets.cpu.plans.plan import Plan
from infini_ir.targets.cpu.timing.in_place import Timing
from infini_ir.tools.machine import Machine
from infini_ir.tools.residency import Region, region_of, resident_shares
from infini_ir.tools.work import moved_bytes, work_of


@dataclass
class Launch:
    """One launch, for given sizes of the symbols."""

    number: int
    op: program.LaunchOp
    kernel: tile.KernelOp
    loops: int
    """Control operations around it: it may run more than once, or never."""
    traffic: float
    """Bytes of the views that are loaded or stored, each counted once."""
    work: dict[str, float]
    """Operations by class of arithmetic."""
    l1_miss: float = 0.0
    """Bytes that the first caches do not hold when it begins."""
    l2_miss: float = 0.0
    """Bytes that neither these nor the second hold."""
    seconds: float = 0.0
    """The least time that the machine needs, for one turn."""
    bound: str = ""
    """What sets it: `compute` (`bf16 compute`, `i8 compute`), `L1`, `L2` or `memory`."""
    timing: Timing | None = None
    """Measured in the program."""
    alone: float | None = None
    """Measured alone: one turn, repeated with the same operands."""
    plan: Plan = field(default_factory=Plan)

    @property
    def name(self) -> str:
        return self.kernel.sym_name.data

    @property
    def operations(self) -> float:
        return sum(self.work.values())

    @property
    def turns(self) -> float:
        """How often it runs in a call; 1 where nobody has counted."""
        return self.timing.turns if self.timing is not None else 1.0

    @property
    def limit(self) -> float:
        """The least time of all turns of a call."""
        return self.seconds * self.turns

    def to_json(self) -> dict[str, Any]:
        """The launch as plain JSON; times are of all turns of a call."""
        label, origin = self.op.label, self.kernel.origin
        return {
            "number": self.number,
            "kernel": self.name,
            "node": label.data if label is not None else "",
            "origin": origin.data if origin is not None else "",
            "views": [str(view.type) for view in self.op.views],
            "serial": self.op.serial is not None,
            "inside": self.loops,
            "tiles": dict(self.plan.parameters),
            "register_tile": [*self.plan.strip, self.plan.vectors, self.plan.panels],
            "plan_reason": self.plan.reason,
            "bytes": self.traffic,
            "bytes_beyond_l1": self.l1_miss,
            "bytes_from_memory": self.l2_miss,
            "operations": self.operations,
            "operations_by_type": self.work,
            "limit_seconds": self.limit,
            "limit": self.bound,
            "turns": self.turns,
            "measured_seconds": self.timing.seconds if self.timing is not None else None,
            "worker_seconds": self.timing.mean if self.timing is not None else None,
            "alone_seconds": None if self.alone is None else self.alone * self.turns,
        }


def launches_of(module: ModuleOp, sizes: Mapping[str, int], machine: Machine) -> list[Launch]:
    """All launches in the order of the program."""
    found: list[Launch] = []
    regions: list[list[Region]] = []
    moved: list[list[float]] = []
    for op in module.walk():
        if not isinstance(op, program.LaunchOp):
            continue
        kernel = op.callee()
        plan = Plan.read(kernel.plan)
        inner = {**sizes, **plan.parameters}
        bytes_of = moved_bytes(op, inner)
        moved.append(list(bytes_of.values()))
        regions.append([region_of(view, sizes) for view in bytes_of])
        loops, traffic = sum(1 for _ in _around(op)), sum(moved[-1])
        found.append(Launch(len(found), op, kernel, loops, traffic, work_of(kernel, inner)))
        found[-1].plan = plan
    shares = resident_shares(regions, (machine.l1_bytes, machine.l2_bytes))
    for launch, amounts, held in zip(found, moved, shares, strict=True):
        pairs = list(zip(amounts, held, strict=True))
        launch.l1_miss = sum(amount * (1 - share[0]) for amount, share in pairs)
        launch.l2_miss = sum(amount * (1 - max(share)) for amount, share in pairs)
        set_limit(launch, machine)
    return found


def set_limit(launch: Launch, machine: Machine) -> None:
    """The least time of a launch on a machine, and what sets it."""
    if launch.op.serial is not None:
        machine = machine.part()
    computing = machine.computing(launch.work)
    moving = machine.moving(launch.traffic, launch.l1_miss, launch.l2_miss)
    launch.seconds, launch.bound = max(computing, moving, key=lambda limit: limit[0])


def _around(op: Operation) -> Iterator[Operation]:
    parent = op.parent_op()
    while parent is not None:
        if isinstance(parent, (program.IfOp, program.LoopOp, program.WhileOp)):
            yield parent
        parent = parent.parent_op()


def symbols_in(module: ModuleOp) -> tuple[str, ...]:
    """Every symbol in the types of the program's values, in order of appearance."""
    names: dict[str, None] = {}
    for op in module.walk():
        if isinstance(op, program.LaunchOp):
            kernel = op.callee()
            dims = [*kernel.bounds.data]
            for view in op.views:
                type = tile.view_type(view)
                dims += [*type.shape, *type.strides]
            for dim in dims:
                names.update(dict.fromkeys(sorted(dim.symbols())))
    return tuple(names)
