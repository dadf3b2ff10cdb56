"""`infini targets`: what models can be compiled for."""

from __future__ import annotations

from typing import Any

import click

from infini_ir.tools.infini.options import json_option


@click.command()
@json_option
def command(as_json: bool) -> None:
    """List targets and machines, with their features."""
    from infini_ir.tools.infini.show import print_json, print_table, size_text

    rows = target_facts()
    if as_json:
        print_json(rows)
        return
    columns = ("target", "arch", "vector", "L1", "L2", "runs here", "features")
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
            for row in rows
        ],
    )


def target_facts() -> list[dict[str, Any]]:
    """Every machine that code can be generated for."""
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
