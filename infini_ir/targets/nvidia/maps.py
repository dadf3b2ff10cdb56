"""Elementwise maps: scalar code as tensor expressions."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects import arith
from xdsl.ir import Operation, SSAValue

from infini_ir.dialects import tile
from infini_ir.dialects.tile import tile_type
from infini_ir.dialects.tile.base import yielded
from infini_ir.targets.nvidia.frame import Frame, Held, tuple_text
from infini_ir.targets.nvidia.scalars import scalar_text
from infini_ir.targets.nvidia.shapes import Shape
from infini_ir.targets.nvidia.values import Text, constant_text

INLINE_LENGTH = 60
"""Longest expression that is written into the one that uses it."""


class Maps:
    """Writes maps: one line for what is used again, the rest inside expressions."""

    def __init__(self, frame: Frame) -> None:
        self.f = frame

    def emit(self, op: tile.MapOp) -> None:
        """The results of a map."""
        shape = self.f.shapes.of(op.outs[0])
        texts: dict[SSAValue, Text] = {}
        covers: dict[SSAValue, frozenset[int]] = {}
        arguments = zip(op.body.block.args, op.inputs, op.dim_lists, strict=True)
        for argument, value, dims in arguments:
            texts[argument], covers[argument] = self._input(value, dims, shape)
        for inner in op.body.block.ops:
            if isinstance(inner, tile.CoordOp):
                axis = inner.axis.value.data
                texts[inner.out] = self.f.coordinate(shape, axis)
                covers[inner.out] = frozenset({shape.places[axis][0]})
            elif isinstance(inner, arith.ConstantOp):
                texts[inner.result] = constant_text(inner.value, inner.result.type)
                covers[inner.result] = frozenset()
            elif not isinstance(inner, tile.YieldOp):
                self._compute(inner, texts, covers)
        values = yielded(op.body)
        made = [
            self._covering(texts[value], covers[value], shape, out)
            for out, value in zip(op.outs, values, strict=True)
        ]
        self._give(op.outs, made)

    def _input(
        self, value: SSAValue, dims: Sequence[int], shape: Shape
    ) -> tuple[Text, frozenset[int]]:
        if not isinstance(value.type, tile.TileType):
            return self.f.scalars[value], frozenset()
        text = self.f.covering(value, dims, shape)
        covered = frozenset() if text.literal else {shape.places[axis][0] for axis in dims}
        return text, frozenset(covered)

    def _compute(
        self,
        op: Operation,
        texts: dict[SSAValue, Text],
        covers: dict[SSAValue, frozenset[int]],
    ) -> None:
        covered = frozenset[int]().union(*(covers[value] for value in op.operands))
        results = scalar_text(op, [texts[value] for value in op.operands])
        for result, text in zip(op.results, results, strict=True):
            simple = text.atom and len(text.text) < 30 and "(" not in text.text
            users = [use.operation for use in result.uses]
            last = len(users) == 1 and isinstance(users[0], tile.YieldOp)
            short = len(users) == 1 and len(text.text) <= INLINE_LENGTH
            if not (text.literal or simple or short or last):
                name = self.f.writer.name(result.name_hint or "t")
                self.f.writer.line(f"{name} = {text.text}")
                text = Text(
                    name, text.type, plain=text.plain, bound=text.bound, natural=text.natural
                )
            texts[result] = text
            covers[result] = covered

    def _covering(
        self, text: Text, covered: frozenset[int], shape: Shape, out: SSAValue
    ) -> Text:
        """A result in its whole shape; a number may stay one."""
        if text.literal or covered == set(range(len(shape.lanes))):
            return text if text.literal or shape.lanes or not text.plain else _cast(text, out)
        if text.plain or not covered:
            return Text(
                f"tl.full({tuple_text(shape.sizes)}, {text.text}, tl.{text.type})", text.type
            )
        sizes = tuple_text(shape.sizes)
        return Text(f"tl.broadcast_to({text.text}, {sizes})", text.type)

    def _give(self, outs: Sequence[SSAValue], made: Sequence[Text]) -> None:
        f = self.f
        names = [
            None
            if text.literal or (text.text.isidentifier() and text.text not in f.carried
                                and out not in f.wanted)
            else f.name_for(out, "v")
            for out, text in zip(outs, made, strict=True)
        ]  # fmt: skip
        pairs = [(n, t) for n, t in zip(names, made, strict=True) if n and n != t.text]
        if len({name for name, _ in pairs} & f.carried) and len(pairs) > 1:
            left = ", ".join(name for name, _ in pairs)
            f.writer.line(f"{left} = {', '.join(text.text for _, text in pairs)}")
        else:
            for name, text in pairs:
                f.writer.line(f"{name} = {text.text}")
        for out, name, text in zip(outs, names, made, strict=True):
            f.tiles[out] = Held(Text(name, text.type) if name else text)


def _cast(text: Text, out: SSAValue) -> Text:
    assert tile_type(out).rank == 0
    return Text(text.to(text.type), text.type)
