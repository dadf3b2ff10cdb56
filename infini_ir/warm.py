"""Programs compiled before: what names one, finding it, and keeping it when it first runs.

    keeper = Keeper.of(source, target="cpu", ...)
    found = keeper.find()
    ...                          # where there is none: compile
    program.when_ready = keeper.keeping(outputs, files)

The name is a hash of everything that decides a program: the compiler's own sources and the
packages that it computes with, the target with its processor and what tuning has found, the
options, and the content of the model and of the files beside it. A model's files and our own
sources must have been as they are since before the compilation began, or nothing is kept.

A program is kept in the background when it is first run: its weights are laid out then, and
who compiles only to save it pays nothing. Nothing here imports the compiler.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

import numpy as np

import infini_ir
from infini_ir.runtime.kept_programs import KeptPrograms
from infini_ir.runtime.program import Program
from infini_ir.targets import registry
from infini_ir.utils.errors import OptionError
from infini_ir.utils.file_digests import Digests, State
from infini_ir.utils.object_cache import ObjectCache

PACKAGES = ("xdsl", "onnx", "numpy", "ml_dtypes", "llvmlite")
"""Those whose version may decide a program's bytes."""
CHEAP = 64 << 20
"""Bytes of a file that is read to find out whether a program is there, where its state is not
known: it takes less than a tenth of a second. Larger files are read while the program runs."""
IN_MEMORY = 16 << 20
"""Bytes of a model that comes as bytes: they are held as long as the program is."""

_FORMAT = "program 1"
_LOCATIONS = "locations"
_background: set[threading.Thread] = set()


@dataclass
class Keeper:
    """One compilation whose program may be there already, or may be kept."""

    source: Path | bytes
    target: str
    precision: str
    library: bool
    threads: int | None
    inputs: str
    """Given shapes and values of inputs, as text."""
    programs: KeptPrograms
    digests: Digests
    began: int = field(default_factory=time.time_ns)
    """When it was looked for; what changed since was perhaps read otherwise."""
    circumstances: tuple[str, ...] | None = None
    """What besides the model decides the program, as it was then."""
    state: State | None = None
    """That of the model's file, as it was then."""

    @staticmethod
    def of(
        source: Any,
        *,
        target: str,
        precision: str,
        library: bool,
        threads: int | None,
        inputs: Mapping[str, Any] | None,
    ) -> Keeper | None:
        """For a model in a file or in bytes; None where programs are not kept: models in other
        forms, targets that cannot say what decides a program, and where keeping is off."""
        place: Path | bytes
        if isinstance(source, str | os.PathLike):
            place = Path(os.path.abspath(os.fspath(source)))
        elif isinstance(source, bytes) and len(source) <= IN_MEMORY:
            place = source
        else:
            return None
        programs, given = KeptPrograms(), _text_of(dict(inputs or {}))
        if not programs or given is None:
            return None
        return Keeper(place, target, precision, library, threads, given, programs, Digests())

    def find(self) -> tuple[Program, list[str]] | None:
        """The program and the descriptions of its outputs (`onnx.importer.OUTPUTS`), where it
        was kept."""
        self.circumstances = self._circumstances()
        self.state = self._state()
        key = self._key(self._model(at_most=CHEAP))
        found = self.programs.load(key) if key is not None else None
        if found is None:
            return None
        program, facts = found
        return program, [str(text) for text in facts.get("outputs", ())]

    def keeping(
        self, outputs: Sequence[str], files: Mapping[Path, State]
    ) -> Callable[[Program], None] | None:
        """What to call when the program that was compiled instead first runs. `files`: those
        beside the model that it was read from, as they were then."""
        if self.circumstances is None or not self.is_current():
            return None
        files = dict(files)

        def keep(program: Program) -> None:
            if self.programs.may_take(program.metadata.weights_size):
                _in_background(lambda: self._keep(program, list(outputs), files))

        return keep

    def is_current(self) -> bool:
        """Whether the source is still what it was when it was looked for."""
        return isinstance(self.source, bytes) or self._state() == self.state is not None

    def _keep(self, program: Program, outputs: list[str], files: Mapping[Path, State]) -> None:
        model = self._note_model(files)
        if model is None or self.circumstances != self._circumstances():
            return
        key = self._key(model)
        if key is not None:
            facts = {
                "source": str(self.source) if isinstance(self.source, Path) else "",
                "target": self.target,
                "precision": self.precision,
                "inputs": self.inputs if len(self.inputs) < 200 else "",
                "outputs": outputs,
            }
            self.programs.store(key, program, facts)

    def _key(self, model: str | None) -> str | None:
        if model is None or self.circumstances is None:
            return None
        options = (self.target, self.precision, str(self.library), self.inputs)
        return ObjectCache.key(_FORMAT, model, *options, *self.circumstances)

    def _circumstances(self) -> tuple[str, ...] | None:
        """None where one of them cannot be told."""
        facts = registry.identity(self.target, self.threads)
        folder = Path(infini_ir.__file__).parent
        try:
            sources = self.digests.of_tree(folder, before=infini_ir.LOADED_AT)
            versions = _versions(self.digests)
        except OSError:
            return None
        if facts is None or sources is None or versions is None:
            return None
        return (sources, *versions, sys.implementation.cache_tag or "", *facts)

    # The model's identity

    def _state(self) -> State | None:
        try:
            return None if isinstance(self.source, bytes) else State.of(self.source)
        except OSError:
            return None

    def _model(self, *, at_most: int) -> str | None:
        """The digest of the model and the files beside it, where all of it is known or cheap."""
        if isinstance(self.source, bytes):
            return hashlib.sha256(self.source).hexdigest()
        try:
            main = self.digests.of_file(self.source, at_most=at_most)
            if main is None:
                return None
            kept = self.digests.known(_LOCATIONS, main, "")
            if kept is None:
                return None
            folder = _folder_of(self.source)
            beside = {
                str(name): self.digests.of_file(folder / name, at_most=at_most)
                for name in json.loads(kept)
            }
        except (OSError, ValueError, TypeError):
            return None
        return _joined(main, beside)

    def _note_model(self, files: Mapping[Path, State]) -> str | None:
        """The same from `files`; None where one may have changed since the beginning. Raises
        `OSError`."""
        if isinstance(self.source, bytes) or self.state is None:
            return None if files else self._model(at_most=0)
        folder, itself = _folder_of(self.source), os.path.realpath(self.source)
        states = {self.source: self.state}
        states |= {f: state for f, state in files.items() if os.path.realpath(f) != itself}
        digests = {place: self.digests.of_file(place) for place in states}
        # Looked at last: they may have changed while they were read. Whatever they are now
        # must be what they were when the program was made, and have been so for long enough.
        if not all(
            State.of(place) == state and state.was_before(self.began)
            for place, state in states.items()
        ):
            return None
        main = digests.pop(self.source)
        if main is None:
            return None
        beside = {os.path.relpath(place, folder): digests[place] for place in sorted(digests)}
        self.digests.keep(_LOCATIONS, main, "", json.dumps(list(beside)))
        return _joined(main, beside)


class TextsAgain(Mapping[str, str]):
    """Texts of the levels of a program that was compiled before, had by compiling again.

    Iteration, and so an artifact, has the levels that are saved, as long as the model is there.
    """

    def __init__(
        self,
        saved: Sequence[str],
        others: Sequence[str],
        compiled: Callable[[], Mapping[str, str]],
        is_current: Callable[[], bool],
    ):
        self._saved = tuple(saved)
        self._others = tuple(others)
        self._compiled = compiled
        self._is_current = is_current
        self._texts: Mapping[str, str] | None = None

    def __getitem__(self, level: str) -> str:
        if level not in self:
            raise KeyError(level)
        if self._texts is None:
            if not self._is_current():
                raise OptionError(
                    f"the model was compiled before, and to have its text of level '{level}' it "
                    "must be compiled again, but its file has changed since"
                )
            self._texts = self._compiled()
        return self._texts[level]

    def __contains__(self, level: object) -> bool:
        return level in self._saved or level in self._others

    def __iter__(self) -> Iterator[str]:
        there = self._texts is not None or self._is_current()
        return iter(self._saved if there else ())

    def __len__(self) -> int:
        return sum(1 for _ in self)


def settle() -> None:
    """Wait until the programs that are being kept are."""
    for thread in tuple(_background):
        thread.join()


def _in_background(action: Callable[[], None]) -> None:
    """Python waits for it when it ends. It gives way to threads that compute."""

    def run() -> None:
        try:
            if hasattr(os, "setpriority"):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
            action()
        except Exception:
            pass
        finally:
            _background.discard(thread)

    thread = threading.Thread(target=run, name="infini-keep")
    _background.add(thread)
    try:
        thread.start()
    except RuntimeError:  # no more threads, or the interpreter is ending
        _background.discard(thread)


def _versions(digests: Digests) -> list[str] | None:
    """What tells of each of `PACKAGES` which one it is; None where one is not found.

    An installed package has a folder beside it whose name ends in its version. This is what
    `importlib.metadata` reads, whose own import would take longer than loading a program. The
    files of one without it, as under development, are looked at themselves. Raises `OSError`.
    """
    versions: list[str] = []
    listed: dict[Path, list[str]] = {}
    for name in PACKAGES:
        spec = PathFinder.find_spec(name)
        if spec is None or spec.origin is None:
            return None
        folder = Path(spec.origin).parent
        beside = listed.setdefault(folder.parent, [])
        if not beside:
            beside += [n for n in os.listdir(folder.parent) if n.endswith(".dist-info")]
        found = [n for n in beside if n.startswith(f"{name}-")]
        if len(found) != 1:
            sources = digests.of_tree(folder, before=infini_ir.LOADED_AT)
            if sources is None:
                return None
            found = [sources]
        versions += found
    return versions


def _folder_of(path: Path) -> Path:
    """Where the files beside a model are looked for."""
    return Path(os.path.realpath(path)).parent


def _joined(main: str, beside: Mapping[str, str | None]) -> str | None:
    if any(digest is None for digest in beside.values()):
        return None
    return ObjectCache.key(main, json.dumps(dict(beside), sort_keys=True)) if beside else main


def _text_of(value: Any) -> str | None:
    """Shapes and values of inputs as text, the same for the same; None for what has none."""
    if isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
        if array.dtype.hasobject:
            return None
        content = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
        return f"array {array.dtype.str} {array.dtype} {array.shape} {content}"
    if isinstance(value, Mapping):
        parts = {str(name): _text_of(item) for name, item in sorted(value.items())}
        known = all(part is not None for part in parts.values())
        return json.dumps(parts) if known else None
    if isinstance(value, list | tuple):
        items = [_text_of(item) for item in value]
        return json.dumps(items) if None not in items else None
    if value is None or isinstance(value, bool | int | str):
        return f"{type(value).__name__} {value}"
    return None
