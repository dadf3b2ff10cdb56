"""`infini compile`: an ONNX model to a file of native code, or to the text of a level."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from infini_ir.tools.infini.options import (
    check_writable,
    compile_options,
    json_option,
    make_options,
    parse_overrides,
    threads_option,
)

if TYPE_CHECKING:
    from infini_ir.compiler import Compilation, Options
    from infini_ir.runtime.program import Program

LEVELS = ("graph", "tile", "llvm", "asm")
KEPT = ("graph", "tile")
"""Texts kept in the artifact; the others are made of them."""


@click.command()
@click.argument("model")
@click.option("-o", "--output", help="File to write; by default the model's name with .infini.")
@click.option(
    "--input",
    "inputs",
    metavar="NAME=SHAPE",
    multiple=True,
    help="Shape of an input, as x=1x3x224x224 or ids=B,128, or its value, as n=FILE.npy.",
)
@click.option("--emit", type=click.Choice(LEVELS), help="Print the text of a level instead.")
@compile_options
@threads_option
@json_option
def command(
    model: str,
    output: str | None,
    inputs: tuple[str, ...],
    emit: str | None,
    target: str,
    precision: str,
    check_semantics: bool,
    no_cache: bool,
    threads: int | None,
    as_json: bool,
) -> None:
    """Compile an ONNX MODEL."""
    overrides = parse_overrides(inputs)
    options = make_options(target, precision, check_semantics, no_cache, threads, overrides)
    if output is None and emit is None:
        output = f"{Path(model).stem}.infini"
    if output is not None:
        check_writable(output)
    if emit is not None:
        _emit(model, options, emit, output)
        return
    from infini_ir.runtime import artifact

    assert output is not None
    program, facts = _compile(model, options)
    artifact.write(program, output)
    facts |= {"output": output, "bytes": Path(output).stat().st_size}
    _print(facts, as_json)


def _compilation(options: Options, tell: Any) -> Compilation:
    from infini_ir.compiler import Compilation

    return Compilation(options, tell)


def _compile(model: str, options: Options) -> tuple[Program, dict[str, Any]]:
    from infini_ir.tools.infini.progress import progress

    with progress(f"compiling {Path(model).name}") as tell:
        program = _compilation(options, tell).run(model)
    program.texts = {level: program.texts[level] for level in KEPT if level in program.texts}
    metadata = program.metadata
    return program, {
        "model": model,
        "target": options.target,
        "inputs": [spec.to_json() for spec in metadata.inputs],
        "outputs": [spec.to_json() for spec in metadata.outputs],
        "code_bytes": len(program.code.read()),
        "weight_bytes": metadata.weights_size,
        "report": metadata.report,
    }


def _emit(model: str, options: Options, level: str, output: str | None) -> None:
    from infini_ir.tools.infini.progress import progress

    with progress(f"compiling {Path(model).name}") as tell:
        text = level_text(_compilation(options, tell), model, level)
    if output is None:
        click.echo(text, nl=False)
    else:
        Path(output).write_text(text)


def level_text(compilation: Compilation, model: str, level: str) -> str:
    """The text of a level, running no further than needed."""
    from infini_ir.targets.cpu.target import CpuTarget
    from infini_ir.utils.pass_report import module_text

    module = compilation.import_model(model)
    compilation.graph_passes(module)
    if level == "graph":
        return module_text(module)
    cpu = compilation.options.cpu
    compilation.lower(module, CpuTarget(cpu, cache=None))
    if level == "tile":
        return module_text(module)
    from infini_ir.tools.outputs import AsmOutput, LlvmOutput

    stream = StringIO()
    output = LlvmOutput(cpu) if level == "llvm" else AsmOutput(cpu)
    output.emit(compilation.ctx, module, stream)
    return stream.getvalue()


def _print(facts: dict[str, Any], as_json: bool) -> None:
    from infini_ir.runtime.signature import TensorSpec
    from infini_ir.tools.infini.show import print_facts, print_json, size_text, time_text

    if as_json:
        print_json(facts)
        return
    report = facts["report"]
    specs = {
        key: ", ".join(str(TensorSpec.from_json(spec)) for spec in facts[key])
        for key in ("inputs", "outputs")
    }
    sizes = f"{size_text(facts['code_bytes'])} of code, {size_text(facts['weight_bytes'])} of weights"
    print_facts(
        {
            "wrote": f"{facts['output']} ({size_text(facts['bytes'])}: {sizes})",
            "target": facts["target"],
            **specs,
            "time": time_text(report.get("seconds", 0.0)),
        }
    )
