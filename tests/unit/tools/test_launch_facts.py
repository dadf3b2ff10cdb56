"""What `infini explain` computes: work, traffic, residency, limits, and the timed program."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from xdsl.dialects.arith import ConstantOp
from xdsl.dialects.builtin import FloatAttr

from infini_ir.compiler import Compilation, Options
from infini_ir.dialects import tile
from infini_ir.dialects.context import Decision
from infini_ir.dialects.tile import program
from infini_ir.runtime.executor import Executor
from infini_ir.targets.cpu.features import named
from infini_ir.targets.cpu.llvm.toolchain import compile_ir
from infini_ir.targets.cpu.plans.plan import Plan
from infini_ir.targets.cpu.timing.in_place import measure_in_place, segments_of
from infini_ir.targets.cpu.timing.stamps import BEGIN, END, EVENTS, INPUT, Stamps
from infini_ir.targets.programs import remove_unused
from infini_ir.tools import machine as machines
from infini_ir.tools.infini.explain import Wishes, decision_facts, explain
from infini_ir.tools.machine import Machine
from infini_ir.tools.peaks import byte_peak, float_peak, half_peak, reading
from infini_ir.tools.residency import PAGE, Region, resident_shares
from infini_ir.tools.work import moved_bytes, work_of
from infini_ir.utils.symbolic import Dim

MACHINE = Machine(2, 100.0, 10.0, 80.0, 64, 40.0, 256, {"bf16": 1000.0}, ("bf16",))


def lowered(path):
    compilation = Compilation(Options())
    module = compilation.import_model(path)
    compilation.graph_passes(module)
    compilation.lower(module)
    remove_unused(module)
    return compilation, module


# Limits


def test_the_slowest_part_sets_the_limit():
    assert MACHINE.computing({"f32": 200.0}) == (2.0, "compute")
    assert MACHINE.computing({"i8": 200.0}) == (2.0, "i8 compute")
    assert MACHINE.computing({}) == (0.0, "compute")
    assert MACHINE.moving(800.0, 0.0, 0.0) == (10.0, "L1")
    assert MACHINE.moving(80.0, 80.0, 0.0) == (2.0, "L2")
    assert MACHINE.moving(80.0, 80.0, 80.0) == (8.0, "memory")


def test_matrix_tiles_run_beside_vectors():
    assert MACHINE.computing({"f32": 200.0, "bf16": 1000.0}) == (2.0, "compute")
    assert MACHINE.computing({"f32": 100.0, "bf16": 3000.0}) == (3.0, "bf16 compute")


def test_one_thread_has_its_part():
    part = MACHINE.part()
    assert part.computing({"f32": 100.0}) == (2.0, "compute")
    assert part.moving(0.0, 0.0, 10.0) == (1.0, "memory")


def test_traffic_is_worth_time():
    assert MACHINE.worth(40) == pytest.approx(0.5)
    assert MACHINE.worth(200) == pytest.approx(5.0)
    assert MACHINE.worth(-1000) == pytest.approx(-100.0)
    assert MACHINE.worth(0) == 0.0


def test_decisions_are_priced():
    wide = Decision("graph-fuse", "n", "one kernel", "saves traffic", Dim.parse("100*B"))
    facts = decision_facts(wide, {"B": 10}, MACHINE)
    assert facts["traffic_bytes"] == 1000
    assert facts["worth_seconds"] == pytest.approx(100.0)
    assert decision_facts(wide, {}, MACHINE)["worth_seconds"] is None
    plain = Decision("cpu-plan", "k", "c", "r")
    assert decision_facts(plain, {}, MACHINE)["worth_seconds"] is None


def test_the_best_of_two_measurements_counts():
    other = Machine(2, 90.0, 12.0, 80.0, 64, 50.0, 256, {"bf16": 1100.0}, ("bf16",))
    best = MACHINE.best(other)
    assert (best.flops, best.memory, best.l2) == (100.0, 12.0, 50.0)
    assert best.rate("bf16") == 1100.0


def test_the_machine_is_kept_and_measured_again(tmp_path, monkeypatch):
    monkeypatch.setenv("INFINI_CACHE_DIR", str(tmp_path))
    measured = []

    def measure(threads):
        measured.append(threads)
        return Machine(threads, 10.0 * len(measured), 1.0, rates={"i8": 5.0}, matrix=("i8",))

    monkeypatch.setattr(machines, "measure", measure)
    first = machines.known_machine(3)
    assert machines.known_machine(3) == first
    assert machines.known_machine(3, again=True).flops == 20.0
    assert machines.known_machine(3).flops == 20.0
    assert len(measured) == 2
    (tmp_path / "machine.json").write_text("[not json")
    assert machines.known_machine(3).flops == 30.0


def test_limits_that_a_program_beats_are_measured_again(mlp, tmp_path, monkeypatch):
    monkeypatch.setenv("INFINI_CACHE_DIR", str(tmp_path))
    slow, fast = Machine(1, 1.0, 1.0), Machine(1, 1e15, 1e15)
    measured = iter([slow, fast])
    monkeypatch.setattr(machines, "measure", lambda threads: next(measured))
    explained = explain(mlp, Options(threads=1), Wishes({}, "place", ()), lambda *_: None)
    assert explained.facts["machine"]["gflops"] == fast.flops / 1e9
    totals = explained.facts["totals"]
    assert totals["limit_seconds"] < totals["measured_seconds"]


@pytest.mark.parametrize(
    "cpu", ["x86-64", "x86-64-v3", "x86-64-v4", "sapphirerapids", "aarch64"]
)
def test_the_loops_compile_for_every_processor(cpu):
    features = named(cpu)
    peaks = [float_peak(features), half_peak(features), byte_peak(features), reading(features)]
    for peak in peaks:
        if peak is not None:
            assert compile_ir(peak.text, features)
    assert (half_peak(features) is not None) == (cpu == "sapphirerapids")


# Work and traffic


def test_products_count_by_the_type_of_their_operands():
    kernel = tile.KernelOp("k", [], [4], [1])
    block = kernel.body.block
    lhs = _full(block, [1, 8], "bf16")
    rhs = _full(block, [8, 16], "bf16")
    acc = _full(block, [1, 16], "f32")
    block.add_op(tile.DotOp(lhs, rhs, acc))
    assert work_of(kernel, {}) == {"bf16": 4 * 2 * 8 * 16}


def _full(block, shape, dtype):
    type = tile.TileType.of(shape, dtype)
    zero = ConstantOp(FloatAttr(0.0, type.element))
    full = tile.FullOp(zero.result, type)
    block.add_ops([zero, full])
    return full.out


def test_a_gather_moves_its_rows_and_not_the_table(tmp_path):
    table = onnx.numpy_helper.from_array(np.ones((10000, 64), np.float32), "table")
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "ids"], ["y"])],
        "g",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, [4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4, 64])],
        [table],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "gather.onnx"
    onnx.save(model, path)
    _, module = lowered(str(path))
    total = 0.0
    for op in module.walk():
        if isinstance(op, program.LaunchOp):
            total += sum(moved_bytes(op, Plan.read(op.callee().plan).parameters).values())
    assert 2 * 4 * 64 * 4 <= total < 10 * 4 * 64 * 4


# Residency


def test_what_fits_is_found_again_and_what_does_not_is_not():
    small, large = Region("w", 0, 4 * PAGE), Region("v", 0, 64 * PAGE)
    assert resident_shares([[small]], (16 * PAGE,)) == [[(1.0,)]]
    assert resident_shares([[small], [large]], (16 * PAGE,)) == [[(0.0,)], [(0.0,)]]
    shares = resident_shares([[small], [large], [large]], (16 * PAGE, 128 * PAGE))
    assert shares == [[(0.0, 1.0)], [(0.0, 1.0)], [(0.0, 1.0)]]


def test_a_value_just_written_is_there():
    value, weights = Region("arena", 0, 2 * PAGE), Region("w", 0, 64 * PAGE)
    shares = resident_shares([[weights, value], [value]], (16 * PAGE,))
    assert shares[1] == [(1.0,)]


# The timed program


def test_segments_take_the_busiest_worker():
    launch = program.LaunchOp("k", [])
    other, barrier = program.LaunchOp("k", []), program.BarrierOp()
    ticks = np.array([[5, 1, 2, 7], [3, 4, 9, 8]])
    working, busy, barriers = segments_of([launch, other, barrier, launch], ticks)
    assert (working, busy, barriers) == (7 + 8, 6.5 + 7.5, 2)


def test_a_timed_program_notes_every_launch(mlp):
    compilation, module = lowered(mlp)
    stamps = Stamps(2)
    built = compilation.target.build(module, compilation.ctx, stamps=stamps)
    assert built.metadata.inputs[-1].name == INPUT
    rows = np.zeros((2, stamps.slots), np.int64)
    x = np.ones((3, 16), np.float32)
    (y,) = Executor(built, 2).run([x, rows])
    plain = compilation.target.build(module, compilation.ctx)
    np.testing.assert_array_equal(y, Executor(plain, 1).run([x])[0])
    assert rows[0, END] > rows[0, BEGIN] > 0
    assert rows[:, EVENTS].sum() > 0
    assert rows[:, EVENTS + 1].max() == 1
    assert (rows >= 0).all()


def test_the_parts_of_a_call_add_up(mlp):
    compilation, module = lowered(mlp)
    x = np.ones((3, 16), np.float32)
    times = measure_in_place(module, compilation.ctx, compilation.target, 1, [x], seconds=0.01)
    parts = times.working + times.barriers + times.rest + times.outside
    assert parts == pytest.approx(times.timed_call, rel=1e-6)
    (timing,) = times.launches.values()
    assert timing.turns == 1
    assert 0 < timing.mean <= timing.seconds <= times.timed_call
