"""Running our command-line tools, each in a process of its own; and keeping processors busy."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

_TOOL = "from infini_ir.tools.infini import main; raise SystemExit(main())"
_LONGEST = 300
"""Characters of a reason."""


class ToolError(Exception):
    """The last line that a tool said, or that it took too long."""


def run_tool(arguments: Sequence[str], seconds: float) -> str:
    """What `infini ARGUMENTS` prints. Raises `ToolError` where it fails, or is not done
    after so many seconds."""
    command = [sys.executable, "-c", _TOOL, *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        raise ToolError(f"not done after {seconds:.0f} s") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"ended with {done.returncode}"]
        raise ToolError(lines[-1][:_LONGEST])
    return done.stdout


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """So many processes that each want a whole processor."""
    command = [sys.executable, "-c", "while True: pass"]
    others = [subprocess.Popen(command) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()
