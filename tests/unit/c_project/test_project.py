"""Directories of projects: what is in them, and what writing does to what was there."""

import json

import numpy as np
import pytest
from loop_target import make
from tile_programs import TileProgram

from infini_ir.targets.c_project.project import MARKER, Project
from infini_ir.targets.c_project.weights_file import file_size, place_weights, write_weights
from infini_ir.utils.errors import ArtifactError, CompileError
from infini_ir.utils.weights import WeightStore


def small(**options) -> Project:
    p = TileProgram([(["N"], "f32")], [([4], "f32")])
    w = p.weight("w", np.arange(3, dtype=np.float32))
    k = p.kernel("mix0", [p.views[0], w, p.views[1]], [4], [4])
    p.launch(k, [p.views[0], w, p.views[1]])
    return make(p, texts={"graph": "the graph", "tile": "the tiles"}, **options)


def test_files_are_listed_and_written(tmp_path):
    project = small()
    project.write(tmp_path / "new" / "model")
    written = {
        str(p.relative_to(tmp_path / "new/model"))
        for p in (tmp_path / "new/model").rglob("*")
        if p.is_file()
    }
    assert written == set(project.files())
    assert {"model.cpp", "kernels.cpp", "weights.bin", "ir/tile.mlir", MARKER} <= written
    for path in project.files():
        if path != "weights.bin":
            assert (tmp_path / "new/model" / path).read_text() == project.text(path)
    content = json.loads((tmp_path / "new/model" / MARKER).read_text())
    assert content["target"] == "loops"
    assert content["inputs"] == [{"name": "input0", "dtype": "f32", "shape": ["N"]}]
    with pytest.raises(KeyError):
        project.text("weights.bin")
    with pytest.raises(KeyError):
        project.text("ir/llvm.mlir")


def test_a_project_takes_the_place_of_another(tmp_path):
    first, second = small(), small()
    first.sources = {**first.sources, "old/kernel.cpp": "old"}
    place = first.write(tmp_path / "model")
    (place / "build").mkdir()
    (place / "build/run_model").write_text("built")
    second.sources = {**second.sources, "model.cpp": "new"}
    second.write(place)
    assert (place / "model.cpp").read_text() == "new"
    assert not (place / "old/kernel.cpp").exists()
    assert (place / "build/run_model").read_text() == "built"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model"]


def test_other_directories_are_left_alone(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tex").write_text("text")
    with pytest.raises(ArtifactError, match="holds other files than a project"):
        small().write(tmp_path / "mine")
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["thesis.tex"]
    small().write(tmp_path / "mine", overwrite=True)
    assert (tmp_path / "mine/thesis.tex").read_text() == "text"
    (tmp_path / "file").write_text("text")
    with pytest.raises(ArtifactError, match="is a file"):
        small().write(tmp_path / "file")
    with pytest.raises(ArtifactError, match="cannot write the project"):
        small().write(tmp_path / "file" / "below")


class Broken:
    """Weights that cannot be read."""

    def array(self, name: str) -> np.ndarray:
        raise OSError(5, "the disk is broken")

    def write(self, name: str, out: np.ndarray) -> None:
        out[...] = self.array(name)

    def release(self, name: str) -> None:
        pass


def test_a_failure_leaves_nothing(tmp_path):
    project = small()
    project.weights = Broken()
    with pytest.raises(ArtifactError, match="the disk is broken"):
        project.write(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_replacement_does_not_look_whole(tmp_path, monkeypatch):
    place = small().write(tmp_path / "model")
    from infini_ir.targets.c_project import project as module

    replace = module.os.replace

    def failing(source, target):
        if str(target).endswith("main.cpp"):
            raise OSError(28, "no space left")
        replace(source, target)

    monkeypatch.setattr(module.os, "replace", failing)
    with pytest.raises(ArtifactError, match="no space left"):
        small().write(place)
    assert not (place / MARKER).exists()
    monkeypatch.undo()
    small().write(place)
    assert (place / MARKER).exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model"]


def test_paths_outside_are_never_removed(tmp_path):
    """The list of an earlier project may have been changed by hand."""
    place = small().write(tmp_path / "model")
    (tmp_path / "mine.txt").write_text("text")
    content = json.loads((place / MARKER).read_text())
    content["files"].append("../mine.txt")
    (place / MARKER).write_text(json.dumps(content))
    small().write(place)
    assert (tmp_path / "mine.txt").exists()


@pytest.mark.parametrize("alignment", [64, 512])
def test_weights_are_written_in_place(tmp_path, alignment):
    store = WeightStore()
    arrays = {
        "a": np.arange(7, dtype=np.int8),
        "b": np.arange(12, dtype=np.float32).reshape(3, 4).T,
        "empty": np.zeros((0, 3), np.float16),
        "c": np.array(5, np.int64),
    }
    for name, array in arrays.items():
        store.add(name, array)
    table = place_weights(((n, store.dtype(n), store.shape(n)) for n in arrays), alignment)
    write_weights(tmp_path / "w", store, table, alignment)
    data = (tmp_path / "w").read_bytes()
    assert len(data) == file_size(table, alignment) and len(data) % alignment == 0
    for entry in table:
        assert entry.offset % alignment == 0
        part = data[entry.offset : entry.offset + entry.nbytes]
        assert part == arrays[entry.name].tobytes()


def test_large_weights_are_written_in_parts(tmp_path, monkeypatch):
    from infini_ir.targets.c_project import weights_file

    monkeypatch.setattr(weights_file, "CHUNK", 100)
    store = WeightStore()
    array = np.arange(1000, dtype=np.float64)
    store.add("a", array)
    table = place_weights([("a", "f64", (1000,))], 64)
    write_weights(tmp_path / "w", store, table, 64)
    assert (tmp_path / "w").read_bytes()[table[0].offset :][:8000] == array.tobytes()


def test_weights_without_data():
    p = TileProgram([(["N"], "f32")], [([4], "f32")])
    w = p.weight("w", np.arange(3, dtype=np.float32))
    k = p.kernel("mix0", [p.views[0], w, p.views[1]], [4], [4])
    p.launch(k, [p.views[0], w, p.views[1]])
    p.ctx.weights = WeightStore()
    with pytest.raises(CompileError, match="weight 'w' has no data"):
        make(p)
