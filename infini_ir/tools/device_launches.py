"""What a model becomes on a device: its launches, with plans, limits and resources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from xdsl.dialects.builtin import (
    DenseArrayBase,
    DictionaryAttr,
    IntegerAttr,
    ModuleOp,
    StringAttr,
)
from xdsl.ir import Attribute

from infini_ir.dialects import tile
from infini_ir.dialects.graph.base import ints_of
from infini_ir.dialects.tile import program
from infini_ir.targets.target import DeviceLimits
from infini_ir.tools.work import operations_of, traffic_of

if TYPE_CHECKING:
    from infini_ir.targets.target import Target


@dataclass(frozen=True)
class Work:
    """What the programs of a kernel do in all."""

    operations: float
    dtype: str
    """Of the operands of its products; f32 where it has none."""


@dataclass
class DeviceLaunch:
    """One launch, for given sizes of the symbols."""

    number: int
    kernel: str
    node: str
    origin: str
    plan: dict[str, Any]
    traffic: float
    """Bytes of the views, each counted once."""
    work: Work
    seconds: float | None = None
    """The least time that a typical board needs, where one is known."""
    bound: str = ""
    resources: dict[str, Any] = field(default_factory=dict)
    """What the machine code uses, where there is some."""

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "number": self.number,
            "kernel": self.kernel,
            "node": self.node,
            "origin": self.origin,
            "plan": self.plan,
            "bytes": self.traffic,
            "operations": self.work.operations,
            "dtype": self.work.dtype,
            "limit_seconds": self.seconds,
            "limit": self.bound,
            "resources": self.resources,
        }


def work_of(module: ModuleOp, sizes: Mapping[str, int]) -> dict[str, Work]:
    """The work of every kernel in a program of tiles that no target has touched yet."""
    return {
        kernel.sym_name.data: Work(operations_of(kernel, sizes), _dtype_of(kernel))
        for kernel in module.body.block.ops
        if isinstance(kernel, tile.KernelOp)
    }


def _dtype_of(kernel: tile.KernelOp) -> str:
    for op in kernel.body.walk():
        if isinstance(op, tile.DotOp):
            return tile.tile_type(op.lhs).dtype
    return "f32"


def device_launches(
    module: ModuleOp, sizes: Mapping[str, int], known: Mapping[str, Work], target: Target
) -> list[DeviceLaunch]:
    """All launches of a legalised program, in order. `known`: the work of kernels by their
    names before the target's passes; those that the passes made count by themselves."""
    found: list[DeviceLaunch] = []
    for op in module.walk():
        if not isinstance(op, program.LaunchOp):
            continue
        kernel = op.callee()
        plan = plain(kernel.plan) if kernel.plan is not None else {}
        work = known.get(kernel.sym_name.data)
        if work is None:
            given = {**sizes, **{k: v for k, v in plan.items() if isinstance(v, int)}}
            work = Work(operations_of(kernel, given), _dtype_of(kernel))
        launch = DeviceLaunch(
            len(found),
            kernel.sym_name.data,
            op.label.data if op.label is not None else "",
            kernel.origin.data if kernel.origin is not None else "",
            plan,
            traffic_of(op, sizes),
            work,
        )
        _limit(launch, target.device_limits)
        found.append(launch)
    return found


def _limit(launch: DeviceLaunch, limits: DeviceLimits | None) -> None:
    if limits is not None:
        work = launch.work
        launch.seconds, launch.bound = limits.seconds(
            work.operations, launch.traffic, work.dtype
        )


def plain(attribute: Attribute) -> Any:
    """An attribute of a plan as plain data."""
    if isinstance(attribute, DictionaryAttr):
        return {name: plain(value) for name, value in attribute.data.items()}
    if isinstance(attribute, IntegerAttr):
        return attribute.value.data
    if isinstance(attribute, StringAttr):
        return attribute.data
    if isinstance(attribute, DenseArrayBase):
        return list(ints_of(attribute))
    return str(attribute)
