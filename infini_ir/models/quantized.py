"""Networks quantised by onnxruntime's static quantiser: bytes in, bytes out.

    path = quantized("resnet50", "qdq")

Activations are u8 with a zero point, weights s8 with a scale for each channel. The scales come
from a few random inputs: what such a network says is no use, how fast it runs is.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import tempfile
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from infini_ir.models import torch_zoo
from infini_ir.utils.entry_folder import cache_folder
from infini_ir.utils.errors import OptionError

QUANTIZED = ("resnet50", "mobilenetv2", "bert")
"""The networks of `torch_zoo` that there are."""
FORMS = ("qdq", "qoperator")
"""Pairs of quantising and dequantising nodes around float operators, or integer operators."""
_CALIBRATIONS = 4
"""Inputs that the ranges of activations are taken from."""


def quantized(name: str, form: str = "qdq", *, small: bool = False) -> Path:
    """The ONNX file of a quantised network, made by the first call and kept.

    Raises `OptionError` for a network or a form that there is not.
    """
    if name not in QUANTIZED or form not in FORMS:
        known = f"{', '.join(QUANTIZED)} as {' or '.join(FORMS)}"
        raise OptionError(f"there is no quantised '{name}' as '{form}'; there are: {known}")
    source = torch_zoo.exported(name, small=small)
    path = source.parent.with_name(f"{source.parent.name}-{form}-{_digest()}") / source.name
    if not path.exists():
        with tempfile.TemporaryDirectory(dir=_models_folder()) as folder:
            made = Path(folder) / "model"
            made.mkdir()
            _quantize(name, source, form, made / path.name, Path(folder))
            # Somebody else may have been faster.
            with contextlib.suppress(OSError):
                made.rename(path.parent)
    return path


def missing_package(name: str) -> str | None:
    """A package that is wanted to make the network, and not installed."""
    if find_spec("onnxruntime") is None:
        return "onnxruntime"
    return torch_zoo.missing_package(name)


def _models_folder() -> Path:
    folder = cache_folder() / "models"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _digest() -> str:
    digest = hashlib.sha256(metadata.version("onnxruntime").encode())
    digest.update(Path(__file__).read_bytes())
    return digest.hexdigest()[:12]


def _quantize(name: str, source: Path, form: str, path: Path, scratch: Path) -> None:
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType
    from onnxruntime.quantization import quantize_static as quantize
    from onnxruntime.quantization.shape_inference import quant_pre_process as prepare

    class Inputs(CalibrationDataReader):
        """Random inputs."""

        def __init__(self) -> None:
            self.given = _inputs(name)

        def get_next(self) -> dict[str, Any]:
            """The next, or what is no input when there is none."""
            return next(self.given, None)  # pyright: ignore[reportReturnType]

    quiet = logging.getLogger()
    level = quiet.level
    quiet.setLevel(logging.ERROR)
    # The quantiser copies models and loses files beside them.
    whole, prepared = scratch / "whole.onnx", scratch / "prepared.onnx"
    onnx.save(onnx.load(source), whole)
    prepare(str(whole), str(prepared), skip_symbolic_shape=True)
    quantize(
        str(prepared),
        str(path),
        Inputs(),
        quant_format=QuantFormat.QDQ if form == "qdq" else QuantFormat.QOperator,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    quiet.setLevel(level)


def _inputs(name: str) -> Iterator[dict[str, np.ndarray]]:
    for seed in range(_CALIBRATIONS):
        yield torch_zoo.find(name).arrays(seed, {})
