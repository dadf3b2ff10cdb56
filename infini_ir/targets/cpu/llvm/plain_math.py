"""Functions that LLVM calls on x86-64 processors without SSE4.1 or FMA, as LLVM IR.

Rounding goes through integers, which is exact below 2**23 (2**52); anything larger is whole
already. `fmaf` computes in double precision and rounds twice; `fma` adds the error of the
product, found by Dekker's splitting (1971), which may round twice and overflows above 2**996.
"""

from __future__ import annotations

_ROUND = """
define hidden {t} @{name}({t} %x) nounwind {{
  %magnitude = call {t} @llvm.fabs.{s}({t} %x)
  %small = fcmp olt {t} %magnitude, {limit}
  br i1 %small, label %convert, label %whole
whole:
  ret {t} %x
convert:
  %integer = fptosi {t} %x to {i}
  %truncated = sitofp {i} %integer to {t}
{body}
  %signed = call {t} @llvm.copysign.{s}({t} %result, {t} %x)
  ret {t} %signed
}}
"""

_BODIES = {
    "trunc": "  %result = fadd {t} %truncated, 0.0",
    "floor": """  %above = fcmp ogt {t} %truncated, %x
  %less = fsub {t} %truncated, 1.0
  %result = select i1 %above, {t} %less, {t} %truncated""",
    "ceil": """  %below = fcmp olt {t} %truncated, %x
  %more = fadd {t} %truncated, 1.0
  %result = select i1 %below, {t} %more, {t} %truncated""",
    # Adding and taking away 1.5 * 2**m rounds to an integer, halves to even.
    "roundeven": """  %raised = fadd {t} %x, {magic}
  %result = fsub {t} %raised, {magic}""",
}

_FMA = """
define hidden float @fmaf(float %a, float %b, float %c) nounwind {
  %wa = fpext float %a to double
  %wb = fpext float %b to double
  %wc = fpext float %c to double
  %product = fmul double %wa, %wb
  %sum = fadd double %product, %wc
  %result = fptrunc double %sum to float
  ret float %result
}

define hidden double @fma(double %a, double %b, double %c) nounwind {
  %ca = fmul double %a, 134217729.0
  %da = fsub double %ca, %a
  %ha = fsub double %ca, %da
  %la = fsub double %a, %ha
  %cb = fmul double %b, 134217729.0
  %db = fsub double %cb, %b
  %hb = fsub double %cb, %db
  %lb = fsub double %b, %hb
  %p = fmul double %a, %b
  %hh = fmul double %ha, %hb
  %e0 = fsub double %hh, %p
  %hl = fmul double %ha, %lb
  %e1 = fadd double %e0, %hl
  %lh = fmul double %la, %hb
  %e2 = fadd double %e1, %lh
  %ll = fmul double %la, %lb
  %error = fadd double %e2, %ll
  %sum = fadd double %p, %c
  %v = fsub double %sum, %p
  %w = fsub double %sum, %v
  %x = fsub double %p, %w
  %y = fsub double %c, %v
  %sum_error = fadd double %x, %y
  %correction = fadd double %error, %sum_error
  %corrected = fadd double %sum, %correction
  %finite = call double @llvm.fabs.f64(double %corrected)
  %ordinary = fcmp olt double %finite, 0x7FF0000000000000
  %result = select i1 %ordinary, double %corrected, double %sum
  ret double %result
}
"""


def plain_math_ir(*, rounding: bool, fma: bool) -> str:
    """Definitions of the rounding functions, and of `fma` and `fmaf`, as wanted."""
    parts: list[str] = []
    if rounding:
        for t, s, i, suffix, limit, magic in (
            ("float", "f32", "i32", "f", "0x4160000000000000", "12582912.0"),
            ("double", "f64", "i64", "", "0x4330000000000000", "6755399441055744.0"),
        ):
            for name, body in _BODIES.items():
                text = body.format(t=t, magic=magic)
                parts.append(
                    _ROUND.format(t=t, s=s, i=i, name=name + suffix, limit=limit, body=text)
                )
        parts.append("declare float @llvm.fabs.f32(float)")
        parts.append("declare float @llvm.copysign.f32(float, float)")
        parts.append("declare double @llvm.copysign.f64(double, double)")
    if rounding or fma:
        parts.append("declare double @llvm.fabs.f64(double)")
    if fma:
        parts.append(_FMA)
    return "\n".join(parts)
