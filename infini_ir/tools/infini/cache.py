"""`infini cache`: what is kept on disk, and removing it."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from pathlib import Path
from typing import Any

import click

from infini_ir.tools.infini.options import cache_option, json_option
from infini_ir.utils.errors import OptionError

PARTS = ("objects", "programs", "digests", "plans")
"""Folders of the cache; what else lies beside them is none of it."""


@click.command()
@click.option(
    "--clear",
    "cleared",
    type=click.Choice(["all", *PARTS]),
    multiple=True,
    help="Remove what is in a part, or in all of them.",
)
@cache_option
@json_option
def command(cleared: tuple[str, ...], as_json: bool) -> None:
    """Show what is kept on disk: code, programs, and what tuning found."""
    from infini_ir.tools.infini.show import print_json

    wanted = PARTS if "all" in cleared else tuple(dict.fromkeys(cleared))
    removed = {part: _clear(part) for part in wanted}
    facts = {**_facts(), "removed": removed}
    if as_json:
        print_json(facts)
    else:
        _print(facts)


def _facts() -> dict[str, Any]:
    from infini_ir.runtime.kept_programs import KeptPrograms
    from infini_ir.utils import file_digests, object_cache
    from infini_ir.utils.entry_folder import cache_folder

    programs = KeptPrograms()
    limits = {
        "objects": object_cache.LIMIT,
        "programs": programs.entries.limit,
        "digests": file_digests.LIMIT,
        "plans": None,
    }
    folder = cache_folder()
    if folder.exists() and not folder.is_dir():
        raise OptionError(
            f"nothing is kept in '{folder}', which is a file; name a folder with --cache or "
            "INFINI_CACHE_DIR"
        )
    return {
        "folder": str(folder),
        "parts": {part: {**_count(part), "limit": limits[part]} for part in PARTS},
        "programs": [
            {"key": entry.key, "bytes": entry.size, "used": entry.used, **entry.facts}
            for entry in reversed(programs.list())
        ],
    }


def _count(part: str) -> dict[str, int]:
    sizes: list[int] = []
    for path in _folder(part).rglob("*"):
        with contextlib.suppress(OSError):  # another process removed it
            if path.is_file():
                sizes.append(path.stat().st_size)
    return {"files": len(sizes), "bytes": sum(sizes)}


def _clear(part: str) -> dict[str, int]:
    """Remove a part; what was there."""
    before = _count(part)
    shutil.rmtree(_folder(part), ignore_errors=True)
    after = _count(part)
    return {name: before[name] - after[name] for name in before}


def _folder(part: str) -> Path:
    from infini_ir.utils.entry_folder import cache_folder

    return cache_folder() / part


def _print(facts: dict[str, Any]) -> None:
    from infini_ir.tools.infini.show import print_facts, print_table, size_text

    for part, removed in facts["removed"].items():
        click.echo(f"removed {removed['files']} files of {part}, {size_text(removed['bytes'])}")
    columns = ["part", "files", "size", "at most"]
    rows = [
        [
            part,
            str(found["files"]),
            size_text(found["bytes"]),
            "" if found["limit"] is None else size_text(found["limit"]),
        ]
        for part, found in facts["parts"].items()
    ]
    print_table(columns, rows, title=facts["folder"], right=columns[1:])
    if facts["programs"]:
        print_table(
            ["program of", "target", "precision", "size", "used"],
            [_program_row(program) for program in facts["programs"]],
            title="programs",
            right=["size"],
        )
    if not facts["parts"]["programs"]["limit"]:
        print_facts({"programs": "none are kept: INFINI_PROGRAM_CACHE is 0"})


def _program_row(program: dict[str, Any]) -> list[str]:
    from infini_ir.tools.infini.show import size_text

    used = time.strftime("%Y-%m-%d %H:%M", time.localtime(program["used"]))
    return [
        os.path.basename(program.get("source", "?")) or "bytes",
        program.get("target", "?"),
        program.get("precision", "?"),
        size_text(program["bytes"]),
        used,
    ]
