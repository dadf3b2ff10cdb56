"""OpenVINO's CPU plug-in."""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false
# OpenVINO is installed by those who measure against it.

from __future__ import annotations

from typing import Any

from infini_ir.tools.engines.engine import Job, Prepared


class OpenVino:
    """OpenVINO with the latency hint. Left alone it computes in bf16 where the processor has
    it, so the precision is always said."""

    name = "openvino"
    packages = ("openvino",)
    keeps_code = False

    def load(self) -> None:
        """Import it."""
        import openvino  # noqa: F401

    def prepare(self, job: Job) -> Prepared:
        """A compiled model of the shapes of the job's arrays."""
        import openvino

        core = openvino.Core()
        model = core.read_model(job.model)
        model.reshape({name: list(array.shape) for name, array in job.arrays.items()})
        config: dict[str, Any] = {
            "INFERENCE_NUM_THREADS": job.threads,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": job.precision,
        }
        compiled = core.compile_model(model, "CPU", config)
        request, arrays = compiled.create_infer_request(), dict(job.arrays)
        outputs = list(compiled.outputs)

        def call() -> list[Any]:
            found = request.infer(arrays, share_inputs=True)
            return [found[output] for output in outputs]

        return Prepared(call, list, job.precision)
