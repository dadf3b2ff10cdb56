"""The benchmarks' operations say the same in ONNX, in PyTorch and in float64."""

import math

import pytest

torch = pytest.importorskip("torch")

from benchmarks import kernels, products  # noqa: E402
from benchmarks.operation import Operation, computing_share, measure  # noqa: E402
from benchmarks.tables import rates_page  # noqa: E402
from infini_ir.tools.machine import Machine, Probes  # noqa: E402
from infini_ir.tools.turns import Turns  # noqa: E402

MACHINE = Machine(1, 100e9, 10e9, 400e9, 48 << 10, 200e9, 2 << 20, {"bf16": 800e9})
PROBES = Probes(1)
F32, BF16 = torch.float32, torch.bfloat16
CASES = {
    "product": lambda: products.product("f32", F32, 5, 33, 17),
    "bf16 product": lambda: products.product("bf16", BF16, 16, 64, 32),
    "batched": lambda: products.batched("f32", F32, 3, 5, 7, 9),
    "bytes": lambda: products.bytes_product(16, 64, 32),
    "int4": lambda: products.int4_product(2, 64, 32),
    "convolution": lambda: kernels.convolution("f32", F32, 8, 16, 3, 2, 9, 1),
    "bf16 convolution": lambda: kernels.convolution("bf16", BF16, 16, 16, 1, 1, 8, 1),
    "depthwise": lambda: kernels.convolution("f32", F32, 16, 16, 3, 1, 9, 16),
    "attention": lambda: kernels.attention("f32", F32, 2, 17, 8, False),
    "causal": lambda: kernels.attention("f32", F32, 2, 17, 8, True),
    "layer norm": lambda: kernels.layer_norm(3, 40),
    "rms norm": lambda: kernels.rms_norm(3, 40),
    "softmax": lambda: kernels.softmax(3, 40),
    "row sums": lambda: kernels.row_sums(3, 40),
    "column sums": lambda: kernels.column_sums(3, 40),
    "transpose": lambda: kernels.transpose(3, 40),
    "add": lambda: kernels.add(100),
    "max pool": kernels.max_pool,
    "average pool": kernels.average_pool,
    "gather": kernels.gather,
    "concat": kernels.concat,
    **{name: lambda name=name: kernels.function(name, 100) for name in kernels.FUNCTIONS},
}


@pytest.mark.parametrize("name", CASES)
def test_operation(name):
    operation: Operation = CASES[name]()
    row = measure(operation, MACHINE, 1, Turns(1, pause=0.0, turn_seconds=0.0), PROBES)
    assert "problem" not in row
    assert row["failed"] == {}
    exact = "f32" in operation.group or operation.group in ("rows", "functions", "movement")
    for engine, error in row["errors"].items():
        assert error < (1e-5 if exact else 2e-2), engine
    # How large is not for a test to say: it hangs on what else the machine does.
    assert math.isfinite(row["share"]) and row["share"] > 0
    assert math.isfinite(row["ratios"]["torch"])


def test_limits():
    product = products.product("f32", F32, 512, 512, 512)
    assert product.limit(MACHINE) == (2 * 512**3 / 100e9, "compute")
    half = products.product("bf16", BF16, 512, 512, 512)
    assert half.limit(MACHINE) == (2 * 512**3 / 800e9, "bf16 compute")
    small = kernels.add(1024)
    assert small.limit(MACHINE) == (3 * 4096 / 400e9, "L1")
    assert kernels.add(1 << 20).limit(MACHINE) == (3 * (4 << 20) / 10e9, "memory")


def test_a_network_of_one_kernel_computes_only():
    operation = kernels.softmax(300, 400)
    share = computing_share(operation.source(), 1, [operation.operands["x"].numpy()])
    assert 0.2 < share <= 1.01


def test_an_operation_that_cannot_be_compiled_is_a_row():
    operation = kernels._simple(
        "unknown", "none", "y = Frobnicate(x)", {"x": torch.ones(3)}, lambda x: x
    )
    row = measure(operation, MACHINE, 1, Turns(1), PROBES)
    assert "Frobnicate" in row["problem"]


def test_page(tmp_path):
    from benchmarks.results import Results

    results = Results.read("products", tmp_path)
    results.describe(1, ["torch"])
    operation = products.product("f32", F32, 5, 33, 17)
    results.rows[operation.name] = measure(operation, MACHINE, 1, Turns(1, pause=0.0), PROBES)
    results.rows["broken"] = {"group": "f32", "problem": "no operator"}
    page = rates_page(results)
    assert "| f32 5 x 33 x 17 |" in page
    assert "- infini fails on broken: no operator" in page
