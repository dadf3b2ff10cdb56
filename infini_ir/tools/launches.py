"""The kernel launches of a legalised tile program: what each does, costs and was decided."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation

from infini_ir.dialects import tile
from infini_ir.dialects.tile import program
from infini_ir.targets.cpu.plan import Plan
from infini_ir.tools.machine import Machine
from infini_ir.utils.dtypes import item_size
from infini_ir.utils.symbolic import Dim


@dataclass
class Launch:
    """One launch, for given sizes of the symbols."""

    number: int
    op: program.LaunchOp
    kernel: tile.KernelOp
    loops: int
    """Control operations around it: it may run more than once, or never."""
    traffic: float
    """Bytes of the views, each counted once."""
    operations: float
    seconds: float = 0.0
    """The least time that the machine needs."""
    bound: str = ""
    """What sets it: `compute`, `L1`, `L2` or `memory`."""
    measured: float | None = None
    plan: Plan = field(default_factory=Plan)

    @property
    def name(self) -> str:
        return self.kernel.sym_name.data

    def to_json(self) -> dict[str, Any]:
        """The launch as plain JSON."""
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
            "operations": self.operations,
            "limit_seconds": self.seconds,
            "limit": self.bound,
            "measured_seconds": self.measured,
        }


def launches_of(module: ModuleOp, sizes: Mapping[str, int], machine: Machine) -> list[Launch]:
    """All launches in the order of the program."""
    found: list[Launch] = []
    for op in module.walk():
        if not isinstance(op, program.LaunchOp):
            continue
        kernel = op.callee()
        plan = Plan.read(kernel.plan)
        launch = Launch(
            len(found),
            op,
            kernel,
            sum(1 for _ in _around(op)),
            traffic_of(op, sizes),
            operations_of(kernel, {**sizes, **plan.parameters}),
            plan=plan,
        )
        launch.seconds, launch.bound = machine.seconds(
            launch.operations, launch.traffic, serial=op.serial is not None
        )
        found.append(launch)
    return found


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


def traffic_of(launch: program.LaunchOp, sizes: Mapping[str, int]) -> float:
    """Bytes of the distinct elements that the views show."""
    total = 0.0
    for view in dict.fromkeys(launch.views):
        type = tile.view_type(view)
        count, reach = 1, 1
        for size, stride in zip(type.shape, type.strides, strict=True):
            length, step = size.evaluate(sizes), abs(stride.evaluate(sizes))
            count *= length if step else 1
            reach += max(0, length - 1) * step
        total += min(count, reach) * item_size(type.dtype)
    return total


def operations_of(kernel: tile.KernelOp, sizes: Mapping[str, int]) -> float:
    """Arithmetic operations of the whole grid; a multiply-add counts two.

    Tiles at the edges count with the part that they have: a program is a fraction of one.
    """
    programs = 1.0
    for bound, step in zip(kernel.bounds.data, kernel.steps.data, strict=True):
        programs *= bound.evaluate(sizes) / max(1, _value(step, sizes))
    return programs * sum(_cost(op, sizes) for op in kernel.body.block.ops)


def _value(dim: Dim, sizes: Mapping[str, int]) -> int:
    try:
        return dim.evaluate(sizes)
    except KeyError:
        return 1


def _elements(type: tile.TileType, sizes: Mapping[str, int]) -> float:
    count = 1.0
    for size in type.shape:
        count *= _value(size, sizes)
    return count


def _cost(op: Operation, sizes: Mapping[str, int]) -> float:
    """Operations of one program at `op`."""
    if isinstance(op, tile.DotOp):
        lhs, out = tile.tile_type(op.lhs), tile.tile_type(op.out)
        return 2 * _elements(out, sizes) * _value(lhs.shape[-1], sizes)
    if isinstance(op, tile.MapOp):
        arithmetic = sum(1 for inner in op.body.block.ops if _is_arithmetic(inner))
        return arithmetic * max(_elements(tile.tile_type(out), sizes) for out in op.outs)
    if isinstance(op, tile.ReduceOp):
        return _elements(tile.tile_type(op.x), sizes)
    if isinstance(op, tile.ForOp):
        turns = _bound(op, sizes) / max(1, _value(op.step_size, sizes))
        return turns * sum(_cost(inner, sizes) for inner in op.body.block.ops)
    return sum(_cost(inner, sizes) for r in op.regions for b in r.blocks for inner in b.ops)


def _bound(op: tile.ForOp, sizes: Mapping[str, int]) -> float:
    from xdsl.dialects.arith import ConstantOp
    from xdsl.dialects.builtin import IntegerAttr

    owner = op.to.owner
    if isinstance(owner, tile.SizeOp):
        return _value(owner.dim, sizes)
    if isinstance(owner, ConstantOp) and isinstance(owner.value, IntegerAttr):
        return owner.value.value.data
    return 1.0


def _is_arithmetic(op: Operation) -> bool:
    return op.name.partition(".")[0] in ("arith", "math") and op.name != "arith.constant"
