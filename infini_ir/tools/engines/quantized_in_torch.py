"""QuantizeLinear and DequantizeLinear as PyTorch's compiler knows them.

Inductor makes integer products and convolutions of `quantized_decomposed` operators around
those of floats, where scales and zero points are numbers (of weights: constants a channel).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.ao.quantization.fx._decomposed

from infini_ir.utils.errors import InfiniError

RANGES = {torch.uint8: (0, 255), torch.int8: (-128, 127)}


def quantize(attributes: Mapping[str, Any], *parameters: Any) -> Callable[..., torch.Tensor]:
    """A tensor of floats to bytes, with one scale. `parameters`: scale and zero point."""
    scale, zero = _one_scale(*parameters)
    dtype = parameters[1].dtype if len(parameters) > 1 else torch.uint8
    least, most = _range(dtype)
    function = torch.ops.quantized_decomposed.quantize_per_tensor.default
    return lambda a, x, *_: function(x, scale, zero, least, most, dtype)


def dequantize(attributes: Mapping[str, Any], *parameters: Any) -> Callable[..., torch.Tensor]:
    """Bytes to a tensor of floats, with one scale or one a channel."""
    if attributes.get("block_size"):
        raise InfiniError("no form in PyTorch for DequantizeLinear by blocks")
    if parameters[0].numel() == 1:
        scale, zero = _one_scale(*parameters)
        function = torch.ops.quantized_decomposed.dequantize_per_tensor.default
        return lambda a, x, *_: (
            function(x, scale, zero, *_range(x.dtype), x.dtype)
            if x.dtype in RANGES
            else (x.float() - zero) * scale
        )
    channels = torch.ops.quantized_decomposed.dequantize_per_channel.default

    def per_channel(
        a: Mapping[str, Any], x: torch.Tensor, scales: Any, zeros: Any = None
    ) -> Any:
        zeros = torch.zeros(scales.shape, dtype=torch.int64) if zeros is None else zeros
        axis = a.get("axis", 1) % x.ndim
        if x.dtype not in RANGES:
            along = [-1 if i == axis else 1 for i in range(x.ndim)]
            return (x.float() - zeros.float().view(along)) * scales.view(along)
        return channels(x, scales, zeros, axis, *_range(x.dtype), x.dtype)

    return per_channel


def _one_scale(scale: torch.Tensor, zero: torch.Tensor | None = None) -> tuple[float, int]:
    if scale.numel() != 1:
        raise InfiniError("no form in PyTorch for QuantizeLinear by channels")
    return float(scale), 0 if zero is None else int(zero)


def _range(dtype: torch.dtype) -> tuple[int, int]:
    if dtype not in RANGES:
        raise InfiniError(f"no form in PyTorch for quantised values of {dtype}")
    return RANGES[dtype]


def folds(operator: str, operand: Any) -> bool:
    """Whether a node of a constant is computed beforehand: bytes stay bytes, as the compiler
    looks for them in front of products; biases become floats."""
    return operator not in PREPARED or getattr(operand, "dtype", None) not in RANGES


PREPARED = {"QuantizeLinear": quantize, "DequantizeLinear": dequantize}
"""What makes the function of a node, of its attributes and its constants."""
