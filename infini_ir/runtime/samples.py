"""Sizes of symbols and random inputs that fit a signature, for trying a program out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from infini_ir.runtime.signature import TensorSpec
from infini_ir.utils.dtypes import is_float, numpy_dtype
from infini_ir.utils.errors import OptionError

DEFAULT_SIZE = 16
"""Of a symbol that nobody gave a size; 1 for what looks like a batch."""


def choose_sizes(
    specs: Sequence[TensorSpec], given: Mapping[str, int], arrays: Mapping[str, np.ndarray]
) -> dict[str, int]:
    """A size for every symbol of the inputs: given, else that of an array, else a usual one."""
    names = dict.fromkeys(name for spec in specs for name in sorted(spec.symbols()))
    for name in given:
        if name not in names:
            known = ", ".join(names) or "none"
            raise OptionError(f"the model has no symbolic size '{name}' (it has: {known})")
    found: dict[str, int] = {}
    for spec in specs:
        array = arrays.get(spec.name)
        if array is not None and array.ndim == len(spec.shape):
            for dim, size in zip(spec.shape, array.shape, strict=True):
                if dim.name is not None:
                    found.setdefault(dim.name, size)
    return {name: given.get(name, found.get(name, usual_size(name))) for name in names}


def usual_size(symbol: str) -> int:
    """1 for a batch, else `DEFAULT_SIZE`."""
    name = symbol.lower()
    return 1 if name in ("b", "n") or "batch" in name else DEFAULT_SIZE


def random_inputs(
    specs: Sequence[TensorSpec], sizes: Mapping[str, int], seed: int
) -> dict[str, np.ndarray]:
    """Arrays that fit the signature: normal floats, bytes of any value, wider integers from 0
    to 3 (they may be positions), from 0 to 1 for masks and types."""
    rng = np.random.default_rng(seed)
    arrays: dict[str, np.ndarray] = {}
    for spec in specs:
        try:
            shape = [dim.evaluate(sizes) for dim in spec.shape]
        except (ArithmeticError, KeyError) as error:
            raise OptionError(
                f"input '{spec.name}' of {spec.type_text()} has no size for these symbols "
                f"({error}); give others with --shape"
            ) from error
        if any(size < 0 for size in shape):
            raise OptionError(
                f"input '{spec.name}' would have shape {shape}; give larger sizes with --shape"
            )
        arrays[spec.name] = _random(spec, shape, rng)
    return arrays


def _random(spec: TensorSpec, shape: list[int], rng: np.random.Generator) -> np.ndarray:
    storage, dtype = numpy_dtype(spec.dtype), spec.dtype
    if is_float(dtype):
        values = rng.standard_normal(shape, dtype=np.float32)
        return np.asarray(np.abs(values) if dtype == "f8E8M0FNU" else values).astype(storage)
    low, high = 0, 4
    if dtype in ("i8", "ui8"):
        low, high = (-128, 128) if dtype == "i8" else (0, 256)
    elif dtype in ("i1", "i2", "ui2") or any(w in spec.name.lower() for w in ("mask", "type")):
        high = 2
    return np.asarray(rng.integers(low, high, shape)).astype(storage)
