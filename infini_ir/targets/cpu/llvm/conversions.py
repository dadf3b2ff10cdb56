"""Conversions of half-width floats that LLVM calls by name where x86-64 has no instruction.

All round to nearest, ties to even, and quieten NaNs, as the instructions do. An f64 goes
through the f32 that is rounded to odd: its last bit remembers what was cut off, so that the
second rounding is exact (Boldo and Melquiond, "When double rounding is odd", 2005).
The f16 conversions follow Giesen's "Float->half variants".

These serve one element at a time. Kernels for a processor without the instruction do better
with the same arithmetic on vectors.
"""

CONVERSIONS = """
define hidden float @__extendhfsf2(half %x) nounwind {
  %h = bitcast half %x to i16
  %w = zext i16 %h to i32
  %magnitude = and i32 %w, 32767
  %shifted = shl i32 %magnitude, 13
  %exponent = and i32 %shifted, 260046848       ; 0x0f800000
  %normal = add i32 %shifted, 939524096         ; (127 - 15) << 23
  %special = add i32 %normal, 939524096         ; (128 - 16) << 23: infinities and NaNs
  %is.special = icmp eq i32 %exponent, 260046848
  %is.small = icmp eq i32 %exponent, 0
  %scaled.bits = add i32 %normal, 8388608
  %scaled = bitcast i32 %scaled.bits to float
  %small = fsub float %scaled, 0x3F10000000000000
  %small.bits = bitcast float %small to i32
  %a = select i1 %is.small, i32 %small.bits, i32 %normal
  %b = select i1 %is.special, i32 %special, i32 %a
  %is.nan = icmp ugt i32 %magnitude, 31744
  %quiet = or i32 %b, 4194304
  %c = select i1 %is.nan, i32 %quiet, i32 %b
  %sign.bit = and i32 %w, 32768
  %sign = shl i32 %sign.bit, 16
  %d = or i32 %c, %sign
  %r = bitcast i32 %d to float
  ret float %r
}

define hidden half @__truncsfhf2(float %x) nounwind {
  %w = bitcast float %x to i32
  %a = and i32 %w, 2147483647
  %is.nan = icmp ugt i32 %a, 2139095040
  %is.large = icmp uge i32 %a, 1199570944       ; 65536.0
  %is.small = icmp ult i32 %a, 947912704        ; 2**-14, the least normal f16
  %payload.bits = lshr i32 %a, 13
  %payload = and i32 %payload.bits, 1023
  %nan = or i32 %payload, 32256
  %large = select i1 %is.nan, i32 %nan, i32 31744
  %magnitude = bitcast i32 %a to float
  %aligned = fadd float %magnitude, 0.5
  %aligned.bits = bitcast float %aligned to i32
  %small = sub i32 %aligned.bits, 1056964608    ; the bits of 0.5
  %last = and i32 %payload.bits, 1
  %rebased = sub i32 %a, 939524096              ; (127 - 15) << 23
  %half = add i32 %rebased, 4095
  %rounded = add i32 %half, %last
  %normal = lshr i32 %rounded, 13
  %b = select i1 %is.small, i32 %small, i32 %normal
  %c = select i1 %is.large, i32 %large, i32 %b
  %high = lshr i32 %w, 16
  %sign = and i32 %high, 32768
  %d = or i32 %c, %sign
  %h = trunc i32 %d to i16
  %r = bitcast i16 %h to half
  ret half %r
}

define hidden bfloat @__truncsfbf2(float %x) nounwind {
  %w = bitcast float %x to i32
  %a = and i32 %w, 2147483647
  %is.nan = icmp ugt i32 %a, 2139095040
  %high = lshr i32 %w, 16
  %last = and i32 %high, 1
  %half = add i32 %w, 32767
  %rounded.wide = add i32 %half, %last
  %rounded = lshr i32 %rounded.wide, 16
  %nan = or i32 %high, 64
  %b = select i1 %is.nan, i32 %nan, i32 %rounded
  %h = trunc i32 %b to i16
  %r = bitcast i16 %h to bfloat
  ret bfloat %r
}

define internal float @infini_round_to_odd(double %x) nounwind alwaysinline {
  %near = fptrunc double %x to float
  %back = fpext float %near to double
  %x.bits = bitcast double %x to i64
  %back.bits = bitcast double %back to i64
  %x.magnitude = and i64 %x.bits, 9223372036854775807
  %back.magnitude = and i64 %back.bits, 9223372036854775807
  %over = icmp ugt i64 %back.magnitude, %x.magnitude
  %inexact = fcmp one double %back, %x
  %bits = bitcast float %near to i32
  %below = sub i32 %bits, 1
  %cut = select i1 %over, i32 %below, i32 %bits
  %odd = or i32 %cut, 1
  %r.bits = select i1 %inexact, i32 %odd, i32 %bits
  %r = bitcast i32 %r.bits to float
  ret float %r
}

define hidden half @__truncdfhf2(double %x) nounwind {
  %odd = call float @infini_round_to_odd(double %x)
  %r = call half @__truncsfhf2(float %odd)
  ret half %r
}

define hidden bfloat @__truncdfbf2(double %x) nounwind {
  %odd = call float @infini_round_to_odd(double %x)
  %r = call bfloat @__truncsfbf2(float %odd)
  ret bfloat %r
}
"""
