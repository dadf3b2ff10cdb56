"""Calls that go from Python into native code without any Python between."""

from __future__ import annotations

import gc
import sys
import threading
import time
import weakref
from typing import Any

import numpy as np
import pytest
from native_programs import good_in_a_child

from infini_ir.runtime.desk import Desk, can_enter
from infini_ir.runtime.executor import Executor
from infini_ir.runtime.model import CompiledModel
from infini_ir.runtime.pool import BUSY, shared_pool
from infini_ir.runtime.program import Program
from infini_ir.utils.errors import InputError, ModelError, SizeError

pytestmark = pytest.mark.skipif(not can_enter(), reason="not this Python")

LARGE = 5000
"""Elements of results whose memory is used again."""


class Counted:
    """A model that counts the calls that went the slow way."""

    def __init__(self, program: Program, threads: int = 1):
        self.model = CompiledModel(program, threads)
        self.model(*[np.zeros(1, np.float32)] * len(program.metadata.inputs))
        assert isinstance(self.model._runner, Executor)
        self.executor = self.model._runner
        self.executor._workers = threads  # past the limit of one for each processor
        self.executor._known.clear()
        self.slow = 0
        run = self.executor.run

        def counted(inputs: Any) -> Any:
            self.slow += 1
            return run(inputs)

        self.executor.run = counted  # type: ignore[method-assign]

    def __call__(self, *arrays: Any) -> Any:
        return self.model(*arrays)

    def words(self) -> np.ndarray:
        assert self.executor._entry is not None
        return self.executor._entry.words


def x_of(n: int) -> np.ndarray:
    return np.arange(n, dtype=np.float32)


@pytest.mark.parametrize("n", [0, 1, 7, LARGE])
def test_calls_like_the_one_before_go_the_quick_way(add_program: Program, n: int):
    model = Counted(add_program)
    for i in range(12):
        np.testing.assert_array_equal(model(x_of(n) + i), x_of(n) + i + 1)
    assert model.slow == 2


def test_other_calls_go_the_slow_way(add_program: Program):
    model = Counted(add_program)
    for n in (3, LARGE, 3, 3, 3, LARGE, LARGE, LARGE, 4):
        np.testing.assert_array_equal(model(x_of(n)), x_of(n) + 1)
    x = x_of(4)
    for _ in range(2):
        model(x)
    before = model.slow
    model(x)
    assert model.slow == before
    others: list[Any] = [
        x_of(8)[::2],
        x_of(4).view(type("Sub", (np.ndarray,), {})),
        np.frombuffer(b"\0" * 17, np.uint8)[1:].view(np.float32),
        {"x": x_of(4)[::-1]},
    ]
    for other in others:
        given = other["x"] if isinstance(other, dict) else other
        result = model(other)
        result = result["y"] if isinstance(other, dict) else result
        np.testing.assert_array_equal(result, np.asarray(given) + 1)
    assert model.slow == before + len(others)
    for wrong in (x_of(4).astype(np.float64), x_of(4).reshape(2, 2), 3.0):
        with pytest.raises(InputError):
            model(wrong)
    with pytest.raises(InputError):
        model(x, x)
    with pytest.raises(InputError):
        model()


@pytest.mark.parametrize("n", [3, LARGE])
def test_several_outputs(sum_program: Program, n: int):
    model = Counted(sum_program)
    x = z = x_of(n)
    for i in range(10):
        x, z = x_of(n) + i, 2 * x_of(n)
        total, difference = model(x, z)
        np.testing.assert_array_equal(total, x + z)
        np.testing.assert_array_equal(difference, x - z)
    named = model({"z": z, "x": x})
    assert list(named) == ["s", "d"]
    np.testing.assert_array_equal(named["d"], x - z)
    assert model.slow <= 4


def test_results_that_are_still_seen_are_left_alone(sum_program: Program):
    model = Counted(sum_program)
    kept: list[Any] = []
    for i in range(40):
        total, difference = model(x_of(LARGE) + i, x_of(LARGE))
        assert total.flags.writeable and total.flags.c_contiguous
        kept.append((total[5:], memoryview(difference) if i % 2 else difference.T))
        if len(kept) > i % 5:
            kept.clear()
    kept = [(i, model(x_of(LARGE) + i, x_of(LARGE))) for i in range(10)]
    for i, (total, difference) in kept:
        np.testing.assert_array_equal(total, 2 * x_of(LARGE) + i)
        np.testing.assert_array_equal(difference, np.full(LARGE, i))


def test_dropped_results_are_used_again(add_program: Program):
    model = Counted(add_program)
    x = x_of(LARGE)
    places = {model(x).ctypes.data for _ in range(50)}
    assert len(places) <= 3 and model.slow <= 4


def test_nothing_is_leaked(sum_program: Program):
    model = Counted(sum_program)
    x, z = x_of(9), x_of(9)
    for _ in range(5):
        model(x, z)
    objects = x, z, x.dtype, model.executor._output_dtypes[0]
    before = [sys.getrefcount(o) for o in objects], len(gc.get_objects())
    for _ in range(1000):
        model(x, z)
    after = [sys.getrefcount(o) for o in objects], len(gc.get_objects())
    assert before[0] == after[0] and abs(after[1] - before[1]) < 50


def test_a_model_goes_when_nobody_has_it(add_program: Program):
    model = CompiledModel(add_program, 1)
    for _ in range(5):
        model(x_of(3))
    runner = weakref.ref(model._runner)
    gc.disable()
    try:
        del model
        assert runner() is None
    finally:
        gc.enable()


def test_failed_checks(add_program: Program):
    model = Counted(add_program)
    for _ in range(3):
        for _ in range(3):
            assert model(x_of(4)).tolist() == [1, 2, 3, 4]
        before = model.slow
        with pytest.raises(InputError, match="x starts with 13 in 4 elements"):
            model(np.full(4, 13, np.float32))
        assert model.slow == before
    model.model.on_size_error = lambda arrays, error: [arrays[0] * 2]
    assert model(np.full(4, 13, np.float32)).tolist() == [26] * 4
    assert issubclass(SizeError, InputError) and not issubclass(ModelError, SizeError)


def test_memory_that_the_program_takes(half_program: Program):
    model = Counted(half_program)
    for n in (6, 6, 6, 100_000, 6):
        np.testing.assert_array_equal(model(x_of(n)), x_of(n)[: n // 2])
    assert model.slow == 5


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_at_once(sum_program: Program, threads: int):
    model, wrong = Counted(sum_program, threads), []

    def work(seed: int) -> None:
        for i in range(300):
            x = np.full(LARGE if i % 7 else 3, seed * 1000 + i, np.float32)
            total, difference = model(x, x_of(len(x)))
            if not (
                np.array_equal(total, x + x_of(len(x)))
                and np.array_equal(difference, x - x_of(len(x)))
            ):
                wrong.append(seed)

    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert not wrong and not any(worker.is_alive() for worker in workers)


def settled(program: Program) -> tuple[Counted, np.ndarray]:
    """A model of two threads whose calls have become all alike."""
    model, x = Counted(program, 2), x_of(LARGE)
    for _ in range(200):
        model(x)
    return model, x


def test_a_forked_child_makes_its_own_threads(add_program: Program):
    model, x = settled(add_program)
    assert good_in_a_child(lambda: all(np.array_equal(model(x), x + 1) for _ in range(5)))


def test_a_pool_that_another_call_has(add_program: Program):
    model, x = settled(add_program)
    busy = shared_pool()._memory[BUSY:]
    busy[0] = 1
    try:
        for _ in range(20):
            np.testing.assert_array_equal(model(x), x + 1)
    finally:
        busy[0] = 0
    for _ in range(20):
        np.testing.assert_array_equal(model(x), x + 1)


def test_late_calls_are_told_to_the_pace(add_program: Program, monkeypatch: pytest.MonkeyPatch):
    model, x = settled(add_program)
    model.words()[Desk.LEFT], model.words()[Desk.MOST] = 100, 0
    noted: list[tuple[int, float, float]] = []
    pace = type(next(iter(model.executor._known.values())).binding.pace)
    note = pace.note

    def counted(self: Any, workers: int, begin: float, end: float) -> None:
        noted.append((workers, begin, end))
        note(self, workers, begin, end)

    monkeypatch.setattr(pace, "note", counted)
    before = model.slow
    now = time.monotonic()
    model(x)
    assert model.slow == before and len(noted) == 1
    assert now <= noted[0][1] <= noted[0][2] <= time.monotonic()


def test_other_threads_run_meanwhile(add_program: Program):
    """The interpreter's lock is let go."""
    model = Counted(add_program, 1)
    x = np.zeros(20_000_000, np.float32)
    for _ in range(3):
        model(x)
    begun, ran = threading.Event(), []

    def other() -> None:
        begun.set()
        while not stop:
            ran.append(time.monotonic())
            time.sleep(1e-4)

    stop = False
    thread = threading.Thread(target=other)
    thread.start()
    begun.wait()
    begin = time.monotonic()
    model(x)
    end = time.monotonic()
    stop = True
    thread.join()
    assert sum(begin < t < end for t in ran) >= 3
