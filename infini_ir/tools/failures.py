"""Every failure of a tool as one line and an exit code."""

from __future__ import annotations

import errno
import sys
from typing import TYPE_CHECKING, Any

from infini_ir.utils.errors import InfiniError

if TYPE_CHECKING:
    from xdsl.ir import Operation

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)

USER_ERROR = 1
INTERNAL_ERROR = 70
"""`EX_SOFTWARE` of sysexits.h: our fault."""
INTERRUPTED = 130
BROKEN_PIPE = 141
"""As the shell reports a program that ended by SIGPIPE."""


def one_line(text: object) -> str:
    """A text without line breaks and runs of spaces."""
    return " ".join(str(text).split())


def describe(error: BaseException) -> tuple[str, int]:
    """The line that tells a person of an error, and the exit code."""
    if isinstance(error, InfiniError):
        return f"error: {one_line(error)}", USER_ERROR
    if isinstance(error, OSError) and error.filename is not None:
        reason = error.strerror or type(error).__name__
        return f"error: cannot use '{error.filename}': {reason}", USER_ERROR
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        return f"error: cannot write the output: {error.strerror}", USER_ERROR
    if isinstance(error, MemoryError):
        return "error: out of memory; use smaller inputs or fewer threads", USER_ERROR
    told = _of_xdsl(error)
    if told is not None:
        return f"error: {told}", USER_ERROR
    name, text = type(error).__name__, one_line(error)[:300]
    detail = f"{name}: {text}" if text else name
    return f"internal error: {detail} (run with --traceback to see where)", INTERNAL_ERROR


def _of_xdsl(error: BaseException) -> str | None:
    """The text of one of xDSL's errors; its module is not imported for that."""
    exceptions: Any = sys.modules.get("xdsl.utils.exceptions")
    if exceptions is None:
        return None
    if isinstance(error, exceptions.ParseError):
        return parse_error_text(error)
    if isinstance(error, exceptions.ArgSpecParseError):
        return one_line(str(error).splitlines()[-1])
    if isinstance(error, exceptions.DiagnosticException):
        return one_line(error)
    return None


def parse_error_text(error: Any) -> str:
    """`file:line:column: message` of xDSL's `ParseError`."""
    place = error.span.get_location()
    return f"{place}: {one_line(error.msg)}"


def location_text(op: Operation) -> str:
    """`file:line` or the source node's name of an operation, or an empty text."""
    from xdsl.dialects.builtin import FileLineColLoc, NameLoc

    location = op.location
    if isinstance(location, NameLoc):
        return location.desc.data
    if isinstance(location, FileLineColLoc):
        return f"{location.filename.data}:{location.line.data}"
    return ""
