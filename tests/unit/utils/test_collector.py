"""The collector's patience while compiling."""

import gc

import pytest

from infini_ir.utils.collector import YOUNG, rarely_collecting


@pytest.fixture(autouse=True)
def as_before():
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


def test_patience_lasts_as_long_as_somebody_compiles():
    gc.set_threshold(700, 10, 10)
    with rarely_collecting():
        with rarely_collecting():
            assert gc.get_threshold() == (YOUNG, 10, 10)
        assert gc.get_threshold() == (YOUNG, 10, 10)
    assert gc.get_threshold() == (700, 10, 10)


@pytest.mark.parametrize("young", [0, 10 * YOUNG])
def test_a_patient_collector_stays(young: int):
    gc.set_threshold(young, 10, 10)
    with rarely_collecting():
        assert gc.get_threshold()[0] == young
    assert gc.get_threshold()[0] == young


def test_an_error_ends_it():
    before = gc.get_threshold()
    with pytest.raises(KeyError), rarely_collecting():
        raise KeyError
    assert gc.get_threshold() == before
