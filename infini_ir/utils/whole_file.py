"""Files that users name, written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from infini_ir.utils.errors import OptionError


@contextlib.contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A file that has become `path` when the block ends well, and is on the disk by then; else
    `path` is as it was. Whoever has the file open that was there keeps it.

    Where `path` is a link, what it leads to is written. What is neither a file nor a folder, such
    as `/dev/null`, cannot be put in place: it is written to. Raises `OSError`.
    """
    place = Path(os.path.realpath(path))
    if os.path.exists(path) and not os.path.isfile(path):
        with open(path, "wb") as file:
            yield file
        return
    unfinished = place.with_name(f".{place.name[:100]}.{secrets.token_hex(4)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    handle = os.open(unfinished, flags, 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            with contextlib.suppress(FileNotFoundError):
                os.fchmod(handle, stat.S_IMODE(os.stat(place).st_mode))
            yield file
            file.flush()
            os.fsync(handle)
        os.replace(unfinished, place)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(unfinished)
        raise


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Make `text`, in UTF-8, the content of a file. Raises `OptionError` saying why not."""
    try:
        with whole_file(path) as file:
            file.write(text.encode())
    except OSError as error:
        raise OptionError(f"cannot write '{path}': {unchanged(error)}") from error


def unchanged(error: OSError) -> str:
    """Why `whole_file` failed, and what to do."""
    return f"{error.strerror or error}; nothing was changed, name another place"
