"""Whole compiled programs on disk, by the hash of everything that decides them.

An entry is an artifact (`infini_ir.runtime.artifact`) with all its weights as native code
wants them: loading it takes milliseconds, and its first call copies the weights into memory.
Weights are most of it, and most of them lie otherwise than in the model's file (packed,
transposed, folded), so that they cannot be taken from there. Hence three rules for the disk:
a limit, least recently used entries going first; no entry larger than a share of the limit;
and none that takes much of the space that is left.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from infini_ir.runtime import artifact
from infini_ir.runtime.program import Program
from infini_ir.utils.entry_folder import EntryFolder, cache_folder
from infini_ir.utils.errors import ArtifactError, OptionError

LIMIT = 4 << 30
"""Bytes kept on disk, unless `INFINI_PROGRAM_CACHE` says otherwise."""
LIMIT_VARIABLE = "INFINI_PROGRAM_CACHE"
SHARE = 4
"""An entry may take a fourth of the limit: larger ones would drive out all others."""
FREE_SHARE = 10
"""And a tenth of what is free on the disk."""

_FACTS = "kept"
"""Where an entry's own facts are among the metadata's extras."""
_SUFFIX = ".infini"
_CHECKED = ".checked"


def chosen_limit() -> int:
    """Bytes to keep: `$INFINI_PROGRAM_CACHE`, such as `500M` or `8G`, 0 for none; else `LIMIT`.

    Raises `OptionError` for what is no size.
    """
    text = os.environ.get(LIMIT_VARIABLE, "").strip()
    if not text:
        return LIMIT
    number, unit = (text[:-1], text[-1].upper()) if text[-1:].isalpha() else (text, "")
    units = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}
    if not number.isdecimal() or unit not in units:
        raise OptionError(
            f"{LIMIT_VARIABLE} is '{text}'; give a number of bytes, such as 500M or 8G, "
            "or 0 to keep no programs"
        )
    return int(number) << units[unit]


@dataclass(frozen=True)
class Entry:
    """One kept program, for listings."""

    key: str
    size: int
    used: float
    """When it was last stored or loaded, in seconds."""
    facts: Mapping[str, Any]


class KeptPrograms:
    """A folder of programs. Whatever goes wrong with the disk reads as not kept."""

    def __init__(self, folder: Path | None = None, limit: int | None = None):
        chosen = chosen_limit() if limit is None else limit
        self.entries = EntryFolder((folder or cache_folder()) / "programs", chosen)

    def __bool__(self) -> bool:
        """Whether any are to be kept."""
        return self.entries.limit > 0

    def may_take(self, size: int) -> bool:
        """Whether an entry of so many bytes would be kept, where there is space."""
        return size <= self.entries.limit // SHARE

    def load(self, key: str) -> tuple[Program, dict[str, Any]] | None:
        """The program stored as `key` and the facts given with it; None where there is none.
        An entry that is damaged, or not for this machine, is removed."""
        path = self.entries.path(key + _SUFFIX)
        if not path.exists():
            return None
        try:
            program = artifact.read(path, copied=True)
            facts = dict(program.metadata.extra.pop(_FACTS))
            self._check_after_start(key, path, facts)
        except (ArtifactError, OSError, KeyError, TypeError, ValueError):
            self.remove(key)
            return None
        self.entries.note_use(key + _SUFFIX)
        return program, facts

    def store(self, key: str, program: Program, facts: Mapping[str, Any]) -> bool:
        """Keep a program, without texts, if the rules and the disk allow it; whether it was.

        `facts` is plain JSON.
        """
        boot = boot_name()
        extra = {**program.metadata.extra, _FACTS: {**facts, "boot": boot}}
        plain = Program(
            replace(program.metadata, extra=extra), program.code, program.weights, {}
        )
        size = program.metadata.weights_size + len(program.code.read())
        with contextlib.suppress(OSError, ArtifactError, MemoryError):
            self.entries.folder.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(self.entries.folder).free
            if not self.may_take(size) or size > free // FREE_SHARE:
                return False
            if self.entries.path(key + _SUFFIX).exists():
                self.entries.note_use(key + _SUFFIX)
                return True
            self.entries.remove(key + _CHECKED)
            with self.entries.writing(key + _SUFFIX) as file:
                if file is None:
                    return False
                artifact.write_to(plain, file)
                if not boot:
                    file.flush()
                    os.fsync(file.fileno())
            self.entries.evict()
            return True
        return False

    def remove(self, key: str) -> None:
        """Remove an entry, if there is one."""
        self.entries.remove(key + _SUFFIX)
        self.entries.remove(key + _CHECKED)

    def list(self) -> list[Entry]:
        """All entries, the least recently used first; those that cannot be read without facts."""
        entries: list[Entry] = []
        for file in self.entries.found():
            path = Path(file.path)
            if path.suffix != _SUFFIX:
                continue
            facts: dict[str, Any] = {}
            with contextlib.suppress(ArtifactError, OSError, TypeError, ValueError):
                facts = dict(artifact.read_metadata(path).extra.get(_FACTS, {}))
            entries.append(Entry(path.stem, file.size, file.used, facts))
        return entries

    def _check_after_start(self, key: str, path: Path, facts: Mapping[str, Any]) -> None:
        """Read all of an entry once, where the machine was started anew since it was written:
        storing does not wait for the disk, and a power cut may have come before it."""
        if facts["boot"] == boot_name() or self.entries.path(key + _CHECKED).exists():
            return
        artifact.verify(path)
        with contextlib.suppress(OSError):
            self.entries.path(key + _CHECKED).touch()


@cache
def boot_name() -> str:
    """The name that the system gave itself when it was started; empty where it has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
