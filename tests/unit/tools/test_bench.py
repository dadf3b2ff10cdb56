"""`infini bench`: its engines, its arithmetic, its files."""

import itertools
import json
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import fake_engines
import numpy as np
import onnx
import onnx.parser
import pytest
from click.testing import CliRunner, Result
from tool_models import mlp_reference

from infini_ir.tools import comparison
from infini_ir.tools.comparison import output_errors
from infini_ir.tools.engines import fresh
from infini_ir.tools.engines.engine import ENGINES, Job, choose_engines, find_engine, version
from infini_ir.tools.engines.reference import reference_outputs
from infini_ir.tools.infini.cli import cli
from infini_ir.tools.turns import Turns, ratios, summary
from infini_ir.utils.errors import InfiniError, OptionError

QUICK = ("--rounds", "3", "--threads", "1", "--no-cold")


@pytest.fixture(autouse=True)
def fakes(monkeypatch):
    """The engines of `fake_engines`, and outputs compared with ours."""
    for name in ("Slow", "Keeping", "Failing", "Misshapen", "Absent"):
        monkeypatch.setitem(ENGINES, name.lower(), f"fake_engines:{name}")

    def reference(job: Job):
        return "numpy", [mlp_reference(job.arrays["x"])]

    monkeypatch.setattr(comparison, "reference_outputs", reference)


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["bench", *map(str, arguments)])


def answer(*arguments: object) -> dict:
    result = invoke(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def job(model: str, rows: int = 3) -> Job:
    x = np.random.default_rng(0).standard_normal((rows, 16)).astype(np.float32)
    return Job(model, {"x": x}, ("y",), threads=1)


# Turns


class Clock:
    """A time that passes only when calls are made."""

    def __init__(self) -> None:
        self.now = 0.0
        self.events: list[str] = []
        self.used = 0.0
        self.spinning = 0
        """Pauses in which a thread still spins."""

    def call(self, name: str, seconds: float):
        def run() -> None:
            self.now += seconds
            self.events.append(name)

        return run


def turns(clock: Clock, rounds: int, **more) -> Turns:
    def sleep(seconds: float) -> None:
        clock.events.append("pause")
        if clock.spinning > 0:
            clock.spinning -= 1
            clock.used += seconds

    return Turns(
        rounds,
        clock=lambda: clock.now,
        sleep=sleep,
        processor_time=lambda: clock.used,
        most_repeats=2,
        **more,
    )


def test_every_turn_is_a_pause_a_call_and_calls_that_count():
    clock = Clock()
    calls = {"a": clock.call("a", 1.0), "b": clock.call("b", 3.0)}
    samples = turns(clock, 2).measure(calls)
    assert samples == {"a": [1.0, 1.0], "b": [3.0, 3.0]}
    counting = ["pause", "a", "a", "a", "pause", "b", "b", "b"]  # how often a turn repeats them
    a, b = ["pause", "a", "a", "a"], ["pause", "b", "b", "b"]
    assert clock.events == [*counting, *a, *b, *b, *a]


def test_a_turn_waits_until_threads_that_spin_have_stopped():
    clock = Clock()
    clock.spinning = 2
    assert turns(clock, 1).measure({"a": clock.call("a", 1.0)}) == {"a": [1.0]}
    assert clock.events == [*["pause"] * 3, "a", "a", "a", "pause", "a", "a", "a"]
    clock.spinning = 10**9
    assert turns(clock, 1).measure({"a": clock.call("a", 1.0)}) == {"a": [1.0]}


def test_time_runs_out_after_three_rounds():
    clock = Clock()
    samples = turns(clock, 10, most_seconds=0.0).measure({"a": clock.call("a", 1.0)})
    assert len(samples["a"]) == 3


def test_ratios_are_medians_over_the_rounds():
    samples = {"infini": [1.0, 2.0, 4.0], "other": [3.0, 2.0, 8.0]}
    assert ratios(samples, "infini") == {"other": 2.0}  # of 3, 1 and 2
    assert summary(samples)["other"] == {"median": 3.0, "min": 2.0, "max": 8.0}


# Engines


def test_choosing_engines():
    assert choose_engines(["slow,failing", "slow"]) == ["slow", "failing"]
    assert "slow" in choose_engines(["all"])
    assert "absent" not in choose_engines(["all"])
    with pytest.raises(OptionError, match="pip install a-package-that-nobody-has another"):
        choose_engines(["absent"])
    with pytest.raises(OptionError, match="there is no engine 'ort'; there are: onnxruntime"):
        choose_engines(["ort"])
    with pytest.raises(OptionError, match="always measured"):
        choose_engines(["infini"])


@pytest.mark.parametrize("name", ["onnxruntime", "openvino", "torch", "iree"])
def test_engine(name, mlp):
    engine = find_engine(name)
    if version(engine) is None:
        pytest.skip(f"{' '.join(engine.packages)} is not installed: {name} is not tested")
    engine.load()
    given = job(mlp)
    ready = engine.prepare(given)
    (output,) = ready.read(ready.call())
    np.testing.assert_allclose(output, mlp_reference(given.arrays["x"]), rtol=1e-4, atol=1e-5)
    assert ready.precision == "f32"


def test_fresh_process(mlp):
    cost = fresh.measure("slow", job(mlp))
    assert cost["wall_seconds"] >= fake_engines.SECONDS
    assert cost["cpu_seconds"] > 0
    assert cost["peak_memory_bytes"] > 10e6
    with pytest.raises(InfiniError, match="no kernel"):
        fresh.measure("failing", job(mlp))


def test_errors_are_shares_of_the_largest_element():
    wanted = np.array([4.0, -8.0, np.nan, np.inf])
    given = np.array([4.0, -7.0, np.nan, np.inf])
    assert output_errors(["y"], [given], [wanted]) == {"y": 0.125}
    assert output_errors(["y"], [np.zeros((0, 2))], [np.zeros((0, 2))]) == {"y": 0.0}
    with pytest.raises(InfiniError, match=r"shape \[4\], but the reference gives \[3\]"):
        output_errors(["y"], [given], [wanted[:3]])


def test_reference(mlp):
    given = job(mlp)
    found = reference_outputs(given)
    assert found is not None
    description, (output,) = found
    assert description in ("float64, by PyTorch", "f32, by onnxruntime", "f32, by infini")
    np.testing.assert_allclose(output, mlp_reference(given.arrays["x"]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["openvino", "torch"])
def test_engine_in_bf16(name, mlp):
    engine = find_engine(name)
    if version(engine) is None:
        pytest.skip(f"{name} is not installed: its bf16 is not tested")
    given = replace(job(mlp), precision="bf16")
    ready = engine.prepare(given)
    (output,) = ready.read(ready.call())
    assert ready.precision == "bf16"
    wanted = mlp_reference(given.arrays["x"])
    assert np.abs(output - wanted).max() < 0.03 * np.abs(wanted).max()


def test_pools_of_files_in_torch(tmp_path):
    """With padding on one side, and windows that the end cuts, as well as without."""
    torch = pytest.importorskip("torch")
    onnxruntime = pytest.importorskip("onnxruntime")
    from infini_ir.tools.engines.onnx_in_torch import OnnxModule

    x = np.random.default_rng(0).standard_normal((1, 2, 9, 9)).astype(np.float32) - 3
    for pool, attributes in itertools.product(("MaxPool", "AveragePool"), POOLS):
        if pool == "AveragePool" and "ceil" in attributes:
            continue
        more = ", count_include_pad = 1" if attributes.endswith("!") else ""
        more = more if pool == "AveragePool" else ""
        text = f"""<ir_version: 8, opset_import: ["" : 17]>
            pools (float[1, 2, 9, 9] x) => (float[N, C, H, W] y)
            {{ y = {pool}<{attributes.rstrip("!")}{more}>(x) }}"""
        path = tmp_path / "pool.onnx"
        onnx.save(onnx.parser.parse_model(text), path)
        (wanted,) = onnxruntime.InferenceSession(str(path)).run(None, {"x": x})
        (given,) = OnnxModule(str(path), ["x"])(torch.from_numpy(x))
        np.testing.assert_allclose(given.numpy(), wanted, rtol=1e-5, atol=1e-5)


POOLS = (
    "kernel_shape = [3, 3]",
    "kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]",
    "kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]!",
    "kernel_shape = [3, 3], strides = [2, 2], pads = [0, 0, 1, 1]",
    "kernel_shape = [3, 3], strides = [2, 2], pads = [0, 1, 1, 0]!",
    "kernel_shape = [3, 3], strides = [2, 2], ceil_mode = 1",
)
"""Attributes; ! counts the padding in averages."""


# The command


def test_table(mlp):
    result = invoke(mlp, "--against", "slow,failing", "--against", "misshapen", *QUICK)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert any(line.startswith(" slow (f32)") and "5.0e-01" in line for line in lines)
    assert any("failing failed:" in line and "no kernel for this" in line for line in lines)
    assert any("misshapen failed:" in line and "shape [1]" in line for line in lines)
    assert re.search(r"infini against slow: +[\d.]+ times as fast", result.stdout)
    assert "measured on: 1 threads of" in result.stdout


def test_json(mlp):
    facts = answer(mlp, "--against", "slow,failing", *QUICK)
    assert facts["failed"] == {"failing": "no kernel for this operator"}
    assert facts["errors"]["slow"] == {"y": pytest.approx(fake_engines.FACTOR - 1, rel=1e-4)}
    assert facts["error"]["y"] < 1e-6
    assert facts["reference"] == "numpy"
    assert set(facts["times"]) == {"infini", "slow"}
    assert facts["times"]["slow"]["min"] >= fake_engines.SECONDS
    assert facts["ratios"]["slow"] > 1
    assert facts["rounds"] == 3
    assert facts["machine"]["threads"] == facts["threads"] == 1
    assert facts["machine"]["versions"]["slow"] == np.__version__
    assert answer(mlp, "--against", "slow", *QUICK)["ratio"] > 1


def test_json_file_of_several_models(mlp, compiled, tmp_path):
    path = tmp_path / "times.json"
    result = invoke(mlp, compiled, "--json", path, *QUICK)
    assert result.exit_code == 0, result.output
    assert "measured on" in result.stdout
    facts = json.loads(path.read_text())
    assert facts["schema"] == 1
    assert [row["model"] for row in facts["models"]] == [mlp, compiled]
    assert "compile_seconds" in facts["models"][0]
    assert "load_seconds" in facts["models"][1]


def test_json_prints_whatever_follows(mlp):
    result = invoke("--json", mlp, *QUICK)
    assert json.loads(result.stdout)["model"] == mlp


def test_cold_costs(mlp):
    facts = answer(mlp, "--against", "slow,failing", "--rounds", "1", "--threads", "1")
    cold = facts["cold"]
    assert cold["infini"]["cpu_seconds"] > 0
    assert cold["slow"]["peak_memory_bytes"] > 0
    assert "no kernel" in cold["failing"]["failed"]
    assert facts["peak_memory_bytes"] == cold["infini"]["peak_memory_bytes"]


def test_costs_without_fresh_processes(mlp):
    cold = answer(mlp, "--against", "slow,keeping", *QUICK)["cold"]
    assert set(cold) == {"infini", "slow"}
    assert cold["slow"]["wall_seconds"] >= fake_engines.SECONDS
    assert "peak_memory_bytes" not in cold["slow"]


def test_network_of_the_zoo():
    pytest.importorskip("torch")
    facts = answer("mlp", *QUICK)
    assert facts["sizes"] == {"batch": 1}


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_plot(suffix, mlp, compiled, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: no plot is tested")
    path = tmp_path / f"times{suffix}"
    assert invoke(mlp, "--against", "slow", "--plot", path, *QUICK).exit_code == 0
    content = path.read_bytes()
    if suffix == ".png":
        assert content.startswith(b"\x89PNG\r\n\x1a\n")
        assert content.rstrip().endswith(b"IEND\xaeB`\x82")
    else:
        assert ElementTree.fromstring(content).tag.endswith("svg")
    assert invoke(mlp, compiled, "--plot", path, *QUICK).exit_code == 0


def refused(*arguments: object) -> str:
    result = invoke(*arguments)
    assert result.exit_code != 0
    assert result.stdout == ""
    return result.stderr


def test_refusals(mlp, compiled, tmp_path, monkeypatch):
    assert "pip install a-package" in refused(mlp, "--against", "absent")
    assert "wants the ONNX model" in refused(compiled, "--against", "slow")
    assert ".png or .svg" in refused(mlp, "--plot", tmp_path / "times.pdf")
    assert "no folder" in refused(mlp, "--plot", tmp_path / "none" / "times.png")
    assert "no folder" in refused(mlp, "--json", tmp_path / "none" / "times.json")
    assert "--input is for one model" in refused(mlp, mlp, "--input", "x=x.npy")
    assert "No such file" in refused("no-such-network")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install infini-ir[bench]" in refused(mlp, "--plot", tmp_path / "times.png")
