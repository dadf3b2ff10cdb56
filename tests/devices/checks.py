"""What was checked of which kernel on which target, as the tests find it.

Tests call `record`. Where `$INFINI_CHECKS` names a file, each check becomes a line of it, and
`python -m tests.devices.checks FILE PAGE` writes the table of the documentation from the lines:

    INFINI_CHECKS=checks.jsonl python -m pytest tests/devices tests/numeric/test_kernel_corpus.py
    python -m tests.devices.checks checks.jsonl docs/kernels.md
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from infini_ir.models.kernels import cases
from infini_ir.targets.registry import ENTRIES

LEVELS = ("device", "model", "compiled", "text")
"""From the strongest check to the weakest."""
MEANING = {
    "device": "ran on the device, numbers compared with f64",
    "model": "ran in a functional model of the device (for NVIDIA, Triton's interpreter), "
    "numbers compared with f64",
    "compiled": "compiled by the vendor's compiler",
    "text": "only the text was written",
}
MODELS = ("resnet50", "mobilenetv2", "minilm", "gpt2", "llama_block")

HEAD = """# Kernels by target and element type

<!-- Written from what the tests record (`make matrix`); change those. -->

Each cell says how the kernel was checked for the target, the strongest checks first:
{meaning}.
An empty cell was not checked. Every case, its inputs, its reference and its tolerance is in
`infini_ir/models/kernels`. `cpu` is the processor of the machine that ran the tests.

"""


def record(target: str, kernel: str, dtype: str, level: str) -> None:
    """Note that a kernel's numbers, code or text were found right."""
    assert level in LEVELS and target in ENTRIES
    path = os.environ.get("INFINI_CHECKS")
    if path:
        line = json.dumps({"target": target, "kernel": kernel, "dtype": dtype, "level": level})
        with open(path, "a") as file:
            file.write(line + "\n")


def rows() -> list[tuple[str, str]]:
    """Kernel and element type of each line of the table, in the corpus' order."""
    return list(dict.fromkeys((case.kernel, case.dtype) for case in cases()))


def page(lines: Iterable[str]) -> str:
    """The page of the documentation."""
    found: dict[tuple[str, str, str], set[str]] = {}
    for line in lines:
        check = json.loads(line)
        key = (check["kernel"], check["dtype"], check["target"])
        found.setdefault(key, set()).add(check["level"])
    meaning = ";\n".join(f"*{level}*: {MEANING[level]}" for level in LEVELS)
    text = [HEAD.format(meaning=meaning)]
    text += _table("kernel", rows(), found)
    text += [
        "\n## Whole models\n\nOn the CPU they are compared with onnxruntime in `tests/models`.\n\n"
    ]
    text += _table("model", [(name, "f32") for name in MODELS], found)
    return "".join(text)


def _table(
    title: str,
    lines: list[tuple[str, str]],
    found: dict[tuple[str, str, str], set[str]],
) -> list[str]:
    columns = [title, "type", *ENTRIES]
    text = [f"| {' | '.join(columns)} |\n", f"|{'---|' * len(columns)}\n"]
    for kernel, dtype in lines:
        cells = [
            ", ".join(level for level in LEVELS if level in found.get((kernel, dtype, t), ()))
            for t in ENTRIES
        ]
        text.append(f"| {' | '.join([kernel, dtype, *cells])} |\n")
    return text


def main() -> None:
    """Write the page that the second argument names from the lines of the first."""
    source, target = map(Path, sys.argv[1:3])
    target.write_text(page(source.read_text().splitlines()))


if __name__ == "__main__":
    main()
