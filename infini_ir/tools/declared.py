"""Weights that a module's text names: their types are known, their numbers are not.

Passes fold and pack them by name, as they do with all weights; only running wants numbers.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from xdsl.dialects.builtin import ModuleOp

from infini_ir.utils.errors import ModelError
from infini_ir.utils.weights import WeightStore


def declare_weights(store: WeightStore, module: ModuleOp, *, random: bool = False) -> None:
    """Make the weights of a module known to `store`; `random` gives them numbers."""
    for op in module.walk():
        if op.name in ("graph.weight", "tile.weight"):
            _declare(store, op, random)


def _declare(store: WeightStore, op: object, random: bool) -> None:
    from infini_ir.dialects import graph, tile
    from infini_ir.dialects.tile import program

    if isinstance(op, graph.WeightOp):
        kind = graph.tensor_type(op.out)
        # The verifier, which comes later, says what is wrong with a size that is not known.
        dtype, shape = kind.dtype, tuple(dim.value or 0 for dim in kind.shape)
    elif isinstance(op, program.WeightOp):
        view = tile.view_type(op.out)
        dtype, shape = view.dtype, stored_shape(view)
    else:
        return
    handle = op.handle.data
    if handle not in store:
        compute = partial(_random if random else _missing, handle, dtype, shape, len(store))
        store.derive([], handle, dtype, shape, compute)


def stored_shape(view: object) -> tuple[int, ...]:
    """The sizes of a weight in memory, with what fills up the last panel."""
    from infini_ir.dialects.tile import ViewType
    from infini_ir.dialects.tile.types import packed_shape

    assert isinstance(view, ViewType)
    sizes = tuple(dim.value or 0 for dim in view.shape)
    width = view.panel_width
    return packed_shape(sizes, view.panel_batch, width, view.panel_group) if width else sizes


def _missing(name: str, dtype: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    raise ModelError(
        f"weight '{name}' has a name and a type, but no numbers: it comes from a text; "
        "start from the model"
    )


def _random(name: str, dtype: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    from infini_ir.dialects.graph import TensorType
    from infini_ir.passes.check_semantics import random_inputs

    return random_inputs([TensorType.of(shape, dtype)], {}, seed)[0]
