"""`torch.compile`, with the weights frozen as other engines have them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from infini_ir.tools.engines.engine import Job, Prepared

if TYPE_CHECKING:
    import torch
    from torch import nn


class TorchCompile:
    """PyTorch's inductor with freezing, which packs weights and folds normalisations.

    A network of the zoo is the module that its file was exported from; another file's nodes
    are called one by one under the compiler, where each has a form in PyTorch. In bf16 the
    module and the inputs are cast before, and the outputs stay bf16.
    """

    name = "torch"
    packages = ("torch",)
    keeps_code = True

    def load(self) -> None:
        """Import PyTorch; inductor's own modules are imported as it compiles."""
        import torch
        import torch._inductor  # noqa: F401

    def prepare(self, job: Job) -> Prepared:
        """Compile for the shapes of the job's arrays, by a first call."""
        import torch
        import torch._dynamo
        from torch._inductor import config

        torch.set_num_threads(job.threads)
        torch._dynamo.reset()  # it compiles one function only so many times
        wanted = {"f32": torch.float32, "bf16": torch.bfloat16}[job.precision]
        module, inputs = module_and_inputs(job)
        module = module.to(wanted)
        values = [cast(value, wanted) for value in inputs]
        if job.network is None:
            # One graph: under dynamo alone a file of many nodes falls apart into pieces.
            module = torch.export.export(module, tuple(values), strict=False).module()
        with config.patch(freezing=True), torch.no_grad():
            compiled = torch.compile(module, dynamic=False)
            compiled(*values)

        def call() -> Any:
            with torch.no_grad():
                return compiled(*values)

        return Prepared(call, read_tensors, job.precision)


def module_and_inputs(job: Job) -> tuple[nn.Module, list[torch.Tensor]]:
    """The model in PyTorch, and the job's arrays in the order that it takes them."""
    import torch

    tensors = {name: torch.from_numpy(array) for name, array in job.arrays.items()}
    if job.network is not None:
        from infini_ir.models import torch_zoo

        network = torch_zoo.find(job.network)
        torch.manual_seed(network.seed)
        return network.build(False).eval(), [tensors[name] for name in network.inputs]
    from infini_ir.tools.engines.onnx_in_torch import OnnxModule

    module = OnnxModule(job.model, list(tensors)).eval()
    return module, list(tensors.values())


def cast(value: torch.Tensor, wanted: torch.dtype) -> torch.Tensor:
    """Floats to the type wanted; numbers of tokens stay."""
    return value.to(wanted) if value.is_floating_point() else value


def read_tensors(result: Any) -> Sequence[np.ndarray]:
    """Tensors as arrays; bf16 becomes f32, which holds every value of it."""
    import torch

    found = result if isinstance(result, (tuple, list)) else [result]
    return [
        (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
        for tensor in found
    ]
