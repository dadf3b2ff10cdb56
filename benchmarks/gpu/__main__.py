"""Every kernel and model on this machine's GPU: `python -m benchmarks.gpu`.

First the corpus of kernels is checked against f64. Then kernels are timed against PyTorch
(eager, and `torch.compile` with max-autotune) in turns, each call with its synchronisation, and
set against the device's copy bandwidth and cuBLAS's best product; then the models whose ONNX
files `--models` names. One JSON file has everything, one table what `docs/performance.md` shows.
Needs PyTorch, Triton, NumPy, onnx, llvmlite and xDSL, and nothing else.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import infini_ir
from benchmarks.gpu import models, timing
from benchmarks.gpu.problems import TOLERANCE, TORCH_TYPES, Problem, problems
from infini_ir.compiler import Compilation, Options
from infini_ir.models.kernels import KernelCase, cases
from infini_ir.runtime.model import CompiledModel
from infini_ir.utils.errors import InfiniError


def main() -> int:
    """Run what the arguments ask for; 1 where a number is wrong."""
    arguments = _arguments()
    if arguments.export:
        models.export(arguments.export)
        return 0
    if not torch.cuda.is_available():
        print("no CUDA device: nothing to measure", file=sys.stderr)
        return 1
    bench = Bench(_target(), arguments.only or "", arguments)
    bench.check_corpus()
    bench.measure_problems(problems(quick=arguments.quick))
    if arguments.models:
        bench.measure_models(arguments.models)
    arguments.json.write_text(json.dumps(bench.facts, indent=1))
    table = bench.table()
    arguments.json.with_suffix(".md").write_text(table)
    print(table)
    return 1 if bench.failures else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.gpu", description=__doc__)
    parser.add_argument("--models", type=Path, help="folder that --export wrote")
    parser.add_argument("--export", type=Path, help="write the models' files there, and end")
    parser.add_argument("--json", type=Path, default=Path("gpu.json"), help="where results go")
    parser.add_argument("--only", help="names with this text in them")
    parser.add_argument("--quick", action="store_true", help="small problems")
    parser.add_argument(
        "--no-compile", dest="compile", action="store_false", help="leave torch.compile out"
    )
    parser.add_argument("--tune", action="store_true", help="measure plans of kernels first")
    parser.add_argument("--library", action="store_true", help="products by cuBLAS")
    return parser.parse_args()


def _target() -> str:
    major, minor = torch.cuda.get_device_capability()
    return f"nvidia:sm_{major}{minor}"


class Bench:
    """Measurements of one device, gathered as plain data."""

    def __init__(self, target: str, only: str, arguments: argparse.Namespace) -> None:
        self.target, self.only = target, only
        self.with_compile = arguments.compile
        tune = {} if arguments.tune else None
        self.options = Options(target, library=arguments.library, tune=tune)
        self.failures: list[str] = []
        self.facts: dict[str, Any] = {
            "date": datetime.date.today().isoformat(),
            "device": torch.cuda.get_device_name(),
            "target": target,
            "versions": {
                "infini_ir": infini_ir.__version__,
                "torch": torch.__version__,
                "python": platform.python_version(),
            },
            "copy_bytes_per_second": timing.copy_bandwidth(),
            "matrix_peak": {
                name: timing.matrix_peak(TORCH_TYPES[name]) for name in ("bf16", "f16", "f32")
            },
            "corpus": [],
            "problems": [],
            "models": [],
        }

    def compile(self, source: Any) -> CompiledModel:
        return CompiledModel(Compilation(self.options, keep_texts=False).run(source))

    def fail(self, name: str, why: str) -> None:
        self.failures.append(name)
        print(f"FAILED {name}: {why}", file=sys.stderr)

    def attempt(self, name: str, action: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What an action finds, or why it could not."""
        try:
            return {"name": name, **action()}
        except (InfiniError, RuntimeError) as error:
            self.fail(name, str(error))
            return {"name": name, "failed": str(error)}

    # Correctness

    def check_corpus(self) -> None:
        """Every kernel of the corpus, against f64."""
        for case in cases():
            if self.only in case.name:
                self.facts["corpus"].append(
                    self.attempt(case.name, lambda case=case: self._check(case))
                )

    def _check(self, case: KernelCase) -> dict[str, Any]:
        inputs = case.inputs()
        given = self.compile(case)(inputs)
        error = case.error([given[name] for name in case.outputs], inputs)
        if not error < 1:
            self.fail(case.name, f"error {error:.3g} of what is allowed")
        return {"kernel": case.kernel, "dtype": case.dtype, "error_of_tolerance": error}

    # Kernels

    def measure_problems(self, found: list[Problem]) -> None:
        """Time every problem."""
        for problem in found:
            if self.only in problem.name:
                self.facts["problems"].append(
                    self.attempt(problem.name, lambda p=problem: self._measure(p))
                )
                torch.cuda.empty_cache()

    def _measure(self, problem: Problem) -> dict[str, Any]:
        tensors = problem.tensors("cuda")
        model = self.compile(problem.source())
        error = self._error(problem, model, tensors)
        calls: dict[str, Callable[[], object]] = {
            "infini": lambda: model(*tensors),
            "eager": lambda: problem.torch(*tensors),
        }
        if self.with_compile:
            compiled = torch.compile(problem.torch, mode="max-autotune")
            calls["compile"] = lambda: compiled(*tensors)
        seconds = timing.interleaved(calls)
        facts: dict[str, Any] = {"seconds": seconds, "error": error}
        facts["bandwidth_share"] = (
            problem.bytes / seconds["infini"] / self.facts["copy_bytes_per_second"]
        )
        if problem.operations:
            peak = self.facts["matrix_peak"][problem.dtype]
            facts["peak_share"] = problem.operations / seconds["infini"] / peak
        return facts

    def _error(
        self, problem: Problem, model: CompiledModel, tensors: list[torch.Tensor]
    ) -> float:
        """Against PyTorch in f64 (f32 for the largest), as a share of the largest element."""
        wide = torch.float64 if problem.operations < 3e11 else torch.float32
        given = torch.from_dlpack(model(*tensors)).to(wide)
        want = problem.torch(*(t.to(wide) if t.is_floating_point() else t for t in tensors))
        error = float((given - want).abs().max() / want.abs().max())
        if not error < TOLERANCE[problem.dtype]:
            self.fail(problem.name, f"error {error:.3g}")
        return error

    # Models

    def measure_models(self, folder: Path) -> None:
        """Time every model of a folder."""
        for network in models.networks(folder):
            if self.only in network.name:
                self.facts["models"].append(
                    self.attempt(network.name, lambda n=network: self._run(n))
                )

    def _run(self, network: models.Network) -> dict[str, Any]:
        arrays = network.inputs()
        tensors = [torch.from_numpy(a).cuda() for a in arrays.values()]
        module = network.module()
        with torch.inference_mode():
            want = module(*(torch.from_numpy(a) for a in arrays.values())).numpy()
            module = module.cuda()
            model = self.compile(str(network.path))
            given = model(*arrays.values())
            error = float(np.abs(given - want).max() / np.abs(want).max())
            if not error < 1e-3:
                self.fail(network.name, f"error {error:.3g}")
            calls: dict[str, Callable[[], object]] = {
                "infini": lambda: model(*tensors),
                "eager": lambda: module(*tensors),
            }
            if self.with_compile:
                compiled = torch.compile(module, mode="max-autotune")
                calls["compile"] = lambda: compiled(*tensors)
            return {"seconds": timing.interleaved(calls), "error": error}

    # Report

    def table(self) -> str:
        """Everything that was timed, as Markdown."""
        facts = self.facts
        peaks = ", ".join(f"{k} {v / 1e12:.0f}" for k, v in facts["matrix_peak"].items())
        wrong = sum(1 for row in facts["corpus"] if row["name"] in self.failures)
        lines = [
            f"{facts['device']}, {facts['date']}: copies {facts['copy_bytes_per_second'] / 1e9:.0f}"
            f" GB/s; cuBLAS TFLOP/s {peaks}; corpus: {len(facts['corpus']) - wrong} of "
            f"{len(facts['corpus'])} right.",
            "",
            "| problem | us | eager / ours | compile / ours | of copy | of cuBLAS peak | error |",
            "|---|---|---|---|---|---|---|",
        ]
        lines += [_row(row) for row in (*facts["problems"], *facts["models"])]
        return "\n".join(lines) + "\n"


def _row(row: dict[str, Any]) -> str:
    if "failed" in row:
        return f"| {row['name']} | failed | | | | | |"
    seconds = row["seconds"]

    def ratio(name: str) -> str:
        return f"{seconds[name] / seconds['infini']:.2f}" if name in seconds else ""

    def share(name: str) -> str:
        return f"{row[name]:.0%}" if name in row else ""

    cells = [row["name"], f"{seconds['infini'] * 1e6:.1f}", ratio("eager"), ratio("compile")]
    cells += [share("bandwidth_share"), share("peak_share"), f"{row['error']:.1e}"]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
