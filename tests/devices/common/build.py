"""Building generated projects with g++ and running them on arrays, for tests.

The headers of a functional model stand in for the vendor's: they lie in `include_dirs`, and
the shipped files are compiled unchanged (see `infini_ir.targets.c_project`). Objects, programs
and precompiled headers are kept in the user's cache folder by the hash of all that decides
them, so that a second run of the same tests compiles nothing.

    builder = Builder(include_dirs=(MODEL,), precompiled="kernel_operator.h")
    builder.build_all(projects)                  # two compilers at a time
    outputs = builder.run(project, {"x": x})
    outputs = run_project(project, {"x": x}, include_dirs=(MODEL,))    # the same in one go

`SANITIZE` are flags that find wrong memory accesses.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from infini_ir.targets.c_project.project import Project
from infini_ir.targets.c_project.weights_file import write_weights
from infini_ir.utils.dtypes import numpy_dtype

COMPILER = os.environ.get("CXX", "g++")
PARALLEL = 2
"""Compilers at a time."""
FLAGS = ("-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror")
SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g1")
LIMIT = 3 << 30
"""Bytes kept in the cache; the least recently used files go first."""

_HEADERS = (".h", ".hpp", ".cuh")
_DOCUMENTS = (".md", ".txt", ".json", ".mlir")
_HOST = ("main.cpp", "npy.cpp", "runtime.cpp", "model.cpp", "device.cpp", "library.cpp")
_PRECOMPILED = "precompiled.h"
_INCLUDE = re.compile(r'^\s*#\s*include\s*["<]([^">]+)[">]', re.MULTILINE)


class BuildError(AssertionError):
    """A generated project that does not compile; the text is the compiler's."""


class RunError(AssertionError):
    """A project's program that failed; the text is what it wrote to stderr."""


@dataclass(frozen=True)
class Builder:
    """How projects of one target are compiled and run."""

    include_dirs: tuple[Path, ...] = ()
    """Folders of the functional model's headers."""
    defines: tuple[str, ...] = ()
    """Macros beside `INFINI_FUNCTIONAL_MODEL`: `NAME` or `NAME=value`."""
    sources_extra: tuple[Path, ...] = ()
    """The model's own sources, linked with every project."""
    flags: tuple[str, ...] = ()
    """After `FLAGS`, such as `SANITIZE`."""
    precompiled: str = ""
    """A header of `include_dirs` that is precompiled, and included before anything else in
    the target's kernels."""

    def build(self, project: Project) -> Path:
        """The project's program, compiled where it was not before. Raises `BuildError`."""
        return self.build_all([project])[0]

    def build_all(self, projects: Sequence[Project]) -> list[Path]:
        """The programs of many projects, their sources compiled two at a time."""
        if shutil.which(COMPILER) is None:
            pytest.skip(f"{COMPILER} is not installed: what is written in C++ is not checked")
        units: dict[str, _Unit] = {}
        needed: list[list[str]] = []
        for project in projects:
            mine = [self._unit(path, project.sources) for path in _sources(project)]
            mine += [self._unit(path.name, {}, path) for path in self.sources_extra]
            units |= {unit.key: unit for unit in mine}
            needed.append([unit.key for unit in mine])
        missing = [unit for key, unit in units.items() if not _hit(_object(key))]
        if any(unit.precompiled for unit in missing):
            self._precompile()
        with ThreadPoolExecutor(PARALLEL) as pool:
            list(pool.map(self._compile, missing))
            return list(pool.map(self._link, needed))

    def run(
        self, project: Project, inputs: Mapping[str, np.ndarray], *, timeout: float = 300.0
    ) -> dict[str, np.ndarray]:
        """The outputs by name. Raises `BuildError` or `RunError`."""
        program = self.build(project)
        with tempfile.TemporaryDirectory(prefix="infini-run-") as name:
            folder = Path(name)
            arguments = [str(program), "--output-dir", str(folder / "outputs")]
            meta = project.metadata
            if meta.weights and project.weights is not None:
                write_weights(
                    folder / "weights.bin", project.weights, meta.weights, meta.alignment
                )
            for number, (key, array) in enumerate(inputs.items()):
                np.save(folder / f"{number}.npy", array)
                arguments += ["--input", f"{key}={folder}/{number}.npy"]
            _execute(arguments, folder, timeout)
            return _read_outputs(project, folder / "outputs")

    # Compiling

    @property
    def _arguments(self) -> list[str]:
        defines = [f"-D{name}" for name in ("INFINI_FUNCTIONAL_MODEL", *self.defines)]
        return [*FLAGS, *self.flags, *defines]

    def _unit(self, path: str, files: Mapping[str, str], source: Path | None = None) -> _Unit:
        """A source with everything of ours that it includes."""
        precompiled = self.precompiled if source is None and path not in _HOST else ""
        parts = [path, precompiled, self._precompiled_key() if precompiled else ""]
        parts += self._closure(source or path, files)
        return _Unit(_key(*self._arguments, *parts), path, files, source, precompiled)

    def _closure(self, start: str | Path, files: Mapping[str, str]) -> list[str]:
        """Names and texts of a source and of the headers below it, those of the project
        (given by name) and those of the functional model (by path)."""
        seen: dict[str | Path, str] = {}
        pending = [start]
        while pending:
            file = pending.pop()
            if file in seen:
                continue
            text = seen[file] = _text(file) if isinstance(file, Path) else files[file]
            for name in _INCLUDE.findall(text):
                found = self._find(name, file, files)
                if found is not None:
                    pending.append(found)
        named = [(str(f.name) if isinstance(f, Path) else f, t) for f, t in seen.items()]
        return [part for item in sorted(named) for part in item]

    def _find(self, name: str, by: str | Path, files: Mapping[str, str]) -> str | Path | None:
        """The file that a line of another includes; None for those of the system."""
        if isinstance(by, str):
            beside = os.path.normpath(os.path.join(os.path.dirname(by), name))
            for path in (beside, name):
                if path in files:
                    return path
        beside_model = [by.parent] if isinstance(by, Path) else []
        for folder in (*beside_model, *self.include_dirs):
            if (folder / name).is_file():
                return (folder / name).resolve()
        return None

    def _precompiled_key(self) -> str:
        header = self._find(self.precompiled, "", {})
        if header is None:
            raise BuildError(f"there is no header {self.precompiled} to precompile")
        return _key(*self._arguments, "precompiled", *self._closure(header, {}))

    def _precompile(self) -> None:
        """The precompiled header: made by one process while others wait for it."""
        folder = self._precompiled_folder()
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            made = folder / f"{_PRECOMPILED}.gch"
            if _hit(made):
                return
            source = folder / _PRECOMPILED
            source.write_text(f"#include <{self.precompiled}>\n")
            command = ["-x", "c++-header", str(source), *self._includes()]
            _produce(made, [COMPILER, *self._arguments, *command])

    def _precompiled_folder(self) -> Path:
        return _cache() / f"{self._precompiled_key()}.pch"

    def _includes(self) -> list[str]:
        return [f"-I{folder}" for folder in self.include_dirs]

    def _compile(self, unit: _Unit) -> None:
        with tempfile.TemporaryDirectory(prefix="infini-build-") as name:
            for path, text in unit.files.items():
                if path == unit.path or path.endswith(_HEADERS):
                    target = Path(name, path)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_text(text)
            source = unit.source or Path(name, unit.path)
            includes = [f"-I{name}", *self._includes()]
            if unit.precompiled:
                includes += ["-include", str(self._precompiled_folder() / _PRECOMPILED)]
            command = ["-x", "c++", "-c", str(source), *includes]
            _produce(_object(unit.key), [COMPILER, *self._arguments, *command])

    def _link(self, keys: Sequence[str]) -> Path:
        program = _cache() / _key("program", *self.flags, *keys)
        if not _hit(program):
            objects = [str(_object(key)) for key in keys]
            _produce(program, [COMPILER, *self.flags, *objects])
        return program


@dataclass(frozen=True)
class _Unit:
    key: str
    path: str
    files: Mapping[str, str]
    source: Path | None
    """Where it lies, for a source that is not of the project."""
    precompiled: str


def run_project(
    project: Project,
    inputs: Mapping[str, np.ndarray],
    *,
    include_dirs: Sequence[Path] = (),
    defines: Sequence[str] = (),
    sources_extra: Sequence[Path] = (),
    flags: Sequence[str] = (),
    precompiled: str = "",
    timeout: float = 300.0,
) -> dict[str, np.ndarray]:
    """Build a project and run it on arrays by name; the outputs by name."""
    builder = Builder(
        tuple(include_dirs), tuple(defines), tuple(sources_extra), tuple(flags), precompiled
    )
    return builder.run(project, inputs, timeout=timeout)


def run_program(program: Path, *arguments: str, timeout: float = 300.0) -> str:
    """What a built program prints. Raises `RunError` with its stderr where it fails."""
    with tempfile.TemporaryDirectory(prefix="infini-run-") as folder:
        return _execute([str(program), *arguments], Path(folder), timeout)


def _execute(arguments: Sequence[str], folder: Path, timeout: float) -> str:
    try:
        done = subprocess.run(
            arguments, cwd=folder, capture_output=True, text=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise RunError(f"the program did not end in {timeout} seconds") from error
    if done.returncode:
        raise RunError(done.stderr.strip() or f"the program ended with {done.returncode}")
    return done.stdout


def _read_outputs(project: Project, folder: Path) -> dict[str, np.ndarray]:
    outputs: dict[str, np.ndarray] = {}
    used: set[str] = set()
    for number, spec in enumerate(project.metadata.outputs):
        name = file_name(spec.name)
        while name in used:
            name += f"_{number}"
        used.add(name)
        array = np.load(folder / f"{name}.npy")
        wanted = numpy_dtype(spec.dtype)
        outputs[spec.name] = array.view(wanted) if array.dtype.kind == "V" else array
    return outputs


def file_name(name: str) -> str:
    """The name under which `run_model` writes an output."""
    kept = "".join(
        chr(b) if chr(b).isascii() and (chr(b).isalnum() or chr(b) in "-_.") else "_"
        for b in name.encode()
    )
    return kept.lstrip(".") or "output"


def _sources(project: Project) -> list[str]:
    """What is compiled: all files but headers and documents."""
    return [path for path in project.sources if not path.endswith((*_HEADERS, *_DOCUMENTS))]


# The cache


@cache
def _cache() -> Path:
    """`test-builds` in the cache folder, with what is old removed."""
    chosen = os.environ.get("INFINI_CACHE_DIR")
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = Path(chosen or os.path.join(base, "infini")) / "test-builds"
    folder.mkdir(parents=True, exist_ok=True)
    _evict(folder)
    return folder


def _evict(folder: Path) -> None:
    """Remove the least recently used entries until half the limit is left."""
    found: list[tuple[float, int, Path]] = []
    for path in folder.iterdir():
        with contextlib.suppress(OSError):
            parts = list(path.iterdir()) if path.is_dir() else [path]
            sizes = [part.stat() for part in parts]
            newest = max((s.st_mtime for s in sizes), default=0.0)
            found.append((newest, sum(s.st_size for s in sizes), path))
    total = sum(size for _, size, _ in found)
    if total <= LIMIT:
        return
    for _, size, path in sorted(found):
        if total <= LIMIT // 2:
            return
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
        total -= size


def _object(key: str) -> Path:
    return _cache() / f"{key}.o"


def _hit(path: Path) -> bool:
    """Whether a file is in the cache; it then counts as just used."""
    try:
        os.utime(path)
    except OSError:
        return False
    return True


def _produce(path: Path, command: Sequence[str]) -> None:
    """Run a compiler whose output appears in the cache whole or not at all."""
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    os.close(handle)
    try:
        done = subprocess.run(
            [*command, "-o", name],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
        if done.returncode:
            raise BuildError(done.stderr[:8000])
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)


@cache
def _compiler_version() -> str:
    return subprocess.run([COMPILER, "--version"], capture_output=True, text=True).stdout


def _key(*parts: str) -> str:
    digest = hashlib.sha256()
    for part in (_compiler_version(), *parts):
        data = part.encode()
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()[:40]


@cache
def _text(path: Path) -> str:
    return path.read_text()
