"""Inputs of a model: read from files, or made at random to fit the signature."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from infini_ir.runtime.signature import TensorSpec
from infini_ir.tools.infini.options import split_pair
from infini_ir.utils.dtypes import is_float, numpy_dtype
from infini_ir.utils.errors import InputError, OptionError

FORMATS = ".npy, .npz, .pb (an ONNX tensor), .png or .jpg"


def read_inputs(texts: Sequence[str], specs: Sequence[TensorSpec]) -> dict[str, np.ndarray]:
    """Arrays from `name=file`, `name=[1, 2]` and `file.npz`."""
    known = {spec.name: spec for spec in specs}
    arrays: dict[str, np.ndarray] = {}
    for text in texts:
        if "=" not in text and text.endswith(".npz"):
            arrays.update(_read_npz(text, f"'{text}'"))
            continue
        name, value = split_pair(text, "NAME=FILE")
        if name not in known:
            wanted = ", ".join(map(str, specs)) or "no inputs"
            raise InputError(f"there is no input '{name}'; the model wants {wanted}")
        arrays[name] = read_input(known[name], value)
    unknown = sorted(arrays.keys() - known.keys())
    if unknown:
        raise InputError(
            f"there is no input '{unknown[0]}'; the model wants {', '.join(map(str, specs))}"
        )
    return arrays


def read_input(spec: TensorSpec, text: str) -> np.ndarray:
    """One input from a file, or from numbers in JSON's form."""
    what, suffix = f"input '{spec.name}'", Path(text).suffix.lower()
    if suffix == ".npy":
        return _of_storage(read_npy(text, what), spec)
    if suffix == ".npz":
        arrays = _read_npz(text, what)
        if spec.name not in arrays and len(arrays) != 1:
            raise InputError(
                f"{what}: '{text}' has no array of that name (it has: {', '.join(arrays)})"
            )
        return _of_storage(arrays.get(spec.name, next(iter(arrays.values()))), spec)
    if suffix == ".pb":
        return _read_tensor(text, what)
    if suffix in (".png", ".jpg", ".jpeg"):
        return read_image(text, spec)
    return _literal(text, spec)


def _literal(text: str, spec: TensorSpec) -> np.ndarray:
    try:
        return np.array(json.loads(text)).astype(numpy_dtype(spec.dtype))
    except (ValueError, TypeError, KeyError):
        raise InputError(
            f"input '{spec.name}': '{text}' is neither a file of a known form ({FORMATS}) nor "
            "numbers such as 3 or [1, 2]"
        ) from None


def read_npy(path: str, what: str) -> np.ndarray:
    """The array of a .npy file."""
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{what}: cannot read '{path}': {_reason(error)}") from error


def _read_npz(path: str, what: str) -> dict[str, np.ndarray]:
    import zipfile

    try:
        with np.load(path, allow_pickle=False) as file:
            if isinstance(file, np.ndarray):
                raise ValueError("it holds one array and is no .npz file")
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{what}: cannot read '{path}': {_reason(error)}") from error


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or "the file ends too early"


def _read_tensor(path: str, what: str) -> np.ndarray:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        return onnx.numpy_helper.to_array(onnx.TensorProto.FromString(Path(path).read_bytes()))
    except (OSError, DecodeError, ValueError, TypeError) as error:
        raise InputError(f"{what}: cannot read '{path}': {_reason(error)}") from error


def _of_storage(array: np.ndarray, spec: TensorSpec) -> np.ndarray:
    """numpy writes types that it does not know, such as bf16, as bytes of their size."""
    wanted = numpy_dtype(spec.dtype)
    if array.dtype.kind == "V" and array.dtype.itemsize == wanted.itemsize:
        return array.view(wanted)
    return array


# Images


def read_image(path: str, spec: TensorSpec) -> np.ndarray:
    """A picture in the form of an input [batch, channels, height, width] or, where the last
    size is 1 or 3, [batch, height, width, channels]. Floats are from 0 to 1."""
    try:
        from PIL import Image  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise OptionError(
            "reading pictures wants Pillow; install it with: pip install infini-ir[image]"
        ) from None
    what = f"input '{spec.name}'"
    if len(spec.shape) not in (3, 4):
        raise InputError(f"{what}: a picture does not fit {spec.type_text()}")
    sizes = [dim.value for dim in spec.shape[-3:]]
    last = sizes[2] in (1, 3) and sizes[0] not in (1, 3)
    channels, height, width = (sizes[2], sizes[0], sizes[1]) if last else sizes
    try:
        with Image.open(path) as picture:
            picture = picture.convert("L" if channels == 1 else "RGB")
            size = (width or picture.width, height or picture.height)
            pixels = np.asarray(picture.resize(size))
    except (OSError, ValueError) as error:
        raise InputError(f"{what}: cannot read '{path}': {_reason(error)}") from error
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    array = pixels if last else np.moveaxis(pixels, -1, 0)
    if is_float(spec.dtype):
        array = array.astype(np.float32) / np.float32(255)
    array = np.ascontiguousarray(array.astype(numpy_dtype(spec.dtype)))
    return array[None] if len(spec.shape) == 4 else array


# Outputs


def save_arrays(arrays: Mapping[str, np.ndarray], place: str) -> list[str]:
    """Write arrays into one .npz file or as .npy files into a folder; the paths written.

    Types that numpy does not know are written as f32 or i8.
    """
    stored = {name: _storable(array) for name, array in arrays.items()}
    try:
        if place.endswith(".npz"):
            np.savez(place, **stored)  # pyright: ignore[reportArgumentType]
            return [place]
        folder = Path(place)
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for name, array in stored.items():
            path = folder / f"{_file_name(name)}.npy"
            np.save(path, array)
            paths.append(str(path))
        return paths
    except OSError as error:
        raise OptionError(f"cannot write outputs to '{place}': {_reason(error)}") from error


def _storable(array: np.ndarray) -> np.ndarray:
    if array.dtype.isbuiltin == 1:
        return array
    return array.astype(np.int8 if "int" in array.dtype.name else np.float32)


def _file_name(name: str) -> str:
    return (
        "".join(c if c.isalnum() or c in "-_." else "_" for c in name).lstrip(".") or "output"
    )


def as_facts(
    arrays: Mapping[str, np.ndarray], specs: Sequence[TensorSpec]
) -> list[dict[str, Any]]:
    """What to show of arrays, in the order of the signature."""
    from infini_ir.tools.infini.show import array_facts

    return [array_facts(spec.name, spec.dtype, arrays[spec.name]) for spec in specs]
