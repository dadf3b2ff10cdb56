"""What compiling needs: weights once and where they are read from, LLVM only to generate code."""

import os
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from infini_ir.targets.cpu.features import named
from infini_ir.targets.cpu.llvm import codegen, toolchain

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

MEGABYTE = 1 << 20
TEXT = "define i32 @f(i32 %x) {\n %y = add i32 %x, 1\n ret i32 %y\n}"


def save_product(path, words: int, width: int, *, transposed: bool) -> None:
    """x [2, width] times w, [words, width] if `transposed` and else [width, words]."""
    shape = [words, width] if transposed else [width, words]
    w = numpy_helper.from_array(np.ones(shape, np.float32), "w")
    nodes = [helper.make_node("MatMul", ["x", "t" if transposed else "w"], ["y"])]
    if transposed:
        nodes.insert(0, helper.make_node("Transpose", ["w"], ["t"], perm=[1, 0]))
    x, y = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, size])
        for name, size in (("x", width), ("y", words))
    )
    graph = helper.make_graph(nodes, "g", [x], [y], [w])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, path)


def run(script: str, folder, *arguments: str) -> str:
    """What a process of its own prints, whose cache is in `folder`."""
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env={**os.environ, "INFINI_CACHE_DIR": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


GROWTH = """
import sys, numpy as np, infini_ir
def peak():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(n.split()[1]) * 1024 for n in lines if n.startswith("VmHWM:"))
def call(path, width):
    y = infini_ir.compile(path, threads=1)(np.ones((2, width), np.float32))
    assert (y == width).all()
call(sys.argv[1], 16)
before = peak()
call(sys.argv[2], 256)
print(peak() - before)
"""


@pytest.mark.parametrize("transposed", [False, True])
def test_a_weight_is_in_memory_where_it_lies_and_where_it_is_packed(tmp_path, transposed):
    save_product(tmp_path / "small.onnx", 16, 16, transposed=transposed)
    words, width = 50001, 256  # fills no whole panels
    save_product(tmp_path / "large.onnx", words, width, transposed=transposed)
    grown = int(
        run(GROWTH, tmp_path, str(tmp_path / "small.onnx"), str(tmp_path / "large.onnx"))
    )
    assert grown < 2 * 4 * words * width + 16 * MEGABYTE


LOADED = """
import sys, infini_ir
infini_ir.compile(sys.argv[1])
print("llvmlite.binding" in sys.modules)
"""


def test_llvm_is_loaded_only_to_generate_code(tmp_path):
    save_product(tmp_path / "small.onnx", 16, 16, transposed=False)
    said = [run(LOADED, tmp_path, str(tmp_path / "small.onnx")).strip() for _ in range(2)]
    assert said == ["True", "False"]


def resident(name: str) -> int:
    """Bytes in memory of what is mapped of files of that name."""
    total, inside = 0, False
    with open("/proc/self/smaps") as file:
        for line in file:
            fields = line.split()
            if not fields[0].endswith(":"):
                inside = fields[-1].endswith(name)
            elif inside and fields[0] == "Rss:":
                total += int(fields[1]) * 1024
    return total


def test_memory_of_llvm_is_given_back():
    before = toolchain.compile_ir(TEXT, named("x86-64"))
    assert resident("libllvmlite.so") < 8 * MEGABYTE
    codegen.generate(TEXT, named("x86-64"), as_object=True)
    used = resident("libllvmlite.so")
    assert toolchain.compile_ir(TEXT, named("x86-64")) == before
    assert resident("libllvmlite.so") < used / 2
