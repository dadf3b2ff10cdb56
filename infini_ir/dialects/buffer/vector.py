"""Vector instructions on rows of local memory.

All offsets and counts are index values, in elements (of a mask: lanes). An instruction
touches `count` neighbours from each offset on; a count of 0 (or less) does nothing. The
destination may be one of the sources at the same offset, else they do not overlap. Sources
and destination of arithmetic have one element type. Lanes between the end of a row and the
beginning of the next hold anything: instructions run over them where rows are taken
together, and what they compute there is never stored, reduced or read.
"""

from __future__ import annotations

from xdsl.dialects.builtin import IndexType, UnitAttr
from xdsl.ir import Operation, SSAValue
from xdsl.irdl import (
    AnyAttr,
    IRDLOperation,
    irdl_op_definition,
    operand_def,
    opt_prop_def,
    prop_def,
)
from xdsl.utils.exceptions import VerifyException

from infini_ir.dialects.buffer.types import (
    BinaryFunction,
    BinaryFunctionAttr,
    Comparison,
    ComparisonAttr,
    LocalType,
    MaskFunction,
    MaskFunctionAttr,
    Rounding,
    RoundingAttr,
    UnaryFunction,
    UnaryFunctionAttr,
    local_type,
)

Value = SSAValue | Operation
Place = tuple[Value, Value]
"""Local memory and an offset into it."""


def same_elements(*locals: SSAValue) -> None:
    elements = {local_type(local).element for local in locals}
    if len(elements) > 1:
        raise VerifyException(
            "operands have different elements: " + ", ".join(map(str, elements))
        )


def _mask(local: SSAValue) -> None:
    if not local_type(local).is_mask:
        raise VerifyException(f"wants a mask, not {local.type}")


@irdl_op_definition
class UnaryOp(IRDLOperation):
    """
    dst = f(src), of floats unless said otherwise.

    exp, ln, sqrt, sin, cos, tanh, erf, sigmoid: as precise as the target's instruction
    is. rsqrt = 1 / sqrt(x), reciprocal = 1 / x: to the precision of the instruction, used
    only where the target says that they are exact enough. abs, neg (also integers,
    wrapping): the sign bit alone changes. relu (also integers): max(x, 0), NaN gives NaN.
    floor, ceil, round_even, trunc: to a whole number. bit_not: of integers.
    NaN gives NaN.

        buffer.unary exp %d[%o], %x[%p], %n : !buffer.local<64, f32, vector>, !buffer.local<64, f32, vector>
    """

    name = "buffer.unary"
    function = prop_def(UnaryFunctionAttr)
    dst = operand_def(LocalType)
    dst_offset = operand_def(IndexType)
    src = operand_def(LocalType)
    src_offset = operand_def(IndexType)
    count = operand_def(IndexType)
    assembly_format = (
        "$function $dst `[` $dst_offset `]` `,` $src `[` $src_offset `]` `,` $count attr-dict "
        "`:` type($dst) `,` type($src)"
    )

    def __init__(self, function: UnaryFunction, dst: Place, src: Place, count: Value):
        super().__init__(
            operands=[*dst, *src, count],
            properties={"function": UnaryFunctionAttr(function)},
        )

    def verify_(self) -> None:
        same_elements(self.dst, self.src)


@irdl_op_definition
class BinaryOp(IRDLOperation):
    """
    dst = f(lhs, rhs).

    add, sub, mul: rounded to nearest even; integers wrap. div: floats only, correctly
    rounded. max, min: integers are signed; of floats, NaN wins (either operand), and which
    of -0 and +0 is not said. bit_and, bit_or, bit_xor: integers. shift_left, shift_right
    (arithmetic), shift_right_unsigned: integers, by 0 to width - 1.

        buffer.binary add %d[%o], %a[%p], %b[%q], %n : T, T, T
    """

    name = "buffer.binary"
    function = prop_def(BinaryFunctionAttr)
    dst = operand_def(LocalType)
    dst_offset = operand_def(IndexType)
    lhs = operand_def(LocalType)
    lhs_offset = operand_def(IndexType)
    rhs = operand_def(LocalType)
    rhs_offset = operand_def(IndexType)
    count = operand_def(IndexType)
    assembly_format = (
        "$function $dst `[` $dst_offset `]` `,` $lhs `[` $lhs_offset `]` `,` "
        "$rhs `[` $rhs_offset `]` `,` $count attr-dict "
        "`:` type($dst) `,` type($lhs) `,` type($rhs)"
    )

    def __init__(
        self, function: BinaryFunction, dst: Place, lhs: Place, rhs: Place, count: Value
    ):
        super().__init__(
            operands=[*dst, *lhs, *rhs, count],
            properties={"function": BinaryFunctionAttr(function)},
        )

    def verify_(self) -> None:
        same_elements(self.dst, self.lhs, self.rhs)


@irdl_op_definition
class BinaryScalarOp(IRDLOperation):
    """
    dst = f(src, scalar), the scalar on the right; functions as of `buffer.binary`.

        buffer.binary_scalar mul %d[%o], %x[%p], %c, %n : T, T, f32
    """

    name = "buffer.binary_scalar"
    function = prop_def(BinaryFunctionAttr)
    dst = operand_def(LocalType)
    dst_offset = operand_def(IndexType)
    src = operand_def(LocalType)
    src_offset = operand_def(IndexType)
    scalar = operand_def(AnyAttr())
    count = operand_def(IndexType)
    assembly_format = (
        "$function $dst `[` $dst_offset `]` `,` $src `[` $src_offset `]` `,` $scalar `,` "
        "$count attr-dict `:` type($dst) `,` type($src) `,` type($scalar)"
    )

    def __init__(
        self, function: BinaryFunction, dst: Place, src: Place, scalar: Value, count: Value
    ):
        super().__init__(
            operands=[*dst, *src, scalar, count],
            properties={"function": BinaryFunctionAttr(function)},
        )

    def verify_(self) -> None:
        same_elements(self.dst, self.src)
        check_scalar(self.scalar, self.src)


def check_scalar(scalar: SSAValue, local: SSAValue) -> None:
    if scalar.type != local_type(local).element:
        raise VerifyException(f"scalar {scalar.type} does not meet {local.type}")


@irdl_op_definition
class CompareOp(IRDLOperation):
    """
    mask = lhs ? rhs, integers signed. With a NaN only `ne` holds.

        buffer.compare lt %m[%o], %a[%p], %b[%q], %n : !buffer.local<256, i1, vector>, T, T
    """

    name = "buffer.compare"
    relation = prop_def(ComparisonAttr)
    dst = operand_def(LocalType)
    dst_offset = operand_def(IndexType)
    lhs = operand_def(LocalType)
    lhs_offset = operand_def(IndexType)
    rhs = operand_def(LocalType)
    rhs_offset = operand_def(IndexType)
    count = operand_def(IndexType)
    assembly_format = (
        "$relation $dst `[` $dst_offset `]` `,` $lhs `[` $lhs_offset `]` `,` "
        "$rhs `[` $rhs_offset `]` `,` $count attr-dict "
        "`:` type($dst) `,` type($lhs) `,` type($rhs)"
    )

    def __init__(self, relation: Comparison, dst: Place, lhs: Place, rhs: Place, count: Value):
        super().__init__(
            operands=[*dst, *lhs, *rhs, count],
            properties={"relation": ComparisonAttr(relation)},
        )

    def verify_(self) -> None:
        _mask(self.dst)
        same_elements(self.lhs, self.rhs)


@irdl_op_definition
class CompareScalarOp(IRDLOperation):
    """
    mask = src ? scalar; see `buffer.compare`.

        buffer.compare_scalar ge %m[%o], %x[%p], %c, %n : !buffer.local<256, i1, vector>, T, f32
    """

    name = "buffer.compare_scalar"
    relation = prop_def(ComparisonAttr)
    dst = operand_def(LocalType)
    dst_offset = operand_def(IndexType)
    src = operand_def(LocalType)
    src_offset = operand_def(IndexType)
    scalar = operand_def(AnyAttr())
    count = operand_def(IndexType)
    assembly_format = (
        "$relation $dst `[` $dst_offset `]` `,` $src `[` $src_offset `]` `,` $scalar `,` "
        "$count attr-dict `:` type($dst) `,` type($src) `,` type($scalar)"
    )

    def __init__(
        self, relation: Comparison, dst: Place, src: Place, scalar: Value, count: Value
    ):
        super().__init__(
            operands=[*dst, *src, scalar, count],
            properties={"relation": ComparisonAttr(relation)},
        )

    def verify_(self) -> None:
        _mask(self.dst)
        check_scalar(self.scalar, self.src)


@irdl_op_definition
class MaskBinaryOp(IRDLOperation):
    """
    Lanes of two masks together: `buffer.mask_binary bit_and %d[%o], %a[%p], %b[%q], %n : T, T, T`.
    """

    name = "buffer.mask_binary"
    function = prop_def(MaskFunctionAttr)
    dst = operand_def(LocalType)
    dst_offset = operand_def(IndexType)
    lhs = operand_def(LocalType)
    lhs_offset = operand_def(IndexType)
    rhs = operand_def(LocalType)
    rhs_offset = operand_def(IndexType)
    count = operand_def(IndexType)
    assembly_format = (
        "$function $dst `[` $dst_offset `]` `,` $lhs `[` $lhs_offset `]` `,` "
        "$rhs `[` $rhs_offset `]` `,` $count attr-dict "
        "`:` type($dst) `,` type($lhs) `,` type($rhs)"
    )

    def __init__(
        self, function: MaskFunction, dst: Place, lhs: Place, rhs: Place, count: Value
    ):
        super().__init__(
            operands=[*dst, *lhs, *rhs, count],
            properties={"function": MaskFunctionAttr(function)},
        )

    def verify_(self) -> None:
        for local in (self.dst, self.lhs, self.rhs):
            _mask(local)


class MoveOp(IRDLOperation):
    """What instructions with one source, and nothing else to say, share."""

    dst = operand_def(LocalType)
    dst_offset = operand_def(IndexType)
    src = operand_def(LocalType)
    src_offset = operand_def(IndexType)
    count = operand_def(IndexType)

    def __init__(self, dst: Place, src: Place, count: Value):
        super().__init__(operands=[*dst, *src, count])


_MOVE = (
    "$dst `[` $dst_offset `]` `,` $src `[` $src_offset `]` `,` $count attr-dict "
    "`:` type($dst) `,` type($src)"
)


@irdl_op_definition
class MaskNotOp(MoveOp):
    """Lanes of a mask turned over: `buffer.mask_not %d[%o], %a[%p], %n : T, T`."""

    name = "buffer.mask_not"
    assembly_format = _MOVE

    def verify_(self) -> None:
        _mask(self.dst)
        _mask(self.src)


@irdl_op_definition
class MaskFromBytesOp(MoveOp):
    """
    Bools as they lie in memory (`i8`, 0 or not) to a mask:
    `buffer.mask_from_bytes %m[%o], %b[%p], %n : M, B`.
    """

    name = "buffer.mask_from_bytes"
    assembly_format = _MOVE

    def verify_(self) -> None:
        _mask(self.dst)
        if local_type(self.src).dtype != "i8":
            raise VerifyException(f"bools in memory are i8, not {self.src.type}")


@irdl_op_definition
class MaskToBytesOp(MoveOp):
    """A mask to bytes of 0 and 1: `buffer.mask_to_bytes %b[%o], %m[%p], %n : B, M`."""

    name = "buffer.mask_to_bytes"
    assembly_format = _MOVE

    def verify_(self) -> None:
        _mask(self.src)
        if local_type(self.dst).dtype != "i8":
            raise VerifyException(f"bools in memory are i8, not {self.dst.type}")


@irdl_op_definition
class CopyOp(MoveOp):
    """Local to local memory: `buffer.copy %d[%o], %x[%p], %n : T, T`."""

    name = "buffer.copy"
    assembly_format = _MOVE

    def verify_(self) -> None:
        same_elements(self.dst, self.src)


@irdl_op_definition
class SelectOp(IRDLOperation):
    """
    dst = mask ? lhs : rhs, of any element type; bits are kept.

        buffer.select %d[%o], %m[%p], %a[%q], %b[%r], %n : T, !buffer.local<256, i1, vector>, T, T
    """

    name = "buffer.select"
    dst = operand_def(LocalType)
    dst_offset = operand_def(IndexType)
    mask = operand_def(LocalType)
    mask_offset = operand_def(IndexType)
    lhs = operand_def(LocalType)
    lhs_offset = operand_def(IndexType)
    rhs = operand_def(LocalType)
    rhs_offset = operand_def(IndexType)
    count = operand_def(IndexType)
    assembly_format = (
        "$dst `[` $dst_offset `]` `,` $mask `[` $mask_offset `]` `,` $lhs `[` $lhs_offset `]` "
        "`,` $rhs `[` $rhs_offset `]` `,` $count attr-dict "
        "`:` type($dst) `,` type($mask) `,` type($lhs) `,` type($rhs)"
    )

    def __init__(self, dst: Place, mask: Place, lhs: Place, rhs: Place, count: Value):
        super().__init__(operands=[*dst, *mask, *lhs, *rhs, count])

    def verify_(self) -> None:
        _mask(self.mask)
        same_elements(self.dst, self.lhs, self.rhs)


@irdl_op_definition
class CastOp(IRDLOperation):
    """
    dst = src in the destination's element type. `unsigned`: the integer of the two is read
    or written as unsigned. Float to integer out of range saturates, NaN gives some value;
    integer to narrower integer keeps the low bits. Rounding `exact` says that no value
    changes (or that low bits are kept).

        buffer.cast nearest_even %d[%o], %x[%p], %n : !buffer.local<64, f16, vector>, !buffer.local<64, f32, vector>
    """

    name = "buffer.cast"
    rounding = prop_def(RoundingAttr)
    unsigned = opt_prop_def(UnitAttr)
    dst = operand_def(LocalType)
    dst_offset = operand_def(IndexType)
    src = operand_def(LocalType)
    src_offset = operand_def(IndexType)
    count = operand_def(IndexType)
    assembly_format = (
        "$rounding (`unsigned` $unsigned^)? $dst `[` $dst_offset `]` `,` $src `[` $src_offset `]` "
        "`,` $count attr-dict `:` type($dst) `,` type($src)"
    )

    def __init__(
        self,
        rounding: Rounding,
        dst: Place,
        src: Place,
        count: Value,
        *,
        unsigned: bool = False,
    ):
        super().__init__(
            operands=[*dst, *src, count],
            properties={
                "rounding": RoundingAttr(rounding),
                "unsigned": UnitAttr() if unsigned else None,
            },
        )


@irdl_op_definition
class FillOp(IRDLOperation):
    """dst = scalar everywhere: `buffer.fill %d[%o], %c, %n : T, f32`."""

    name = "buffer.fill"
    dst = operand_def(LocalType)
    dst_offset = operand_def(IndexType)
    scalar = operand_def(AnyAttr())
    count = operand_def(IndexType)
    assembly_format = "$dst `[` $dst_offset `]` `,` $scalar `,` $count attr-dict `:` type($dst) `,` type($scalar)"

    def __init__(self, dst: Place, scalar: Value, count: Value):
        super().__init__(operands=[*dst, scalar, count])

    def verify_(self) -> None:
        check_scalar(self.scalar, self.dst)


@irdl_op_definition
class IotaOp(IRDLOperation):
    """dst[i] = start + i, integers: `buffer.iota %d[%o], %start, %n : T, i32`."""

    name = "buffer.iota"
    dst = operand_def(LocalType)
    dst_offset = operand_def(IndexType)
    start = operand_def(AnyAttr())
    count = operand_def(IndexType)
    assembly_format = "$dst `[` $dst_offset `]` `,` $start `,` $count attr-dict `:` type($dst) `,` type($start)"

    def __init__(self, dst: Place, start: Value, count: Value):
        super().__init__(operands=[*dst, start, count])

    def verify_(self) -> None:
        check_scalar(self.start, self.dst)


VECTOR_OPS = (
    UnaryOp, BinaryOp, BinaryScalarOp, CompareOp, CompareScalarOp, MaskBinaryOp, MaskNotOp,
    MaskFromBytesOp, MaskToBytesOp, CopyOp, SelectOp, CastOp, FillOp, IotaOp,
)  # fmt: skip
