"""The benchmarks' bookkeeping: rows that are kept, tables made of them, pages that show them."""

import json
import math

import pytest
from click.testing import CliRunner

from benchmarks import models, report, tables
from benchmarks.export import main as export
from benchmarks.results import Results, geometric_mean, revision

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
    found = Results.read("models-f32", tmp_path)
    found.machine = MACHINE
    found.rows["fast"] = row(0.001, 0.004)
    found.rows["slow"] = row(0.1234567, 0.1234567 / 4)
    found.rows["broken"] = {"revision": revision(), "threads": 2, "problem": "no operator"}
    found.rows["alone"] = row(0.5, 0.5, ratios={}, failed={"other": "no memory"})
    return found


def test_results_are_kept(results, tmp_path):
    results.write()
    again = Results.read("models-f32", tmp_path)
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
    lines = tables.models_table(results).splitlines()
    assert lines[0] == "| model | ms | other | error | compile s |"
    assert lines[2] == "| fast | 1 | 4.00 | 1e-06 | 1.2 |"
    assert lines[3] == "| slow | 123 | **0.25** | 1e-06 | 1.2 |"
    assert lines[4].startswith("| broken | failed |")
    assert lines[5].startswith("| alone | 500 | - |")
    assert lines[6].startswith("| geometric mean |  | 1.00 |")
    (summary,) = tables.summary_lines(results)
    assert summary == (
        "- other: geometric mean 1.00, worst 0.25 (slow); as fast or faster on 1 of 2"
    )
    assert tables.losses(results) == [
        "- infini fails on broken: no operator",
        "- other fails on alone: no memory",
    ]


def test_other_precisions_are_said(results):
    results.rows = {"a": row(1.0, 2.0, precisions={"infini": "bf16", "other": "f32"})}
    assert "| model | ms | other (f32) | error |" in tables.models_page(results)
    assert "- largest errors: infini 1e-06 (a)" in tables.models_page(results)


def test_report_fills_what_was_measured(results, tmp_path):
    results.write()
    text = "a\n<!-- speed -->\nold\n<!-- end -->\nb\n<!-- products -->\nkept\n<!-- end -->\n"
    filled = report.fill(text, tmp_path)
    assert "old" not in filled
    assert filled.startswith("a\n<!-- speed -->\nMeasured on 2 threads of 2 cores, P (avx2)")
    assert filled.endswith("<!-- end -->\nb\n<!-- products -->\nkept\n<!-- end -->\n")
    assert report.fill(filled, tmp_path) == filled
    with pytest.raises(SystemExit, match="no results are called 'nothing'"):
        report.fill("<!-- nothing -->\n<!-- end -->", tmp_path)


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
    case = models.Case("no-such-model")
    assert "No such file" in models.measure(case, "f32", [], 1, 1, False)["problem"]


def test_export(tmp_path):
    pytest.importorskip("torch")
    assert CliRunner().invoke(export, [str(tmp_path), "--models", "mlp"]).exit_code == 0
    assert {path.name for path in tmp_path.iterdir()} == {"mlp.onnx", "mlp.npz"}
