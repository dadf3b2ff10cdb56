"""Compiled objects on disk, by the hash of everything that decides their bytes.

The cache only ever saves time: whatever goes wrong with the disk reads as a miss.
"""

import contextlib
import hashlib
from pathlib import Path

from infini_ir.utils.entry_folder import EntryFolder, cache_folder

LIMIT = 1 << 30
"""Bytes kept on disk; the least recently used entries go first."""

_MAGIC = b"infini object 2\n"
_DIGEST = 32
_SUFFIX = ".o"
_SWEEP_EVERY = 1024
"""Stores between two looks at the cache's size; the first store of a process looks too."""


class ObjectCache:
    """A folder of objects. Processes may share it: entries appear whole or not at all."""

    def __init__(self, folder: Path | None = None, limit: int = LIMIT):
        self.entries = EntryFolder((folder or cache_folder()) / "objects", limit)
        self._stores = 0

    @property
    def folder(self) -> Path:
        return self.entries.folder

    @staticmethod
    def key(*parts: str) -> str:
        """The name of the object that `parts` decide."""
        digest = hashlib.sha256()
        for part in parts:
            data = part.encode()
            digest.update(len(data).to_bytes(8, "little"))
            digest.update(data)
        return digest.hexdigest()

    def load(self, key: str) -> bytes | None:
        """The object stored as `key`, or `None`; an entry that is not whole is removed."""
        name = key + _SUFFIX
        try:
            entry = self.entries.path(name).read_bytes()
        except OSError:
            return None
        data = entry[len(_MAGIC) + _DIGEST :]
        if entry != _header(key, data) + data:
            self.entries.remove(name)
            return None
        self.entries.note_use(name)
        return data

    def store(self, key: str, data: bytes) -> None:
        """Keep `data` as `key`, if the disk takes it."""
        with contextlib.suppress(OSError):
            with self.entries.writing(key + _SUFFIX) as file:
                if file is not None:
                    file.write(_header(key, data) + data)
            if self._stores % _SWEEP_EVERY == 0:
                self.entries.evict()
            self._stores += 1


def _header(key: str, data: bytes) -> bytes:
    """What shows that an entry is whole, and the one that was stored as `key`."""
    return _MAGIC + hashlib.sha256(key.encode() + data).digest()
