"""`infini-opt`: options, outputs, and one-line errors."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from infini_ir import universe
from infini_ir.passes.graph.cse import GraphCsePass
from infini_ir.tools.infini_opt import main

ADD_TWICE = """
func.func @main(%x: !graph.tensor<[N], f32>) -> !graph.tensor<[N], f32> {
  %w = graph.weight "w" : !graph.tensor<[3], f32>
  %0 = graph.neg %x : !graph.tensor<[N], f32>
  %1 = graph.neg %x : !graph.tensor<[N], f32>
  %2 = graph.add %0, %1 : !graph.tensor<[N], f32>
  func.return %2 : !graph.tensor<[N], f32>
}
"""
INVALID = """
func.func @main(%x: !graph.tensor<[N], f32>) {

  %0 = "graph.transpose"(%x) <{"permutation" = array<i64: 1>}> : (!graph.tensor<[N], f32>) -> !graph.tensor<[N], f32>
  func.return
}
"""


@pytest.fixture
def text(tmp_path) -> Path:
    path = tmp_path / "add.mlir"
    path.write_text(ADD_TWICE)
    return path


@pytest.fixture
def opt(capsys):
    """Run the tool in this process: (exit code, stdout, stderr)."""

    def run(*arguments: object) -> tuple[int, str, str]:
        try:
            code = main([str(a) for a in arguments])
        except SystemExit as ending:
            code = int(str(ending.code or 0))
        out = capsys.readouterr()
        return code, out.out, out.err

    return run


def refused(result: tuple[int, str, str], code: int = 1) -> str:
    assert result[0] == code, result
    assert "Traceback" not in result[2]
    if code == 1:
        assert result[2].startswith("error: ")
        assert result[2].count("\n") == 1
    return result[2]


def test_passes_run(opt, text):
    code, out, err = opt(text, "-p", "graph-cse,graph-dce")
    assert (code, err) == (0, "")
    assert out.count("graph.neg") == 1
    assert "graph.weight" not in out


def test_pass_options(opt, text):
    assert opt(text, "-p", "graph-fuse{max-ops=8}")[0] == 0


def test_output_reads_back(opt, text, tmp_path):
    out = tmp_path / "out.mlir"
    assert opt(text, "--print-debuginfo", "-o", out)[0] == 0
    assert opt(out)[1] == opt(text)[1]


def test_onnx_input(opt, mlp):
    code, out, _ = opt(mlp, "-p", "graph-cleanup")
    assert code == 0
    assert "graph.dot" in out


@pytest.mark.parametrize(
    ("target", "text"),
    [("mlir", "tile.launch"), ("llvm", "@infini_main"), ("asm", "infini_main:")],
)
def test_pipeline_and_outputs(opt, mlp, target, text):
    spec = target if target == "mlir" else f"{target}:x86-64-v3"
    arguments = ("--pipeline=default", "--cpu", "x86-64-v3", "--target", spec)
    code, out, err = opt(mlp, *arguments)
    assert (code, err) == (0, "")
    assert text in out


def test_levels_continue_from_text(opt, mlp, tmp_path):
    """Every level can be saved, read and continued; weights are then names only."""
    files = [tmp_path / name for name in ("graph.mlir", "tile.mlir")]
    assert opt(mlp, "--pipeline=graph", "-o", files[0])[0] == 0
    assert opt(files[0], "-p", "tile", "-o", files[1])[0] == 0
    code, out, _ = opt(files[1], "--target", "llvm")
    assert code == 0
    assert "@infini_main" in out


def test_dumps(opt, text):
    passes = ("-p", "graph-dce,graph-cse,graph-dce")
    _, _, err = opt(text, *passes, "--print-ir-after-all")
    assert err.count("// IR after graph-dce\n") == 2
    assert err.count("// IR after graph-cse\n") == 1
    _, _, err = opt(text, *passes, "--print-ir-after-change")
    assert err.count("// IR after") == 2  # the last pass finds nothing
    _, _, err = opt(text, *passes, "--print-ir-after=graph-cse", "--print-ir-before=graph-cse")
    assert err.index("// IR before graph-cse") < err.index("// IR after graph-cse")
    assert err.count("// IR") == 2


def test_timing_and_statistics(opt, text):
    code, _, err = opt(text, "-p", "graph-cse,graph-dce", "--timing", "--statistics")
    assert code == 0
    rows = {line.split()[0]: line.split()[1:] for line in err.splitlines() if line}
    assert rows["graph-cse"][1:] == ["7", "6"]
    assert rows["graph-dce"][1:] == ["6", "5"]
    assert rows["graph.neg"] == ["2", "1"]


def test_check_semantics_passes_on_text(opt, text):
    assert opt(text, "--pipeline=graph", "--check-semantics")[0] == 0


def test_check_semantics_names_the_pass(opt, text, monkeypatch):
    from xdsl.rewriter import Rewriter

    def wrong(self, ctx, op):
        for inner in list(op.walk()):
            if inner.name == "graph.neg":
                inner.results[0].replace_all_uses_with(inner.operands[0])
                Rewriter.erase_op(inner)

    monkeypatch.setattr(GraphCsePass, "apply", wrong)
    message = refused(opt(text, "-p", "graph-dce,graph-cse", "--check-semantics"))
    assert "pass 'graph-cse' changed the result" in message


def test_reproducer(opt, text, tmp_path, monkeypatch):
    path = tmp_path / "again.mlir"
    with monkeypatch.context() as patch:

        def broken(self, ctx, op):
            raise KeyError("lost")

        patch.setattr(GraphCsePass, "apply", broken)
        code, _, err = opt(text, "-p", "graph-dce,graph-cse", "--reproducer", path)
    assert code == 70
    assert err.startswith("internal error: KeyError: ")
    content = path.read_text()
    assert content.startswith("// RUN: infini-opt %s -p 'graph-dce,graph-cse'\n")
    assert "'graph-cse'" in content.splitlines()[1]
    assert opt(path, "-p", "graph-dce,graph-cse")[0] == 0


def test_no_reproducer_without_a_failure(opt, text, tmp_path):
    path = tmp_path / "again.mlir"
    assert opt(text, "-p", "graph-cse", "--reproducer", path)[0] == 0
    assert not path.exists()


def test_split_and_verify_diagnostics(opt, tmp_path):
    path = tmp_path / "both.mlir"
    path.write_text(ADD_TWICE + "\n// -----\n" + INVALID)
    code, out, _ = opt(path, "--split-input-file", "--verify-diagnostics")
    assert code == 0
    assert out.count("// -----") == 1
    assert "permutation" in out


def test_chunks_do_not_share_weights(opt, tmp_path):
    path = tmp_path / "two.mlir"
    path.write_text(ADD_TWICE + "\n// -----\n" + ADD_TWICE.replace("[3], f32", "[4], f32"))
    _, out, _ = opt(path, "--split-input-file", "-p", "graph-cleanup", "--check-semantics")
    assert out.count("func.func @main") == 2


def test_lists(opt):
    code, out, _ = opt("--list-passes")
    assert code == 0
    assert all(f"{name}\n" in out for name in universe.PASSES)
    code, out, _ = opt("--list-targets")
    assert code == 0
    assert all(f"{name}\n" in out for name in universe.TARGETS)
    assert "sapphirerapids" in out


# What is wrong


def test_syntax_error_has_a_place(opt, tmp_path):
    path = tmp_path / "bad.mlir"
    path.write_text("\nfunc.func @f(%x : !graph.tensor<[N], f99>) { func.return }\n")
    assert f"{path}:2:" in refused(opt(path))


def test_string_that_is_not_closed(opt, tmp_path):
    path = tmp_path / "bad.mlir"
    path.write_text('func.func @f() attributes {"a" = "' + "some words, " * 20 + "\n")
    assert f"{path}:1:" in refused(opt(path))


def test_syntax_error_in_a_later_chunk(opt, tmp_path):
    path = tmp_path / "bad.mlir"
    path.write_text(ADD_TWICE + "// -----\nfunc.func @f(\n")
    line = (ADD_TWICE + "// -----\nfunc.func @f(\n").count("\n") + 1
    assert f"{path}:{line}:" in refused(opt(path, "--split-input-file"))


def test_invalid_module_has_a_place(opt, tmp_path):
    path = tmp_path / "bad.mlir"
    path.write_text(INVALID)
    message = refused(opt(path))
    assert f"{path}:4: 'graph.transpose': " in message


def test_pass_that_leaves_an_invalid_module(opt, text, monkeypatch):
    def wrong(self, ctx, op):
        function = op.body.block.first_op
        function.body.block.last_op.operands = []

    monkeypatch.setattr(GraphCsePass, "apply", wrong)
    assert "after pass 'graph-cse': 'func.return'" in refused(opt(text, "-p", "graph-cse"))


def test_traceback(opt, tmp_path):
    code, _, err = opt(tmp_path / "none.mlir", "--traceback")
    assert code == 1
    assert "Traceback" in err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("-p", "graph-cze"), "unknown pass 'graph-cze'; did you mean"),
        (("-p", "graph-cse{x=1}"), "pass 'graph-cse': "),
        (("-p", "graph-cse{"), "--passes"),
        (("--print-ir-after=nothing",), "unknown pass 'nothing'"),
        (("--target", "llvm"), "no tile.program"),
        (("--target", "mlir{"), "Expected"),
        (("--pipeline", "tile", "--cpu", "z80"), "unknown architecture 'z80'"),
        (("-o", "/none/out.mlir"), "No such file"),
    ],
)
def test_wrong_options(opt, text, arguments, reason):
    assert reason in refused(opt(text, *arguments))


def test_wrong_usage(opt, text):
    refused(opt(text, "--frobnicate"), 2)
    refused(opt(text, "--target", "poem"), 2)
    refused(opt(text, "--pipeline", "poem"), 2)


def test_unreadable_inputs(opt, tmp_path):
    assert "No such file" in refused(opt(tmp_path / "none.mlir"))
    assert "no frontend for '.txt'" in refused(opt(_file(tmp_path / "a.txt", b"")))
    assert "not a text" in refused(opt(_file(tmp_path / "a.mlir", b"\xff\xfe")))
    assert "empty" in refused(opt(_file(tmp_path / "a.onnx", b"")))
    assert "not an ONNX model" in refused(opt(_file(tmp_path / "b.onnx", b"no model")))


def _file(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_tile_program_that_is_not_legalised(opt, mlp):
    message = refused(opt(mlp, "-p", "graph,graph-to-tile", "--target", "llvm"))
    assert "--pipeline=default" in message


def test_process_reads_stdin_and_starts_light():
    """What a plain run imports: no frontend, no code generator."""
    script = (
        "import sys\n"
        "from infini_ir.tools.infini_opt import main\n"
        "code = main(['-p', 'graph-cse'])\n"
        "heavy = {'onnx', 'torch', 'llvmlite', 'rich', 'networkx'} & set(sys.modules)\n"
        "print(heavy or '', file=sys.stderr)\n"
        "sys.exit(code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], input=ADD_TWICE, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip() == ""
    assert done.stdout.count("graph.neg") == 1


def test_weights_of_a_text_have_no_numbers(tmp_path):
    from xdsl.parser import Parser

    from infini_ir.dialects.context import compiler_context
    from infini_ir.tools.declared import declare_weights
    from infini_ir.utils.errors import ModelError
    from infini_ir.utils.weights import WeightStore

    module = Parser(compiler_context(), ADD_TWICE).parse_module()
    store = WeightStore()
    declare_weights(store, module)
    assert store.shape("w") == (3,)
    with pytest.raises(ModelError, match="no numbers"):
        store.array("w")
    store = WeightStore()
    declare_weights(store, module, random=True)
    assert store.array("w").dtype == np.float32
