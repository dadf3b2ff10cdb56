"""`infini inspect`: what is in a model file, compiled or not."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import click

from infini_ir.tools.infini.options import json_option


@click.command()
@click.argument("model")
@click.option(
    "--verify", is_flag=True, help="Read every byte of a compiled model and check it."
)
@json_option
def command(model: str, verify: bool, as_json: bool) -> None:
    """Show signature, operations and sizes of MODEL, an ONNX file or a compiled one."""
    from infini_ir.tools.infini.models import is_artifact
    from infini_ir.tools.infini.show import print_json

    facts = artifact_facts(model, verify) if is_artifact(model) else onnx_facts(model)
    if as_json:
        print_json(facts)
    else:
        _print(facts)


def artifact_facts(path: str, verify: bool) -> dict[str, Any]:
    """What a compiled model says of itself; works on any machine."""
    from infini_ir.runtime import artifact
    from infini_ir.runtime.host import host_arch, host_flags

    metadata = artifact.read_metadata(path)
    if verify:
        artifact.verify(path)
    runs = metadata.arch == host_arch() and set(metadata.flags) <= host_flags()
    return {
        "kind": "compiled model",
        "file": path,
        "bytes": Path(path).stat().st_size,
        "verified": verify,
        "producer": metadata.producer,
        "target": metadata.target,
        "arch": metadata.arch,
        "features": list(metadata.flags),
        "runs_here": runs,
        "inputs": [spec.to_json() for spec in metadata.inputs],
        "outputs": [spec.to_json() for spec in metadata.outputs],
        "symbols": list(metadata.symbols),
        "sections": artifact.section_sizes(path),
        "weights": len(metadata.weights),
        "weight_bytes": metadata.weights_size,
        "arena": str(metadata.arena),
        "scratch_per_thread": str(metadata.scratch),
        "max_workers": metadata.max_workers,
        "checks": [check.message for check in metadata.checks],
        "report": metadata.report,
    }


def onnx_facts(path: str) -> dict[str, Any]:
    """What an ONNX model holds, and what it becomes when imported."""
    from infini_ir.frontends.onnx.loading import all_nodes, load_model

    model, _, _ = load_model(path)
    operators = Counter(
        f"{node.domain}:{node.op_type}" if node.domain else node.op_type
        for node in all_nodes(model.graph.node)
    )
    facts: dict[str, Any] = {
        "kind": "ONNX model",
        "file": path,
        "bytes": Path(path).stat().st_size,
        "producer": f"{model.producer_name} {model.producer_version}".strip(),
        "ir_version": model.ir_version,
        "opsets": {entry.domain or "ai.onnx": entry.version for entry in model.opset_import},
        "operators": dict(operators.most_common()),
    }
    return facts | _imported_facts(path)


def _imported_facts(path: str) -> dict[str, Any]:
    """The signature and the graph operations, or why the model cannot be imported."""
    from infini_ir.compiler import Compilation, Options
    from infini_ir.utils.errors import ModelError

    compilation = Compilation(Options())
    try:
        module = compilation.import_model(path)
    except ModelError as error:
        return {"problem": str(error)}
    inputs, outputs = signature(module)
    store = compilation.ctx.weights
    operations = Counter(op.name for op in module.walk() if op.name.startswith("graph."))
    symbols = dict.fromkeys(name for spec in inputs for name in sorted(spec.symbols()))
    return {
        "inputs": [spec.to_json() for spec in inputs],
        "outputs": [spec.to_json() for spec in outputs],
        "symbols": list(symbols),
        "weights": len(store),
        "weight_bytes": sum(store.nbytes(name) for name in store.names()),
        "operations": dict(operations.most_common()),
    }


def signature(module: Any) -> tuple[list[Any], list[Any]]:
    """Inputs and outputs of a graph module."""
    from xdsl.dialects.func import FuncOp, ReturnOp

    from infini_ir.dialects.graph import tensor_type
    from infini_ir.runtime.signature import TensorSpec

    function = next(op for op in module.body.block.ops if isinstance(op, FuncOp))
    block = function.body.block
    ending = block.last_op
    assert isinstance(ending, ReturnOp)

    def specs(values: Any, attributes: Any, default: str) -> list[TensorSpec]:
        names = [entry.data["graph.name"].data for entry in attributes or ()]
        names += [f"{default}{i}" for i in range(len(names), len(values))]
        types = [tensor_type(value) for value in values]
        return [TensorSpec(name, t.dtype, t.shape) for name, t in zip(names, types)]

    return (
        specs(block.args, function.arg_attrs, "input"),
        specs(ending.operands, function.res_attrs, "output"),
    )


def _print(facts: dict[str, Any]) -> None:
    from infini_ir.runtime.signature import TensorSpec
    from infini_ir.tools.infini.show import print_facts, print_table, size_text

    lines: dict[str, Any] = {}
    for name, value in facts.items():
        label = name.replace("_", " ")
        if name in ("inputs", "outputs"):
            specs = [str(TensorSpec.from_json(spec)) for spec in value]
            lines[label] = "; ".join(specs) or "none"
        elif name in ("operators", "operations", "report"):
            continue
        elif name == "sections":
            lines[label] = ", ".join(f"{key} {size_text(n)}" for key, n in value.items())
        elif "bytes" in name:
            lines["size" if name == "bytes" else label.replace("bytes", "size")] = size_text(
                value
            )
        elif isinstance(value, bool):
            lines[label] = "yes" if value else "no"
        elif isinstance(value, dict):
            lines[label] = ", ".join(f"{key} {entry}" for key, entry in value.items())
        elif isinstance(value, list):
            lines[label] = ", ".join(map(str, value)) or "none"
        else:
            lines[label] = "any" if value is None else value
    print_facts(lines)
    for name, title in (("operators", "ONNX operators"), ("operations", "graph operations")):
        if facts.get(name):
            print_table(("name", "count"), facts[name].items(), title=title, right=("count",))
