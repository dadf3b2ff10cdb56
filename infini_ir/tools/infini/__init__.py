"""`infini`: the command line of the compiler. One file a command."""

from __future__ import annotations


def main() -> int:
    """Run the tool on the process's arguments; the exit code."""
    from infini_ir.tools.infini.cli import run

    return run()
