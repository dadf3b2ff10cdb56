"""Compiling text to objects, and the cache on disk."""

import os

import pytest

from infini_ir.targets.cpu.features import host, named
from infini_ir.targets.cpu.llvm import codegen, toolchain
from infini_ir.utils.entry_folder import cache_folder
from infini_ir.utils.object_cache import ObjectCache

TEXT = "define i32 @f(i32 %x) {\n %y = add i32 %x, 1\n ret i32 %y\n}"


@pytest.fixture
def cache(tmp_path):
    return ObjectCache(tmp_path)


def entries(cache):
    return sorted(cache.folder.glob("*"))


def test_same_bytes_from_the_cache(cache, monkeypatch):
    first = toolchain.compile_ir(TEXT, host(), cache=cache)
    assert len(entries(cache)) == 1

    def fail(*args, **options):
        raise AssertionError("compiled again")

    monkeypatch.setattr(codegen, "generate", fail)
    assert toolchain.compile_ir(TEXT, host(), cache=cache) == first


def test_processor_is_part_of_the_key(cache):
    for name in ("x86-64", "x86-64-v3", "aarch64"):
        toolchain.compile_ir(TEXT, named(name), cache=cache)
    assert len(entries(cache)) == 3


@pytest.mark.parametrize("damage", [b"", b"short", None])
def test_damaged_entry(cache, damage):
    first = toolchain.compile_ir(TEXT, host(), cache=cache)
    (path,) = entries(cache)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + b"!" if damage is None else damage)
    assert toolchain.compile_ir(TEXT, host(), cache=cache) == first
    assert path.read_bytes() == whole


def test_an_entry_under_the_name_of_another_is_none(cache):
    first = toolchain.compile_ir(TEXT, host(), cache=cache)
    (path,) = entries(cache)
    other = ObjectCache.key("other")
    path.rename(path.with_stem(other))
    assert cache.load(other) is None
    cache.store(other, first)
    assert cache.load(other) == first


def test_folder_that_cannot_be_made(tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("")
    cache = ObjectCache(blocker)
    assert toolchain.compile_ir(TEXT, host(), cache=cache)[:4] == b"\x7fELF"


def test_full_disk(cache, monkeypatch):
    def full(*paths):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert toolchain.compile_ir(TEXT, host(), cache=cache)[:4] == b"\x7fELF"
    assert entries(cache) == []


def test_oldest_go_first(tmp_path):
    cache = ObjectCache(tmp_path, limit=3000)
    for age, key in enumerate("abc"):
        cache.store(key, bytes(900))
        os.utime(cache.folder / f"{key}.o", (age, age))
    assert cache.load("a") is not None  # used now, so no longer the oldest
    cache._stores = 0
    cache.store("d", bytes(900))
    assert [path.stem for path in entries(cache)] == ["a", "d"]


def test_folder_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("INFINI_CACHE_DIR", raising=False)
    assert cache_folder() == tmp_path / "infini"
    monkeypatch.setenv("INFINI_CACHE_DIR", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"


def test_modules_in_order():
    texts = [TEXT.replace("@f", f"@f{i}") for i in range(8)]
    built = toolchain.compile_modules(texts, host(), 3)
    assert built == [toolchain.compile_ir(text, host()) for text in texts]


def test_assembly():
    assert "f:" in toolchain.assembly(TEXT, named("x86-64"))
    assert "add\tw0, w0, #1" in toolchain.assembly(TEXT, named("aarch64"))


def test_invalid_text():
    with pytest.raises(RuntimeError, match="internal error"):
        toolchain.compile_ir("define i32 @f() { ret void }", host())


def test_an_option_of_llvm_is_set_only_while_code_is_generated(monkeypatch: pytest.MonkeyPatch):
    said: list[str] = []
    monkeypatch.setattr(codegen.llvm, "set_option", lambda _, text: said.append(text))
    switch = codegen._Switch("-x")
    with switch.on():
        with switch.on():
            pass
        assert said == ["-x=true"]
    with pytest.raises(KeyError), switch.on():
        raise KeyError
    assert said == ["-x=true", "-x=false"] * 2
