"""Whole networks import, and verify."""

import os
from pathlib import Path

import onnx
import pytest

from infini_ir.dialects.context import compiler_context
from infini_ir.frontends.onnx.importer import import_model

LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"
ROOT = Path(__file__).resolve().parents[3]
DATA = Path(os.environ.get("INFINI_TEST_DATA", ROOT.parent / "shared" / "data")) / "onnx"


@pytest.mark.parametrize("path", sorted(LIGHT.glob("*.onnx")), ids=lambda path: path.stem)
def test_networks_of_the_onnx_suite(path: Path):
    module = import_model(path, compiler_context())
    assert "graph.conv" in str(module)


@pytest.mark.parametrize("name", ["mnist", "yolox_nano", "magika_v3_3"])
def test_networks_of_the_test_data(name: str):
    path = DATA / f"{name}.onnx"
    if not path.exists():
        pytest.skip(f"{path} is absent: set INFINI_TEST_DATA to the folder of the test data")
    import_model(path, compiler_context())
