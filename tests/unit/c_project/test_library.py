"""Projects as libraries: the C interface, failing devices, CMake, and the tests' builder."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from loop_target import kernels_text, make
from tile_programs import TileProgram
from xdsl.ir import Operation

from infini_ir.dialects.tile import program
from infini_ir.targets.c_project.assemble import static_source
from infini_ir.targets.c_project.device import DeviceRuntime
from infini_ir.targets.c_project.host import HostProgram
from infini_ir.targets.c_project.project import Project
from infini_ir.targets.c_project.signatures import signatures_of
from infini_ir.utils.symbolic import Dim
from tests.devices.common import build
from tests.devices.common.build import SANITIZE, Builder, BuildError, RunError, run_project
from tests.devices.common.host_device import HOST_RUNTIME

BUILDER = Builder(flags=SANITIZE)
HERE = Path(__file__).parent


def doubled(runtime: DeviceRuntime = HOST_RUNTIME, weights: int = 0) -> Project:
    """Two kernels, with memory between them."""
    p = TileProgram([(["N"], "f32")], [(["N"], "f32")])
    x, y = p.views
    between = p.alloc(["N"], "f32")
    first = p.weight("w", np.zeros(weights, np.float32)) if weights else x
    for name, views in (("mix0", (first, x, between)), ("mix1", (x, x, y))):
        p.launch(p.kernel(name, views, [1], [1]), views)
    return make(p, runtime=runtime)


def test_the_c_interface():
    project = doubled()
    driver = (HERE / "driver.cpp").read_text()
    project.sources = {**project.sources, "main.cpp": driver}
    build.run_program(BUILDER.build(project))


def test_the_header_is_plain_c(tmp_path):
    (tmp_path / "infini.h").write_text(static_source("infini.h"))
    (tmp_path / "t.c").write_text('#include "infini.h"\nint main(void) { return INFINI_OK; }\n')
    command = ["gcc", "-std=c99", "-pedantic-errors", "-Wall", "-Wextra", "-Werror", "t.c"]
    subprocess.run([*command, "-fsyntax-only"], cwd=tmp_path, check=True)


def run(project: Project, n: int = 8) -> np.ndarray:
    (y,) = BUILDER.run(project, {"input0": np.ones(n, np.float32)}).values()
    return y


def test_a_device_with_little_memory():
    little = replace(
        HOST_RUNTIME, malloc="(bytes > 1000 || (*pointer = std::malloc(bytes)) == nullptr)"
    )
    assert run(doubled(little)).shape == (8,)
    with pytest.raises(RunError) as caught:
        run(doubled(little), 500)
    assert str(caught.value) == (
        "run_model: the model needs 2048 bytes of device memory for these input sizes, which "
        "the device does not give (2048 bytes of memory: no memory); use smaller inputs"
    )
    with pytest.raises(RunError, match="run_model: 4096 bytes of memory: no memory"):
        run(doubled(little, weights=1000))


def test_a_kernel_that_does_not_start():
    failing = replace(
        HOST_RUNTIME,
        last_error='std::strcmp(kernel, "mix1") == 0',
        error_text='"too many resources (" + std::to_string(status) + ")"',
    )
    with pytest.raises(RunError, match=r"starting kernel mix1: too many resources \(1\)"):
        run(doubled(failing))


def test_waiting_names_the_kernel(monkeypatch):
    """A device that fails while it works tells so at the next wait."""
    failing = replace(
        HOST_RUNTIME,
        declarations="bool broken = false;",
        synchronize="broken",
        last_error='(broken = broken || std::strcmp(kernel, "mix0") == 0, 0)',
        error_text='"illegal address"',
    )
    with pytest.raises(RunError, match="run_model: waiting for kernels: illegal address"):
        run(doubled(failing))
    monkeypatch.setenv("INFINI_SYNCHRONIZE", "1")
    with pytest.raises(RunError, match="kernel 'mix0' failed: waiting for kernels: illegal"):
        run(doubled(failing))


def test_cmake_builds_it(tmp_path):
    place = doubled().write(tmp_path / "model")
    options = ["-B", "build", "-DCMAKE_CXX_FLAGS=-Wall -Wextra -Werror"]
    for command in (
        ["cmake", *options, "-DCMAKE_BUILD_TYPE=Debug"],
        ["cmake", "--build", "build"],
    ):
        done = subprocess.run(command, cwd=place, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    listing = subprocess.run(
        [place / "build/run_model", "--list"], capture_output=True, text=True
    )
    assert listing.stdout == "input  input0: f32[N]\noutput output0: f32[N]\n"
    (place / "project.json").unlink()
    done = subprocess.run(["cmake", "-B", "b2"], cwd=place, capture_output=True, text=True)
    assert done.returncode != 0 and "not whole: write it again" in done.stderr


# The tests' builder


def test_nothing_is_built_twice(monkeypatch):
    project = doubled()
    wanted = run(project)

    def refuse(path, command):
        raise AssertionError(f"{path} is built again")

    monkeypatch.setattr(build, "_produce", refuse)
    np.testing.assert_array_equal(run(project), wanted)
    project.sources = {**project.sources, "sizes.h": static_source("sizes.h") + "\n"}
    with pytest.raises(AssertionError, match="built again"):
        run(project)


def test_a_functional_model_stands_in(tmp_path):
    """A vendor's header, whose model launches kernels by a function of its own."""
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/numbers.h").write_text("#define MODEL_FACTOR 2.0f\n")
    (tmp_path / "vendor.h").write_text(
        '#pragma once\n#include <vector>\n#include "deep/numbers.h"\n'
        "#ifdef INFINI_FUNCTIONAL_MODEL\n"
        "#define INFINI_LAUNCH(kernel, stream, ...) kernel(__VA_ARGS__), vendor_model_count()\n"
        "void vendor_model_count();\n"
        "#endif\n"
    )
    (tmp_path / "model.cc").write_text(
        "#include <cstdio>\n#include <cstdlib>\n"
        "void vendor_model_count() {\n"
        "  static int launches = 0;\n"
        '  if (++launches == LIMIT) { std::fputs("rule: too many launches\\n", stderr); '
        "std::abort(); }\n}\n"
    )
    project = doubled()
    kernels = '#include "vendor.h"\n' + project.text("kernels.cpp")
    project.sources = {**project.sources, "kernels.cpp": kernels}
    options = {
        "include_dirs": [tmp_path],
        "sources_extra": [tmp_path / "model.cc"],
        "precompiled": "vendor.h",
    }
    inputs = {"input0": np.ones(3, np.float32)}
    given = run_project(project, inputs, defines=["LIMIT=99"], **options)
    np.testing.assert_array_equal(given["output0"], run(doubled(), 3))
    with pytest.raises(RunError, match="rule: too many launches"):
        run_project(project, inputs, defines=["LIMIT=2"], **options)


def test_errors_of_the_compiler_are_shown():
    project = doubled()
    project.sources = {**project.sources, "kernels.cpp": "int main() { return x; }"}
    with pytest.raises(BuildError, match="'x' was not declared"):
        BUILDER.build(project)


def test_a_program_that_does_not_end():
    project = doubled()
    project.sources = {
        **project.sources,
        "main.cpp": "int main() { for (volatile int i = 0;; ++i) {} }",
    }
    with pytest.raises(RunError, match=r"did not end in 0\.5 seconds"):
        BUILDER.run(project, {}, timeout=0.5)


def test_the_cache_has_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "LIMIT", 100)
    for number in range(10):
        path = tmp_path / f"{number}.o"
        path.write_bytes(b"x" * 30)
        build.os.utime(path, (number, number))
    build._evict(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["9.o"]


def test_kernels_have_unique_launch_functions():
    p = TileProgram([(["N"], "f32")], [(["N"], "f32")])
    for name in ("count.1", "count_1"):
        p.launch(p.kernel(name, [p.views[1]], [1], [1]), [p.views[1]])
    signatures = signatures_of(p.module)
    assert [s.name for s in signatures.values()] == ["count_1", "count_1_2"]
    assert "launch_count_1_2(" in kernels_text(p.module)


def test_names_in_kernels_avoid_those_of_the_text():
    p = TileProgram([(["pipe"], "f32")], [(["pipe"], "f32")])
    k = p.kernel("mix0", [p.views[0], p.views[0], p.views[1]], [1], [1])
    p.launch(k, [p.views[0], p.views[0], p.views[1]])
    (signature,) = signatures_of(p.module, ["pipe", "v0"]).values()
    assert signature.arguments()[0] == ("void*", "v0_2")
    assert signature.arguments()[3] == ("int64_t", "pipe_2")
    assert signature.symbol_names().symbol("pipe") == "pipe_2"


def test_a_target_has_operations_of_its_own():
    """Such as a call of the vendor's library, here in place of a barrier."""
    p = TileProgram([(["N"], "f32")], [(["N"], "f32")])
    p.emit(program.BarrierOp())
    p.launch(
        p.kernel("mix0", [p.views[0]] * 2 + [p.views[1]], [1], [1]),
        [p.views[0]] * 2 + [p.views[1]],
    )

    def library_call(host: HostProgram, op: Operation) -> None:
        x = host.pointer(p.views[0])
        host.line(f"library({x}, {host.size(Dim.symbol('N') * 2)});")

    entry = p.entry
    host = HostProgram(entry, signatures_of(p.module), {}, {program.BarrierOp: library_call})
    assert "  library(input0, 2 * N);\n" in host.text()
