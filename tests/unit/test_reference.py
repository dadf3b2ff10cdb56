"""The reference pages are those that the docstrings give."""

from pathlib import Path

import pytest

from infini_ir.tools.reference import pages

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "reference"
PAGES = pages()


@pytest.mark.parametrize("name", PAGES)
def test_page_is_up_to_date(name: str):
    assert (FOLDER / name).read_text() == PAGES[name], "run make docs"


def test_there_is_no_other_page():
    assert {path.name for path in FOLDER.iterdir()} == set(PAGES)


def test_every_operation_has_an_example():
    for name in ("graph.md", "tile.md"):
        for block in PAGES[name].partition("## Types")[0].split("\n### ")[1:]:
            assert "```mlir" in block or "`" in block, f"{name}: {block.splitlines()[0]}"
