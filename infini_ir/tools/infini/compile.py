"""`infini compile`: an ONNX model to a file of code, a folder, or the text of a level."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from infini_ir.tools.infini import built_files
from infini_ir.tools.infini.options import (
    Compiling,
    check_writable,
    compile_options,
    json_option,
    parse_overrides,
)
from infini_ir.utils.errors import OptionError
from infini_ir.utils.whole_file import write_text

if TYPE_CHECKING:
    from infini_ir.compiler import Compilation, Options
    from infini_ir.runtime.program import Program
    from infini_ir.targets.c_project.project import Project

KEPT = ("graph", "tile", "triton", "ptx")
"""Texts kept in an artifact; the others are made of them."""


@click.command()
@click.argument("model")
@click.option(
    "-o",
    "--output",
    help="File to write, by default the model's name with .infini; or a folder, for sources.",
)
@click.option(
    "--input",
    "inputs",
    metavar="NAME=SHAPE",
    multiple=True,
    help="Shape of an input, as x=1x3x224x224 or ids=B,128, or its value, as n=FILE.npy.",
)
@click.option(
    "--emit",
    metavar="LEVEL",
    help="Print the text of a level instead: graph, tile, or one of the target's own.",
)
@click.option("--force", is_flag=True, help="Write into a folder that holds other files.")
@compile_options
@json_option
def command(
    model: str,
    output: str | None,
    inputs: tuple[str, ...],
    emit: str | None,
    force: bool,
    compiling: Compiling,
    as_json: bool,
) -> None:
    """Compile an ONNX MODEL."""
    overrides = parse_overrides(inputs)
    options = compiling.options(overrides)
    if emit is not None:
        _emit(model, options, emit, output)
        return
    place = _place(model, options, output)
    built = _build(model, options)
    written = built_files.write(built, place, force=force)
    _print(_facts(model, options, built, place, written), as_json)


def _place(model: str, options: Options, output: str | None) -> Path:
    """The file or folder to write; refused before the work where it cannot be written."""
    from infini_ir.targets.registry import parse

    entry, architecture = parse(options.target)
    is_folder = entry.gives == "project"
    if output is None:
        stem = Path(model).stem
        return Path(f"{stem}-{entry.name}-{architecture}" if is_folder else f"{stem}.infini")
    if is_folder or (entry.name != "cpu" and (output.endswith("/") or Path(output).is_dir())):
        if Path(output).is_file():
            raise OptionError(
                f"cannot write '{output}': it is a file, and target '{options.target}' "
                "writes a folder of sources; name a folder"
            )
        check_writable(output, folder=True)
    else:
        check_writable(output)
    return Path(output)


def _compilation(options: Options, tell: Any) -> Compilation:
    from infini_ir.compiler import Compilation

    return Compilation(options, tell)


def _build(model: str, options: Options) -> Program | Project:
    from infini_ir.tools.infini.progress import progress

    with progress(f"compiling {Path(model).name}") as tell:
        built = _compilation(options, tell).build(model)
    built.texts = {level: built.texts[level] for level in KEPT if level in built.texts}
    return built


def _facts(
    model: str, options: Options, built: Program | Project, place: Path, written: int
) -> dict[str, Any]:
    from infini_ir.runtime.program import Program
    from infini_ir.targets.registry import parse

    metadata = built.metadata
    code = {"code_bytes": len(built.code.read())} if isinstance(built, Program) else {}
    entry, architecture = parse(options.target)
    return {
        "model": model,
        "target": ":".join((entry.name, architecture)),
        "inputs": [spec.to_json() for spec in metadata.inputs],
        "outputs": [spec.to_json() for spec in metadata.outputs],
        **code,
        "weight_bytes": metadata.weights_size,
        "report": metadata.report,
        "output": str(place),
        "bytes": written,
    }


def _emit(model: str, options: Options, level: str, output: str | None) -> None:
    from infini_ir.targets.registry import parse
    from infini_ir.tools.infini.progress import progress

    levels = ("graph", "tile", *parse(options.target)[0].levels)
    if level not in levels:
        raise click.UsageError(
            f"target '{options.target}' has no level '{level}'; it has: {', '.join(levels)}"
        )
    if output is not None:
        check_writable(output)
    with progress(f"compiling {Path(model).name}") as tell:
        text = level_text(_compilation(options, tell), model, level)
    if output is None:
        click.echo(text, nl=False)
    else:
        write_text(output, text)


def level_text(compilation: Compilation, model: str, level: str) -> str:
    """The text of a level, running no further than needed."""
    from infini_ir.targets.texts import module_text

    module = compilation.import_model(model)
    compilation.graph_passes(module)
    if level == "graph":
        return module_text(module)
    compilation.lower(module)
    if level == "tile":
        return module_text(module)
    return compilation.target.build(module, compilation.ctx).texts[level]


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
    parts = {"code": "code_bytes", "weights": "weight_bytes"}
    sizes = [f"{size_text(facts[key])} of {p}" for p, key in parts.items() if key in facts]
    print_facts(
        {
            "wrote": f"{facts['output']} ({size_text(facts['bytes'])}: {', '.join(sizes)})",
            "target": facts["target"],
            **specs,
            "time": time_text(report.get("seconds", 0.0)),
        }
    )
