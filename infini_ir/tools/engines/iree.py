"""IREE's compiler and local runtime."""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false
# IREE is installed by those who measure against it.

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from infini_ir.tools.engines.engine import Job, Prepared

_FLAGS = (
    "--iree-hal-target-device=local",
    "--iree-hal-local-target-device-backends=llvm-cpu",
    "--iree-llvmcpu-target-cpu=host",
)
_OPSET = 17
"""Importing wants a newer opset than some files have."""


class Iree:
    """IREE for this processor. It is asked for its most optimisation first; where the compiler
    fails with that, as it does for layer normalisations, for its usual one."""

    name = "iree"
    packages = ("iree-base-compiler", "iree-base-runtime")
    keeps_code = False

    def load(self) -> None:
        """Import compiler, importer and runtime."""
        from iree import compiler, runtime  # noqa: F401
        from iree.compiler.tools.import_onnx import __main__  # noqa: F401

    def prepare(self, job: Job) -> Prepared:
        """Import, compile and load into a pool of the job's threads."""
        from iree import runtime

        runtime.flags.parse_flags(f"--task_topology_group_count={job.threads}")
        config = runtime.Config("local-task")
        with tempfile.TemporaryDirectory() as folder:
            code = _compile(job, Path(folder))
        module = runtime.VmModule.copy_buffer(config.vm_instance, code)
        context = runtime.SystemContext(config=config)
        context.add_vm_module(module)
        function = _entry(context.modules[module.name])
        device = config.device
        values = [runtime.asdevicearray(device, array) for array in job.arrays.values()]

        def call() -> Any:
            return function(*values)

        return Prepared(call, _read, "f32")


def _compile(job: Job, folder: Path) -> bytes:
    from iree.compiler import compile_file
    from iree.compiler.tools.binaries import CompilerToolError
    from iree.compiler.tools.import_onnx import __main__ as importer

    path, text = folder / "model.onnx", folder / "model.mlir"
    _with_sizes(job, path)
    arguments = [str(path), "-o", str(text), "--opset-version", str(_OPSET)]
    importer.main(importer.parse_arguments(arguments))
    for level in ("--iree-opt-level=O3", None):
        flags = [*_FLAGS, level] if level else list(_FLAGS)
        try:
            code = compile_file(str(text), input_type="onnx", extra_args=flags)
        except CompilerToolError:
            if level is None:
                raise
            continue
        assert code is not None, "no output file was named"
        return code
    raise AssertionError("the last level raises")


def _with_sizes(job: Job, path: Path) -> None:
    """The model with the sizes of the job's arrays in place of its symbols."""
    import onnx

    model = onnx.load(job.model)
    for value in model.graph.input:
        if value.name in job.arrays:
            sizes = job.arrays[value.name].shape
            for dim, size in zip(value.type.tensor_type.shape.dim, sizes, strict=True):
                dim.dim_value = size
    del model.graph.value_info[:]
    onnx.save(model, str(path))


def _entry(module: Any) -> Any:
    names = [n for n in module.vm_module.function_names if not n.startswith("__")]
    return module[next(n for n in names if not n.endswith("$async"))]


def _read(result: Any) -> Any:
    found = result if isinstance(result, (tuple, list)) else [result]
    return [value.to_host() for value in found]
