"""Compiled objects on disk, by the hash of everything that decides their bytes.

The cache only ever saves time: whatever goes wrong with the disk reads as a miss.
"""

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path

LIMIT = 1 << 30
"""Bytes kept on disk; the least recently used entries go first."""

_MAGIC = b"infini object 1\n"
_DIGEST = 32
_SUFFIX = ".o"
_SWEEP_EVERY = 1024
"""Stores between two looks at the cache's size; the first store of a process looks too."""


def cache_folder() -> Path:
    """`$INFINI_CACHE_DIR`, else `infini` in `$XDG_CACHE_HOME`, else `~/.cache/infini`."""
    if chosen := os.environ.get("INFINI_CACHE_DIR"):
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "infini"


class ObjectCache:
    """A folder of objects. Processes may share it: entries appear whole or not at all."""

    def __init__(self, folder: Path | None = None, limit: int = LIMIT):
        self.folder = (folder or cache_folder()) / "objects"
        self.limit = limit
        self._stores = 0

    @staticmethod
    def key(*parts: str) -> str:
        """The name of the object that `parts` decide."""
        digest = hashlib.sha256()
        for part in parts:
            data = part.encode()
            digest.update(len(data).to_bytes(8, "little"))
            digest.update(data)
        return digest.hexdigest()

    def _path(self, key: str) -> Path:
        return self.folder / (key + _SUFFIX)

    def load(self, key: str) -> bytes | None:
        """The object stored as `key`, or `None`; an entry that is not whole is removed."""
        path = self._path(key)
        try:
            entry = path.read_bytes()
        except OSError:
            return None
        data = entry[len(_MAGIC) + _DIGEST :]
        whole = entry == _header(data) + data
        with contextlib.suppress(OSError):
            if whole:
                os.utime(path)
            else:
                path.unlink()
        return data if whole else None

    def store(self, key: str, data: bytes) -> None:
        """Keep `data` as `key`, if the disk takes it."""
        with contextlib.suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._write(self._path(key), _header(data) + data)
            if self._stores % _SWEEP_EVERY == 0:
                self._evict()
            self._stores += 1

    def _write(self, path: Path, entry: bytes) -> None:
        handle, name = tempfile.mkstemp(dir=self.folder, suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(entry)
            os.replace(name, path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise

    def _evict(self) -> None:
        """Remove the least recently used entries until three quarters of the limit are left."""
        found = []
        with os.scandir(self.folder) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    status = entry.stat()
                    found.append((status.st_mtime, status.st_size, entry.path))
        total = sum(size for _, size, _ in found)
        if total <= self.limit:
            return
        for _, size, path in sorted(found):
            if total <= self.limit * 3 // 4:
                return
            with contextlib.suppress(OSError):
                os.unlink(path)
                total -= size


def _header(data: bytes) -> bytes:
    return _MAGIC + hashlib.sha256(data).digest()
