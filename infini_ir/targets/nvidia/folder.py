"""A compiled program as a folder to look at: kernels' sources, PTX, machine code, the plan,
and the artifact that runs."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from infini_ir.runtime import artifact
from infini_ir.runtime.cuda.executor import PLAN_FILE
from infini_ir.runtime.program import Program
from infini_ir.targets.nvidia.program import files
from infini_ir.utils.errors import ArtifactError

ARTIFACT = "model.infini"
_OURS = ("kernels", "ptx", "cubin", PLAN_FILE, ARTIFACT)
"""All that a folder has at its top."""


def write_folder(
    program: Program, place: str | os.PathLike[str], *, overwrite: bool = False
) -> Path:
    """Write `kernels/*.py`, `ptx/*.ptx`, `cubin/*.cubin`, `launch_plan.json`, `model.infini`.

    A folder that this wrote before is written anew. Raises `ArtifactError` for one with
    other contents (unless told to `overwrite`, which leaves them), or where writing fails.
    """
    place = Path(place)
    _refuse_foreign(place, overwrite)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{place.name}.", dir=place.parent) as staged:
            _write_all(program, Path(staged))
            place.mkdir(exist_ok=True)
            for name in _OURS:
                _replace(Path(staged) / name, place / name)
    except OSError as error:
        raise ArtifactError(
            f"cannot write the program to '{place}': {error.strerror or error}; name another place"
        ) from error
    return place


def _refuse_foreign(place: Path, overwrite: bool) -> None:
    if place.exists() and not place.is_dir():
        raise ArtifactError(f"'{place}' is a file, not a folder; give another name")
    if overwrite or not place.exists():
        return
    foreign = sorted(entry.name for entry in place.iterdir() if entry.name not in _OURS)
    if foreign:
        raise ArtifactError(
            f"'{place}' holds other files, such as '{foreign[0]}'; give another folder, or "
            "--force to write beside them"
        )


def _write_all(program: Program, folder: Path) -> None:
    for name, content in files(program).items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)
    with open(folder / ARTIFACT, "wb") as file:
        artifact.write_to(program, file)


def _replace(new: Path, old: Path) -> None:
    if old.is_dir() and not old.is_symlink():
        shutil.rmtree(old)
    elif old.exists():
        old.unlink()
    if new.exists():
        shutil.move(new, old)
