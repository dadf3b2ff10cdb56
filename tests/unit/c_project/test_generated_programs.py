"""Host programs as C++: built with every warning and the sanitizers, run, compared with the
interpreter."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from loop_target import make
from random_programs import RandomProgram
from tile_programs import TileProgram
from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr, StringAttr
from xdsl.ir import SSAValue

from infini_ir.dialects.dims import FactsAttr
from infini_ir.dialects.graph import TensorType
from infini_ir.dialects.tile import program, view_type
from infini_ir.interpreters.tile import interpret_program
from infini_ir.targets.c_project.host import HostProgram
from infini_ir.targets.c_project.project import Project
from infini_ir.targets.c_project.signatures import signatures_of
from infini_ir.utils.errors import CompileError
from infini_ir.utils.symbolic import Dim
from tests.devices.common.build import SANITIZE, Builder, RunError, run_program

BUILDER = Builder(flags=SANITIZE)
SEEDS = (0, 1, 5, 23, 42, 157)


@cache
def random_projects() -> dict[int, tuple[RandomProgram, Project]]:
    """All random programs, built together."""
    programs = {seed: RandomProgram(seed, symbolic=seed % 2 == 1) for seed in SEEDS}
    made = {seed: (p, make(p.program)) for seed, p in programs.items()}
    BUILDER.build_all([project for _, project in made.values()])
    return made


def run(project: Project, *inputs: np.ndarray) -> list[np.ndarray]:
    names = [spec.name for spec in project.metadata.inputs]
    given = dict(zip(names, inputs, strict=True))
    return list(BUILDER.run(project, given).values())


@pytest.mark.parametrize("seed", SEEDS)
def test_random_programs_give_the_same(seed):
    """Launches, aliases, branches, counted loops and while loops over planned memory."""
    made, project = random_projects()[seed]
    inputs = made.arrays()
    (wanted,) = interpret_program(made.program.module, inputs)
    (given,) = run(project, *inputs)
    np.testing.assert_allclose(given, wanted, rtol=1e-5, atol=1e-6)


def facts(*items: tuple[str, str, str]) -> FactsAttr:
    return FactsAttr(tuple((Dim.parse(a), relation, Dim.parse(b)) for a, relation, b in items))


def launch_mix(p: TileProgram, name: str, *views: SSAValue) -> None:
    """The kernel of `RandomProgram.launch_mix`: all of both operands in every element."""
    k = p.kernel(name, views, view_type(views[2]).shape, [4])
    sums = [k.reduce("add", k.load(v, [0], [0], view_type(v).shape), [0]) for v in k.views[:2]]

    def body(s, a, b, i):
        at = s.from_index(s.add(i, s.coord(0)), "f32")
        a, b = (s.mul(v, s.constant(c, "f32")) for v, c in ((a, 0.31), (b, -0.17)))
        return [s.add(s.add(a, b), s.mul(at, s.constant(0.01, "f32")))]

    (y,) = k.map([*sums, k.offsets[0]], [[], [], []], ["f32"], [4], body)
    k.store(y, k.views[2], k.offsets, [0])
    p.launch(k, views)
    launched = p.block.last_op
    assert isinstance(launched, program.LaunchOp)
    launched.properties["label"] = StringAttr(f"/node/{name}\\")


@cache
def sizes_from_values() -> tuple[TileProgram, Project]:
    """K is a value of an input: memory and outputs of that size, a counter that goes to K, a
    view of a part, sizes set from others."""
    p = TileProgram([([], "i64"), (["N"], "f32"), (["2*N", 3], "f32")], [(["N"], "f32")])
    n, x, pair, known = p.views
    p.entry.properties["facts"] = facts(("N", "ge", "2"), ("N", "le", "100"))
    p.emit(program.BindOp(n, "K", facts(("K", "le", "N"))))
    w = p.weight("w", np.array([1, -2], np.float32))
    p.emit(program.SetOp("unused", Dim.parse("K + 7")))
    p.emit(program.SetOp("L", Dim.parse("K + 1")))
    taken = p.alloc(["K"], "f32", dynamic=True)
    launch_mix(p, "mix0", x, w, taken)
    late = p.alias(pair, ["3*N"], None, Dim.parse("3*N"))
    launch_mix(p, "mix1", late, w, known)

    def body():
        inner = p.alloc(["L*s + L"], "f32", dynamic=True)
        launch_mix(p, "mix2", known, taken, inner)
        launch_mix(p, "mix3", p.alias(inner, ["L"]), w, known)

    p.loop("s", Dim.parse("K"), body)
    last = p.alloc(["L", "s"], "f32", dynamic=True)
    launch_mix(p, "mix4", known, known, p.alias(last, ["L*s"]))
    for index, view in ((1, last), (2, taken)):
        p.emit(program.PublishOp(view, index))
    outputs = [(["N"], "known"), (["L", "s"], "grown/1"), (["K"], "taken")]
    types = [TensorType.of([Dim.parse(d) for d in s], "f32") for s, _ in outputs]
    p.entry.properties["signature"] = DictionaryAttr(
        {
            "inputs": ArrayAttr([StringAttr(n) for n in ("count", "x", "pair")]),
            "outputs": ArrayAttr([StringAttr(name) for _, name in outputs]),
            "output_types": ArrayAttr(types),
        }
    )
    return p, make(p)


def sized_inputs(k: int, n: int) -> list[np.ndarray]:
    rng = np.random.default_rng([abs(k), n])
    x, pair = rng.standard_normal(n), rng.standard_normal((2 * n, 3))
    return [np.array(k, np.int64), x.astype(np.float32), pair.astype(np.float32)]


@pytest.mark.parametrize(("k", "n"), [(0, 2), (1, 5), (4, 4), (7, 11)])
def test_sizes_from_values(k, n):
    p, project = sizes_from_values()
    inputs = sized_inputs(k, n)
    wanted = interpret_program(p.module, inputs, p.ctx)
    given = run(project, *inputs)
    assert [a.shape for a in given] == [(n,), (k + 1, k), (k,)]
    for one, other in zip(given, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_the_program_reads_well():
    text = sizes_from_values()[1].text("model.cpp")
    assert "LAUNCH(mix2, known, t1, t2, K, L, N, s);  // /node/mix2/" in text
    assert "for (s = 0; s < K; ++s) {" in text
    assert 'K = call.read_size("K", count);' in text
    assert "call.publish(1, t3, {L, s});" in text
    assert "unused" not in text


def inputs_with(**changed: np.ndarray) -> list[np.ndarray]:
    names = ("count", "x", "pair")
    return [changed.get(n, a) for n, a in zip(names, sized_inputs(2, 4), strict=True)]


F32 = np.float32


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (
            inputs_with(x=np.zeros((4, 1), F32)),
            "input 'x' has 2 dimensions, shape [4, 1]; the model wants f32[N]",
        ),
        (
            inputs_with(pair=np.zeros((8, 4), F32)),
            "input 'pair': dim 1 is 4, but the model wants 3: f32[2*N, 3]",
        ),
        (
            inputs_with(pair=np.zeros((9, 3), F32)),
            "input 'pair': dim 0 is 9, but '2*N' is 8, as 'N' is 4 by input 'x'",
        ),
        (
            sized_inputs(0, 1),
            "size N must be at least 2, but they are 1 and 2",
        ),
        (
            sized_inputs(0, 101),
            "size N must be at most 100, but they are 101 and 100",
        ),
        (
            inputs_with(count=np.array(5, np.int64)),
            "size K must be at most N, but they are 5 and 4",
        ),
        (
            inputs_with(count=np.array(-5, np.int64)),
            "size 'K' computed by the model is -5, but must not be negative",
        ),
        (
            inputs_with(x=np.zeros(4, np.float64)),
            "input 'x' has dtype float64, but the model wants float32 (f32[N]); "
            "convert it with .astype('float32')",
        ),
    ],
)
def test_wrong_inputs(inputs, message):
    with pytest.raises(RunError) as caught:
        run(sizes_from_values()[1], *inputs)
    assert str(caught.value) == f"run_model: {message}"


def test_one_size_of_two_inputs():
    p = TileProgram([(["N"], "f32"), (["N"], "f32")], [(["N"], "f32")])
    launch_mix(p, "mix0", *p.views)
    project = make(p)
    with pytest.raises(RunError, match="dim 0 is 3, but 'N' is 2 by input 'input0'"):
        run(project, np.zeros(2, F32), np.zeros(3, F32))
    assert run(project, np.zeros(0, F32), np.zeros(0, F32))[0].shape == (0,)


def test_wrong_weights(tmp_path):
    project = sizes_from_values()[1]
    built = BUILDER.build(project)
    random = (
        "--size",
        "N=16",
        "--input",
        f"count={tmp_path}/count.npy",
        "--input",
        f"pair={tmp_path}/pair.npy",
    )
    np.save(tmp_path / "count.npy", np.array(1, np.int64))
    np.save(tmp_path / "pair.npy", np.zeros((32, 3), np.float32))
    place = project.write(tmp_path / "model")
    good = place / "weights.bin"
    assert "grown/1: f32[2, 1]" in run_program(built, "--weights", str(good), *random)
    data = good.read_bytes()
    for content, message in (
        (None, "cannot be opened: No such file or directory"),
        (b"x" * 100, "it is no file of weights"),
        (data[:-1], "it is cut short"),
        (data[:20] + b"\0" + data[21:], "it belongs to another model"),
    ):
        other = tmp_path / "other.bin"
        if content is not None:
            other.write_bytes(content)
        with pytest.raises(RunError, match=message):
            run_program(built, "--weights", str(other), *random)


def test_memory_must_be_planned():
    p = TileProgram([], [([4], "f32")])
    t = p.alloc([4], "f32")
    launch_mix(p, "mix0", t, t, p.views[0])
    with pytest.raises(CompileError, match="run tile-plan-memory first"):
        HostProgram(p.entry, signatures_of(p.module), {}).text()


def test_too_many_dimensions():
    with pytest.raises(CompileError, match="'input0' has 17 dimensions"):
        make(TileProgram([([1] * 17, "f32")], []))
