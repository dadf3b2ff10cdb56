"""Programs compiled before: when they are used again, and when they must not be."""

import json
import os
import shutil
import subprocess
import sys
import time

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper

import infini_ir
from infini_ir import warm
from infini_ir.compiler import Compilation, Options, ready_program
from infini_ir.runtime import artifact, kept_programs
from infini_ir.runtime.kept_programs import KeptPrograms
from infini_ir.targets.cpu import identity
from infini_ir.tools.infini.cli import cli
from infini_ir.utils.errors import OptionError

X = np.linspace(-1, 1, 3 * 64, dtype=np.float32).reshape(3, 64)


def product(factor: float = 1.0, width: int = 64) -> onnx.ModelProto:
    """`y = x @ w + b`, the weight large enough to lie beside the model."""
    rng = np.random.default_rng(0)
    w = numpy_helper.from_array(factor * rng.random((64, width), np.float32), "w")
    b = numpy_helper.from_array(rng.random(width, np.float32), "b")
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 64])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", width])
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["p"]),
        helper.make_node("Add", ["p", "b"], ["y"]),
    ]
    graph = helper.make_graph(nodes, "product", [x], [y], [w, b])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def write(path, model: onnx.ModelProto, *, external: str | None = None) -> None:
    """Write a model, and wait until a change of it would be seen."""
    if external is None:
        path.write_bytes(model.SerializeToString())
    else:
        onnx.save_model(
            model, str(path), save_as_external_data=True, location=external, size_threshold=0
        )
    time.sleep(0.08)


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    """Where programs are kept."""
    place = tmp_path / "cache"
    monkeypatch.setenv("INFINI_CACHE_DIR", str(place))
    monkeypatch.delenv("INFINI_PROGRAM_CACHE")
    return place


@pytest.fixture
def path(tmp_path):
    place = tmp_path / "model.onnx"
    write(place, product())
    return place


@pytest.fixture
def compiled(monkeypatch):
    """What was compiled, not loaded."""
    runs = []
    run = Compilation.run

    def counted(self, source):
        runs.append(source)
        return run(self, source)

    monkeypatch.setattr(Compilation, "run", counted)
    return runs


def use(source, **options):
    """Compile and call, and wait until the program is kept."""
    model = infini_ir.compile(source, **options)
    result = model(X)
    warm.settle()
    return result


def entries(folder):
    return sorted((folder / "programs").glob("*.infini"))


# Hits


def test_the_second_time_nothing_is_compiled(path, compiled, folder):
    first = use(path)
    assert len(entries(folder)) == 1
    assert np.array_equal(use(path), first) and np.array_equal(use(str(path)), first)
    assert len(compiled) == 1


def test_a_program_that_never_ran_is_not_kept(path, folder):
    infini_ir.compile(path)
    warm.settle()
    assert entries(folder) == []


def test_the_same_model_elsewhere_and_touched(path, compiled, tmp_path):
    use(path)
    os.utime(path)
    use(path)
    (tmp_path / "other").mkdir()
    shutil.copy(path, tmp_path / "other" / "name.onnx")
    use(tmp_path / "other" / "name.onnx")
    link = tmp_path / "link.onnx"
    link.symlink_to(path)
    use(link)
    assert len(compiled) == 1


def test_a_large_file_that_was_touched(path, compiled, tmp_path, monkeypatch):
    """It is read, as it has the size that it had; one never seen before is not."""
    use(path)
    monkeypatch.setattr(warm, "CHEAP", 10)
    os.utime(path)
    use(path)
    assert len(compiled) == 1
    shutil.copy(path, tmp_path / "name.onnx")
    use(tmp_path / "name.onnx")
    assert len(compiled) == 2
    write(path, product(2))
    use(path)
    assert len(compiled) == 3


def test_bytes(compiled):
    content = product().SerializeToString()
    assert np.array_equal(use(content), use(content))
    assert len(compiled) == 1
    use(product(2).SerializeToString())
    assert len(compiled) == 2


def test_protos_are_not_kept(compiled, folder):
    use(product())
    assert not folder.joinpath("programs").exists()


def test_it_behaves_as_one_that_was_just_compiled(path, tmp_path, compiled):
    fresh = infini_ir.compile(path, threads=1)
    y = fresh(X)
    warm.settle()
    again = infini_ir.compile(path, threads=1)
    assert len(compiled) == 1
    assert again.inputs == fresh.inputs and again.outputs == fresh.outputs
    assert again.threads == 1 and repr(again) == repr(fresh)
    assert again.program.metadata == fresh.program.metadata
    assert again.report() == json.loads(json.dumps(fresh.report()))
    assert np.array_equal(again({"x": X})["y"], y)
    assert list(again.program.texts) == list(fresh.program.texts) == ["graph", "tile"]
    again.save(tmp_path / "again.infini")
    loaded = infini_ir.load(tmp_path / "again.infini")
    assert np.array_equal(loaded(X), y)
    for level in ("graph", "tile"):
        assert again.ir(level) == loaded.ir(level) == fresh.ir(level)
    assert "define" in again.ir("llvm")
    assert len(compiled) == 2
    with pytest.raises(OptionError, match="has no text of level 'ptx'"):
        again.ir("ptx")


def test_outputs_of_a_program_for_values(path, compiled):
    for _ in range(2):
        run, outputs = infini_ir.compile_for(str(path), {"x": (3, 64)})
        assert outputs == ["y"]
        result = run([X])[0]
        warm.settle()
    assert result.shape == (3, 64) and len(compiled) == 1


def test_progress_ends(path):
    use(path)
    told = []
    infini_ir.compile(path, progress=lambda *fact: told.append(fact))
    assert told == [("done", 4, 4)]


# Misses


@pytest.mark.parametrize(
    "options",
    [
        {"target": "cpu:x86-64-v3"},
        {"precision": "bf16"},
        {"inputs": {"x": (3, 64)}},
        {"inputs": {"x": ("M", 64)}},
        {"cache": False},
        {"check_semantics": True},
    ],
    ids=str,
)
def test_other_options(path, compiled, options):
    use(path)
    use(path, **options)
    assert len(compiled) == 2
    use(path)
    assert len(compiled) == 2


def test_values_of_inputs(tmp_path, compiled):
    path = tmp_path / "sum.onnx"
    specs = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, [3, 64]) for n in ("x", "z", "y")
    ]
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "z"], ["y"])], "g", specs[:2], specs[2:]
    )
    write(
        path,
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
    )
    for value in (1, 2, 1, 2):
        assert np.array_equal(
            use(path, inputs={"z": np.full((3, 64), value, np.float32)}), X + value
        )
    assert len(compiled) == 2


def test_threads_decide_only_where_plans_were_measured(path, compiled, folder):
    use(path, threads=1)
    use(path, threads=2)
    assert len(compiled) == 1
    identity.note_tuning()
    use(path, threads=1)
    use(path, threads=2)
    assert len(compiled) == 3
    use(path, threads=1)
    assert len(compiled) == 3
    identity.note_tuning()
    use(path, threads=1)
    assert len(compiled) == 4
    shutil.rmtree(folder / "plans")
    use(path)
    assert len(compiled) == 4


def test_changed_content_of_the_same_size_and_time(path, compiled):
    first, before = use(path), os.stat(path)
    changed = product(2)
    assert len(changed.SerializeToString()) == before.st_size
    write(path, changed)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not np.allclose(use(path), first)
    assert len(compiled) == 2


def test_replaced_file(path, compiled, tmp_path):
    first = use(path)
    write(tmp_path / "new.onnx", product(2))
    os.replace(tmp_path / "new.onnx", path)
    assert not np.allclose(use(path), first)


def test_a_file_that_was_just_written_is_not_trusted(path, compiled, folder, monkeypatch):
    monkeypatch.setattr("infini_ir.utils.file_digests._TICK", 3_600_000_000_000)
    use(path)
    assert entries(folder) == []
    use(path)
    assert len(compiled) == 2


def test_a_file_that_changes_while_it_is_compiled(path, folder, monkeypatch):
    graph_passes = Compilation.graph_passes

    def slow(self, module):
        graph_passes(self, module)
        path.write_bytes(product(2).SerializeToString())

    monkeypatch.setattr(Compilation, "graph_passes", slow)
    use(path)
    assert entries(folder) == []


def test_external_data(tmp_path, compiled, folder):
    path, data = tmp_path / "model.onnx", tmp_path / "weights.bin"
    write(path, product(), external=data.name)
    first = use(path)
    use(path)
    assert len(compiled) == 1
    before = os.stat(data)
    content = bytearray(data.read_bytes())
    content[:4] = np.float32(100).tobytes()
    data.write_bytes(content)
    os.utime(data, ns=(before.st_atime_ns, before.st_mtime_ns))
    time.sleep(0.08)
    second = use(path)
    assert not np.allclose(first, second) and len(compiled) == 2
    data.unlink()
    with pytest.raises(infini_ir.ModelError):
        use(path)


def test_external_data_beside_another_copy(tmp_path, compiled):
    for number, name in enumerate("ab"):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "m.onnx", product(1 + number), external="w.bin")
    models = [(tmp_path / name / "m.onnx").read_bytes() for name in "ab"]
    assert models[0] == models[1]
    assert not np.allclose(use(tmp_path / "a/m.onnx"), use(tmp_path / "b/m.onnx"))
    # The same file by a hard link, with the other data beside it.
    os.unlink(tmp_path / "b/m.onnx")
    os.link(tmp_path / "a/m.onnx", tmp_path / "b/m.onnx")
    time.sleep(0.08)
    assert not np.allclose(use(tmp_path / "a/m.onnx"), use(tmp_path / "b/m.onnx"))


def test_another_working_folder(path, folder, monkeypatch, tmp_path):
    (tmp_path / "a").mkdir()
    write(tmp_path / "a" / path.name, product(2))
    monkeypatch.chdir(tmp_path)
    model = infini_ir.compile(path.name)
    monkeypatch.chdir(tmp_path / "a")
    wanted = model(X)
    warm.settle()
    assert not np.allclose(use(path.name), wanted)
    again = infini_ir.compile(path)
    assert np.array_equal(again(X), wanted)
    monkeypatch.chdir("/")
    assert "graph.yield" in again.ir("graph")


@pytest.mark.parametrize("when", ["compiling", "compiled"])
def test_a_link_that_leads_elsewhere_meanwhile(tmp_path, folder, monkeypatch, when):
    places = [tmp_path / name for name in "ab"]
    for number, place in enumerate(places):
        write(place, product(1 + number))
    link = tmp_path / "link.onnx"
    link.symlink_to(places[0])
    graph_passes = Compilation.graph_passes

    def relink():
        link.unlink()
        link.symlink_to(places[1])

    def slow(self, module):
        graph_passes(self, module)
        relink()

    if when == "compiling":
        monkeypatch.setattr(Compilation, "graph_passes", slow)
    model = infini_ir.compile(link)
    if when == "compiled":
        relink()
    model(X)
    warm.settle()
    assert entries(folder) == []


def test_external_data_by_a_link_that_leads_elsewhere(tmp_path, folder):
    path, data = tmp_path / "model.onnx", tmp_path / "weights.bin"
    for number, name in enumerate("ab"):
        write(path, product(1 + number), external=data.name)
        os.replace(data, tmp_path / name)
    data.symlink_to("a")
    model = infini_ir.compile(path)
    data.unlink()
    data.symlink_to("b")
    model(X)
    warm.settle()
    assert entries(folder) == []


@pytest.mark.parametrize("part", ["sources", "versions", "features"])
def test_another_compiler_or_processor(path, compiled, monkeypatch, part):
    use(path)
    if part == "sources":
        of_tree = warm.Digests.of_tree
        changed = lambda self, *a, **k: of_tree(self, *a, **k)[::-1]  # noqa: E731
        monkeypatch.setattr(warm.Digests, "of_tree", changed)
    elif part == "versions":
        monkeypatch.setattr(warm, "_versions", lambda digests: ["another"])
    else:
        monkeypatch.setattr(warm.registry, "identity", lambda *given: ("another",))
    use(path)
    assert len(compiled) == 2


def test_sources_changed_since_they_were_imported(path, compiled, monkeypatch, folder):
    monkeypatch.setattr(infini_ir, "LOADED_AT", 0)
    use(path)
    use(path)
    assert len(compiled) == 2 and entries(folder) == []


# Disk


@pytest.mark.parametrize("damage", ["empty", "short", "code", "magic"])
def test_damaged_entry(path, compiled, folder, damage):
    first = use(path)
    (entry,) = entries(folder)
    whole = entry.read_bytes()
    changed = bytearray(whole)
    changed[{"code": 4096 + 100, "magic": 1}.get(damage, 0)] ^= 0xFF
    # Not written over: the first program has it mapped.
    entry.unlink()
    entry.write_bytes({"empty": b"", "short": whole[:-1]}.get(damage, bytes(changed)))
    assert np.array_equal(use(path), first)
    assert len(compiled) == 2
    assert np.array_equal(use(path), first)
    assert len(compiled) == 2


def test_damaged_weights_after_a_power_cut(path, compiled, folder, monkeypatch):
    first = use(path)
    (entry,) = entries(folder)
    changed = bytearray(entry.read_bytes())
    start = -(-(4096 + artifact.section_sizes(entry)["code"]) // 4096) * 4096
    changed[start : start + 1024] = bytes(1024)
    entry.unlink()
    entry.write_bytes(bytes(changed))
    assert not np.array_equal(use(path), first), "no weights were changed"
    monkeypatch.setattr(kept_programs, "boot_name", lambda: "another")
    assert np.array_equal(use(path), first)
    assert len(compiled) == 2


def test_an_entry_is_read_whole_once_after_a_start(path, compiled, monkeypatch):
    use(path)
    reads = []
    monkeypatch.setattr(kept_programs, "boot_name", lambda: "another")
    verify = kept_programs.artifact.verify
    monkeypatch.setattr(
        kept_programs.artifact, "verify", lambda p: (reads.append(p), verify(p))
    )
    use(path)
    use(path)
    assert len(reads) == 1 and len(compiled) == 1


def test_damaged_digests(path, compiled, folder):
    use(path)
    for file in (folder / "digests").iterdir():
        file.write_bytes(b'{"place": 1')
    use(path)
    use(path)
    assert len(compiled) <= 2


def test_folder_that_cannot_be_made(path, compiled, folder):
    folder.write_text("a file")
    assert np.array_equal(use(path), use(path))
    assert len(compiled) == 2


def test_full_disk(path, compiled, folder, monkeypatch):
    def full(program, file):
        file.write(b"some")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kept_programs.artifact, "write_to", full)
    use(path)
    assert list((folder / "programs").iterdir()) == []


def test_little_space(path, folder, monkeypatch):
    usage = shutil.disk_usage(folder.parent)
    monkeypatch.setattr(
        kept_programs.shutil, "disk_usage", lambda place: usage._replace(free=10_000)
    )
    use(path)
    assert entries(folder) == []


def test_limit(tmp_path, folder, monkeypatch, compiled):
    paths = [tmp_path / f"{number}.onnx" for number in range(3)]
    for number, place in enumerate(paths):
        write(place, product(number + 1, 256))
        use(place)
    size = max(entry.stat().st_size for entry in entries(folder))
    for number, entry in enumerate(KeptPrograms().list()):
        os.utime(folder / "programs" / f"{entry.key}.infini", (number, number))
    monkeypatch.setenv("INFINI_PROGRAM_CACHE", str(int(4.5 * size)))
    use(paths[0])  # no longer the oldest
    assert len(compiled) == 3
    for number in (4, 5):
        write(tmp_path / "more.onnx", product(number, 256))
        use(tmp_path / "more.onnx")
    assert len(entries(folder)) == 3
    use(paths[0])
    assert len(compiled) == 5
    use(paths[1])
    assert len(compiled) == 6


def test_a_share_of_the_limit(path, folder, monkeypatch):
    monkeypatch.setenv("INFINI_PROGRAM_CACHE", "50K")
    use(path)
    assert entries(folder) == []


def test_turned_off(path, compiled, folder, monkeypatch):
    use(path)
    monkeypatch.setenv("INFINI_PROGRAM_CACHE", "0")
    use(path)
    assert len(compiled) == 2


@pytest.mark.parametrize(
    ("text", "size"),
    [("", 4 << 30), ("0", 0), ("500M", 500 << 20), ("8g", 8 << 30), ("123", 123)],
)
def test_limit_from_the_environment(monkeypatch, text, size):
    monkeypatch.setenv("INFINI_PROGRAM_CACHE", text)
    assert KeptPrograms().entries.limit == size


@pytest.mark.parametrize("text", ["much", "1.5G", "-1", "5X"])
def test_limit_that_is_none(monkeypatch, text):
    monkeypatch.setenv("INFINI_PROGRAM_CACHE", text)
    with pytest.raises(OptionError, match="INFINI_PROGRAM_CACHE"):
        KeptPrograms()


def test_a_text_when_the_model_is_gone(path, tmp_path):
    use(path)
    model = infini_ir.compile(path)
    path.unlink()
    with pytest.raises(OptionError, match="has changed since"):
        model.ir("graph")
    model.save(tmp_path / "saved.infini")
    assert infini_ir.load(tmp_path / "saved.infini")(X).shape == (3, 64)


# Processes

SCRIPT = """
import sys
import numpy as np
import infini_ir
x = np.load(sys.argv[2])
y = infini_ir.compile(sys.argv[1])(x)
np.save(sys.argv[3], y)
print(*sorted({name.split(".")[0] for name in sys.modules}))
"""


def start(path, x, out):
    code = [sys.executable, "-c", SCRIPT, str(path), str(x), str(out)]
    return subprocess.Popen(code, stdout=subprocess.PIPE, text=True)


def test_processes_at_once(path, tmp_path, folder):
    np.save(tmp_path / "x.npy", X)
    outs = [tmp_path / f"y{number}.npy" for number in range(4)]
    running = [start(path, tmp_path / "x.npy", out) for out in outs]
    said = [process.communicate(timeout=120)[0] for process in running]
    assert all(process.returncode == 0 for process in running), said
    results = [np.load(out) for out in outs]
    assert all(np.array_equal(result, results[0]) for result in results)
    assert len(list((folder / "programs").iterdir())) == 1


def test_a_warm_process_imports_no_compiler(path, tmp_path):
    np.save(tmp_path / "x.npy", X)
    first = use(path)
    process = start(path, tmp_path / "x.npy", tmp_path / "y.npy")
    names = process.communicate(timeout=60)[0].split()
    assert process.returncode == 0
    assert not {"xdsl", "onnx", "llvmlite", "google", "networkx", "click"} & set(names)
    assert np.array_equal(np.load(tmp_path / "y.npy"), first)


def test_the_programs_of_the_tools(path, compiled):
    for _ in range(2):
        program, outputs = ready_program(str(path), Options(), keep_texts=False)
        assert outputs == ["y"]
        infini_ir.CompiledModel(program)(X)
        warm.settle()
    assert len(compiled) == 1


def test_the_command(path, folder):
    use(path)
    shown = CliRunner().invoke(cli, ["cache", "--json"])
    facts = json.loads(shown.stdout)
    (program,) = facts["programs"]
    assert facts["folder"] == str(folder) and program["source"] == str(path)
    assert facts["parts"]["programs"]["files"] == 1 and facts["parts"]["objects"]["files"] > 1
    assert program["bytes"] == entries(folder)[0].stat().st_size
    assert "model.onnx" in CliRunner().invoke(cli, ["cache"]).output
    cleared = CliRunner().invoke(cli, ["cache", "--clear", "programs"])
    assert cleared.exit_code == 0 and "removed 1 files of programs" in cleared.output
    assert entries(folder) == [] and (folder / "objects").is_dir()
    (folder / "models").mkdir()
    assert CliRunner().invoke(cli, ["cache", "--clear", "all"]).exit_code == 0
    assert [place.name for place in folder.iterdir()] == ["models"]


def test_a_model_that_is_run_twice(path, folder, compiled):
    for _ in range(2):
        result = CliRunner().invoke(cli, ["run", str(path), "--shape", "N=3", "--json"])
        assert result.exit_code == 0, result.output
        warm.settle()
    assert len(compiled) == 1
    CliRunner().invoke(cli, ["run", str(path), "--shape", "N=3", "--no-cache"])
    assert len(compiled) == 2
