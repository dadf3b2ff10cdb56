"""Each operation of a kernel's buffer form as lines of Ascend C: a table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xdsl.dialects import arith, scf
from xdsl.ir import Block, Operation, SSAValue

from infini_ir.dialects import tile
from infini_ir.dialects.buffer import (
    BinaryFunction,
    MaskFunction,
    Pipe,
    Rounding,
    UnaryFunction,
    local_type,
    memory,
    rows,
    vector,
)
from infini_ir.targets.ascend.copies import emit_copy_in, emit_copy_out
from infini_ir.targets.ascend.writer import KernelWriter, c_type
from infini_ir.targets.c_project.core_scalars import expression, scalar_type
from infini_ir.utils.errors import CompileError

UNARY = {
    UnaryFunction.exp: "Exp",
    UnaryFunction.ln: "Ln",
    UnaryFunction.sqrt: "Sqrt",
    UnaryFunction.abs: "Abs",
}
ROUNDING = {
    UnaryFunction.floor: "FLOOR",
    UnaryFunction.ceil: "CEIL",
    UnaryFunction.round_even: "RINT",
    UnaryFunction.trunc: "TRUNC",
}
BINARY = {
    BinaryFunction.add: "Add",
    BinaryFunction.sub: "Sub",
    BinaryFunction.mul: "Mul",
    BinaryFunction.div: "Div",
    BinaryFunction.max: "Max",
    BinaryFunction.min: "Min",
}
SCALAR = {
    BinaryFunction.add: "Adds",
    BinaryFunction.mul: "Muls",
    BinaryFunction.max: "Maxs",
    BinaryFunction.min: "Mins",
}
BITS = {BinaryFunction.bit_and: "And", BinaryFunction.bit_or: "Or"}
MASKS = {MaskFunction.bit_and: "And", MaskFunction.bit_or: "Or"}
ORDERS = {
    "eq": "equal",
    "ne": "different",
    "lt": "less",
    "le": "less_equal",
    "gt": "greater",
    "ge": "greater_equal",
}
CASTS = {
    Rounding.exact: "NONE",
    Rounding.nearest_even: "RINT",
    Rounding.trunc: "TRUNC",
    Rounding.floor: "FLOOR",
    Rounding.ceil: "CEIL",
}
PIPES = {
    Pipe.copy_in: "MTE2",
    Pipe.vector: "V",
    Pipe.scalar: "S",
    Pipe.copy_out: "MTE3",
    Pipe.matrix: "M",
}


def emit_block(block: Block, w: KernelWriter) -> None:
    """All operations of a block."""
    for op in block.ops:
        rule = RULES.get(type(op))
        if rule is not None:
            rule(op, w)
        else:
            emit_scalar(op, w)


def emit_scalar(op: Operation, w: KernelWriter) -> None:
    """An operation of the scalar unit."""
    if not op.results:
        raise _no_form(op, w)
    text = expression(op, [w[operand] for operand in op.operands])
    if isinstance(op, arith.ConstantOp):
        w.values[op.result] = text
        return
    (result,) = op.results
    if not result.uses:
        return
    name = w.name(result, "v")
    w.line(f"const {scalar_type(result.type)} {name} = {text};")


def _no_form(op: Operation, w: KernelWriter) -> CompileError:
    return CompileError(
        f"kernel '{w.kernel}': operation '{op.name}' ({op}) has no Ascend C form; it should "
        "have been made of others before"
    )


# Control


def _for(op: scf.ForOp, w: KernelWriter) -> None:
    if op.iter_args:
        raise _no_form(op, w)
    i = w.name(op.body.block.args[0], "i")
    head = f"for (int64_t {i} = {w[op.lb]}; {i} < {w[op.ub]}; {i} += {w[op.step]})"
    with w.block(head):
        emit_block(op.body.block, w)


def _if(op: scf.IfOp, w: KernelWriter) -> None:
    if op.results:
        raise _no_form(op, w)
    with w.block(f"if ({w[op.cond]})"):
        emit_block(op.true_region.block, w)
    if op.false_region.blocks and len(list(op.false_region.block.ops)) > 1:
        with w.block("else"):
            emit_block(op.false_region.block, w)


def _size(op: tile.SizeOp, w: KernelWriter) -> None:
    if not op.out.uses:
        return
    text = w.names.expression(op.dim)
    if op.dim.is_constant or op.dim.is_symbol:
        w.values[op.out] = text
    else:
        w.line(f"const int64_t {w.name(op.out, 'size')} = {text};")


def _read(op: tile.ReadOp, w: KernelWriter) -> None:
    offset = w.view_offset(op.view, [w[o] for o in op.offsets])
    if not op.out.uses:
        return
    kind = scalar_type(op.out.type)
    name = w.name(op.out, "read")
    text = f"{w[op.view]}.GetValue({offset})"
    w.line(f"const {kind} {name} = {f'{text} != 0' if kind == 'bool' else text};")


def _nothing(op: Operation, w: KernelWriter) -> None:
    """Written elsewhere, or the end of a block."""


# Queues and pipes


def _acquire(op: memory.AcquireOp, w: KernelWriter) -> None:
    kind = c_type(local_type(op.out).element)
    name = w.name(op.out, f"{w[op.queue]}_slot")
    w.line(f"AscendC::LocalTensor<{kind}> {name} = {w[op.queue]}.AllocTensor<{kind}>();")


def _slot_queue(op: memory.EnqueueOp | memory.DequeueOp | memory.FreeOp) -> SSAValue:
    owner = op.slot.owner
    assert isinstance(owner, memory.AcquireOp)
    return owner.queue


def _enqueue(op: memory.EnqueueOp, w: KernelWriter) -> None:
    w.line(f"{w[_slot_queue(op)]}.EnQue({w[op.slot]});")


def _dequeue(op: memory.DequeueOp, w: KernelWriter) -> None:
    kind = c_type(local_type(op.slot).element)
    w.line(f"{w[op.slot]} = {w[_slot_queue(op)]}.DeQue<{kind}>();")


def _free(op: memory.FreeOp, w: KernelWriter) -> None:
    w.line(f"{w[_slot_queue(op)]}.FreeTensor({w[op.slot]});")


def _sync(op: memory.SyncOp, w: KernelWriter) -> None:
    source, target = op.source.data, op.target.data
    if source is not target:
        w.line(f"Sync<AscendC::HardEvent::{PIPES[source]}_{PIPES[target]}>();")
    elif source is Pipe.vector:
        w.line("VectorBarrier();")
    elif source is not Pipe.scalar:
        w.line(f"AscendC::PipeBarrier<PIPE_{PIPES[source]}>();")


# Rows of elements


def _words(text: str) -> str:
    return f"Words({text})"


def _unary(op: vector.UnaryOp, w: KernelWriter) -> None:
    dst, src = w.at(op.dst, op.dst_offset), w.at(op.src, op.src_offset)
    count, function = w[op.count], op.function.data
    kind = c_type(local_type(op.dst).element)
    if function in UNARY:
        w.line(f"AscendC::{UNARY[function]}({dst}, {src}, {count});")
    elif function in ROUNDING:
        mode = f"AscendC::RoundMode::CAST_{ROUNDING[function]}"
        w.line(f"AscendC::Cast({dst}, {src}, {mode}, {count});")
    elif function is UnaryFunction.neg:
        w.line(f"AscendC::Muls({dst}, {src}, static_cast<{kind}>(-1), {count});")
    elif function is UnaryFunction.bit_not:
        w.line(f"AscendC::Not({_words(dst)}, {_words(src)}, WordCount<{kind}>({count}));")
    else:
        raise _no_form(op, w)


def _binary(op: vector.BinaryOp, w: KernelWriter) -> None:
    dst = w.at(op.dst, op.dst_offset)
    lhs, rhs = w.at(op.lhs, op.lhs_offset), w.at(op.rhs, op.rhs_offset)
    count, function = w[op.count], op.function.data
    kind = c_type(local_type(op.dst).element)
    words = f"{_words(dst)}, {_words(lhs)}, {_words(rhs)}, WordCount<{kind}>({count})"
    if function in BINARY:
        w.line(f"AscendC::{BINARY[function]}({dst}, {lhs}, {rhs}, {count});")
    elif function in BITS:
        w.line(f"AscendC::{BITS[function]}({words});")
    elif function is BinaryFunction.bit_xor:
        w.line(f"ExclusiveOr({words}, {w.scratch_memory()});")
    else:
        raise _no_form(op, w)


def _binary_scalar(op: vector.BinaryScalarOp, w: KernelWriter) -> None:
    dst, src = w.at(op.dst, op.dst_offset), w.at(op.src, op.src_offset)
    scalar, count, function = w[op.scalar], w[op.count], op.function.data
    kind = c_type(local_type(op.dst).element)
    if function in SCALAR:
        value = f"static_cast<{kind}>({scalar})"
        w.line(f"AscendC::{SCALAR[function]}({dst}, {src}, {value}, {count});")
    elif function is BinaryFunction.sub:
        value = f"static_cast<{kind}>(-({scalar}))"
        w.line(f"AscendC::Adds({dst}, {src}, {value}, {count});")
    elif function in _SHIFTS:
        name, unsigned = _SHIFTS[function]
        as_type = f".ReinterpretCast<u{kind}>()" if unsigned else ""
        value = f"static_cast<{'u' if unsigned else ''}{kind}>({scalar})"
        w.line(f"AscendC::{name}({dst}{as_type}, {src}{as_type}, {value}, {count});")
    else:
        raise _no_form(op, w)


_SHIFTS = {
    BinaryFunction.shift_left: ("ShiftLeft", True),
    BinaryFunction.shift_right: ("ShiftRight", False),
    BinaryFunction.shift_right_unsigned: ("ShiftRight", True),
}


def _compare(op: vector.CompareOp, w: KernelWriter) -> None:
    dst = w.mask_at(op.dst, op.dst_offset)
    lhs, rhs = w.at(op.lhs, op.lhs_offset), w.at(op.rhs, op.rhs_offset)
    relation, count = str(op.relation.data.value), w[op.count]
    if local_type(op.lhs).dtype == "i32":
        order = f"Order::{ORDERS[relation]}"
        w.line(f"CompareIntegers({dst}, {lhs}, {rhs}, {order}, {count}, {w.scratch_memory()});")
        return
    mode = f"AscendC::CMPMODE::{relation.upper()}"
    w.line(f"CompareRow({dst}, {lhs}, {rhs}, {mode}, {count});")


def _compare_scalar(op: vector.CompareScalarOp, w: KernelWriter) -> None:
    dst, src = w.mask_at(op.dst, op.dst_offset), w.at(op.src, op.src_offset)
    relation, count = str(op.relation.data.value), w[op.count]
    kind = c_type(local_type(op.src).element)
    scalar = f"static_cast<{kind}>({w[op.scalar]})"
    if kind == "int32_t":
        order = f"Order::{ORDERS[relation]}"
        rest = f"{scalar}, {order}, {count}, {w.scratch_memory()}"
        w.line(f"CompareIntegersScalar({dst}, {src}, {rest});")
        return
    mode = f"AscendC::CMPMODE::{relation.upper()}"
    w.line(f"CompareRowScalar({dst}, {src}, {scalar}, {mode}, {count});")


def _mask_binary(op: vector.MaskBinaryOp, w: KernelWriter) -> None:
    dst = _words(w.mask_at(op.dst, op.dst_offset))
    lhs = _words(w.mask_at(op.lhs, op.lhs_offset))
    rhs = _words(w.mask_at(op.rhs, op.rhs_offset))
    words = f"{dst}, {lhs}, {rhs}, MaskWords({w[op.count]})"
    if op.function.data in MASKS:
        w.line(f"AscendC::{MASKS[op.function.data]}({words});")
    else:
        w.line(f"ExclusiveOr({words}, {w.scratch_memory()});")


def _mask_not(op: vector.MaskNotOp, w: KernelWriter) -> None:
    dst, src = w.mask_at(op.dst, op.dst_offset), w.mask_at(op.src, op.src_offset)
    w.line(f"AscendC::Not({_words(dst)}, {_words(src)}, MaskWords({w[op.count]}));")


def _mask_from_bytes(op: vector.MaskFromBytesOp, w: KernelWriter) -> None:
    dst, src = w.mask_at(op.dst, op.dst_offset), w.at(op.src, op.src_offset)
    w.line(f"MaskFromBytes({dst}, {src}, {w[op.count]}, {w.scratch_memory()});")


def _mask_to_bytes(op: vector.MaskToBytesOp, w: KernelWriter) -> None:
    dst, src = w.at(op.dst, op.dst_offset), w.mask_at(op.src, op.src_offset)
    w.line(f"MaskToBytes({dst}, {src}, {w[op.count]}, {w.scratch_memory()});")


def _copy(op: vector.CopyOp, w: KernelWriter) -> None:
    count = w[op.count]
    if local_type(op.dst).is_mask:
        dst, src = w.mask_at(op.dst, op.dst_offset), w.mask_at(op.src, op.src_offset)
        count = f"2 * MaskWords({count})"
    else:
        dst, src = w.at(op.dst, op.dst_offset), w.at(op.src, op.src_offset)
    w.line(f"CopyLocal({dst}, {src}, {count});")


def _select(op: vector.SelectOp, w: KernelWriter) -> None:
    dst, mask = w.at(op.dst, op.dst_offset), w.mask_at(op.mask, op.mask_offset)
    lhs, rhs = w.at(op.lhs, op.lhs_offset), w.at(op.rhs, op.rhs_offset)
    w.line(f"SelectRow({dst}, {mask}, {lhs}, {rhs}, {w[op.count]});")


_WIDENING = {
    ("i8", "f16"), ("i16", "f32"), ("f16", "f32"), ("bf16", "f32"), ("i32", "i64"),
}  # fmt: skip
"""Casts whose only mode is `CAST_NONE`."""


def _cast(op: vector.CastOp, w: KernelWriter) -> None:
    dst, src = w.at(op.dst, op.dst_offset), w.at(op.src, op.src_offset)
    source, target = local_type(op.src).dtype, local_type(op.dst).dtype
    rounding = op.rounding.data
    if (source, target) in _WIDENING:
        rounding = Rounding.exact
    elif rounding is Rounding.exact:
        rounding = Rounding.nearest_even
    if op.unsigned is not None:
        if (source, target) == ("i8", "f16"):
            src = f"{src}.ReinterpretCast<uint8_t>()"
        elif (source, target) == ("f16", "i8"):
            dst = f"{dst}.ReinterpretCast<uint8_t>()"
        else:
            raise _no_form(op, w)
    mode = f"AscendC::RoundMode::CAST_{CASTS[rounding]}"
    w.line(f"AscendC::Cast({dst}, {src}, {mode}, {w[op.count]});")


def _fill(op: vector.FillOp, w: KernelWriter) -> None:
    dst, count = w.at(op.dst, op.dst_offset), w[op.count]
    kind = c_type(local_type(op.dst).element)
    value = f"static_cast<{kind}>({w[op.scalar]})"
    if kind == "int8_t":
        w.line(f"FillBytes({dst}, {value}, {count});")
    elif kind == "int64_t":
        w.line(f"FillWide({dst}, {value}, {count}, {w.scratch_memory()});")
    else:
        w.line(f"AscendC::Duplicate({dst}, {value}, {count});")


def _iota(op: vector.IotaOp, w: KernelWriter) -> None:
    dst, kind = w.at(op.dst, op.dst_offset), c_type(local_type(op.dst).element)
    value = f"static_cast<{kind}>({w[op.start]})"
    w.line(f"AscendC::CreateVecIndex({dst}, {value}, {w[op.count]});")


# Rows to elements


def _reduce(op: rows.ReduceOp, w: KernelWriter) -> None:
    dst, src = w.at(op.dst, op.dst_offset), w.at(op.src, op.src_offset)
    rest = f"{dst}, {src}, {w[op.count]}, {w.scratch_memory()}"
    if op.kind.data is tile.ReduceKind.add:
        w.line(f"SumRow({rest});")
    elif op.kind.data is tile.ReduceKind.max:
        w.line(f"ExtremeOfRow<true>({rest});")
    elif op.kind.data is tile.ReduceKind.min:
        w.line(f"ExtremeOfRow<false>({rest});")
    else:
        raise _no_form(op, w)


def _transpose(op: rows.TransposeOp, w: KernelWriter) -> None:
    dst, src = w.at(op.dst, op.dst_offset), w.at(op.src, op.src_offset)
    to, source = op.pitch_list
    sizes = f"{w[op.rows]}, {w[op.columns]}, {to}, {source}"
    w.line(f"TransposeRows({dst}, {src}, {sizes}, {w.scratch_memory()});")


def _extract(op: rows.ExtractOp, w: KernelWriter) -> None:
    if not op.out.uses:
        return
    kind, name = scalar_type(op.out.type), w.name(op.out, "element")
    offset = w[op.src_offset]
    if local_type(op.src).is_mask:
        text = f"MaskLane({w[op.src]}, {offset})"
    else:
        text = f"{w[op.src]}.GetValue({offset})"
    w.line(f"const {kind} {name} = {text};")


def _insert(op: rows.InsertOp, w: KernelWriter) -> None:
    kind = c_type(local_type(op.dst).element)
    scalar = f"static_cast<{kind}>({w[op.scalar]})"
    w.line(f"{w[op.dst]}.SetValue({w[op.dst_offset]}, {scalar});")


Rule = Callable[[Any, KernelWriter], None]

RULES: dict[type[Operation], Rule] = {
    scf.ForOp: _for,
    scf.IfOp: _if,
    scf.YieldOp: _nothing,
    tile.SizeOp: _size,
    tile.ReadOp: _read,
    memory.AllocOp: _nothing,
    memory.AcquireOp: _acquire,
    memory.EnqueueOp: _enqueue,
    memory.DequeueOp: _dequeue,
    memory.FreeOp: _free,
    memory.SyncOp: _sync,
    memory.CopyInOp: emit_copy_in,
    memory.CopyOutOp: emit_copy_out,
    vector.UnaryOp: _unary,
    vector.BinaryOp: _binary,
    vector.BinaryScalarOp: _binary_scalar,
    vector.CompareOp: _compare,
    vector.CompareScalarOp: _compare_scalar,
    vector.MaskBinaryOp: _mask_binary,
    vector.MaskNotOp: _mask_not,
    vector.MaskFromBytesOp: _mask_from_bytes,
    vector.MaskToBytesOp: _mask_to_bytes,
    vector.CopyOp: _copy,
    vector.SelectOp: _select,
    vector.CastOp: _cast,
    vector.FillOp: _fill,
    vector.IotaOp: _iota,
    rows.ReduceOp: _reduce,
    rows.TransposeOp: _transpose,
    rows.ExtractOp: _extract,
    rows.InsertOp: _insert,
}
