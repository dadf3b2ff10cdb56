"""The device executor over a driver that checks every call."""

import threading
from dataclasses import replace

import numpy as np
import pytest
from fake_programs import ADD, Fake, X, Y, add_one, at

from infini_ir.runtime.cuda.arrays import DeviceArray
from infini_ir.runtime.launch_plan import (
    Bind,
    Check,
    If,
    Launch,
    LaunchPlan,
    Loop,
    Publish,
    Replacement,
    Set,
    Take,
    While,
)
from infini_ir.runtime.signature import TensorSpec
from infini_ir.utils.errors import ArtifactError, DeviceError, InputError, SizeError
from infini_ir.utils.symbolic import Dim
from infini_ir.utils.weights import WeightStore


def chain(fake: Fake, **options):
    """y = x + 2 through the arena."""
    fake.kernel("add", ADD, add_one, grid="N", **options)
    steps = (Launch(0, (at("arena"), at("input"))), Launch(0, (at("output"), at("arena"))))
    return fake.program(steps, [X], [Y], symbols=("N",), arena="4*N")


def test_calls_and_graphs():
    fake = Fake()
    executor = fake.executor(chain(fake))
    for turn in range(4):
        x = np.arange(1000, dtype=np.float32) * turn
        (y,) = executor.run([x])
        np.testing.assert_array_equal(y, x + 2)
    # The first call launches by itself, the second makes a graph, the others use it.
    assert [record.graph for record in fake.driver.launches] == [False] * 2 + [True] * 6
    assert fake.driver.calls["cuGraphInstantiateWithFlags"] == 1
    fake.driver.assert_clean()


def test_other_shapes():
    fake = Fake()
    executor = fake.executor(chain(fake))
    for n in (3, 5000, 1, 3, 5000, 3):
        x = np.random.default_rng(n).random(n, np.float32)
        np.testing.assert_array_equal(executor.run([x])[0], x + 2)
    assert executor.run([np.zeros(0, np.float32)])[0].shape == (0,)
    fake.driver.assert_clean()


def test_another_kernel_for_small_sizes():
    fake = Fake()
    fake.kernel("add", ADD, add_one, grid="N")
    fake.kernel("add_few", ADD, add_one)
    fake.kernels[0] = replace(fake.kernels[0], small=Replacement(1, Dim.of("N"), 16))
    steps = (Launch(0, (at("output"), at("input"))),)
    executor = fake.executor(fake.program(steps, [X], [Y], symbols=("N",)))
    for n in (16, 17, 1):
        np.testing.assert_array_equal(executor.run([np.ones(n, np.float32)])[0], np.full(n, 2))
    launched = [record.kernel for record in fake.driver.launches]
    assert launched == ["add_few", "add", "add_few"]
    fake.driver.assert_clean()


def test_a_driver_that_cannot_make_graphs():
    fake = Fake(can_capture=False)
    executor = fake.executor(chain(fake))
    for _ in range(4):
        np.testing.assert_array_equal(executor.run([np.ones(7, np.float32)])[0], np.full(7, 3))
    assert fake.driver.calls["cuStreamBeginCapture_v2"] == 1
    assert not any(record.graph for record in fake.driver.launches)


def test_weights_and_offsets():
    store = WeightStore()
    store.add("first", np.zeros(3, np.float32))
    store.add("w", np.arange(6, dtype=np.float32))
    fake = Fake()
    fake.kernel("add", [("pointer", 0), ("pointer", 1), ("i32", "4")], add_one)
    program = fake.program(
        (Launch(0, (at("output"), at("weights", 0, 64 + 8))),),
        [],
        [TensorSpec.of("y", "f32", 4)],
        weights=store,
    )
    np.testing.assert_array_equal(fake.executor(program).run([])[0], [3, 4, 5, 6])
    fake.driver.assert_clean()


def test_variants_by_divisible_sizes():
    fake = Fake()
    executor = fake.executor(chain(fake, divisible=("N",)))
    for n in (32, 33):
        executor.run([np.zeros(n, np.float32)])
    assert [r.kernel for r in fake.driver.launches] == ["add"] * 2 + ["add_any"] * 2


def test_scratch_and_shared_memory():
    fake = Fake()
    executor = fake.executor(chain(fake, scratch=384, shared=100 << 10))
    np.testing.assert_array_equal(executor.run([np.zeros(9, np.float32)])[0], np.full(9, 2))
    fake.driver.assert_clean()
    assert fake.driver.calls["cuFuncSetAttribute"] == 1
    with pytest.raises(ArtifactError, match="wants 307200 bytes of shared memory"):
        other = Fake()
        other.executor(chain(other, shared=300 << 10))


def test_loops_and_set_are_flat():
    fake = Fake()
    fake.kernel("add", ADD, add_one)
    back = Launch(0, (at("output"), at("arena")))
    there = Launch(0, (at("arena"), at("output")))
    steps = (
        Launch(0, (at("output"), at("input"))),
        Set("K", Dim.parse("N + 1")),
        Loop("t", Dim.parse("K - 2"), None, (there, back)),
    )
    program = fake.program(steps, [X], [Y], symbols=("N", "K", "t"), arena="4*N")
    executor = fake.executor(program)
    for _ in range(3):
        np.testing.assert_array_equal(executor.run([np.zeros(4, np.float32)])[0], np.full(4, 7))
    assert fake.driver.calls["cuGraphLaunch"] == 2
    fake.driver.assert_clean()


def count_kernel(fake: Fake) -> int:
    def count(view, out, x, n):
        view(out, np.int64, 1)[0] = int((view(x, np.float32, n) > 0).sum())

    return fake.kernel("count", ADD, count)


def positive_kernel(fake: Fake) -> int:
    def positive(view, out, x, n, k):
        values = view(x, np.float32, n)
        view(out, np.float32, k)[:] = values[values > 0]

    return fake.kernel("positive", [*ADD, ("i64", "K")], positive)


def selecting(fake: Fake):
    """The positive elements: how many is known while running."""
    count, positive = count_kernel(fake), positive_kernel(fake)
    steps = (
        Launch(count, (at("arena"), at("input"))),
        Bind(at("arena"), "K"),
        Check(((Dim.of("K"), "le", Dim.of(100)),)),
        Take(0, Dim.of("4*K")),
        Launch(positive, (at("taken"), at("input"))),
        Publish(at("taken"), 0),
    )
    outputs = [TensorSpec.of("y", "f32", "K")]
    return fake.program(steps, [X], outputs, symbols=("N", "K"), given=(), arena="64")


def test_sizes_known_while_running():
    fake = Fake()
    executor = fake.executor(selecting(fake))
    before = fake.driver.live
    for x in ([1, -1, 2], [-1.0], [3, 4, 5, 6]):
        x = np.array(x, np.float32)
        np.testing.assert_array_equal(executor.run([x])[0], x[x > 0])
    with pytest.raises(SizeError, match="size K must be at most 100, but they are 200 and 100"):
        executor.run([np.ones(200, np.float32)])
    np.testing.assert_array_equal(executor.run([np.ones(2, np.float32)])[0], [1, 1])
    assert fake.driver.live < before + 4096, "memory taken in a call was not given back"
    fake.driver.assert_clean()


def test_conditions_and_loops_on_the_device():
    fake = Fake()

    def less(view, out, x, n):
        view(out, np.uint8, 1)[0] = view(x, np.float32, n)[0] < 5

    add, test = fake.kernel("add", ADD, add_one), fake.kernel("less", ADD, less)
    flag, y = at("arena", 0, 0), at("output")
    again, check = Launch(add, (y, y)), Launch(test, (flag, y))
    steps = (
        Launch(add, (y, at("input"))),
        While(flag, (check,), (again,)),
        check,
        If(flag, (), (again,)),
        Loop("t", Dim.of(10), flag, (again, check)),
    )
    program = fake.program(steps, [X], [Y], symbols=("N", "t"), arena="64")
    # To 5 by the while, 6 by the if, 7 by the one turn of the loop.
    assert fake.executor(program).run([np.zeros(1, np.float32)])[0].tolist() == [7]
    assert LaunchPlan.from_text(fake_plan_text(program)).steps[1].flag == flag
    fake.driver.assert_clean()


def fake_plan_text(program) -> bytes:
    from infini_ir.runtime.package import unpack

    return unpack(program.code.read())["launch_plan.json"]


def test_negative_size():
    fake = Fake()

    def minus(view, out, x, n):
        view(out, np.int64, 1)[0] = -3

    fake.kernel("minus", ADD, minus)
    steps = (Launch(0, (at("arena"), at("input"))), Bind(at("arena"), "K"))
    program = fake.program(steps, [X], [], symbols=("N", "K"), arena="64")
    with pytest.raises(SizeError, match="'K' computed by the model is -3"):
        fake.executor(program).run([np.zeros(1, np.float32)])


def test_threads():
    fake = Fake()
    executor = fake.executor(chain(fake))
    wrong = []

    def work(seed: int) -> None:
        for turn in range(20):
            x = np.full(50 + seed, turn, np.float32)
            if not np.array_equal(executor.run([x])[0], x + 2):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    fake.driver.assert_clean()


def test_large_tensors_skip_the_staging_memory(monkeypatch):
    monkeypatch.setattr("infini_ir.runtime.cuda.session.STAGING_LIMIT", 1000)
    fake = Fake()
    executor = fake.executor(chain(fake))
    for _ in range(3):
        x = np.random.default_rng(0).random(5000, np.float32)
        np.testing.assert_array_equal(executor.run([x])[0], x + 2)
    fake.driver.assert_clean()


# Memory of the device, in and out


class Foreign:
    """A tensor of another library on the device."""

    def __init__(self, fake: Fake, array: np.ndarray, shift: int = 0):
        device = fake.device()
        self.shape, self.dtype = array.shape, array.dtype
        self.pointer = device.allocate(array.nbytes + 64) + shift
        fake.driver.view(self.pointer, array.dtype, array.size)[:] = array.reshape(-1)
        self.strides = None

    @property
    def __cuda_array_interface__(self):
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.pointer, False),
            "strides": self.strides,
            "version": 3,
        }


def test_device_tensors_in_and_out():
    fake = Fake()
    executor = fake.executor(chain(fake))
    x = np.arange(100, dtype=np.float32)
    tensor = Foreign(fake, x)
    for _ in range(3):
        (y,) = executor.run([tensor])
        assert isinstance(y, DeviceArray) and y.shape == (100,)
        np.testing.assert_array_equal(y.numpy(), x + 2)
    assert "cuMemcpyHtoDAsync_v2" not in fake.driver.calls
    assert fake.driver.calls["cuGraphLaunch"] >= 1
    (z,) = executor.run([y])
    np.testing.assert_array_equal(np.asarray(z), x + 4)
    fake.driver.assert_clean()


def test_unaligned_and_wrong_device_tensors():
    fake = Fake()
    executor = fake.executor(chain(fake))
    x = np.arange(10, dtype=np.float32)
    (y,) = executor.run([Foreign(fake, x, shift=4)])
    np.testing.assert_array_equal(y.numpy(), x + 2)
    with pytest.raises(InputError, match="has dtype f64, but the model wants"):
        executor.run([Foreign(fake, x.astype(np.float64))])
    strided = Foreign(fake, x)
    strided.strides = (8,)
    with pytest.raises(InputError, match="not contiguous in device memory"):
        executor.run([strided])
    fake.driver.assert_clean()


def test_outputs_as_dlpack():
    fake = Fake()
    executor = fake.executor(chain(fake))
    x = np.arange(10, dtype=np.float32)
    (y,) = executor.run([Foreign(fake, x)])
    capsule = y.__dlpack__(stream=None)
    del y
    # Another model takes it from the capsule, without a copy.
    from infini_ir.runtime.cuda import dlpack

    shared = dlpack.read(capsule)
    assert (shared.dtype, shared.shape, shared.dense) == ("f32", (10,), True)
    np.testing.assert_array_equal(fake.driver.view(shared.pointer, np.float32, 10), x + 2)
    pointer = shared.pointer
    del capsule, shared
    (again,) = executor.run([Foreign(fake, x)])
    assert again.pointer == pointer, "the block did not come back"
    fake.driver.assert_clean()


# Refusals


def test_wrong_device():
    fake = Fake(capability=(8, 0))
    program = chain(fake)
    with pytest.raises(ArtifactError, match="compiled for sm_90a, but this machine's Fake"):
        fake.executor(program)


def test_no_driver(monkeypatch):
    from infini_ir.runtime.cuda import driver

    monkeypatch.setattr(driver, "LIBRARY", "libnothing.so.1")
    driver._system_driver.cache_clear()
    with pytest.raises(ArtifactError, match="this machine has no CUDA driver"):
        driver.system_driver()


def test_no_device():
    with pytest.raises(ArtifactError, match="it has no device"):
        Fake(devices=0).device()


def test_out_of_memory():
    fake = Fake(memory=10_000)
    executor = fake.executor(chain(fake))
    with pytest.raises(DeviceError, match="needs 120576 bytes of device memory, but Fake"):
        executor.run([np.zeros(10_000, np.float32)])
    assert fake.driver.live == 0
    executor.run([np.zeros(100, np.float32)])


def test_wrong_inputs():
    fake = Fake()
    executor = fake.executor(chain(fake))
    with pytest.raises(InputError, match="0 inputs were given"):
        executor.run([])
    with pytest.raises(InputError, match="has dtype float64"):
        executor.run([np.zeros(3)])
    np.testing.assert_array_equal(executor.run([np.zeros(1, np.float32)])[0], [2])


# The fake itself catches what it should


def test_the_driver_catches_faults():
    fake = Fake()
    fake.kernel("add", ADD, add_one)
    steps = (Launch(0, (at("output"), at("weights", 0, 1 << 40))),)
    program = fake.program(steps, [X], [Y], symbols=("N",))
    with pytest.raises(DeviceError, match="cuLaunchKernel failed: CUDA_ERROR_ILLEGAL_ADDRESS"):
        fake.executor(program).run([np.zeros(4, np.float32)])
    assert "is not device memory" in fake.driver.failures[0]


def test_the_driver_runs_late():
    fake = Fake()
    device = fake.device()
    stream = device.stream()
    block, host = device.allocate(8), np.zeros(2, np.float32)
    device.clear(block, 8, stream)
    device.copy_out(host.ctypes.data, block, 8, stream)
    fake.driver.view(block, np.float32, 2)[:] = 1
    assert not host.any()
    device.synchronize(stream)
    assert not host.any() and not fake.driver.view(block, np.float32, 2).any()
    device.free(block)
    with pytest.raises(DeviceError):
        device.copy_out(host.ctypes.data, block, 8, stream)
    assert "was freed" in fake.driver.failures[-1]
