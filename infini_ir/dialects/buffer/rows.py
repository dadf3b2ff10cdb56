"""Instructions over several rows (reduction, transposition, product), and single elements.

Offsets, counts and overlap are as of the instructions in `vector`.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import DenseArrayBase, IndexType, UnitAttr, i64
from xdsl.ir import SSAValue
from xdsl.irdl import (
    AnyAttr,
    IRDLOperation,
    irdl_op_definition,
    operand_def,
    opt_prop_def,
    prop_def,
    result_def,
    var_operand_def,
)
from xdsl.utils.exceptions import VerifyException

from infini_ir.dialects.buffer.types import LocalType, local_type
from infini_ir.dialects.buffer.vector import Place, Value, check_scalar, same_elements
from infini_ir.dialects.graph.base import ints, ints_of
from infini_ir.dialects.tile.values import ReduceKind, ReduceKindAttr

IntsConstraint = DenseArrayBase.constr(i64)


@irdl_op_definition
class ReduceOp(IRDLOperation):
    """
    dst[o] = the combination of `count` neighbours, in any order, one element; add of
    floats may keep a wider sum. max and min: as of `buffer.binary`, but with a NaN among
    them the result is NaN only where the target says so. The count is at least 1. `work`
    is local memory that the instruction may use, of as many elements as the target wants.
    The destination's offset need not be aligned.

        buffer.reduce add %d[%o], %x[%p], %n work (%w : T) : T, T
    """

    name = "buffer.reduce"
    kind = prop_def(ReduceKindAttr)
    dst = operand_def(LocalType)
    dst_offset = operand_def(IndexType)
    src = operand_def(LocalType)
    src_offset = operand_def(IndexType)
    count = operand_def(IndexType)
    work = var_operand_def(LocalType)
    assembly_format = (
        "$kind $dst `[` $dst_offset `]` `,` $src `[` $src_offset `]` `,` $count "
        "(`work` `(` $work^ `:` type($work) `)`)? attr-dict `:` type($dst) `,` type($src)"
    )

    def __init__(
        self, kind: ReduceKind, dst: Place, src: Place, count: Value, work: Sequence[Value] = ()
    ):
        super().__init__(
            operands=[*dst, *src, count, list(work)],
            properties={"kind": ReduceKindAttr(kind)},
        )

    def verify_(self) -> None:
        same_elements(self.dst, self.src)


@irdl_op_definition
class TransposeOp(IRDLOperation):
    """
    dst[o + j*pitch0 + i] = src[p + i*pitch1 + j] for i < rows, j < columns; the two do not
    overlap. `work` as of `buffer.reduce`.

        buffer.transpose %d[%o], %x[%p], %rows, %columns pitches [64, 128] : T, T
    """

    name = "buffer.transpose"
    dst = operand_def(LocalType)
    dst_offset = operand_def(IndexType)
    src = operand_def(LocalType)
    src_offset = operand_def(IndexType)
    rows = operand_def(IndexType)
    columns = operand_def(IndexType)
    pitches = prop_def(IntsConstraint)
    work = var_operand_def(LocalType)
    assembly_format = (
        "$dst `[` $dst_offset `]` `,` $src `[` $src_offset `]` `,` $rows `,` $columns "
        "`pitches` $pitches (`work` `(` $work^ `:` type($work) `)`)? attr-dict "
        "`:` type($dst) `,` type($src)"
    )

    def __init__(
        self,
        dst: Place,
        src: Place,
        rows: Value,
        columns: Value,
        pitches: Sequence[int],
        work: Sequence[Value] = (),
    ):
        super().__init__(
            operands=[*dst, *src, rows, columns, list(work)],
            properties={"pitches": ints(pitches)},
        )

    @property
    def pitch_list(self) -> tuple[int, ...]:
        return ints_of(self.pitches)

    def verify_(self) -> None:
        same_elements(self.dst, self.src)
        if len(self.pitch_list) != 2:
            raise VerifyException("wants the destination's and the source's pitch")


@irdl_op_definition
class DotOp(IRDLOperation):
    """
    acc[i, j] += sum over l of lhs[i, l] * rhs[l, j] (rhs[j, l] when transposed), for i < m,
    j < n, l < k, products in the accumulator's element type or exactly; rows lie `pitches`
    apart (of acc, lhs, rhs). `work`: memory of other spaces that the unit works in.

        buffer.dot %c[%o], %a[%p], %b[%q], %m, %n, %k pitches [64, 32, 64] : C, A, B
    """

    name = "buffer.dot"
    acc = operand_def(LocalType)
    acc_offset = operand_def(IndexType)
    lhs = operand_def(LocalType)
    lhs_offset = operand_def(IndexType)
    rhs = operand_def(LocalType)
    rhs_offset = operand_def(IndexType)
    m = operand_def(IndexType)
    n = operand_def(IndexType)
    k = operand_def(IndexType)
    pitches = prop_def(IntsConstraint)
    transposed = opt_prop_def(UnitAttr)
    work = var_operand_def(LocalType)
    assembly_format = (
        "$acc `[` $acc_offset `]` `,` $lhs `[` $lhs_offset `]` `,` $rhs `[` $rhs_offset `]` `,` "
        "$m `,` $n `,` $k `pitches` $pitches (`transposed` $transposed^)? "
        "(`work` `(` $work^ `:` type($work) `)`)? attr-dict "
        "`:` type($acc) `,` type($lhs) `,` type($rhs)"
    )

    def __init__(
        self,
        acc: Place,
        lhs: Place,
        rhs: Place,
        sizes: tuple[Value, Value, Value],
        pitches: Sequence[int],
        *,
        transposed: bool = False,
        work: Sequence[Value] = (),
    ):
        super().__init__(
            operands=[*acc, *lhs, *rhs, *sizes, list(work)],
            properties={
                "pitches": ints(pitches),
                "transposed": UnitAttr() if transposed else None,
            },
        )

    @property
    def pitch_list(self) -> tuple[int, ...]:
        return ints_of(self.pitches)

    def verify_(self) -> None:
        if len(self.pitch_list) != 3:
            raise VerifyException("wants pitches of the accumulator and both operands")


@irdl_op_definition
class ExtractOp(IRDLOperation):
    """
    One element to the scalar unit; of a mask, its lane as i1; the offset need not be
    aligned: `%v = buffer.extract %x[%o] : T -> f32`.
    """

    name = "buffer.extract"
    src = operand_def(LocalType)
    src_offset = operand_def(IndexType)
    out = result_def()
    assembly_format = "$src `[` $src_offset `]` attr-dict `:` type($src) `->` type($out)"

    def __init__(self, src: Value, src_offset: Value):
        element = local_type(SSAValue.get(src)).element
        super().__init__(operands=[src, src_offset], result_types=[element])

    def verify_(self) -> None:
        check_scalar(self.out, self.src)


@irdl_op_definition
class InsertOp(IRDLOperation):
    """
    One element from the scalar unit; not into a mask; the offset need not be aligned:
    `buffer.insert %v, %d[%o] : f32, T`.
    """

    name = "buffer.insert"
    scalar = operand_def(AnyAttr())
    dst = operand_def(LocalType)
    dst_offset = operand_def(IndexType)
    assembly_format = (
        "$scalar `,` $dst `[` $dst_offset `]` attr-dict `:` type($scalar) `,` type($dst)"
    )

    def __init__(self, scalar: Value, dst: Value, dst_offset: Value):
        super().__init__(operands=[scalar, dst, dst_offset])

    def verify_(self) -> None:
        check_scalar(self.scalar, self.dst)
        if local_type(self.dst).is_mask:
            raise VerifyException("single lanes of a mask are not written; write bytes")


ROW_OPS = (ReduceOp, TransposeOp, DotOp, ExtractOp, InsertOp)
