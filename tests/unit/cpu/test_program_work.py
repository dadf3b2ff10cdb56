"""What the estimates of a program's work say of threads: `metadata.work` and `max_workers`."""

import ml_dtypes
import numpy as np
import onnx.parser
import pytest
from onnx import numpy_helper

import infini_ir
from infini_ir.compiler import CompiledModel
from infini_ir.runtime.binding import SHORT_CALL, SHORTEST_CALL, bind
from infini_ir.runtime.metadata import Metadata
from infini_ir.runtime.pace import Pace, ShortPace

TYPES = {"float": np.float32, "bfloat16": ml_dtypes.bfloat16}


def product(size: int, type: str, cpu: str) -> Metadata:
    """Of a square product with a constant right operand."""
    model = onnx.parser.parse_model(
        f"""<ir_version: 10, opset_import: ["": 23]>
        f ({type}[{size}, {size}] x) => ({type}[{size}, {size}] y) {{ y = MatMul(x, w) }}"""
    )
    weights = np.ones((size, size), TYPES[type])
    model.graph.initializer.append(numpy_helper.from_array(weights, "w"))
    made = infini_ir.compile(model, target=f"cpu:{cpu}")
    assert isinstance(made, CompiledModel)
    return made.program.metadata


def work_of(metadata: Metadata) -> int:
    assert metadata.work is not None and metadata.work.value is not None
    return metadata.work.value


def test_work_is_that_of_the_unit_that_multiplies():
    times = [
        work_of(product(256, type, cpu))
        for type, cpu in (
            ("bfloat16", "sapphirerapids"),
            ("bfloat16", "znver4"),
            ("float", "x86-64-v4"),
            ("float", "x86-64-v3"),
            ("float", "x86-64"),
        )
    ]
    assert times == sorted(times)
    assert times[0] * 5 < times[2] and times[2] * 3 < times[4]


@pytest.mark.parametrize(
    "size, type, workers, pace",
    [
        (32, "float", 1, ShortPace),
        (128, "float", 2, ShortPace),
        (256, "float", 2, Pace),
        (64, "bfloat16", 1, ShortPace),
        (512, "bfloat16", 2, Pace),
    ],
)
def test_threads_are_used_where_they_pay(size: int, type: str, workers: int, pace: type):
    metadata = product(size, type, "sapphirerapids")
    found = bind(metadata, ((size, size),), min(2, metadata.max_workers or 2))
    assert (found.workers, found.pace.__class__) == (workers, pace)
    assert (work_of(metadata) < SHORTEST_CALL) <= (workers == 1)
    assert (work_of(metadata) < SHORT_CALL) == (pace is ShortPace)


def test_a_product_that_is_one_program_needs_no_other_thread():
    assert product(64, "bfloat16", "sapphirerapids").max_workers == 1
    assert product(1024, "bfloat16", "sapphirerapids").max_workers is None
