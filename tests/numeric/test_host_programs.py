"""Memory plans and barriers of random host programs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest
from random_programs import RandomProgram
from tile_programs import TileProgram, build, native, run_native
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Region, SSAValue

from infini_ir.dialects.context import compiler_context
from infini_ir.dialects.tile import program, view_type
from infini_ir.interpreters.tile import interpret_program
from infini_ir.passes.tile.insert_barriers import InsertBarriersPass
from infini_ir.passes.tile.plan_memory import PlanMemoryPass
from infini_ir.utils.dtypes import item_size
from infini_ir.utils.symbolic import Dim

# Seed 157: a value that only a while's condition reads, and one that only its body holds.
SEEDS = [*range(60), 157]


def planned(p: TileProgram) -> ModuleOp:
    module = p.module.clone()
    for step in (PlanMemoryPass(), InsertBarriersPass()):
        step.apply(compiler_context(), module)
    module.verify()
    return module


@pytest.mark.parametrize("group", range(5))
def test_planned_memory_gives_the_same(group):
    for seed in SEEDS[group::5]:
        made = RandomProgram(seed, symbolic=seed % 2 == 1)
        inputs = made.arrays()
        (wanted,) = interpret_program(made.program.module, inputs)
        assert np.isfinite(wanted).all()
        (given,) = interpret_program(planned(made.program), inputs)
        np.testing.assert_array_equal(given, wanted, f"seed {seed}")


@dataclass(frozen=True)
class Access:
    """Bytes that an operation reads or writes, on one worker or on all."""

    what: str
    place: object
    used: frozenset[int]
    writes: bool
    serial: bool

    def races_with(self, other: Access) -> bool:
        if not (self.writes or other.writes) or (self.serial and other.serial):
            return False
        return self.place == other.place and bool(self.used & other.used)


@dataclass
class Walk:
    """One way through a program: the accesses between each two barriers."""

    rng: np.random.Generator
    symbols: dict[str, int]
    pending: list[Access] = field(default_factory=list)

    def block(self, block: Block) -> Iterator[str]:
        """Yields a line for each race."""
        for op in block.ops:
            if isinstance(op, program.BarrierOp):
                self.pending.clear()
            elif isinstance(op, program.LaunchOp):
                written, serial = op.callee().written(), op.serial is not None
                name = op.kernel.string_value()
                yield from self.meet(
                    [self.access(v, name, i in written, serial) for i, v in enumerate(op.views)]
                )
            elif isinstance(op, program.IfOp):
                yield from self.read(op.condition)
                region = op.then_region if self.rng.integers(2) else op.else_region
                yield from self.block(region.block)
            elif isinstance(op, program.WhileOp):
                yield from self.block(op.condition.block)
                yield from self.read(op.flag)
                for _ in range(self.rng.integers(3)):
                    yield from self.block(op.body.block)
                    yield from self.block(op.condition.block)
                    yield from self.read(op.flag)
            elif isinstance(op, program.LoopOp):
                for number in range(min(3, op.to.data[0].evaluate(self.symbols))):
                    self.symbols[op.symbol.data] = number
                    yield from self.block(op.body.block)
                    if op.until is not None:
                        yield from self.read(op.until)
                        if self.rng.integers(3) == 0:
                            break

    def read(self, flag: SSAValue) -> Iterator[str]:
        """All workers read a flag."""
        yield from self.meet([self.access(flag, "flag", False, False)])

    def meet(self, new: list[Access]) -> Iterator[str]:
        for one in new:
            for other in self.pending:
                if one.races_with(other):
                    yield f"{other.what} and {one.what}"
        self.pending += new

    def access(self, view: SSAValue, what: str, writes: bool, serial: bool) -> Access:
        type, offset = view_type(view), 0
        root = view
        while isinstance(root.owner, program.AliasOp):
            offset += root.owner.offset_dim.evaluate(self.symbols)
            root = root.owner.source
        elements = np.array([offset])
        for size, stride in zip(type.shape, type.strides, strict=True):
            steps = np.arange(size.evaluate(self.symbols)) * stride.evaluate(self.symbols)
            elements = (elements[:, None] + steps).reshape(-1)
        item, place, begin = item_size(type.dtype), root, 0
        if isinstance(root.owner, program.AllocOp) and root.owner.offset is not None:
            place, begin = "arena", root.owner.offset.data[0].evaluate(self.symbols)
        used = (begin + elements[:, None] * item + np.arange(item)).reshape(-1)
        return Access(what, place, frozenset(used.tolist()), writes, serial)


def races(module: ModuleOp, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    (entry,) = (op for op in module.body.block.ops if isinstance(op, program.ProgramOp))
    return list(Walk(rng, {"N": 7}).block(entry.body.block))


@pytest.mark.parametrize("group", range(5))
def test_no_races_between_barriers(group):
    for seed in SEEDS[group::5]:
        made = RandomProgram(seed, symbolic=seed % 2 == 1)
        module = planned(made.program)
        for way in range(4):
            assert not races(module, way), f"seed {seed}, way {way}"


def test_the_detector_sees_missing_barriers():
    found = 0
    for seed in range(10):
        module = planned(RandomProgram(seed).program)
        for op in list(module.walk()):
            if isinstance(op, program.BarrierOp):
                op.detach()
        found += bool(races(module, 0))
    assert found >= 8


@pytest.mark.parametrize("seed", range(100, 104))
def test_native_on_several_threads(seed):
    made = RandomProgram(seed, symbolic=seed % 2 == 1)
    inputs = made.arrays()
    (wanted,) = interpret_program(made.program.module, inputs)
    built = build(made.program)
    for threads in (1, 2, 4):
        for _ in range(5):
            (given,) = run_native(built, inputs, threads)
            np.testing.assert_allclose(given, wanted, 1e-4, 1e-4)


@pytest.mark.parametrize("flag", [True, False])
def test_a_branch_sets_a_size(flag):
    """What was computed of a symbol before a branch that sets and uses it is stale after."""
    p = TileProgram([(["N"], "f32"), ([], "i1")], [(["N"], "f32")])
    x, condition, y = p.views
    p.emit(program.SetOp("K", Dim.of("N")))

    def launch(scale: float, name: str) -> None:
        views = [p.alias(v, ["K"]) for v in (x, y)]
        k = p.kernel(name, views, ["K"], [4])
        loaded = k.load(k.views[0], k.offsets, [0], [4])
        (z,) = k.map(
            [loaded], [[0]], ["f32"], [4], lambda s, v: [s.mul(v, s.constant(scale, "f32"))]
        )
        k.store(z, k.views[1], k.offsets, [0])
        p.launch(k, views)

    launch(1.0, "before")
    outer, regions = p.block, []
    for number in range(2):
        p.block = Block()
        p.emit(program.SetOp("K", Dim.of(5 + 8 * number)))
        launch(2.0 + number, f"inside{number}")
        regions.append(Region(p.block))
    p.block = outer
    p.emit(program.IfOp(condition, *regions))
    launch(-1.0, "after")
    inputs = [np.arange(30, dtype=np.float32), np.array(flag)]
    (wanted,) = interpret_program(p.module, inputs)
    np.testing.assert_array_equal(native(p, inputs)[0], wanted)
