"""Computations on constants and weights, done once when compiling."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation, SSAValue
from xdsl.passes import ModulePass

from infini_ir.dialects.context import weights_of
from infini_ir.dialects.graph import (
    BroadcastOp,
    ConstantOp,
    ConvOp,
    DimOp,
    DotOp,
    IotaOp,
    RngOp,
    TensorType,
    TransposeOp,
    WeightOp,
)  # fmt: skip
from infini_ir.dialects.graph.builder import GraphBuilder
from infini_ir.dialects.graph.shaping import CONSTANT_LIMIT
from infini_ir.dialects.graph.types import is_tensor, tensor_type
from infini_ir.passes.graph.byte_factors import keeps_bytes
from infini_ir.passes.graph.rules import RuleBuilder, inside_fusion, is_pure
from infini_ir.utils import dtypes
from infini_ir.utils.weights import WeightStore

_NEVER = (ConstantOp, WeightOp, IotaOp, BroadcastOp, DimOp, RngOp)
"""Leaves, and operations that are cheaper to repeat in a kernel than to read from memory."""

_KNOWN = frozenset({ConstantOp, WeightOp, IotaOp, BroadcastOp})
"""What gives operands that may be known when compiling (`_source`)."""


@dataclass(frozen=True)
class GraphFoldConstantsPass(ModulePass):
    """
    Fold operations whose operands are constants into constants, and those on weights into
    derived weights, which are computed only when someone asks for their numbers.

    Repetitions are left alone (a kernel repeats for nothing) but folded through, unless a
    product or convolution reads them.
    """

    name = "graph-fold-constants"
    max_growth: int = 4
    """A derived weight has at most so many times the elements of its largest operand, lest
    tables grow that are cheaper to compute than to load."""
    max_fresh_bytes: int = 1 << 20
    """Bytes at most of a derived weight that depends on no weight."""
    keep_bytes: bool = False
    """Whether 8-bit weights stay so where only products read the floats made of them."""
    keep_nibbles: bool = False
    """The same for those of 4 bits, and for zero points and scales of blocks of either."""

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        fold_constants(op, weights_of(ctx), self)


def fold_constants(
    root: Operation, store: WeightStore, limits: GraphFoldConstantsPass | None = None
) -> bool:
    """Fold everything inside `root`; returns whether anything changed."""
    folder = _Folder(store, limits or GraphFoldConstantsPass())
    changed = False
    for op in list(root.walk()):
        if any(type(operand.owner) not in _KNOWN for operand in op.operands):
            continue
        if folder.may_fold(op):
            changed |= folder.fold(op)
        elif isinstance(op, BroadcastOp) and _is_matrix(op):
            changed |= folder.keep_repeated(op)
    return changed


@dataclass(frozen=True)
class _Source:
    """An operand known when compiling: a weight, a constant or positions, maybe repeated."""

    leaf: WeightOp | ConstantOp | IotaOp
    shape: tuple[int, ...]

    def text(self) -> str:
        """All that decides the numbers, but for a weight's, which its name stands for."""
        if isinstance(self.leaf, WeightOp):
            return f"w{self.shape}"
        if isinstance(self.leaf, ConstantOp):
            return f"{self.leaf.value.data!r}{self.leaf.out.type}{self.shape}"
        return f"iota{self.leaf.axis.value.data}{self.leaf.out.type}{self.shape}"

    def elements(self) -> int:
        return tensor_type(self.leaf.out).element_count().value or 0

    def array(self) -> np.ndarray:
        """The numbers of a constant or of positions."""
        if isinstance(self.leaf, ConstantOp):
            return self.leaf.array()
        assert isinstance(self.leaf, IotaOp)
        out, axis = tensor_type(self.leaf.out), self.leaf.axis.value.data
        shape = out.static_shape()
        line = np.arange(shape[axis]).astype(dtypes.numpy_dtype(out.dtype))
        column = line.reshape([-1 if i == axis else 1 for i in range(len(shape))])
        return np.broadcast_to(column, shape)


def _source(value: SSAValue) -> _Source | None:
    tensor = tensor_type(value)
    owner = value.owner
    while isinstance(owner, BroadcastOp):
        owner = owner.x.owner
    if not isinstance(owner, (WeightOp, ConstantOp, IotaOp)) or not tensor.is_static():
        return None
    if isinstance(owner, IotaOp) and not tensor_type(owner.out).is_static():
        return None
    return _Source(owner, tensor.static_shape())


class _Folder:
    def __init__(self, store: WeightStore, limits: GraphFoldConstantsPass) -> None:
        self.store = store
        self.limits = limits

    def may_fold(self, op: Operation) -> bool:
        return (
            len(op.results) == 1
            and bool(op.operands)
            and not op.regions
            and op.parent is not None
            and is_pure(op)
            and not isinstance(op, _NEVER)
            and is_tensor(op.results[0])
            and not inside_fusion(op)
            and not self._stays_narrow(op)
        )

    def _stays_narrow(self, op: Operation) -> bool:
        return self.limits.keep_bytes and keeps_bytes(op, nibbles=self.limits.keep_nibbles)

    def fold(self, op: Operation) -> bool:
        out = tensor_type(op.results[0])
        sources = _sources(op)
        if sources is None or not out.is_static():
            return False
        constant = all(isinstance(source.leaf, ConstantOp) for source in sources)
        if constant and _byte_count(out) <= CONSTANT_LIMIT:
            return self._fold_now(op, sources, out)
        if not self._is_worthwhile(sources, out):
            return False
        self._fold_later(op, sources, out)
        return True

    def keep_repeated(self, op: BroadcastOp) -> bool:
        """Make a repetition of something stored a weight."""
        sources, out = _sources(op), tensor_type(op.out)
        if sources is None or not out.is_static():
            return False
        self._fold_later(op, sources, out)
        return True

    def _is_worthwhile(self, sources: Sequence[_Source], out: TensorType) -> bool:
        if not any(isinstance(source.leaf, WeightOp) for source in sources):
            return _byte_count(out) <= self.limits.max_fresh_bytes
        largest = max(source.elements() for source in sources)
        count = out.element_count().value or 0
        return count <= self.limits.max_growth * largest

    def _fold_now(self, op: Operation, sources: Sequence[_Source], out: TensorType) -> bool:
        array = _evaluator(op, sources)()
        _replace(op, ConstantOp(array, out.dtype))
        return True

    def _fold_later(self, op: Operation, sources: Sequence[_Source], out: TensorType) -> None:
        names = [s.leaf.handle.data for s in sources if isinstance(s.leaf, WeightOp)]
        name = self.store.derive(
            names, _key(op, sources), out.dtype, out.static_shape(), _evaluator(op, sources)
        )
        _replace(op, WeightOp(name, out))


def _sources(op: Operation) -> list[_Source] | None:
    """The operands, where all of them are known when compiling."""
    sources: list[_Source] = []
    for operand in op.operands:
        source = _source(operand)
        if source is None:
            return None
        sources.append(source)
    return sources


def _is_matrix(op: BroadcastOp) -> bool:
    """Whether a product or convolution reads the value as its second operand or bias."""
    return any(
        (isinstance(use.operation, DotOp) and use.index == 1)
        or (isinstance(use.operation, ConvOp) and use.index > 0)
        for use in op.out.uses
    )


def _byte_count(tensor: TensorType) -> int:
    count = tensor.element_count().value
    assert count is not None, "the caller asks for static tensors only"
    return count * dtypes.item_size(tensor.dtype)


def _key(op: Operation, sources: Sequence[_Source]) -> str:
    """A short name of the computation that tells it from all others on the same weights."""
    whole = sources[0].shape == tensor_type(sources[0].leaf.out).static_shape()
    if isinstance(op, TransposeOp) and isinstance(sources[0].leaf, WeightOp) and whole:
        return "transpose" + "".join(map(str, op.permutation))
    parts = [
        op.name,
        *(f"{name}={value}" for name, value in sorted(op.properties.items())),
        *(source.text() for source in sources),
        str(op.results[0].type),
    ]
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]
    return f"{op.name.removeprefix('graph.')}.{digest}"


def _evaluator(op: Operation, sources: Sequence[_Source]) -> Callable[..., np.ndarray]:
    """A function from the arrays of the weights among the operands to the result."""
    block = Block(arg_types=op.operand_types)
    clone = op.clone(dict(zip(op.operands, block.args, strict=True)))
    # One operand may stand twice: each place has its own argument.
    clone.operands = block.args
    block.add_op(clone)
    known = [None if isinstance(s.leaf, WeightOp) else s.array() for s in sources]
    return partial(_evaluate, clone, known, [source.shape for source in sources])


def _evaluate(
    op: Operation,
    known: Sequence[np.ndarray | None],
    shapes: Sequence[tuple[int, ...]],
    *arrays: np.ndarray,
) -> np.ndarray:
    from infini_ir.interpreters.graph import evaluate_op

    given = iter(arrays)
    operands = [
        np.broadcast_to(next(given) if array is None else array, shape)
        for array, shape in zip(known, shapes, strict=True)
    ]
    # What only moves elements is a view of the operand still.
    result = np.asarray(evaluate_op(op, operands, symbols={})[0])
    return result.reshape(tensor_type(op.results[0]).static_shape())


def _replace(op: Operation, new: ConstantOp | WeightOp) -> None:
    builder: GraphBuilder = RuleBuilder(op)
    value = builder.insert(new).out
    value.name_hint = op.results[0].name_hint
    op.results[0].replace_all_uses_with(value)
    op.detach()
    op.erase()
