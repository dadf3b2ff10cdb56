"""Single operations against PyTorch's: what is measured, and how.

An operation is an ONNX model in its text form with operands of random numbers, the same in
PyTorch with its weights packed as frozen programs have them, and the same in float64.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import ml_dtypes
import numpy as np
import torch
from rich.console import Console
from rich.progress import track

import infini_ir
from benchmarks.options import again_option, results_option, rounds_option, threads_option
from benchmarks.results import Results, revision
from benchmarks.tables import rates_page
from infini_ir.tools.comparison import output_errors
from infini_ir.tools.engines.engine import OURS, reason
from infini_ir.tools.machine import LEVELS, Machine, Probes, known_machine
from infini_ir.tools.turns import Turns
from infini_ir.tools.work import BYTE, FLOAT, HALF

if TYPE_CHECKING:
    import onnx

PEER = "torch"
ONNX_TYPES = {
    torch.float32: "float",
    torch.bfloat16: "bfloat16",
    torch.uint8: "uint8",
    torch.int8: "int8",
    torch.int64: "int64",
}
HEAD = '<ir_version: 10, opset_import: ["" : 23, "com.microsoft" : 1]>'

Tensors = Sequence[Any]


@dataclass(frozen=True)
class Operation:
    """One measurement. Operands are tensors by name; `weights` are constants of the model."""

    name: str
    group: str
    operands: dict[str, torch.Tensor]
    weights: dict[str, torch.Tensor | np.ndarray]
    body: str
    """Statements of ONNX's text form that compute `y`."""
    output: str
    """Its type in ONNX's text form."""
    prepare: Callable[[Tensors, Tensors], Callable[[], Any]]
    """PyTorch's call, of operands and weights."""
    exact: Callable[..., torch.Tensor]
    """What is right, of operands and weights as they are."""
    operations: float = 0.0
    """A multiply-add counts two; 0 where memory is the limit."""
    kind: str = FLOAT
    """The class of arithmetic (`tools.work`)."""
    bytes: float = 0.0
    """Of all operands, weights and results, each once."""
    inside: bool = False
    """Count only kernels that compute: inside a network the operands come in the layout that
    is wanted here, and the result is wanted in the one it has."""

    def source(self) -> onnx.ModelProto:
        """The model."""
        from onnx import numpy_helper, parser

        inputs = ", ".join(
            f"{ONNX_TYPES[x.dtype]}[{', '.join(map(str, x.shape))}] {name}"
            for name, x in self.operands.items()
        )
        model = parser.parse_model(
            f"{HEAD} bench ({inputs}) => ({self.output} y) {{{self.body}}}"
        )
        model.graph.initializer.extend(
            numpy_helper.from_array(array_of(w), name) for name, w in self.weights.items()
        )
        return model

    def limit(self, machine: Machine) -> tuple[float, str]:
        """The least seconds that the machine needs, and why."""
        near = self.bytes > machine.l1_bytes, self.bytes > machine.l2_bytes
        moving = machine.moving(self.bytes, *(self.bytes * missed for missed in near))
        computing = machine.computing({self.kind: self.operations}) if self.operations else ()
        return max(moving, computing) if computing else moving


def array_of(x: torch.Tensor | np.ndarray) -> np.ndarray:
    """The tensor as numpy has it; bf16 as ml_dtypes' type."""
    if isinstance(x, np.ndarray):
        return x
    if x.dtype == torch.bfloat16:
        return x.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return x.numpy()


def kind_of(dtype: torch.dtype) -> str:
    """The class of arithmetic of a product."""
    return {torch.float32: FLOAT, torch.bfloat16: HALF}.get(dtype, BYTE)


def nbytes(*tensors: torch.Tensor) -> float:
    """Of all, each once."""
    return float(sum(x.nbytes for x in tensors))


def wide(*tensors: torch.Tensor) -> list[torch.Tensor]:
    """In float64; numbers of other things stay."""
    return [x.double() if x.is_floating_point() else x for x in tensors]


# Measuring


def command(
    name: str, text: str, operations: Callable[[], Iterable[Callable[[], Operation]]]
) -> click.Command:
    """The command that measures operations and keeps them in the results called `name`."""

    @click.command(help=text)
    @click.option("--only", default="", help="Those with this text in group or name.")
    @threads_option
    @rounds_option(7)
    @again_option
    @results_option
    def main(only: str, threads: int, rounds: int, again: bool, folder: Path) -> None:
        results = Results.read(name, folder)
        sys.exit(not run(operations(), results, threads, rounds, again=again, only=only))

    return main


def run(
    operations: Iterable[Callable[[], Operation]],
    results: Results,
    threads: int,
    rounds: int,
    *,
    again: bool,
    only: str,
) -> bool:
    """Measure and keep each; whether all of ours worked. `operations` make them when it is
    their turn, as their operands are large. Prints the tables."""
    torch.set_num_threads(threads)
    machine = known_machine(threads)
    results.describe(threads, [PEER])
    results.machine["limits"] = {
        "operations": {FLOAT: machine.flops, **machine.rates},
        "memory": machine.memory,
    }
    found = list(operations)
    good, probes = True, Probes(threads)
    for make in track(found, "measuring", console=Console(stderr=True)):
        operation = make()
        if only not in f"{operation.group} {operation.name}":
            continue
        if not again and results.done(operation.name, threads):
            continue
        row = measure(operation, machine, threads, Turns(rounds, most_seconds=8.0), probes)
        good &= "problem" not in row
        results.rows[operation.name] = row
        results.write()
    print(rates_page(results))
    return good


def measure(
    operation: Operation, machine: Machine, threads: int, turns: Turns, probes: Probes
) -> dict[str, Any]:
    """The row of an operation. Its limit is measured in turns with it: what a shared machine
    can do changes from minute to minute."""
    row: dict[str, Any] = {
        "revision": revision(),
        "threads": threads,
        "group": operation.group,
        "operations": operation.operations,
        "bytes": operation.bytes,
        "failed": {},
    }
    operands, weights = list(operation.operands.values()), list(operation.weights.values())
    try:
        model = infini_ir.compile(operation.source(), threads=threads)
        arrays = [array_of(x) for x in operands]
        given = model(*arrays)
    except Exception as error:  # a row that fails must not stop the others
        print(f"{operation.name}: {reason(error)}", file=sys.stderr)
        return row | {"problem": reason(error)}
    calls: dict[str, Callable[[], Any]] = {OURS: lambda: model(*arrays)}
    right = operation.exact(*operands, *weights)
    errors = {OURS: _error(given, right)}
    with torch.no_grad():
        try:
            calls[PEER] = operation.prepare(operands, weights)
            errors[PEER] = _error(calls[PEER](), right)
        except (RuntimeError, NotImplementedError, ValueError) as error:
            calls.pop(PEER, None)
            row["failed"][PEER] = reason(error)
        limit = operation.limit(machine)[1]
        probe = probes.of(limit, operation.bytes)
        samples = turns.measure({**calls, "limit": probe.run})
    peak = probe.amount / min(samples.pop("limit"))
    if operation.inside:
        share = computing_share(operation.source(), threads, arrays)
        samples[OURS] = [share * seconds for seconds in samples[OURS]]
    # The fastest: whatever else runs on the machine delays one pool of threads more than another.
    seconds = {name: min(times) for name, times in samples.items()}
    amount = operation.bytes if limit in LEVELS else operation.operations
    return row | {
        "seconds": seconds,
        "ratios": {PEER: seconds[PEER] / seconds[OURS]} if PEER in seconds else {},
        "errors": errors,
        "share": amount / peak / seconds[OURS],
        "limit": limit,
        "peak": peak,
    }


def computing_share(source: Any, threads: int, arrays: list[np.ndarray]) -> float:
    """The part of a call that is spent in kernels with arithmetic, not in moving data."""
    from infini_ir.compiler import Compilation, Options
    from infini_ir.targets.cpu.timing.in_place import measure_in_place
    from infini_ir.targets.programs import remove_unused
    from infini_ir.tools.launches import launches_of

    compilation = Compilation(Options(threads=threads), keep_texts=False)
    module = compilation.import_model(source)
    compilation.graph_passes(module)
    compilation.lower(module)
    remove_unused(module)
    launches = launches_of(module, {}, known_machine(threads))
    target: Any = compilation.target
    times = measure_in_place(module, compilation.ctx, target, threads, arrays, seconds=0.2)
    computing = sum(times.launches[one.op].seconds for one in launches if one.operations)
    return computing / times.timed_call


def _error(given: Any, right: torch.Tensor) -> float:
    if isinstance(given, tuple):
        given = given[0]
    if isinstance(given, torch.Tensor):
        given = (given.int_repr() if given.is_quantized else given).double().numpy()
    return output_errors(["y"], [given], [right.double().numpy()])["y"]
