"""Stand-ins for a vendor's compiler and libraries, so that a project's CMake text is run."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np

from infini_ir.models.kernels import KernelCase
from infini_ir.targets.c_project.project import Project

COMPILER = """#!/usr/bin/env bash
# Takes what the vendor's compiler takes: its own options are dropped.
arguments=()
for argument in "$@"; do
  case "$argument" in
    --bang-mlu-arch=*|--xpu-arch=*|--xpu-host-only|--target=*) ;;
    *) arguments+=("$argument") ;;
  esac
done
exec g++ -x c++ -I{include} "${{arguments[@]}}"
"""


def install(folder: Path, include: Path, compiler: str, libraries: tuple[str, ...]) -> None:
    """A vendor's folder: bin, include, lib64 and so."""
    (folder / "bin").mkdir(parents=True)
    script = folder / "bin" / compiler
    script.write_text(COMPILER.format(include=include))
    script.chmod(0o755)
    (folder / "include").symlink_to(include)
    for place in ("lib64", "so"):
        (folder / place).mkdir()
        for name in libraries:
            subprocess.run(["ar", "rc", str(folder / place / f"lib{name}.a")], check=True)


def build_and_run(
    project: Project, case: KernelCase, folder: Path, environment: dict[str, str]
) -> float:
    """The project built by its CMakeLists.txt and run on a case's inputs; the error."""
    place = project.write(folder / "project")
    environment = {**os.environ, **environment}
    configure = ["cmake", "-B", "build", "-DCMAKE_BUILD_TYPE=Debug"]
    for command in (configure, ["cmake", "--build", "build", "-j2"]):
        done = subprocess.run(
            command, cwd=place, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
    inputs = case.inputs()
    command = [str(place / "build" / "run_model"), "--output-dir", str(folder / "outputs")]
    for name, array in inputs.items():
        np.save(folder / f"{name}.npy", array)
        command += ["--input", f"{name}={folder / name}.npy"]
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    outputs = [np.load(folder / "outputs" / f"{name}.npy") for name in case.outputs]
    return case.error(outputs, inputs)
