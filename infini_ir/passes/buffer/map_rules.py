"""Which instructions do a scalar operation of a map."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from xdsl.dialects import arith, math
from xdsl.dialects.builtin import IndexType, IntegerAttr, IntegerType, f32
from xdsl.ir import Operation, SSAValue

from infini_ir.dialects.graph.types import element_name, element_type
from infini_ir.passes.buffer.casting import Steps, steps_between
from infini_ir.passes.buffer.instructions import Instructions, Operand
from infini_ir.passes.buffer.machine import CoreMachine
from infini_ir.passes.buffer.values import Rows
from infini_ir.utils.dtypes import is_float

Rule = Callable[..., Rows]
BINARY: dict[type[Operation], str] = {
    arith.AddfOp: "add", arith.SubfOp: "sub", arith.MulfOp: "mul", arith.DivfOp: "div",
    arith.MaximumfOp: "max", arith.MinimumfOp: "min",
    arith.AddiOp: "add", arith.SubiOp: "sub", arith.MuliOp: "mul",
    arith.MaxSIOp: "max", arith.MinSIOp: "min",
    arith.AndIOp: "bit_and", arith.OrIOp: "bit_or", arith.XOrIOp: "bit_xor",
    arith.ShLIOp: "shift_left", arith.ShRSIOp: "shift_right",
    arith.ShRUIOp: "shift_right_unsigned",
}  # fmt: skip

UNARY: dict[type[Operation], str] = {
    arith.NegfOp: "neg", math.AbsFOp: "abs", math.ExpOp: "exp", math.LogOp: "ln",
    math.SqrtOp: "sqrt", math.RsqrtOp: "rsqrt", math.FloorOp: "floor", math.CeilOp: "ceil",
    math.RoundEvenOp: "round_even", math.TruncOp: "trunc", math.SinOp: "sin",
    math.CosOp: "cos", math.TanhOp: "tanh", math.ErfOp: "erf",
}  # fmt: skip

CASTS = (
    arith.ExtFOp, arith.TruncFOp, arith.SIToFPOp, arith.UIToFPOp, arith.FPToSIOp,
    arith.FPToUIOp, arith.ExtSIOp, arith.ExtUIOp, arith.TruncIOp, arith.IndexCastOp,
)  # fmt: skip

ORDERED = {1: "eq", 2: "gt", 3: "ge", 4: "lt", 5: "le", 13: "ne"}
"""Predicates of cmpf that one comparison is."""
NEGATED = {9: "le", 10: "lt", 11: "ge", 12: "gt"}
"""Predicates (unordered) that hold where a comparison does not."""
SIGNED = {0: "eq", 1: "ne", 2: "lt", 3: "le", 4: "gt", 5: "ge"}
"""Predicates of cmpi that one comparison is."""
WIDER = {"f16": "f32", "bf16": "f32", "i8": "i32", "i16": "i32"}


def rows_dtype(value: SSAValue) -> str:
    """The element type in which rows hold a value of a map: indices are i32, since a
    position along an axis is below 2^30; bools are masks."""
    return "i32" if isinstance(value.type, IndexType) else element_name(value.type)


def rule_of(unit: Instructions, op: Operation) -> Rule | None:
    """How the vector unit does an operation, given its operands; None where it does not."""
    if type(op) in BINARY:
        return _binary(unit, op)
    if type(op) in UNARY:
        return _unary(unit, op)
    if isinstance(op, CASTS):
        return _cast(unit, op)
    special = _SPECIAL.get(type(op))
    return None if special is None else special(unit, op)


def protected(operation: Rule) -> Rule:
    """A rule of several instructions: its operands are not overwritten before the last."""

    def run(*operands: Operand) -> Rows:
        held = [o for o in operands if isinstance(o, Rows)]
        for rows in held:
            rows.uses += 1
        try:
            return operation(*operands)
        finally:
            for rows in held:
                rows.uses -= 1

    return run


def _through(machine: CoreMachine, dtype: str, wide: str) -> tuple[Steps, Steps] | None:
    there, back = steps_between(machine, dtype, wide), steps_between(machine, wide, dtype)
    if not is_float(dtype) and (wide, dtype) not in machine.casts:
        return None
    return None if there is None or back is None else (there, back)


def _widened(unit: Instructions, dtype: str, wide: str, rule: Rule) -> Rule | None:
    """The rule in a wider type, from and back to this one."""
    steps = _through(unit.machine, dtype, wide)
    if steps is None:
        return None
    there, back = steps

    def run(*operands: Operand) -> Rows:
        return back(unit, rule(*(_widen(unit, there, o, wide) for o in operands)))

    return run


def _widen(unit: Instructions, there: Steps, operand: Operand, wide: str) -> Operand:
    if isinstance(operand, Rows):
        return there(unit, operand)
    if is_float(wide):
        return unit.b.emit(arith.ExtFOp(operand, element_type(wide)))  # pyright: ignore
    return unit.b.emit(arith.ExtSIOp(operand, element_type(wide)))  # pyright: ignore


def _binary(unit: Instructions, op: Operation) -> Rule | None:
    function, dtype, machine = BINARY[type(op)], rows_dtype(op.results[0]), unit.machine
    if dtype == "i1":
        return _mask_rule(unit, op)
    if isinstance(op.results[0].type, IndexType) and function not in ("add", "sub", "max", "min"):  # fmt: skip
        return None
    if function.startswith("shift") and not _shift_is_inside(op):
        return None
    rule = partial(unit.binary, function)
    if isinstance(op.results[0].type, IndexType):
        rule = partial(_of_indices, unit, rule)
    if machine.has(function, dtype):
        return rule
    wide = WIDER.get(dtype)
    low_bits = function in ("add", "sub", "mul", "bit_and", "bit_or", "bit_xor", "max", "min")
    if wide is None or not machine.has(function, wide) or not (is_float(wide) or low_bits):
        return None
    return _widened(unit, dtype, wide, rule)


def _of_indices(unit: Instructions, rule: Rule, *operands: Operand) -> Rows:
    """Scalars that are indices meet rows of i32."""
    return rule(*(_narrow(unit, o) for o in operands))


def _narrow(unit: Instructions, operand: Operand) -> Operand:
    if isinstance(operand, SSAValue) and isinstance(operand.type, IndexType):
        return unit.b.emit(arith.IndexCastOp(operand, element_type("i32")))
    return operand


def _shift_is_inside(op: Operation) -> bool:
    """Whether a shift is by a known number below the width."""
    owner = op.operands[1].owner
    if not isinstance(owner, arith.ConstantOp) or not isinstance(owner.value, IntegerAttr):
        return False
    type = op.results[0].type
    width = type.width.data if isinstance(type, IntegerType) else 32
    return 0 <= owner.value.value.data < width


def _mask_rule(unit: Instructions, op: Operation) -> Rule | None:
    functions: dict[type[Operation], str] = {
        arith.AndIOp: "bit_and", arith.OrIOp: "bit_or", arith.XOrIOp: "bit_xor",
        arith.AddiOp: "bit_xor", arith.SubiOp: "bit_xor", arith.MuliOp: "bit_and",
    }  # fmt: skip
    function = functions.get(type(op))
    if function is None:
        return None

    def run(left: Operand, right: Operand) -> Rows:
        if not isinstance(left, Rows):
            left, right = right, left
        assert isinstance(left, Rows)
        if isinstance(right, Rows):
            return unit.mask_binary(function, left, right)
        return _with_scalar(unit, function, left, right)

    return run


def _with_scalar(unit: Instructions, function: str, mask: Rows, scalar: SSAValue) -> Rows:
    """A mask and one bool: as 0.0 and 1.0, which also holds for a constant `true`."""
    owner = scalar.owner
    if function == "bit_xor" and isinstance(owner, arith.ConstantOp):
        value = owner.value
        if isinstance(value, IntegerAttr) and value.value.data:
            return unit.mask_not(mask)
    other = unit.b.emit(arith.UIToFPOp(scalar, f32))
    numbers = unit.numbers(mask)
    one, zero = (unit.b.number(v, element_type("f32")) for v in (1.0, 0.0))
    if function == "bit_xor":
        return unit.compare("ne", numbers, other)
    if function == "bit_and":
        return unit.compare("eq", unit.binary("mul", numbers, other), one)
    return unit.compare("ne", unit.binary("add", numbers, other), zero)


def _unary(unit: Instructions, op: Operation) -> Rule | None:
    function, dtype, machine = UNARY[type(op)], rows_dtype(op.results[0]), unit.machine

    def rule_in(kind: str) -> Rule | None:
        if machine.has(function, kind):
            return partial(unit.unary, function)
        if function == "neg" and machine.has("mul_scalar", kind):
            minus = unit.b.number(-1.0, element_type(kind))
            return lambda x: unit.binary("mul", x, minus)
        if function == "rsqrt" and machine.has("sqrt", kind) and machine.has("div", kind):
            one = unit.b.number(1.0, element_type(kind))
            return lambda x: unit.binary("div", one, unit.unary("sqrt", x))
        return None

    rule = rule_in(dtype)
    if rule is not None:
        return rule
    wide = WIDER.get(dtype)
    rule = rule_in(wide) if wide is not None else None
    return None if rule is None or wide is None else _widened(unit, dtype, wide, rule)


def _cast(unit: Instructions, op: Operation) -> Rule | None:
    source, target = rows_dtype(op.operands[0]), rows_dtype(op.results[0])
    if source == "i1":
        yes = -1 if isinstance(op, arith.ExtSIOp | arith.SIToFPOp) else 1
        if unit.machine.has("select", target) and unit.machine.has("fill", target):
            return lambda x: unit.numbers(x, yes, target)
        steps = steps_between(unit.machine, "f32", target)
        return None if steps is None else lambda x: steps(unit, unit.numbers(x, yes))
    if target == "i1":
        return None
    unsigned = isinstance(op, arith.UIToFPOp | arith.FPToUIOp | arith.ExtUIOp)
    steps = steps_between(unit.machine, source, target, unsigned=unsigned)
    return None if steps is None else partial(steps, unit)


def _compare_floats(unit: Instructions, op: arith.CmpfOp) -> Rule | None:
    predicate, dtype = op.predicate.value.data, rows_dtype(op.operands[0])
    rule = _float_relation(unit, predicate)
    if rule is None:
        return None
    if unit.machine.has("compare_lt", dtype):
        return rule
    wide = WIDER.get(dtype)
    there = None if wide is None else steps_between(unit.machine, dtype, wide)
    if wide is None or there is None or not unit.machine.has("compare_lt", wide):
        return None
    return lambda *xs: rule(*(_widen(unit, there, x, wide) for x in xs))


def _float_relation(unit: Instructions, predicate: int) -> Rule | None:
    if predicate in ORDERED:
        return partial(unit.compare, ORDERED[predicate])
    if predicate in NEGATED:
        return lambda a, b: unit.mask_not(unit.compare(NEGATED[predicate], a, b))

    def one(a: Operand, b: Operand) -> Rows:
        return unit.mask_binary("bit_or", unit.compare("lt", a, b), unit.compare("gt", a, b))

    def unordered(a: Operand, b: Operand) -> Rows:
        masks = [unit.compare("ne", x, x) for x in (a, b) if isinstance(x, Rows)]
        scalars = [x for x in (a, b) if not isinstance(x, Rows)]
        for x in scalars:
            nan = unit.b.emit(arith.CmpfOp(x, x, "une"))
            return _with_scalar(unit, "bit_or", masks[0], nan)
        return unit.mask_binary("bit_or", masks[0], masks[1])

    rules = {6: one, 8: lambda a, b: unit.mask_not(one(a, b)), 14: unordered,
             7: lambda a, b: unit.mask_not(unordered(a, b))}  # fmt: skip
    rule = rules.get(predicate)
    return None if rule is None else protected(rule)


def _compare_integers(unit: Instructions, op: arith.CmpiOp) -> Rule | None:
    predicate, dtype = op.predicate.value.data, rows_dtype(op.operands[0])
    machine = unit.machine
    if dtype == "i1":
        if predicate not in (0, 1):
            return None
        return lambda a, b: _equal_masks(unit, a, b, predicate == 0)
    if predicate not in SIGNED:
        return None
    relation = SIGNED[predicate]
    rule = partial(_of_indices, unit, partial(unit.compare, relation))
    emulated = all(machine.has(name, "i32") for name in ("sub", "min"))
    able = emulated and ("i32", "f32") in machine.casts and machine.has("compare_ne", "f32")
    if machine.has(f"compare_{relation}", dtype) or (dtype == "i32" and able):
        return rule
    if dtype not in ("i8", "i16"):
        return None
    there = steps_between(machine, dtype, "f32")
    if there is None:
        return None

    def as_floats(*operands: Operand) -> Rows:
        floats = [
            there(unit, x) if isinstance(x, Rows) else unit.b.emit(arith.SIToFPOp(x, f32))
            for x in operands
        ]
        return unit.compare(relation, *floats)

    return as_floats


def _equal_masks(unit: Instructions, a: Operand, b: Operand, equal: bool) -> Rows:
    if not isinstance(a, Rows):
        a, b = b, a
    assert isinstance(a, Rows)
    if isinstance(b, Rows):
        differ = unit.mask_binary("bit_xor", a, b)
    else:
        differ = _with_scalar(unit, "bit_xor", a, b)
    return unit.mask_not(differ) if equal else differ


def _select(unit: Instructions, op: arith.SelectOp) -> Rule | None:
    dtype = rows_dtype(op.results[0])
    if dtype == "i1":
        return protected(partial(_select_masks, unit))
    if not unit.machine.has("select", dtype):
        wide = WIDER.get(dtype)
        steps = None if wide is None else _through(unit.machine, dtype, wide)
        if wide is None or steps is None or not unit.machine.has("select", wide):
            return None
        there, back = steps

        def widened(mask: Operand, left: Operand, right: Operand) -> Rows:
            sides = [_widen(unit, there, x, wide) for x in (left, right)]
            return back(unit, _select_rows(unit, wide, mask, *sides))

        return widened
    return partial(_select_rows, unit, dtype)


def _select_rows(
    unit: Instructions, dtype: str, mask: Operand, left: Operand, right: Operand
) -> Rows:
    left, right = _narrow(unit, left), _narrow(unit, right)
    return unit.select(_as_mask(unit, mask), left, right, dtype)


def _as_mask(unit: Instructions, mask: Operand) -> Rows:
    """A bool of the scalar unit as a mask of one lane."""
    if isinstance(mask, Rows):
        return mask
    number = unit.b.emit(arith.UIToFPOp(mask, f32))
    one = unit.spread(number, (), "f32")
    return unit.compare("ne", one, unit.b.number(0.0, f32))


def _select_masks(unit: Instructions, mask: Operand, left: Operand, right: Operand) -> Rows:
    chosen = _as_mask(unit, mask)
    chosen.uses += 1
    left, right = (_as_mask(unit, x) for x in (left, right))
    yes = unit.mask_binary("bit_and", chosen, left)
    no = unit.mask_binary("bit_and", unit.mask_not(chosen), right)
    chosen.uses -= 1
    return unit.mask_binary("bit_or", yes, no)


def _fma(unit: Instructions, op: math.FmaOp) -> Rule | None:
    """Two instructions; the product is rounded."""
    dtype = rows_dtype(op.result)
    if not (unit.machine.has("mul", dtype) and unit.machine.has("add", dtype)):
        return None

    def run(a: Operand, b: Operand, c: Operand) -> Rows:
        if not isinstance(a, Rows) and not isinstance(b, Rows):
            return unit.binary("add", c, unit.b.emit(arith.MulfOp(a, b)))
        if isinstance(c, Rows):
            c.uses += 1
        product = unit.binary("mul", a, b)
        if isinstance(c, Rows):
            c.uses -= 1
        return unit.binary("add", product, c)

    return run


def _extremum_number(function: str) -> Callable[[Instructions, Operation], Rule | None]:
    """max and min that give the other operand for a NaN."""

    def make(unit: Instructions, op: Operation) -> Rule | None:
        dtype = rows_dtype(op.results[0])
        needed = (function, "select", "compare_ne")
        if not all(unit.machine.has(name, dtype) for name in needed):
            return None

        def run(a: Operand, b: Operand) -> Rows:
            first, second = _not_nan(unit, a, b, dtype), _not_nan(unit, b, a, dtype)
            return unit.binary(function, first, second)

        return protected(run)

    return make


def _not_nan(unit: Instructions, x: Operand, other: Operand, dtype: str) -> Operand:
    """x, or the other where it is NaN."""
    if isinstance(x, Rows):
        return unit.select(unit.compare("ne", x, x), other, x, dtype)
    nan = unit.b.emit(arith.CmpfOp(x, x, "une"))
    if isinstance(other, Rows):
        return unit.select(_as_mask(unit, nan), other, x, dtype)
    return unit.b.emit(arith.SelectOp(nan, other, x))


def _absolute(unit: Instructions, op: Operation) -> Rule | None:
    """|i| as the larger of i and -i."""
    dtype = rows_dtype(op.results[0])
    if not all(unit.machine.has(name, dtype) for name in ("sub", "max")):
        return None
    zero = unit.b.number(0, element_type(dtype))

    def run(x: Rows) -> Rows:
        return unit.binary("max", x, unit.binary("sub", zero, x))

    return protected(run)


_SPECIAL: dict[type[Operation], Callable[..., Rule | None]] = {
    arith.CmpfOp: _compare_floats,
    arith.CmpiOp: _compare_integers,
    arith.SelectOp: _select,
    math.FmaOp: _fma,
    arith.MaxnumfOp: _extremum_number("max"),
    arith.MinnumfOp: _extremum_number("min"),
    math.AbsIOp: _absolute,
}
