"""Which casts convert between two element types, as scalar code means it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from infini_ir.dialects.buffer import Rounding
from infini_ir.dialects.graph.types import element_type
from infini_ir.passes.buffer.instructions import Instructions
from infini_ir.passes.buffer.machine import EXACT_INTEGERS, CoreMachine
from infini_ir.passes.buffer.values import Rows
from infini_ir.utils.dtypes import is_float, item_size

Steps = Callable[[Instructions, Rows], Rows]


def steps_between(
    machine: CoreMachine, source: str, target: str, *, unsigned: bool = False
) -> Steps | None:
    """
    Instructions from one type to another (both as local memory holds them), rounding as
    arith's casts do; None where there are none that round once.
    """
    if source == target:
        return lambda unit, x: x
    if is_float(source) and not is_float(target):
        return _to_integer(machine, source, target, unsigned)
    name = "u" + source if unsigned else source
    path = machine.cast_path(name, target)
    if path is None or not _rounds_once(path, source, target):
        return None
    return _along(path)


def _rounds_once(path: tuple[str, ...], source: str, target: str) -> bool:
    """Whether all casts but the last keep every value of the first type."""
    for middle in path[1:-1]:
        if is_float(source):
            if item_size(middle) <= item_size(source):
                return False
        elif is_float(target):
            # What f32 rounds of an integer is beyond the largest f16.
            bits = EXACT_INTEGERS.get(source, 64)
            if EXACT_INTEGERS.get(middle, 0) < bits and target != "f16":
                return False
        elif EXACT_INTEGERS.get(middle, 0) < min(
            EXACT_INTEGERS.get(source, 64), EXACT_INTEGERS.get(target, 64)
        ) or (is_float(middle) and item_size(target) < item_size(source)):
            return False
    return True


def _along(path: tuple[str, ...]) -> Steps:
    def run(unit: Instructions, x: Rows) -> Rows:
        for one, other in pairwise(path):
            unsigned = one.startswith("ui") or other.startswith("ui")
            dtype = other.removeprefix("u") if other.startswith("ui") else other
            x = unit.cast(x, dtype, _rounding(one, other), unsigned=unsigned)
        return x

    return run


def _rounding(source: str, target: str) -> Rounding:
    if is_float(source) and not is_float(target):
        return Rounding.trunc
    if is_float(target):
        bits = {"f16": 11, "bf16": 8, "f32": 24, "f64": 53}
        if not is_float(source):
            plain = source.removeprefix("u")
            fits = EXACT_INTEGERS.get(plain, 64) <= bits[target]
            return Rounding.exact if fits else Rounding.nearest_even
        wider = item_size(source) < item_size(target)
        return Rounding.exact if wider else Rounding.nearest_even
    return Rounding.exact


def _to_integer(machine: CoreMachine, source: str, target: str, unsigned: bool) -> Steps | None:
    """Toward zero, saturating. Narrow integers through f16, whose whole numbers are exact."""
    name = "u" + target if unsigned else target
    widen = steps_between(machine, source, "f32") if source != "f32" else (lambda u, x: x)
    if widen is None:
        return None
    if ("f32", name) in machine.casts:
        direct = _along(("f32", name))
        return lambda unit, x: direct(unit, widen(unit, x))
    needed = ("trunc", "max_scalar", "min_scalar")
    if target != "i8" or not all(machine.has(name, "f32") for name in needed):
        return None
    path = ("f32", "f16", name)
    if any(pair not in machine.casts for pair in pairwise(path)):
        return None
    low, high = (0, 255) if unsigned else (-128, 127)

    def run(unit: Instructions, x: Rows) -> Rows:
        f32 = element_type("f32")
        x = unit.unary("trunc", widen(unit, x))
        x = unit.binary("max", x, unit.b.number(low, f32))
        x = unit.binary("min", x, unit.b.number(high, f32))
        return _along(path)(unit, x)

    return run
