"""What a compilation built, as files: an artifact, or a folder of sources."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from infini_ir.runtime.program import Program
    from infini_ir.targets.c_project.project import Project


def write(built: Program | Project, place: Path, *, force: bool = False) -> int:
    """Write to a file or, for a project or where `place` is no `.infini` file's name on a
    GPU target, to a folder; the bytes written. Raises `ArtifactError` where that fails."""
    from infini_ir.runtime import artifact
    from infini_ir.runtime.program import Program

    if not isinstance(built, Program):
        built.write(place, overwrite=force)
        return _size(place)
    if built.metadata.target == "cpu" or (place.suffix == ".infini" and not place.is_dir()):
        artifact.write(built, place)
        return place.stat().st_size
    _write_folder(built, place, force=force)
    return _size(place)


_OURS = "launch_plan.json"
"""A file that says that a folder was written here."""


def _write_folder(program: Program, folder: Path, *, force: bool) -> None:
    """A GPU's program to look into: sources, machine code and launch plan, beside the
    artifact that runs. What an earlier program left there goes away."""
    from infini_ir.runtime import artifact
    from infini_ir.targets.nvidia.program import files
    from infini_ir.utils.errors import ArtifactError

    if (
        folder.is_dir()
        and any(folder.iterdir())
        and not (folder / _OURS).exists()
        and not force
    ):
        raise ArtifactError(
            f"cannot write '{folder}': it holds other files; name another folder, or --force"
        )
    try:
        for kind in ("kernels", "ptx", "cubin"):
            shutil.rmtree(folder / kind, ignore_errors=True)
        for name, data in files(program).items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data if isinstance(data, bytes) else data.encode())
    except OSError as error:
        raise ArtifactError(f"cannot write '{error.filename}': {error.strerror}") from error
    artifact.write(program, folder / "model.infini")


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
