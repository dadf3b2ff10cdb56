"""One ONNX node as operator functions see it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from xdsl.dialects.builtin import FileLineColLoc, IntAttr, NameLoc, StringAttr
from xdsl.ir import Block, SSAValue

from infini_ir.dialects.graph.builder import GraphBuilder
from infini_ir.dialects.graph.types import TensorType, tensor_type
from infini_ir.frontends.onnx.attributes import attribute_value
from infini_ir.frontends.onnx.errors import NeedsValue
from infini_ir.frontends.onnx.registry import canonical_domain
from infini_ir.frontends.onnx.values import Entry, Initializer, OptionalValue, SequenceValue
from infini_ir.utils.errors import ModelError
from infini_ir.utils.symbolic import Dim
from infini_ir.utils.weights import WeightStore

if TYPE_CHECKING:
    from infini_ir.frontends.onnx.scope import Scope


class Node:
    """One ONNX node being imported: its inputs, attributes and a builder of operations."""

    def __init__(self, proto: onnx.NodeProto, scope: Scope, index: int) -> None:
        self.proto = proto
        self.scope = scope
        self.index = index
        """1-based position in its graph."""
        self.op_type = proto.op_type
        self.domain = canonical_domain(proto.domain)
        self.inputs = list(proto.input)
        self.outputs = list(proto.output)
        self.name = proto.name or next((o for o in self.outputs if o), self.op_type)
        self.opset = scope.opsets.get(self.domain, 0)
        """The model's version of the node's domain."""
        self.output_sizes: dict[int, list[Dim]] = {}
        """What `set_sizes` said."""
        self._attributes = {a.name: scope.resolved(a) for a in proto.attribute}
        self._builder: GraphBuilder | None = None

    # Inputs

    @property
    def count(self) -> int:
        """The number of inputs, absent ones between others included, trailing ones not."""
        return max((i + 1 for i, name in enumerate(self.inputs) if name), default=0)

    def has(self, i: int) -> bool:
        """Whether input i is given."""
        return i < len(self.inputs) and bool(self.inputs[i])

    def entry(self, i: int) -> Entry:
        """What input i stands for: a value, an initializer, a sequence or an optional."""
        if not self.has(i):
            raise self.error(f"input {i} is missing")
        return self.scope.lookup(self.inputs[i], self)

    def value(self, i: int) -> SSAValue:
        """Input i as a value."""
        entry = self.entry(i)
        if isinstance(entry, OptionalValue) and entry.value is not None:
            entry = entry.value
        if isinstance(entry, Initializer):
            return self.scope.session.materialize(entry, self)
        if not isinstance(entry, SSAValue):
            raise self.error(f"input '{self.inputs[i]}' is not a tensor")
        return entry

    def optional(self, i: int) -> SSAValue | None:
        """Input i as a value, None where it is absent."""
        return self.value(i) if self.has(i) else None

    def values(self, start: int = 0) -> list[SSAValue]:
        """All inputs from `start` on."""
        return [self.value(i) for i in range(start, self.count)]

    def sequence(self, i: int) -> SequenceValue:
        """Input i as a sequence."""
        entry = self.entry(i)
        if isinstance(entry, OptionalValue) and entry.value is not None:
            entry = entry.value
        if not isinstance(entry, SequenceValue):
            raise self.error(f"input '{self.inputs[i]}' is not a sequence")
        return entry

    def type(self, i: int) -> TensorType:
        """The type of input i."""
        entry = self.entry(i)
        if isinstance(entry, Initializer) and entry.dtype:
            return entry.type
        return tensor_type(self.value(i))

    # Attributes

    def has_attribute(self, name: str) -> bool:
        return self._attributes.get(name) is not None

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute as int, float, str, a list of them, np.ndarray or GraphProto."""
        proto = self._attributes.get(name)
        if proto is None:
            return default
        return attribute_value(proto, self.scope.session.files, self.error)

    def attribute_protos(self) -> dict[str, onnx.AttributeProto | None]:
        """The attributes as stored; None for a reference to one that the caller left out."""
        return self._attributes

    def resolved_proto(self) -> onnx.NodeProto:
        """The node as stored, attribute references replaced."""
        copy = onnx.NodeProto()
        copy.CopyFrom(self.proto)
        del copy.attribute[:]
        copy.attribute.extend(a for a in self._attributes.values() if a is not None)
        return copy

    def required(self, name: str) -> Any:
        """An attribute that must be there."""
        value = self.attribute(name)
        if value is None:
            raise self.error(f"attribute '{name}' is missing")
        return value

    # Values known while importing

    def known(self, i: int) -> np.ndarray | None:
        """The value of input i where it does not depend on what a call gives."""
        if not self.has(i):
            return None
        entry = self.entry(i)
        if isinstance(entry, Initializer):
            return entry.array
        return self.scope.session.contents.known(self.value(i))

    def need_known(self, i: int, what: str) -> np.ndarray:
        """The value of input i, which must be known when compiling.

        Where it depends on model inputs, the model is to be imported again for the values
        of a call (`NeedsValue`). `what` names it in messages.
        """
        known = self.known(i)
        if known is None:
            raise self.needs(i, what)
        return known

    def needs(self, i: int, what: str) -> Exception:
        """The exception that asks for the value of input i."""
        return self.needs_value(self.value(i), what)

    def needs_value(self, value: SSAValue, what: str) -> Exception:
        """The exception that asks for `value`, by the model inputs that it comes from."""
        values, shapes = self.scope.session.origins(value)
        if not values and not shapes:
            return self.error(
                f"{what} must be known when compiling, but is computed from data; "
                "make it a constant"
            )
        self.scope.session.reason = self.text(f"{what} must be known")
        return NeedsValue(values, shapes)

    def sizes(self, i: int) -> list[Dim] | None:
        """The contents of a small integer tensor of rank 0 or 1 as symbolic sizes."""
        if not self.has(i):
            return None
        entry = self.entry(i)
        if isinstance(entry, Initializer):
            if entry.dtype not in ("i64", "i32") or len(entry.shape) > 1:
                return None
            return [Dim.of(int(v)) for v in entry.array.ravel()]
        return self.scope.session.contents.sizes(self.value(i))

    def need_sizes(self, i: int, what: str = "a list of sizes") -> list[Dim]:
        """As `sizes`; elements known only at run time are bound to fresh symbols."""
        sizes = self.sizes(i)
        if sizes is not None:
            return sizes
        value = self.value(i)
        bound = self.scope.session.contents.bind(value, self.inputs[i])
        if bound is None:
            raise self.needs(i, what)
        return bound

    def bind(self, value: SSAValue, hint: str) -> Dim:
        """The size that an i64 scalar gives: known, symbolic, or a fresh symbol."""
        bound = self.scope.session.contents.bind(value, hint)
        assert bound is not None and len(bound) == 1, value.type
        return bound[0]

    def set_sizes(self, output: int, sizes: Sequence[int | Dim]) -> None:
        """Say the symbolic contents of output number `output`, an integer tensor."""
        self.output_sizes[output] = [Dim.of(size) for size in sizes]

    # Building

    @property
    def builder(self) -> GraphBuilder:
        """Builds operations at the end of the graph being imported, at this location."""
        if self._builder is None:
            self._builder = self.builder_at(self.scope.block)
        return self._builder

    def builder_at(self, block: Block) -> GraphBuilder:
        """A builder at the end of a block (the body of a region), at this location."""
        session, location = self.scope.session, self.location
        return GraphBuilder(
            block, location, lambda fact: session.add_fact(fact, block, location)
        )

    @property
    def location(self) -> NameLoc:
        where = FileLineColLoc(
            StringAttr(self.scope.session.label), IntAttr(self.index), IntAttr(0)
        )
        return NameLoc(StringAttr(self.name), where)

    @property
    def weights(self) -> WeightStore:
        return self.scope.session.weights

    def fresh_symbol(self, hint: str) -> str:
        """A symbol name that is not in use."""
        return self.scope.session.fresh_symbol(hint)

    def add_fact(self, left: int | Dim, relation: str, right: int | Dim) -> None:
        """A relation (eq, le, ge) between sizes that runs check."""
        self.scope.session.add_fact(
            (Dim.of(left), relation, Dim.of(right)), self.scope.block, self.location
        )

    def array_constant(self, array: np.ndarray) -> SSAValue:
        """A known array in the IR: a constant when small, else a weight."""
        return self.scope.session.array_value(np.asarray(array), self.name, self)

    def expand_function(self) -> list[Entry | None]:
        """Import the operator's definition in terms of others, from the ONNX standard."""
        return self.scope.expand_function(self)

    def import_subgraph(
        self, graph: onnx.GraphProto, arguments: Sequence[Entry], block: Block | GraphBuilder
    ) -> list[Entry]:
        """Import a subgraph attribute at the end of `block`; gives its outputs.

        `arguments` stand for the graph's inputs. Names of outer graphs are visible. Outputs
        that are known arrays come as values.
        """
        at = block.point.block if isinstance(block, GraphBuilder) else block
        return self.scope.import_subgraph(self, graph, arguments, at)

    # Errors

    def text(self, message: str) -> str:
        return f"{self.scope.session.label}: node '{self.name}' ({self.op_type}): {message}"

    def error(self, message: str) -> ModelError:
        """An error that names file, node and operator."""
        return ModelError(self.text(message))
