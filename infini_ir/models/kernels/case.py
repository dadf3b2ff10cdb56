"""One kernel of the corpus: a small model, inputs, and what must come out."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from infini_ir.utils.dtypes import is_float, numpy_dtype
from infini_ir.utils.errors import ModelError

if TYPE_CHECKING:
    import onnx
    from xdsl.dialects.builtin import ModuleOp

    from infini_ir.dialects.context import CompilerContext

Arrays = dict[str, np.ndarray]
Reference = Callable[..., Any]

ONNX_TYPES = {
    "f32": "float",
    "f16": "float16",
    "bf16": "bfloat16",
    "f64": "double",
    "i64": "int64",
    "i32": "int32",
    "i8": "int8",
    "ui8": "uint8",
    "i1": "bool",
}
TOLERANCE = {"f32": 2e-5, "f16": 2e-3, "bf16": 1.6e-2, "f64": 1e-12}
"""Error allowed, as a share of the largest output: a few roundings of the type."""


@dataclass(frozen=True)
class Input:
    """A random input: its sizes, some of them names, and how its numbers are drawn."""

    shape: tuple[int | str, ...]
    dtype: str
    draw: Callable[[np.random.Generator, tuple[int, ...]], np.ndarray] | None = None
    constant: bool = False
    """Whether the model holds it, as a weight, the same whatever the seed."""

    def make(self, rng: np.random.Generator, sizes: Mapping[str, int]) -> np.ndarray:
        """An array for sizes of the symbols."""
        shape = tuple(sizes[n] if isinstance(n, str) else n for n in self.shape)
        draw = self.draw or default_draw(self.dtype)
        return np.asarray(draw(rng, shape)).astype(numpy_dtype(self.dtype))

    def declaration(self, name: str) -> str:
        """As ONNX's text has it."""
        sizes = ", ".join(map(str, self.shape))
        return f"{ONNX_TYPES[self.dtype]}[{sizes}] {name}"


def default_draw(dtype: str) -> Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]:
    """Normal numbers; small integers; coin tosses."""
    if is_float(dtype):
        return lambda rng, shape: rng.standard_normal(shape)
    if dtype == "i1":
        return lambda rng, shape: rng.integers(0, 2, shape)
    low = 0 if dtype.startswith("ui") else -100
    return lambda rng, shape: rng.integers(low, 100, shape)


@dataclass(frozen=True)
class KernelCase:
    """A model of one kernel. `reference` takes all that is given, inputs and constants,
    floats widened to f64, and gives the outputs; `sizes` gives values to the symbols of the
    inputs."""

    name: str
    kernel: str
    dtype: str
    given: Mapping[str, Input]
    outputs: Mapping[str, str]
    """Element types of the outputs, by name."""
    body: str
    """Statements of ONNX's text form."""
    reference: Reference
    sizes: Mapping[str, int] = field(default_factory=dict)
    tolerance: float = 0.0
    opset: int = 23
    graph: Callable[..., Any] | None = None
    """Builds the graph function instead of ONNX text: `graph(builder, *arguments)`."""

    def source(self) -> onnx.ModelProto:
        """The model. Raises `ModelError` for a case that ONNX cannot say (`graph` is set)."""
        from onnx import numpy_helper, parser

        if self.graph is not None:
            raise ModelError(f"'{self.name}' has no ONNX form; use its module")
        inputs = ", ".join(
            spec.declaration(name) for name, spec in self.given.items() if not spec.constant
        )
        outputs = ", ".join(f"{ONNX_TYPES[t]} {name}" for name, t in self.outputs.items())
        head = f'<ir_version: 10, opset_import: ["" : {self.opset}]>'
        model = parser.parse_model(
            f"{head}\n{self.kernel.replace('-', '_')} ({inputs}) => ({outputs}) {{ {self.body} }}"
        )
        weights = [numpy_helper.from_array(x, name) for name, x in self.constants().items()]
        model.graph.initializer.extend(weights)
        return model

    def module(self, ctx: CompilerContext) -> ModuleOp:
        """The case as a module of the graph dialect."""
        if self.graph is None:
            from infini_ir.frontends.onnx.importer import import_model

            return import_model(self.source(), ctx)
        from infini_ir.dialects.graph import TensorType
        from infini_ir.models.kernels.graphs import graph_module

        types = [TensorType.of(spec.shape, spec.dtype) for spec in self.given.values()]
        return graph_module(types, self.graph, list(self.given), list(self.outputs))

    def inputs(self, seed: int = 0) -> Arrays:
        """Random inputs; the same for the same seed."""
        return self._made(seed, constant=False)

    def constants(self) -> Arrays:
        """What the model holds."""
        return self._made(0, constant=True)

    def _made(self, seed: int, constant: bool) -> Arrays:
        rng = np.random.default_rng([seed, zlib.crc32(self.name.encode())])
        wanted = {n: spec for n, spec in self.given.items() if spec.constant is constant}
        return {name: spec.make(rng, self.sizes) for name, spec in wanted.items()}

    def wanted(self, inputs: Arrays) -> list[np.ndarray]:
        """The outputs in f64, or exactly where they are integers."""
        arrays = {**self.constants(), **inputs}
        wide = [
            arrays[name].astype(np.float64) if is_float(spec.dtype) else arrays[name]
            for name, spec in self.given.items()
        ]
        with np.errstate(all="ignore"):
            result = self.reference(*wide)
        return [np.asarray(r) for r in (result if isinstance(result, tuple) else (result,))]

    def error(self, outputs: list[np.ndarray], inputs: Arrays) -> float:
        """The greatest difference as a share of the tolerance: more than 1 is wrong.
        Infinity where shapes, integers, or the places of NaN and infinities differ."""
        wanted = self.wanted(inputs)
        if len(wanted) != len(outputs):
            return float("inf")
        return max(
            self._error_of(np.asarray(given), want, dtype)
            for given, want, dtype in zip(outputs, wanted, self.outputs.values(), strict=True)
        )

    def _error_of(self, given: np.ndarray, want: np.ndarray, dtype: str) -> float:
        if given.shape != want.shape:
            return float("inf")
        if not is_float(dtype):
            return 0.0 if np.array_equal(given, want.astype(given.dtype)) else float("inf")
        given = given.astype(np.float64)
        finite = np.isfinite(want)
        if not np.array_equal(given[~finite], want[~finite], equal_nan=True):
            return float("inf")
        if not finite.any():
            return 0.0
        scale = max(float(np.abs(want[finite]).max()), 1e-30)
        share = float(np.abs(given[finite] - want[finite]).max()) / scale
        return share / (self.tolerance or TOLERANCE[dtype]) if share == share else float("inf")
