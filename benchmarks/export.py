"""Every model as ONNX files with inputs: `python -m benchmarks.export FOLDER`.

For each model NAME the folder gets `NAME.onnx` (weights inside) and `NAME.npz`, its first
inputs: what other programs want for measuring the same.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click
import numpy as np
import onnx
from rich.console import Console
from rich.progress import track

from infini_ir.models import zoo
from infini_ir.utils.errors import OptionError


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--models", help="Names, separated by commas; all when left out.")
def main(folder: Path, models: str | None) -> None:
    """Write files; those that are there stay. Models that cannot be had are named."""
    folder.mkdir(parents=True, exist_ok=True)
    known = zoo.measured()
    names = list(known) if models is None else models.split(",")
    for name in names:
        if name not in known:
            raise OptionError(f"there is no model '{name}'; there are: {', '.join(known)}")
    for name in track(names, "exporting", console=Console(stderr=True)):
        if reason := known[name].missing():
            print(f"{name} is left out: {reason}", file=sys.stderr)
        else:
            export(known[name], folder)


def export(model: zoo.Model, folder: Path) -> Path:
    """Write the files of one model; the path of the ONNX file."""
    path = folder / f"{model.name}.onnx"
    if not path.exists():
        source = model.source()
        whole = onnx.load(source) if isinstance(source, Path) else source
        unfinished = path.with_suffix(".part")
        onnx.save(whole, unfinished)
        unfinished.rename(path)
    np.savez(path.with_suffix(".npz"), **model.inputs())  # pyright: ignore[reportArgumentType]
    return path


if __name__ == "__main__":
    main()
