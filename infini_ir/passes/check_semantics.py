"""Check that passes keep the meaning of a module, by running it before and after each.

PassPipeline(passes, SemanticsChecker(ctx)).apply(ctx, module)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from xdsl.context import Context
from xdsl.dialects import func
from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr, ModuleOp, StringAttr
from xdsl.passes import ModulePass

from infini_ir.dialects.context import weights_of
from infini_ir.dialects.dims import FactsAttr
from infini_ir.dialects.graph import TensorType, tensor_type
from infini_ir.interpreters.graph import find_function, holds, interpret
from infini_ir.utils import dtypes
from infini_ir.utils.errors import CompileError, InputError, ModelError
from infini_ir.utils.symbolic import Dim

Array = np.ndarray
Facts = tuple[tuple[Dim, str, Dim], ...]

TOLERANCE = {"f64": 1e-10, "f32": 1e-5, "f16": 1e-2, "bf16": 1e-2}
"""What outputs may differ by, as a share of the largest element. Integers must be equal."""
_STORAGE_TOLERANCE = 0.15
"""f8 and f4 have two or three significant bits: the next representable value is allowed."""

_SIZES = ((3, 5, 7), (17, 19, 23), (67, 71, 73), (224, 225, 227))
"""Sizes to try for symbols, smallest first: different and odd, so that mixing them up shows."""


class SemanticsError(CompileError):
    """A pass changed what a module computes."""


@dataclass
class _Run:
    """Inputs of a module, and what it gave for them."""

    types: tuple[TensorType, ...]
    inputs: list[Array]
    outputs: list[Array]
    symbols: dict[str, int]


class SemanticsChecker:
    """
    A callback of `PassPipeline` that raises `SemanticsError` for the first pass after which
    the module gives other results on random inputs.

    Results are compared with those before the first pass. After a pass that rounds on purpose
    (it says how much in an attribute `ROUNDING`, a share of the largest element) they may
    differ by so much. A pass that changes the function's
    argument types (by fixing a size, say) starts a new comparison, with inputs of the new
    types and the module as it was before that pass. Checking ends when the module is lowered
    out of the graph dialect.

    `inputs` are arrays to use instead, for a model whose inputs must have certain values.
    """

    def __init__(
        self,
        ctx: Context,
        *,
        function: str = "main",
        seed: int = 0,
        inputs: Sequence[Array] | None = None,
    ) -> None:
        self.ctx = ctx
        self.inputs = list(inputs) if inputs is not None else None
        self.function = function
        self.seed = seed
        self.passes_checked: list[str] = []
        """Names of the passes that were found to keep the results."""
        self._run: _Run | None = None
        self._before: ModuleOp | None = None
        self._rounding = 0.0

    def __call__(
        self, previous: ModulePass | None, module: ModuleOp, following: ModulePass | None
    ) -> None:
        if not self._is_graph(module):
            self._run = None
            return
        if previous is None or self._run is None:
            self._run = self._first_run(module, module)
        else:
            self._rounding = max(self._rounding, getattr(previous, "ROUNDING", 0.0))
            self._compare(previous.name, module)
            self.passes_checked.append(previous.name)
        self._before = module.clone() if following is not None else None

    def _is_graph(self, module: ModuleOp) -> bool:
        try:
            function = find_function(module, self.function)
        except ModelError:
            return False
        values = function.body.block.args
        names = {op.name.partition(".")[0] for op in function.body.walk()}
        return names <= {"graph", "func"} and all(
            isinstance(v.type, TensorType) for v in values
        )

    def _first_run(self, module: ModuleOp, typed_by: ModuleOp) -> _Run:
        """Run `module` on inputs of the argument types of `typed_by`."""
        function = find_function(typed_by, self.function)
        types = tuple(tensor_type(argument) for argument in function.body.block.args)
        if self.inputs is not None:
            outputs = self._interpret(module, self.inputs)
            return _Run(types, self.inputs, outputs, {})
        last: InputError | None = None
        for sizes in _SIZES:
            for symbols in choose_symbols(types, facts_of(function), sizes):
                inputs = random_inputs(types, symbols, self.seed)
                try:
                    outputs = self._interpret(module, inputs)
                except InputError as error:
                    last = error
                    break
                return _Run(types, inputs, outputs, symbols)
        reason = str(last) if last is not None else "no small sizes satisfy its facts"
        raise CompileError(
            f"cannot check '{self.function}' on random inputs: {reason}; give "
            "the checker inputs that this model accepts"
        )

    def _interpret(self, module: ModuleOp, inputs: list[Array]) -> list[Array]:
        return interpret(module, inputs, weights_of(self.ctx), function=self.function)

    def _compare(self, name: str, module: ModuleOp) -> None:
        run = self._run
        assert run is not None and self._before is not None
        arguments = find_function(module, self.function).body.block.args
        if tuple(argument.type for argument in arguments) != run.types:
            run = self._run = self._first_run(self._before, module)
        try:
            outputs = self._interpret(module, run.inputs)
        except (InputError, ModelError) as error:
            raise SemanticsError(
                f"after pass '{name}' the module no longer runs ({_sizes_text(run)}): {error}"
            ) from error
        if len(outputs) != len(run.outputs):
            raise SemanticsError(
                f"pass '{name}' changed the number of outputs from {len(run.outputs)} "
                f"to {len(outputs)}"
            )
        names = output_names(find_function(module, self.function))
        for output, wanted, given in zip(names, run.outputs, outputs, strict=True):
            problem = difference(wanted, given, self._rounding)
            if problem is not None:
                raise SemanticsError(
                    f"pass '{name}' changed the result: {output} {problem} ({_sizes_text(run)}); "
                    "apply it alone to the module as it is before that pass to see why"
                )


def _sizes_text(run: _Run) -> str:
    sizes = ", ".join(f"{name} = {size}" for name, size in run.symbols.items())
    return f"for {sizes}" if sizes else f"for shapes {[list(x.shape) for x in run.inputs]}"


def difference(wanted: Array, given: Array, rounding: float = 0.0) -> str | None:
    """How two outputs differ by more than their type or, with floats, `rounding` (a share of
    the largest element) allows, or None."""
    if wanted.shape != given.shape or wanted.dtype != given.dtype:
        return (
            f"is {given.dtype}{list(given.shape)} instead of {wanted.dtype}{list(wanted.shape)}"
        )
    name = dtypes.dtype_name(wanted.dtype)
    if not dtypes.is_float(name):
        unequal = np.argwhere(wanted != given)
        if not len(unequal):
            return None
        at = tuple(unequal[0])
        return f"has {given[at]} instead of {wanted[at]} at {[int(i) for i in at]}"
    a, b = wanted.astype(np.float64), given.astype(np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    largest = float(np.abs(a[np.isfinite(a)]).max(initial=0))
    allowed = largest * max(rounding, TOLERANCE.get(name, _STORAGE_TOLERANCE))
    with np.errstate(invalid="ignore"):
        distance = np.where(same, 0, np.abs(a - b))
    distance = np.where(np.isnan(distance), np.inf, distance)
    if distance.max(initial=0) <= allowed:
        return None
    at = np.unravel_index(int(distance.argmax()), distance.shape)
    return (
        f"has {b[at]:.9g} instead of {a[at]:.9g} at {[int(i) for i in at]}, "
        f"off by {distance[at]:.3g} where {allowed:.3g} is allowed"
    )


def facts_of(function: func.FuncOp) -> Facts:
    """The facts about symbols that a function states."""
    facts = function.attributes.get("graph.where")
    return facts.data if isinstance(facts, FactsAttr) else ()


def output_names(function: func.FuncOp) -> list[str]:
    """The results' `graph.name`s in quotes, or `result i`."""
    names = [f"result {i}" for i in range(len(function.function_type.outputs))]
    if isinstance(function.res_attrs, ArrayAttr):
        for i, attributes in enumerate(function.res_attrs):
            name = attributes.data.get("graph.name")
            if isinstance(attributes, DictionaryAttr) and isinstance(name, StringAttr):
                names[i] = f"output '{name.data}'"
    return names


def choose_symbols(
    types: Sequence[TensorType], facts: Facts, preferred: Sequence[int] = _SIZES[0]
) -> Iterator[dict[str, int]]:
    """Sizes for all symbols of argument types which satisfy the facts, the preferred first."""
    names = list(dict.fromkeys(n for t in types for d in t.shape for n in sorted(d.symbols())))
    mentioned = {abs(c) for left, _, right in facts for d in (left, right) for _, c in d.terms}
    others = [*sorted(mentioned), *range(1, 17), 32, 64, 128, 0]
    checks = [*facts, *((d, "ge", Dim.of(0)) for t in types for d in t.shape)]

    def extend(known: dict[str, int], index: int) -> Iterator[dict[str, int]]:
        if index == len(names):
            yield dict(known)
            return
        turn = index % len(preferred)
        order = dict.fromkeys([*preferred[turn:], *preferred[:turn], *others])
        for size in order:
            known[names[index]] = size
            decided = (f for f in checks if _mentions(f, names[index]) and _decided(f, known))
            if all(holds(fact, known) for fact in decided):
                yield from extend(known, index + 1)
        del known[names[index]]

    yield from extend({}, 0)


def _mentions(fact: tuple[Dim, str, Dim], name: str) -> bool:
    return name in fact[0].symbols() or name in fact[2].symbols()


def _decided(fact: tuple[Dim, str, Dim], known: dict[str, int]) -> bool:
    return (fact[0].symbols() | fact[2].symbols()) <= known.keys()


def random_inputs(
    types: Sequence[TensorType], symbols: dict[str, int], seed: int = 0
) -> list[Array]:
    """Arrays of the given types: floats normal, bytes of any value, wider integers from 0
    to 3 (they may be indices or sizes), bools."""
    rng = np.random.default_rng(seed)
    return [_random(t.dtype, [d.evaluate(symbols) for d in t.shape], rng) for t in types]


def _random(dtype: str, shape: list[int], rng: np.random.Generator) -> Array:
    storage = dtypes.numpy_dtype(dtype)
    if dtypes.is_float(dtype):
        values = rng.standard_normal(shape)
        return np.asarray(np.abs(values) if dtype == "f8E8M0FNU" else values).astype(storage)
    if dtype == "i1":
        return np.asarray(rng.integers(0, 2, shape)).astype(bool)
    if dtype in ("i8", "ui8"):
        low = 0 if dtype == "ui8" else -128
        return np.asarray(rng.integers(low, low + 256, shape)).astype(storage)
    high = 2 if dtype in ("i2", "ui2") else 4
    return np.asarray(rng.integers(0, high, shape)).astype(storage)
