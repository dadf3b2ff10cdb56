"""The command line `infini`: what each command gives, and how each says what is wrong."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from tool_models import mlp_reference, save, unsupported_model

from infini_ir.tools.infini.cli import COMMANDS, cli

TOOL = [
    sys.executable,
    "-c",
    "from infini_ir.tools.infini import main; raise SystemExit(main())",
]


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(cli, [str(a) for a in arguments])


def answer(*arguments: str):
    """The JSON that a command prints."""
    result = invoke(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


# What commands give


def test_help_names_every_command():
    result = invoke("--help")
    assert result.exit_code == 0
    assert all(f"\n  {name} " in result.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name):
    result = invoke(name, "--help")
    assert result.exit_code == 0
    assert "--traceback" in result.stdout


def test_compile_and_run(mlp, tmp_path):
    output = tmp_path / "mlp.infini"
    facts = answer("compile", mlp, "-o", output, "--threads", "1")
    assert facts["bytes"] == output.stat().st_size
    assert facts["inputs"] == [{"name": "x", "dtype": "f32", "shape": ["B", 16]}]
    x = np.random.default_rng(1).standard_normal((3, 16)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    saved = tmp_path / "out"
    ran = answer("run", output, "--input", f"x={tmp_path}/x.npy", "--output", saved)
    assert ran["sizes"] == {"B": 3}
    np.testing.assert_allclose(np.load(saved / "y.npy"), mlp_reference(x), rtol=1e-5, atol=1e-5)


def test_compile_names_the_output_after_the_model(mlp, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = invoke("compile", mlp)
    assert result.exit_code == 0
    assert result.stdout.startswith("wrote:   mlp.infini")
    assert (tmp_path / "mlp.infini").exists()


def test_compile_with_a_shape(mlp, tmp_path):
    facts = answer("compile", mlp, "-o", tmp_path / "m.infini", "--input", "x=4x16")
    assert facts["outputs"][0]["shape"] == [4, 8]


@pytest.mark.parametrize(
    ("level", "text"),
    [("graph", "graph.fusion"), ("tile", "tile.launch"), ("llvm", "define"), ("asm", ".text")],
)
def test_compile_emits_a_level(mlp, level, text):
    result = invoke("compile", mlp, "--emit", level, "--target", "cpu:x86-64-v3")
    assert result.exit_code == 0, result.output
    assert text in result.stdout


def test_compile_checks_semantics(mlp, tmp_path):
    result = invoke("compile", mlp, "-o", tmp_path / "m.infini", "--check-semantics")
    assert result.exit_code == 0, result.output


def test_run_makes_inputs(mlp):
    facts = answer("run", mlp, "--shape", "B=5", "--seed", "7")
    assert facts["inputs"][0]["shape"] == [5, 16]
    assert facts["outputs"][0]["shape"] == [5, 8]
    assert facts == {
        **answer("run", mlp, "--shape", "B=5", "--seed", "7"),
        "seconds": facts["seconds"],
    }


def test_run_shows_tables(compiled):
    result = invoke("run", compiled)
    assert result.exit_code == 0
    assert "first values" in result.stdout
    assert "first call" in result.stdout


def test_run_saves_npz(compiled, tmp_path):
    x = np.ones((2, 16), np.float32)
    np.savez(tmp_path / "in.npz", x=x)
    path = tmp_path / "out.npz"
    answer("run", compiled, "--input", tmp_path / "in.npz", "--output", path)
    np.testing.assert_allclose(np.load(path)["y"], mlp_reference(x), rtol=1e-5, atol=1e-5)


def test_inspect_artifact(compiled):
    facts = answer("inspect", compiled, "--verify")
    assert facts["verified"]
    assert facts["runs_here"]
    assert facts["symbols"] == ["B"]
    assert facts["sections"]["code"] > 0
    assert "compiled model" in invoke("inspect", compiled).stdout


def test_inspect_onnx(mlp):
    facts = answer("inspect", mlp)
    assert facts["operators"] == {"MatMul": 1, "Add": 1, "Relu": 1}
    assert facts["operations"]["graph.dot"] == 1
    assert "ONNX operators" in invoke("inspect", mlp).stdout


def test_inspect_says_why_a_model_cannot_be_imported(tmp_path):
    facts = answer("inspect", save(unsupported_model(), tmp_path / "m.onnx"))
    assert facts["operators"]["Frobnicate"] == 1
    assert "Frobnicate" in facts["problem"]


def test_explain(mlp):
    limits = ("--peak", "100", "--bandwidth", "10")
    facts = answer("explain", mlp, "--shape", "B=64", *limits)
    (launch,) = facts["launches"]
    assert launch["operations"] == pytest.approx(2 * 64 * 16 * 8 + 2 * 64 * 8)
    assert launch["bytes"] == 4 * (64 * 16 + 16 * 8 + 64 * 8 + 8)
    assert launch["limit_seconds"] == pytest.approx(launch["bytes"] / 10e9)
    assert "dot" in launch["origin"]
    assert facts["decisions"]
    text = invoke("explain", mlp, *limits).stdout
    assert "of traffic" in text
    assert "decisions" in text
    assert "saves about" in text
    assert facts["decisions"][0]["worth_seconds"] > 0


def test_explain_measures(mlp):
    facts = answer("explain", mlp, "--measure", "--threads", "1")
    assert facts["machine"]["gflops"] > 0
    assert facts["machine"]["l1_gb_per_second"] > 0
    totals = facts["totals"]
    assert 0 < totals["measured_seconds"] < 0.1
    assert 0 < totals["alone_seconds"] < 0.1
    assert totals["in_launches_seconds"] == pytest.approx(totals["measured_seconds"])
    assert totals["fraction_of_limit"] > 0
    assert facts["launches"][0]["turns"] == 1


def test_explain_measures_in_place_by_kernel(mlp, tmp_path):
    np.save(tmp_path / "x.npy", np.ones((5, 16), np.float32))
    given = ("--measure", "place", "--data", f"x={tmp_path}/x.npy", "--threads", "1")
    facts = answer("explain", mlp, *given)
    assert facts["sizes"] == {"B": 5}
    assert facts["totals"]["alone_seconds"] is None
    (kernel,) = facts["kernels"]
    assert kernel["launches"] == [0]
    text = invoke("explain", mlp, *given, "--by", "kernel").stdout
    assert "of the machine's limit" in text
    assert "times" in text
    assert "decisions" not in text


def test_bench(mlp):
    pytest.importorskip("onnxruntime")
    arguments = ("--rounds", "2", "--threads", "1")
    facts = answer("bench", mlp, "--against", "onnxruntime", *arguments)
    assert facts["error"]["y"] < 1e-5
    assert facts["ratio"] == facts["ratios"]["onnxruntime"]
    assert facts["times"]["onnxruntime"]["median"] > 0
    result = invoke("bench", mlp, *arguments)
    assert "cold compile" in result.stdout


def test_targets():
    known = answer("targets")
    assert {row["target"] for row in known["targets"]} >= {"cpu", "nvidia", "ascend", "cuda-c"}
    facts = {row["target"]: row for row in known["processors"]}
    assert facts["cpu:native"]["runs_here"]
    assert facts["cpu:x86-64-v3"]["vector_bytes"] == 32
    assert "cpu:native" in invoke("targets").stdout


def test_doctor():
    facts = answer("doctor")
    assert facts["healthy"]
    assert facts["dependencies"]["xdsl"]
    assert "ok    compile and run" in invoke("doctor").stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell):
    result = invoke("completion", shell)
    assert result.exit_code == 0
    assert "_INFINI_COMPLETE" in result.stdout


# What is wrong


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def refused(*arguments: str, code: int = 1) -> str:
    """The line of a refusal."""
    result = invoke(*arguments)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    assert result.stdout == ""
    if code == 1:
        assert result.stderr.startswith("error: ")
        assert result.stderr.count("\n") == 1
    return result.stderr


@pytest.mark.parametrize("name", ["compile", "run", "inspect", "explain", "bench"])
def test_missing_model(name, tmp_path):
    assert "No such file" in refused(name, tmp_path / "none.onnx")


@pytest.mark.parametrize("name", ["run", "inspect", "bench"])
def test_missing_artifact(name, tmp_path):
    assert "No such file" in refused(name, tmp_path / "none.infini")


def test_empty_model(tmp_path):
    assert "empty" in refused("run", write(tmp_path / "m.onnx", b""))


def test_truncated_model(mlp, tmp_path):
    content = Path(mlp).read_bytes()
    path = write(tmp_path / "m.onnx", content[: len(content) // 2])
    assert str(path) in refused("run", path)


def test_not_a_model(tmp_path):
    path = write(tmp_path / "notes.txt", b"these are notes, no model\n")
    assert "not an ONNX model" in refused("run", path)


def test_folder_as_model(tmp_path):
    assert "directory" in refused("run", tmp_path)


def test_unsupported_operator(tmp_path):
    path = save(unsupported_model(), tmp_path / "m.onnx")
    assert "Frobnicate" in refused("compile", path, "-o", tmp_path / "m.infini")


def test_cut_artifact(compiled, tmp_path):
    content = Path(compiled).read_bytes()
    for length in (4, 40, len(content) - 100):
        path = write(tmp_path / "m.infini", content[:length])
        message = refused("run", path)
        assert str(path) in message


def test_damaged_weights(compiled, tmp_path):
    content = bytearray(Path(compiled).read_bytes())
    start = answer("inspect", compiled)["sections"]["code"]
    at = 4096 + -(-start // 4096) * 4096
    content[at] ^= 0xFF
    path = write(tmp_path / "m.infini", bytes(content))
    assert "damaged" in refused("inspect", path, "--verify")


def test_artifact_of_another_machine(mlp, tmp_path):
    path = tmp_path / "m.infini"
    result = invoke("compile", mlp, "-o", path, "--target", "cpu:aarch64")
    assert result.exit_code == 0, result.output
    assert "compiled for aarch64" in refused("run", path)
    assert answer("inspect", path, "--verify")["runs_here"] is False


def test_wrong_input_name(compiled):
    assert "there is no input 'z'" in refused("run", compiled, "--input", "z=3")


def test_wrong_input_dtype(compiled, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((2, 16)))
    assert "float64" in refused("run", compiled, "--input", f"x={tmp_path}/x.npy")


@pytest.mark.parametrize("shape", [(2, 15), (16,), (1, 1, 16)])
def test_wrong_input_shape(compiled, tmp_path, shape):
    np.save(tmp_path / "x.npy", np.zeros(shape, np.float32))
    assert "input 'x'" in refused("run", compiled, "--input", f"x={tmp_path}/x.npy")


def test_missing_input_file(compiled):
    assert "No such file" in refused("run", compiled, "--input", "x=/none/x.npy")


def test_broken_input_files(compiled, tmp_path):
    for name in ("x.npy", "x.npz", "x.pb"):
        path = write(tmp_path / name, b"no array")
        assert "input 'x'" in refused("run", compiled, "--input", f"x={path}")


def test_text_file_as_input(compiled, tmp_path):
    path = write(tmp_path / "x.txt", b"1 2 3")
    assert ".npy" in refused("run", compiled, "--input", f"x={path}")


def test_text_file_of_npz_name(compiled, tmp_path):
    assert "there is no input" in refused(
        "run", compiled, "--input", _npz(tmp_path / "in.npz", other=np.zeros(3))
    )


def _npz(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)
    return path


def test_unknown_symbol(compiled):
    assert "no symbolic size 'Q' (it has: B)" in refused("run", compiled, "--shape", "Q=3")


def test_unknown_target_and_machine(mlp, tmp_path):
    path = tmp_path / "m.infini"
    assert "unknown target" in refused("compile", mlp, "-o", path, "--target", "tpu")
    assert "x86-64-v3" in refused("compile", mlp, "-o", path, "--target", "cpu:z80")
    assert "sm_90" in refused("compile", mlp, "-o", path, "--target", "nvidia:sm_10")
    assert "names no architecture" in refused("compile", mlp, "--target", "ascend:")
    assert "nvidia" in refused("compile", mlp, "-o", path, "--library")


def test_unknown_precision(mlp, tmp_path):
    path = tmp_path / "m.infini"
    assert "unknown precision" in refused("compile", mlp, "-o", path, "--precision", "f3")


def test_unwritable_output(mlp, tmp_path):
    assert "there is no folder" in refused("compile", mlp, "-o", tmp_path / "no" / "m.infini")
    assert "is a folder" in refused("compile", mlp, "-o", tmp_path)
    file = write(tmp_path / "file", b"")
    assert "cannot write" in refused("run", mlp, "--output", file / "out")


def test_override_of_an_unknown_input(mlp, tmp_path):
    assert "z" in refused("compile", mlp, "-o", tmp_path / "m.infini", "--input", "z=1x2")


def test_override_of_another_rank(mlp, tmp_path):
    assert "x" in refused("compile", mlp, "-o", tmp_path / "m.infini", "--input", "x=1x2x3")


def test_against_wants_the_model(compiled):
    assert "wants the ONNX model" in refused("bench", compiled, "--against", "onnxruntime")


@pytest.mark.parametrize(
    "arguments",
    [
        ("nothing",),
        ("run",),
        ("run", "m.onnx", "--frobnicate"),
        ("run", "m.onnx", "--threads", "0"),
        ("run", "m.onnx", "--shape", "B"),
        ("run", "m.onnx", "--shape", "B=x"),
        ("run", "m.onnx", "--shape", "B=-1"),
        ("compile", "m.onnx", "--input", "x"),
        ("compile", "m.onnx", "--input", "x=1*2"),
        ("compile", "m.onnx", "--emit", "poem"),
        ("completion", "tcsh"),
    ],
)
def test_wrong_usage(arguments):
    assert "Error: " in refused(*arguments, code=2)


def test_traceback_when_asked(tmp_path):
    for arguments in (
        ("--traceback", "run", tmp_path / "none.onnx"),
        ("run", tmp_path / "none.onnx", "--traceback"),
    ):
        result = invoke(*arguments)
        assert result.exit_code == 1
        assert "Traceback" in result.stderr


def test_internal_error_is_one_line(mlp, monkeypatch):
    def broken(*arguments, **options):
        raise KeyError("what\nis this")

    monkeypatch.setattr("infini_ir.compiler.Compilation.run", broken)
    result = invoke("run", mlp)
    assert result.exit_code == 70
    assert result.stderr.startswith("internal error: KeyError: ")
    assert result.stderr.count("\n") == 1
    assert "--traceback" in result.stderr


def test_interruption_is_quiet(mlp, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("infini_ir.compiler.Compilation.run", interrupted)
    result = invoke("run", mlp)
    assert result.exit_code == 130
    assert result.output == ""


# As a process


def test_process_runs_a_compiled_model_without_the_compiler(compiled):
    script = (
        "import sys\n"
        "from infini_ir.tools.infini.cli import run\n"
        f"code = run(['run', {compiled!r}, '--json'])\n"
        "bad = {'onnx', 'xdsl', 'llvmlite', 'torch', 'rich'} & set(sys.modules)\n"
        "print(bad or '', file=sys.stderr)\n"
        "sys.exit(code)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip() == ""
    assert json.loads(done.stdout)["outputs"]


def test_closed_pipe_is_quiet(mlp):
    command = [*TOOL, "compile", mlp, "--emit", "asm"]
    tool = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert tool.stdout is not None and tool.stderr is not None
    tool.stdout.close()
    assert tool.stderr.read() == b""
    tool.stderr.close()
    assert tool.wait() in (0, 141)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="wants /dev/full")
def test_full_disk(compiled):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*TOOL, "run", compiled], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 1
    assert done.stderr == "error: cannot write the output: No space left on device\n"


def test_process_exit_code_and_message(tmp_path):
    done = subprocess.run(
        [*TOOL, "run", tmp_path / "none.onnx"], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: cannot read model")


@pytest.mark.parametrize("options", [(), ("--emit", "asm")], ids=["file", "text"])
def test_what_was_there_stays_where_writing_fails(mlp, tmp_path, options):
    place = tmp_path / "out" / "there"
    place.parent.mkdir()
    place.write_text("before")

    def small_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))

    done = subprocess.run(
        [*TOOL, "compile", mlp, "-o", place, *options],
        capture_output=True,
        text=True,
        preexec_fn=small_files,
    )
    assert done.returncode == 1
    assert "File too large; nothing was changed, name another place" in done.stderr
    assert str(place) in done.stderr
    assert place.read_text() == "before" and list(place.parent.iterdir()) == [place]


def test_a_cache_folder_that_cannot_be(mlp, tmp_path, monkeypatch):
    place = tmp_path / "file"
    place.write_text("")
    monkeypatch.setenv("INFINI_CACHE_DIR", str(place))
    assert "which is a file" in refused("cache")
    assert "nothing can be kept in" in refused("tune", mlp, "--budget", "1")
    assert place.read_text() == ""
