"""ONNX Runtime's CPU provider."""

from __future__ import annotations

from infini_ir.tools.engines.engine import Job, Prepared


class OnnxRuntime:
    """ONNX Runtime. It has no bf16 on a CPU: a job that asks for it runs in f32."""

    name = "onnxruntime"
    packages = ("onnxruntime",)
    keeps_code = False

    def load(self) -> None:
        """Import it."""
        import onnxruntime  # noqa: F401

    def prepare(self, job: Job) -> Prepared:
        """A session of its CPU provider, with the threads within operators."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = job.threads, 1
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(job.model, options, ["CPUExecutionProvider"])
        names, arrays = list(job.outputs), dict(job.arrays)
        return Prepared(lambda: session.run(names, arrays), list, "f32")
