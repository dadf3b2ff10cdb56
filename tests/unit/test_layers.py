"""Imports go one way: each folder of the compiler uses only those below it."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import infini_ir

ROOT = Path(infini_ir.__file__).parent
LAYERS = (
    ("utils",),
    ("runtime",),
    ("dialects",),
    ("interpreters",),
    ("frontends", "passes"),
    ("lowering",),
    ("targets",),
    ("warm",),
    ("compiler",),
    ("models",),
    ("universe",),
    ("tools",),
    ("demo",),
)
"""From the bottom up; those side by side know nothing of each other."""
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
DEVICES = ("cpu", "nvidia", "ascend", "cambricon", "cuda_c", "kunlun")
FILES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")

IMPORT_LIMIT = 0.150
"""Seconds in which `import infini_ir` is done, of which Python's own start is no part."""


def part_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Lines and names of all imports of ours, those inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            assert node.level == 0, f"{path}: a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            if name.startswith("infini_ir."):
                yield node.lineno, name


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down(path: Path):
    here = part_of(path)
    assert here in LEVEL, f"{here} has no place among the layers"
    for line, name in imports(path):
        there = name.split(".")[1]
        if there == here or there not in LEVEL:  # what infini_ir itself exports
            continue
        assert LEVEL[there] < LEVEL[here], f"{path}:{line}: {here} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_targets_know_only_themselves(path: Path):
    if part_of(path) != "targets":
        return
    ours = path.relative_to(ROOT).parts[1].removesuffix(".py")
    for line, name in imports(path):
        parts = name.split(".")
        if parts[1] == "targets" and parts[2] in DEVICES:
            assert parts[2] == ours, f"{path}:{line}: {ours} imports {name}"


def test_runtime_needs_no_compiler():
    code = (
        "import sys, infini_ir.runtime.model, infini_ir.runtime.artifact\n"
        "print(*sorted({m.split('.')[0] for m in sys.modules}))"
    )
    loaded = run(code).split()
    assert not {"xdsl", "llvmlite", "onnx", "torch"} & set(loaded)


def test_import_is_light():
    code = (
        "import sys, time\nbegin = time.perf_counter()\nimport infini_ir\n"
        "print(time.perf_counter() - begin, *sys.modules)"
    )
    seconds, *modules = run(code).split()
    assert not {"numpy", "onnx", "torch", "xdsl", "llvmlite"} & set(modules)
    fastest = min(float(seconds), *(float(run(code).split()[0]) for _ in range(2)))
    assert fastest < IMPORT_LIMIT


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout
