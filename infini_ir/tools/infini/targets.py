"""`infini targets`: what models can be compiled for."""

from __future__ import annotations

from typing import Any

import click

from infini_ir.tools.infini.options import json_option


@click.command()
@json_option
def command(as_json: bool) -> None:
    """List targets: architectures, what each gives, and how its code was checked."""
    from infini_ir.tools.infini.show import print_facts, print_json, print_table, size_text

    facts = {"targets": target_facts(), "processors": processor_facts()}
    if as_json:
        print_json(facts)
        return
    for row in facts["targets"]:
        click.echo(f"{row['target']}")
        print_facts(
            {
                "  architectures": ", ".join(row["architectures"]),
                "  writes": f"{row['language']}, {_GIVES[row['gives']]}",
                "  element types": ", ".join(row["dtypes"]),
                "  levels": ", ".join(row["levels"]),
                "  library": row["library"] or "none",
                "  checked": row["checked"],
            }
        )
    columns = ("processor", "arch", "vector", "L1", "L2", "runs here", "features")
    click.echo()
    print_table(
        columns,
        [
            (
                row["target"],
                row["arch"],
                f"{row['vector_bytes'] * 8} bits",
                size_text(row["l1_bytes"]),
                size_text(row["l2_bytes"]),
                "yes" if row["runs_here"] else "no",
                " ".join(row["features"]) or "base",
            )
            for row in facts["processors"]
        ],
    )


_GIVES = {
    "program": "a program that Infini IR runs",
    "project": "a project that the vendor's tools build",
}


def target_facts() -> list[dict[str, Any]]:
    """Every target, as the registry has it."""
    from infini_ir.targets.registry import ENTRIES

    return [
        {
            "target": entry.name,
            "architectures": list(entry.architectures),
            "language": entry.language,
            "gives": entry.gives,
            "dtypes": list(entry.dtypes),
            "levels": ["graph", "tile", *entry.levels],
            "library": entry.library,
            "checked": entry.checked,
        }
        for entry in ENTRIES.values()
    ]


def processor_facts() -> list[dict[str, Any]]:
    """Every processor that the CPU target can generate code for."""
    from infini_ir.runtime.host import host_arch, host_flags
    from infini_ir.targets.cpu.features import NAMES, named
    from infini_ir.utils.errors import OptionError

    rows = []
    for name in NAMES:
        try:
            features = named(name)
        except OptionError:
            continue  # this machine's processor has no code generator
        runs = features.arch == host_arch() and features.required_flags <= host_flags()
        rows.append(
            {
                "target": f"cpu:{name}",
                "arch": features.arch,
                "vector_bytes": features.vector_bytes,
                "l1_bytes": features.l1_bytes,
                "l2_bytes": features.l2_bytes,
                "runs_here": runs,
                "features": sorted(features.features),
            }
        )
    return rows
