"""A folder of files that may be thrown away, of limited size; processes may share it.

Every cache on disk is one of these: entries appear whole or not at all, the least recently
used go first, and whoever reads one says so. Errors of the disk are the caller's to take as
a miss.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

UNFINISHED = ".tmp"
"""How the name of a file ends that is being written."""


def cache_folder() -> Path:
    """`$INFINI_CACHE_DIR`, else `infini` in `$XDG_CACHE_HOME`, else `~/.cache/infini`."""
    if chosen := os.environ.get("INFINI_CACHE_DIR"):
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "infini"


@dataclass(frozen=True)
class Found:
    """A file of the folder."""

    used: float
    """When it was last read or written, in seconds."""
    size: int
    path: str


@dataclass(frozen=True)
class EntryFolder:
    """The files of one cache. Reading and writing may raise `OSError`; the rest does not."""

    folder: Path
    limit: int
    """Bytes kept; the least recently used files go first."""

    def path(self, name: str) -> Path:
        return self.folder / name

    def note_use(self, name: str) -> None:
        """Have a file count as used now."""
        with contextlib.suppress(OSError):
            os.utime(self.path(name))

    def remove(self, name: str) -> bool:
        """Remove a file; whether it was there. Who has it open or mapped keeps it."""
        with contextlib.suppress(OSError):
            os.unlink(self.path(name))
            return True
        return False

    @contextlib.contextmanager
    def writing(self, name: str) -> Iterator[BinaryIO | None]:
        """A file that is put in place as `name` when the block ends well, and is gone
        otherwise; None where another thread or process is writing it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        handle, unfinished = _open(self.path(name + UNFINISHED))
        if handle is None:
            yield None
            return
        with os.fdopen(handle, "wb") as file:
            try:
                yield file
                file.flush()
                os.replace(unfinished, self.path(name))
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(unfinished)
                raise

    def found(self) -> list[Found]:
        """All files, the least recently used first."""
        files: list[Found] = []
        with contextlib.suppress(OSError), os.scandir(self.folder) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    status = entry.stat()
                    files.append(Found(status.st_mtime, status.st_size, entry.path))
        return sorted(files, key=lambda file: (file.used, file.path))

    def evict(self) -> None:
        """Where there is more than the limit, remove until three quarters of it are left."""
        files = self.found()
        total = sum(file.size for file in files)
        if total <= self.limit:
            return
        for file in files:
            if total <= self.limit * 3 // 4:
                return
            if self.remove(file.path):
                total -= file.size

    def clear(self) -> tuple[int, int]:
        """Remove all files; how many, and their bytes."""
        removed = [file for file in self.found() if self.remove(file.path)]
        return len(removed), sum(file.size for file in removed)


def _open(path: Path) -> tuple[int | None, Path]:
    """An empty file to write, locked until it is closed, and its path; None where it is
    being written. What a process that was killed has left there is written over."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever had it may have put it in its place, or removed it, since it was opened.
        if os.path.samestat(os.fstat(handle), os.stat(path)):
            os.ftruncate(handle, 0)
            return handle, path
    except (BlockingIOError, FileNotFoundError):
        pass
    except OSError:
        # A file system without locks: each writer has a file of its own.
        os.close(handle)
        handle, own = tempfile.mkstemp(UNFINISHED, path.stem, path.parent)
        return handle, Path(own)
    os.close(handle)
    return None, path
