"""What is measured: a kernel as an ONNX model, as PyTorch, and its bytes and operations."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F

if TYPE_CHECKING:
    import onnx

Shape = tuple[int, ...]
ONNX_TYPES = {"f32": "float", "f16": "float16", "bf16": "bfloat16", "i64": "int64"}
TORCH_TYPES = {
    "f32": torch.float32,
    "f16": torch.float16,
    "bf16": torch.bfloat16,
    "i64": torch.int64,
}
ITEM = {"f32": 4, "f16": 2, "bf16": 2, "i64": 8}
TOLERANCE = {"f32": 1e-4, "f16": 4e-3, "bf16": 3e-2}
"""Largest error of an output, as a share of the largest element of PyTorch's in f64."""


@dataclass(frozen=True)
class Problem:
    """One measurement. The operands are random; integers are below `limit`."""

    name: str
    dtype: str
    operands: tuple[tuple[str, str, Shape], ...]
    """Name, element type and shape of each."""
    body: str
    """Statements of ONNX's text form that compute `y`."""
    output: Shape
    torch: Callable[..., Any]
    operations: float = 0.0
    """A multiply-add counts two; 0 where memory is the limit."""
    limit: int = 1

    @property
    def bytes(self) -> int:
        """Of all operands and the result, each once."""
        parts = [math.prod(shape) * ITEM[dtype] for _, dtype, shape in self.operands]
        if "Gather" in self.body:  # of a table only the rows that are looked up
            parts[0] = min(parts[0], math.prod(self.output) * ITEM[self.dtype])
        return sum(parts) + math.prod(self.output) * ITEM[self.dtype]

    def source(self) -> onnx.ModelProto:
        """The model."""
        from onnx import parser

        inputs = ", ".join(
            f"{ONNX_TYPES[dtype]}[{', '.join(map(str, shape))}] {name}"
            for name, dtype, shape in self.operands
        )
        head = '<ir_version: 10, opset_import: ["" : 23]>'
        return parser.parse_model(
            f"{head} bench ({inputs}) => ({ONNX_TYPES[self.dtype]} y) {{ {self.body} }}"
        )

    def tensors(self, device: str, seed: int = 0) -> list[torch.Tensor]:
        """The operands, of the same random numbers each time."""
        generator = torch.Generator(device).manual_seed(seed)
        made = []
        for _, dtype, shape in self.operands:
            if dtype == "i64":
                made.append(
                    torch.randint(0, self.limit, shape, device=device, generator=generator)
                )
            else:
                x = torch.randn(shape, device=device, generator=generator)
                made.append(x.to(TORCH_TYPES[dtype]))
        return made


def problems(*, quick: bool = False) -> list[Problem]:
    """All problems; `quick` takes smaller ones, for trying the program."""
    rows = 1024 if quick else 8192
    found: list[Problem] = []
    for dtype in ("f32", "bf16"):
        found += _memory_bound(dtype, rows)
    found += _products((256,) if quick else (1024, 2048, 4096, 8192))
    found += _attention(256 if quick else 2048)
    found += _convolutions(4 if quick else 32)
    return found


def _simple(
    name: str, dtype: str, shapes: Sequence[Shape], body: str, output: Shape, function: Any
) -> Problem:
    operands = tuple(("xzwb"[i], dtype, shape) for i, shape in enumerate(shapes))
    return Problem(f"{name} {dtype}", dtype, operands, body, output, function)


def _memory_bound(dtype: str, rows: int) -> Iterator[Problem]:
    square: Shape = (rows, rows)
    wide: Shape = (rows, 4096)
    yield _simple("add", dtype, [square] * 2, "y = Add(x, z)", square, torch.add)
    yield _simple(
        "gelu chain",
        dtype,
        [square, square],
        "a = Mul(x, z) g = Gelu(a) y = Add(g, x)",
        square,
        lambda x, z: F.gelu(x * z) + x,
    )
    yield _simple(
        "softmax", dtype, [wide], "y = Softmax(x)", wide, lambda x: torch.softmax(x, -1)
    )
    yield _simple(
        "layer norm",
        dtype,
        [wide, (4096,), (4096,)],
        "y = LayerNormalization(x, z, w)",
        wide,
        lambda x, g, b: F.layer_norm(x, (4096,), g, b),
    )
    yield _simple(
        "rms norm",
        dtype,
        [wide, (4096,)],
        "y = RMSNormalization(x, z)",
        wide,
        lambda x, g: F.rms_norm(x, (4096,), g, 1e-5),
    )
    yield _simple(
        "row sums",
        dtype,
        [wide],
        "k = Constant<value_ints=[1]>() y = ReduceSum<keepdims=0>(x, k)",
        (rows,),
        lambda x: x.sum(1),
    )
    yield _simple(
        "column sums",
        dtype,
        [wide],
        "k = Constant<value_ints=[0]>() y = ReduceSum<keepdims=0>(x, k)",
        (4096,),
        lambda x: x.sum(0),
    )
    yield _simple(
        "transpose",
        dtype,
        [square],
        "y = Transpose<perm=[1, 0]>(x)",
        square,
        lambda x: x.t().contiguous(),
    )
    table = ("x", dtype, (32000, 4096))
    yield Problem(
        f"embedding {dtype}",
        dtype,
        (table, ("i", "i64", (rows,))),
        "y = Gather(x, i)",
        (rows, 4096),
        lambda x, i: F.embedding(i, x),
        limit=32000,
    )


def _products(sizes: Sequence[int]) -> Iterator[Problem]:
    shapes = [(dtype, n, n, n) for dtype in ("bf16", "f16", "f32") for n in sizes]
    last = sizes[-1]
    shapes += [("bf16", m, last, last) for m in (1, 16, 64)]
    for dtype, m, k, n in shapes:
        yield Problem(
            f"matmul {m}x{k}x{n} {dtype}",
            dtype,
            (("x", dtype, (m, k)), ("w", dtype, (k, n))),
            "y = MatMul(x, w)",
            (m, n),
            torch.matmul,
            operations=2.0 * m * k * n,
        )
    yield Problem(
        f"matmul+bias+gelu {last} bf16",
        "bf16",
        (("x", "bf16", (last, last)), ("w", "bf16", (last, last)), ("b", "bf16", (last,))),
        "a = MatMul(x, w) c = Add(a, b) y = Gelu(c)",
        (last, last),
        lambda x, w, b: F.gelu(x @ w + b),
        operations=2.0 * last**3,
    )


def _attention(length: int) -> Iterator[Problem]:
    for causal in (0, 1):
        q, k = (4, 32, length, 128), (4, 8, length, 128)
        yield Problem(
            f"attention {'causal ' if causal else ''}{length} bf16",
            "bf16",
            (("q", "bf16", q), ("k", "bf16", k), ("v", "bf16", k)),
            f"y = Attention<is_causal={causal}>(q, k, v)",
            q,
            lambda q, k, v, causal=causal: F.scaled_dot_product_attention(
                q, k, v, is_causal=bool(causal), enable_gqa=True
            ),
            operations=4.0 * math.prod(q) * length * (0.5 if causal else 1),
        )


def _convolutions(batch: int) -> Iterator[Problem]:
    for channels, size in ((64, 56), (256, 14)):
        x: Shape = (batch, channels, size, size)
        w: Shape = (channels, channels, 3, 3)
        yield Problem(
            f"conv 3x3 {channels}x{size} f16",
            "f16",
            (("x", "f16", x), ("w", "f16", w)),
            "c = Conv<pads=[1, 1, 1, 1]>(x, w) y = Relu(c)",
            x,
            lambda x, w: F.relu(F.conv2d(x, w, padding=1)),
            operations=2.0 * math.prod(x) * channels * 9,
        )
