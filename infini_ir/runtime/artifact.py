"""`model.infini`: a compiled model in one file, loaded by mapping it.

    header     64 bytes: magic, format version, place and checksum of the metadata, file length
    code       page aligned; mapped executable, or read when it is for a device
    weights    page aligned, each weight 64-byte aligned; mapped, read at first use
    texts      one zlib stream a level, when the compiler kept them
    metadata   JSON: the program's, and a table of the sections with their checksums

The metadata comes last so that a writer streams weights without holding them and notes
their checksums on the way. Loading checks header, metadata and code; `verify` checks all.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import stat
import struct
import threading
import weakref
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from infini_ir.runtime.host import cpu_count_available
from infini_ir.runtime.image import Image
from infini_ir.runtime.memory import anonymous
from infini_ir.runtime.metadata import NATIVE, Metadata, WeightEntry
from infini_ir.runtime.program import Program, WeightSection, weight_array
from infini_ir.utils.errors import ArtifactError
from infini_ir.utils.whole_file import unchanged, whole_file

MAGIC = b"\x89INFINI\n"
"""Not text, and damaged by any transfer that converts line ends."""
FORMAT_VERSION = 3
PAGE = 4096
"""Sections start at multiples of this, on whatever machine the file was written."""

_HEADER = struct.Struct("<8sIIQQQI")
_HEADER_SIZE = 64
_CHUNK = 8 << 20
_COPIERS = 4
"""Threads that copy weights; more do not take memory faster."""

# Writing


def write(program: Program, path: str | os.PathLike[str]) -> None:
    """Save `program`. Either `path` is the whole new file afterwards, or it is as before.

    Raises `ArtifactError` saying why it could not be written.
    """
    try:
        with whole_file(path) as file:
            write_to(program, file)
    except OSError as error:
        raise ArtifactError(f"cannot write {path}: {unchanged(error)}") from error


class _SectionWriter:
    """Appends to a file, keeping count and the checksum of the current section."""

    def __init__(self, file: BinaryIO):
        self.file = file
        self.position = 0
        self.crc = 0

    def begin(self, alignment: int) -> int:
        """Pad to `alignment`; the position where the section starts."""
        self.write(b"\0" * (-self.position % alignment))
        self.crc = 0
        return self.position

    def write(self, data: Any) -> None:
        view = memoryview(data)
        for start in range(0, len(view), _CHUNK):
            chunk = view[start : start + _CHUNK]
            self.file.write(chunk)
            self.crc = zlib.crc32(chunk, self.crc)
        self.position += len(view)


def write_to(program: Program, file: BinaryIO) -> None:
    """Write `program` to an empty file. Raises `OSError`."""
    out = _SectionWriter(file)
    out.write(bytes(_HEADER_SIZE))
    sections = {"code": _write_code(program, out), "weights": _write_weights(program, out)}
    texts = {name: _write_text(text, out) for name, text in program.texts.items()}
    document = {
        "program": program.metadata.to_json(),
        "sections": sections,
        "texts": texts,
    }
    start = out.begin(8)
    out.write(json.dumps(document, separators=(",", ":")).encode())
    file.seek(0)
    file.write(_pack_header(start, out.position - start, out.position, out.crc))


def _pack_header(start: int, size: int, total: int, crc: int) -> bytes:
    packed = _HEADER.pack(MAGIC, FORMAT_VERSION, _HEADER_SIZE, start, size, total, crc)
    body = packed.ljust(_HEADER_SIZE - 4, b"\0")
    return body + struct.pack("<I", zlib.crc32(body))


def _write_code(program: Program, out: _SectionWriter) -> dict[str, int]:
    start = out.begin(PAGE)
    out.write(program.code.read())
    return {"offset": start, "size": out.position - start, "crc": out.crc}


def _write_weights(program: Program, out: _SectionWriter) -> dict[str, Any]:
    start = out.begin(PAGE)
    checksums = []
    for entry in program.metadata.weights:
        out.write(bytes(start + entry.offset - out.position))
        out.crc = 0
        out.write(_raw_bytes(weight_array(program.weights, entry)))
        checksums.append(out.crc)
        program.weights.release(entry.name)
    return {"offset": start, "size": out.position - start, "crcs": checksums}


def _raw_bytes(array: np.ndarray) -> np.ndarray:
    """The little-endian row-major bytes; no copy where the array is so already."""
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    return np.ascontiguousarray(native).reshape(-1).view(np.uint8)


def _write_text(text: str, out: _SectionWriter) -> dict[str, int]:
    start = out.begin(8)
    out.write(zlib.compress(text.encode(), 1))
    return {"offset": start, "size": out.position - start, "crc": out.crc}


# Reading


def read(path: str | os.PathLike[str], *, copied: bool = False) -> Program:
    """Map the artifact at `path`. Weights are not read before the program uses them; `copied`:
    it runs a copy of the code, and then reads weights into memory of its own, where large pages
    make using them quicker. Whatever becomes of the file, no call sees it after its first.

    Raises `ArtifactError` for a file that is not an artifact, is of another format version,
    is cut short or damaged, or was compiled for another processor. A program for a device
    loads anywhere: what its device cannot run is refused when it is run.
    """
    with _MappedFile(Path(path)) as file:
        metadata = file.metadata()
        metadata.check_host(str(path))
        with file.guard():
            sections = file.document["sections"]
            place = sections["code"]
            content = file.checked(place, "its code")
            block = file.region(sections["weights"])
            texts = _Texts(file, dict(file.document["texts"]))
            native = metadata.form == NATIVE
            code = _StoredCode(content)
            if native:
                image = Image.from_bytes(content.tobytes()) if copied else file.map_image(place)
                code = _MappedCode(image)
            if metadata.weights_size > len(block):
                raise file.damaged("its weight table reaches beyond its weights")
            weights = WeightSection(block, metadata.weights)
            if copied:
                start = sections["weights"]["offset"]
                weights = _CopiedWeights(weights, metadata.weights, file, start)
    return Program(metadata, code, weights, texts)


def verify(path: str | os.PathLike[str]) -> None:
    """Read every byte and check it; raises `ArtifactError` naming what is damaged.

    Works on any machine, whatever the code was compiled for.
    """
    with _MappedFile(Path(path)) as file, file.guard():
        entries = file.metadata().weights
        sections = file.document["sections"]
        file.checked(sections["code"], "its code")
        for entry, crc in zip(entries, sections["weights"]["crcs"], strict=True):
            start = sections["weights"]["offset"] + entry.offset
            place = {"offset": start, "size": entry.nbytes, "crc": crc}
            file.checked(place, f"weight '{entry.name}'")
        for name, place in file.document["texts"].items():
            file.checked(place, f"its '{name}' text")


def read_metadata(path: str | os.PathLike[str]) -> Metadata:
    """The metadata alone; works on any machine, whatever the code was compiled for."""
    with _MappedFile(Path(path)) as file:
        return file.metadata()


def section_sizes(path: str | os.PathLike[str]) -> dict[str, int]:
    """Bytes of each section, texts by their level; works on any machine."""
    with _MappedFile(Path(path)) as file, file.guard():
        sections = {
            name: int(place["size"]) for name, place in file.document["sections"].items()
        }
        texts = {f"{name} text": int(t["size"]) for name, t in file.document["texts"].items()}
    return {**sections, **texts}


def read_texts(path: str | os.PathLike[str]) -> Mapping[str, str]:
    """The texts kept, by level; works on any machine, whatever the code was compiled for."""
    with _MappedFile(Path(path)) as file, file.guard():
        return _Texts(file, dict(file.document["texts"]))


class _MappedFile:
    """An artifact's file, mapped once, so that a file put in its place later is not mixed in."""

    def __init__(self, path: Path):
        self.path = path
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise ArtifactError(f"cannot open {path}: {error.strerror}") from error
        try:
            self.content = self._map()
            self.document = self._read_document()
        except BaseException:
            os.close(self._fd)
            raise

    def __enter__(self) -> _MappedFile:
        return self

    def __exit__(self, *error: object) -> None:
        """Close the descriptor; the mapping stays."""
        os.close(self._fd)

    def _map(self) -> np.ndarray:
        try:
            status = os.fstat(self._fd)
            if not stat.S_ISREG(status.st_mode):
                raise ArtifactError(f"{self.path} is not a file; name a compiled model's file")
            length = status.st_size
            if length < len(MAGIC):
                return np.zeros(0, np.uint8)
            mapping = mmap.mmap(self._fd, length, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise ArtifactError(f"cannot map {self.path}: {error}") from error
        return np.frombuffer(mapping, np.uint8)

    def _read_document(self) -> dict[str, Any]:
        """The metadata's JSON, after all checks of the header."""
        header, length = self.content[:_HEADER_SIZE].tobytes(), len(self.content)
        if header[: len(MAGIC)] != MAGIC:
            raise ArtifactError(
                f"{self.path} is not a compiled model (it does not start as one); "
                "make one with: infini compile model.onnx -o model.infini"
            )
        if length < _HEADER_SIZE:
            raise self.damaged(f"it has {length} bytes, less than a header")
        _, version, _, start, size, total, crc = _HEADER.unpack_from(header)
        if version != FORMAT_VERSION:
            raise ArtifactError(
                f"{self.path} has artifact format {version}, but this version of infini_ir reads "
                f"format {FORMAT_VERSION}; compile the model again with this version"
            )
        if zlib.crc32(header[:-4]) != struct.unpack("<I", header[-4:])[0]:
            raise self.damaged("its header does not match its checksum")
        if length != total:
            raise self.damaged(f"it has {length} bytes instead of {total}")
        data = self.checked({"offset": start, "size": size, "crc": crc}, "its metadata")
        with self.guard():
            return json.loads(data.tobytes())

    def metadata(self) -> Metadata:
        with self.guard():
            return Metadata.from_json(self.document["program"])

    def region(self, place: dict[str, int]) -> np.ndarray:
        """A section's bytes, a view of the mapping."""
        start, end = place["offset"], place["offset"] + place["size"]
        if not 0 <= start <= end <= len(self.content):
            raise self.damaged("a section lies outside the file")
        return self.content[start:end]

    def checked(self, place: dict[str, int], what: str) -> np.ndarray:
        """A section's bytes, read and compared with their checksum."""
        data = self.region(place)
        if zlib.crc32(data.data) != place["crc"]:
            raise self.damaged(f"{what} does not match its checksum")
        return data

    def another_handle(self) -> int:
        """A descriptor of the file, for the caller to close."""
        return os.dup(self._fd)

    def map_image(self, place: dict[str, int]) -> Image:
        """The code section, mapped executable."""
        return Image.from_file(self._fd, place["offset"], place["size"])

    def damaged(self, why: str) -> ArtifactError:
        return ArtifactError(
            f"{self.path} is damaged: {why}; copy it again or compile the model again"
        )

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Around code that picks the metadata apart: a wrong form is an `ArtifactError`."""
        try:
            yield
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise self.damaged(f"its metadata is not valid ({error})") from error


@dataclass(frozen=True)
class _MappedCode:
    """Code that is mapped already."""

    image: Image

    def read(self) -> bytes:
        return ctypes.string_at(self.image.base, self.image.size)

    def map(self) -> Image:
        return self.image


@dataclass(frozen=True)
class _StoredCode:
    """Code for a device, where it lies in the file."""

    content: np.ndarray

    def read(self) -> bytes:
        return self.content.tobytes()

    def map(self) -> Image:
        raise ArtifactError("the program's code is for a device, not for this processor")


class _CopiedWeights:
    """Weights in a file, to be read before they are used.

    Pages of a mapped file have 4 KB: products that stream weights through them are 1% to 3%
    slower than from the large pages that memory of our own gets. And a mapping ends the process
    where somebody cuts the file short; reading says so.
    """

    def __init__(
        self,
        section: WeightSection,
        table: tuple[WeightEntry, ...],
        file: _MappedFile,
        start: int,
    ):
        self.section = section
        self.table = table
        self._file = file
        self._start = start
        """Where the section begins in the file."""
        self._handle = file.another_handle()
        weakref.finalize(self, os.close, self._handle)

    def array(self, name: str) -> np.ndarray:
        return self.section.array(name)

    def write(self, name: str, out: np.ndarray) -> None:
        self.section.write(name, out)

    def release(self, name: str) -> None:
        """Nothing: pages of a file are given up when the system wants them."""

    def laid_out(self) -> WeightSection:
        """The copy. Several threads make it: most of the time goes into taking memory."""
        block = anonymous(len(self.section.block))
        begins = range(0, len(self.section.block), _CHUNK)
        failed: list[ArtifactError] = []

        def copy(first: int, step: int) -> None:
            try:
                for begin in begins[first::step]:
                    self._read(block, begin)
            except ArtifactError as error:
                failed.append(error)

        count = max(1, min(_COPIERS, len(begins), cpu_count_available()))
        others = [threading.Thread(target=copy, args=(i, count)) for i in range(1, count)]
        for thread in others:
            thread.start()
        copy(0, count)
        for thread in others:
            thread.join()
        if failed:
            raise failed[0]
        return WeightSection(block, self.table)

    def _read(self, block: np.ndarray, begin: int) -> None:
        """One chunk of the section."""
        left = block.data[begin : begin + _CHUNK]
        while left:
            try:
                count = os.preadv(self._handle, [left], self._start + begin)
            except OSError as error:
                raise self._file.damaged(f"it cannot be read ({error.strerror})") from error
            if not count:
                raise self._file.damaged("it was cut short since it was loaded")
            left, begin = left[count:], begin + count


class _Texts(Mapping[str, str]):
    """The text sections, unpacked when asked for."""

    def __init__(self, file: _MappedFile, table: dict[str, dict[str, int]]):
        self._file = file
        self._table = table

    def __getitem__(self, name: str) -> str:
        data = self._file.checked(self._table[name], f"its '{name}' text")
        return zlib.decompress(data.data).decode()

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)
