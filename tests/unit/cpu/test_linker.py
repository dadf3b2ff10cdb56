"""The linker on objects that LLVM made, run through `Image` where they are the host's."""

import ctypes

import pytest

from infini_ir.runtime.image import Image
from infini_ir.targets.cpu.features import NAMES, host, named
from infini_ir.targets.cpu.image.linker import link
from infini_ir.targets.cpu.image.relocate import LinkError
from infini_ir.targets.cpu.llvm import toolchain
from infini_ir.utils.errors import CompileError

TABLE = """
@table = internal constant [4 x i32] [i32 10, i32 20, i32 30, i32 40], align 64
declare hidden i32 @twice(i32)
define i32 @pick(i64 %i) {
  %p = getelementptr [4 x i32], ptr @table, i64 0, i64 %i
  %v = load i32, ptr %p
  %w = call i32 @twice(i32 %v)
  %x = add i32 %w, 1
  ret i32 %x
}
"""
TWICE = "define hidden i32 @twice(i32 %x) {\n %y = mul i32 %x, 2\n ret i32 %y\n}"
# The address of a function of another object, and of one that is not known to be local.
ADDRESS = """
declare i32 @pick(i64)
define ptr @address() {
  ret ptr @pick
}
"""


def objects(*texts, name="native"):
    return [toolchain.compile_ir(text, named(name)) for text in texts]


def test_calls_and_constants_across_objects():
    linked = link(objects(TABLE, TWICE, ADDRESS))
    assert set(linked.entries) == {"pick", "address"}
    image = Image.from_bytes(linked.code)
    pick = image.function(linked.entries["pick"], ctypes.c_int32, ctypes.c_int64)
    assert [pick(i) for i in range(4)] == [21, 41, 61, 81]
    address = image.function(linked.entries["address"], ctypes.c_void_p)
    assert address() == image.address(linked.entries["pick"])


def test_jump_table():
    cases = "\n".join(f"    i32 {i}, label %c{i}" for i in range(8))
    blocks = "\n".join(
        f"c{i}:\n  %v{i} = call i32 @f{i % 2}(i32 {i * i})\n  ret i32 %v{i}" for i in range(8)
    )
    text = f"""
declare hidden i32 @f0(i32)
declare hidden i32 @f1(i32)
define i32 @choose(i32 %i) {{
  switch i32 %i, label %other [
{cases}
  ]
{blocks}
other:
  ret i32 -1
}}
"""
    functions = "\n".join(
        f"define hidden i32 @f{i}(i32 %x) {{\n %y = add i32 %x, {i}\n ret i32 %y\n}}"
        for i in range(2)
    )
    linked = link(objects(text, functions))
    choose = Image.from_bytes(linked.code).function(0, ctypes.c_int32, ctypes.c_int32)
    assert linked.entries["choose"] == 0
    assert [choose(i) for i in range(9)] == [i * i + i % 2 for i in range(8)] + [-1]


def test_indirect_call_through_the_offset_table():
    text = """
declare i32 @twice(i32) nonlazybind
define i32 @plus(i32 %x) {
  %y = call i32 @twice(i32 %x) nonlazybind
  %z = add i32 %y, 1
  ret i32 %z
}
define i32 @tail(i32 %x) {
  %y = tail call i32 @twice(i32 %x) nonlazybind
  ret i32 %y
}
"""
    linked = link(objects(text, TWICE))
    image = Image.from_bytes(linked.code)
    types = ctypes.c_int32, ctypes.c_int32
    assert image.function(linked.entries["plus"], *types)(5) == 11
    assert image.function(linked.entries["tail"], *types)(5) == 10


@pytest.mark.parametrize("name", NAMES)
def test_every_processor_links(name):
    linked = link(objects(TABLE, TWICE, ADDRESS, name=name))
    assert set(linked.entries) == {"pick", "address"}


def test_aarch64_call_and_address():
    linked = link(objects(TABLE, TWICE, ADDRESS, name="aarch64"))
    words = memoryview(linked.code[: len(linked.code) // 4 * 4]).cast("I")
    assert any(word >> 26 == 0b100101 for word in words)  # bl
    start = linked.entries["address"] // 4
    adrp, add = words[start], words[start + 1]
    assert adrp & 0x9F000000 == 0x90000000
    assert adrp & 0x60FFFFE0 == 0  # the page of the image's start
    assert add & 0xFFC00000 == 0x91000000
    assert add >> 10 & 0xFFF == linked.entries["pick"]


def test_undefined_symbols_are_named():
    with pytest.raises(CompileError, match="no module defines: twice"):
        link(objects(TABLE))


def test_defined_twice():
    with pytest.raises(LinkError, match="twice is defined twice"):
        link(objects(TWICE, TWICE))


def test_weak_gives_way():
    weak = TWICE.replace("define", "define weak").replace("mul i32 %x, 2", "mul i32 %x, 3")
    linked = link(objects(weak, TABLE, TWICE))
    pick = Image.from_bytes(linked.code)
    function = pick.function(linked.entries["pick"], ctypes.c_int32, ctypes.c_int64)
    assert function(1) == 41


@pytest.mark.parametrize(
    "text, reason",
    [
        ("@g = global i32 5\ndefine ptr @f() {\n ret ptr @g\n}", "writable"),
        ("@g = global i32 0\ndefine ptr @f() {\n ret ptr @g\n}", "writable"),
        ("@g = constant ptr @f\ndefine ptr @f() {\n ret ptr @g\n}", "without addresses"),
        ("@g = thread_local global i32 1\ndefine void @f() {\n ret void\n}", "thread-local"),
    ],
)
def test_refused_sections(text, reason):
    with pytest.raises(LinkError, match=reason):
        link(objects(text))


def test_refused_inputs():
    with pytest.raises(LinkError, match="ELF64"):
        link(b"MZ")
    with pytest.raises(LinkError, match="architectures"):
        link(objects(TWICE, name="x86-64") + objects(TABLE, name="aarch64"))
    with pytest.raises(LinkError, match="nothing"):
        link([])


def test_file_image(tmp_path):
    linked = link(objects(TABLE, TWICE))
    path = tmp_path / "image"
    path.write_bytes(bytes(4096) + linked.code)
    image = Image.from_file(path, 4096, len(linked.code))
    pick = image.function(linked.entries["pick"], ctypes.c_int32, ctypes.c_int64)
    del image
    assert pick(3) == 81


def test_host_is_a_known_architecture():
    assert host().arch in ("x86-64", "aarch64")
