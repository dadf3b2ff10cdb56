"""Random small ONNX graphs of the common operators, over odd sizes, 1 and 0."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIZES = (0, 1, 1, 2, 3, 5, 7, 8, 16, 17, 33)
UNARY = (
    "Relu",
    "Sigmoid",
    "Tanh",
    "Neg",
    "Abs",
    "Exp",
    "Erf",
    "Floor",
    "Sqrt",
    "Softplus",
    "HardSwish",
)
BINARY = ("Add", "Sub", "Mul", "Max", "Min", "Div")
REDUCTIONS = ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL2")  # fmt: skip


class RandomGraph:
    """`inputs` has the arrays of the model's inputs; `symbolic` leaves its sizes open."""

    def __init__(self, seed: int, steps: int = 7, *, symbolic: bool = False) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.inits: list[onnx.TensorProto] = []
        self.values: dict[str, np.ndarray] = {}
        """Every value's shape, as an array without elements of its own."""
        self.inputs: dict[str, np.ndarray] = {}
        for _ in range(int(self.rng.integers(1, 3))):
            self.inputs[f"x{len(self.inputs)}"] = self.array(self.shape())
        self.shapes = {name: array.shape for name, array in self.inputs.items()}
        made: list[Callable[[str], None]] = [
            self.unary, self.binary, self.binary, self.reshape, self.transpose, self.concat,
            self.part, self.reduced, self.product, self.convolution, self.softmax, self.where,
            self.cast, self.pooled, self.gathered, self.padded, self.normalized,
        ]  # fmt: skip
        for _ in range(steps):
            names = list(self.shapes)
            # Late values more often, so that graphs are deep.
            name = names[-1 - min(int(self.rng.exponential(1.5)), len(names) - 1)]
            made[int(self.rng.integers(len(made)))](name)
        used = {i for node in self.nodes for i in node.input}
        self.outputs = [n for n in self.shapes if n not in used and n not in self.inputs]
        if not self.outputs:
            self.emit("Identity", ["x0"], self.shapes["x0"])
            self.outputs = [list(self.shapes)[-1]]
        self.symbolic = symbolic

    def model(self) -> onnx.ModelProto:
        inputs = [
            helper.make_tensor_value_info(
                name,
                TensorProto.FLOAT,
                [f"{name}_{i}" for i in range(a.ndim)] if self.symbolic else a.shape,
            )
            for name, a in self.inputs.items()
        ]
        outputs = [helper.make_empty_tensor_value_info(name) for name in self.outputs]
        graph = helper.make_graph(self.nodes, "g", inputs, outputs, self.inits)
        opsets = [helper.make_opsetid("", 18)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=9)

    # Parts

    def shape(self, rank: int | None = None) -> tuple[int, ...]:
        rank = int(self.rng.integers(1, 5)) if rank is None else rank
        while True:
            shape = tuple(int(self.rng.choice(SIZES)) for _ in range(rank))
            if np.prod(shape) <= 4000 and (0 not in shape or self.rng.random() < 0.2):
                return shape

    def array(self, shape: tuple[int, ...]) -> np.ndarray:
        return self.rng.standard_normal(shape).astype(np.float32)

    def constant(self, array: np.ndarray) -> str:
        name = f"c{len(self.inits)}"
        self.inits.append(numpy_helper.from_array(array, name))
        return name

    def ints(self, *numbers: int) -> str:
        return self.constant(np.array(numbers, np.int64))

    def emit(self, op: str, inputs: list[str], shape: tuple[int, ...], **attributes) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], **attributes))
        self.shapes[name] = tuple(map(int, shape))
        return name

    def hidden(self, op: str, inputs: list[str], **attributes) -> str:
        """A value that no other step takes."""
        name = f"h{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], **attributes))
        return name

    def axis(self, name: str) -> int:
        return int(self.rng.integers(len(self.shapes[name])))

    # Steps

    def unary(self, name: str) -> None:
        op = str(self.rng.choice(UNARY))
        if op == "Sqrt":
            name = self.emit("Abs", [name], self.shapes[name])
        if op == "Exp":
            name = self.emit("Tanh", [name], self.shapes[name])
        self.emit(op, [name], self.shapes[name])

    def binary(self, name: str) -> None:
        op, shape = str(self.rng.choice(BINARY)), self.shapes[name]
        same = [n for n, s in self.shapes.items() if s == shape and n != name]
        if same and self.rng.random() < 0.6 and op != "Div":
            other = str(self.rng.choice(same))
        else:
            kept = tuple(n if self.rng.random() < 0.6 else 1 for n in shape)
            array = self.array(kept[int(self.rng.integers(len(kept))) :])
            other = self.constant(np.abs(array) + 1 if op == "Div" else array)
        pair = [name, other]
        if op != "Div" and self.rng.random() < 0.5:
            pair.reverse()
        self.emit(op, pair, shape)

    def reshape(self, name: str) -> None:
        shape = list(self.shapes[name])
        if len(shape) > 1 and self.rng.random() < 0.6:
            at = int(self.rng.integers(len(shape) - 1))
            shape[at : at + 2] = [shape[at] * shape[at + 1]]
        else:
            at = int(self.rng.integers(len(shape)))
            for factor in (2, 3, 4, 1):
                if shape[at] % factor == 0:
                    shape[at : at + 1] = [factor, shape[at] // factor]
                    break
        if len(shape) <= 5:
            self.emit("Reshape", [name, self.ints(*shape)], tuple(shape), allowzero=1)

    def transpose(self, name: str) -> None:
        shape = self.shapes[name]
        perm = [int(i) for i in self.rng.permutation(len(shape))]
        self.emit("Transpose", [name], tuple(shape[i] for i in perm), perm=perm)

    def concat(self, name: str) -> None:
        shape, axis = list(self.shapes[name]), self.axis(name)
        added = shape.copy()
        added[axis] = int(self.rng.choice((1, 2, 5)))
        parts = [name, self.constant(self.array(tuple(added))), name]
        shape[axis] = 2 * shape[axis] + added[axis]
        if np.prod(shape) <= 8000:
            self.emit("Concat", parts, tuple(shape), axis=axis)

    def part(self, name: str) -> None:
        shape, axis = list(self.shapes[name]), self.axis(name)
        size = shape[axis]
        step = int(self.rng.choice((1, 1, 2, 3, -1, -2)))
        first, last = sorted(int(i) for i in self.rng.integers(0, size + 1, 2))
        begin, end = (first, last) if step > 0 else (last, first - size - 1)
        taken = range(size)[
            slice(begin, end if step > 0 else (first - 1 if first else None), step)
        ]
        if step < 0:
            end = first - 1 if first else -(size + 1)
        shape[axis] = len(taken)
        self.emit(
            "Slice",
            [name, self.ints(begin), self.ints(end), self.ints(axis), self.ints(step)],
            tuple(shape),
        )

    def reduced(self, name: str) -> None:
        shape, op = self.shapes[name], str(self.rng.choice(REDUCTIONS))
        axes = sorted({self.axis(name), self.axis(name)})
        if any(shape[a] == 0 for a in axes):
            return
        kept = tuple(1 if i in axes else n for i, n in enumerate(shape))
        self.emit(op, [name, self.ints(*axes)], kept, keepdims=1)

    def product(self, name: str) -> None:
        shape = self.shapes[name]
        columns = int(self.rng.choice((1, 3, 16, 33)))
        if len(shape) < 2:
            return
        array = self.array((shape[-1], columns)) / np.float32(np.sqrt(shape[-1] + 1))
        self.emit("MatMul", [name, self.constant(array)], (*shape[:-1], columns))

    def convolution(self, name: str) -> None:
        shape = self.shapes[name]
        if len(shape) != 4 or min(shape) == 0 or shape[1] > 40:
            return
        kernel, stride = int(self.rng.choice((1, 3))), int(self.rng.choice((1, 1, 2)))
        groups = shape[1] if self.rng.random() < 0.3 else 1
        filters = (
            groups * int(self.rng.choice((1, 2)))
            if groups > 1
            else int(self.rng.choice((1, 5, 16)))
        )
        pad = kernel // 2
        sizes = [(n + 2 * pad - kernel) // stride + 1 for n in shape[2:]]
        w = self.array((filters, shape[1] // groups, kernel, kernel)) / kernel
        inputs = [name, self.constant(w)]
        if self.rng.random() < 0.5:
            inputs.append(self.constant(self.array((filters,))))
        self.emit(
            "Conv", inputs, (shape[0], filters, *sizes), group=groups, pads=[pad] * 4,
            strides=[stride] * 2,
        )  # fmt: skip

    def pooled(self, name: str) -> None:
        shape = self.shapes[name]
        if len(shape) != 4 or min(shape) == 0:
            return
        op = str(self.rng.choice(("MaxPool", "AveragePool")))
        sizes = [(n + 2 - 3) // 2 + 1 for n in shape[2:]]
        self.emit(
            op, [name], (*shape[:2], *sizes), kernel_shape=[3, 3], pads=[1] * 4, strides=[2, 2]
        )

    def softmax(self, name: str) -> None:
        axis = self.axis(name)
        if self.shapes[name][axis]:
            self.emit(
                str(self.rng.choice(("Softmax", "LogSoftmax"))),
                [name],
                self.shapes[name],
                axis=axis,
            )

    def where(self, name: str) -> None:
        limit = self.constant(np.array(0.1, np.float32))
        chosen = self.hidden(str(self.rng.choice(("Greater", "LessOrEqual"))), [name, limit])
        other = self.constant(self.array((1,)))
        pair = [name, other] if self.rng.random() < 0.5 else [other, name]
        self.emit("Where", [chosen, *pair], self.shapes[name])

    def cast(self, name: str) -> None:
        # What is rounded must not lie between two numbers that differ: whole ones of a few bits.
        whole = self.hidden("Floor", [name])
        low = self.hidden(
            "Clip", [whole, self.constant(np.float32(-99)), self.constant(np.float32(99))]
        )
        code = int(
            self.rng.choice(
                (TensorProto.INT32, TensorProto.INT8, TensorProto.INT64, TensorProto.DOUBLE)
            )
        )
        narrow = self.hidden("Cast", [low], to=code)
        self.emit("Cast", [narrow], self.shapes[name], to=TensorProto.FLOAT)

    def gathered(self, name: str) -> None:
        shape, axis = list(self.shapes[name]), self.axis(name)
        if not shape[axis]:
            return
        index = self.rng.integers(-shape[axis], shape[axis], int(self.rng.choice((1, 3, 4))))
        shape[axis] = len(index)
        self.emit("Gather", [name, self.ints(*index)], tuple(shape), axis=axis)

    def padded(self, name: str) -> None:
        shape = self.shapes[name]
        low, high = (self.rng.integers(0, 3, len(shape)) for _ in range(2))
        sizes = tuple(int(n + a + b) for n, a, b in zip(shape, low, high, strict=True))
        if np.prod(sizes) <= 8000:
            self.emit("Pad", [name, self.ints(*low, *high)], sizes)

    def normalized(self, name: str) -> None:
        shape = self.shapes[name]
        if shape[-1] == 0:
            return
        scale, bias = (self.constant(self.array(shape[-1:])) for _ in range(2))
        self.emit("LayerNormalization", [name, scale, bias], shape, axis=-1)
