"""What outputs are compared with: the model in float64 where PyTorch can run it.

    description, outputs = reference_outputs(job, runs)

Float64 runs in a process of its own, so that a comparison without PyTorch stays without it.
Where it cannot be had, the outputs of an f32 run stand in, and the description says so.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from infini_ir.tools.engines.engine import OURS, Job, find_engine, version

LIMIT = 300.0
"""Seconds that float64 may take."""
_STANDS_IN = ("onnxruntime", OURS)


def reference_outputs(job: Job) -> tuple[str, list[np.ndarray]] | None:
    """What it is, and the outputs in the model's order; None where nothing can run it."""
    if find_spec("torch") is not None and (outputs := _in_float64(job)) is not None:
        return "float64, by PyTorch", outputs
    for name in _STANDS_IN:
        engine = find_engine(name)
        if version(engine) is None:
            continue
        try:
            ready = engine.prepare(replace(job, precision="f32"))
            return f"f32, by {name}", [np.asarray(a) for a in ready.read(ready.call())]
        except Exception:  # an engine that cannot run it is no reference
            continue
    return None


def _in_float64(job: Job) -> list[np.ndarray] | None:
    with tempfile.TemporaryDirectory() as folder:
        given, made = Path(folder) / "given.npz", Path(folder) / "made.npz"
        np.savez(given, **job.arrays)  # pyright: ignore[reportArgumentType]
        plain = asdict(replace(job, arrays={})) | {"arrays": str(given), "made": str(made)}
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        try:
            subprocess.run(
                [sys.executable, "-m", "infini_ir.tools.engines.reference"],
                input=json.dumps(plain),
                env=environment,
                capture_output=True,
                text=True,
                timeout=LIMIT,
                check=True,
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            return None
        with np.load(made) as file:
            return [file[str(number)] for number in range(len(file.files))]


def main() -> None:
    """Run the job of the standard input."""
    import torch

    from infini_ir.tools.engines.torch import cast, module_and_inputs

    facts = json.load(sys.stdin)
    made = facts.pop("made")
    with np.load(facts["arrays"]) as file:
        arrays = {name: file[name] for name in file.files}
    job = Job(**{**facts, "arrays": arrays, "outputs": tuple(facts["outputs"])})
    torch.set_num_threads(job.threads)
    module, inputs = module_and_inputs(job)
    with torch.no_grad():
        result = module.double()(*(cast(value, torch.float64) for value in inputs))
    found: Sequence[torch.Tensor] = result if isinstance(result, (tuple, list)) else [result]
    np.savez(made, **{str(number): value.numpy() for number, value in enumerate(found)})


if __name__ == "__main__":
    main()
