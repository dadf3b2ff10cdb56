"""Artifacts on disk: round trips, damage, machines they are not for, failing writes."""

import errno
import json
import os
import stat
import struct
import time
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from native_programs import ADD, add_signature, build

from infini_ir.runtime import artifact
from infini_ir.runtime.metadata import Metadata
from infini_ir.runtime.model import CompiledModel, load
from infini_ir.runtime.program import Program
from infini_ir.utils.errors import ArtifactError
from infini_ir.utils.weights import WeightStore


@pytest.fixture
def saved(add_program: Program, tmp_path: Path) -> Path:
    path = tmp_path / "model.infini"
    CompiledModel(add_program).save(path)
    return path


def test_round_trip(saved: Path, add_program: Program, tmp_path: Path):
    artifact.verify(saved)
    model = load(saved, threads=2)
    assert model.program.metadata == add_program.metadata
    assert model(np.zeros(5, np.float32)).tolist() == [1] * 5
    assert (
        model.program.weights.array("big").tolist() == add_program.weights.array("big").tolist()
    )
    assert model.program.weights.array("empty").shape == (0, 4)
    assert model.program.weight_section.base % 64 == 0
    assert model.ir("graph") == "text\n" * 100
    model.save(tmp_path / "again.infini")
    assert (tmp_path / "again.infini").read_bytes() == saved.read_bytes()


def test_metadata_json_round_trip(add_program: Program):
    text = json.dumps(add_program.metadata.to_json())
    assert Metadata.from_json(json.loads(text)) == add_program.metadata


def umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_overwriting_a_loaded_model(saved: Path, add_program: Program):
    model = load(saved, threads=1)
    artifact.write(replace(add_program, texts={}), saved)
    assert model.ir("graph").startswith("text") and model(np.zeros(1, np.float32)) == [1]
    assert saved.stat().st_mode & 0o777 == 0o666 & ~umask()


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 63, 64, 100, 4096, 5000, -1, -300])
def test_cut_short(saved: Path, length: int):
    content = saved.read_bytes()[:length]
    saved.write_bytes(content)
    wanted = "not a compiled model" if len(content) < 8 else "damaged"
    for read in (load, artifact.read_metadata, artifact.verify):
        with pytest.raises(ArtifactError, match=wanted) as caught:
            read(saved)
        assert str(saved) in str(caught.value)


def test_any_flipped_byte_is_noticed(saved: Path):
    content = saved.read_bytes()
    program = artifact.read(saved)
    image = program.image.size
    places = [0, 7, 12, 16, 40, 60, 4096, 4096 + image // 2, 4096 + image - 1]
    places += [len(content) - 1, len(content) - 200]
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= 0x10
        saved.write_bytes(damaged)
        with pytest.raises(ArtifactError):
            load(saved)


def test_verify_finds_damaged_weights(saved: Path):
    content = bytearray(saved.read_bytes())
    section = artifact.read(saved).weights
    start = bytes(content).index(section.array("big").tobytes())
    content[start + 800] ^= 1
    saved.write_bytes(content)
    load(saved)
    with pytest.raises(ArtifactError, match="weight 'big' does not match its checksum"):
        artifact.verify(saved)


def rewrite(path: Path, edit: Any, extra: int = 0) -> None:
    """Change the metadata, move it `extra` bytes on, and make all checksums right again."""
    content = path.read_bytes()
    _, _, _, start, length, *_ = artifact._HEADER.unpack_from(content)
    document = json.loads(content[start : start + length])
    edit(document)
    data = json.dumps(document).encode()
    place = start + extra
    end = place + len(data)
    with path.open("r+b") as file:
        file.write(artifact._pack_header(place, len(data), end, zlib.crc32(data)))
        file.seek(place)
        file.write(data)
        file.truncate(end)


def test_other_machines(saved: Path):
    original = saved.read_bytes()
    rewrite(saved, lambda d: d["program"].update(arch="riscv64"))
    with pytest.raises(ArtifactError, match="was compiled for riscv64, but this machine is"):
        load(saved)
    assert artifact.read_metadata(saved).arch == "riscv64"
    assert artifact.read_texts(saved)["graph"].startswith("text")
    artifact.verify(saved)
    saved.write_bytes(original)
    rewrite(saved, lambda d: d["program"]["flags"].extend(["warp9", "beam"]))
    with pytest.raises(ArtifactError, match="does not have: beam, warp9; compile"):
        load(saved)


def test_other_format_version(saved: Path):
    content = bytearray(saved.read_bytes())
    struct.pack_into("<I", content, 8, 99)
    saved.write_bytes(content)
    with pytest.raises(ArtifactError, match="has artifact format 99, but"):
        load(saved)


@pytest.mark.parametrize(
    "edit",
    [
        lambda d: d.pop("program"),
        lambda d: d["program"].pop("entries"),
        lambda d: d["program"].update(weights=[["w", 0, "f32", [1 << 40]]]),
        lambda d: d["program"].update(inputs=[{"name": "x", "dtype": "f32", "shape": ["(("]}]),
        lambda d: d["sections"]["code"].update(size=1 << 50),
        lambda d: d["sections"]["weights"].update(offset=-5),
        lambda d: d.update(texts=None),
    ],
)
def test_metadata_of_a_wrong_form(saved: Path, edit: Any):
    rewrite(saved, edit)
    with pytest.raises(ArtifactError, match="is damaged"):
        load(saved)


def test_no_such_file(tmp_path: Path):
    with pytest.raises(ArtifactError, match=r"cannot open .*none\.infini: No such file"):
        load(tmp_path / "none.infini")
    with pytest.raises(ArtifactError, match="is not a file"):
        load(tmp_path)


def test_disk_full_keeps_the_old_file(
    saved: Path, add_program: Program, monkeypatch: pytest.MonkeyPatch
):
    before = saved.read_bytes()

    def full(self: Any, data: Any) -> None:
        if self.position > 4096:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(self, data)

    write = artifact._SectionWriter.write
    monkeypatch.setattr(artifact._SectionWriter, "write", full)
    with pytest.raises(ArtifactError, match="No space left on device; nothing was changed"):
        artifact.write(add_program, saved)
    assert saved.read_bytes() == before and os.listdir(saved.parent) == [saved.name]


def test_unwritable_places(add_program: Program, tmp_path: Path):
    with pytest.raises(ArtifactError, match="No such file or directory"):
        artifact.write(add_program, tmp_path / "none" / "m.infini")
    with pytest.raises(ArtifactError, match="cannot write"):
        artifact.write(add_program, tmp_path)
    assert os.listdir(tmp_path) == []


def test_links_modes_and_devices(saved: Path, add_program: Program, tmp_path: Path):
    """What a link leads to is written, with the mode that it had; a device stays one."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    link, target = folder / "link", folder / ("m" * 250)
    target.write_text("before")
    target.chmod(0o640)
    link.symlink_to(target)
    artifact.write(add_program, link)
    assert link.is_symlink() and stat.S_IMODE(target.stat().st_mode) == 0o640
    assert target.read_bytes() == saved.read_bytes() and len(os.listdir(folder)) == 2
    artifact.write(add_program, os.devnull)
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
    with pytest.raises(ArtifactError, match="cannot write /dev/full: No space left"):
        artifact.write(add_program, "/dev/full")


def test_loading_reads_no_weights(tmp_path: Path):
    """A sparse artifact of 64 GB loads at once, in next to no memory."""
    store = WeightStore()
    name = store.add("w", np.zeros(1, np.float32))
    program = build(ADD, store, **add_signature())
    path = tmp_path / "m.infini"
    artifact.write(program, path)
    size = 64 << 30

    def grow(document: dict[str, Any]) -> None:
        document["program"]["weights"] = [[name, 0, "f32", [size // 4]]]
        document["sections"]["weights"]["size"] = size

    rewrite(path, grow, extra=size)
    start = time.perf_counter()
    model = load(path, threads=1)
    took = time.perf_counter() - start
    assert model(np.zeros(2, np.float32)).tolist() == [0, 0]
    assert took < 5


def test_copied_weights(saved: Path):
    mapped, copied = artifact.read(saved), artifact.read(saved, copied=True)
    for entry in mapped.metadata.weights:
        expected = mapped.weights.array(entry.name)
        assert np.array_equal(copied.weights.array(entry.name), expected)
    assert np.array_equal(copied.weight_section.block, mapped.weight_section.block)
    assert copied.weight_section.base != mapped.weight_section.base
    with pytest.raises(ValueError, match="read-only"):
        mapped.weight_section.block[0] = 0


def test_copied_programs_do_not_see_what_becomes_of_the_file(saved: Path):
    """Neither code that is overwritten nor weights that are cut off."""
    called, loaded = (CompiledModel(artifact.read(saved, copied=True)) for _ in range(2))
    x = np.zeros(5, np.float32)
    assert called(x).tolist() == [1] * 5
    size = saved.stat().st_size
    with saved.open("r+b") as file:
        file.write(b"\xcc" * size)
        file.truncate(100)
    assert called(x).tolist() == [1] * 5
    with pytest.raises(ArtifactError, match="is damaged: it was cut short since it was loaded"):
        loaded(x)
