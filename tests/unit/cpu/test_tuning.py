"""Tuning plans for CPUs: the search, what it tries, what it keeps, and who uses that."""

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper

import infini_ir
from infini_ir.compiler import Compilation, Options
from infini_ir.dialects import tile
from infini_ir.targets.cpu.features import named
from infini_ir.targets.cpu.plans.plan import Plan
from infini_ir.targets.cpu.target import CpuTarget
from infini_ir.targets.cpu.tuning import findings as findings_module
from infini_ir.targets.cpu.tuning.candidates import candidates, nest_of
from infini_ir.targets.cpu.tuning.findings import Finding, Findings, unreasoned
from infini_ir.targets.cpu.tuning.measurer import ProgramMeasurer, agree, kernels_of
from infini_ir.targets.cpu.tuning.passes import input_values, tune_program
from infini_ir.targets.cpu.tuning.tuner import (
    BrokenPlans,
    Comparison,
    Tuner,
    summary_of,
)
from infini_ir.tools.infini.cli import cli
from infini_ir.utils.errors import OptionError

BASE = Plan({"BM": 8, "BN": 64}, (1, 8), 2, 1)


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("INFINI_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def product(tmp_path):
    """A model of one product with a bias and a softmax."""
    rng = np.random.default_rng(0)
    weights = [
        onnx.numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), name)
        for name, shape in (("w", (96, 80)), ("b", (80,)))
    ]
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["p"]),
            helper.make_node("Add", ["p", "b"], ["s"]),
            helper.make_node("Softmax", ["s"], ["y"]),
        ],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [56, 96])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [56, 80])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "product.onnx"
    onnx.save(model, path)
    return str(path)


def planless(path, **options):
    compilation = Compilation(Options(**options))
    module = compilation.import_model(path)
    compilation.graph_passes(module)
    compilation.lower(module, before="cpu-plan")
    return compilation, module


# The search, with a clock and a machine of the test's own


class Machine:
    """Times plans by a formula; a comparison takes a second."""

    def __init__(self, cost, broken=()):
        self.cost = cost
        self.broken = broken
        self.now = 0.0
        self.compared = 0

    def compare(self, first, second, pairs):
        self.now += 1.0
        self.compared += 1
        if any(plan.parameters["BM"] in self.broken for plan in second.values()):
            raise BrokenPlans("no such block")
        times = [
            {name: [self.cost(name, plan)] * pairs for name, plan in plans.items()}
            for plans in (first, second)
        ]
        return Comparison(*times)


def neighbours(name, plan):
    size = plan.parameters["BM"]
    return [
        replace(plan, parameters={**plan.parameters, "BM": s}) for s in (size * 2, size + 1)
    ]


def search(machine, budget=1e9, kept=None, planned=None):
    kept = {} if kept is None else kept
    planned = planned or {"k": BASE}
    tuner = Tuner(
        planned, neighbours, machine, kept.get, kept.__setitem__, lambda: machine.now, budget
    )
    return tuner.run(), kept


def distance(name, plan):
    return 1.0 + abs(plan.parameters["BM"] - 32)


def test_the_search_goes_on_from_what_is_better():
    report, kept = search(Machine(distance))
    assert report.complete
    assert report.plans["k"].parameters["BM"] == 32
    assert kept["k"].plan.parameters["BM"] == 32
    assert kept["k"].complete
    assert kept["k"].gain == pytest.approx(1 - 1 / 25)
    assert report.reached == pytest.approx(1 / 25)


def test_the_budget_is_kept():
    machine = Machine(distance)
    report, kept = search(machine, budget=4.5)
    assert machine.now <= 4.5
    assert not report.complete
    assert kept["k"].plan.parameters["BM"] > 8
    assert not kept["k"].complete


def test_without_time_nothing_is_tried():
    report, kept = search(Machine(distance), budget=0)
    assert report.rounds == 0
    assert report.reached == 1.0
    assert kept == {}


def test_an_interrupted_search_loses_nothing():
    class Interrupted(Machine):
        def compare(self, first, second, pairs):
            if self.compared == 3:
                raise KeyboardInterrupt
            return super().compare(first, second, pairs)

    kept = {}
    with pytest.raises(KeyboardInterrupt):
        search(Interrupted(distance), kept=kept)
    found, tried = kept["k"].plan.parameters["BM"], len(kept["k"].tried)
    assert found > 8
    machine = Machine(distance)
    report, kept = search(machine, kept=kept)
    assert report.plans["k"].parameters["BM"] == 32
    assert len(kept["k"].tried) > tried
    machine = Machine(distance)
    again, _ = search(machine, kept=kept)
    assert again.rounds == 0
    assert again.complete
    assert again.plans == report.plans


def test_plans_that_cannot_be_built_are_passed_over_alone():
    planned = {"k": BASE, "m": replace(BASE, parameters={"BM": 16, "BN": 64})}
    report, _ = search(Machine(distance, broken=(16,)), planned={"k": BASE})
    assert report.broken >= 1
    assert report.plans["k"].parameters["BM"] != 16
    broken = Machine(distance, broken=(17,))
    report, _ = search(broken, planned=planned)
    assert report.plans["k"].parameters["BM"] == 32


def test_kernels_that_take_no_time_are_left_alone():
    def cost(name, plan):
        return 1000.0 if name == "large" else distance(name, plan) * 1e-3

    report, _ = search(Machine(cost), planned={"large": BASE, "small": BASE})
    assert {trial.kernel for trial in report.trials} == {"large"}


def test_noise_is_no_gain():
    noisy = Comparison({"k": [1.0] * 8}, {"k": [0.9, 1.2, 0.9, 1.1, 0.9, 1.2, 0.9, 0.9]})
    assert noisy.gain("k") == 0.0
    steady = Comparison({"k": [1.0] * 8}, {"k": [0.9] * 7 + [1.1]})
    assert steady.gain("k") == pytest.approx(0.1)
    assert Comparison({"k": [0.0]}, {"k": [1.0]}).gain("k") == 0.0


def test_a_winner_that_does_not_hold_is_dropped():
    class Fickle(Machine):
        def compare(self, first, second, pairs):
            self.cost = (lambda name, plan: 1.0) if pairs > 7 else distance
            return super().compare(first, second, pairs)

    report, kept = search(Fickle(distance))
    assert report.plans["k"] == BASE
    assert kept["k"].gain == 0.0
    assert report.reached == 1.0


def test_a_summary_says_what_differs():
    other = replace(BASE, parameters={"BM": 8, "BN": 96}, strip=(1, 9), vectors=3)
    assert summary_of(other, BASE) == "BN=96, strip 9, 3 vectors"
    assert summary_of(BASE, BASE) == "the same"


# What is tried


@pytest.mark.parametrize("cpu", ["x86-64-v3", "sapphirerapids"])
def test_candidates_are_legal(product, cpu):
    compilation, module = planless(product, target=f"cpu:{cpu}")
    features = named(cpu)
    measured = ProgramMeasurer(module, compilation.ctx, CpuTarget(cpu), 1, [])
    planned = measured.planned()
    lanes = features.vector_bytes // 4
    seen = 0
    for name, kernel in kernels_of(module).items():
        found = candidates(kernel, planned[name], features)
        assert unreasoned(planned[name]) not in found
        assert len({str(plan) for plan in found}) == len(found)
        seen += len(found)
        if nest_of(kernel) is None:
            continue
        for plan in found:
            rows = plan.strip[0] * plan.strip[1]
            assert rows * plan.vectors * plan.panels + plan.vectors < features.vector_registers
            columns = plan.parameters["BN"]
            assert columns >= 80 or columns % (lanes * plan.vectors) == 0
    assert seen > 6


def test_every_candidate_gives_the_same_results(product):
    compilation, module = planless(product, threads=1)
    target = CpuTarget(threads=1)
    values = input_values(module, {}, {})
    measurer = ProgramMeasurer(module, compilation.ctx, target, 1, values)
    planned = measurer.planned()
    for name, kernel in kernels_of(module).items():
        for plan in candidates(kernel, planned[name], target.features):
            measurer.compare(planned, {**planned, name: plan}, 1)


def model_of(body, inputs, output):
    """A model from ONNX's text form."""
    return onnx.parser.parse_model(
        f'<ir_version: 10, opset_import: ["" : 23]> m ({inputs}) => ({output} y) {{{body}}}'
    )


KINDS = {
    "few rows, bf16": (
        "y = MatMul(x, w)", "float[4, 96] x, float[96, 128] w", "float[4, 128]", "bf16"
    ),
    "rows, bf16": (
        "y = MatMul(x, w)", "float[80, 96] x, float[96, 64] w", "float[80, 64]", "bf16"
    ),
    "long k": (
        "y = MatMul(x, w)", "float[40, 1024] x, float[1024, 48] w", "float[40, 48]", "f32"
    ),
    "attention": (
        "y = Attention<is_causal = 1>(q, k, v)",
        ", ".join(f"float[1, 2, 70, 16] {name}" for name in "qkv"),
        "float[1, 2, 70, 16]",
        "f32",
    ),
    "by tiles": (
        "y = Conv<pads = [1, 1, 1, 1]>(x, w)",
        "float[1, 64, 28, 28] x, float[64, 64, 3, 3] w",
        "float[1, 64, 28, 28]",
        "f32",
    ),
    "depthwise": (
        "y = Conv<pads = [1, 1, 1, 1], group = 32>(x, w)",
        "float[1, 32, 14, 14] x, float[32, 1, 3, 3] w",
        "float[1, 32, 14, 14]",
        "f32",
    ),
    "windows": (
        "y = MaxPool<kernel_shape = [3, 3], strides = [2, 2]>(x)",
        "float[1, 32, 15, 15] x",
        "float[1, 32, 7, 7]",
        "f32",
    ),
    "elements": ("y = Add(x, x)", "float[50, 700] x", "float[50, 700]", "f32"),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_kernel_has_other_plans_that_agree(kind):
    *parts, precision = KINDS[kind]
    compilation, module = planless(model_of(*parts), threads=1, precision=precision)
    target = CpuTarget(threads=1)
    measurer = ProgramMeasurer(module, compilation.ctx, target, 1, input_values(module, {}, {}))
    planned = measurer.planned()
    tried = 0
    for name, kernel in kernels_of(module).items():
        for plan in candidates(kernel, planned[name], target.features):
            measurer.compare(planned, {**planned, name: plan}, 1)
            assert summary_of(plan, planned[name]) != "the same"
            tried += 1
    assert tried > 2


def test_units_and_what_lies_in_lanes_are_tried():
    features = named("sapphirerapids")

    def tried(kind):
        *parts, precision = KINDS[kind]
        compilation, module = planless(
            model_of(*parts), threads=1, precision=precision, target="cpu:sapphirerapids"
        )
        measurer = ProgramMeasurer(module, compilation.ctx, CpuTarget("sapphirerapids"), 1, [])
        planned = measurer.planned()
        return [
            (planned[name], other)
            for name, kernel in kernels_of(module).items()
            for other in candidates(kernel, planned[name], features)
        ]

    assert any(own.unit != other.unit for own, other in tried("few rows, bf16"))
    assert any(own.outer != other.outer for own, other in tried("rows, bf16"))
    assert all(own.unit == other.unit for own, other in tried("rows, bf16"))
    assert any(own.across != other.across for own, other in tried("attention"))
    assert any(own.paired != other.paired for own, other in tried("attention"))


def test_wrong_results_are_noticed(product):
    compilation, module = planless(product, threads=1)
    values = input_values(module, {}, {})
    measurer = ProgramMeasurer(module, compilation.ctx, CpuTarget(threads=1), 1, values)
    planned = measurer.planned()
    measurer.compare(planned, planned, 1)
    measurer._expected = [array + 1 for array in measurer._expected]
    name = next(n for n, kernel in kernels_of(module).items() if nest_of(kernel))
    other = candidates(kernels_of(module)[name], planned[name], measurer.target.features)[0]
    with pytest.raises(BrokenPlans, match="other results"):
        measurer.compare(planned, {**planned, name: other}, 1)


def test_results_agree_up_to_rounding():
    a = np.array([1.0, np.nan, np.inf, -100.0], np.float32)
    assert agree(a, a.copy())
    assert agree(a, np.array([1.5, np.nan, np.inf, -100.0], np.float32))
    assert not agree(a, np.array([9.0, np.nan, np.inf, -100.0], np.float32))
    assert not agree(a, np.array([1.0, 0.0, np.inf, -100.0], np.float32))
    assert not agree(a, a[:2])
    assert agree(np.array([3], np.uint8), np.array([4], np.uint8))
    assert not agree(np.array([True]), np.array([False]))


# What is kept


def kernel_of(path):
    _, module = planless(path)
    return next(k for k in kernels_of(module).values() if nest_of(k) is not None)


def test_findings_come_back_as_they_were(product):
    kernel = kernel_of(product)
    kept = Findings(named("native"), 2)
    assert not kept
    assert kept.load(kernel) is None
    finding = Finding(replace(BASE, order=(1, 0)), 0.25, (BASE,), True, {"B": 3})
    kept.store(kernel, finding)
    assert kept
    assert Findings(named("native"), 2).load(kernel) == finding


def test_the_key_is_the_processor_the_threads_the_code_and_the_kernel(product, monkeypatch):
    kernel = kernel_of(product)
    kept = Findings(named("native"), 2)
    name = kept.name_of(kernel)
    other = kernel.clone()
    other.properties["sym_name"] = type(kernel.sym_name)("renamed")
    other.properties["plan"] = BASE.attribute()
    assert kept.name_of(other) == name
    other.properties["steps"] = type(other.steps).of(["BM", 16])
    assert kept.name_of(other) != name
    folders = {kept.folder, Findings(named("native"), 1).folder}
    folders.add(Findings(named("x86-64-v3"), 2).folder)
    monkeypatch.setattr(findings_module, "code_version", lambda: "another")
    folders.add(Findings(named("native"), 2).folder)
    monkeypatch.setattr(findings_module, "model_name", lambda: "another")
    folders.add(Findings(named("native"), 2).folder)
    assert len(folders) == 5


def test_the_code_is_all_that_generates_code():
    folders = {path.parent.name for path in findings_module.code_sources()}
    assert {"products", "sweeps", "plans", "kernel", "functions", "llvm"} <= folders


@pytest.mark.parametrize(
    "entry",
    [b"", b"{}", b"[1]", b"not json", b'{"plan": 3}', b'{"plan": {"parameters": {"BM": "x"}}}'],
)
def test_entries_that_make_no_sense_are_ignored(product, entry):
    kernel = kernel_of(product)
    kept = Findings(named("native"), 2)
    kept._store.store(kept.name_of(kernel), entry)
    assert kept.load(kernel) is None
    x = np.ones((56, 96), np.float32)
    infini_ir.compile(product, threads=2)(x)


def test_damaged_files_are_ignored(product):
    kernel = kernel_of(product)
    kept = Findings(named("native"), 2)
    kept.store(kernel, Finding(BASE))
    (path,) = kept._store.folder.iterdir()
    path.write_bytes(path.read_bytes()[:-3])
    assert kept.load(kernel) is None


# Who uses it


def test_compiling_uses_what_was_found_and_says_so(product):
    x = np.random.default_rng(1).standard_normal((56, 96)).astype(np.float32)
    expected = infini_ir.compile(product, threads=1)(x)
    compilation, module = planless(product, threads=1)
    (name, kernel), *_ = [
        pair for pair in kernels_of(module).items() if nest_of(pair[1]) is not None
    ]
    measurer = ProgramMeasurer(module, compilation.ctx, CpuTarget(threads=1), 1, [])
    own = measurer.planned()[name]
    better = candidates(kernel, own, named("native"))[0]
    Findings(named("native"), 1).store(kernel, Finding(better, 0.12))
    used = Compilation(Options(threads=1))
    module = used.import_model(product)
    used.graph_passes(module)
    used.lower(module)
    plans = [Plan.read(k.plan) for k in kernels_of(module).values()]
    plan, *_ = [p for p in plans if p.reason.startswith("measured: 12% faster")]
    assert unreasoned(plan) == better
    assert any(d.by == "cpu-measured-plans" for d in used.ctx.decisions)
    np.testing.assert_allclose(infini_ir.compile(product, threads=1)(x), expected, rtol=1e-5)
    # Another number of threads is another matter.
    other = Compilation(Options(threads=2))
    module = other.import_model(product)
    other.graph_passes(module)
    other.lower(module)
    assert not any("measured" in Plan.read(k.plan).reason for k in kernels_of(module).values())


def test_a_finding_for_another_form_of_kernel_is_not_used(product):
    kernel = kernel_of(product)
    Findings(named("native"), 1).store(kernel, Finding(Plan({"BQ": 8}), 0.5))
    x = np.ones((56, 96), np.float32)
    infini_ir.compile(product, threads=1)(x)


def test_tuning_a_program_measures_and_keeps(product):
    compilation, module = planless(product, threads=1)
    report = tune_program(module, compilation.ctx, CpuTarget(threads=1), budget=2.0)
    assert report.trials
    assert 0 < report.reached <= 1.0
    assert Findings(named("native"), 1)
    assert not any(isinstance(k.plan, object) and k.plan for k in kernels_of(module).values())
    assert not compilation.ctx.decisions or all(
        d.by != "cpu-measured-plans" for d in compilation.ctx.decisions
    )


def test_code_for_another_machine_is_not_measured(product):
    compilation, module = planless(product, target="cpu:aarch64")
    with pytest.raises(OptionError, match="does not run code"):
        tune_program(module, compilation.ctx, CpuTarget("aarch64"))


def test_the_command(product, tmp_path):
    folder = tmp_path / "found"
    arguments = ["tune", product, "--budget", "1", "--threads", "1", "--cache", str(folder)]
    result = CliRunner().invoke(cli, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    assert facts["kernels"]
    assert 0 < facts["reached"] <= 1
    assert (folder / "plans").is_dir()
    text = CliRunner().invoke(cli, arguments).stdout
    assert "untuned plans" in text
    refused = CliRunner().invoke(cli, ["tune", product, "--target", "nvidia"])
    assert refused.exit_code == 1
    assert "measures plans for the cpu" in refused.output


def test_compile_tunes_first(product, tmp_path, monkeypatch):
    from infini_ir.targets.cpu.tuning import passes

    whole = passes.tune_program
    monkeypatch.setattr(
        passes,
        "tune_program",
        lambda *given, **named: whole(*given, **{**named, "budget": 0.5}),
    )
    output = tmp_path / "m.infini"
    result = CliRunner().invoke(
        cli, ["compile", product, "-o", str(output), "--tune", "--threads", "1"]
    )
    assert result.exit_code == 0, result.output
    assert output.exists()


def test_views_of_kernels_are_not_changed(product):
    """Trials work on copies: the module that is tuned stays without plans."""
    compilation, module = planless(product, threads=1)
    before = str(module)
    tune_program(module, compilation.ctx, CpuTarget(threads=1), budget=0.5)
    assert str(module) == before
    assert all(isinstance(k, tile.KernelOp) for k in kernels_of(module).values())
