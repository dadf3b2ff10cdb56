"""Scalar arith and math operations as LLVM instructions, on scalars or vectors alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from xdsl.dialects import arith, math
from xdsl.dialects.builtin import (
    AnyFloat,
    BFloat16Type,
    Float16Type,
    Float32Type,
    Float64Type,
    FloatAttr,
    IndexType,
    IntegerAttr,
    IntegerType,
)
from xdsl.ir import Attribute, Block, Operation

from infini_ir.dialects.graph.types import element_name
from infini_ir.targets.cpu.functions.native_math import NATIVE, NATIVE_OPERATIONS
from infini_ir.targets.cpu.functions.native_roots import (
    emit_reciprocal,
    emit_sqrt,
    is_estimate,
)
from infini_ir.targets.cpu.llvm.writer import Function, V, boolean, floating, integer
from infini_ir.utils.dtypes import numpy_dtype
from infini_ir.utils.errors import CompileError

_FLOATS: dict[type[Attribute], str] = {
    Float16Type: "half",
    BFloat16Type: "bfloat",
    Float32Type: "float",
    Float64Type: "double",
}


def llvm_type(type: Attribute) -> str:
    """The LLVM scalar type of a scalar in a kernel (an index is an i64)."""
    if isinstance(type, IndexType):
        return "i64"
    if isinstance(type, IntegerType):
        return f"i{type.width.data}"
    name = _FLOATS.get(type.__class__)
    if name is None:
        # Storage-only floats are carried as their bits.
        return f"i{type.bitwidth}" if isinstance(type, AnyFloat) else "i8"
    return name


def stored_type(type: Attribute) -> str:
    """The LLVM type of an element in memory: bools and narrow elements take a byte."""
    return memory_of(llvm_type(type))


def memory_of(name: str) -> str:
    return "i8" if name in ("i1", "i2", "i4", "i6") else name


Emitter = Callable[[Function, Operation, Sequence[V], str], V]
"""(function, operation, operands made equally wide, result's LLVM type) -> result"""


def emit_scalar(f: Function, op: Operation, operands: Sequence[V]) -> V:
    """Emit one arith or math operation; a mix of scalars and vectors becomes vectors.

    Raises `CompileError` for an operation that has no LLVM form here.
    """
    if isinstance(op, arith.ConstantOp):
        return _constant(op)
    emitter = _TABLE.get(op.__class__)
    if emitter is None:
        raise CompileError(
            f"kernel operation '{op.name}' has no LLVM form; run tile-expand-math first"
        )
    lanes = max(v.lanes for v in operands)
    wide = [v if v.lanes == lanes else f.splat(v, lanes) for v in operands]
    return emitter(f, op, wide, llvm_type(op.results[0].type))


def scalar_operations(block: Block) -> int:
    """How many operations a map does for an element."""
    return sum(
        NATIVE_OPERATIONS.get(op.__class__, not isinstance(op, arith.ConstantOp))
        for op in block.ops
    )


def _constant(op: arith.ConstantOp) -> V:
    value = op.value
    type = llvm_type(op.result.type)
    if isinstance(value, IntegerAttr):
        number = value.value.data
        return boolean(bool(number)) if type == "i1" else integer(number, type)
    assert isinstance(value, FloatAttr)
    if type.startswith("i"):
        # Floats of 8 and 4 bits have no type in LLVM: their bits.
        narrow = np.array(value.value.data, numpy_dtype(element_name(op.result.type)))
        return integer(int(narrow.view(np.uint8)), type)
    return floating(value.value.data, type)


def _binary(instruction: str) -> Emitter:
    def emit(f: Function, op: Operation, v: Sequence[V], type: str) -> V:
        return f.assign(
            f"{instruction} {v[0].full_type} {v[0].text}, {v[1].text}", type, v[0].lanes
        )

    return emit


def _divide(f: Function, op: Operation, v: Sequence[V], type: str) -> V:
    return emit_reciprocal(f, v[1]) if is_estimate(op) else _binary("fdiv")(f, op, v, type)


def _intrinsic(name: str) -> Emitter:
    def emit(f: Function, op: Operation, v: Sequence[V], type: str) -> V:
        return f.intrinsic(name, v, type, v[0].lanes)

    return emit


def _convert(instruction: str) -> Emitter:
    def emit(f: Function, op: Operation, v: Sequence[V], type: str) -> V:
        if v[0].type == type:
            return v[0]
        wanted = type if v[0].lanes == 1 else f"<{v[0].lanes} x {type}>"
        return f.assign(f"{instruction} {v[0].typed} to {wanted}", type, v[0].lanes)

    return emit


def _narrow(f: Function, op: Operation, v: Sequence[V], type: str) -> V:
    """A float as a narrower one. Where no instruction rounds to bf16, LLVM would call a
    function for each lane: half of the last kept place, less for an even one, is added to
    the bits as an integer."""
    x = v[0]
    if (x.type, type) != ("float", "bfloat") or f.module.rounds_bf16:
        return _convert("fptrunc")(f, op, v, type)
    lanes = x.lanes

    def whole(text: str) -> V:
        return f.assign(text, "i32", lanes)

    def number(value: int) -> str:
        return f.splat(integer(value, "i32"), lanes).text

    wide, narrow = ("i32", "i16") if lanes == 1 else (f"<{lanes} x i32>", f"<{lanes} x i16>")
    bits = whole(f"bitcast {x.typed} to {wide}")
    high = whole(f"lshr {bits.typed}, {number(16)}")
    last = whole(f"and {high.typed}, {number(1)}")
    half = whole(f"add {bits.typed}, {number(0x7FFF)}")
    rounded = whole(f"add {half.typed}, {last.text}")
    kept = whole(f"lshr {rounded.typed}, {number(16)}")
    quiet = whole(f"or {high.typed}, {number(0x40)}")
    is_nan = f.assign(f"fcmp uno {x.typed}, {x.text}", "i1", lanes)
    chosen = whole(f"select {is_nan.typed}, {quiet.typed}, {kept.typed}")
    short = f.assign(f"trunc {chosen.typed} to {narrow}", "i16", lanes)
    wanted = type if lanes == 1 else f"<{lanes} x {type}>"
    return f.assign(f"bitcast {short.typed} to {wanted}", type, lanes)


def _index_cast(f: Function, op: Operation, v: Sequence[V], type: str) -> V:
    source, wanted = int(v[0].type[1:]), int(type[1:])
    if source == wanted:
        return v[0]
    if v[0].number is not None:
        return integer(int(v[0].number), type)
    return _convert("trunc" if source > wanted else "sext")(f, op, v, type)


_INTEGER_PREDICATES = ("eq", "ne", "slt", "sle", "sgt", "sge", "ult", "ule", "ugt", "uge")
_FLOAT_PREDICATES = (
    "false", "oeq", "ogt", "oge", "olt", "ole", "one", "ord",
    "ueq", "ugt", "uge", "ult", "ule", "une", "uno", "true",
)  # fmt: skip


def _compare(instruction: str, predicates: Sequence[str]) -> Emitter:
    def emit(f: Function, op: Operation, v: Sequence[V], type: str) -> V:
        assert isinstance(op, arith.CmpiOp | arith.CmpfOp)
        predicate = predicates[op.predicate.value.data]
        return f.assign(
            f"{instruction} {predicate} {v[0].full_type} {v[0].text}, {v[1].text}",
            "i1",
            v[0].lanes,
        )

    return emit


def _select(f: Function, op: Operation, v: Sequence[V], type: str) -> V:
    if v[0].number is not None and v[0].lanes == 1:
        return v[1] if v[0].number else v[2]
    return f.assign(f"select {v[0].typed}, {v[1].typed}, {v[2].typed}", type, v[1].lanes)


def _negate(f: Function, op: Operation, v: Sequence[V], type: str) -> V:
    return f.assign(f"fneg {v[0].typed}", type, v[0].lanes)


def _index_arithmetic(name: str) -> Emitter:
    """Integer arithmetic that wraps; known numbers of sizes are folded."""

    def emit(f: Function, op: Operation, v: Sequence[V], type: str) -> V:
        known = all(x.number is not None for x in v)
        if known and v[0].lanes == 1 and type == "i64":
            x, y = (int(n.number or 0) for n in v)
            number = {"add": x + y, "sub": x - y, "mul": x * y}[name]
            if -(1 << 63) <= number < 1 << 63:
                return integer(number)
        return _binary(name)(f, op, v, type)

    return emit


def _abs_integer(f: Function, op: Operation, v: Sequence[V], type: str) -> V:
    zero = V("zeroinitializer" if v[0].lanes > 1 else "0", type, v[0].lanes)
    negated = f.assign(f"sub {v[0].full_type} {zero.text}, {v[0].text}", type, v[0].lanes)
    return f.intrinsic("llvm.smax", [v[0], negated], type, v[0].lanes)


def _bitcast(f: Function, op: Operation, v: Sequence[V], type: str) -> V:
    if v[0].type == "i1" and type != "i1":
        return _convert("zext")(f, op, v, type)
    if type == "i1" and v[0].type != "i1":
        zero = "zeroinitializer" if v[0].lanes > 1 else "0"
        return f.assign(f"icmp ne {v[0].typed}, {zero}", "i1", v[0].lanes)
    return _convert("bitcast")(f, op, v, type)


def _maximum(name: str) -> Emitter:
    """max and min that carry NaN; of zeros, either."""

    def emit(f: Function, op: Operation, v: Sequence[V], type: str) -> V:
        return extremum(f, name, v[0], v[1])

    return emit


def extremum(f: Function, name: str, a: V, b: V) -> V:
    """`maximum` or `minimum` of two floats, scalars or vectors: NaN where one is NaN.

    The unordered comparison picks the first operand where either is NaN, one instruction on
    x86; a second choice is needed only where the second operand may be NaN, which a constant
    is not. LLVM writes the pair without mask registers where it is given as its intrinsic.
    """
    a, b = (b, a) if _is_constant(a) else (a, b)
    if a.type in ("float", "double") and not _is_constant(b):
        return f.intrinsic(f"llvm.{name}", [a, b], a.type, a.lanes, flags="nsz ")
    predicate = "ugt" if name == "maximum" else "ult"
    chosen = f.assign(f"fcmp {predicate} {a.full_type} {a.text}, {b.text}", "i1", a.lanes)
    result = f.assign(f"select {chosen.typed}, {a.typed}, {b.typed}", a.type, a.lanes)
    if _is_constant(b):
        return result
    nan = f.assign(f"fcmp uno {b.full_type} {b.text}, {b.text}", "i1", a.lanes)
    return f.assign(f"select {nan.typed}, {b.typed}, {result.typed}", a.type, a.lanes)


def _is_constant(value: V) -> bool:
    """Whether the operand is a literal that is not a NaN."""
    return (value.number is not None and value.number == value.number) or (
        value.text.startswith("splat (") and "0x7FF8" not in value.text
    )


_TABLE: dict[type[Operation], Emitter] = {
    arith.AddfOp: _binary("fadd"),
    arith.SubfOp: _binary("fsub"),
    arith.MulfOp: _binary("fmul"),
    arith.DivfOp: _divide,
    arith.NegfOp: _negate,
    arith.MaximumfOp: _maximum("maximum"),
    arith.MinimumfOp: _maximum("minimum"),
    arith.MaxnumfOp: _intrinsic("llvm.maxnum"),
    arith.MinnumfOp: _intrinsic("llvm.minnum"),
    arith.AddiOp: _index_arithmetic("add"),
    arith.SubiOp: _index_arithmetic("sub"),
    arith.MuliOp: _index_arithmetic("mul"),
    arith.DivSIOp: _binary("sdiv"),
    arith.DivUIOp: _binary("udiv"),
    arith.RemSIOp: _binary("srem"),
    arith.RemUIOp: _binary("urem"),
    arith.AndIOp: _binary("and"),
    arith.OrIOp: _binary("or"),
    arith.XOrIOp: _binary("xor"),
    arith.ShLIOp: _binary("shl"),
    arith.ShRSIOp: _binary("ashr"),
    arith.ShRUIOp: _binary("lshr"),
    arith.MaxSIOp: _intrinsic("llvm.smax"),
    arith.MinSIOp: _intrinsic("llvm.smin"),
    arith.MaxUIOp: _intrinsic("llvm.umax"),
    arith.MinUIOp: _intrinsic("llvm.umin"),
    arith.CmpiOp: _compare("icmp", _INTEGER_PREDICATES),
    arith.CmpfOp: _compare("fcmp", _FLOAT_PREDICATES),
    arith.SelectOp: _select,
    arith.ExtFOp: _convert("fpext"),
    arith.TruncFOp: _narrow,
    arith.ExtSIOp: _convert("sext"),
    arith.ExtUIOp: _convert("zext"),
    arith.TruncIOp: _convert("trunc"),
    arith.SIToFPOp: _convert("sitofp"),
    arith.UIToFPOp: _convert("uitofp"),
    arith.FPToSIOp: _convert("fptosi"),
    arith.FPToUIOp: _convert("fptoui"),
    arith.BitcastOp: _bitcast,
    arith.IndexCastOp: _index_cast,
    math.FmaOp: _intrinsic("llvm.fma"),
    math.SqrtOp: emit_sqrt,
    math.AbsFOp: _intrinsic("llvm.fabs"),
    math.FloorOp: _intrinsic("llvm.floor"),
    math.CeilOp: _intrinsic("llvm.ceil"),
    math.TruncOp: _intrinsic("llvm.trunc"),
    math.RoundEvenOp: _intrinsic("llvm.roundeven"),
    math.CopySignOp: _intrinsic("llvm.copysign"),
    math.AbsIOp: _abs_integer,
    **NATIVE,
}
