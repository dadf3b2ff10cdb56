"""Memory of a loaded library given back to the system.

LLVM's library has 170 MB. Loading it and setting up its targets runs once through a quarter
of its code, a compilation through another part; a process that goes on to call what it has
compiled needs neither. Pages that nobody writes come back from the page cache when they are
touched again, at a microsecond for each 64 KB.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from collections.abc import Iterator

# ELF's program headers and dynamic section (System V ABI, chapter 5).
_LOAD, _DYNAMIC = 1, 2
_WRITABLE = 2
_END, _TEXT_RELOCATIONS, _FLAGS, _HAS_TEXT_RELOCATIONS = 0, 22, 30, 4


class _Segment(ctypes.Structure):
    _fields_ = (
        ("kind", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("offset", ctypes.c_uint64),
        ("address", ctypes.c_uint64),
        ("physical", ctypes.c_uint64),
        ("file_size", ctypes.c_uint64),
        ("size", ctypes.c_uint64),
        ("alignment", ctypes.c_uint64),
    )


class _Library(ctypes.Structure):
    _fields_ = (
        ("base", ctypes.c_uint64),
        ("name", ctypes.c_char_p),
        ("segments", ctypes.POINTER(_Segment)),
        ("count", ctypes.c_uint16),
    )


_Visit = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(_Library), ctypes.c_size_t, ctypes.c_void_p
)


def release_library(address: int) -> int:
    """Give back what is resident of the library that holds `address`, as far as it is only
    read; how many bytes of addresses that concerns. Safe while other threads run its code."""
    if sys.platform != "linux" or ctypes.sizeof(ctypes.c_void_p) != 8:
        return 0
    libc = ctypes.CDLL(None)
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    total = 0
    for start, end in _unwritten(libc, address):
        if libc.madvise(start, end - start, mmap.MADV_DONTNEED) == 0:
            total += end - start
    return total


def release_heap() -> None:
    """Give back the pages of the C library's heap that nothing lies in; half a millisecond."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
    if trim is not None:
        trim(0)


def _unwritten(libc: ctypes.CDLL, address: int) -> list[tuple[int, int]]:
    """Ranges of whole pages of the library that are mapped from its file and never written."""
    found: list[tuple[int, int]] = []

    def visit(library: ctypes._Pointer[_Library], size: int, data: int | None) -> int:
        base = library.contents.base
        segments = library.contents.segments[: library.contents.count]
        loaded = [s for s in segments if s.kind == _LOAD]
        if not any(0 <= address - base - s.address < s.size for s in loaded):
            return 0
        if not any(_is_relocated(base, s) for s in segments if s.kind == _DYNAMIC):
            found.extend(_pages(base, [s for s in loaded if not s.flags & _WRITABLE]))
        return 1

    libc.dl_iterate_phdr(_Visit(visit), None)
    return found


def _pages(base: int, segments: list[_Segment]) -> Iterator[tuple[int, int]]:
    for segment in segments:
        start = -(-(base + segment.address) // mmap.PAGESIZE) * mmap.PAGESIZE
        end = (base + segment.address + segment.file_size) // mmap.PAGESIZE * mmap.PAGESIZE
        if start < end:
            yield start, end


def _is_relocated(base: int, dynamic: _Segment) -> bool:
    """Whether the loader wrote addresses into code, which the file does not have."""
    entries = (ctypes.c_int64 * (dynamic.size // 8)).from_address(base + dynamic.address)
    for tag, value in zip(entries[::2], entries[1::2]):
        if tag == _TEXT_RELOCATIONS or (tag == _FLAGS and value & _HAS_TEXT_RELOCATIONS):
            return True
        if tag == _END:
            break
    return False
