"""Backend cases compiled once with symbolic sizes, and run on several sizes.

Every size above 1 becomes a symbol: one for each axis, or one for all axes of equal size. The
compiled program must agree with the reference interpreter on the case's own inputs and on
inputs of other sizes, and refuse the sizes that the model does not allow.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import pytest
from xdsl.dialects.builtin import ModuleOp

import infini_ir
from infini_ir.dialects.context import CompilerContext, compiler_context
from infini_ir.frontends.onnx.errors import SpecializationNeeded
from infini_ir.frontends.onnx.importer import import_model
from infini_ir.interpreters.graph import interpret
from infini_ir.runtime.model import CompiledModel
from infini_ir.runtime.signature import TensorSpec
from infini_ir.utils.errors import InputError
from tests.numeric.onnx_cases import cases, compare, data_of, model_of

LEFT_OUT = re.compile(
    r"string|strnorm|regex|label_encoder|image_decoder|bernoulli|training_dropout"
    # Sequences, and sizes that only together are valid.
    r"|sequence|optional|identity_opt|loop1|if_|seq|gated_delta_beta|per_head_decay"
)
STEP = 7
"""One case of so many is taken."""

ALWAYS = (
    "test_reshape_one_dim",
    "test_gridsample_bilinear",
    "test_causal_conv_with_state_kernel_size_one_expanded",
    "test_linear_attention_decode_step",
    "test_tril_zero",
    "test_scatternd_max_with_element_indices",
)
"""Cases that once went wrong."""


@dataclass
class Symbolic:
    """A case imported with symbolic sizes, for the interpreter and compiled."""

    module: ModuleOp
    ctx: CompilerContext
    compiled: CompiledModel
    arrays: list[np.ndarray]
    """The case's own inputs."""

    def check(self, arrays: Sequence[np.ndarray]) -> bool:
        """Compare the two; whether these sizes are ones that the model allows."""
        try:
            wanted = interpret(self.module, arrays, self.ctx)
        except InputError:
            with pytest.raises(InputError):
                self.compiled(*arrays)
            return False
        outputs = self.compiled(*arrays)
        compare(list(outputs) if isinstance(outputs, tuple) else [outputs], wanted)
        return True


def names() -> Iterator[str]:
    usable = [name for name in cases("node") if not LEFT_OUT.search(name)]
    yield from dict.fromkeys((*usable[::STEP], *ALWAYS))


def import_symbolic(
    model: onnx.ModelProto, call: Mapping[str, Any], shared: bool
) -> tuple[ModuleOp, CompilerContext, dict[str, Any]]:
    """Import with symbols for sizes above 1, but for what must be known."""
    given: dict[str, Any] = {
        name: [_symbol(i, axis, size, shared) for axis, size in enumerate(np.shape(array))]
        for i, (name, array) in enumerate(call.items())
    }
    while True:
        ctx = compiler_context()
        try:
            return import_model(model, ctx, inputs=given), ctx, given
        except SpecializationNeeded as needed:
            given |= {name: np.asarray(call[name]) for name in needed.names}
            given |= {name: np.shape(call[name]) for name in needed.shapes}


def _symbol(index: int, axis: int, size: int, shared: bool) -> int | str:
    if size <= 1:
        return size
    return f"n{size}" if shared else f"s{index}_{axis}"


def symbolic(name: str, shared: bool) -> Symbolic:
    model = model_of(name)
    inputs, _ = next(data_of(name))
    call = dict(zip([info.name for info in model.graph.input], inputs, strict=True))
    module, ctx, given = import_symbolic(model, call, shared)
    compiled = infini_ir.compile(model, inputs=given)
    assert isinstance(compiled, CompiledModel)
    arrays = [np.asarray(call[spec.name]) for spec in compiled.inputs]
    return Symbolic(module, ctx, compiled, arrays)


def own_sizes(specs: Sequence[TensorSpec], arrays: Sequence[np.ndarray]) -> dict[str, int]:
    """The value of each symbol for the given arrays."""
    sizes: dict[str, int] = {}
    for spec, array in zip(specs, arrays, strict=True):
        for dim, size in zip(spec.shape, array.shape, strict=True):
            if dim.name is not None:
                sizes.setdefault(dim.name, size)
    return sizes


def other_sizes(own: Mapping[str, int]) -> Iterator[dict[str, int]]:
    """All twice as large, all one larger, and one symbol at a time."""
    yield {name: 2 * size for name, size in own.items()}
    yield {name: size + 1 for name, size in own.items()}
    for name, size in list(own.items())[:4]:
        yield {**own, name: size + 1}


def resized(
    specs: Sequence[TensorSpec], arrays: Sequence[np.ndarray], sizes: Mapping[str, int]
) -> list[np.ndarray]:
    """The arrays' numbers, repeated, in other shapes."""
    shapes = [[dim.evaluate(sizes) for dim in spec.shape] for spec in specs]
    return [np.resize(array, shape) for array, shape in zip(arrays, shapes, strict=True)]


@pytest.mark.parametrize("shared", [False, True], ids=["distinct", "shared"])
@pytest.mark.parametrize("name", list(names()))
def test_case(name: str, shared: bool) -> None:
    case = symbolic(name, shared)
    assert case.check(case.arrays)
    specs, done = case.compiled.inputs, 0
    for sizes in other_sizes(own_sizes(specs, case.arrays)):
        done += case.check(resized(specs, case.arrays, sizes))
        if done == 2:
            break
