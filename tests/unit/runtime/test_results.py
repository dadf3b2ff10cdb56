"""Memory of results: aligned, used again only when nobody can see it any more."""

import ctypes
import threading

import numpy as np
import pytest

from infini_ir.runtime.memory import address_of
from infini_ir.runtime.results import ALIGNMENT, SMALL, ResultMemory

F32 = np.dtype(np.float32)


def take(memory: ResultMemory, *shape: int) -> np.ndarray:
    return memory.array(shape, F32, 4 * int(np.prod(shape)))


@pytest.mark.parametrize("shape", [(SMALL,), (3, 5, 97), (1 << 20,)])
def test_aligned_arrays_of_the_shape(shape: tuple[int, ...]):
    array = take(ResultMemory(), *shape)
    assert array.shape == shape and array.dtype == F32
    assert address_of(array) % ALIGNMENT == 0
    assert array.flags.c_contiguous and array.flags.writeable
    array[...] = 1.0


def test_dropped_results_are_used_again():
    memory = ResultMemory()
    first = address_of(take(memory, 4096))
    assert address_of(take(memory, 4096)) == first
    held, places = take(memory, 4096), set()
    for _ in range(6):
        held = take(memory, 4096)
        places.add(address_of(held))
    assert len(places) == 2


@pytest.mark.parametrize(
    "keep",
    [
        lambda a: a,
        lambda a: a[5:],
        lambda a: a.reshape(64, 64).T,
        lambda a: memoryview(a)[3:],
        lambda a: np.from_dlpack(a),
        lambda a: a.view(np.uint8),
        iter,
    ],
)
def test_what_a_caller_can_still_see_is_left_alone(keep):
    memory = ResultMemory()
    array = take(memory, 4096)
    array[...] = 7.0
    kept, place = keep(array), address_of(array)
    del array
    for _ in range(5):
        other = take(memory, 4096)
        assert address_of(other) != place
        other[...] = 0.0
    assert set((ctypes.c_float * 4096).from_address(place)) == {7.0}
    del kept


def test_sizes_may_change():
    memory = ResultMemory()
    for size in (4096, 1 << 18, 300, 5000, 4096):
        array = take(memory, size)
        array[...] = size
        assert array.shape == (size,)


def test_threads_never_share_a_block():
    memory, failures = ResultMemory(), []

    def work(number: int) -> None:
        for _ in range(2000):
            array = take(memory, 1024)
            array[...] = number
            if not np.all(array == number):
                failures.append(number)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
