"""Reading a model and refusing, before anything is imported, what cannot be."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError
from onnx import shape_inference, version_converter

from infini_ir.frontends.onnx.embedded import without_weights
from infini_ir.frontends.onnx.registry import canonical_domain, find_operator
from infini_ir.frontends.onnx.scope import function_key, opsets_of
from infini_ir.frontends.onnx.session import FunctionKey
from infini_ir.utils.errors import ModelError

CONVERTED_OPSET = 7
"""Models of older opsets, where broadcasting worked by attributes, are converted to it."""

OLDEST_IR = 3
"""Before it, models did not say their opset."""

Source = str | os.PathLike[str] | bytes | onnx.ModelProto


LARGEST_FILE = (1 << 31) - 1
"""Bytes of a protobuf message at most."""


def load_model(source: Source) -> tuple[onnx.ModelProto, str, Path | None]:
    """The model, what messages call it, and the folder of its external data."""
    if isinstance(source, onnx.ModelProto):
        return source, "<model>", None
    if isinstance(source, bytes | bytearray | memoryview):
        return _parse(bytes(source), "<model>"), "<model>", None
    path = Path(source)
    label, real = str(path), path.resolve()
    light = without_weights(real)
    if light is not None:
        model = _parse(light, label)
        if opsets_of(model.opset_import).get("", CONVERTED_OPSET) >= CONVERTED_OPSET:
            return model, label, real.parent
    return _parse(_read(path), label), label, real.parent


def _read(path: Path) -> bytes:
    """All of a file, but not of one that has more than protobuf can hold, or has no end."""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise ModelError(f"cannot read model '{path}': {error.strerror}") from error
    if len(data) > LARGEST_FILE:
        raise ModelError(
            f"{path}: more than 2 GiB are no ONNX model; one stores weights that large in files "
            "of their own (save_as_external_data)"
        )
    return data


def _parse(data: bytes, label: str) -> onnx.ModelProto:
    if not data:
        raise ModelError(f"{label}: the file is empty")
    try:
        model = onnx.ModelProto.FromString(data)
    except (DecodeError, ValueError) as error:
        raise ModelError(
            f"{label}: not an ONNX model, or a damaged one (it is no complete protobuf message)"
        ) from error
    if not model.HasField("graph"):
        raise ModelError(f"{label}: not an ONNX model: it has no graph")
    return model


def check_versions(model: onnx.ModelProto, label: str) -> None:
    """Refuse IR and opset versions that this importer does not know."""
    if not OLDEST_IR <= model.ir_version <= onnx.IR_VERSION:
        raise ModelError(
            f"{label}: IR version {model.ir_version} is not supported "
            f"({OLDEST_IR} to {onnx.IR_VERSION} are); export the model again"
        )
    opsets = opsets_of(model.opset_import)
    newest = onnx.defs.onnx_opset_version()
    default = opsets.get("")
    if not opsets:
        raise ModelError(f"{label}: the model does not say its opset version")
    if default is not None and not 1 <= default <= newest:
        raise ModelError(
            f"{label}: opset {default} is not supported (1 to {newest} are); "
            "export the model for another opset"
        )


_CONVERTING = (
    RuntimeError,
    ValueError,
    TypeError,
    version_converter.ConvertError,
    shape_inference.InferenceError,
)
"""What converting a model raises."""


def modernized(model: onnx.ModelProto, label: str) -> onnx.ModelProto:
    """A model of an old opset as one of `CONVERTED_OPSET`; others as they are."""
    opset = opsets_of(model.opset_import).get("", CONVERTED_OPSET)
    if opset >= CONVERTED_OPSET:
        return model
    try:
        converted = version_converter.convert_version(model, CONVERTED_OPSET)
    except _CONVERTING as error:
        reason = " ".join(str(error).split())
        raise ModelError(
            f"{label}: cannot convert opset {opset} to {CONVERTED_OPSET}: {reason}; "
            "export the model for a newer opset"
        ) from error
    for node in converted.graph.node:
        if node.op_type == "PRelu":
            # The converter leaves out that a slope went along the channels.
            node.attribute.append(onnx.helper.make_attribute("axis", 1))
    return converted


def functions_of(model: onnx.ModelProto, label: str) -> dict[FunctionKey, onnx.FunctionProto]:
    """The model-local functions."""
    functions: dict[FunctionKey, onnx.FunctionProto] = {}
    for function in model.functions:
        key = function_key(function)
        if key in functions:
            raise ModelError(f"{label}: function {function.name} is defined twice")
        functions[key] = function
    return functions


# Operators


def check_operators(
    graph: onnx.GraphProto,
    opsets: dict[str, int],
    functions: dict[FunctionKey, onnx.FunctionProto],
    label: str,
) -> None:
    """Refuse a model with operators that cannot be imported, naming all of them."""
    missing: dict[str, list[str]] = {}
    seen: set[FunctionKey] = set()
    stack: list[tuple[Iterable[onnx.NodeProto], dict[str, int]]] = [(graph.node, opsets)]
    while stack:
        nodes, versions = stack.pop()
        for node in all_nodes(nodes):
            key = function_key(node)
            function = functions.get(key)
            if function is None:
                problem = _problem(node, versions)
                if problem is not None:
                    missing.setdefault(problem, []).append(node.name or _first_output(node))
            elif key not in seen:
                seen.add(key)
                stack.append((function.node, opsets_of(function.opset_import) or versions))
    if missing:
        lines = "; ".join(f"{what} (node {_some(names)})" for what, names in missing.items())
        raise ModelError(f"{label}: unsupported operators: {lines}")


def _problem(node: onnx.NodeProto, opsets: dict[str, int]) -> str | None:
    domain = canonical_domain(node.domain)
    version = opsets.get(domain)
    title = f"{domain or 'ai.onnx'}:{node.op_type}"
    if version is None:
        return f"{title} (the model imports no opset of '{domain or 'ai.onnx'}')"
    if find_operator(domain, node.op_type, version) is not None:
        return None
    try:
        schema: Any = onnx.defs.get_schema(node.op_type, version, domain)
    except onnx.defs.SchemaError:
        return f"{title} version {version}"
    if schema.has_function or schema.has_context_dependent_function:
        return None
    return f"{title} version {version}"


def _first_output(node: onnx.NodeProto) -> str:
    return next((name for name in node.output if name), "?")


def _some(names: list[str], limit: int = 5) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"


def all_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """The nodes and those in their subgraphs."""
    for node in nodes:
        yield node
        for graph in subgraphs(node):
            yield from all_nodes(graph.node)


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs that a node has as attributes."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


# Names and order


def check_graph(
    graph: onnx.GraphProto, label: str, outer: frozenset[str] = frozenset()
) -> None:
    """Check names of a graph and of its subgraphs, and put the nodes in order."""
    defined = _definitions(graph, label)
    visible = outer | defined.keys()
    reads = [_reads(node) for node in graph.node]
    for node, names in zip(graph.node, reads, strict=True):
        for name in names:
            if name not in visible:
                raise ModelError(f"{label}: {_title(node)}: input '{name}' is not defined")
    for info in graph.output:
        if info.name not in visible:
            raise ModelError(f"{label}: output '{info.name}' is not defined")
    order = _sorted(graph, reads, defined, label)
    if order != list(range(len(order))):
        nodes = [graph.node[index] for index in order]
        copies = [_copy(node) for node in nodes]
        del graph.node[:]
        graph.node.extend(copies)
    for node in graph.node:
        for inner in subgraphs(node):
            check_graph(inner, label, visible)


def _copy(node: onnx.NodeProto) -> onnx.NodeProto:
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    return copy


def _title(node: onnx.NodeProto) -> str:
    return f"node '{node.name or _first_output(node)}' ({node.op_type})"


def _definitions(graph: onnx.GraphProto, label: str) -> dict[str, int]:
    """Names that the graph defines, with the number of the node (-1 for inputs)."""
    stored: set[str] = set()
    for name in (t.name for t in graph.initializer):
        if name in stored:
            raise ModelError(f"{label}: initializer '{name}' is defined twice")
        stored.add(name)
    stored |= {sparse.values.name for sparse in graph.sparse_initializer}
    inputs: set[str] = set()
    for info in graph.input:
        if info.name in inputs:
            raise ModelError(f"{label}: input '{info.name}' is defined twice")
        inputs.add(info.name)
    defined = dict.fromkeys(inputs | stored, -1)
    for index, node in enumerate(graph.node):
        for name in node.output:
            if name and name in defined:
                raise ModelError(f"{label}: {_title(node)}: '{name}' is defined twice")
            if name:
                defined[name] = index
    return defined


def _reads(node: onnx.NodeProto) -> set[str]:
    """Names that a node reads, those that its subgraphs take from outside included."""
    names = {name for name in node.input if name}
    for graph in subgraphs(node):
        names |= _free(graph)
    return names


def _free(graph: onnx.GraphProto) -> set[str]:
    own = {info.name for info in graph.input} | {t.name for t in graph.initializer}
    own |= {sparse.values.name for sparse in graph.sparse_initializer}
    read: set[str] = {info.name for info in graph.output}
    for node in graph.node:
        own.update(node.output)
        read |= _reads(node)
    return read - own


def _sorted(
    graph: onnx.GraphProto, reads: list[set[str]], defined: dict[str, int], label: str
) -> list[int]:
    """Numbers of the nodes, each after those it reads from; as they are where possible."""
    needs = [{defined[n] for n in names if defined.get(n, -1) >= 0} for names in reads]
    done: set[int] = set()
    order: list[int] = []
    for start in range(len(needs)):
        stack = [start]
        active: set[int] = set()
        while stack:
            top = stack[-1]
            if top in done:
                stack.pop()
                continue
            waiting = sorted(needs[top] - done, reverse=True)
            if not waiting:
                done.add(top)
                order.append(top)
                stack.pop()
                continue
            active.add(top)
            if active & set(waiting):
                _refuse_cycle(graph, needs, top, label)
            stack.extend(waiting)
    return order


def _refuse_cycle(
    graph: onnx.GraphProto, needs: list[set[int]], start: int, label: str
) -> None:
    """Raise the error that names the nodes of the cycle through `start`."""
    came_from: dict[int, int] = {}
    queue = [start]
    while queue:
        here = queue.pop(0)
        for before in needs[here]:
            if before not in came_from:
                came_from[before] = here
                queue.append(before)
    path, here = [start], came_from.get(start, start)
    while here != start:
        path.append(here)
        here = came_from[here]
    names = ", ".join(f"'{graph.node[i].name or _first_output(graph.node[i])}'" for i in path)
    raise ModelError(f"{label}: nodes {names} depend on each other in a cycle")


def check_function(function: onnx.FunctionProto, label: str) -> None:
    """Check a function's body as `check_graph` does a graph."""
    graph = onnx.GraphProto()
    graph.input.extend(onnx.ValueInfoProto(name=name) for name in function.input)
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in function.output)
    graph.node.extend(function.node)
    check_graph(graph, f"{label}: function {function.name}")
    del function.node[:]
    function.node.extend(graph.node)
