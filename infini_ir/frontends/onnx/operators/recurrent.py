"""Recurrent layers as scans; products with the inputs of all steps stand outside the scan."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate

from xdsl.ir import Block, Region, SSAValue

from infini_ir.dialects import graph
from infini_ir.dialects.graph import TensorType, tensor_type
from infini_ir.dialects.graph.builder import GraphBuilder
from infini_ir.frontends.onnx.node import Node
from infini_ir.frontends.onnx.operators.activations import (
    hard_sigmoid_of,
    softplus_of,
    softsign_of,
)
from infini_ir.frontends.onnx.operators.common import match_sizes, shape_of, with_shape
from infini_ir.frontends.onnx.registry import operator
from infini_ir.utils.symbolic import ONE, Dim

Activation = Callable[[GraphBuilder, SSAValue], SSAValue]


def _elu(b: GraphBuilder, x: SSAValue, alpha: float) -> SSAValue:
    return b.select(b.compare("lt", x, 0), b.mul(b.expm1(x), alpha), x)


def _leaky_relu(b: GraphBuilder, x: SSAValue, alpha: float) -> SSAValue:
    return b.select(b.compare("lt", x, 0), b.mul(x, alpha), x)


Parametric = Callable[[GraphBuilder, SSAValue, float, float], SSAValue]

ACTIVATIONS: dict[str, tuple[float | None, float | None, Parametric]] = {
    "relu": (None, None, lambda b, x, _a, _c: b.max(x, 0)),
    "tanh": (None, None, lambda b, x, _a, _c: b.tanh(x)),
    "sigmoid": (None, None, lambda b, x, _a, _c: b.sigmoid(x)),
    "softsign": (None, None, lambda b, x, _a, _c: softsign_of(b, x)),
    "softplus": (None, None, lambda b, x, _a, _c: softplus_of(b, x)),
    "leakyrelu": (0.01, None, lambda b, x, a, _c: _leaky_relu(b, x, a)),
    "elu": (1.0, None, lambda b, x, a, _c: _elu(b, x, a)),
    "thresholdedrelu": (
        1.0, None, lambda b, x, a, _c: b.select(b.compare("ge", x, a), x, 0),
    ),
    "affine": (1.0, 0.0, lambda b, x, a, c: b.add(b.mul(x, a), c)),
    "scaledtanh": (1.0, 1.0, lambda b, x, a, c: b.mul(b.tanh(b.mul(x, c)), a)),
    "hardsigmoid": (0.2, 0.5, hard_sigmoid_of),
}  # fmt: skip
"""Activations by name: the default alpha and beta (None: it has none) and the formula."""


@dataclass(frozen=True)
class Cell:
    """The weights and functions of one direction, all gates side by side."""

    weights: SSAValue
    """[gates * hidden, inputs]."""
    bias: SSAValue | None
    """What is added to products with the input."""
    recurrent: list[SSAValue]
    """[rows, hidden] each: the gates in the groups that the layer asks for."""
    recurrent_bias: SSAValue | None
    """What only the products with the hidden state have added."""
    peepholes: list[SSAValue]
    """One [hidden] a gate, or none."""
    states: list[SSAValue]
    """Initial states, [batch, hidden] each; the first is the hidden one."""
    activations: list[Activation]
    reverse: bool

    @property
    def hidden(self) -> Dim:
        return shape_of(self.recurrent[0])[1]


Step = Callable[[GraphBuilder, Cell, SSAValue, list[SSAValue]], list[SSAValue]]
"""From a step's products with the input, and the states, to the new states."""


def _activations(n: Node, defaults: list[str], directions: int) -> list[list[Activation]]:
    """A list a direction. Alphas and betas are consumed by those activations that have them."""
    names = n.attribute("activations", None) or defaults * directions
    if len(names) != len(defaults) * directions:
        raise n.error(f"wants {len(defaults)} activations a direction, not {names}")
    alphas = iter(n.attribute("activation_alpha", None) or ())
    betas = iter(n.attribute("activation_beta", None) or ())
    made = [_activation(n, name, alphas, betas) for name in names]
    return [made[i : i + len(defaults)] for i in range(0, len(made), len(defaults))]


def _activation(
    n: Node, name: str, alphas: Iterator[float], betas: Iterator[float]
) -> Activation:
    if name.lower() not in ACTIVATIONS:
        raise n.error(f"activation '{name}' is not one of {', '.join(sorted(ACTIVATIONS))}")
    alpha, beta, formula = ACTIVATIONS[name.lower()]
    a = 0.0 if alpha is None else next(alphas, alpha)
    c = 0.0 if beta is None else next(betas, beta)
    bound = n.attribute("clip", None)

    def activation(b: GraphBuilder, x: SSAValue) -> SSAValue:
        if bound:
            x = b.min(b.max(x, -bound), bound)
        return formula(b, x, a, c)

    return activation


@dataclass(frozen=True)
class Layer:
    """What the three operators share: operands, directions, the run over the sequence."""

    n: Node
    groups: tuple[int, ...]
    """How many gates each product with the hidden state gives."""
    state_inputs: tuple[int, ...]
    """Which inputs are the initial states."""
    defaults: list[str]
    """The default activations."""
    inner_bias: bool = False
    """Whether the step adds the recurrent bias itself."""

    def run(self, step: Step) -> list[SSAValue | None]:
        """The outputs: Y, then the last states."""
        n, b = self.n, self.n.builder
        layout = n.attribute("layout", 0)
        x = b.transpose(n.value(0), [1, 0, 2]) if layout else n.value(0)
        cells = self._cells(shape_of(x)[1])
        runs = [self._direction(x, cell, step) for cell in cells]
        stacked = None
        if n.outputs and n.outputs[0]:
            stacked = b.concat([b.unsqueeze(ys, [1]) for _, ys in runs if ys is not None], 1)
            stacked = b.transpose(stacked, [2, 0, 1, 3]) if layout else stacked
        finals: list[SSAValue | None] = []
        for k in range(len(self.state_inputs)):
            last = b.concat([b.unsqueeze(states[k], [0]) for states, _ in runs], 0)
            finals.append(b.transpose(last, [1, 0, 2]) if layout else last)
        return [stacked, *finals][: max(len(n.outputs), 1)]

    def _cells(self, batch: Dim) -> list[Cell]:
        n = self.n
        direction = n.attribute("direction", "forward")
        reverse = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}
        if direction not in reverse:
            raise n.error(f"direction '{direction}' is not forward, reverse or bidirectional")
        flags = reverse[direction]
        activations = _activations(n, self.defaults, len(flags))
        return [self._cell(d, flag, activations[d], batch) for d, flag in enumerate(flags)]

    def _cell(self, d: int, reverse: bool, activations: list[Activation], batch: Dim) -> Cell:
        n, b = self.n, self.n.builder
        hidden = Dim.of(n.attribute("hidden_size", None) or n.type(2).shape[2])
        rows = hidden * sum(self.groups)
        recurrent = with_shape(n, self._part(2, d), [rows, hidden])
        weights = self._part(1, d)
        bias, recurrent_bias = self._biases(d, rows)
        peepholes = []
        if n.op_type == "LSTM" and n.has(7):
            row = with_shape(n, self._part(7, d), [hidden * 3])
            peepholes = [_gate(b, row, k, hidden) for k in range(3)]
        return Cell(
            weights=with_shape(n, weights, [rows, shape_of(weights)[1]]),
            bias=bias,
            recurrent=self._grouped(recurrent, hidden),
            recurrent_bias=recurrent_bias,
            peepholes=peepholes,
            states=[self._state(i, d, batch, hidden) for i in self.state_inputs],
            activations=activations,
            reverse=reverse,
        )

    def _grouped(self, recurrent: SSAValue, hidden: Dim) -> list[SSAValue]:
        """The recurrent weights by groups of gates."""
        ends = list(accumulate(self.groups))
        return [
            self.n.builder.slice_axis(recurrent, 0, hidden * (end - count), hidden * count)
            for end, count in zip(ends, self.groups, strict=True)
        ]

    def _biases(self, d: int, rows: Dim) -> tuple[SSAValue | None, SSAValue | None]:
        """The bias outside the scan, and the one inside."""
        b = self.n.builder
        if not self.n.has(3):
            return None, None
        both = with_shape(self.n, self._part(3, d), [rows * 2])
        outer, inner = (b.slice_axis(both, 0, start, rows) for start in (0, rows))
        return (outer, inner) if self.inner_bias else (b.add(outer, inner), None)

    def _part(self, i: int, d: int) -> SSAValue:
        """The part of input i that belongs to direction d."""
        b = self.n.builder
        part = b.slice_axis(self.n.value(i), 0, d, 1)
        return b.reshape(part, shape_of(part)[1:])

    def _state(self, i: int, d: int, batch: Dim, hidden: Dim) -> SSAValue:
        n, b = self.n, self.n.builder
        value = n.optional(i)
        if value is None:
            return b.full([batch, hidden], 0, n.type(0).dtype)
        axis = 1 if n.attribute("layout", 0) else 0
        part = b.slice_axis(value, axis, d, 1)
        part = b.reshape(part, [s for k, s in enumerate(shape_of(part)) if k != axis])
        return with_shape(n, part, [batch, hidden])

    def _direction(
        self, x: SSAValue, cell: Cell, step: Step
    ) -> tuple[list[SSAValue], SSAValue | None]:
        """The last states and the hidden states of all steps, in the order of time."""
        n, b = self.n, self.n.builder
        x, weights = match_sizes(n, x, 2, cell.weights, 1)
        projected = b.dot(x, weights, contract=([2], [1]))
        if cell.bias is not None:
            projected = b.add(projected, cell.bias)
        if cell.reverse:
            projected = _flipped(b, projected)
        stacking = bool(n.outputs and n.outputs[0])
        region, stack = self._body(projected, cell, step, stacking)
        length = shape_of(projected)[0]
        scan = graph.ScanOp(cell.states, [projected], length, stack, region)
        outs = b.insert(scan).outs
        count = len(cell.states)
        if not stacking:
            return list(outs), None
        return list(outs[:count]), _flipped(b, outs[count]) if cell.reverse else outs[count]

    def _body(
        self, projected: SSAValue, cell: Cell, step: Step, stacking: bool
    ) -> tuple[Region, list[TensorType]]:
        inputs = tensor_type(projected)
        states = [tensor_type(state) for state in cell.states]
        length, slice_shape = inputs.shape[0], inputs.shape[1:]
        block = Block(
            arg_types=[TensorType.of((), "i64"), *states, inputs.with_shape(slice_shape)]
        )
        b = self.n.builder_at(block)
        index, *old, gates = block.args
        new = step(b, cell, gates, list(old))
        shown = new[0]
        if self.n.has(4):
            time = b.sub(b.dim(length - 1), index) if cell.reverse else index
            lengths = with_shape(self.n, self.n.value(4), [states[0].shape[0]])
            running = b.compare("lt", time, b.cast(lengths, "i64"))
            running = b.unsqueeze(running, [1])
            shown = b.select(running, new[0], 0)
            new = [
                b.select(running, after, before) for after, before in zip(new, old, strict=True)
            ]
        b.yield_([*new, shown] if stacking else new)
        stack = [states[0].with_shape([length, *states[0].shape])] if stacking else []
        return Region(block), stack


def _flipped(b: GraphBuilder, x: SSAValue) -> SSAValue:
    """The first axis backwards."""
    shape = shape_of(x)
    rest = [0] * (len(shape) - 1)
    return b.slice(x, [shape[0] - ONE, *rest], shape, [-1, *(1 for _ in rest)])


def _gate(b: GraphBuilder, gates: SSAValue, k: int, hidden: Dim) -> SSAValue:
    """Gate k of those side by side along the last axis."""
    return b.slice_axis(gates, len(shape_of(gates)) - 1, hidden * k, hidden)


def _recurrence(b: GraphBuilder, weights: SSAValue, h: SSAValue) -> SSAValue:
    return b.dot(h, weights, contract=([1], [1]))


def _rnn_step(
    b: GraphBuilder, cell: Cell, gates: SSAValue, states: list[SSAValue]
) -> list[SSAValue]:
    total = b.add(gates, _recurrence(b, cell.recurrent[0], states[0]))
    return [cell.activations[0](b, total)]


@operator("RNN")
def rnn(n: Node) -> list[SSAValue | None]:
    return Layer(n, (1,), (5,), ["Tanh"]).run(_rnn_step)


def _lstm_step(input_forget: bool) -> Step:
    """Gates i, o, f, c."""

    def step(
        b: GraphBuilder, cell: Cell, gates: SSAValue, states: list[SSAValue]
    ) -> list[SSAValue]:
        h, c = states
        f, g, last = cell.activations
        total = b.add(gates, _recurrence(b, cell.recurrent[0], h))
        i_sum, o_sum, f_sum, c_sum = (_gate(b, total, k, cell.hidden) for k in range(4))

        def peeped(gate: SSAValue, k: int, state: SSAValue) -> SSAValue:
            if not cell.peepholes:
                return gate
            return b.add(gate, b.mul(cell.peepholes[k], state))

        write = f(b, peeped(i_sum, 0, c))
        keep = b.sub(1, write) if input_forget else f(b, peeped(f_sum, 2, c))
        after = b.add(b.mul(keep, c), b.mul(write, g(b, c_sum)))
        return [b.mul(f(b, peeped(o_sum, 1, after)), last(b, after)), after]

    return step


@operator("LSTM")
def lstm(n: Node) -> list[SSAValue | None]:
    step = _lstm_step(bool(n.attribute("input_forget", 0)))
    return Layer(n, (4,), (5, 6), ["Sigmoid", "Tanh", "Tanh"]).run(step)


def _gru_step(
    b: GraphBuilder, cell: Cell, gates: SSAValue, states: list[SSAValue]
) -> list[SSAValue]:
    """Gates z, r, h; the reset gate scales the hidden state before its product."""
    (h,) = states
    f, g = cell.activations
    inputs = b.slice_axis(gates, 1, 0, cell.hidden * 2)
    total = b.add(inputs, _recurrence(b, cell.recurrent[0], h))
    update, reset = (f(b, _gate(b, total, k, cell.hidden)) for k in range(2))
    inner = _recurrence(b, cell.recurrent[1], b.mul(reset, h))
    candidate = g(b, b.add(_gate(b, gates, 2, cell.hidden), inner))
    return [_mixed(b, update, h, candidate)]


def _gru_linear_step(
    b: GraphBuilder, cell: Cell, gates: SSAValue, states: list[SSAValue]
) -> list[SSAValue]:
    """As `_gru_step`, but the reset gate scales the product, its bias included."""
    (h,) = states
    f, g = cell.activations
    product = _recurrence(b, cell.recurrent[0], h)
    if cell.recurrent_bias is not None:
        product = b.add(product, cell.recurrent_bias)
    pairs = [[_gate(b, part, k, cell.hidden) for k in range(3)] for part in (gates, product)]
    update, reset = (f(b, b.add(pairs[0][k], pairs[1][k])) for k in range(2))
    candidate = g(b, b.add(pairs[0][2], b.mul(reset, pairs[1][2])))
    return [_mixed(b, update, h, candidate)]


def _mixed(b: GraphBuilder, share: SSAValue, old: SSAValue, new: SSAValue) -> SSAValue:
    return b.add(b.mul(b.sub(1, share), new), b.mul(share, old))


@operator("GRU")
def gru(n: Node) -> list[SSAValue | None]:
    if n.attribute("linear_before_reset", 0):
        return Layer(n, (3,), (5,), ["Sigmoid", "Tanh"], inner_bias=True).run(_gru_linear_step)
    return Layer(n, (2, 1), (5,), ["Sigmoid", "Tanh"]).run(_gru_step)
