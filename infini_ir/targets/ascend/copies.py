"""Copies between global memory and the cores' memory, as rows of neighbours."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

from infini_ir.dialects import tile
from infini_ir.dialects.buffer import local_type, memory
from infini_ir.dialects.tile import Combine
from infini_ir.targets.ascend.writer import KernelWriter, c_type
from infini_ir.utils.symbolic import ONE, Dim

ATOMICS = {Combine.add: "Add", Combine.max: "Max", Combine.min: "Min"}


@dataclass(frozen=True)
class Axis:
    """One axis of a copy: how many elements, how far apart in both memories."""

    extent: str
    stride: Dim
    pitch: int


def emit_copy_in(op: memory.CopyInOp, w: KernelWriter) -> None:
    """Global memory to local memory."""
    _emit(op, w, "CopyIn", into=True)


def emit_copy_out(op: memory.CopyOutOp, w: KernelWriter) -> None:
    """Local memory to global memory, perhaps combined with what is there."""
    atomic = ATOMICS.get(op.combine.data)
    if atomic is not None:
        w.line(f"AscendC::SetAtomic{atomic}<{c_type(local_type(op.local).element)}>();")
    _emit(op, w, "CopyOut", into=False)
    if atomic is not None:
        w.line("AscendC::SetAtomicNone();")


def _emit(op: memory.CopyOp, w: KernelWriter, call: str, *, into: bool) -> None:
    """
    Loops over all axes but two: rows, and the neighbours in them. Where no axis has its
    elements next to each other in both memories, one axis moves element by element.
    """
    strides = tile.view_type(op.view).strides
    axes = [
        Axis(w[extent], strides[axis], pitch)
        for axis, extent, pitch in zip(op.axis_list, op.extents, op.pitch_list, strict=True)
    ]
    axes = [axis for axis in axes if axis.extent != "1"]
    inner = next((a for a in axes if a.stride is ONE and a.pitch == 1), None)
    scattered = inner is None and bool(axes)
    if scattered:
        inner = axes[-1]
    rest = [axis for axis in axes if axis is not inner]
    row = None if scattered or not rest else rest.pop()
    local_terms = [] if w[op.local_offset] == "0" else [w[op.local_offset]]
    base = w.view_offset(op.view, [w[offset] for offset in op.offsets])
    global_terms = [] if base == "0" else [base]
    with ExitStack() as loops:
        for axis in rest:
            i = w.names.fresh("i")
            head = f"for (int64_t {i} = 0; {i} < {axis.extent}; ++{i})"
            loops.enter_context(w.block(head))
            local_terms.append(f"{i} * {axis.pitch}")
            global_terms.append(f"{i} * {w.stride(axis.stride)}")
        local = _indexed(w[op.local], local_terms)
        view = _indexed(w[op.view], global_terms)
        first, second = (local, view) if into else (view, local)
        count = inner.extent if inner else "1"
        if scattered:
            assert inner is not None
            sizes = f"{count}, {w.stride(inner.stride)}, {inner.pitch}"
            w.line(f"{call}Scattered({first}, {second}, {sizes}, {w.scratch_memory()});")
            return
        rows = (row.extent, w.stride(row.stride), row.pitch) if row else ("1", count, "0")
        w.line(f"{call}({first}, {second}, {rows[0]}, {count}, {rows[1]}, {rows[2]});")


def _indexed(name: str, terms: list[str]) -> str:
    return f"{name}[{' + '.join(terms)}]" if terms else name
