"""The program `run_model`: files of arrays, random inputs, options, what it says when wrong."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from loop_target import make
from tile_programs import TileProgram
from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr, StringAttr

from infini_ir.dialects.tile import program
from infini_ir.utils.dtypes import numpy_dtype
from tests.devices.common.build import SANITIZE, Builder, RunError, file_name, run_program

BUILDER = Builder(flags=SANITIZE)
TYPES = ("f32", "f16", "bf16", "f64", "i1", "i8", "i16", "i32", "i64", "ui8", "ui16", "f8E5M2")


@cache
def copies() -> Path:
    """A program whose outputs are its inputs, one of each type, and of a symbolic shape."""
    p = TileProgram([(["M", 3] if t == "f32" else [2, 3], t) for t in TYPES], [])
    for number, view in enumerate(p.views):
        p.emit(program.PublishOp(view, number))
    from infini_ir.dialects.graph import TensorType

    p.entry.properties["signature"] = DictionaryAttr(
        {
            "inputs": ArrayAttr([StringAttr(f"x_{t}") for t in TYPES]),
            "outputs": ArrayAttr([StringAttr(f"y/{t}") for t in TYPES]),
            "output_types": ArrayAttr(
                [TensorType.of(["M", 3] if t == "f32" else [2, 3], t) for t in TYPES]
            ),
        }
    )
    return BUILDER.build(make(p))


def output(folder: Path, dtype: str) -> np.ndarray:
    array = np.load(folder / f"y_{dtype}.npy")
    return array.view(numpy_dtype(dtype)) if array.dtype.kind == "V" else array


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_every_type_goes_through(tmp_path, version):
    rng = np.random.default_rng(0)
    arrays, options = {}, []
    for dtype in TYPES:
        shape = (5, 3) if dtype == "f32" else (2, 3)
        arrays[dtype] = (rng.standard_normal(shape) * 3).astype(numpy_dtype(dtype))
        with (tmp_path / f"{dtype}.npy").open("wb") as file:
            np.lib.format.write_array(file, arrays[dtype], version)
        options += ["--input", f"x_{dtype}={tmp_path}/{dtype}.npy"]
    out = tmp_path / "out"
    text = run_program(copies(), *options, "--output-dir", str(out))
    assert f"y/f32: f32[5, 3] -> {out}/y_f32.npy" in text
    for dtype, array in arrays.items():
        given = output(out, dtype)
        assert given.dtype == array.dtype and given.shape == array.shape
        assert given.tobytes() == array.tobytes()


def test_random_inputs(tmp_path):
    def run(*options: str) -> dict[str, np.ndarray]:
        f8 = tmp_path / "f8.npy"
        np.save(f8, np.zeros((2, 3), np.uint8))
        run_program(
            copies(), "--input", f"x_f8E5M2={f8}", "--output-dir", str(tmp_path), *options
        )
        return {t: output(tmp_path, t) for t in TYPES}

    first = run("--size", "M=2000", "--seed", "3")
    again, other = run("--size", "M=2000", "--seed", "3"), run("--seed", "4")
    for dtype, array in first.items():
        assert array.tobytes() == again[dtype].tobytes()
        if dtype.startswith("i") and dtype not in ("i1", "i8"):
            assert array.min() >= 0 and array.max() <= 3
    assert other["f32"].shape == (16, 3)
    normal = first["f32"].astype(np.float64)
    assert abs(normal.mean()) < 0.05 and abs(normal.std() - 1) < 0.05
    for dtype in ("f16", "bf16"):
        assert np.isfinite(first[dtype].astype(np.float32)).all()
        assert np.abs(first[dtype].astype(np.float32)).max() < 6


def test_bf16_may_be_given_as_integers(tmp_path):
    array = np.arange(6, dtype=np.float32).astype(ml_dtypes.bfloat16).reshape(2, 3)
    np.save(tmp_path / "a.npy", array.view(np.uint16))
    np.save(tmp_path / "f8.npy", np.zeros((2, 3), np.int8))
    options = ("--input", f"x_bf16={tmp_path}/a.npy", "--input", f"x_f8E5M2={tmp_path}/f8.npy")
    run_program(copies(), *options, "--output-dir", str(tmp_path / "out"))
    np.testing.assert_array_equal(output(tmp_path / "out", "bf16"), array)


def test_listing_and_times(tmp_path):
    text = run_program(copies(), "--list")
    assert text.splitlines()[0] == "input  x_f32: f32[M, 3]"
    assert "output y/bf16: bf16[2, 3]" in text
    assert "--output-dir FOLDER" in run_program(copies(), "--help")
    np.save(tmp_path / "f8.npy", np.zeros((2, 3), np.int8))
    text = run_program(copies(), "--input", f"x_f8E5M2={tmp_path}/f8.npy", "--repeat", "3")
    assert "on the device: median" in text and "of 3 calls" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--input", "x_f32=none.npy"], "input 'x_f32': cannot read 'none.npy': No such file"),
        (
            ["--input", "z=none.npy"],
            "there is no input 'z'; the model wants x_f32: f32[M, 3], ",
        ),
        (["--input", "x_f32"], "--input is 'x_f32'; give it as NAME=VALUE"),
        (["--seed", "-1"], "--seed is '-1'; give a whole number, at least 0"),
        (["--size", "M=many"], "--size M is 'many'; give a whole number"),
        (["--bogus"], "unknown option '--bogus'; see run_model --help"),
        (["--seed"], "--seed wants a value"),
        ([], "input 'x_f8E5M2' is of type f8E5M2, of which no random numbers are made"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(RunError) as caught:
        run_program(copies(), *options)
    assert message in str(caught.value)


GOOD = np.zeros((2, 3), np.float32)


def broken(name: str) -> bytes | np.ndarray:
    """Files that are not what a model wants."""
    from io import BytesIO

    file = BytesIO()
    np.save(file, GOOD)
    data = file.getvalue()
    return {
        "text": b"not an array",
        "short": data[:-3],
        "header": data[:40],
        "fortran": np.asfortranarray(GOOD),
        "big-endian": GOOD.astype(">f4"),
        "complex": GOOD.astype(np.complex64),
        "records": np.zeros(3, [("a", "f4")]),
        "huge": data.replace(b"(2, 3)", b"(9999999999999, 9999999)"),
        "no shape": data.replace(b"'shape'", b"'shope'"),
        "integers": GOOD.astype(np.int32),
    }[name]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("text", "it is no .npy file"),
        ("short", "it is cut short"),
        ("header", "it is cut short"),
        ("fortran", "it is in Fortran order; save it with numpy.ascontiguousarray"),
        ("big-endian", "it is big-endian; convert it with .astype('float32')"),
        ("complex", "it holds elements of type 'c8', which no model takes"),
        ("records", "it holds records or objects, not numbers"),
        ("huge", "its shape is too large"),
        ("no shape", "its header has no 'shape'"),
        ("integers", "has dtype int32, but the model wants float32 (f32[M, 3]); convert it"),
    ],
)
def test_wrong_files(tmp_path, name, message):
    content, path = broken(name), tmp_path / "x.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content)
    with pytest.raises(RunError) as caught:
        run_program(copies(), "--input", f"x_f32={path}")
    assert message in str(caught.value) and "input 'x_f32'" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "wanted"), [("a/b", "a_b"), ("..", "output"), (".x-1.y", "x-1.y"), ("é", "__")]
)
def test_file_names(name, wanted):
    assert file_name(name) == wanted
