"""Reductions and products: what lies beyond an extent must not count."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import SSAValue

from infini_ir.dialects import tile
from infini_ir.dialects.tile import tile_type
from infini_ir.targets.nvidia.extents import Extent
from infini_ir.targets.nvidia.frame import Frame, Held, tuple_text
from infini_ir.targets.nvidia.shapes import is_product
from infini_ir.targets.nvidia.values import Text, bits_of, triton_type
from infini_ir.utils.dtypes import is_float, is_unsigned

NAMES = {"add": "total", "mul": "product", "max": "highest", "min": "lowest"}


class Combining:
    """Writes reductions and products."""

    def __init__(self, frame: Frame) -> None:
        self.f = frame
        self._masked: dict[tuple[str, tuple[str, ...], str], str] = {}

    # Reductions

    def reduce(self, op: tile.ReduceOp) -> None:
        """A reduction over some axes."""
        f, kind = self.f, op.kind.data.name
        type, dtype = tile_type(op.x), tile_type(op.x).dtype
        shape = f.shapes.of(op.x)
        element = triton_type(type.element)
        extents = f.extents.of(op.x)
        text = self.neutral(op.x, op.axis_list, extents, _neutral(kind, dtype))
        gone = sorted({shape.places[axis][0] for axis in op.axis_list}, reverse=True)
        text = _prepared(text, kind, dtype, element)
        for position in gone:
            text = _reduced(text, kind, dtype, position)
        if not gone:
            text = f.whole(op.x).text
        text = _restored(text, kind, dtype, element) if gone else text
        name = f.name_for(op.out, NAMES[kind])
        f.writer.line(f"{name} = {text}")
        f.tiles[op.out] = Held(Text(name, element))

    def scan(self, op: tile.ScanOp) -> None:
        """A running combination along an axis. Exclusive ones are those of the neighbour."""
        f, kind = self.f, op.kind.data.name
        type, dtype = tile_type(op.x), tile_type(op.x).dtype
        shape, element = f.shapes.of(op.x), triton_type(type.element)
        position = shape.places[op.along][0]
        empty = _neutral(kind, dtype)
        text = f.whole(op.x).text
        if op.reverse is not None:
            text = self.neutral(op.x, [op.along], f.extents.of(op.x), empty)
        text = _prepared(text, kind, dtype, element)
        text = _scanned(text, kind, dtype, position, reverse=op.reverse is not None)
        text = _restored(text, kind, dtype, element)
        name = f.name_for(op.out, f"running_{NAMES[kind]}")
        if op.exclusive is not None:
            f.writer.line(f"{name} = {text}")
            text = self._neighbour(op, name, empty)
        f.writer.line(f"{name} = {text}")
        f.tiles[op.out] = Held(Text(name, element))

    def _neighbour(self, op: tile.ScanOp, name: str, empty: str) -> str:
        """Each element of a tile from the lane before, or after where it runs backwards."""
        shape = self.f.shapes.of(op.x)
        position = shape.places[op.along][0]
        lanes, last = self.f.coordinate(shape, op.along).text, shape.sizes[position] - 1
        end, where = (0, f"tl.maximum({lanes} - 1, 0)")
        if op.reverse is not None:
            end, where = (last, f"tl.minimum({lanes} + 1, {last})")
        where = f"tl.broadcast_to({where}, {tuple_text(shape.sizes)})"
        return f"tl.where({lanes} == {end}, {empty}, tl.gather({name}, {where}, {position}))"

    def neutral(
        self,
        value: SSAValue,
        axes: Sequence[int],
        extents: Sequence[Extent | None],
        neutral: str,
    ) -> str:
        """A tile with a neutral element beyond its extent along some axes."""
        f, held, shape = self.f, self.f.tiles[value], self.f.shapes.of(value)
        if neutral in ("0", "0.0"):
            axes = [axis for axis in axes if axis not in held.zero]
        terms = f.mask(shape, extents, axes)
        whole = f.whole(value).text
        if not terms:
            return whole
        condition = terms[0] if len(terms) == 1 else " & ".join(f"({t})" for t in terms)
        return f"tl.where({condition}, {whole}, {neutral})"

    # Products

    def dot(self, op: tile.DotOp) -> None:
        """acc + lhs x rhs, on tensor cores where they take the elements."""
        f = self.f
        last = tile_type(op.lhs).rank - 1
        depth = 0 if op.transposed is None else 1
        own = (f.extents.of(op.lhs)[last], f.extents.of(op.rhs)[depth])
        extent = _either(own)
        lhs = self._operand(op.lhs, last, extent)
        rhs = self._operand(op.rhs, depth, extent)
        if op.transposed is not None:
            rhs = f"tl.trans({rhs})"
        if is_product(op):
            text = self._product(op, lhs, rhs)
        else:
            text = self._by_sums(op, lhs, rhs)
        name = f.name_for(op.out, "product")
        f.writer.line(f"{name} = {text}")
        f.tiles[op.out] = Held(Text(name, triton_type(tile_type(op.out).element)))

    def _operand(self, value: SSAValue, axis: int, extent: Extent | None) -> str:
        extents: list[Extent | None] = [None] * tile_type(value).rank
        extents[axis] = extent
        zero = "0.0" if is_float(tile_type(value).dtype) else "0"
        text = self.neutral(value, [axis], extents, zero)
        if text.startswith("tl.where"):
            name = self.f.writer.name(f"{self.f.tiles[value].text.text}_inside")
            self.f.writer.line(f"{name} = {text}")
            return name
        return text

    def _product(self, op: tile.DotOp, lhs: str, rhs: str) -> str:
        f = self.f
        given = [tile_type(v).dtype for v in (op.lhs, op.rhs)]
        acc_type = tile_type(op.acc).dtype
        common = given[0] if given[0] == given[1] else "f32"
        lhs, rhs = (
            text if dtype == common else f"{text}.to(tl.float32)"
            for text, dtype in zip((lhs, rhs), given, strict=True)
        )
        precision = f', input_precision="{f.plan.precision}"' if common == "f32" else ""
        shape, rows = f.shapes.of(op.lhs), f.shapes.of(op.acc)
        flat = len(shape.lanes) == 2
        columns = rows.sizes[-1]
        if not flat:
            lhs = (
                f"tl.reshape({lhs}, {tuple_text((_count(shape.sizes[:-1]), shape.sizes[-1]))})"
            )
        held = f.tiles[op.acc].text
        is_zero = held.literal and float(held.text.replace('float("', "").strip('")')) == 0
        single = acc_type in ("f32", "f64", "i32")
        acc = ""
        if not is_zero and single:
            whole = f.whole(op.acc).text
            acc = ", " + (
                whole
                if flat
                else f"tl.reshape({whole}, {tuple_text((_count(rows.sizes[:-1]), columns))})"
            )
        out = (
            f", out_dtype=tl.{triton_type(tile_type(op.acc).element)}"
            if acc_type in ("f64", "i32")
            else ""
        )
        text = f"tl.dot({lhs}, {rhs}{acc}{precision}{out})"
        if not flat:
            text = f"tl.reshape({text}, {tuple_text(rows.sizes)})"
        if not single:
            type = triton_type(tile_type(op.acc).element)
            total = text if is_zero else f"({text} + {f.whole(op.acc).text}.to(tl.float32))"
            text = f"{total}.to(tl.{type})"
        return text

    def _by_sums(self, op: tile.DotOp, lhs: str, rhs: str) -> str:
        """A product of elements that tensor cores do not take: sums of all products."""
        f = self.f
        type = triton_type(tile_type(op.acc).element)
        rank = len(f.shapes.of(op.lhs).lanes)
        left = ", ".join([":"] * rank + ["None"])
        right = ", ".join(["None"] * (rank - 1) + [":", ":"])
        lhs, rhs = (
            _widened(text, tile_type(value).dtype, type)
            for text, value in ((lhs, op.lhs), (rhs, op.rhs))
        )
        terms = f"{lhs}[{left}] * {rhs}[{right}]"
        total = f"tl.sum({terms}, axis={rank - 1})"
        held = f.tiles[op.acc].text
        return total if held.text in ("0", "0.0") else f"{f.whole(op.acc).operand} + {total}"


def _widened(text: str, dtype: str, type: str) -> str:
    """A tile of a type as another that holds all of its numbers."""
    if is_unsigned(dtype):
        text = f"{text}.to(tl.uint{bits_of(dtype)}, bitcast=True)"
    return f"{text}.to(tl.{type})"


def _either(extents: Sequence[Extent | None]) -> Extent | None:
    known = [extent for extent in extents if extent is not None]
    full = [extent for extent in known if extent.full]
    return next(iter([*full, *known]), None)


def _count(sizes: Sequence[int]) -> int:
    count = 1
    for size in sizes:
        count *= size
    return count


def _neutral(kind: str, dtype: str) -> str:
    if dtype == "i1":
        return "True" if kind in ("mul", "min") else "False"
    if is_float(dtype):
        limits = {"max": 'float("-inf")', "min": 'float("inf")'}
        return {"add": "0.0", "mul": "1.0"}.get(kind) or limits[kind]
    bits = bits_of(dtype)
    if kind in ("add", "mul"):
        return "0" if kind == "add" else "1"
    if is_unsigned(dtype):
        return "0" if kind == "max" else "-1"
    return str(-(1 << (bits - 1)) if kind == "max" else (1 << (bits - 1)) - 1)


def _prepared(text: str, kind: str, dtype: str, element: str) -> str:
    """A tile as the type that it is reduced in."""
    if dtype == "i1":
        return f"({text}).to(tl.int32)"
    if dtype in ("f16", "bf16"):
        return f"{text}.to(tl.float32)"
    if is_unsigned(dtype) and kind in ("max", "min"):
        return f"{text}.to(tl.u{element}, bitcast=True)"
    return text


def _reduced(text: str, kind: str, dtype: str, axis: int) -> str:
    if dtype == "i1":
        kind = {"add": "max", "mul": "min"}.get(kind, kind)
    if kind == "add":
        return f"tl.sum({text}, axis={axis})"
    if kind == "mul":
        return f"tl.reduce({text}, {axis}, multiply)"
    if is_float(dtype):
        return f"tl.reduce({text}, {axis}, nan_{kind})"
    return f"tl.{kind}({text}, axis={axis})"


def _scanned(text: str, kind: str, dtype: str, axis: int, *, reverse: bool) -> str:
    backwards = ", reverse=True" if reverse else ""
    if dtype == "i1":
        kind = {"add": "max", "mul": "min"}.get(kind, kind)
    if kind == "add":
        return f"tl.cumsum({text}, axis={axis}{backwards})"
    helper = "multiply" if kind == "mul" else f"nan_{kind}"
    return f"tl.associative_scan({text}, {axis}, {helper}{backwards})"


def _restored(text: str, kind: str, dtype: str, element: str) -> str:
    if dtype == "i1":
        return f"{text} != 0"
    if is_unsigned(dtype) and kind in ("max", "min"):
        return f"{text}.to(tl.u{element}).to(tl.{element}, bitcast=True)"
    if dtype in ("f16", "bf16") or (not is_float(dtype) and bits_of(dtype) < 32):
        return f"{text}.to(tl.{element})"
    return text
