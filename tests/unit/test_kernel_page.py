"""The page of kernels has a line for each kernel and element type of the corpus."""

from pathlib import Path

from infini_ir.targets.registry import ENTRIES
from tests.devices.checks import MODELS, page, rows

PAGE = Path(__file__).parents[2] / "docs" / "kernels.md"


def cells(text: str) -> dict[tuple[str, str], list[str]]:
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line[:1] == "|"]
    return {(line[0], line[1]): line for line in lines if len(line) > 1}


def test_page_has_every_kernel():
    found = cells(PAGE.read_text())
    missing = [row for row in [*rows(), *((m, "f32") for m in MODELS)] if row not in found]
    assert not missing, "run `make matrix`"


def test_levels_go_to_their_cells():
    kernel, dtype = rows()[0]
    line = f'{{"target": "ascend", "kernel": "{kernel}", "dtype": "{dtype}", "level": "model"}}'
    text = page([line, line])
    row = next(part for part in text.splitlines() if part.startswith(f"| {kernel} | {dtype} "))
    assert [c.strip() for c in row.strip("|").split("|")[2:]] == [
        "model" if target == "ascend" else "" for target in ENTRIES
    ]
