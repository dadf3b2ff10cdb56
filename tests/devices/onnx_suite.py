"""The ONNX backend suite on the models of accelerators.

    python -m tests.devices.onnx_suite TARGET [--only TEXT] [--limit N] [--again STATUS]

Every case ends as `pass`, `fail` (wrong numbers, or any error but the next) or `refused` (a
`CompileError`: the target cannot do it, and says so). Results are kept in a file a line each,
so that a run that was stopped goes on where it was; `--again fail` runs those that failed.
Cases of one operator lie far apart, so the first N are the most diverse.

cuda-c is built with g++ against the functional model; nvidia runs Triton's interpreter over
the fake driver. The whole suite takes hours: `test_onnx_on_devices.py` has a sample of it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
import tomllib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from infini_ir.compiler import Compilation, Options
from infini_ir.frontends.onnx.backend import BackendRep
from infini_ir.frontends.onnx.specialize import Build, Given, Runner
from infini_ir.utils.errors import CompileError, InfiniError, SizeError
from tests.devices.cuda.runner import builder
from tests.devices.nvidia.runner import ask

TESTS = Path(__file__).parents[1]
if str(TESTS / "numeric") not in sys.path:
    sys.path.append(str(TESTS / "numeric"))

from onnx_cases import cases, compare, data_of, model_of, operators_of  # noqa: E402

SECONDS = 120
"""For one case."""


@dataclass(frozen=True)
class Outcome:
    """How a case ended."""

    case: str
    status: str
    """pass, fail or refused."""
    reason: str = ""
    seconds: float = 0.0


# Targets ------------------------------------------------------------------------------------


def build_cuda_c(model: onnx.ModelProto, given: Given) -> tuple[Runner, Sequence[str]]:
    """A program on the functional model of CUDA C++."""
    compilation = Compilation(Options("cuda-c", inputs=given))
    project = compilation.build_project(model)
    names = [spec.name for spec in project.metadata.inputs]

    def run(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        inputs = dict(zip(names, map(np.asarray, arrays), strict=True))
        try:
            outputs = builder().run(project, inputs, timeout=SECONDS)
        except AssertionError as error:
            if "cannot be" in str(error):
                raise SizeError(str(error)) from error
            raise
        return [outputs[spec.name] for spec in project.metadata.outputs]

    return run, compilation.outputs


def run_cuda_c(model: onnx.ModelProto, inputs: Sequence[Any]) -> Sequence[Any]:
    return run_with(model, inputs, partial(build_cuda_c, model))


def run_with(model: onnx.ModelProto, inputs: Sequence[Any], build: Build) -> list[Any]:
    """The outputs of a model that `build` compiles, once for each set of values it asks for."""
    return list(BackendRep(model, build).run(list(inputs)))


def run_nvidia(model: onnx.ModelProto, inputs: Sequence[Any]) -> Sequence[Any]:
    try:
        return ask("run_onnx", model.SerializeToString(), list(inputs), SECONDS)
    except RuntimeError as error:
        last = str(error).strip()
        refused = re.search(r"^infini_ir\.utils\.errors\.CompileError: (.*)", last, re.M | re.S)
        if refused:
            raise CompileError(refused[1]) from error
        raise


RUNS: dict[str, Callable[[onnx.ModelProto, Sequence[Any]], Sequence[Any]]] = {
    "cuda-c": run_cuda_c,
    "nvidia": run_nvidia,
}


# Cases --------------------------------------------------------------------------------------


@cache
def ordered_cases() -> list[str]:
    """The node cases that pass on the CPU, those of one operator far apart."""
    listed = tomllib.loads((TESTS / "conformance" / "expected_failures.toml").read_text())
    known = {name for group in listed["group"] for name in group["tests"]}
    names = [name for name in cases() if name not in known]
    uses = Counter(operator for name in names for operator in operators_of(name))
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        rarest = min(operators_of(name), key=lambda operator: (uses[operator], operator))
        groups[rarest].append(name)
    turns = [
        (turn, operator, name)
        for operator, members in groups.items()
        for turn, name in enumerate(_spaced(members))
    ]
    return [name for _, _, name in sorted(turns)]


def _spaced(names: list[str]) -> list[str]:
    """The first, then those in the middle of what is left: neighbours are much alike."""
    order: list[str] = []
    spans = [(0, len(names))]
    for begin, end in spans:
        if begin < end:
            middle = (begin + end) // 2
            order.append(names[middle])
            spans += [(begin, middle), (middle + 1, end)]
    return order


def run_case(target: str, name: str) -> Outcome:
    """Run one case on all its data."""
    begin = time.perf_counter()

    def done(status: str, reason: str = "") -> Outcome:
        return Outcome(name, status, reason, round(time.perf_counter() - begin, 2))

    model = model_of(name)
    try:
        for inputs, wanted in data_of(name):
            with np.errstate(all="ignore"):
                compare(RUNS[target](model, inputs), wanted)
    except CompileError as error:
        return done("refused", str(error))
    except InfiniError as error:
        return done("fail", f"{type(error).__name__}: {error}")
    except Exception as error:
        return done("fail", f"{type(error).__name__}: {str(error)[-3000:]}")
    return done("pass")


# The program --------------------------------------------------------------------------------


def results_file(target: str) -> Path:
    """Where the results of a target are kept if no file is named."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base) / "infini" / "onnx-suite" / f"{target}.jsonl"


def read_results(path: Path) -> dict[str, Outcome]:
    """The last outcome of each case."""
    if not path.exists():
        return {}
    read = [Outcome(**json.loads(line)) for line in path.read_text().splitlines()]
    return {outcome.case: outcome for outcome in read}


def run_cases(target: str, names: Sequence[str], path: Path) -> Iterator[Outcome]:
    """Run cases, each outcome put into the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for name in names:
        outcome = run_case(target, name)
        with path.open("a") as file:
            file.write(json.dumps(asdict(outcome)) + "\n")
        yield outcome


def summary(outcomes: Sequence[Outcome]) -> str:
    """Counts, and the reasons with the cases they hit."""
    counts = Counter(outcome.status for outcome in outcomes)
    lines = [", ".join(f"{counts[s]} {s}" for s in ("pass", "fail", "refused"))]
    for status in ("fail", "refused"):
        reasons: dict[str, list[str]] = defaultdict(list)
        for outcome in outcomes:
            if outcome.status == status:
                reasons[_head(outcome.reason)].append(outcome.case)
        for reason, hit in sorted(reasons.items(), key=lambda item: -len(item[1])):
            more = f" and {len(hit) - 4} more" if len(hit) > 4 else ""
            lines.append(f"{status} {len(hit)}: {reason}\n    {', '.join(hit[:4])}{more}")
    return "\n".join(lines)


def _head(reason: str) -> str:
    """What a reason says, without what differs between cases."""
    lines = [line for line in reason.strip().splitlines() if line.strip()]
    kind, last = (lines[0], lines[-1]) if lines else ("", "")
    text = kind if kind == last or len(kind) > 160 else f"{kind} ... {last}"
    return re.sub(r"'[^']*'", "'*'", re.sub(r"\d+", "N", text))[:300]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("target", choices=list(RUNS))
    parser.add_argument("--only", default="", help="cases whose name has this text (a pattern)")
    parser.add_argument("--limit", type=int, default=None, help="how many cases at most")
    parser.add_argument("--again", nargs="*", default=[], help="statuses to run again")
    parser.add_argument("--results", type=Path, default=None, help="the file of results")
    options = parser.parse_args()
    path = options.results or results_file(options.target)
    known = read_results(path)
    wanted = [name for name in ordered_cases() if re.search(options.only, name)]
    wanted = wanted[: options.limit]
    open_cases = [n for n in wanted if n not in known or known[n].status in options.again]
    for number, outcome in enumerate(run_cases(options.target, open_cases, path), 1):
        known[outcome.case] = outcome
        head = _head(outcome.reason)[:150]
        print(f"{number}/{len(open_cases)} {outcome.status} {outcome.case} {head}", flush=True)
    print(summary([known[name] for name in wanted]))


if __name__ == "__main__":
    main()
