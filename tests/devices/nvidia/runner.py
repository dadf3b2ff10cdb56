"""Kernel cases on Triton's interpreter, in a process of its own."""

from __future__ import annotations

import atexit
import os
import pickle
import subprocess
import sys
from typing import Any

import numpy as np

from infini_ir.models.kernels import KernelCase

Arrays = dict[str, np.ndarray]


class _Worker:
    """The process that has Triton's interpreter; it runs one case after the other."""

    def __init__(self) -> None:
        environment = {**os.environ, "TRITON_INTERPRET": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.devices.nvidia.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        atexit.register(self.process.terminate)

    def ask(self, function: str, *arguments: Any) -> Any:
        """The result of a function of `worker`. Raises what it raised there, as text."""
        assert self.process.stdin is not None and self.process.stdout is not None
        pickle.dump((function, arguments), self.process.stdin)
        self.process.stdin.flush()
        done, result = pickle.load(self.process.stdout)
        if not done:
            raise RuntimeError(result)
        return result


_worker: _Worker | None = None


def ask(function: str, *arguments: Any) -> Any:
    """The result of a function of `worker`, in the process with the interpreter."""
    global _worker
    if _worker is None or _worker.process.poll() is not None:
        _worker = _Worker()
    return _worker.ask(function, *arguments)


def run_case(source: KernelCase | str, inputs: Arrays) -> Arrays:
    """The outputs of a case, or of an ONNX file, on the interpreter."""
    if isinstance(source, str):
        return ask("run_model", source, inputs)
    return ask("run_case", source.name, inputs)
