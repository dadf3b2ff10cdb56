"""Random host programs: launches, aliases, loops and branches over shared memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from tile_programs import TileProgram
from xdsl.dialects.builtin import UnitAttr
from xdsl.ir import Block, Region, SSAValue

from infini_ir.dialects.tile import program, view_type
from infini_ir.lowering.kernel_builder import KernelBuilder
from infini_ir.utils.symbolic import Dim

SIZES = (1, 3, 16, 40)


@dataclass
class RandomProgram:
    """`views`: two inputs and an output of f32. Every buffer is written before it is read."""

    seed: int
    symbolic: bool = False
    program: TileProgram = field(init=False)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        size = "N" if self.symbolic else 16
        self.program = TileProgram([([size], "f32"), ([3], "f32")], [([16], "f32")])
        self.kernels: dict[object, KernelBuilder] = {}
        self.symbols = 0
        *inputs, out = self.program.views
        self.inputs = inputs
        known = self.block(2, list(inputs), int(self.rng.integers(4, 9)))
        while len(known) > 1:
            known = [self.mixed(known.pop(0), known.pop(0)), *known]
        self.launch_mix(known[0], known[0], out)

    def arrays(self) -> list[np.ndarray]:
        return [
            self.rng.standard_normal(n).astype(np.float32)
            for n in (7 if self.symbolic else 16, 3)
        ]

    # What may be chosen

    def block(self, depth: int, known: list[SSAValue], steps: int) -> list[SSAValue]:
        """Some random steps; the buffers that are written after them."""
        kinds: list[Callable[[int, list[SSAValue]], None]] = [
            self.fresh, self.fresh, self.fresh, self.again, self.again, self.part
        ]  # fmt: skip
        if depth:
            kinds += [self.loop, self.branch, self.loop_while]
        for _ in range(steps):
            kinds[self.rng.integers(len(kinds))](depth, known)
        return known

    def pick(self, known: list[SSAValue]) -> SSAValue:
        # Late ones more often, so that early ones die.
        return known[-1 - min(int(self.rng.exponential(2)), len(known) - 1)]

    def fresh(self, depth: int, known: list[SSAValue]) -> None:
        known.append(self.mixed(self.pick(known), self.pick(known)))

    def again(self, depth: int, known: list[SSAValue]) -> None:
        """Overwrite a buffer."""
        own = [v for v in known if v not in self.inputs]
        target = own[self.rng.integers(len(own))] if own else None
        if target is not None:
            self.launch_mix(self.pick(known), self.pick(known), target)

    def part(self, depth: int, known: list[SSAValue]) -> None:
        """A part of a buffer by itself."""
        whole = self.pick(known)
        size = view_type(whole).shape[0].value
        if size is not None and size > 1:
            length = int(self.rng.integers(1, size))
            offset = int(self.rng.integers(0, size - length + 1))
            known.append(self.program.alias(whole, [length], None, offset))
            if whole in self.inputs:
                self.inputs.append(known[-1])

    def loop(self, depth: int, known: list[SSAValue]) -> None:
        self.symbols += 1
        name = f"t{self.symbols}"
        until = None
        if self.rng.integers(2):
            until = self.program.alloc([], "i1")
            self.launch_flag(self.pick(known), until)

        def body() -> None:
            inner = self.block(depth - 1, list(known), int(self.rng.integers(1, 5)))
            if until is not None and self.rng.integers(2):
                self.launch_flag(self.pick(inner), until)

        self.program.loop(name, int(self.rng.integers(0, 4)), body, until)

    def branch(self, depth: int, known: list[SSAValue]) -> None:
        flag = self.program.alloc([], "i1")
        self.launch_flag(self.pick(known), flag)
        regions = [self.region(depth, known, flag) for _ in range(2)]
        self.program.emit(program.IfOp(flag, *regions))

    def region(self, depth: int, known: list[SSAValue], flag: SSAValue) -> Region:
        def body() -> None:
            if self.rng.integers(2):
                self.launch_flag(self.pick(known), flag)
            self.block(depth - 1, list(known), int(self.rng.integers(0, 4)))

        return self.filled(body)

    def loop_while(self, depth: int, known: list[SSAValue]) -> None:
        flag, count = self.program.alloc([], "i1"), self.program.alloc([1], "f32")
        limit = self.mixed(self.pick(known), self.pick(known), 1)
        self.launch_count(count, first=True)

        def condition() -> None:
            if self.rng.integers(2):
                self.block(0, list(known), 1)
            self.launch_test(count, limit, flag)

        def body() -> None:
            self.block(depth - 1, list(known), int(self.rng.integers(0, 4)))
            self.launch_count(count, first=False)

        self.program.emit(program.WhileOp(flag, self.filled(condition), self.filled(body)))

    def filled(self, body: Callable[[], None]) -> Region:
        p = self.program
        outer, p.block = p.block, Block()
        body()
        inner, p.block = p.block, outer
        return Region(inner)

    # Kernels

    def mixed(self, a: SSAValue, b: SSAValue, size: int = 0) -> SSAValue:
        shape: list[int | str] = [size or int(self.rng.choice(SIZES))]
        if self.symbolic and not size and self.rng.integers(3) == 0:
            shape = [Dim.symbol("N") * int(self.rng.integers(1, 4))]  # pyright: ignore
        out = self.program.alloc(shape, "f32")
        self.launch_mix(a, b, out)
        return out

    def launch(self, name: str, views: list[SSAValue], make: Callable[..., None]) -> None:
        key = (name, *(v.type for v in views))
        if key not in self.kernels:
            shape = view_type(views[-1]).shape
            sizes = [*shape] or [1]
            self.kernels[key] = self.program.kernel(
                f"{name}{len(self.kernels)}", views, sizes, [4]
            )
            make(self.kernels[key])
        self.program.launch(self.kernels[key], views)
        launched = self.program.block.last_op
        if self.rng.integers(2):
            assert isinstance(launched, program.LaunchOp)
            launched.properties["serial"] = UnitAttr()

    def launch_mix(self, a: SSAValue, b: SSAValue, out: SSAValue) -> None:
        """Every element of the result depends on all of both operands."""
        roots = {_root(v) for v in (a, b)}
        if _root(out) in roots:
            return

        def make(k: KernelBuilder) -> None:
            sums = [
                k.reduce("add", k.load(v, [0], [0], view_type(v).shape), [0])
                for v in k.views[:2]
            ]

            def body(s, a, b, i):
                at = s.from_index(s.add(i, s.coord(0)), "f32")
                a, b = (s.mul(v, s.constant(c, "f32")) for v, c in ((a, 0.31), (b, -0.17)))
                return [s.add(s.add(a, b), s.mul(at, s.constant(0.01, "f32")))]

            (y,) = k.map([*sums, k.offsets[0]], [[], [], []], ["f32"], [4], body)
            k.store(y, k.views[2], k.offsets, [0])

        self.launch("mix", [a, b, out], make)

    def launch_flag(self, a: SSAValue, flag: SSAValue) -> None:
        def make(k: KernelBuilder) -> None:
            x = k.reduce("add", k.load(k.views[0], [0], [0], view_type(a).shape), [0])
            (y,) = k.map([x], [[]], ["i1"], [], lambda s, v: [s.compare("gt", v, s.constant(0.0, "f32"))])  # fmt: skip
            k.store(y, k.views[1], [], [])

        self.launch("flag", [a, flag], make)

    def launch_count(self, count: SSAValue, *, first: bool) -> None:
        def make(k: KernelBuilder) -> None:
            if first:
                k.store(k.full(0.0, [], "f32"), k.views[0], [0], [])
            else:
                k.store(k.full(1.0, [], "f32"), k.views[0], [0], [], "add")

        self.launch("zero" if first else "count", [count], make)

    def launch_test(self, count: SSAValue, limit: SSAValue, flag: SSAValue) -> None:
        """Goes on up to three times, while the limit is not large."""

        def make(k: KernelBuilder) -> None:
            c, m = (k.load(v, [0], [], []) for v in k.views[:2])

            def body(s, c, m):
                few = s.compare("lt", c, s.constant(3.0, "f32"))
                return [s.and_(few, s.compare("lt", m, s.constant(1.0, "f32")))]

            (y,) = k.map([c, m], [[], []], ["i1"], [], body)
            k.store(y, k.views[2], [], [])

        self.launch("test", [count, limit, flag], make)


def _root(view: SSAValue) -> SSAValue:
    while isinstance(view.owner, program.AliasOp):
        view = view.owner.source
    return view
