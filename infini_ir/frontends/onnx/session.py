"""What one import shares between all graphs and functions of a model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import onnx
from xdsl.dialects.builtin import ArrayAttr, LocationAttr, StringAttr
from xdsl.ir import Block, Operation, SSAValue
from xdsl.utils.exceptions import VerifyException

from infini_ir.dialects import graph
from infini_ir.dialects.dims import FactsAttr
from infini_ir.dialects.graph.builder import Fact, GraphBuilder
from infini_ir.dialects.graph.shaping import CONSTANT_LIMIT
from infini_ir.dialects.graph.types import TensorType, is_tensor, tensor_type
from infini_ir.frontends.onnx.contents import ContentsTable
from infini_ir.frontends.onnx.errors import NeedsValue
from infini_ir.frontends.onnx.folding import compare_sizes
from infini_ir.frontends.onnx.tensors import Files
from infini_ir.frontends.onnx.values import Initializer
from infini_ir.utils.dtypes import dtype_name
from infini_ir.utils.symbolic import FUNCTIONS, Dim
from infini_ir.utils.weights import WeightStore

if TYPE_CHECKING:
    from infini_ir.frontends.onnx.node import Node

FunctionKey = tuple[str, str, str]
"""Domain, name and overload of a model-local function."""


def identifier(text: str) -> str:
    """A symbol name that resembles `text`."""
    name = re.sub(r"[^A-Za-z0-9_]", "_", text) or "size"
    if name[0].isdigit():
        name = f"_{name}"
    return f"{name}_" if name in FUNCTIONS else name


@dataclass
class Session:
    """The state of one import."""

    label: str
    """What messages and locations call the model."""
    weights: WeightStore
    files: Files
    functions: dict[FunctionKey, onnx.FunctionProto]
    entry: Block
    """The body of the module's function; constants and weights stand at its start."""
    symbols: set[str] = field(default_factory=set)
    """Symbol names in use."""
    argument_symbols: set[str] = field(default_factory=set)
    """Those that the shapes of the model's inputs define."""
    facts: list[Fact] = field(default_factory=list)
    """About sizes of inputs, checked at entry."""
    checked: dict[Block, set[Fact]] = field(default_factory=dict)
    """The facts checked in a block so far."""
    argument_names: dict[SSAValue, str] = field(default_factory=dict)
    symbol_inputs: dict[str, str] = field(default_factory=dict)
    """The model input whose shape defines a symbol."""
    symbol_sources: dict[str, tuple[SSAValue, ...]] = field(default_factory=dict)
    """What an operation that defines a symbol computes it from."""
    needed: NeedsValue = field(default_factory=lambda: NeedsValue(()))
    """Model inputs that must be known when compiling, collected."""
    reason: str = ""
    """The first node that needs them, and why."""
    verified: set[Operation] = field(default_factory=set)
    """Operations that were verified when they were built."""
    contents: ContentsTable = field(init=False)
    _last_constant: Operation | None = None

    def __post_init__(self) -> None:
        self.contents = ContentsTable(self._symbol_from)

    # Values

    def array_value(self, array: np.ndarray, name: str, node: Node) -> SSAValue:
        """A known array as an operation at the start of the function."""
        try:
            dtype = dtype_name(array.dtype)
        except KeyError:
            raise node.error(f"a tensor of {array.dtype} has no counterpart here") from None
        return self.materialize(Initializer.of(name, array, dtype), node)

    def materialize(self, tensor: Initializer, node: Node | None = None) -> SSAValue:
        """The value of a known tensor; it enters the IR at its first use."""
        if tensor.value is None:
            if not tensor.dtype:
                message = "strings are handled on the host only"
                raise node.error(message) if node else VerifyException(message)
            if tensor.type.element_count().value == 0 or self._fits(tensor):
                op = graph.ConstantOp(tensor.array)
            else:
                handle = (
                    tensor.store()
                    if tensor.store is not None
                    else self.weights.add(tensor.name, tensor.array)
                )
                op = graph.WeightOp(handle, tensor.type)
                self.contents.set_weight(op.out, lambda: tensor.array)
            if node is not None:
                op.location = node.location
            self._insert_constant(op)
            tensor.value = op.out
        return tensor.value

    @staticmethod
    def _fits(tensor: Initializer) -> bool:
        count = tensor.type.element_count().value or 0
        return count <= CONSTANT_LIMIT and tensor.array.nbytes <= CONSTANT_LIMIT

    def _insert_constant(self, op: Operation) -> None:
        if self._last_constant is not None:
            self.entry.insert_op_after(op, self._last_constant)
        elif self.entry.first_op is not None:
            self.entry.insert_op_before(op, self.entry.first_op)
        else:
            self.entry.add_op(op)
        self._last_constant = op

    # Symbols and facts

    def fresh_symbol(self, hint: str) -> str:
        """A symbol name like `hint` that is not in use; it is in use from now on."""
        stem = name = identifier(hint)
        count = 0
        while name in self.symbols:
            count += 1
            name = f"{stem}_{count}"
        self.symbols.add(name)
        return name

    def _symbol_from(self, hint: str, source: SSAValue) -> str:
        name = self.fresh_symbol(hint)
        self.symbol_sources[name] = (source,)
        return name

    def add_fact(self, fact: Fact, block: Block, location: LocationAttr) -> None:
        """Keep a fact: at entry, or (about inner symbols) checked at the end of `block`."""
        left, relation, right = fact
        known = compare_sizes(relation, self._settled(left), self._settled(right))
        if known is False:
            raise VerifyException(f"sizes must satisfy {left} {relation} {right}")
        checked = self.checked.setdefault(block, set())
        if known or fact in self.facts or fact in checked:
            return
        checked |= {fact, (right, relation, left)} if relation == "eq" else {fact}
        if left.symbols() | right.symbols() <= self.argument_symbols:
            self.facts.append(fact)
            return
        build = GraphBuilder(block, location)
        size = build.dim(left)
        name = self._symbol_from("checked", size)
        build.insert(graph.BindOp(size, name, FactsAttr((fact,))))

    def _settled(self, size: Dim) -> Dim:
        """A size with symbols replaced by what facts checked at entry say they equal."""
        for left, relation, right in self.facts if size.symbols() else ():
            if relation == "eq":
                for symbol, other in ((left, right), (right, left)):
                    if symbol.name in size.symbols() and symbol.name not in other.symbols():
                        size = size.substitute({symbol.name: other})
                        break
        return size

    def note_definitions(self, op: Operation) -> None:
        """Remember the symbols that an operation defines."""
        for key in ("symbol", "until", "defines"):
            names = op.properties.get(key)
            items = names.data if isinstance(names, ArrayAttr) else [names]
            for item in items:
                if isinstance(item, StringAttr):
                    self.symbols.add(item.data)
                    self.symbol_sources.setdefault(item.data, tuple(op.operands))

    # Where values come from

    def origins(self, value: SSAValue) -> tuple[set[str], set[str]]:
        """Model inputs that a value is computed from: by their values, by their sizes."""
        values: set[str] = set()
        shapes: set[str] = set()
        seen: set[SSAValue | str] = set()
        stack: list[SSAValue | str] = [value]
        while stack:
            item = stack.pop()
            if item in seen:
                continue
            seen.add(item)
            if isinstance(item, str):
                if item in self.symbol_inputs:
                    shapes.add(self.symbol_inputs[item])
                stack.extend(self.symbol_sources.get(item, ()))
            elif item in self.argument_names:
                values.add(self.argument_names[item])
            else:
                stack.extend(_sources(item))
        return values, shapes


def _sources(value: SSAValue) -> Iterator[SSAValue | str]:
    """The operands and symbols that a value is computed from."""
    owner = value.owner
    if is_tensor(value):
        for dim in tensor_type(value).shape:
            yield from dim.symbols()
    if isinstance(owner, Block):
        parent = owner.parent_op()
        if parent is not None:
            yield from parent.operands
        return
    if isinstance(owner, graph.DimOp):
        yield from owner.dim.symbols()
    for op in _with_nested(owner):
        yield from op.operands


def _with_nested(op: Operation) -> Iterable[Operation]:
    return op.walk() if op.regions else (op,)


def type_proto(kind: TensorType, code: int) -> onnx.TypeProto:
    """The ONNX type of a tensor type, for operator definitions that depend on it."""
    shape = [d.value if d.value is not None else str(d) for d in kind.shape]
    return onnx.helper.make_tensor_type_proto(code, shape)
