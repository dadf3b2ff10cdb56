"""Tables of the documentation from the files of results: `python -m benchmarks.report`.

Each table stands between `<!-- machine/name -->` and `<!-- end -->`, where `machine` is a folder of
`benchmarks/results`; what is between them is written anew. A name whose results are not there
keeps what it has.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import click

from benchmarks import compiler_tables, model_tables, tables
from benchmarks.results import FOLDER, Results

ROOT = Path(__file__).parent.parent
PAGES = ("README.md", "docs/performance.md", "docs/performance-amd.md")
PARTS: dict[str, tuple[str, Callable[[Results], str]]] = {
    "speed": ("models-f32", model_tables.speed_table),
    "models-f32": ("models-f32", model_tables.models_page),
    "models-bf16": ("models-bf16", model_tables.models_page),
    "models-int8": ("models-int8", model_tables.models_page),
    "models-int8-bf16": ("models-int8-bf16", model_tables.models_page),
    "models-f32-busy": ("models-f32-busy2", model_tables.busy_page),
    "products": ("products", tables.rates_page),
    "kernels": ("kernels", tables.rates_page),
    "passes": ("passes", compiler_tables.passes_page),
    "tuning": ("tuning", compiler_tables.tuning_page),
    "memory": ("memory", compiler_tables.memory_page),
}
"""By name: the file of results, and what makes its text."""


@click.command()
@click.option("--results", "folder", type=click.Path(path_type=Path), default=FOLDER)
@click.option("--check", is_flag=True, help="Change nothing; 1 where a page is out of date.")
def main(folder: Path, check: bool) -> None:
    """Write the tables of README.md and the pages of docs/ on performance."""
    stale = False
    for page in PAGES:
        path = ROOT / page
        text = path.read_text()
        written = fill(text, folder)
        stale |= written != text
        if written != text and not check:
            path.write_text(written)
            print(f"wrote {page}")
    sys.exit(check and stale)


def fill(text: str, folder: Path) -> str:
    """A page with its tables as the results say."""

    def part(found: re.Match[str]) -> str:
        machine, name, old = found.group(1), found.group(2), found.group(0)
        if name not in PARTS:
            raise SystemExit(f"no results are called '{name}'; there are: {', '.join(PARTS)}")
        file, make = PARTS[name]
        results = Results.read(file, folder / machine)
        if not results.rows:
            return old
        return f"<!-- {machine}/{name} -->\n{make(results)}\n<!-- end -->"

    return re.sub(
        r"<!-- ([a-z0-9-]+)/([a-z0-9-]+) -->\n.*?<!-- end -->", part, text, flags=re.DOTALL
    )


if __name__ == "__main__":
    main()
