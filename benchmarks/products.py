"""Matrix products: `python -m benchmarks.products`.

Squares, few rows by large weights as in decoding text, odd sizes, batches; in f32, bf16, int8
(u8 by s8, quantised again) and with weights of int4. PyTorch has its weights packed: oneDNN's
or MKL's linear, whichever is faster, its quantised linear, and its int4 product of f32 or bf16 activations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import ml_dtypes
import torch

from benchmarks.operation import Operation, Tensors, command, kind_of, nbytes, wide
from infini_ir.tools.turns import Turns

SQUARES = (128, 256, 512, 1024, 2048, 4096)
ROWS = (1, 2, 4, 8, 16, 64)
WEIGHTS = ((4096, 4096), (4096, 11008))
"""k by n."""
ODD = ((127, 131, 129), (333, 555, 777), (49, 513, 1000), (197, 768, 3072), (1000, 1000, 1000))
"""m, k, n."""
BATCHED = ((12, 128, 64, 128), (12, 128, 128, 64), (96, 49, 32, 49), (8, 256, 256, 256))
"""Batch, m, k, n."""
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}
INT4_GROUP = 32
SCALE, ZERO = 0.02, 128
"""Of the bytes of activations; the weights' scales are near it."""


def operations() -> Iterator[Callable[[], Operation]]:
    """All, made when they are called."""
    skinny = [(rows, k, n) for k, n in WEIGHTS for rows in ROWS]
    shapes = [*((n, n, n) for n in SQUARES), *skinny, *ODD]
    for name, dtype in DTYPES.items():
        yield from (partial(product, name, dtype, *shape) for shape in shapes)
        yield from (partial(batched, name, dtype, *shape) for shape in BATCHED)
    yield from (partial(bytes_product, *shape) for shape in shapes)
    yield from (partial(int4_product, *shape) for shape in skinny)


def product(name: str, dtype: torch.dtype, m: int, k: int, n: int) -> Operation:
    """`y = x w`, w constant."""
    x, w = _random(m, k).to(dtype), _random(k, n).to(dtype)
    out = f"{_TEXT[name]}[{m}, {n}]"
    return Operation(
        f"{name} {m} x {k} x {n}",
        f"{name}",
        {"x": x},
        {"w": w},
        "y = MatMul(x, w)",
        out,
        lambda operands, weights: _packed(operands[0], weights[0].T.contiguous()),
        lambda x, w: torch.matmul(*wide(x, w)),
        2.0 * m * k * n,
        kind_of(dtype),
        nbytes(x, w) + m * n * x.element_size(),
    )


def batched(name: str, dtype: torch.dtype, b: int, m: int, k: int, n: int) -> Operation:
    """`y = x z`, both operands, a product for each of a batch."""
    x, z = _random(b, m, k).to(dtype), _random(b, k, n).to(dtype)
    return Operation(
        f"{name} {b} of {m} x {k} x {n}",
        f"{name}",
        {"x": x, "z": z},
        {},
        "y = MatMul(x, z)",
        f"{_TEXT[name]}[{b}, {m}, {n}]",
        lambda operands, _: partial(torch.bmm, *operands),
        lambda x, z: torch.bmm(*wide(x, z)),
        2.0 * b * m * k * n,
        kind_of(dtype),
        nbytes(x, z) + b * m * n * x.element_size(),
    )


def bytes_product(m: int, k: int, n: int) -> Operation:
    """u8 activations by s8 weights with a scale a column, quantised again to u8."""
    x = torch.randint(0, 256, (m, k), dtype=torch.uint8, generator=_seeded())
    w = torch.randint(-127, 128, (k, n), dtype=torch.int8, generator=_seeded())
    scales = SCALE * (0.5 + torch.rand(n, generator=_seeded()))
    step = torch.tensor(SCALE * SCALE * 74 * 73 * k**0.5 / 32)
    body = """
        real = DequantizeLinear(x, scale, zero)
        weight = DequantizeLinear<axis = 1>(w, scales, zeros)
        product = MatMul(real, weight)
        y = QuantizeLinear(product, step, zero)
    """
    weights = {
        "w": w,
        "scale": torch.tensor(SCALE),
        "zero": torch.tensor(ZERO, dtype=torch.uint8),
        "scales": scales,
        "zeros": torch.zeros(n, dtype=torch.int8),
        "step": step,
    }

    def prepare(operands: Tensors, weights: Tensors) -> Callable[[], torch.Tensor]:
        given = torch._make_per_tensor_quantized_tensor(operands[0], SCALE, ZERO)
        kept = torch._make_per_channel_quantized_tensor(
            weights[0].T.contiguous(), scales.double(), torch.zeros(n, dtype=torch.int64), 0
        )
        torch.backends.quantized.engine = "onednn"
        packed = torch.ops.quantized.linear_prepack(kept, None)
        return lambda: torch.ops.quantized.linear(given, packed, float(step), ZERO)

    def exact(x: torch.Tensor, w: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        real = (x.double() - ZERO) @ w.double() * SCALE * scales.double()
        return (torch.round(real / step.double()) + ZERO).clamp(0, 255)

    return Operation(
        f"int8 {m} x {k} x {n}",
        "int8",
        {"x": x},
        weights,
        body,
        f"uint8[{m}, {n}]",
        prepare,
        exact,
        2.0 * m * k * n,
        kind_of(torch.uint8),
        nbytes(x, w) + m * n,
    )


def int4_product(m: int, k: int, n: int) -> Operation:
    """f32 activations by signed weights of four bits, with a scale for each 32 of a column."""
    x = _random(m, k)
    codes = torch.randint(0, 16, (n, k), dtype=torch.int32, generator=_seeded())
    scales = 0.01 * (0.5 + torch.rand(k // INT4_GROUP, n, generator=_seeded()))
    body = f"""
        real = DequantizeLinear<axis = 0, block_size = {INT4_GROUP}>(w, scales)
        y = MatMul(x, real)
    """

    def prepare(operands: Tensors, weights: Tensors) -> Callable[[], torch.Tensor]:
        kept = torch.ops.aten._convert_weight_to_int4pack_for_cpu(codes, 1)
        points = torch.stack([scales, torch.zeros_like(scales)], -1).contiguous()
        multiply = torch.ops.aten._weight_int4pack_mm_for_cpu
        half = partial(multiply, x.bfloat16(), kept, INT4_GROUP, points.bfloat16())
        return _faster(partial(multiply, x, kept, INT4_GROUP, points), half)

    def exact(x: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        spread = scales.double().repeat_interleave(INT4_GROUP, 0)
        return x.double() @ ((codes.T.double() - 8) * spread)

    return Operation(
        f"int4 {m} x {k} x {n}",
        "int4 weights",
        {"x": x},
        {"w": (codes.T - 8).numpy().astype(ml_dtypes.int4), "scales": scales},
        body,
        f"float[{m}, {n}]",
        prepare,
        exact,
        2.0 * m * k * n,
        kind_of(torch.float32),
        nbytes(x, scales) + k * n / 2 + 4 * m * n,
    )


_TEXT = {"f32": "float", "bf16": "bfloat16"}


def _seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def _random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=_seeded())


def _packed(x: torch.Tensor, w: torch.Tensor) -> Callable[[], torch.Tensor]:
    """The faster of PyTorch's two linear functions of packed weights; w is n by k."""
    rows = x.shape[0]
    kept = torch.ops.mkldnn._reorder_linear_weight(w, rows)
    one_dnn = partial(torch.ops.mkldnn._linear_pointwise, x, kept, None, "none", [], "")
    if x.dtype != torch.float32 or not torch.backends.mkl.is_available():
        return one_dnn
    other = torch.ops.mkl._mkl_reorder_linear_weight(w, rows)
    mkl = partial(torch.ops.mkl._mkl_linear, x, other, w, None, rows)
    return _faster(mkl, one_dnn)


def _faster(a: Callable[[], torch.Tensor], b: Callable[[], torch.Tensor]) -> Any:
    times = Turns(3, turn_seconds=0.01).measure({"a": a, "b": b})
    return a if min(times["a"]) < min(times["b"]) else b


main = command("products", "Measure matrix products; 1 where one of ours fails.", operations)

if __name__ == "__main__":
    main()
