"""Every model against onnxruntime: `python -m benchmarks.compare`.

Both run the same inputs with as many threads, in turns, so that what else the machine does
hits both; the ratio is the median over the turns of onnxruntime's time by ours, and "best"
is that of the fastest turns.
"""

from __future__ import annotations

import gc
import json
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

import infini_ir
from infini_ir.models import zoo
from infini_ir.utils.errors import InfiniError

if TYPE_CHECKING:
    import onnx
    import onnxruntime

PAUSE = 0.03
"""Seconds between turns, in which threads that wait by spinning go to sleep."""
TURN = 0.02
"""Seconds that the calls of a turn take together, at least one call."""
MAX_SECONDS = 30.0
"""Of timing a model; slow ones get fewer turns."""
WIDTH = 130
"""Columns of text that the table wants."""
SLOWEST = 0.5
"""The ratio that no model may be below."""


@dataclass
class Row:
    """What was measured of a model; seconds."""

    model: str
    case: str = ""
    infini: float = 0.0
    onnxruntime: float = 0.0
    ratio: float = 0.0
    """onnxruntime's time by ours: above one, we are faster."""
    best_ratio: float = 0.0
    """The same of the fastest turns: what the machine does besides counts least."""
    error: float = 0.0
    """The largest difference as a share of the largest element, over all outputs."""
    compile_cpu: float = 0.0
    """CPU time of a compilation with no cache."""
    compile_wall: float = 0.0
    session_cpu: float = 0.0
    """CPU time in which onnxruntime makes its session."""
    load: float = 0.0
    """Loading the saved artifact, with its first call less a usual one."""
    artifact_bytes: int = 0
    rounds: int = 0
    problem: str = ""


@dataclass(frozen=True)
class Timing:
    """How to time."""

    threads: int
    rounds: int
    cpu_time: bool = False

    @property
    def clock(self) -> Callable[[], float]:
        return time.thread_time if self.cpu_time else time.perf_counter


@click.command()
@click.option("--models", help="Names, separated by commas; all of them when left out.")
@click.option("--small", is_flag=True, help="The small variants of the PyTorch networks.")
@click.option("--threads", type=click.IntRange(min=1), default=2, show_default=True)
@click.option("--rounds", type=click.IntRange(min=1), default=20, show_default=True)
@click.option(
    "--cpu-time",
    is_flag=True,
    help="Count the CPU time of one thread, not the clock's: for a machine that is busy.",
)
@click.option("--every-size", is_flag=True, help="Each case of symbolic sizes, not the first.")
@click.option("--json", "path", type=click.Path(), help="Write the numbers to this file.")
def main(
    models: str | None,
    small: bool,
    threads: int,
    rounds: int,
    cpu_time: bool,
    every_size: bool,
    path: str | None,
) -> None:
    """Compare models with onnxruntime; exit with 1 where one fails or is too slow."""
    # Imports are no part of a compilation.
    import onnxruntime  # noqa: F401

    import infini_ir.compiler
    import infini_ir.frontends.onnx.importer
    import infini_ir.targets.cpu.target  # noqa: F401

    timing = Timing(1 if cpu_time else threads, rounds, cpu_time)
    console = Console(stderr=True)
    rows: list[Row] = []
    for model in track(zoo.choose(models, small=small), "comparing", console=console):
        rows += measure(model, timing, every_size)
        if path is not None:
            Path(path).write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
        gc.collect()
    Console(width=max(console.width, WIDTH)).print(table(rows, timing))
    sys.exit(any(row.problem or row.ratio < SLOWEST for row in rows))


def measure(model: zoo.Model, timing: Timing, every_size: bool) -> list[Row]:
    """Rows of a model: one for each case of sizes."""
    if reason := model.missing():
        return [Row(model.name, problem=f"left out: {reason}")]
    cases = range(len(model.sizes)) if every_size else range(1)
    rows = [Row(model.name, _case_text(model, case)) for case in cases]
    try:
        _measure(model, rows, timing)
    except (InfiniError, AssertionError, LookupError, ValueError, TypeError) as error:
        for row in rows:
            row.problem = f"{type(error).__name__}: {error}"
    return rows


def _measure(model: zoo.Model, rows: Sequence[Row], timing: Timing) -> None:
    source, threads = model.source(), timing.threads
    cpu, wall = _cpu_seconds(), time.perf_counter()
    compiled = infini_ir.compile(source, threads=threads, cache=False)
    cpu, wall = _cpu_seconds() - cpu, time.perf_counter() - wall
    with tempfile.TemporaryDirectory() as folder:
        artifact = Path(folder) / "model.infini"
        compiled.save(artifact)
        del compiled
        begin = time.perf_counter()
        loaded = infini_ir.load(artifact, threads=threads)
        loaded(model.inputs())
        load = time.perf_counter() - begin
        size = artifact.stat().st_size
        session_cpu = _cpu_seconds()
        session = _session(source, threads)
        session_cpu = _cpu_seconds() - session_cpu
        del source
        for case, row in enumerate(rows):
            row.compile_cpu, row.compile_wall, row.session_cpu = cpu, wall, session_cpu
            row.artifact_bytes = size
            _time_case(row, loaded, session, model.inputs(case, case), timing)
            row.load = max(load - rows[0].infini, 0.0)


def _time_case(
    row: Row,
    loaded: infini_ir.CompiledModel,
    session: onnxruntime.InferenceSession,
    inputs: zoo.Arrays,
    timing: Timing,
) -> None:
    names = [spec.name for spec in loaded.outputs]
    values = [inputs[spec.name] for spec in loaded.inputs]

    def ours() -> Any:
        return loaded(*values)

    def theirs() -> Any:
        return session.run(names, inputs)

    outputs = ours()
    row.error = _error(outputs if isinstance(outputs, tuple) else (outputs,), theirs())
    samples = _turns((ours, theirs), timing)
    row.rounds = len(samples)
    row.infini = statistics.median(a for a, _ in samples)
    row.onnxruntime = statistics.median(b for _, b in samples)
    row.ratio = statistics.median(b / a for a, b in samples)
    row.best_ratio = min(b for _, b in samples) / min(a for a, _ in samples)


def _turns(calls: Sequence[Callable[[], Any]], timing: Timing) -> list[tuple[float, ...]]:
    """Seconds a call, for each turn. Every turn starts after a pause with a call that is not
    counted."""
    repeats = [max(1, int(TURN / _once(call))) for call in calls]
    samples: list[tuple[float, ...]] = []
    end, clock = time.perf_counter() + MAX_SECONDS, timing.clock
    while len(samples) < timing.rounds and (len(samples) < 3 or time.perf_counter() < end):
        turn = []
        for call, count in zip(calls, repeats, strict=True):
            time.sleep(PAUSE)
            call()
            begin = clock()
            for _ in range(count):
                call()
            turn.append((clock() - begin) / count)
        samples.append(tuple(turn))
    return samples


def _once(call: Callable[[], Any]) -> float:
    call()
    begin = time.perf_counter()
    call()
    return max(time.perf_counter() - begin, 1e-7)


def _session(source: Path | onnx.ModelProto, threads: int) -> onnxruntime.InferenceSession:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    data = str(source) if isinstance(source, Path) else source.SerializeToString()
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def _error(ours: Sequence[Any], theirs: Sequence[Any]) -> float:
    errors = []
    for a, b in zip(ours, theirs, strict=True):
        difference = np.abs(np.asarray(a, np.float64) - np.asarray(b, np.float64))
        errors.append(float(difference.max(initial=0) / (np.abs(b).max(initial=0) or 1)))
    return max(errors)


def _cpu_seconds() -> float:
    """CPU time of this process, its threads, and the children it waited for."""
    usages = [
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    ]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _case_text(model: zoo.Model, case: int) -> str:
    return ", ".join(f"{name}={size}" for name, size in model.sizes[case].items())


def table(rows: Sequence[Row], timing: Timing) -> Table:
    """The rows for reading."""
    how = "CPU time of one thread" if timing.cpu_time else f"{timing.threads} threads"
    made = Table(title=f"{how}; ratio: onnxruntime's time by ours", box=None)
    made.add_column("model", no_wrap=True)
    columns = (
        "infini ms",
        "ort ms",
        "ratio",
        "best",
        "error",
        "compile CPU s",
        "ort CPU s",
        "load ms",
        "MB",
    )
    for column in columns:
        made.add_column(column, justify="right")
    for row in rows:
        name = f"{row.model} ({row.case})" if row.case else row.model
        if row.problem:
            made.add_row(name, f"[red]{row.problem[:90]}")
            continue
        ratio = f"{row.ratio:.2f}"
        made.add_row(
            name,
            f"{row.infini * 1e3:.3f}",
            f"{row.onnxruntime * 1e3:.3f}",
            f"[red]{ratio}" if row.ratio < SLOWEST else ratio,
            f"{row.best_ratio:.2f}",
            f"{row.error:.0e}",
            f"{row.compile_cpu:.1f}",
            f"{row.session_cpu:.1f}",
            f"{row.load * 1e3:.1f}",
            f"{row.artifact_bytes / 1e6:.1f}",
        )
    return made


if __name__ == "__main__":
    main()
