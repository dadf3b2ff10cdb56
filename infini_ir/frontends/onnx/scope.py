"""One ONNX graph or function body being imported into a block."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import onnx
from xdsl.ir import Block, Operation, SSAValue
from xdsl.utils.exceptions import VerifyException

from infini_ir.dialects.graph.quantization import DequantizeOp
from infini_ir.dialects.graph.shaping import CONSTANT_LIMIT, ConstantOp
from infini_ir.dialects.graph.types import tensor_type
from infini_ir.frontends.onnx.errors import NeedsValue
from infini_ir.frontends.onnx.node import Node
from infini_ir.frontends.onnx.operand_types import check_attribute_types, check_operand_types
from infini_ir.frontends.onnx.registry import canonical_domain, find_operator
from infini_ir.frontends.onnx.session import FunctionKey, Session, type_proto
from infini_ir.frontends.onnx.tensors import (
    ONNX_DTYPES,
    initializer_of,
    sparse_initializer,
)
from infini_ir.frontends.onnx.values import Entry, Initializer, Missing
from infini_ir.utils.dtypes import dtype_name
from infini_ir.utils.errors import ModelError
from infini_ir.utils.symbolic import ZERO, Dim

if TYPE_CHECKING:
    from infini_ir.frontends.onnx.registry import Output

MAX_DEPTH = 64
"""Deepest nesting of functions; more is a function that calls itself."""

CAUGHT = (VerifyException, ValueError, TypeError, LookupError, ArithmeticError, AssertionError)
"""What a malformed node makes operator functions raise."""


class Scope:
    """Names and what they stand for; outer graphs' names are seen through `parent`."""

    def __init__(
        self,
        session: Session,
        block: Block,
        opsets: dict[str, int],
        *,
        parent: Scope | None = None,
        caller: Node | None = None,
        attributes: dict[str, onnx.AttributeProto] | None = None,
    ) -> None:
        self.session = session
        self.block = block
        self.opsets = opsets
        self.parent = parent
        self.caller = caller
        """The node whose subgraph or function this is."""
        self.attributes = attributes if attributes is not None else {}
        """What attribute references in a function's body refer to."""
        self.values: dict[str, Entry] = {}
        self.depth: int = 0 if caller is None else caller.scope.depth + 1

    # Names

    def find(self, name: str) -> Entry | None:
        """What a name stands for here, None for nothing."""
        scope: Scope | None = self
        while scope is not None:
            entry = scope.values.get(name)
            if entry is not None:
                return entry
            scope = scope.parent
        return None

    def lookup(self, name: str, node: Node) -> Entry:
        """What a name that an input has stands for here."""
        entry = self.find(name)
        if isinstance(entry, Missing):
            raise NeedsValue(entry.values, entry.shapes)
        if entry is None:
            raise node.error(f"input '{name}' is not defined")
        return entry

    def resolved(self, attribute: onnx.AttributeProto) -> onnx.AttributeProto | None:
        """An attribute, or what its reference in a function's body refers to."""
        if not attribute.ref_attr_name:
            return attribute
        given = self.attributes.get(attribute.ref_attr_name)
        if given is None:
            return None
        copy = onnx.AttributeProto()
        copy.CopyFrom(given)
        copy.name = attribute.name
        return copy

    # Importing

    def add_initializers(self, graph: onnx.GraphProto) -> None:
        """Define the graph's stored tensors."""
        for tensor in graph.initializer:
            self.values[tensor.name] = initializer_of(tensor, self.session.files, self.error)
        for sparse in graph.sparse_initializer:
            tensor = sparse_initializer(sparse, self.session.files, self.error)
            self.values[tensor.name] = tensor

    def error(self, message: str) -> ModelError:
        if self.caller is not None:
            return self.caller.error(message)
        return ModelError(f"{self.session.label}: {message}")

    def run(self, nodes: Iterable[onnx.NodeProto]) -> None:
        """Import nodes, which are in order."""
        for index, proto in enumerate(nodes, 1):
            node = Node(proto, self, self.caller.index if self.caller else index)
            if self.caller is not None:
                node.name = f"{self.caller.name}/{node.name}"
            self._import(node)

    def _import(self, node: Node) -> None:
        last = self.block.last_op
        try:
            outputs = self._outputs(node)
            self._check(last)
        except NeedsValue as needs:
            self._miss(node, needs)
            return
        except CAUGHT as error:
            if isinstance(error, ModelError):
                raise
            raise node.error(_line(error)) from error
        for index, name in enumerate(node.outputs):
            if not name:
                continue
            entry = outputs[index] if index < len(outputs) else None
            if entry is None:
                raise node.error(f"output '{name}' is not supported")
            self._note_sizes(node, index, entry)
            self.values[name] = self._folded(entry, name)

    def _outputs(self, node: Node) -> Sequence[Output | Entry]:
        result: Any = self._dispatch(node)
        return list(result) if isinstance(result, list | tuple) else [result]

    def _dispatch(self, node: Node) -> Output | Sequence[Output | Entry]:
        function = self.session.functions.get(function_key(node.proto))
        if function is not None:
            return self.call(node, function)
        check_attribute_types(node)
        check_operand_types(node)
        operator = find_operator(node.domain, node.op_type, node.opset)
        if operator is not None:
            return operator(node)
        return self.expand_function(node)

    def _miss(self, node: Node, needs: NeedsValue) -> None:
        found = self.session.needed
        self.session.needed = NeedsValue(
            found.values | needs.values, found.shapes | needs.shapes
        )
        for name in node.outputs:
            if name:
                self.values[name] = Missing(needs.values, needs.shapes)

    def _check(self, last: Operation | None) -> None:
        """Verify the operations built after `last`, and note the symbols they define."""
        op = self.block.first_op if last is None else last.next_op
        while op is not None:
            self.session.note_definitions(op)
            if not op.regions:
                op.verify()
                self.session.verified.add(op)
            op = op.next_op

    def _note_sizes(self, node: Node, index: int, entry: Entry | Output) -> None:
        sizes = node.output_sizes.get(index)
        if sizes is not None and isinstance(entry, SSAValue):
            self.session.contents.set_sizes(entry, sizes)

    def _folded(self, entry: Entry, name: str) -> Entry:
        """A value that is known and small becomes a constant; but what is dequantised stays
        so, since products are computed of the integers."""
        if not isinstance(entry, SSAValue):
            return entry
        if isinstance(entry.owner, Block | ConstantOp | DequantizeOp):
            return entry
        kind = tensor_type(entry)
        count = kind.element_count().value
        if count is None or count > CONSTANT_LIMIT or not kind.is_static():
            return entry
        known = self.session.contents.known(entry)
        if known is None or known.nbytes > CONSTANT_LIMIT:
            return entry
        if dtype_name(known.dtype) != kind.dtype or known.shape != kind.static_shape():
            return entry
        return Initializer.of(name, known, kind.dtype)

    # Nested graphs

    def call(
        self,
        node: Node,
        function: onnx.FunctionProto,
        defaults: Iterable[onnx.AttributeProto] = (),
    ) -> list[Entry | None]:
        """Inline a function at a node that calls it."""
        if self.depth > MAX_DEPTH:
            raise node.error("functions are nested too deeply; does one call itself?")
        attributes = {a.name: a for a in (*defaults, *function.attribute_proto)}
        attributes.update({k: v for k, v in node.attribute_protos().items() if v is not None})
        opsets = {"": onnx.defs.onnx_opset_version()} | self.opsets
        opsets |= opsets_of(function.opset_import)
        body = Scope(self.session, self.block, opsets, caller=node, attributes=attributes)
        for index, name in enumerate(function.input):
            if node.has(index):
                body.values[name] = node.entry(index)
        body.run(absent_inputs_blanked(function, node))
        return [
            body.lookup(name, node) if name in body.values else None for name in function.output
        ]

    def expand_function(self, node: Node) -> list[Entry | None]:
        """Inline an operator's definition in the ONNX standard."""
        function = self._definition(node)
        if function is None:
            _need_sizes(node)
            raise node.error(
                f"operator {node.domain or 'ai.onnx'}:{node.op_type} of opset {node.opset} "
                "is not supported"
            )
        schema: Any = onnx.defs.get_schema(node.op_type, node.opset, node.domain)
        defaults = (a.default_value for a in schema.attributes.values())
        return self.call(node, function, [d for d in defaults if d.type])

    def _definition(self, node: Node) -> onnx.FunctionProto | None:
        try:
            schema: Any = onnx.defs.get_schema(node.op_type, node.opset, node.domain)
        except onnx.defs.SchemaError:
            return None
        data = b""
        if schema.has_function:
            version = _body_version(schema.function_opset_versions, node.opset)
            data = schema.get_function_with_opset_version(version) if version else b""
        elif schema.has_context_dependent_function:
            versions = schema.context_dependent_function_opset_versions
            version = _body_version(versions, node.opset)
            if version:
                data = schema.get_context_dependent_function_with_opset_version(
                    version, node.resolved_proto().SerializeToString(), _input_types(node)
                )
        return onnx.FunctionProto.FromString(data) if data else None

    def import_subgraph(
        self, node: Node, graph: onnx.GraphProto, arguments: Sequence[Entry], block: Block
    ) -> list[Entry]:
        """Import a subgraph of a node at the end of `block`; gives its outputs."""
        if len(arguments) != len(graph.input):
            raise node.error(
                f"its subgraph takes {len(graph.input)} inputs, not {len(arguments)}"
            )
        scope = Scope(
            self.session,
            block,
            self.opsets,
            parent=self,
            caller=node,
            attributes=self.attributes,
        )
        scope.add_initializers(graph)
        for info, argument in zip(graph.input, arguments, strict=True):
            scope.values[info.name] = argument
        scope.run(graph.node)
        outputs = [scope.lookup(info.name, node) for info in graph.output]
        return [
            self.session.materialize(o, node) if isinstance(o, Initializer) and o.dtype else o
            for o in outputs
        ]


def _line(error: Exception) -> str:
    """An exception's text on one line."""
    text = " ".join(str(error).split())
    if isinstance(error, KeyError):
        text = f"{text} is missing"
    return text or type(error).__name__


def _body_version(versions: Iterable[int], opset: int) -> int | None:
    return max((v for v in versions if v <= opset), default=None)


def _input_types(node: Node) -> list[bytes]:
    types = []
    for index in range(node.count):
        if node.has(index):
            kind = node.type(index)
            types.append(type_proto(kind, ONNX_DTYPES[kind.dtype]).SerializeToString())
        else:
            types.append(onnx.TypeProto().SerializeToString())
    return types


def _need_sizes(node: Node) -> None:
    """Ask for the inputs' sizes where the definition of an operator depends on them."""
    try:
        schema: Any = onnx.defs.get_schema(node.op_type, node.opset, node.domain)
    except onnx.defs.SchemaError:
        return
    shapes = [node.type(i).shape for i in range(node.count) if node.has(i)]
    symbols = frozenset().union(*(dim.symbols() for shape in shapes for dim in shape))
    if schema.has_context_dependent_function and symbols:
        size = node.builder.dim(sum(map(Dim.symbol, sorted(symbols)), ZERO))
        raise node.needs_value(size, "the sizes of its inputs")


def function_key(proto: onnx.NodeProto | onnx.FunctionProto) -> FunctionKey:
    """What identifies the model-local function that a node calls, or that a proto is."""
    name = proto.op_type if isinstance(proto, onnx.NodeProto) else proto.name
    return canonical_domain(proto.domain), name, proto.overload


def opsets_of(imports: Iterable[onnx.OperatorSetIdProto]) -> dict[str, int]:
    """Opset versions by domain."""
    return {canonical_domain(item.domain): item.version for item in imports}


def absent_inputs_blanked(function: onnx.FunctionProto, call: Node) -> Iterable[onnx.NodeProto]:
    """The function's nodes, names of inputs that the call leaves out made empty."""
    absent = {n for i, n in enumerate(function.input) if not call.has(i)}
    for proto in function.node:
        if absent.isdisjoint(proto.input):
            yield proto
            continue
        copy = onnx.NodeProto()
        copy.CopyFrom(proto)
        for index, name in enumerate(copy.input):
            if name in absent:
                copy.input[index] = ""
        yield copy
