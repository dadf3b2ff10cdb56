"""Views that share no element, against all their elements counted."""

import itertools

import numpy as np
import pytest

from infini_ir.dialects.tile import ViewType, program
from infini_ir.passes.tile.footprints import disjoint, footprint_of


def _view(offset, shape, strides):
    root = program.AllocOp(ViewType.of([1000], "f32"))
    first = program.AliasOp(root.out, offset - offset // 2, ViewType.of([500], "f32"))
    second = program.AliasOp(first.out, offset // 2, ViewType.of(shape, "f32", strides))
    return footprint_of(second.out)


def _elements(offset, shape, strides):
    return {
        offset + sum(i * s for i, s in zip(place, strides, strict=True))
        for place in itertools.product(*map(range, shape))
    }


@pytest.mark.parametrize("seed", range(200))
def test_never_disjoint_where_elements_are_shared(seed):
    rng = np.random.default_rng(seed)
    views = []
    for _ in range(2):
        shape = rng.integers(0 if seed % 10 == 0 else 1, 7, 3).tolist()
        strides = rng.choice([0, 1, 2, 3, 6, 7, 12, 36, 40, -1, -6], 3).tolist()
        views.append((int(rng.integers(200, 300)), shape, strides))
    if disjoint(*(_view(*v) for v in views)):
        assert not _elements(*views[0]) & _elements(*views[1])


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((0, [2, 40], [9 * 40, 1]), (44, [8, 8, 4], [40, 4, 1])),
        ((40, [8, 2, 4], [40, 36, 1]), (44, [8, 8, 4], [40, 4, 1])),
        ((0, [3, 2, 40], [400, 360, 1]), (44, [3, 8, 8, 4], [400, 40, 4, 1])),
        ((0, [100, 3], [10, 1]), (3, [100, 7], [10, 1])),
        ((0, [50], [2]), (1, [50], [2])),
        ((5, [0, 3], [1, 1]), (5, [3], [1])),
    ],
)
def test_borders_and_blocks_are_disjoint(a, b):
    assert disjoint(_view(*a), _view(*b))
    assert not _elements(*a) & _elements(*b)


def test_sizes_that_are_not_known():
    root = program.AllocOp(ViewType.of(["N"], "f32"))
    assert footprint_of(root.out) is None
