"""Calls of native programs: sizes, checks, memory, threads."""

import os
import subprocess
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from native_programs import CLAIMS, build, good_in_a_child

from infini_ir.runtime import artifact
from infini_ir.runtime.executor import Executor, choose_threads
from infini_ir.runtime.pool import shared_pool
from infini_ir.runtime.program import Program
from infini_ir.runtime.signature import TensorSpec
from infini_ir.utils.errors import InputError, OptionError
from infini_ir.utils.symbolic import Dim


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_results_do_not_depend_on_threads(add_program: Program, threads: int):
    executor = Executor(add_program, threads)
    executor._workers = threads  # past the limit of one for each processor
    for n in (0, 1, 5, 1000, 5):
        x = np.arange(n, dtype=np.float32)
        (y,) = executor.run([x])
        np.testing.assert_array_equal(y, x + 1)


def counting_program() -> Program:
    """`CLAIMS`, so long that calls use all threads."""
    inputs, outputs = (TensorSpec.of("x", "f32", "N"),), (TensorSpec.of("y", "i32", "N"),)
    work = Dim.of(10**9)
    return build(CLAIMS, inputs=inputs, outputs=outputs, symbols=("N",), work=work)


@pytest.mark.parametrize("threads", [2, 3, 5])
def test_each_program_of_a_share_is_taken_once(threads: int):
    """By whoever comes first, however far apart workers are in launches without a barrier."""
    executor = Executor(counting_program(), threads)
    executor._workers = threads
    for n in (1, 4, 97, 5, 1000):
        for _ in range(4):
            (y,) = executor.run([np.zeros(n, np.float32)])
            np.testing.assert_array_equal(y, 600)


def test_outputs_are_fresh(add_program: Program):
    executor = Executor(add_program, 1)
    first = executor.run([np.zeros(4, np.float32)])[0]
    second = executor.run([np.ones(4, np.float32)])[0]
    assert first.tolist() == [1] * 4 and second.tolist() == [2] * 4


def test_failed_check_names_its_values_and_leaves_the_model_usable(add_program: Program):
    executor = Executor(add_program, 2)
    for _ in range(2):
        with pytest.raises(InputError, match="x starts with 13 in 4 elements"):
            executor.run([np.full(4, 13, np.float32)])
        assert executor.run([np.zeros(2, np.float32)])[0].tolist() == [1, 1]


@pytest.mark.parametrize("n", [0, 1, 2, 9, 100_000])
def test_size_known_only_after_running(half_program: Program, n: int):
    x = np.arange(n, dtype=np.float32)
    (y,) = Executor(half_program, 2).run([x])
    np.testing.assert_array_equal(y, x[: n // 2])


def test_many_shapes_are_forgotten_in_time(add_program: Program):
    executor = Executor(add_program, 1)
    for n in range(200):
        assert executor.run([np.zeros(n, np.float32)])[0].shape == (n,)
    assert len(executor._known) <= 64


def test_eight_threads_at_once(add_program: Program):
    executor = Executor(add_program, 2)
    wrong: list[int] = []

    def work(seed: int) -> None:
        for i in range(200):
            x = np.full(1 + (seed * 7 + i) % 50, seed + 100, np.float32)
            if not np.array_equal(executor.run([x])[0], x + 1):
                wrong.append(seed)

    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert not wrong and not any(worker.is_alive() for worker in workers)


def test_forked_child_runs_with_its_own_threads(add_program: Program):
    executor = Executor(add_program, 2)
    x = np.zeros(8, np.float32)
    executor.run([x])
    assert good_in_a_child(lambda: executor.run([x])[0].tolist() == [1] * 8)


def test_caller_keeps_its_affinity(add_program: Program):
    before = os.sched_getaffinity(0)
    executor = Executor(add_program, 2)
    for _ in range(50):
        executor.run([np.zeros(8, np.float32)])
    assert os.sched_getaffinity(0) == before


def test_a_call_stays_off_the_workers_processors(monkeypatch: pytest.MonkeyPatch):
    executor, x = Executor(counting_program(), 2), np.zeros(8, np.float32)
    executor.run([x])
    pinned, before = shared_pool()._pinned, os.sched_getaffinity(0)
    if not pinned or pinned >= before:
        pytest.skip("no worker is bound to a processor of its own here")
    share, masks = executor._share, list[set[int]]()

    def watch(*arguments: int) -> int:
        masks.append(os.sched_getaffinity(0))
        return share(*arguments)

    monkeypatch.setattr(executor, "_share", watch)
    executor.run([x])
    assert masks == [before - pinned] and os.sched_getaffinity(0) == before
    with pytest.raises(ZeroDivisionError), shared_pool().caller_apart():
        raise ZeroDivisionError
    assert os.sched_getaffinity(0) == before


def test_process_ends_at_once_after_threaded_calls(add_program: Program, tmp_path):
    from infini_ir.runtime import artifact

    artifact.write(add_program, tmp_path / "m.infini")
    script = (
        "import sys, numpy as np\n"
        "from infini_ir.runtime.model import load\n"
        f"m = load({str(tmp_path / 'm.infini')!r}, threads=2)\n"
        "assert (m(np.zeros(100, np.float32)) == 1).all()\n"
        "bad = {'xdsl', 'onnx', 'torch', 'llvmlite', 'click', 'rich', 'ml_dtypes'}\n"
        "assert not bad & set(sys.modules), bad & set(sys.modules)\n"
    )
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", script], timeout=60, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    assert time.monotonic() - start < 20


def test_scratch_memory_that_the_system_does_not_have(add_program: Program):
    metadata = replace(add_program.metadata, arena=Dim.symbol("N") * (1 << 50))
    executor = Executor(replace(add_program, metadata=metadata), 1)
    with pytest.raises(InputError, match=r"needs .* bytes of scratch memory"):
        executor.run([np.zeros(1000, np.float32)])
    assert executor.run([np.zeros(0, np.float32)])[0].shape == (0,)


def test_thread_count(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("INFINI_NUM_THREADS", "3")
    assert choose_threads() == 3 and choose_threads(2) == 2
    monkeypatch.setenv("INFINI_NUM_THREADS", "many")
    with pytest.raises(OptionError, match="INFINI_NUM_THREADS is 'many'"):
        choose_threads()
    with pytest.raises(OptionError, match="threads is 0"):
        choose_threads(0)


def test_report_overhead(add_program: Program, capsys: pytest.CaptureFixture[str]):
    x = np.zeros(16, np.float32)
    lines = []
    for threads in (1, 2):
        run = Executor(add_program, threads).run
        rounds = []
        for _ in range(5):
            start = time.perf_counter()
            for _ in range(2000):
                run([x])
            rounds.append((time.perf_counter() - start) / 2000)
        lines.append(f"{threads} threads: {min(rounds) * 1e6:.2f} us a call")
    with capsys.disabled():
        print("\n" + "\n".join(lines))


_ONE_PROCESSOR = """
import os, sys, threading
import numpy as np
import infini_ir
from infini_ir.runtime.executor import Executor
from infini_ir.runtime import artifact
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
program = artifact.read(sys.argv[1])
assert Executor(program)._workers == 1 and Executor(program, 4)._workers == 1
executor = Executor(program, 4)
executor._workers = 4
x = np.arange(1000, dtype=np.float32)
stop = False
def busy():
    while not stop:
        pass
competitor = threading.Thread(target=busy)
competitor.start()
for _ in range(20):
    (y,) = executor.run([x])
    assert (y == x + 1).all()
stop = True
competitor.join()
print("right")
"""


def test_more_threads_than_processors_go_on(add_program: Program, tmp_path):
    """Four threads with barriers on one processor, beside a busy one: slow, but never stuck."""
    path = tmp_path / "add.infini"
    artifact.write(add_program, path)
    done = subprocess.run(
        [sys.executable, "-c", _ONE_PROCESSOR, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.strip() == "right", done.stderr


def test_addresses_of_arrays():
    from infini_ir.runtime.memory import address_of

    block = np.zeros((3, 40), np.float32)
    for array in (block, block[1:, 3:], block.T, np.zeros(0), np.zeros(()), block[:, ::-1]):
        assert address_of(array) == array.__array_interface__["data"][0]
