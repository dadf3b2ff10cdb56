"""The demo, `python -m infini_ir.demo`: compile a ResNet-50, run it, check the result.

The network is the one that the `onnx` package carries, with random weights, so nothing is
downloaded. It exits with 1 where the output is not that of the reference.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table

import infini_ir
from infini_ir.models.light import light_inputs, light_model
from infini_ir.tools.infini.progress import progress

if TYPE_CHECKING:
    import onnx

TOLERANCE = 1e-4
"""What the output may be off, as a share of its largest element."""
CALLS = 20

Arrays = Mapping[str, np.ndarray]


def main() -> int:
    """Run the demo; the exit status."""
    console = Console(highlight=False)
    console.print("ResNet-50, as in the onnx package, with random weights; one 224 x 224 image")
    model, inputs = light_model("resnet50"), light_inputs("resnet50")
    begin = time.perf_counter()
    with progress("compiling") as tell:
        compiled = infini_ir.compile(model, progress=tell)
    compile_seconds = time.perf_counter() - begin
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "resnet50.infini"
        compiled.save(path)
        begin = time.perf_counter()
        loaded = infini_ir.load(path)
        load_seconds = time.perf_counter() - begin
        output = np.asarray(next(iter(loaded(inputs).values())))
        size = path.stat().st_size
        name, reference = _reference(model, loaded.threads, console)
        wanted = reference(inputs)
        ours, theirs = _latencies([lambda: loaded(inputs), lambda: reference(inputs)])
    error = float(np.abs(output - wanted).max() / np.abs(wanted).max())
    report = loaded.report()
    console.print(_passes(report))
    facts = {
        "kernels": f"{_kernels(loaded)} ({_launches(loaded)} launches)",
        "compile": f"{compile_seconds:.2f} s",
        "artifact": f"{size / 1e6:.0f} MB, loads in {load_seconds * 1e3:.1f} ms",
        "threads": str(loaded.threads),
        "one call": f"{ours * 1e3:.1f} ms",
        f"{name}, one call": f"{theirs * 1e3:.1f} ms",
        "largest error": f"{error:.1e} of the largest output",
    }
    table = Table(box=None, show_header=False, padding=(0, 2))
    for label, value in facts.items():
        table.add_row(label, value)
    console.print(table)
    if not error <= TOLERANCE:
        console.print(f"[red]The output differs from that of {name}: more than {TOLERANCE}.")
        return 1
    console.print(f"[green]The output is that of {name}.")
    return 0


def _reference(
    model: onnx.ModelProto, threads: int, console: Console
) -> tuple[str, Callable[[Arrays], np.ndarray]]:
    """A second implementation to compare with: its name, and a function of the inputs."""
    if find_spec("onnxruntime") is None:
        from onnx.reference import ReferenceEvaluator

        console.print("onnxruntime is not installed: onnx's slow reference is the judge")
        evaluator = ReferenceEvaluator(model)
        return "onnx.reference", lambda inputs: _first(evaluator.run(None, dict(inputs)))
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return "onnxruntime", lambda inputs: _first(session.run(None, dict(inputs)))


def _first(outputs: Any) -> np.ndarray:
    return np.asarray(outputs[0])


def _latencies(calls: Sequence[Callable[[], Any]]) -> list[float]:
    """The median seconds of each, in turns; a slow one is called less often."""
    samples: list[list[float]] = [[] for _ in calls]
    end = time.perf_counter() + 1
    for _ in range(CALLS):
        for call, times in zip(calls, samples, strict=True):
            call()  # the other one's threads may still be spinning
            begin = time.perf_counter()
            call()
            times.append(time.perf_counter() - begin)
        if time.perf_counter() > end:
            break
    return [statistics.median(times) for times in samples]


def _passes(report: Mapping[str, Any]) -> Table:
    """What the passes did to the number of operations, neighbours of one name together."""
    table = Table(title="operations", title_justify="left", box=None, padding=(0, 2))
    for column in ("pass", "before", "after", "ms"):
        table.add_column(column, justify="left" if column == "pass" else "right")
    for row in [*report["passes"], *report["tile_passes"]]:
        milliseconds = f"{row['seconds'] * 1e3:.0f}"
        table.add_row(row["pass"], str(row["before"]), str(row["after"]), milliseconds)
    return table


def _kernels(model: infini_ir.CompiledModel) -> int:
    return model.ir("tile").count("tile.kernel @")


def _launches(model: infini_ir.CompiledModel) -> int:
    return model.ir("tile").count("tile.launch @")


if __name__ == "__main__":
    sys.exit(main())
