"""Convolutions with what follows them as lowered programs, with what they should give."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from tile_programs import Array
from xdsl.dialects import func
from xdsl.dialects.builtin import FunctionType, ModuleOp
from xdsl.ir import Block, Region

from infini_ir.dialects import graph
from infini_ir.dialects.context import CompilerContext, compiler_context
from infini_ir.dialects.graph import TensorType, tensor_type
from infini_ir.dialects.graph.builder import GraphBuilder
from infini_ir.interpreters.graph import interpret
from infini_ir.lowering.graph_to_tile import GraphToTilePass
from infini_ir.passes.graph.fuse import GraphFusePass


@dataclass(frozen=True)
class Convolution:
    """relu(x conv w + bias + residual), 3 x 3, channels last."""

    image: tuple[int, int]
    channels: int
    filters: int
    count: int = 1
    lo: tuple[int, int] = (1, 1)
    hi: tuple[int, int] = (1, 1)
    residual: bool = False
    winograd: bool = True
    scale: float = 1.0
    ctx: CompilerContext = field(default_factory=compiler_context, compare=False)

    def __str__(self) -> str:
        size = "x".join(map(str, self.image))
        return f"{size}-{self.channels}-{self.filters}-n{self.count}-{self.lo}{self.hi}"

    @property
    def shape(self) -> list[int]:
        return [self.count, *self.image, self.channels]

    @cached_property
    def weights(self) -> tuple[Array, Array]:
        rng = np.random.default_rng(self.channels)
        w = rng.standard_normal((3, 3, self.channels, self.filters)) * self.scale
        return w.astype(np.float32), rng.standard_normal(self.filters).astype(np.float32)

    @cached_property
    def graph(self) -> ModuleOp:
        """The graph module, its convolution marked."""
        block = Block(arg_types=[TensorType.of(self.shape, "f32")])
        b, (x,) = GraphBuilder(block), block.args
        kinds = ("w", "bias")
        w, bias = (
            b.insert(
                graph.WeightOp(self.ctx.weights.add(kind, a), TensorType.of(a.shape, "f32"))
            ).out
            for kind, a in zip(kinds, self.weights, strict=True)
        )
        mark = "as asked" if self.winograd else None
        conv = graph.ConvOp(
            x, w, bias, layout="channels_last", lo=self.lo, hi=self.hi, winograd=mark
        )
        out = b.insert(conv).out
        if self.residual:
            out = b.add(out, block.insert_arg(out.type, 1))
        out = b.max(out, 0.0)
        block.add_op(func.ReturnOp(out))
        kind = FunctionType.from_lists([arg.type for arg in block.args], [out.type])
        return ModuleOp([func.FuncOp("main", kind, Region(block))])

    @cached_property
    def module(self) -> ModuleOp:
        """The lowered program."""
        lowered = self.graph.clone()
        GraphFusePass().apply(self.ctx, lowered)
        GraphToTilePass().apply(self.ctx, lowered)
        return lowered

    def inputs(self, seed: int = 0) -> list[Array]:
        rng = np.random.default_rng(seed)
        (main,) = self.graph.body.block.ops
        assert isinstance(main, func.FuncOp)
        shapes = [[d.value or 0 for d in tensor_type(a).shape] for a in main.body.block.args]
        return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]

    def wanted(self, inputs: list[Array]) -> Array:
        """In double precision."""
        x = np.pad(
            inputs[0].astype(np.float64),
            [(0, 0), *zip(self.lo, self.hi, strict=True), (0, 0)],
        )
        windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (1, 2))
        w, bias = self.weights
        out = np.einsum("nhwcij,ijco->nhwo", windows, w.astype(np.float64), optimize=True)
        out = out + bias
        return np.maximum(out + inputs[1] if self.residual else out, 0.0)

    def interpreted(self, inputs: list[Array]) -> Array:
        """What the graph interpreter gives, which takes no notice of the mark."""
        return np.asarray(interpret(self.graph, inputs, self.ctx)[0])


CONVOLUTIONS = [
    Convolution((2, 2), 1, 1),
    Convolution((5, 4), 3, 5, residual=True),
    Convolution((1, 6), 5, 17, lo=(2, 1), hi=(1, 0)),
    Convolution((7, 7), 17, 40, residual=True),
    Convolution((17, 23), 5, 3),
    Convolution((14, 14), 64, 64, residual=True),
    Convolution((9, 6), 100, 33, count=3, lo=(0, 2), hi=(1, 1)),
    Convolution((28, 28), 16, 128),
    Convolution((8, 8), 17, 32, count=2, lo=(0, 0), hi=(0, 0), residual=True),
]
