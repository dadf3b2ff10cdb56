"""`infini bench`: how fast a model runs, and how fast another runtime runs it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from infini_ir.tools.infini.options import (
    compile_options,
    json_option,
    make_options,
    parse_sizes,
    seed_option,
    shape_option,
    threads_option,
)
from infini_ir.utils.errors import InfiniError, OptionError

if TYPE_CHECKING:
    from infini_ir.compiler import Options
    from infini_ir.runtime.model import CompiledModel

PAUSE = 0.03
"""Seconds between turns, in which threads that wait by spinning go to sleep."""
_ROUND_SECONDS = 0.005
"""A turn repeats a call to last about this long."""


@click.command()
@click.argument("model")
@click.option(
    "--input", "inputs", metavar="NAME=FILE", multiple=True, help="As for infini run."
)
@shape_option
@seed_option
@click.option(
    "--against", type=click.Choice(["onnxruntime"]), help="Another runtime to compare."
)
@click.option("--rounds", type=click.IntRange(min=1), default=20, help="Turns of each.")
@compile_options
@threads_option
@json_option
def command(
    model: str,
    inputs: tuple[str, ...],
    sizes: tuple[str, ...],
    seed: int,
    against: str | None,
    rounds: int,
    target: str,
    precision: str,
    library: bool,
    tune: str | None,
    check_semantics: bool,
    no_cache: bool,
    threads: int | None,
    as_json: bool,
) -> None:
    """Time MODEL in turns with another runtime, on the same inputs and threads."""
    from infini_ir.tools.infini.inputs import choose_sizes, random_inputs, read_inputs
    from infini_ir.tools.infini.models import is_artifact
    from infini_ir.tools.infini.progress import progress
    from infini_ir.tools.infini.show import print_json

    given = parse_sizes(sizes)
    options = make_options(
        target, precision, check_semantics, no_cache, threads, library=library
    )
    if against is not None and is_artifact(model):
        raise OptionError(f"--against {against} wants the ONNX model, not a compiled one")
    with progress(f"timing {Path(model).name}") as tell:
        compiled, facts = _prepare(model, options)
        arrays = read_inputs(inputs, compiled.inputs)
        symbols = choose_sizes(compiled.inputs, given, arrays)
        missing = [spec for spec in compiled.inputs if spec.name not in arrays]
        arrays |= random_inputs(missing, symbols, seed)
        values = [arrays[spec.name] for spec in compiled.inputs]
        calls: dict[str, Callable[[], Any]] = {"infini": lambda: compiled(*values)}
        if against is not None:
            other = _onnxruntime(model, arrays, compiled)
            calls[against] = other
            facts["error"] = _errors(compiled, values, other())
        facts |= {"sizes": symbols, "threads": compiled.threads, "rounds": rounds}
        facts["times"] = _time(calls, rounds, tell)
    if against is not None:
        medians = facts["times"]
        facts["ratio"] = medians[against]["median"] / medians["infini"]["median"]
    facts["peak_memory_bytes"] = _peak_memory()
    if as_json:
        print_json(facts)
    else:
        _print(facts, against)


def _prepare(model: str, options: Options) -> tuple[CompiledModel, dict[str, Any]]:
    """The model, with the time that a compilation without any cache takes."""
    from infini_ir.tools.infini.models import is_artifact, open_model

    begin = time.perf_counter()
    if not is_artifact(model):
        from dataclasses import replace

        import infini_ir.frontends.onnx.importer
        import infini_ir.targets.cpu.target  # noqa: F401  (imports are not compilation)

        begin = time.perf_counter()
        options = replace(options, cache=False)
    compiled = open_model(model, options, f"compiling {Path(model).name}")
    seconds = time.perf_counter() - begin
    metadata = compiled.program.metadata
    key = "load_seconds" if is_artifact(model) else "compile_seconds"
    return compiled, {
        "model": model,
        key: seconds,
        "code_bytes": len(compiled.program.code.read()),
        "weight_bytes": metadata.weights_size,
    }


def _onnxruntime(
    model: str, arrays: dict[str, np.ndarray], compiled: CompiledModel
) -> Callable[[], Any]:
    """A call of the model in ONNX Runtime with as many threads."""
    try:
        import onnxruntime
    except ImportError:
        raise OptionError(
            "--against onnxruntime wants ONNX Runtime; install it with: pip install onnxruntime"
        ) from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = compiled.threads, 1
    options.log_severity_level = 3
    names = [spec.name for spec in compiled.outputs]
    try:
        session = onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])
        session.run(names, arrays)
    except Exception as error:  # its errors have no common base but Exception
        reason = " ".join(str(error).split())[:300]
        raise InfiniError(f"ONNX Runtime cannot run '{model}': {reason}") from error
    return lambda: session.run(names, arrays)


def _errors(
    compiled: CompiledModel, values: list[np.ndarray], wanted: list[np.ndarray]
) -> dict[str, float]:
    """The largest difference of each output, as a share of its largest element."""
    given = compiled(*values)
    outputs = given if isinstance(given, tuple) else (given,)
    errors: dict[str, float] = {}
    for spec, ours, theirs in zip(compiled.outputs, outputs, wanted, strict=True):
        if ours.shape != np.shape(theirs):
            raise InfiniError(
                f"output '{spec.name}' has shape {list(ours.shape)}, but the other runtime "
                f"gives {list(np.shape(theirs))}; please report this"
            )
        a, b = np.asarray(ours).astype(np.float64), np.asarray(theirs).astype(np.float64)
        with np.errstate(all="ignore"):
            same = (a == b) | (np.isnan(a) & np.isnan(b))
            distance = np.where(same, 0, np.abs(a - b)).max(initial=0)
            largest = np.abs(b[np.isfinite(b)]).max(initial=0)
        errors[spec.name] = float(distance / (largest or 1))
    return errors


def _time(
    calls: dict[str, Callable[[], Any]], rounds: int, tell: Any
) -> dict[str, dict[str, float]]:
    """Seconds a call, in turns. Every turn starts after a pause with one call that is not
    counted."""
    repeats = {name: _repeats(call) for name, call in calls.items()}
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds):
        tell("timing", number, rounds)
        for name, call in calls.items():
            time.sleep(PAUSE)
            call()
            begin = time.perf_counter()
            for _ in range(repeats[name]):
                call()
            samples[name].append((time.perf_counter() - begin) / repeats[name])
    return {
        name: {"median": statistics.median(times), "min": min(times), "max": max(times)}
        for name, times in samples.items()
    }


def _repeats(call: Callable[[], Any]) -> int:
    call()
    begin = time.perf_counter()
    call()
    taken = max(time.perf_counter() - begin, 1e-7)
    return max(1, min(1000, int(_ROUND_SECONDS / taken)))


def _peak_memory() -> int:
    """The most memory that this process has used so far, all runtimes together."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _print(facts: dict[str, Any], against: str | None) -> None:
    from infini_ir.tools.infini.show import print_facts, print_table, size_text, time_text

    rows = [
        (name, *(time_text(times[key]) for key in ("median", "min", "max")))
        for name, times in facts["times"].items()
    ]
    columns = ("runtime", "median", "min", "max")
    print_table(columns, rows, title="a call", right=columns[1:])
    lines: dict[str, Any] = {}
    if against is not None:
        ratio = facts["ratio"]
        word = (
            f"{ratio:.2f} times as fast as"
            if ratio >= 1
            else f"{1 / ratio:.2f} times slower than"
        )
        lines["infini"] = f"{word} {against}"
        worst = max(facts["error"].values(), default=0.0)
        lines["difference"] = f"{worst:.2g} of the largest element"
    sizes = ", ".join(f"{name}={size}" for name, size in facts["sizes"].items())
    if sizes:
        lines["sizes"] = sizes
    lines["threads"], lines["rounds"] = facts["threads"], facts["rounds"]
    if "compile_seconds" in facts:
        lines["cold compile"] = time_text(facts["compile_seconds"])
    else:
        lines["load"] = time_text(facts["load_seconds"])
    lines["memory"] = (
        f"{size_text(facts['weight_bytes'])} of weights, {size_text(facts['code_bytes'])} of "
        f"code; the process {size_text(facts['peak_memory_bytes'])} at most"
    )
    print_facts(lines)
