"""Measuring plans on the device, and keeping what was found."""

from dataclasses import replace

import pytest

from infini_ir.dialects import tile
from infini_ir.dialects.context import compiler_context
from infini_ir.models.kernels import cases
from infini_ir.runtime.cuda.device import Device
from infini_ir.runtime.cuda.driver import Driver
from infini_ir.targets.kernel_text import kernel_text
from infini_ir.targets.nvidia.autotune import Tuner
from infini_ir.targets.nvidia.plan import Plan
from infini_ir.targets.nvidia.tuning import NvidiaTunePass, parse_sizes
from infini_ir.utils.errors import CompileError, OptionError
from infini_ir.utils.object_cache import ObjectCache
from tests.devices.nvidia.interpreted import Interpreted, lowered

SIZES = {"M": 40, "N": 33, "K": 20, "B": 2}
COST = {16: 3.0, 32: 0.5, 64: 1.0, 128: 0.1}


@pytest.fixture
def kernel() -> tile.KernelOp:
    module = lowered(cases("matmul", "f32")[0], compiler_context())
    return next(op for op in module.body.block.ops if isinstance(op, tile.KernelOp))


class Machine:
    """A device on which tiles of 32 rows are fastest, and those of 128 do not fit."""

    def __init__(self, folder):
        self.made = Interpreted()
        self.compiled: list[int] = []
        self.tuner = Tuner(
            "sm_90",
            90,
            lambda kernel: [Plan({"BM": size}) for size in COST],
            self.emit,
            self.compile,
            Device(Driver(self.made.driver)),
            ObjectCache(folder),
        )

    def emit(self, kernel, plan):
        return replace(self.made.emit(kernel), num_warps=plan.parameters["BM"])

    def compile(self, jobs):
        size = jobs[0].kernel.num_warps
        self.compiled.append(size)
        if size == 128:
            raise CompileError("too much shared memory")
        compiled = self.made.compile(jobs)
        self.made.driver.kernels[compiled[0].name].milliseconds = COST[size]
        return compiled


def test_the_fastest_plan_is_found_and_kept(tmp_path, kernel):
    machine = Machine(tmp_path)
    timings = machine.tuner.measure(kernel, SIZES)
    assert {t.plan.parameters["BM"]: t.milliseconds for t in timings} == {
        16: 3.0,
        32: 0.5,
        64: 1.0,
    }
    machine.made.driver.assert_clean()
    assert machine.made.driver.live == 0
    assert machine.tuner.best(kernel, SIZES) == Plan({"BM": 32})
    # The next process, without a device, has it from the disk; other sizes it has not.
    other = Machine(tmp_path)
    other.tuner.device = None
    assert other.tuner.best(kernel, SIZES) == Plan({"BM": 32})
    assert other.tuner.best(kernel, {**SIZES, "M": 41}) is None
    assert not other.compiled


def test_the_text_has_no_name_origin_or_plan(kernel):
    before = kernel_text(kernel)
    kernel.properties["sym_name"] = type(kernel.sym_name)("other")
    kernel.plan = Plan({"BM": 32}).attribute()
    kernel.origin = None
    assert kernel_text(kernel) == before


def test_the_pass_sets_what_is_known(tmp_path, monkeypatch):
    """Measured on one machine (here, a fake one), used where there is no device."""
    from infini_ir.targets.nvidia import autotune, tuning

    monkeypatch.setenv("INFINI_CACHE_DIR", str(tmp_path))
    ctx = compiler_context()
    case = cases("matmul", "f32")[0]
    module = lowered(case, ctx)
    monkeypatch.setattr(tuning, "device_for", lambda capability: None)
    NvidiaTunePass("sm_80", ("M=64",)).apply(ctx, module)
    kernel = next(op for op in module.body.block.ops if isinstance(op, tile.KernelOp))
    assert kernel.plan is None

    made = Interpreted(capability=(8, 0))
    monkeypatch.setattr(tuning, "device_for", lambda capability: Device(Driver(made.driver)))
    monkeypatch.setattr(tuning, "compile_jobs", lambda jobs, store: made.compile(jobs))
    monkeypatch.setattr(tuning, "planned_source", lambda kernel, plan: made.emit(kernel))
    monkeypatch.setattr(autotune, "triton_version", lambda: "3")
    NvidiaTunePass("sm_80", ("M=64",)).apply(ctx, module)
    assert kernel.plan is not None
    found = kernel.plan

    again = lowered(case, ctx)
    monkeypatch.setattr(tuning, "device_for", lambda capability: None)
    NvidiaTunePass("sm_80", ("M=64",)).apply(ctx, again)
    kernel = next(op for op in again.body.block.ops if isinstance(op, tile.KernelOp))
    assert kernel.plan == found


def test_sizes_are_texts():
    assert parse_sizes(("M=5", "N=7")) == {"M": 5, "N": 7}
    with pytest.raises(OptionError, match="'M' is not a size"):
        parse_sizes(("M",))
