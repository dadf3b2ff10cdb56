"""Whole models: ONNX files written beforehand, and the same networks in PyTorch.

PyTorch's exporter wants packages that a machine with a GPU may lack, so the files are made
where it is at hand (`python -m benchmarks.gpu --export FOLDER`) and taken along.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from infini_ir.models import torch_zoo

NAMES = ("resnet50", "mobilenetv2", "minilm", "bert", "gpt2", "llama_block", "vit_b16")
SIZES = {"batch": 1, "sequence": 128}


@dataclass(frozen=True)
class Network:
    """A model to measure."""

    name: str
    path: Path

    def inputs(self) -> dict[str, np.ndarray]:
        """Random inputs, of a batch of 1 and sequences of 128."""
        return torch_zoo.find(self.name).arrays(0, SIZES)

    def module(self) -> torch.nn.Module:
        """The network, with the weights that are in the file."""
        model = torch_zoo.find(self.name)
        torch.manual_seed(model.seed)
        return model.build(False).eval()


def networks(folder: Path) -> Iterator[Network]:
    """Those whose files a folder has."""
    for name in NAMES:
        path = folder / name / "model.onnx"
        if path.exists():
            yield Network(name, path)


def export(folder: Path) -> None:
    """Write the files of all networks that can be had here."""
    for name in NAMES:
        missing = torch_zoo.missing_package(name)
        if missing:
            print(f"{name}: left out, as {missing} is not installed")
            continue
        made = torch_zoo.exported(name)
        shutil.copytree(made.parent, folder / name, dirs_exist_ok=True)
        print(f"{name}: {folder / name}")
