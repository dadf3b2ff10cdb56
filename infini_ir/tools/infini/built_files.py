"""What a compilation built, as files: an artifact, or a folder of sources."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from infini_ir.runtime.program import Program
    from infini_ir.targets.c_project.project import Project


def write(built: Program | Project, place: Path, *, force: bool = False) -> int:
    """Write to a file or, for a project or where `place` is no `.infini` file's name on a
    GPU target, to a folder; the bytes written. Raises `ArtifactError` where that fails."""
    from infini_ir.runtime import artifact
    from infini_ir.runtime.metadata import NATIVE
    from infini_ir.runtime.program import Program

    if not isinstance(built, Program):
        built.write(place, overwrite=force)
        return _size(place)
    if built.metadata.form == NATIVE or (place.suffix == ".infini" and not place.is_dir()):
        artifact.write(built, place)
        return place.stat().st_size
    from infini_ir.targets.nvidia.folder import write_folder

    write_folder(built, place, overwrite=force)
    return _size(place)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
