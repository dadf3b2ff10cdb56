"""How much work compiling is: function calls of Python, which are the same on every machine."""

import cProfile
import pstats

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from infini_ir.compiler import Compilation, Options
from infini_ir.dialects import graph, tile
from infini_ir.utils.entry_folder import EntryFolder
from infini_ir.utils.object_cache import ObjectCache


def layers(count: int) -> bytes:
    """A model of so many equal layers: a product, a bias, a normalisation, a residual sum."""
    rng = np.random.default_rng(0)
    nodes, weights, last = [], [], "x"
    for i in range(count):
        for name, shape in ((f"w{i}", (64, 64)), (f"b{i}", (64,)), (f"s{i}", (64,))):
            weights.append(numpy_helper.from_array(rng.random(shape, np.float32), name))
        nodes += [
            helper.make_node("MatMul", [last, f"w{i}"], [f"m{i}"]),
            helper.make_node("Add", [f"m{i}", f"b{i}"], [f"a{i}"]),
            helper.make_node("LayerNormalization", [f"a{i}", f"s{i}"], [f"n{i}"]),
            helper.make_node("Add", [f"n{i}", last], [f"r{i}"]),
        ]
        last = f"r{i}"
    x, y = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [32, 64]) for name in ("x", last)
    )
    made = helper.make_graph(nodes, "g", [x], [y], weights)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return model.SerializeToString()


def calls(count: int) -> int:
    """Function calls of compiling that many layers, but for code that LLVM generates."""
    model = layers(count)
    profile = cProfile.Profile()
    profile.runcall(Compilation(Options(threads=1)).run, model)
    return pstats.Stats(profile).total_calls  # pyright: ignore[reportAttributeAccessIssue]


def test_work_grows_with_the_number_of_layers(monkeypatch, tmp_path):
    monkeypatch.setenv("INFINI_CACHE_DIR", str(tmp_path))
    calls(2)  # imports, and the one copy of each kernel's machine code
    few, some, many = calls(8), calls(16), calls(32)
    assert many - some < 2.4 * (some - few)


def test_the_cache_is_looked_through_rarely(monkeypatch, tmp_path):
    cache = ObjectCache(tmp_path)
    looks = []
    monkeypatch.setattr(EntryFolder, "evict", lambda self: looks.append(1))
    for number in range(200):
        cache.store(str(number), b"object")
    assert len(looks) == 1


def test_operands_are_read_where_they_lie():
    assert type(vars(graph.AddOp)["lhs"]).__name__ == "_OperandAccessor"
    assert type(vars(graph.AddOp)["out"]).__name__ == "_ResultAccessor"
    assert type(vars(tile.LoadOp)["view"]).__name__ == "_OperandAccessor"
    a, b = (graph.ConstantOp(np.float32(value)) for value in (1, 2))
    total = graph.AddOp(a.out, b.out)
    assert total.lhs is a.out and total.rhs is b.out and total.out is total.results[0]
    total.operands = [b.out, a.out]
    assert total.lhs is b.out and total.rhs is a.out
