"""`infini run`: call a model once, on given or random inputs."""

from __future__ import annotations

import time
from typing import Any

import click

from infini_ir.tools.infini.options import (
    Compiling,
    compile_options,
    json_option,
    parse_sizes,
    seed_option,
    shape_option,
)


@click.command()
@click.argument("model")
@click.option(
    "--input",
    "inputs",
    metavar="NAME=FILE",
    multiple=True,
    help="An input: a .npy, .npz, .pb, .png or .jpg file, or numbers. Random where not given.",
)
@shape_option
@seed_option
@click.option("--output", metavar="PATH", help="Save outputs: a folder, or a .npz file.")
@compile_options
@json_option
def command(
    model: str,
    inputs: tuple[str, ...],
    sizes: tuple[str, ...],
    seed: int,
    output: str | None,
    compiling: Compiling,
    as_json: bool,
) -> None:
    """Run MODEL, an ONNX file or a compiled one, and show what comes out."""
    from infini_ir.runtime.samples import choose_sizes, random_inputs
    from infini_ir.tools.infini.inputs import as_facts, read_inputs, save_arrays
    from infini_ir.tools.infini.models import open_model

    given_sizes = parse_sizes(sizes)
    options = compiling.options()
    compiled = open_model(model, options, f"compiling {model}")
    arrays = read_inputs(inputs, compiled.inputs)
    symbols = choose_sizes(compiled.inputs, given_sizes, arrays)
    missing = [spec for spec in compiled.inputs if spec.name not in arrays]
    arrays |= random_inputs(missing, symbols, seed)
    begin = time.perf_counter()
    outputs = compiled(arrays)
    seconds = time.perf_counter() - begin
    facts: dict[str, Any] = {
        "model": model,
        "sizes": symbols,
        "seconds": seconds,
        "inputs": as_facts(arrays, compiled.inputs),
        "outputs": as_facts(outputs, compiled.outputs),
    }
    if output is not None:
        facts["saved"] = save_arrays(outputs, output)
    _print(facts, as_json)


def _print(facts: dict[str, Any], as_json: bool) -> None:
    from infini_ir.tools.infini.show import (
        ARRAY_COLUMNS,
        ARRAY_NUMBERS,
        array_row,
        print_facts,
        print_json,
        print_table,
        time_text,
    )

    if as_json:
        print_json(facts)
        return
    for key in ("inputs", "outputs"):
        rows = [array_row(entry) for entry in facts[key]]
        print_table(ARRAY_COLUMNS, rows, title=key, right=ARRAY_NUMBERS)
    sizes = ", ".join(f"{name}={size}" for name, size in facts["sizes"].items())
    lines = {"sizes": sizes} if sizes else {}
    lines["first call"] = time_text(facts["seconds"])
    if "saved" in facts:
        lines["saved"] = ", ".join(facts["saved"])
    print_facts(lines)
