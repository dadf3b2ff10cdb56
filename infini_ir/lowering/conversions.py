"""Conversions between element types as scalar code.

Narrow floats that only store (8 and 4 bits) convert by integer arithmetic on their bits, so
that no target needs an instruction for them.
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.dialects import arith, math
from xdsl.ir import SSAValue

from infini_ir.lowering.scalar_builder import ScalarBuilder, bits_of, scalar_type
from infini_ir.utils import dtypes


@dataclass(frozen=True)
class SmallFloat:
    """A float format that fits in 8 bits (OCP 8-bit and microscaling formats, LLVM's FNUZ)."""

    exponent: int
    """Bits of the exponent."""
    mantissa: int
    """Stored bits of the significand."""
    bias: int
    greatest: int
    """The largest finite magnitude, as bits."""
    overflow: int
    """What is beyond it without saturation, as bits; for `single_zero` with the sign."""
    nan: int
    single_zero: bool = False
    """No negative zero: its bits are the only NaN."""

    @property
    def magnitude_bits(self) -> int:
        return self.exponent + self.mantissa

    @property
    def smallest_normal(self) -> float:
        return 2.0 ** (1 - self.bias)

    @property
    def smallest_step(self) -> float:
        return 2.0 ** (1 - self.bias - self.mantissa)


FORMATS = {
    "f8E4M3FN": SmallFloat(4, 3, 7, 0x7E, 0x7F, 0x7F),
    "f8E5M2": SmallFloat(5, 2, 15, 0x7B, 0x7C, 0x7E),
    "f8E4M3FNUZ": SmallFloat(4, 3, 8, 0x7F, 0x80, 0x80, single_zero=True),
    "f8E5M2FNUZ": SmallFloat(5, 2, 16, 0x7F, 0x80, 0x80, single_zero=True),
    "f4E2M1FN": SmallFloat(2, 1, 1, 0x7, 0x7, 0x0),
}
SCALE = "f8E8M0FNU"
"""Powers of two: an exponent and nothing else."""


def convert(
    s: ScalarBuilder,
    x: SSAValue,
    given: str,
    wanted: str,
    *,
    saturate: bool = True,
    rounding: str = "nearest",
) -> SSAValue:
    """`x` of the element type `given` as `wanted`, as `graph.cast` defines it."""
    if given == wanted:
        return x
    if given in FORMATS or given == SCALE:
        x, given = (_from_scale(s, x) if given == SCALE else _decode(s, x, given)), "f32"
    if wanted == "i1":
        x = s.widen(x) if given in ("f16", "bf16") else x
        return s.compare("ne", x, s.like(0, x))
    if dtypes.is_float(given):
        if dtypes.is_float(wanted):
            return _float_to_float(s, x, given, wanted, saturate, rounding)
        wide = x if given == "f64" else s.widen(x)
        return _float_to_integer(s, wide, wanted)
    if dtypes.is_float(wanted):
        return _integer_to_float(s, x, given, wanted, saturate, rounding)
    return _integer_to_integer(s, x, given, wanted)


def reinterpret(s: ScalarBuilder, x: SSAValue, given: str, wanted: str) -> SSAValue:
    """The same bits as another type. A bool is a byte, 0 or 1."""
    if given == wanted:
        return x
    if given == "i1":
        x = s.emit(arith.ExtUIOp(x, scalar_type("i8")))
    if wanted == "i1":
        return s.compare("ne", s.bitcast(x, "i8"), s.constant(0, "i8"))
    return s.bitcast(x, wanted)


def _is_zero_extended(dtype: str) -> bool:
    return dtypes.is_unsigned(dtype) or dtype == "i1"


def _integer_to_integer(s: ScalarBuilder, x: SSAValue, given: str, wanted: str) -> SSAValue:
    before, after = bits_of(given), bits_of(wanted)
    if before == after:
        return x
    if max(before, after) < 8 and 1 not in (before, after):
        x, given, before = _integer_to_integer(s, x, given, "i8"), "i8", 8
    type_ = scalar_type(wanted)
    if before > after:
        return s.emit(arith.TruncIOp(x, type_))
    return s.emit((arith.ExtUIOp if _is_zero_extended(given) else arith.ExtSIOp)(x, type_))


def _integer_to_float(
    s: ScalarBuilder, x: SSAValue, given: str, wanted: str, saturate: bool, rounding: str
) -> SSAValue:
    if bits_of(given) < 8:
        x, given = _integer_to_integer(s, x, given, "i32"), "i32"
    op = arith.UIToFPOp if _is_zero_extended(given) else arith.SIToFPOp
    direct = wanted if wanted in ("f32", "f64") else "f32"
    made = s.emit(op(x, scalar_type(direct)))
    return _float_to_float(s, made, direct, wanted, saturate, rounding)


def _float_to_float(
    s: ScalarBuilder, x: SSAValue, given: str, wanted: str, saturate: bool, rounding: str
) -> SSAValue:
    if given == wanted:
        return x
    if wanted in FORMATS or wanted == SCALE:
        single = s.narrow(x, "f32") if given == "f64" else s.widen(x)
        if wanted == SCALE:
            return _to_scale(s, single, saturate, rounding)
        return _encode(s, single, wanted, saturate)
    before, after = bits_of(given), bits_of(wanted)
    if before == after:
        return s.narrow(s.widen(x), wanted)
    return s.widen(x, wanted) if before < after else s.narrow(x, wanted)


def _float_to_integer(s: ScalarBuilder, x: SSAValue, wanted: str) -> SSAValue:
    """Truncates and saturates; NaN gives 0. The limits are powers of two, so exact."""
    bits, unsigned = bits_of(wanted), dtypes.is_unsigned(wanted)
    if bits == 8:
        return _float_to_byte(s, x, wanted)
    low, high = (0, 1 << bits) if unsigned else (-(1 << (bits - 1)), 1 << (bits - 1))
    # Truncation brings anything above -1 to 0.
    at_least = s.compare("gt", x, s.like(-1.0, x)) if unsigned else None
    inside = at_least if at_least else s.compare("ge", x, s.like(float(low), x))
    above = s.compare("ge", x, s.like(float(high), x))
    usable = s.and_(inside, s.compare("lt", x, s.like(float(high), x)))
    safe = s.select(usable, x, s.like(0.0, x))
    work = wanted if bits >= 32 else "i32"
    op = arith.FPToUIOp if unsigned and bits >= 32 else arith.FPToSIOp
    whole = s.emit(op(safe, scalar_type(work)))
    if work != wanted:
        whole = s.emit(arith.TruncIOp(whole, scalar_type(wanted)))
    whole = s.select(above, s.constant(high - 1, wanted), whole)
    if unsigned:
        return whole
    below = s.compare("lt", x, s.like(float(low), x))
    return s.select(below, s.constant(low, wanted), whole)


def _float_to_byte(s: ScalarBuilder, x: SSAValue, wanted: str) -> SSAValue:
    """The same where the limits are numbers of any float type."""
    low, high = (0, 255) if dtypes.is_unsigned(wanted) else (-128, 127)
    if low:
        x = s.select(s.compare("eq", x, x), x, s.like(0.0, x))
    least, most = s.like(float(low), x), s.like(float(high), x)
    x = s.select(s.compare("gt", x, least), x, least)
    x = s.select(s.compare("lt", x, most), x, most)
    whole = s.emit(arith.FPToSIOp(x, scalar_type("i32")))
    return s.emit(arith.TruncIOp(whole, scalar_type(wanted)))


# Small floats -----------------------------------------------------------------------------


def _raw(s: ScalarBuilder, x: SSAValue, dtype: str) -> SSAValue:
    """The bits, zero extended to i32."""
    bits = bits_of(dtype)
    narrow = s.bitcast(x, f"i{bits}")
    wide = s.emit(arith.ExtUIOp(narrow, scalar_type("i32")))
    return s.and_(wide, s.constant((1 << bits) - 1, "i32"))


def _from_raw(s: ScalarBuilder, bits: SSAValue, dtype: str) -> SSAValue:
    narrow = s.emit(arith.TruncIOp(bits, scalar_type(f"i{bits_of(dtype)}")))
    return s.bitcast(narrow, dtype)


def _decode(s: ScalarBuilder, x: SSAValue, dtype: str) -> SSAValue:
    form, i = FORMATS[dtype], lambda n: s.constant(n, "i32")
    raw = _raw(s, x, dtype)
    magnitude = s.and_(raw, i((1 << form.magnitude_bits) - 1))
    shifted = s.shl(magnitude, i(23 - form.mantissa))
    normal = s.bitcast(s.add(shifted, i((127 - form.bias) << 23)), "f32")
    counted = s.emit(arith.SIToFPOp(magnitude, scalar_type("f32")))
    tiny = s.mul(counted, s.constant(form.smallest_step, "f32"))
    is_tiny = s.compare("lt", magnitude, i(1 << form.mantissa))
    value = s.select(is_tiny, tiny, normal)
    negative = s.compare("ne", s.shr(raw, i(form.magnitude_bits), unsigned=True), i(0))
    nan = s.constant(float("nan"), "f32")
    if form.single_zero:
        value = s.select(s.compare("eq", raw, i(form.nan)), nan, value)
    elif form.nan:
        value = s.select(s.compare("gt", magnitude, i(form.greatest)), nan, value)
        if form.overflow != form.nan:
            infinite = s.compare("eq", magnitude, i(form.overflow))
            value = s.select(infinite, s.constant(float("inf"), "f32"), value)
    return s.select(negative, s.neg(value), value)


def _encode(s: ScalarBuilder, x: SSAValue, dtype: str, saturate: bool) -> SSAValue:
    form, i = FORMATS[dtype], lambda n: s.constant(n, "i32")
    size = s.emit(math.AbsFOp(x))
    tiny = s.compare("lt", size, s.constant(form.smallest_normal, "f32"))
    scaled = s.mul(
        s.select(tiny, size, s.constant(0.0, "f32")), s.constant(1 / form.smallest_step, "f32")
    )
    steps = s.emit(arith.FPToSIOp(s.emit(math.RoundEvenOp(scaled)), scalar_type("i32")))
    # Round half to even: add half of the last kept place, and 1 more where it is odd.
    drop = 23 - form.mantissa
    bits = s.bitcast(size, "i32")
    odd = s.and_(s.shr(bits, i(drop)), i(1))
    rounded = s.shr(s.add(s.add(bits, i((1 << (drop - 1)) - 1)), odd), i(drop))
    magnitude = s.select(tiny, steps, s.sub(rounded, i((127 - form.bias) << form.mantissa)))
    limit = form.greatest if saturate else form.overflow
    beyond = s.compare("gt", magnitude, i(form.greatest))
    magnitude = s.select(beyond, i(limit), magnitude)
    sign = s.shr(s.bitcast(x, "i32"), i(31), unsigned=True)
    if form.single_zero:
        sign = s.select(s.compare("eq", magnitude, i(0)), i(0), sign)
    result = s.or_(magnitude, s.shl(sign, i(form.magnitude_bits)))
    is_nan = s.compare("ne", x, x)
    return _from_raw(s, s.select(is_nan, i(form.nan), result), dtype)


def _from_scale(s: ScalarBuilder, x: SSAValue) -> SSAValue:
    """2 to the (bits - 127); 0 bits are below f32's normal numbers, 255 is NaN."""
    i = lambda n: s.constant(n, "i32")  # noqa: E731
    raw = _raw(s, x, SCALE)
    value = s.bitcast(s.shl(raw, i(23)), "f32")
    value = s.select(s.compare("eq", raw, i(0)), s.constant(2.0**-127, "f32"), value)
    return s.select(s.compare("eq", raw, i(255)), s.constant(float("nan"), "f32"), value)


def _to_scale(s: ScalarBuilder, x: SSAValue, saturate: bool, rounding: str) -> SSAValue:
    """The exponent of x, rounded; zero, negative numbers and NaN give NaN (255)."""
    i = lambda n: s.constant(n, "i32")  # noqa: E731
    valid = s.compare("ge" if saturate else "gt", x, s.constant(0.0, "f32"))
    if saturate:
        x = s.max(x, s.constant(2.0**-127, "f32"))
        x = s.min(x, s.constant(2.0**127, "f32"))
    # Below the normal numbers there is only the exponent 0 (2 to the -127).
    small = s.compare("lt", x, s.constant(2.0**-126, "f32"))
    scaled = s.mul(x, s.select(small, s.constant(2.0, "f32"), s.constant(1.0, "f32")))
    bits = s.bitcast(scaled, "i32")
    exponent = s.sub(s.shr(bits, i(23)), s.select(small, i(1), i(0)))
    rest = s.and_(bits, i(0x7FFFFF))
    if rounding == "up":
        more = s.compare("gt", rest, i(0))
    elif rounding == "nearest":
        odd = s.compare("ne", s.and_(exponent, i(1)), i(0))
        half = s.and_(s.compare("eq", rest, i(0x400000)), odd)
        more = s.or_(s.compare("gt", rest, i(0x400000)), half)
    else:
        more = s.constant(False, "i1")
    exponent = s.add(exponent, s.select(more, i(1), i(0)))
    fits = s.and_(s.compare("ge", exponent, i(0)), s.compare("le", exponent, i(254)))
    finite = s.compare("lt", x, s.constant(float("inf"), "f32"))
    usable = s.and_(s.and_(valid, fits), finite)
    return _from_raw(s, s.select(usable, exponent, i(255)), SCALE)
