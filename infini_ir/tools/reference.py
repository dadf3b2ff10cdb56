"""Writes the reference pages from the docstrings: `python -m infini_ir.tools.reference FOLDER`.

One page a dialect (its operations, attributes and types), and one of all passes.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

import click
from xdsl.ir import Attribute, Dialect
from xdsl.irdl import IRDLOperation
from xdsl.passes import ModulePass

from infini_ir import universe

DIALECTS = ("buffer", "graph", "tile")
_NOTE = "<!-- Generated from the docstrings by `make docs`; change those. -->"


def pages() -> dict[str, str]:
    """The text of each page, by file name."""
    made = {f"{name}.md": dialect_page(universe.DIALECTS[name]()) for name in DIALECTS}
    made["passes.md"] = passes_page()
    return made


def dialect_page(dialect: Dialect) -> str:
    """Operations in the order of the dialect, under a heading for each file that defines some."""
    ops = [op for op in dialect.operations if issubclass(op, IRDLOperation)]
    modules = list(dict.fromkeys(op.__module__ for op in ops))
    blocks = [_NOTE, f"# The {dialect.name} dialect"]
    blocks.append(_text(_module_doc(sys.modules[modules[0]].__package__ or "")))
    blocks.append(
        f"{len(ops)} operations. The examples are in the syntax that `infini-opt` reads and "
        "prints; `...` and capital letters stand for what is left out."
    )
    blocks.append("\n".join(_contents(ops, modules)))
    for module in modules:
        blocks.append(f"## {_title(module)}")
        blocks.append(_text(_module_doc(module)))
        for op in ops:
            if op.__module__ == module:
                blocks += _op_blocks(op)
    blocks.append("## Types and attributes")
    for attribute in dialect.attributes:
        blocks += _attribute_blocks(attribute)
    return "\n\n".join(block for block in blocks if block) + "\n"


def passes_page() -> str:
    """All passes of the compiler, by name."""
    blocks = [_NOTE, "# Passes"]
    blocks.append(
        "Names for `infini-opt -p`, with options in braces: `-p 'graph-fuse{max_ops=8}'`. "
        "[Architecture](../architecture.md) has the order in which `infini compile` runs them."
    )
    for name, make in universe.PASSES.items():
        made: type[ModulePass] = make()
        if made.__module__.startswith("infini_ir."):
            blocks += [f"## {name}", _text(inspect.getdoc(made) or "")]
            blocks.append("\n".join(_options(made)))
    return "\n\n".join(block for block in blocks if block) + "\n"


def _contents(ops: list[type[IRDLOperation]], modules: list[str]) -> Iterator[str]:
    for module in modules:
        names = (op.name.partition(".")[2] for op in ops if op.__module__ == module)
        links = ", ".join(f"[{name}](#{op_anchor(name)})" for name in names)
        yield f"- {_title(module)}: {links}"


def op_anchor(name: str) -> str:
    return name.replace(".", "").lower()


def _op_blocks(op: type[IRDLOperation]) -> Iterator[str]:
    yield f"### {op.name.partition('.')[2]}"
    yield _text(inspect.getdoc(op) or "")
    definition = op.get_irdl_definition()
    parts = {
        "operands": [name for name, _ in definition.operands],
        "attributes": [n for n in definition.properties if n != "operandSegmentSizes"],
        "regions": [name for name, _ in definition.regions],
        "results": [name for name, _ in definition.results],
    }
    lines = [
        f"{what}: {', '.join(f'`{name}`' for name in names)}"
        for what, names in parts.items()
        if names
    ]
    yield "; ".join(lines)


def _attribute_blocks(attribute: type[Attribute]) -> Iterator[str]:
    yield f"### {attribute.name}"
    yield _text(inspect.getdoc(attribute) or "")
    values = getattr(attribute, "enum_type", None)
    if values is not None:
        yield "values: " + ", ".join(f"`{value}`" for value in values)


def _options(made: type[ModulePass]) -> Iterator[str]:
    """The options of a pass: name, default, and the docstring that follows it."""
    source = inspect.getsource(made)
    for option in fields(made):
        if option.name != "name":
            yield f"- `{option.name}`{_default(option)}{_doc_after(source, option.name)}"


def _default(option: Field[Any]) -> str:
    if option.default is MISSING:
        return ""
    value = option.default
    if isinstance(value, frozenset):
        value = ", ".join(sorted(map(str, value)))
    return f" (default `{value}`)" if value not in ("", None) else ""


def _doc_after(source: str, name: str) -> str:
    lines = iter(source.splitlines())
    for line in lines:
        if line.strip().startswith(f"{name}:"):
            following = next(lines, "").strip()
            if following.startswith('"""'):
                text = following.removeprefix('"""')
                while not text.endswith('"""'):
                    text += " " + next(lines).strip()
                return ": " + text.removesuffix('"""').strip()
            return ""
    return ""


def _title(module: str) -> str:
    return module.rpartition(".")[2].replace("_", " ").capitalize()


def _module_doc(module: str) -> str:
    return inspect.cleandoc(sys.modules[module].__doc__ or "")


def _text(doc: str) -> str:
    """A docstring as Markdown: what is indented becomes a block of code."""
    out: list[str] = []
    inside = False
    for line in doc.splitlines():
        code = line.startswith("    ")
        if code and not inside:
            out.append("```mlir")
        elif inside and not code and line:
            out.insert(len(out) - (out[-1] == ""), "```")
        inside = code or (inside and not line)
        out.append(line[4:] if code else line)
    if inside:
        out.append("```")
    return "\n".join(out)


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def main(folder: Path) -> None:
    """Write the pages into FOLDER."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text)
        click.echo(f"wrote {folder / name}")


if __name__ == "__main__":
    main()
