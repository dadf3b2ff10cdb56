"""The weight store: nothing is copied, hashed or computed before it must be."""

from pathlib import Path

import numpy as np
import pytest

from infini_ir.utils.errors import ModelError
from infini_ir.utils.weights import WeightStore


def test_added_arrays_are_not_copied():
    store, array = WeightStore(), np.arange(6, dtype=np.float32).reshape(2, 3)
    assert store.add("w", array) == "w" and store.add("w", array) == "w_1"
    assert store.array("w") is array and "w" in store and len(store) == 2
    assert (store.dtype("w"), store.shape("w"), store.nbytes("w")) == ("f32", (2, 3), 24)


def test_file_regions(tmp_path: Path):
    path = tmp_path / "w.bin"
    path.write_bytes(b"\0" * 3 + np.arange(4, dtype=np.float32).tobytes())
    store = WeightStore()
    name = store.add_file("w", path, 3, "f32", (2, 2))
    assert store.array(name).tolist() == [[0, 1], [2, 3]]
    assert not store.array(name).flags.writeable
    store.release(name)
    assert store.array(name).tolist() == [[0, 1], [2, 3]]
    assert store.array(store.add_file("none", path, 0, "f32", (0, 7))).shape == (0, 7)
    with pytest.raises(ModelError, match=r"takes bytes 4 to 20 of .*w.bin, which has only 19"):
        store.add_file("w", path, 4, "f32", (4,))
    with pytest.raises(ModelError, match="No such file"):
        store.add_file("w", tmp_path / "none", 0, "f32", (4,))


def test_derived_weights_are_lazy_shared_and_released():
    store, calls = WeightStore(), []

    def double(array: np.ndarray) -> np.ndarray:
        calls.append(1)
        return array * 2

    w = store.add("w", np.ones(3, np.float32))
    name = store.derive([w], "double", "f32", (3,), double)
    assert store.derive([w], "double", "f32", [3], double) == name == "w.double"
    assert store.derive([w], "other", "f32", (3,), double) != name
    assert store.digest(name).startswith("sha256:") and not calls
    assert store.array(name).tolist() == [2, 2, 2] and store.array(name) is store.array(name)
    assert len(calls) == 1
    store.release(name)
    assert store.array(name).tolist() == [2, 2, 2] and len(calls) == 2


def test_digests_depend_on_content_alone():
    store, array = WeightStore(), np.arange(6, dtype=np.float32).reshape(2, 3)
    a = store.add("a", array)
    b = store.add("b", np.asfortranarray(array).astype(">f4"))
    c = store.add("c", array.reshape(3, 2))
    assert store.digest(a) == store.digest(b) != store.digest(c)
    x, y = (store.derive([n], "k", "f32", (1,), np.sum) for n in (a, b))
    assert x != y and store.digest(x) == store.digest(y)


def test_what_cannot_be_stored():
    store = WeightStore()
    with pytest.raises(ModelError, match="complex64"):
        store.add("c", np.zeros(1, np.complex64))
    with pytest.raises(ModelError, match="no weight 'none'"):
        store.array("none")
    store.add("w", np.ones(2, np.float32))
    wrong = store.derive(["w"], "k", "f32", (3,), lambda w: w)
    with pytest.raises(AssertionError, match="declared f32"):
        store.array(wrong)


def test_storage_types():
    import ml_dtypes

    store = WeightStore()
    name = store.add("h", np.ones(2, ml_dtypes.bfloat16))
    assert store.dtype(name) == "bf16" and store.digest(name).startswith("sha256:")
    four = store.add("q", np.ones(2, ml_dtypes.int4))
    assert store.nbytes(four) == 2


def test_weights_made_in_their_place():
    store = WeightStore()
    store.add("w", np.ones(2, np.float32))
    places = []

    def fill(out, w):
        places.append(out)
        out[:2] = 2 * w

    made = store.derive_in_place(["w"], "k", "f32", (3,), fill)
    assert made == store.derive_in_place(["w"], "k", "f32", (3,), fill)
    block = np.zeros(3, np.float32)
    store.write(made, block)
    assert len(places) == 1 and places[0] is block
    assert block.tolist() == [2, 2, 0] and store.array(made).tolist() == [2, 2, 0]
    with pytest.raises(ModelError, match=r"is f32\[3\], not f32\[4\]"):
        store.write(made, np.zeros(4, np.float32))
