"""
What the instructions of the buffer dialect become: calls of a target's `core.h`, one each.

A target has the functions (`add_rows(to, a, b, count)`, `copy_in`, `dot`, ..) for what its
machine says that it can. Local memory is an array of bytes, `local_memory`.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import Operation, SSAValue

from infini_ir.dialects.buffer import LocalType, Pipe, local_type, memory, rows, vector
from infini_ir.dialects.tile import Combine
from infini_ir.dialects.tile.types import view_type
from infini_ir.targets.c_project.core_kernel import CoreKernel, Handler, memory_type
from infini_ir.utils.errors import CompileError


def lane_type(writer: CoreKernel, local: LocalType) -> str:
    """The C++ type of an element of local memory."""
    return writer.mask_type if local.is_mask else memory_type(local.element)


def _call(writer: CoreKernel, function: str, *arguments: str) -> None:
    writer.line(f"{function}({', '.join(arguments)});")


def _alloc(writer: CoreKernel, op: memory.AllocOp) -> None:
    if not op.out.uses:
        return
    name = writer.names.fresh(op.out.name_hint or "u")
    writer.values[op.out] = name
    if op.offset is None:
        raise CompileError("local memory has no place; run the buffer passes first")
    pointer = f"{lane_type(writer, local_type(op.out))}*"
    place = f"local_memory + {op.offset}" if op.offset else "local_memory"
    writer.line(f"{pointer} const {name} = reinterpret_cast<{pointer}>({place});")


def _sync(writer: CoreKernel, op: memory.SyncOp) -> None:
    """Copies and instructions are done when the next one that depends on them begins, but for
    copies made ahead."""
    pipe = "copies" if op.source.data is Pipe.copy_in else "computing"
    _call(writer, f"wait_for_{pipe}")


def _unary(writer: CoreKernel, op: vector.UnaryOp) -> None:
    dst, src = writer.place(op.dst, op.dst_offset), writer.place(op.src, op.src_offset)
    _call(writer, f"{op.function.data.value}_rows", dst, src, writer.name(op.count))


def _binary(writer: CoreKernel, op: vector.BinaryOp) -> None:
    dst, lhs = writer.place(op.dst, op.dst_offset), writer.place(op.lhs, op.lhs_offset)
    rhs = writer.place(op.rhs, op.rhs_offset)
    _call(writer, f"{op.function.data.value}_rows", dst, lhs, rhs, writer.name(op.count))


def _binary_scalar(writer: CoreKernel, op: vector.BinaryScalarOp) -> None:
    dst, src = writer.place(op.dst, op.dst_offset), writer.place(op.src, op.src_offset)
    function = f"{op.function.data.value}_scalar_rows"
    scalar = _scalar(writer, op.scalar, op.src)
    _call(writer, function, dst, src, scalar, writer.name(op.count))


def _scalar(writer: CoreKernel, value: SSAValue, local: SSAValue) -> str:
    # Literals are int or float: templates want the element's own type.
    text, name = writer.name(value), lane_type(writer, local_type(local))
    return f"{name}({text})" if name not in ("float", "half_t", "bf16_t") else text


def _compare(writer: CoreKernel, op: vector.CompareOp) -> None:
    dst, lhs = writer.place(op.dst, op.dst_offset), writer.place(op.lhs, op.lhs_offset)
    rhs = writer.place(op.rhs, op.rhs_offset)
    function = f"compare_{op.relation.data.value}"
    _call(writer, function, dst, lhs, rhs, writer.name(op.count))


def _compare_scalar(writer: CoreKernel, op: vector.CompareScalarOp) -> None:
    dst, src = writer.place(op.dst, op.dst_offset), writer.place(op.src, op.src_offset)
    function = f"compare_scalar_{op.relation.data.value}"
    scalar = _scalar(writer, op.scalar, op.src)
    _call(writer, function, dst, src, scalar, writer.name(op.count))


def _mask_binary(writer: CoreKernel, op: vector.MaskBinaryOp) -> None:
    dst, lhs = writer.place(op.dst, op.dst_offset), writer.place(op.lhs, op.lhs_offset)
    rhs = writer.place(op.rhs, op.rhs_offset)
    function = f"mask_{str(op.function.data.value).removeprefix('bit_')}"
    _call(writer, function, dst, lhs, rhs, writer.name(op.count))


_MOVES: dict[type[Operation], str] = {
    vector.MaskNotOp: "mask_not",
    vector.MaskFromBytesOp: "mask_from_bytes",
    vector.MaskToBytesOp: "mask_to_bytes",
    vector.CopyOp: "copy_row",
}


def _move(writer: CoreKernel, op: vector.MoveOp) -> None:
    dst, src = writer.place(op.dst, op.dst_offset), writer.place(op.src, op.src_offset)
    _call(writer, _MOVES[type(op)], dst, src, writer.name(op.count))


def _select(writer: CoreKernel, op: vector.SelectOp) -> None:
    places = (
        (op.dst, op.dst_offset),
        (op.mask, op.mask_offset),
        (op.lhs, op.lhs_offset),
        (op.rhs, op.rhs_offset),
    )
    _call(writer, "select_rows", *(writer.place(*p) for p in places), writer.name(op.count))


def _cast(writer: CoreKernel, op: vector.CastOp) -> None:
    source, target = local_type(op.src).dtype, local_type(op.dst).dtype
    unsigned = "u" if op.unsigned is not None and source.startswith("i") else ""
    name = f"cast_{unsigned}{source}_{target}"
    if source.startswith("f") and target.startswith("i"):
        name = f"{name}_{op.rounding.data.value}"
    dst, src = writer.place(op.dst, op.dst_offset), writer.place(op.src, op.src_offset)
    _call(writer, name, dst, src, writer.name(op.count))


def _fill(writer: CoreKernel, op: vector.FillOp) -> None:
    dst = writer.place(op.dst, op.dst_offset)
    scalar = _scalar(writer, op.scalar, op.dst)
    _call(writer, "fill_rows", dst, scalar, writer.name(op.count))


def _iota(writer: CoreKernel, op: vector.IotaOp) -> None:
    dst = writer.place(op.dst, op.dst_offset)
    _call(writer, "iota_rows", dst, writer.name(op.start), writer.name(op.count))


def _reduce(writer: CoreKernel, op: rows.ReduceOp) -> None:
    dst, src = writer.place(op.dst, op.dst_offset), writer.place(op.src, op.src_offset)
    _call(writer, f"reduce_{op.kind.data.value}", dst, src, writer.name(op.count))


def _transpose(writer: CoreKernel, op: rows.TransposeOp) -> None:
    dst, src = writer.place(op.dst, op.dst_offset), writer.place(op.src, op.src_offset)
    to_pitch, from_pitch = map(str, op.pitch_list)
    sizes = writer.name(op.rows), writer.name(op.columns)
    _call(writer, "transpose_rows", dst, to_pitch, src, from_pitch, *sizes)


def _dot(writer: CoreKernel, op: rows.DotOp) -> None:
    acc_pitch, lhs_pitch, rhs_pitch = map(str, op.pitch_list)
    arguments = [
        writer.place(op.acc, op.acc_offset), acc_pitch,
        writer.place(op.lhs, op.lhs_offset), lhs_pitch,
        writer.place(op.rhs, op.rhs_offset), rhs_pitch,
        *(writer.name(size) for size in (op.m, op.n, op.k)),
        "true" if op.transposed is not None else "false",
    ]  # fmt: skip
    _call(writer, "dot", *arguments)


def _extract(writer: CoreKernel, op: rows.ExtractOp) -> None:
    text = f"{writer.name(op.src)}[{writer.name(op.src_offset)}]"
    writer.define(op.out, f"{text} != 0" if local_type(op.src).is_mask else text)


def _insert(writer: CoreKernel, op: rows.InsertOp) -> None:
    target = f"{writer.name(op.dst)}[{writer.name(op.dst_offset)}]"
    writer.line(f"{target} = {writer.name(op.scalar)};")


def _copy_in(writer: CoreKernel, op: memory.CopyInOp) -> None:
    memory_side, local_side, sizes = _slice(writer, op)
    function = "copy_in_ahead" if "ahead" in op.attributes else "copy_in"
    _call(writer, function, *local_side, *memory_side, *sizes)
    _end_slice(writer, op)


def _copy_out(writer: CoreKernel, op: memory.CopyOutOp) -> None:
    memory_side, local_side, sizes = _slice(writer, op)
    combine = op.combine.data
    function = "copy_out" if combine is Combine.set else f"copy_out_{combine.value}"
    _call(writer, function, *memory_side, *local_side, *sizes)
    _end_slice(writer, op)


def _slice(
    writer: CoreKernel, op: memory.CopyOp
) -> tuple[Sequence[str], Sequence[str], Sequence[str]]:
    """Loops over the outer axes; then the memory's side, the local side and the sizes of the
    inner two."""
    strides = [view_type(op.view).strides[axis] for axis in op.axis_list]
    extents = [writer.name(size) for size in op.extents]
    pitches = list(op.pitch_list)
    address = writer.address(op.view, op.offsets)
    local = writer.place(op.local, op.local_offset)
    for number in range(len(extents) - 2):
        index = writer.names.fresh(f"c{number}")
        writer.open(f"for (int64_t {index} = 0; {index} < {extents[number]}; ++{index})")
        address += f" + {index} * {writer.size(strides[number])}"
        local += f" + {index} * {pitches[number]}"
    outer, count = ["1", "1", *extents][-2:]
    stride, inner_stride = ["0", "1", *(writer.size(s) for s in strides)][-2:]
    pitch, inner_pitch = ["0", "1", *map(str, pitches)][-2:]
    if len(extents) == 1:
        stride, pitch, outer = "0", "0", "1"
    return (address, stride, inner_stride), (local, pitch, inner_pitch), (outer, count)


def _end_slice(writer: CoreKernel, op: memory.CopyOp) -> None:
    for _ in range(len(op.extents) - 2):
        writer.close()


HANDLERS: dict[type[Operation], Handler] = {
    memory.AllocOp: _alloc,
    memory.SyncOp: _sync,
    memory.CopyInOp: _copy_in,
    memory.CopyOutOp: _copy_out,
    vector.UnaryOp: _unary,
    vector.BinaryOp: _binary,
    vector.BinaryScalarOp: _binary_scalar,
    vector.CompareOp: _compare,
    vector.CompareScalarOp: _compare_scalar,
    vector.MaskBinaryOp: _mask_binary,
    **dict.fromkeys(_MOVES, _move),
    vector.SelectOp: _select,
    vector.CastOp: _cast,
    vector.FillOp: _fill,
    vector.IotaOp: _iota,
    rows.ReduceOp: _reduce,
    rows.TransposeOp: _transpose,
    rows.DotOp: _dot,
    rows.ExtractOp: _extract,
    rows.InsertOp: _insert,
}
