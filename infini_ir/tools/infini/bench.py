"""`infini bench`: how fast models run, and how fast other runtimes run them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from infini_ir.tools.infini.options import (
    Compiling,
    check_writable,
    compile_options,
    parse_sizes,
    seed_option,
    shape_option,
)
from infini_ir.utils.errors import ModelError, OptionError

if TYPE_CHECKING:
    from infini_ir.compiler import Options
    from infini_ir.models.zoo import Model
    from infini_ir.runtime.model import CompiledModel


PRINT = "-"
"""The value of `--json` that prints."""
SCHEMA = 1
"""Of the files that `--json` writes."""
MOST_SECONDS = 60.0
"""In which a model is timed; slow ones get fewer rounds."""


class BenchCommand(click.Command):
    """`--json` alone prints; before a name that ends in .json it writes that file."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Give `--json` its value, which an option with a value cannot be without."""
        given: list[str] = []
        for number, text in enumerate(args):
            following = args[number + 1] if number + 1 < len(args) else ""
            alone = text == "--json" and not following.endswith(".json")
            given.append(f"--json={PRINT}" if alone else text)
        return super().parse_args(ctx, given)


@dataclass(frozen=True)
class Request:
    """What is asked about every model."""

    inputs: tuple[str, ...]
    sizes: dict[str, int]
    seed: int
    against: list[str]
    rounds: int
    cold: bool
    options: Options


@click.command(cls=BenchCommand)
@click.argument("models", metavar="MODEL...", nargs=-1, required=True)
@click.option(
    "--input",
    "inputs",
    metavar="NAME=FILE",
    multiple=True,
    help="As for infini run; with one model.",
)
@shape_option
@seed_option
@click.option(
    "--against",
    metavar="ENGINE,...",
    multiple=True,
    help="Others to compare with: onnxruntime, openvino, torch, iree, or all (the installed).",
)
@click.option("--rounds", type=click.IntRange(min=1), default=20, help="Turns of each.")
@click.option(
    "--cold/--no-cold",
    default=True,
    help="Measure compiling and memory in fresh processes (the default), or do not start any.",
)
@compile_options
@click.option(
    "--json",
    "json_path",
    metavar="[FILE.json]",
    help="Print JSON only; with a file, write it there and print the tables.",
)
@click.option("--plot", metavar="FILE", help="Draw the times: a .png or .svg file.")
def command(
    models: tuple[str, ...],
    inputs: tuple[str, ...],
    sizes: tuple[str, ...],
    seed: int,
    against: tuple[str, ...],
    rounds: int,
    cold: bool,
    compiling: Compiling,
    json_path: str | None,
    plot: str | None,
) -> None:
    """Time models in turns with other runtimes, on the same inputs and threads.

    MODEL is an ONNX file, a compiled one, or a network of the zoo such as resnet50.
    """
    from infini_ir.tools.engines.engine import choose_engines
    from infini_ir.tools.infini.show import print_json
    from infini_ir.tools.machine_facts import machine_facts
    from infini_ir.tools.plots import check_plot, draw

    options = compiling.options()
    others = choose_engines(against)
    request = Request(inputs, parse_sizes(sizes), seed, others, rounds, cold, options)
    if inputs and len(models) > 1:
        raise click.UsageError("--input is for one model")
    if json_path not in (None, PRINT):
        check_writable(json_path)
    if plot is not None:
        check_plot(plot)
    rows = []
    for model in models:
        rows.append(_measure(model, request))
        if json_path != PRINT:
            _print(rows[-1])
    machine = machine_facts(rows[0]["threads"], others)
    if json_path == PRINT:
        print_json(rows[0] | {"machine": machine} if len(rows) == 1 else _file(machine, rows))
    else:
        _print_machine(machine)
    if json_path not in (None, PRINT):
        _write(json_path, _file(machine, rows))
    if plot is not None:
        draw(plot, rows, machine)


def _file(machine: dict[str, Any], rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {"schema": SCHEMA, "machine": machine, "models": list(rows)}


def _write(path: str, facts: dict[str, Any]) -> None:
    import json

    from infini_ir.tools.infini.show import plain
    from infini_ir.utils.whole_file import write_text

    write_text(path, json.dumps(plain(facts), indent=1) + "\n")


# Measuring


def _measure(name: str, request: Request) -> dict[str, Any]:
    from infini_ir.tools.comparison import compare
    from infini_ir.tools.engines.engine import OURS, Job
    from infini_ir.tools.engines.infini import prepared
    from infini_ir.tools.infini.models import is_artifact
    from infini_ir.tools.infini.progress import progress
    from infini_ir.tools.turns import Turns

    options = request.options
    with _file_of(name) as (path, known), progress(f"timing {Path(name).name}") as tell:
        if request.against and is_artifact(path):
            raise OptionError(
                f"--against {','.join(request.against)} wants the ONNX model, not a compiled one"
            )
        compiled, cost, facts = _prepare(path, options)
        arrays, symbols = _arrays(compiled, request, known)
        job = Job(
            path,
            arrays,
            tuple(spec.name for spec in compiled.outputs),
            compiled.threads,
            options.precision,
            known.network if known is not None else None,
            options.target,
            options.library,
        )
        facts |= {"sizes": symbols, "threads": compiled.threads}
        facts |= compare(
            job,
            request.against,
            Turns(request.rounds, most_seconds=MOST_SECONDS),
            ours=prepared(compiled, job),
            fresh_processes=request.cold,
            tell=tell,
        )
        facts["cold"].setdefault(OURS, cost)
    return {"model": name, **_in_old_form(facts, request.against)}


@contextmanager
def _file_of(name: str) -> Iterator[tuple[str, Model | None]]:
    """The file of a model, and what the zoo knows of it where it is the name of a network."""
    import tempfile

    if Path(name).suffix or Path(name).exists():
        yield name, None
        return
    from infini_ir.models import zoo

    known = zoo.measured().get(name)
    if known is None:
        raise ModelError(
            f"cannot read model '{name}': No such file, nor a network of that name; there are: "
            f"{', '.join(zoo.measured())}"
        )
    if reason := known.missing():
        raise OptionError(f"the network '{name}' cannot be had: {reason}")
    source = known.source()
    if isinstance(source, Path):
        yield str(source), known
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.onnx"
        path.write_bytes(source.SerializeToString())
        del source
        yield str(path), known


def _prepare(
    model: str, options: Options
) -> tuple[CompiledModel, dict[str, float], dict[str, Any]]:
    """The model, what a compilation without any cache costs, and more about it."""
    from infini_ir.tools.engines.cost import spent
    from infini_ir.tools.engines.engine import OURS, find_engine
    from infini_ir.tools.infini.models import is_artifact, open_model

    if not is_artifact(model):
        find_engine(OURS).load()  # imports are not compilation
        options = replace(options, cache=False)
    with spent() as cost:
        compiled = open_model(model, options, f"compiling {Path(model).name}")
    metadata = compiled.program.metadata
    key = "load_seconds" if is_artifact(model) else "compile_seconds"
    return (
        compiled,
        cost,
        {
            key: cost["wall_seconds"],
            "code_bytes": len(compiled.program.code.read()),
            "weight_bytes": metadata.weights_size,
        },
    )


def _arrays(
    compiled: CompiledModel, request: Request, known: Model | None
) -> tuple[dict[str, np.ndarray], dict[str, int]]:
    """Inputs by name, and the sizes of the model's symbols."""
    from infini_ir.runtime.samples import choose_sizes, random_inputs
    from infini_ir.tools.infini.inputs import read_inputs

    arrays = read_inputs(request.inputs, compiled.inputs)
    if known is not None and not arrays:
        sizes = {**known.sizes[0], **request.sizes}
        arrays = known.arrays(request.seed, sizes)
        return arrays, choose_sizes(compiled.inputs, {}, arrays)
    symbols = choose_sizes(compiled.inputs, request.sizes, arrays)
    missing = [spec for spec in compiled.inputs if spec.name not in arrays]
    return arrays | random_inputs(missing, symbols, request.seed), symbols


def _in_old_form(facts: dict[str, Any], against: Sequence[str]) -> dict[str, Any]:
    """With what JSON had before there were several engines: `ratio` of a single one, `error`
    of our outputs, and the memory of a process."""
    from infini_ir.tools.engines.cost import peak_memory
    from infini_ir.tools.engines.engine import OURS

    if len(against) == 1 and against[0] in facts["ratios"]:
        facts["ratio"] = facts["ratios"][against[0]]
    if "errors" in facts:
        facts["error"] = facts["errors"][OURS]
    memory = facts["cold"][OURS].get("peak_memory_bytes")
    facts["peak_memory_bytes"] = peak_memory() if memory is None else memory
    return facts


# Showing


def _print(facts: dict[str, Any]) -> None:
    from infini_ir.tools.infini.show import print_facts, print_table, size_text, time_text

    columns, rows = table(facts)
    print_table(columns, rows, title=facts["model"], right=columns[1:])
    lines: dict[str, Any] = {f"{name} failed": why for name, why in facts["failed"].items()}
    for name, ratio in facts["ratios"].items():
        slower = f"; {name} is {1 / ratio:.2f} times as fast" if ratio < 1 else ""
        lines[f"infini against {name}"] = f"{ratio:.2f} times as fast{slower}"
    if "reference" in facts:
        lines["error"] = f"share of the largest element, against {facts['reference']}"
    sizes = ", ".join(f"{name}={size}" for name, size in facts["sizes"].items())
    if sizes:
        lines["sizes"] = sizes
    lines["threads"], lines["rounds"] = facts["threads"], facts["rounds"]
    if "compile_seconds" in facts:
        lines["cold compile"] = time_text(facts["compile_seconds"])
    else:
        lines["load"] = time_text(facts["load_seconds"])
    lines["memory"] = (
        f"{size_text(facts['weight_bytes'])} of weights, {size_text(facts['code_bytes'])} of code"
    )
    print_facts(lines)


def table(facts: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of a comparison: an engine a row."""
    from infini_ir.tools.comparison import worst_error
    from infini_ir.tools.infini.show import size_text, time_text

    columns = ["a call", "median", "min", "max"]
    with_errors, cold = "errors" in facts, facts["cold"]
    columns += ["ratio"] * bool(facts["ratios"]) + ["error"] * with_errors
    columns += ["ready after", "CPU time", "memory"]
    rows: list[list[str]] = []
    for name, times in facts["times"].items():
        precision = facts["precisions"][name]
        row = [f"{name} ({precision})"]
        row += [time_text(times[key]) for key in ("median", "min", "max")]
        if facts["ratios"]:
            row.append(f"{facts['ratios'][name]:.2f}" if name in facts["ratios"] else "")
        if with_errors:
            row.append(f"{worst_error(facts, name):.1e}")
        row += _cold_cells(cold.get(name, {}), time_text, size_text)
        rows.append(row)
    return columns, rows


def _cold_cells(cost: dict[str, Any], time_text: Any, size_text: Any) -> list[str]:
    if "wall_seconds" not in cost:
        return ["failed" if "failed" in cost else "", "", ""]
    return [
        time_text(cost["wall_seconds"]),
        time_text(cost["cpu_seconds"]),
        size_text(cost["peak_memory_bytes"]) if "peak_memory_bytes" in cost else "",
    ]


def _print_machine(machine: dict[str, Any]) -> None:
    from infini_ir.tools.machine_facts import machine_text

    click.echo(f"measured on: {machine_text(machine)}")
