"""Digests of what files contain, worked out once for each state of a file.

A digest is kept with what the system says of the file: its size, when it was written, when
anything of it was changed, and its number. As long as all of that is the same, so is the
content, with one exception, which git calls racy: a file changed again within the tick of
the clock in which its state was noted. So what changed too shortly before it was looked at
is not taken to be known (git's Documentation/technical/racy-git.txt).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from infini_ir.utils.entry_folder import EntryFolder, cache_folder

LIMIT = 16 << 20
"""Bytes kept on disk, of some hundred for each file."""

_TICK = 50_000_000
"""Nanoseconds within which changes may look the same: several of the kernel's ticks."""
_COARSE_TICK = 2_500_000_000
"""The same where times are whole seconds, as some file systems keep them."""
_SUFFIX = ".json"


class State(NamedTuple):
    """What the system says of a file."""

    size: int
    written: int
    """Nanoseconds, as its owner may set them."""
    changed: int
    """Nanoseconds, as only the system sets them."""
    number: int
    """That of the inode."""

    @staticmethod
    def of(path: str | os.PathLike[str]) -> State:
        """The state now. Raises `OSError`."""
        return State.from_status(os.stat(path))

    @staticmethod
    def from_status(s: os.stat_result) -> State:
        return State(s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino)

    def was_before(self, moment: int) -> bool:
        """Whether the file was in this state at a moment (of `time.time_ns`), surely."""
        coarse = self.changed % 1_000_000_000 == 0
        return self.changed < moment - (_COARSE_TICK if coarse else _TICK)


class Digests:
    """Digests of files by their state, on disk. Whatever is wrong with it reads as not known."""

    def __init__(self, folder: Path | None = None):
        self.entries = EntryFolder((folder or cache_folder()) / "digests", LIMIT)

    def of_file(
        self, path: str | os.PathLike[str], *, at_most: int | None = None
    ) -> str | None:
        """The SHA-256 digest of a file's content; None where it changes meanwhile, or where it
        is not known and has more than `at_most` bytes. One that was known and has the same size
        still was perhaps only touched, or written again as it was: it is read. Raises `OSError`.
        """
        place, state = os.path.realpath(path), State.of(path)
        known = self.known("file", place, [state])
        if known is not None:
            return known
        large = at_most is not None and state.size > at_most
        if large and self._size_known(place) != state.size:
            return None
        begin = time.time_ns()
        with open(place, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if State.of(path) != state:
            return None
        if state.was_before(begin):
            self.keep("file", place, [state], digest)
        return digest

    def of_tree(self, folder: str | os.PathLike[str], *, before: int) -> str | None:
        """One digest of all files below a folder, their names and content; None where one of
        them may have changed since the moment `before`. Raises `OSError`."""
        files = sorted(_files_below(str(folder)))
        states = [state for _, state in files]
        if not all(state.was_before(before) for state in states):
            return None
        place = os.path.realpath(folder)
        listing = hashlib.sha256(repr(files).encode()).hexdigest()
        known = self.known("tree", place, listing)
        if known is not None:
            return known
        digest = hashlib.sha256()
        for name, _ in files:
            content = Path(folder, name).read_bytes()
            digest.update(f"{name}\0{len(content)}\0".encode() + content)
        if sorted(_files_below(str(folder))) != files:
            return None
        self.keep("tree", place, listing, digest.hexdigest())
        return digest.hexdigest()

    def _size_known(self, place: str) -> int | None:
        """What size a file had when its digest was kept."""
        try:
            kept = self._record("file", place)
            return State(*kept["state"][0]).size if kept["place"] == place else None
        except (OSError, ValueError, TypeError, KeyError, IndexError):
            return None

    def _record(self, kind: str, place: str) -> Any:
        """What is kept of a place; of any form. Raises `OSError` and `ValueError`."""
        return json.loads(self.entries.path(_name(kind, place)).read_bytes())

    def known(self, kind: str, place: str, state: object) -> str | None:
        """What is kept of a place in a state."""
        try:
            kept = self._record(kind, place)
            matches = kept["place"] == place and kept["state"] == _plain(state)
            value = kept["value"] if matches else None
        except (OSError, ValueError, TypeError, KeyError):
            return None
        self.entries.note_use(_name(kind, place))
        return value if isinstance(value, str) else None

    def keep(self, kind: str, place: str, state: object, value: str) -> None:
        """Note it, if the disk takes it."""
        record = {"place": place, "state": _plain(state), "value": value}
        with contextlib.suppress(OSError):
            with self.entries.writing(_name(kind, place)) as file:
                if file is not None:
                    file.write(json.dumps(record).encode())
            self.entries.evict()


def _plain(state: object) -> object:
    """As it comes back from JSON."""
    return json.loads(json.dumps(state))


def _name(kind: str, place: str) -> str:
    return (
        hashlib.sha256(f"{kind}\0{place}".encode(errors="surrogateescape")).hexdigest()
        + _SUFFIX
    )


def _files_below(folder: str, prefix: str = "") -> Iterable[tuple[str, State]]:
    """Names and states of the files of a package, without what Python made of them."""
    with os.scandir(folder) as entries:
        for entry in entries:
            name = prefix + entry.name
            if entry.is_dir():
                if entry.name != "__pycache__":
                    yield from _files_below(entry.path, name + "/")
            elif not entry.name.endswith((".pyc", ".pyo")):
                yield name, State.from_status(entry.stat())
