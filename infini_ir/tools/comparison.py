"""A model in several engines: their times in turns, what preparing costs, how exact they are.

    facts = compare(job, ["onnxruntime", "openvino"], Turns(rounds=20))

An engine that cannot run the model is left out with its reason; the others go on.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from infini_ir.tools.engines import fresh
from infini_ir.tools.engines.cost import spent
from infini_ir.tools.engines.engine import OURS, Job, Prepared, find_engine, reason
from infini_ir.tools.engines.reference import reference_outputs
from infini_ir.tools.turns import Turns, ratios, summary
from infini_ir.utils.errors import InfiniError

Tell = Callable[[str, int, int], None]


def compare(
    job: Job,
    others: Sequence[str],
    turns: Turns,
    *,
    ours: Prepared | None = None,
    fresh_processes: bool = True,
    tell: Tell = lambda stage, done, total: None,
) -> dict[str, Any]:
    """Measure our engine and `others`. `ours` is the job as prepared already.

    What preparing costs is measured in fresh processes, with the memory it takes; else as the
    engines are prepared here, one after the other, where none keeps what it compiled before.

    Gives `times` (median, min and max), `ratios` (theirs by ours, the median over the rounds),
    `errors` by output against `reference`, `precisions`, `cold`, and `failed` with reasons.
    """
    names = [OURS, *others]
    facts: dict[str, Any] = {"failed": {}}
    with _empty_cache(fresh_processes):
        cold = _cold(job, names, tell) if fresh_processes else {}
        runs, costs = _prepare(job, names, ours, facts["failed"], tell)
        facts["cold"] = {**costs, **cold}
        if others:
            tell("reference", 0, 1)
            _check(job, runs, facts)
        samples = turns.measure(
            {name: run.call for name, run in runs.items()},
            lambda done: tell("timing", done, turns.rounds),
        )
    facts["precisions"] = {name: run.precision for name, run in runs.items()}
    facts["rounds"] = len(samples[OURS])
    facts["times"] = summary(samples)
    facts["ratios"] = ratios(samples, OURS)
    return facts


@contextmanager
def _empty_cache(wanted: bool) -> Iterator[None]:
    """A folder for what fresh processes compile: it need not be compiled again for timing."""
    if not wanted:
        yield
        return
    variable = fresh.TORCH_CACHE
    kept = os.environ.get(variable)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.environ[variable] = folder
        try:
            yield
        finally:
            del os.environ[variable]
            if kept is not None:
                os.environ[variable] = kept


def _cold(job: Job, names: Sequence[str], tell: Tell) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for number, name in enumerate(names):
        tell(f"{name} in a fresh process", number, len(names))
        try:
            found[name] = fresh.measure(name, job)
        except InfiniError as error:
            found[name] = {"failed": str(error)}
    return found


def _prepare(
    job: Job, names: Sequence[str], ours: Prepared | None, failed: dict[str, str], tell: Tell
) -> tuple[dict[str, Prepared], dict[str, Any]]:
    """Those that can run the job, and what preparing them costs."""
    runs: dict[str, Prepared] = {}
    costs: dict[str, Any] = {}
    for number, name in enumerate(names):
        tell(f"preparing {name}", number, len(names))
        if name == OURS and ours is not None:
            runs[name] = ours
            continue
        engine = find_engine(name)
        try:
            engine.load()
            with spent() as cost:
                runs[name] = engine.prepare(job)
                runs[name].call()
            if not engine.keeps_code:
                costs[name] = cost
        except Exception as error:  # runtimes' errors have no common base but Exception
            if name == OURS:
                raise
            runs.pop(name, None)
            failed[name] = reason(error)
            costs[name] = {"failed": failed[name]}
    return runs, costs


def _check(job: Job, runs: dict[str, Prepared], facts: dict[str, Any]) -> None:
    """Errors of the outputs; an engine whose outputs have other shapes is taken out."""
    found = reference_outputs(job)
    if found is None:
        return
    facts["reference"], wanted = found
    facts["errors"] = {}
    for name, run in list(runs.items()):
        given = run.read(run.call())
        try:
            facts["errors"][name] = output_errors(job.outputs, given, wanted)
        except InfiniError as error:
            if name == OURS:
                raise
            facts["failed"][name] = str(error)
            del runs[name]


def output_errors(
    names: Sequence[str], given: Sequence[Any], wanted: Sequence[np.ndarray]
) -> dict[str, float]:
    """The largest difference of each output, as a share of its largest element. NaNs and
    infinities are right where both have them."""
    errors: dict[str, float] = {}
    for name, ours, theirs in zip(names, given, wanted, strict=True):
        if np.shape(ours) != np.shape(theirs):
            raise InfiniError(
                f"output '{name}' has shape {list(np.shape(ours))}, but the reference gives "
                f"{list(np.shape(theirs))}"
            )
        a, b = np.asarray(ours).astype(np.float64), np.asarray(theirs).astype(np.float64)
        with np.errstate(all="ignore"):
            same = (a == b) | (np.isnan(a) & np.isnan(b))
            distance = np.where(same, 0, np.abs(a - b)).max(initial=0)
            largest = np.abs(b[np.isfinite(b)]).max(initial=0)
        errors[name] = float(distance / (largest or 1))
    return errors


def worst_error(facts: Mapping[str, Any], name: str) -> float | None:
    """The largest error of an engine over all outputs."""
    errors = facts.get("errors", {}).get(name)
    return None if errors is None else max(errors.values(), default=0.0)
