"""Kernels that are no plain products: `python -m benchmarks.kernels`.

The convolutions of ResNet-50 and MobileNetV2, attention, normalisations, softmax, functions of
elements, reductions, movements and recurrent layers; in f32, the first also in bf16. PyTorch's
convolutions have their weights packed and images channels last, as its frozen programs do; of ours
only kernels that compute count, not those that turn the images into our layout and back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
import torch.nn.functional as F

from benchmarks.operation import ONNX_TYPES, Operation, Tensors, command, kind_of, nbytes, wide

CONVOLUTIONS = (
    (3, 64, 7, 2, 224, 1),
    (64, 64, 1, 1, 56, 1),
    (64, 64, 3, 1, 56, 1),
    (64, 256, 1, 1, 56, 1),
    (256, 64, 1, 1, 56, 1),
    (128, 128, 3, 2, 56, 1),
    (256, 512, 1, 2, 56, 1),
    (128, 128, 3, 1, 28, 1),
    (512, 128, 1, 1, 28, 1),
    (256, 256, 3, 1, 14, 1),
    (1024, 256, 1, 1, 14, 1),
    (512, 512, 3, 1, 7, 1),
    (2048, 512, 1, 1, 7, 1),
    (96, 96, 3, 2, 112, 96),
    (144, 144, 3, 1, 56, 144),
    (384, 384, 3, 1, 14, 384),
    (960, 960, 3, 1, 7, 960),
)
"""Channels in and out, window, stride, size of the image, groups."""
ATTENTION = (
    (12, 128, 64, False),
    (12, 197, 64, False),
    (12, 512, 64, True),
    (16, 1024, 128, True),
)
"""Heads, length, width of a head, whether causal."""
RECURRENT = (
    ("LSTM", 256, 1, False),
    ("LSTM", 512, 1, False),
    ("LSTM", 1024, 1, False),
    ("LSTM", 256, 8, False),
    ("LSTM", 256, 1, True),
    ("GRU", 256, 1, False),
    ("GRU", 512, 1, False),
    ("GRU", 1024, 1, False),
)
"""Operator, width of input and state, batch, whether in both directions."""
STEPS = 32
ROWS = ((128, 768), (197, 768), (4096, 1024))
FUNCTIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "Exp": torch.exp,
    "Log": lambda x: torch.log(x),
    "Tanh": torch.tanh,
    "Erf": torch.erf,
    "Sigmoid": torch.sigmoid,
    "Sin": torch.sin,
    "Gelu": F.gelu,
    "Mish": F.mish,
    "Softplus": F.softplus,
    "Relu": F.relu,
    "Sqrt": torch.sqrt,
}
ELEMENTS = (64 * 1024, 4 * 1024 * 1024)
"""In the second caches; in memory."""
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


def operations() -> Iterator[Callable[[], Operation]]:
    """All, made when they are called."""
    for name, dtype in DTYPES.items():
        yield from (partial(convolution, name, dtype, *shape) for shape in CONVOLUTIONS)
        yield from (partial(attention, name, dtype, *shape) for shape in ATTENTION)
    for make in (layer_norm, rms_norm, softmax):
        yield from (partial(make, *shape) for shape in ROWS)
    yield from (partial(function, name, count) for name in FUNCTIONS for count in ELEMENTS)
    yield from (partial(add, count) for count in ELEMENTS)
    for make in (row_sums, column_sums, transpose):
        yield from (partial(make, *shape) for shape in ROWS)
    yield from (max_pool, average_pool, gather, concat)
    yield from (partial(recurrent, *shape) for shape in RECURRENT)


# Convolutions and attention


def convolution(
    name: str,
    dtype: torch.dtype,
    cin: int,
    cout: int,
    window: int,
    stride: int,
    size: int,
    groups: int,
) -> Operation:
    """`y = relu(conv(x, w) + b)` of one image."""
    x, b = _random(1, cin, size, size).to(dtype), _random(cout).to(dtype)
    w = (_random(cout, cin // groups, window, window) / window).to(dtype)
    pad, after = window // 2, (size - 1) // stride + 1
    body = f"""
        c = Conv<pads = [{pad}, {pad}, {pad}, {pad}], strides = [{stride}, {stride}],
                 group = {groups}>(x, w, b)
        y = Relu(c)
    """
    where = ([pad, pad], [stride, stride], [1, 1], groups)

    def prepare(operands: Tensors, weights: Tensors) -> Callable[[], torch.Tensor]:
        image = operands[0].contiguous(memory_format=torch.channels_last)
        pack = torch.ops.mkldnn._reorder_convolution_weight
        kept = pack(weights[0], where[0], where[1], where[2], groups, list(image.shape))
        convolve = torch.ops.mkldnn._convolution_pointwise
        return lambda: convolve(image, kept, weights[1], *where, "relu", [], "")

    def exact(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return F.relu(F.conv2d(*wide(x, w, b), where[1], where[0], where[2], groups))

    result = cout * after * after
    kind = "depthwise" if groups == cin else "convolution"
    return Operation(
        f"{name} {cin} to {cout}, {window} x {window} by {stride}, {size} x {size}"
        + (f", {groups} groups" if groups > 1 else ""),
        f"{name} {kind}",
        {"x": x},
        {"w": w, "b": b},
        body,
        f"{ONNX_TYPES[dtype]}[1, {cout}, {after}, {after}]",
        prepare,
        exact,
        2.0 * result * window * window * cin / groups,
        kind_of(dtype if groups == 1 else torch.float32),
        nbytes(x, w, b) + result * x.element_size(),
        inside=True,
    )


def attention(
    name: str, dtype: torch.dtype, heads: int, length: int, width: int, causal: bool
) -> Operation:
    """Scaled products, softmax, products."""
    shape = (1, heads, length, width)
    q, k, v = (_random(*shape, seed=seed).to(dtype) for seed in range(3))
    attend = partial(F.scaled_dot_product_attention, is_causal=causal)
    return Operation(
        f"{name} {heads} heads of {length} x {width}" + (" causal" if causal else ""),
        f"{name} attention",
        {"q": q, "k": k, "v": v},
        {},
        f"y = Attention<is_causal = {int(causal)}>(q, k, v)",
        f"{ONNX_TYPES[dtype]}[{', '.join(map(str, shape))}]",
        lambda operands, _: lambda: attend(*operands),
        lambda *operands: attend(*wide(*operands)),
        4.0 * heads * length * length * width / (2 if causal else 1),
        kind_of(dtype),
        4 * nbytes(q),
    )


# Rows


def _simple(
    name: str,
    group: str,
    body: str,
    operands: dict[str, torch.Tensor],
    call: Callable[..., torch.Tensor],
) -> Operation:
    """An operation of f32 that memory bounds."""
    values = list(operands.values())
    out = call(*values)
    return Operation(
        name,
        group,
        operands,
        {},
        body,
        f"{ONNX_TYPES[out.dtype]}[{', '.join(map(str, out.shape))}]",
        lambda operands, _: lambda: call(*operands),
        lambda *operands: call(*wide(*operands)),
        bytes=nbytes(*values, out),
    )


def layer_norm(rows: int, columns: int) -> Operation:
    """With scale and bias."""
    operands = {"x": _random(rows, columns), "s": _random(columns), "b": _random(columns)}
    return _simple(
        f"LayerNormalization {rows} x {columns}",
        "rows",
        "y = LayerNormalization(x, s, b)",
        operands,
        lambda x, s, b: F.layer_norm(x, (columns,), s, b),
    )


def rms_norm(rows: int, columns: int) -> Operation:
    """With a scale."""
    return _simple(
        f"RMSNormalization {rows} x {columns}",
        "rows",
        "y = RMSNormalization(x, s)",
        {"x": _random(rows, columns), "s": _random(columns)},
        lambda x, s: F.rms_norm(x, (columns,), s, 1e-5),
    )


def softmax(rows: int, columns: int) -> Operation:
    """Of rows."""
    x = _random(rows, columns)
    name = f"Softmax {rows} x {columns}"
    return _simple(name, "rows", "y = Softmax(x)", {"x": x}, lambda x: F.softmax(x, -1))


def row_sums(rows: int, columns: int) -> Operation:
    """A sum a row."""
    body = "axes = Constant<value_ints = [1]>() y = ReduceSum<keepdims = 0>(x, axes)"
    x = _random(rows, columns)
    return _simple(f"row sums {rows} x {columns}", "rows", body, {"x": x}, lambda x: x.sum(1))


def column_sums(rows: int, columns: int) -> Operation:
    """A sum a column."""
    body = "axes = Constant<value_ints = [0]>() y = ReduceSum<keepdims = 0>(x, axes)"
    x = _random(rows, columns)
    return _simple(
        f"column sums {rows} x {columns}", "rows", body, {"x": x}, lambda x: x.sum(0)
    )


def transpose(rows: int, columns: int) -> Operation:
    """Into another array."""
    return _simple(
        f"Transpose {rows} x {columns}",
        "movement",
        "y = Transpose<perm = [1, 0]>(x)",
        {"x": _random(rows, columns)},
        lambda x: x.T.contiguous(),
    )


# Elements, windows, movement


def function(name: str, count: int) -> Operation:
    """A function of each element."""
    x = _random(count)
    x = x.abs() + 0.1 if name in ("Log", "Sqrt") else x
    return _simple(f"{name} {count}", "functions", f"y = {name}(x)", {"x": x}, FUNCTIONS[name])


def add(count: int) -> Operation:
    """Two arrays."""
    operands = {"x": _random(count), "z": _random(count)}
    return _simple(f"Add {count}", "functions", "y = Add(x, z)", operands, torch.add)


def max_pool() -> Operation:
    """ResNet's."""
    return _simple(
        "MaxPool 64 x 112 x 112, 3 x 3 by 2",
        "movement",
        "y = MaxPool<kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]>(x)",
        {"x": _random(1, 64, 112, 112)},
        lambda x: F.max_pool2d(x, 3, 2, 1),
    )


def average_pool() -> Operation:
    """Of whole images."""
    return _simple(
        "GlobalAveragePool 2048 x 7 x 7",
        "rows",
        "y = GlobalAveragePool(x)",
        {"x": _random(1, 2048, 7, 7)},
        lambda x: x.mean((2, 3), keepdim=True),
    )


def gather() -> Operation:
    """Rows of a table of words."""
    table = _random(30522, 768)
    places = torch.randint(0, 30522, (128,), generator=torch.Generator().manual_seed(0))
    made = _simple(
        "Gather 128 of 30522 x 768",
        "movement",
        "y = Gather(x, i)",
        {"x": table, "i": places},
        lambda x, i: x[i],
    )
    return _with_bytes(made, 2.0 * 128 * 768 * 4 + nbytes(places))


def concat() -> Operation:
    """DenseNet's."""
    return _simple(
        "Concat 256 and 32 x 28 x 28",
        "movement",
        "y = Concat<axis = 1>(x, z)",
        {"x": _random(1, 256, 28, 28), "z": _random(1, 32, 28, 28)},
        lambda x, z: torch.cat([x, z], 1),
    )


# Recurrent layers

GATES = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2)}
"""ONNX's gates in PyTorch's order."""


def recurrent(operator: str, width: int, batch: int, both: bool) -> Operation:
    """A layer over a sequence from a state of zeros."""
    order, ways = GATES[operator], 2 if both else 1
    gates, scale = len(order), width**-0.5
    weights = {
        "w": _random(ways, gates * width, width, seed=1) * scale,
        "r": _random(ways, gates * width, width, seed=2) * scale,
        "b": _random(ways, 2 * gates * width, seed=3) * 0.1,
    }
    x = _random(STEPS, batch, width)
    direction = "bidirectional" if both else "forward"
    flags = ", linear_before_reset = 1" if operator == "GRU" else ""

    def parameters(w: torch.Tensor, r: torch.Tensor, b: torch.Tensor) -> list[torch.Tensor]:
        def sorted_gates(part: torch.Tensor) -> torch.Tensor:
            pieces = part.chunk(gates)
            return torch.cat([pieces[i] for i in order])

        return [
            sorted_gates(part)
            for way in range(ways)
            for part in (w[way], r[way], *b[way].chunk(2))
        ]

    def layer(x: torch.Tensor, found: list[torch.Tensor]) -> torch.Tensor:
        start = torch.zeros(ways, batch, width, dtype=x.dtype)
        settings = (True, 1, 0.0, False, both, False)
        if operator == "GRU":
            out = torch.gru(x, start, found, *settings)[0]
        else:
            out = torch.lstm(x, [start, start], found, *settings)[0]
        return out.reshape(STEPS, batch, ways, width).transpose(1, 2)

    def prepare(operands: Tensors, kept: Tensors) -> Callable[[], torch.Tensor]:
        found = parameters(*kept)
        return lambda: layer(operands[0], found)

    products = 2.0 * STEPS * batch * ways * gates * width * 2 * width
    return Operation(
        f"{operator} {width} wide, {STEPS} steps of {batch}" + (", both ways" if both else ""),
        "recurrent",
        {"x": x},
        weights,
        f'y, last = {operator}<hidden_size = {width}, direction = "{direction}"{flags}>(x, w, r, b)',
        f"float[{STEPS}, {ways}, {batch}, {width}]",
        prepare,
        lambda x, *kept: layer(x.double(), parameters(*wide(*kept))),
        products,
        kind_of(torch.float32),
        nbytes(x, *weights.values()),
    )


def _with_bytes(made: Operation, count: float) -> Operation:
    from dataclasses import replace

    return replace(made, bytes=count)


def _random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


main = command("kernels", "Measure kernels; 1 where one of ours fails.", operations)

if __name__ == "__main__":
    main()
