"""Engines that need nothing installed, to test what compares engines."""

from __future__ import annotations

import time

import numpy as np

from infini_ir.tools.engines.engine import Job, Prepared

SECONDS = 0.002
FACTOR = 1.5
"""What the slow engine multiplies right outputs with."""


class Slow:
    """Takes `SECONDS` a call, and is wrong by half."""

    name = "slow"
    packages = ("numpy",)
    keeps_code = False

    def load(self) -> None:
        """Nothing to import."""

    def prepare(self, job: Job) -> Prepared:
        """Half more than ONNX's own reference gives."""
        from onnx.reference import ReferenceEvaluator

        outputs = ReferenceEvaluator(job.model).run(list(job.outputs), dict(job.arrays))
        outputs = [FACTOR * np.asarray(array) for array in outputs]

        def call() -> list[np.ndarray]:
            time.sleep(SECONDS)
            return outputs

        return Prepared(call, list, "f32")


class Keeping(Slow):
    """Keeps what it compiles."""

    name = "keeping"
    keeps_code = True


class Failing(Slow):
    """Cannot run anything."""

    name = "failing"

    def prepare(self, job: Job) -> Prepared:
        """Refuse."""
        raise RuntimeError("no kernel\n for this operator")


class Misshapen(Slow):
    """Gives outputs of a wrong shape."""

    name = "misshapen"

    def prepare(self, job: Job) -> Prepared:
        """An element for each output."""
        return Prepared(lambda: [np.zeros(1)] * len(job.outputs), list, "f32")


class Absent(Slow):
    """Is not installed."""

    name = "absent"
    packages = ("a-package-that-nobody-has", "another")
