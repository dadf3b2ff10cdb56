"""A project: the directory of sources, weights and texts that a target builds."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infini_ir.runtime.metadata import WeightEntry
from infini_ir.runtime.program import Weights
from infini_ir.runtime.signature import TensorSpec
from infini_ir.targets.c_project.weights_file import file_size, write_weights
from infini_ir.utils.errors import ArtifactError
from infini_ir.utils.symbolic import Dim

WEIGHTS = "weights.bin"
MARKER = "project.json"
"""Written last: a directory without it is not whole."""
_STALE = f"{MARKER}.replaced"
"""The marker of an earlier project while another one takes its place."""
FORMAT = "infini project 1"


@dataclass(frozen=True)
class ProjectMetadata:
    """What a project is. JSON in `project.json`."""

    target: str
    architecture: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    symbols: tuple[str, ...] = ()
    """Symbolic sizes: those of the inputs, then those that the model computes."""
    arena: Dim = field(default_factory=lambda: Dim.of(0))
    """Bytes of device memory for intermediate values, from symbols of the inputs."""
    weights: tuple[WeightEntry, ...] = ()
    """Where each weight lies in the file of weights."""
    alignment: int = 64
    """Of weights, in bytes."""
    producer: str = ""
    """Name and version of the compiler."""
    report: dict[str, Any] = field(default_factory=dict)
    """What the compiler has to say of its decisions; plain JSON."""

    @property
    def weights_size(self) -> int:
        """Bytes of the file of weights; 0 where there is none."""
        return file_size(self.weights, self.alignment) if self.weights else 0

    def to_json(self) -> dict[str, Any]:
        return {
            "producer": self.producer,
            "target": self.target,
            "architecture": self.architecture,
            "inputs": [spec.to_json() for spec in self.inputs],
            "outputs": [spec.to_json() for spec in self.outputs],
            "symbols": list(self.symbols),
            "arena": str(self.arena),
            "alignment": self.alignment,
            "weights": [weight.to_json() for weight in self.weights],
            "report": self.report,
        }


@dataclass(eq=False)
class Project:
    """Sources that the vendor's tools build, with what they need to run."""

    metadata: ProjectMetadata
    sources: Mapping[str, str]
    """Texts of the files, by path in the directory (with `/`)."""
    weights: Weights | None = None
    """Where the numbers of `metadata.weights` are had."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """Texts of the levels it came through (`graph`, `tile`, the target's own)."""

    def files(self) -> tuple[str, ...]:
        """Paths of everything that `write` writes, the marker last."""
        weights = (WEIGHTS,) if self.metadata.weights else ()
        levels = tuple(f"ir/{level}.mlir" for level in self.texts)
        return (*self.sources, *levels, *weights, MARKER)

    def text(self, path: str) -> str:
        """The text of one file. `KeyError` for one that there is not, or that is no text."""
        if path in self.sources:
            return self.sources[path]
        if path == MARKER:
            return self._marker()
        folder, _, name = path.rpartition("/")
        if folder == "ir" and name.endswith(".mlir"):
            return self.texts[name.removesuffix(".mlir")]
        raise KeyError(path)

    def write(self, directory: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """
        Write the project into a directory, which is made where there is none.

        A project that was there before is replaced; files that it did not list, such as those
        of a build, stay. A failure leaves a directory without `project.json`, which does not
        build, or, where there was none before, nothing.

        Raises `ArtifactError` where the directory holds anything else (unless told to
        `overwrite`), or cannot be written.
        """
        place = Path(directory)
        try:
            old = _earlier_files(place, overwrite)
            place.parent.mkdir(parents=True, exist_ok=True)
            staged = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent))
            try:
                self._write_all(staged)
                if old is None:
                    _publish(staged, place)
                else:
                    _replace(staged, place, old, self.files())
            finally:
                shutil.rmtree(staged, ignore_errors=True)
        except OSError as error:
            raise ArtifactError(
                f"cannot write the project to '{place}': {error.strerror or error}; name another place"
            ) from error
        return place

    def _write_all(self, folder: Path) -> None:
        for path in self.files():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if path == WEIGHTS and self.metadata.weights:
                if self.weights is None:
                    raise ArtifactError("the project's weights are gone; compile again")
                meta = self.metadata
                write_weights(target, self.weights, meta.weights, meta.alignment)
            else:
                target.write_text(self.text(path), encoding="utf-8")

    def _marker(self) -> str:
        files = [path for path in self.files() if path != MARKER]
        content = {"format": FORMAT, **self.metadata.to_json(), "files": files}
        return json.dumps(content, indent=2, default=str) + "\n"


def _earlier_files(place: Path, overwrite: bool) -> list[str] | None:
    """Files of the project that is in a directory; None where there is nothing yet."""
    if not place.exists() or (place.is_dir() and not any(place.iterdir())):
        return None
    if not place.is_dir():
        raise ArtifactError(f"'{place}' is a file; name a directory for the project")
    for marker in (place / MARKER, place / _STALE):
        with contextlib.suppress(OSError, ValueError):
            content = json.loads(marker.read_text(encoding="utf-8"))
            if content["format"] == FORMAT:
                return [str(path) for path in content["files"]]
    if overwrite:
        return []
    raise ArtifactError(
        f"directory '{place}' holds other files than a project; name another one, or ask to "
        "overwrite"
    )


def _publish(staged: Path, place: Path) -> None:
    """Give a finished directory its name."""
    mask = os.umask(0)
    os.umask(mask)
    staged.chmod(0o777 & ~mask)  # temporary directories are private
    os.replace(staged, place)


def _replace(staged: Path, place: Path, old: list[str], new: tuple[str, ...]) -> None:
    """Put files over an earlier project's, the marker last."""
    if (place / MARKER).exists():
        os.replace(place / MARKER, place / _STALE)
    for path in new[:-1]:
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        os.replace(staged / path, place / path)
    for path in set(old) - set(new):
        inside = (place / path).resolve().is_relative_to(place.resolve())
        if inside and (place / path).is_file():
            (place / path).unlink()
    os.replace(staged / MARKER, place / MARKER)
    (place / _STALE).unlink(missing_ok=True)
