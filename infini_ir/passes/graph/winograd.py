"""Which 3x3 convolutions take fewer products."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.passes import ModulePass

from infini_ir.dialects.context import CompilerContext
from infini_ir.dialects.graph import ConvOp, Layout, WeightOp, ints_of, tensor_type
from infini_ir.utils.rewriting import subject_of


@dataclass(frozen=True)
class GraphWinogradPass(ModulePass):
    """
    Mark the 3x3 convolutions for which the tiles of Winograd's algorithm, with 16 products
    instead of 36 for four results, take less time than the convolution itself.

    Times are in multiply-adds of one core. Runs when layouts are decided and filters are
    weights, before fusion. Rounding differs; the error is that of the direct sum or a little
    more (Lavin and Gray, 2016).
    """

    name = "graph-winograd"

    transform: float = 10.0
    """Multiply-adds in the time that making and reading a transformed element takes."""
    load: float = 26.0
    """Multiply-adds in the time that an element of the filters takes to arrive."""
    rows: int = 8
    """Tiles are taken in multiples of so many."""

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for conv in op.walk():
            if not isinstance(conv, ConvOp) or not _fits(conv):
                continue
            direct, fewer = self.costs(conv)
            ratio = direct / fewer
            reason = f"about {ratio:.2f} times as fast as 9 products a result"
            if ratio > 1.0:
                conv.properties["winograd"] = StringAttr(reason)
            if isinstance(ctx, CompilerContext):
                choice = "tiles of 2 x 2" if ratio > 1.0 else "direct"
                ctx.decide(self.name, subject_of(conv), choice, reason)

    def costs(self, conv: ConvOp) -> tuple[float, float]:
        """Of the convolution itself, and by tiles."""
        count, height, width, filters = (d.value or 0 for d in tensor_type(conv.out).shape)
        channels = tensor_type(conv.x).shape[-1].value or 0
        direct = 9.0 * count * height * width * channels * filters
        direct += self.load * 9 * channels * filters
        tiles = count * -(-height // 2) * -(-width // 2)
        rows = -(-tiles // self.rows) * self.rows
        fewer = 16.0 * rows * channels * filters
        fewer += self.transform * 16 * tiles * (channels + filters)
        fewer += self.load * 16 * channels * filters
        return direct, fewer


def _fits(conv: ConvOp) -> bool:
    x, w, out = (tensor_type(value) for value in (conv.x, conv.w, conv.out))
    sizes = (*x.shape, *w.shape, *out.shape)
    return (
        conv.layout.data is Layout.channels_last
        and isinstance(conv.w.owner, WeightOp)
        and {x.dtype, w.dtype, out.dtype} == {"f32"}
        and None not in [size.value for size in sizes]
        and [size.value for size in w.shape[:2]] == [3, 3]
        and w.rank == 4
        and conv.groups.value.data == 1
        and {*ints_of(conv.strides), *ints_of(conv.dilations), *ints_of(conv.input_dilation)}
        == {1}
        and all((size.value or 0) >= 2 for size in out.shape[1:3])
    )
