"""Which rows are measured: models, and the sizes of those that leave some open."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

from infini_ir.models import quantized, torch_zoo, zoo

MODES = {"f32": "f32", "bf16": "bf16", "int8": "f32", "int8-bf16": "bf16"}
"""What is measured, and the precision of what no quantiser touched."""
SHORT = {"bert_dynamic": "sequence=5", "gpt2_dynamic": "sequence=5"}
"""Models that are also measured on few words."""
CHIEF = (
    *(f"light_{name}" for name in zoo.LIGHT_MODELS),
    "mlp", "lstm", "resnet50", "mobilenetv2", "bert", "bert_dynamic", "gpt2", "vit_b16", "minilm",
    "yolox_nano",
)  # fmt: skip
"""Networks of one kind each, at batch 1: what goals are set for. Other rows are variants."""


@dataclass(frozen=True)
class Case:
    """A model, with sizes that are not its first."""

    model: str
    shape: str | None = None

    @property
    def name(self) -> str:
        """Of the row."""
        return self.model if self.shape is None else f"{self.model} {self.shape}"


def is_quantized(mode: str) -> bool:
    """Whether a mode measures quantised networks."""
    return MODES[mode] != mode


def cases(mode: str) -> Iterator[Case]:
    """What a mode measures: those models that can be had here."""
    if is_quantized(mode):
        names = [f"{n}_{form}" for n in quantized.QUANTIZED for form in quantized.FORMS]
    else:
        names = [*zoo.models(), *torch_zoo.BATCHES]
    known = zoo.measured()
    for name in names:
        if reason := known[name].missing():
            print(f"{name} is left out: {reason}", file=sys.stderr)
            continue
        yield Case(name)
        if name in SHORT:
            yield Case(name, SHORT[name])
