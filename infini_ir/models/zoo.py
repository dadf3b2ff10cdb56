"""Every model that tests and benchmarks run, by name, with inputs to run it on."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from infini_ir.models import quantized, torch_zoo
from infini_ir.models.light import LIGHT_MODELS, light_inputs, light_model
from infini_ir.utils.errors import OptionError

if TYPE_CHECKING:
    import onnx

Arrays = dict[str, np.ndarray]

FAR = 1e-5
"""What an output may be off, as a share of its largest element."""
FARTHER = 1e-4
"""The same for the deepest networks and those with sums of many thousand products."""


@dataclass(frozen=True)
class Model:
    """A model to compile and run."""

    name: str
    source: Callable[[], Path | onnx.ModelProto]
    arrays: Callable[[int, Mapping[str, int]], Arrays]
    """Inputs from a seed, and from sizes of the symbols of the model."""
    sizes: tuple[Mapping[str, int], ...] = ({},)
    """Sizes to run with; a benchmark takes the first."""
    tolerance: float = FAR
    has_small: bool = False
    """Whether there is a small variant."""
    missing: Callable[[], str | None] = field(default=lambda: None)
    """Why the model cannot be had here, if so."""
    network: str | None = None
    """The network of `torch_zoo` that it is exported from."""

    def inputs(self, seed: int = 0, case: int = 0) -> Arrays:
        """Random inputs, of the sizes of a case."""
        return self.arrays(seed, self.sizes[case])


def models(*, small: bool = False) -> dict[str, Model]:
    """All models by name; `small` gives the small variants of those that have one."""
    known = [*_light(), *_torch(small), *_data()]
    return {model.name: model for model in known}


def measured() -> dict[str, Model]:
    """All models that can be measured: those, batches of some, and quantised ones."""
    return models() | {model.name: model for model in (*_batches(), *_quantized())}


def choose(names: str | None, *, small: bool = False) -> list[Model]:
    """The models of a comma-separated list; all of them for None."""
    known = models(small=small)
    if names is None:
        return list(known.values())
    chosen = [name.strip() for name in names.split(",")]
    for name in chosen:
        if name not in known:
            raise OptionError(f"there is no model '{name}'; there are: {', '.join(known)}")
    return [known[name] for name in chosen]


def data_folder() -> Path | None:
    """`$INFINI_TEST_DATA`: the folder of models that no package carries."""
    chosen = os.environ.get("INFINI_TEST_DATA")
    return Path(chosen) if chosen else None


# The networks that the onnx package carries

_DEEP = ("bvlc_alexnet", "vgg19", "zfnet512")
"""Sums of up to 25088 products, and softmax over them."""


def _light() -> list[Model]:
    return [
        Model(
            f"light_{name}",
            partial(light_model, name),
            partial(_light_arrays, name),
            tolerance=FARTHER if name in _DEEP else FAR,
        )
        for name in LIGHT_MODELS
    ]


def _light_arrays(name: str, seed: int, sizes: Mapping[str, int]) -> Arrays:
    return light_inputs(name, seed)


# Networks exported from PyTorch

_TEXT = (
    {"batch": 1, "sequence": 128},
    {"batch": 3, "sequence": 17},
    {"batch": 1, "sequence": 5},
)
_TORCH_SIZES: dict[str, tuple[Mapping[str, int], ...]] = {
    "mlp": ({"batch": 1}, {"batch": 13}),
    "bert_dynamic": _TEXT,
    "gpt2_dynamic": _TEXT,
    "llama_block": _TEXT,
    "minilm": _TEXT,
}


def _torch(small: bool) -> list[Model]:
    return [
        Model(
            name,
            partial(torch_zoo.exported, name, small=small),
            torch_zoo.find(name).arrays,
            _TORCH_SIZES.get(name, ({},)),
            has_small=True,
            missing=partial(_torch_missing, name),
            network=name,
        )
        for name in torch_zoo.TORCH_MODELS
    ]


def _torch_missing(name: str) -> str | None:
    package = torch_zoo.missing_package(name)
    return f"{package} is not installed" if package else None


def _batches() -> list[Model]:
    return [
        Model(
            name,
            partial(torch_zoo.exported, name),
            torch_zoo.find(name).arrays,
            missing=partial(_torch_missing, name),
            network=name,
        )
        for name in torch_zoo.BATCHES
    ]


def _quantized() -> list[Model]:
    return [
        Model(
            f"{name}_{form}",
            partial(quantized.quantized, name, form),
            torch_zoo.find(name).arrays,
            missing=partial(_quantized_missing, name),
        )
        for name in quantized.QUANTIZED
        for form in quantized.FORMS
    ]


def _quantized_missing(name: str) -> str | None:
    package = quantized.missing_package(name)
    return f"{package} is not installed" if package else None


# Models of the test data


def _bytes(seed: int, sizes: Mapping[str, int]) -> Arrays:
    values = np.random.default_rng(seed).integers(0, 257, (sizes["batch"], 2048))
    return {"bytes": values.astype(np.int32)}


def _photo(seed: int, sizes: Mapping[str, int]) -> Arrays:
    values = np.random.default_rng(seed).uniform(0, 255, (1, 3, 416, 416))
    return {"images": values.astype(np.float32)}


def _digit(seed: int, sizes: Mapping[str, int]) -> Arrays:
    values = np.random.default_rng(seed).uniform(0, 1, (1, 1, 28, 28))
    return {"Input3": values.astype(np.float32)}


def _data() -> list[Model]:
    def model(name: str, arrays: Callable[..., Arrays], **more: Any) -> Model:
        missing = partial(_data_missing, name)
        return Model(name, partial(_data_path, name), arrays, missing=missing, **more)

    return [
        model("mnist", _digit),
        model("magika_v3_3", _bytes, sizes=({"batch": 1}, {"batch": 7})),
        model("yolox_nano", _photo),
    ]


def _data_path(name: str) -> Path:
    return (data_folder() or Path()) / "onnx" / f"{name}.onnx"


def _data_missing(name: str) -> str | None:
    if data_folder() is None:
        return "INFINI_TEST_DATA does not name the folder of the test data"
    path = _data_path(name)
    return None if path.exists() else f"{path} is absent"
