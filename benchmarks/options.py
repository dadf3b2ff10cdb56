"""Options that the measuring commands share."""

from __future__ import annotations

from pathlib import Path

import click

from benchmarks.results import this_machine

threads_option = click.option(
    "--threads", type=click.IntRange(min=1), default=2, show_default=True
)
again_option = click.option("--again", is_flag=True, help="Measure rows of this commit too.")
results_option = click.option(
    "--results",
    "folder",
    type=click.Path(path_type=Path),
    default=this_machine,
    help="Where files of results are kept; a folder for each kind of processor when left out.",
)
models_option = click.option(
    "--models", help="Names of rows, separated by commas; all when left out."
)


def rounds_option(usual: int):  # the type of click's decorators has no public name
    """How many turns each engine gets."""
    return click.option(
        "--rounds", type=click.IntRange(min=1), default=usual, show_default=True
    )
