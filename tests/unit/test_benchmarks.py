"""The benchmarks' bookkeeping: rows that are kept, tables made of them, pages that show them."""

import json
import math

import pytest
from click.testing import CliRunner

from benchmarks import compiler_tables, memory, model_tables, models, report, tables, tuning
from benchmarks.cases import Case
from benchmarks.export import main as export
from benchmarks.results import Results, geometric_mean, kind_of_processor, revision

MACHINE = {
    "processor": "P",
    "cores": 2,
    "features": ["avx2"],
    "threads": 2,
    "versions": {"infini": "0.1.0"},
    "date": "2026-01-01",
}


def row(ours: float, theirs: float, **more) -> dict:
    seconds = {"infini": ours, "other": theirs}
    return {
        "revision": revision(),
        "threads": 2,
        "seconds": seconds,
        "ratios": {"other": theirs / ours},
        "errors": {"infini": 1e-6},
        "cold": {"infini": {"cpu_seconds": 1.25}},
        "failed": {},
        **more,
    }


@pytest.fixture
def results(tmp_path) -> Results:
    found = Results.read("models-f32", tmp_path / "m")
    found.machine = MACHINE
    found.rows["fast"] = row(0.001, 0.004)
    found.rows["slow"] = row(0.1234567, 0.1234567 / 4)
    found.rows["broken"] = {"revision": revision(), "threads": 2, "problem": "no operator"}
    found.rows["alone"] = row(0.5, 0.5, ratios={}, failed={"other": "no memory"})
    return found


def test_results_are_kept(results, tmp_path):
    results.write()
    again = Results.read("models-f32", tmp_path / "m")
    assert again.machine == MACHINE
    assert again.rows["slow"]["seconds"]["infini"] == 0.1235
    assert again.done("fast", 2)
    assert not again.done("fast", 1)
    assert not again.done("broken", 2)
    assert not again.done("unknown", 2)
    again.rows["fast"]["revision"] = "another"
    assert not again.done("fast", 2)


def test_files_of_another_schema_count_as_none(tmp_path):
    (tmp_path / "products.json").write_text(json.dumps({"schema": 0}))
    assert Results.read("products", tmp_path).rows == {}


def test_geometric_mean():
    assert geometric_mean([]) == 1
    assert math.isclose(geometric_mean([4, 0.25, 8]), 2)


def test_models_table(results):
    lines = model_tables.models_table(results).splitlines()
    assert lines[0] == "| model | ms | other | error |"
    assert lines[2] == "| fast | 1 | 4.00 | 1e-06 |"
    assert lines[3] == "| slow | 123 | **0.25** | 1e-06 |"
    assert lines[4].startswith("| broken | failed |")
    assert lines[5].startswith("| alone | 500 | - |")
    assert lines[6].startswith("| **geometric mean** of all |  | 1.00 |")
    (summary,) = tables.summary_lines(results)
    assert summary == (
        "- other: geometric mean 1.00, worst 0.25 (slow); as fast or faster on 1 of 2"
    )
    assert tables.failures(results) == [
        "- infini fails on broken: no operator",
        "- other fails on alone: no memory",
    ]


def test_other_precisions_are_said(results):
    results.rows = {"a": row(1.0, 2.0, precisions={"infini": "bf16", "other": "f32"})}
    page = model_tables.models_page(results)
    assert "| model | ms | other (f32) | error |" in page
    assert "- largest errors: infini 1e-06 (a)" in page


def test_the_best_engine_and_the_chief_networks(results):
    both = {"onnxruntime": 2.0, "torch": 0.5}
    results.rows = {
        "bert": row(1.0, 2.0, ratios=both),
        "resnet50": row(1.0, 2.0, ratios={"onnxruntime": 4.0}),
        "resnet50_batch8": row(1.0, 2.0, ratios={"onnxruntime": 1.0}),
    }
    page = model_tables.models_page(results)
    assert "| model | ms | onnxruntime | torch | best engine | error |" in page
    assert "| bert | 1000 | 2.00 | **0.50** | **0.50** | 1e-06 |" in page
    assert "| resnet50 | 1000 | 4.00 | - | 4.00 | 1e-06 |" in page
    assert "| **geometric mean** of these |  | 2.83 | **0.50** | 1.41 |  |" in page
    assert "| **geometric mean** of all |  | 2.00 | **0.50** | 1.26 |  |" in page
    assert "The 2 networks:" in page
    assert (
        "- the best engine of each row: geometric mean 1.41, worst 0.50 (bert); as fast or "
        "faster on 1 of 2" in page
    )


def test_errors_by_those_of_onnxruntime(results):
    same, other = ({"infini": "f32", "onnxruntime": p} for p in ("f32", "bf16"))
    errors = {"infini": 3e-6, "onnxruntime": 1e-6}
    results.rows = {
        "a": row(1.0, 2.0, errors=errors, precisions=same),
        "b": row(1.0, 2.0, errors={**errors, "infini": 1e-6}, precisions=same),
        "c": row(1.0, 2.0, errors=errors, precisions=other),
    }
    page = model_tables.models_page(results)
    assert "| a | 1000 | 2.00 | 3e-06 | **3.0** |" in page
    assert "| b | 1000 | 2.00 | 1e-06 | 1.0 |" in page
    assert "| c | 1000 | 2.00 | 3e-06 | - |" in page
    assert "- error at most 2 times onnxruntime's on 1 of 2, at most 3.0 times (a)" in page


def test_causes_are_short():
    openvino = (
        "Exception from src/core.cpp:84: Check 'false' failed at src/a/b.cpp:151: FrontEnd API "
        "failed with OpConversionFailure: Model wasn't fully converted. Failed operations "
        "detailed log: -- QLinearConv-20 with a message"
    )
    assert tables.cause_of(openvino) == (
        "FrontEnd API failed with OpConversionFailure: Model wasn't fully converted."
    )
    missing = "no form in PyTorch for Cast, Equal, Exp, Expand, Max"
    assert tables.cause_of(missing) == "no form in PyTorch for Cast, Equal and 3 more"
    assert tables.cause_of("no form in PyTorch for Cast, Equal") == (
        "no form in PyTorch for Cast, Equal"
    )
    assert len(tables.cause_of("word " * 100)) <= tables.MOST_CAUSE + 4


def test_alike_failures_stand_together(results):
    results.rows = {n: row(1.0, 2.0, failed={"other": "no memory"}) for n in ("a", "b")}
    assert tables.failures(results) == ["- other fails on a, b: no memory"]


FACTS = {
    "reached": 0.9,
    "rounds": 3,
    "complete": False,
    "trials": [1, 2],
    "kernels": [
        {"kernel": "k", "planned_seconds": 0.9, "tuned_seconds": 0.8, "change": "BN=64"},
        {"kernel": "m", "planned_seconds": 0.1, "tuned_seconds": 0.1, "change": ""},
    ],
}


def test_page_of_tuning(results):
    base = {"failed": {}}
    results.rows = {"a f32": tuning.short_row(FACTS) | base}
    results.rows["b f32"] = tuning.short_row({**FACTS, "kernels": FACTS["kernels"][1:]}) | base
    page = compiler_tables.tuning_page(results)
    assert "| a f32 | 1000 | 900 | 90.0% | 2 (more to try) | k: 11%, BN=64 |" in page
    assert "| b f32 | 100 | 100 | 90.0% | 2 (more to try) | - |" in page
    assert (
        "reach 90.0% of the speed of measured ones on average, at least 90.0% (a f32)" in page
    )


def test_page_of_memory(results):
    ours = {"compiled": 200e6, "from artifact": 50e6, "compiled again": 60e6}
    ready = {"from artifact": 0.025, "compiled again": 0.045}
    peaks = {**ours, "onnxruntime": 100e6}
    results.rows = {"a": {"failed": {}, "peaks": peaks, "ready_seconds": ready}}
    page = compiler_tables.memory_page(results)
    assert "| MB | compiled | from artifact | compiled again | onnxruntime | onnx" in page
    assert "| a | 200 | 50 | 60 | 100 | **0.50** | 25 | 45 |" in page


def test_memory_of_processes():
    from infini_ir.models import zoo

    pytest.importorskip("onnxruntime")
    pytest.importorskip("torch")
    found = memory.measure(zoo.measured()["mlp"], ["onnxruntime"], 1)
    peaks = found["peaks"]
    assert 0 < peaks["from artifact"] < peaks["compiled"]
    assert peaks["compiled again"] < 0.7 * peaks["compiled"], "it was not kept"
    assert peaks["onnxruntime"] > 0
    assert all(0 < seconds < 60 for seconds in found["ready_seconds"].values())


def test_a_model_is_tuned():
    from infini_ir.models import zoo

    pytest.importorskip("torch")
    found = tuning.measure(zoo.measured()["mlp"], "f32", 2.0, 1)
    assert 0 < found["reached"] <= 1, found
    assert found["tried"] > 0


def test_report_fills_what_was_measured(results, tmp_path):
    results.write()
    begin, middle = "a\n<!-- m/speed -->\n", "<!-- end -->\nb\n<!-- m/products -->\n"
    text = f"{begin}old\n{middle}kept\n<!-- end -->\n"
    filled = report.fill(text, tmp_path)
    assert "old" not in filled
    assert filled.startswith(f"{begin}Measured on 2 threads of 2 cores, P (avx2)")
    assert filled.endswith(f"{middle}kept\n<!-- end -->\n")
    assert report.fill(filled, tmp_path) == filled
    with pytest.raises(SystemExit, match="no results are called 'nothing'"):
        report.fill("<!-- m/nothing -->\n<!-- end -->", tmp_path)


def test_tables_of_other_machines_are_kept(results, tmp_path):
    results.write()
    text = "<!-- another/speed -->\nkept\n<!-- end -->\n"
    assert report.fill(text, tmp_path) == text


@pytest.mark.parametrize(
    ("name", "features", "kind"),
    [
        ("Intel(R) Xeon(R) Processor", ["avx2", "avx512f", "amx-bf16"], "intel-xeon-amx"),
        ("AMD EPYC", ["avx2", "avx512f"], "amd-epyc-avx512"),
        (
            "Intel(R) Core(TM) i7-8650U CPU @ 1.90GHz",
            ["avx2", "fma"],
            "intel-core-i7-8650u-avx2",
        ),
        ("", [], "unknown"),
    ],
)
def test_kinds_of_processors(name, features, kind):
    assert kind_of_processor(name, features) == kind


def test_pages_name_only_results_that_there_are(tmp_path):
    for page in report.PAGES:
        text = (report.ROOT / page).read_text()
        assert report.fill(text, tmp_path) == text
        assert text.count("<!-- end -->") >= 1


def test_models_measured_and_resumed(tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("torch")
    arguments = ["--models", "mlp", "--against", "onnxruntime", "--rounds", "1"]
    arguments += ["--results", str(tmp_path)]
    done = CliRunner().invoke(models.main, arguments)
    assert done.exit_code == 0, done.output
    path = tmp_path / "models-f32.json"
    (found,) = json.loads(path.read_text())["rows"].values()
    assert found["ratios"]["onnxruntime"] > 0
    assert found["errors"]["infini"] < 1e-5
    assert found["cold"]["infini"]["cpu_seconds"] > 0
    stamp = path.stat().st_mtime_ns
    again = CliRunner().invoke(models.main, arguments)
    assert "| mlp |" in again.output
    assert path.stat().st_mtime_ns == stamp


def test_a_model_of_ours_that_fails_is_a_row(tmp_path):
    case = Case("no-such-model")
    assert "No such file" in models.measure(case, "f32", [], 1, 1, False)["problem"]


def test_export(tmp_path):
    pytest.importorskip("torch")
    assert CliRunner().invoke(export, [str(tmp_path), "--models", "mlp"]).exit_code == 0
    assert {path.name for path in tmp_path.iterdir()} == {"mlp.onnx", "mlp.npz"}
