"""Executable memory: a flat image of position-independent code, mapped and callable.

Pages are never writable and executable at once. `libc` is called directly, since Python's
`mmap` neither gives the address of a read-only mapping nor changes protection.
"""

import ctypes
import mmap
import os
import weakref
from functools import cache
from pathlib import Path
from typing import Any

from infini_ir.utils.errors import ArtifactError

_MAP_FAILED = ctypes.c_void_p(-1).value


@cache
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [
        ctypes.c_void_p,
        ctypes.c_size_t,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_long,
    ]
    libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    return libc


def _map(size: int, protection: int, flags: int, fd: int, offset: int) -> int:
    address = _libc().mmap(None, size, protection, flags, fd, offset)
    if address in (None, _MAP_FAILED):
        raise ArtifactError(f"cannot map {size} bytes of code: {_reason()}")
    return address


def _unmap(address: int, size: int) -> None:
    _libc().munmap(address, size)


def _reason() -> str:
    return (
        os.strerror(ctypes.get_errno()) + "; does a security policy forbid executable memory?"
    )


class Image:
    """One image in memory. It is unmapped when it, and every function taken from it, is gone."""

    def __init__(self, base: int, size: int):
        self.base = base
        """The address of the image's first byte, page aligned."""
        self.size = size
        self._finalizer = weakref.finalize(self, _unmap, base, size)
        self._finalizer.atexit = False

    @staticmethod
    def from_bytes(code: bytes) -> "Image":
        """Copy `code` into anonymous memory, then make that memory read-only and executable."""
        if not code:
            raise ArtifactError("the image has no code; compile the model again")
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        base = _map(len(code), mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, 0)
        image = Image(base, len(code))
        ctypes.memmove(base, code, len(code))
        if _libc().mprotect(base, len(code), mmap.PROT_READ | mmap.PROT_EXEC) != 0:
            raise ArtifactError(f"cannot make code executable: {_reason()}")
        return image

    @staticmethod
    def from_file(file: int | str | Path, offset: int, size: int) -> "Image":
        """Map `size` bytes of a file (a path or an open descriptor) from a page-aligned offset.

        The descriptor may be closed afterwards. The pages are shared with the page cache.
        """
        if not isinstance(file, int):
            try:
                fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                raise ArtifactError(f"cannot open {file}: {error.strerror}") from error
            try:
                return Image.from_file(fd, offset, size)
            finally:
                os.close(fd)
        if offset % mmap.PAGESIZE:
            raise ArtifactError(
                f"the code starts at byte {offset}, which is not a multiple of this machine's "
                f"page size, {mmap.PAGESIZE}; compile the model again"
            )
        if size <= 0 or offset + size > os.fstat(file).st_size:
            raise ArtifactError(
                "the file ends before its code does; it was cut short, copy it again"
            )
        base = _map(size, mmap.PROT_READ | mmap.PROT_EXEC, mmap.MAP_PRIVATE, file, offset)
        return Image(base, size)

    def address(self, offset: int) -> int:
        """The address of the byte at `offset`, such as an entry point."""
        if not 0 <= offset < self.size:
            raise ArtifactError(
                f"entry offset {offset} lies outside the image's {self.size} bytes"
            )
        return self.base + offset

    def function(self, offset: int, restype: Any, *argtypes: Any) -> Any:
        """The C function at `offset`; a call releases the interpreter lock.

        `restype` and `argtypes` are ctypes types, `None` for no result. The function keeps the image mapped.
        """
        function = ctypes.CFUNCTYPE(restype, *argtypes)(self.address(offset))
        function.image = self  # type: ignore[attr-defined]
        return function

    def keep(self) -> "Image":
        """Leave the image mapped until the process ends, whatever still refers to it.

        For images whose code another thread runs.
        """
        self._finalizer.detach()
        return self
