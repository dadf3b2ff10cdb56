"""Matrix products as tile programs, with what they should give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from tile_programs import Array, Sizes, TileProgram, random
from xdsl.ir import SSAValue

from infini_ir.dialects.tile import view_type
from infini_ir.lowering.kernel_builder import KernelBuilder
from infini_ir.utils.dtypes import is_float, is_unsigned, numpy_dtype


@dataclass
class Product:
    """out[batch.., m.., n] = epilogue(sum over k.. of a[batch.., m.., k..] * b[batch.., k.., n])."""

    m: tuple[int, ...]
    k: tuple[int, ...]
    n: int
    batch: tuple[int, ...] = ()
    a: str = "f32"
    b: str = "f32"
    acc: str = "f32"
    out: str = ""
    weight: bool = False
    """Whether b is a parameter, which is packed."""
    shared: bool = False
    """Whether b has no batch axes."""
    symbolic: bool = False
    """Whether the row axes are symbols."""
    epilogue: str = ""
    """bias, residual, both or two (results)."""
    column_stride: int = 1
    """Of b along n, in an operand that is n last otherwise."""
    seed: int = 0
    program: TileProgram = field(init=False)

    def __str__(self) -> str:
        words = ["x".join(map(str, group)) for group in (self.m, self.k, (self.n,))]
        types = "" if self.a == self.b == self.acc == "f32" else f"{self.a}.{self.b}.{self.acc}"
        flags = [name for name in ("weight", "shared", "symbolic") if getattr(self, name)]
        more = [types, *(["b" + "x".join(map(str, self.batch))] if self.batch else []), *flags]
        return "-".join([*words, *more, self.epilogue]).strip("-")

    def __post_init__(self) -> None:
        self.out = self.out or self.acc
        rows: Sizes = [f"M{i}" for i in range(len(self.m))] if self.symbolic else self.m
        batch_b = () if self.shared else self.batch
        a = ([*self.batch, *rows, *self.k], self.a)
        b = ([*batch_b, *self.k, self.n * self.column_stride], self.b)
        out = ([*self.batch, *rows, self.n], self.out)
        extra = {
            "": [], "two": [], "bias": [([self.n], self.out)], "residual": [out],
            "both": [([self.n], self.out), out],
        }[self.epilogue]  # fmt: skip
        outs = [out] * (2 if self.epilogue == "two" else 1)
        given = [a, *extra] if self.weight else [a, b, *extra]
        p = self.program = TileProgram(given, outs)
        views = list(p.views)
        if self.weight:
            views.insert(1, p.weight("w", self.array_b()))
        if self.column_stride != 1:
            wanted = [*batch_b, *self.k, self.n]
            strides, step = [self.column_stride], self.n * self.column_stride
            for size in reversed([*batch_b, *self.k]):
                strides.insert(0, step)
                step *= size
            views[1] = p.alias(views[1], wanted, strides)
        kernel = self._kernel(p, views, rows)
        p.launch(kernel, views)

    def _kernel(self, p: TileProgram, views: list[SSAValue], rows: Sizes) -> KernelBuilder:
        steps = ["BM"] if len(self.m) == 1 else ["BH", "BW"]
        outer = len(self.m) - len(steps)
        bounds = [*self.batch, *rows, self.n]
        all_steps = [*[1] * (len(self.batch) + outer), *steps, "BN"]
        k = p.kernel("product", views, bounds, all_steps)
        lead = list(k.offsets[: len(self.batch)])
        row, column = list(k.offsets[len(self.batch) : -1]), k.offsets[-1]
        lead_b = [] if self.shared else lead
        first = len(self.batch) + outer
        row_axes = list(range(first, first + len(steps)))
        depth = len(self.k)

        def loop(level: int, at: list[SSAValue], acc: SSAValue) -> SSAValue:
            last = level == depth - 1
            (result,) = k.for_(
                self.k[level], "BK" if last else 1, [acc],
                lambda position, carried: [step(level, [*at, position], carried, last=last)],
            )  # fmt: skip
            return result

        def step(level: int, at: list[SSAValue], acc: SSAValue, *, last: bool) -> SSAValue:
            if not last:
                return loop(level + 1, at, acc)
            k_axis_a = len(self.batch) + len(self.m) + depth - 1
            k_axis_b = len(lead_b) + depth - 1
            a = k.load(k.views[0], [*lead, *row, *at], [*row_axes, k_axis_a], [*steps, "BK"])
            b = k.load(
                k.views[1], [*lead_b, *at, column], [k_axis_b, k_axis_b + 1], ["BK", "BN"]
            )
            return k.dot(a, b, acc)

        total = loop(0, [], k.full(0, [*steps, "BN"], self.acc))
        self._finish(k, total, [*lead, *row, column], row_axes, steps)
        return k

    def _finish(
        self, k: KernelBuilder, total: SSAValue, at: list[SSAValue], row_axes: list[int],
        steps: list[str],
    ) -> None:  # fmt: skip
        tile = [*steps, "BN"]
        axes = [*row_axes, row_axes[-1] + 1]
        rank = len(tile)
        whole = list(range(rank))
        loaded, dims = [total], [whole]
        for view in k.views[2:]:
            if view_type(view).rank == 1 and self.epilogue in ("bias", "both"):
                loaded.append(k.load(view, [at[-1]], [0], ["BN"]))
                dims.append([rank - 1])
                break
        if self.epilogue in ("residual", "both"):
            loaded.append(k.load(k.views[len(loaded) + 1], at, axes, tile))
            dims.append(whole)
        outs = list(k.views[-2 if self.epilogue == "two" else -1 :])

        def body(s, total, *others):
            if self.out != self.acc and is_float(self.acc):
                others = [s.widen(v, self.acc) for v in others]
            for other in others:
                total = s.add(total, other)
            results = [total, s.mul(total, total)][: len(outs)]
            return [s.narrow(r, self.out) if is_float(self.acc) else r for r in results]

        results = k.map(loaded, dims, [self.out] * len(outs), tile, body)
        for value, view in zip(results, outs, strict=True):
            k.store(value, view, at, axes)

    def array_b(self) -> Array:
        batch = () if self.shared else self.batch
        shape = (*batch, *self.k, self.n * self.column_stride)
        return _factor(shape, self.b, self.seed + 1)

    def inputs(self) -> list[Array]:
        shape = (*self.batch, *self.m, *self.k)
        given = [_factor(shape, self.a, self.seed)]
        if not self.weight:
            given.append(self.array_b())
        out = (*self.batch, *self.m, self.n)
        shapes = {
            "": [],
            "two": [],
            "bias": [(self.n,)],
            "residual": [out],
            "both": [(self.n,), out],
        }
        return [*given, *(_factor(s, self.out, self.seed + 2) for s in shapes[self.epilogue])]  # fmt: skip

    def wanted(self, inputs: Sequence[Array]) -> list[Array]:
        """The results, rounded once."""
        return [r.astype(numpy_dtype(self.out)) for r in self.exact(inputs)]

    def exact(self, inputs: Sequence[Array]) -> list[Array]:
        """The results in f64 (i64 for integers)."""
        wide = np.float64 if is_float(self.acc) else np.int64
        batch, depth = int(np.prod(self.batch)), int(np.prod(self.k))
        batch_b = 1 if self.shared else batch
        a = inputs[0].astype(wide).reshape(batch, int(np.prod(self.m)), depth)
        b = self.array_b() if self.weight else inputs[1]
        b = b[..., :: self.column_stride].astype(wide).reshape(batch_b, depth, self.n)
        total = (a @ b).reshape(*self.batch, *self.m, self.n)
        for other in inputs[1 if self.weight else 2 :]:
            total = total + other.astype(wide)
        return [total, total * total][: 2 if self.epilogue == "two" else 1]

    def tolerance(self) -> float:
        if not is_float(self.acc):
            return 0.0
        return {"f16": 2e-3, "bf16": 2e-2, "f32": 2e-5, "f64": 1e-12}[self.out]


def _factor(shape: Sequence[int], dtype: str, seed: int) -> Array:
    if is_float(dtype) or dtype in ("i8", "ui8"):
        return random(shape, dtype, seed)
    low = 0 if is_unsigned(dtype) else -1000
    return np.random.default_rng(seed).integers(low, 1000, shape).astype(numpy_dtype(dtype))


SIZES = (1, 2, 3, 7, 13, 14, 15, 16, 17, 31, 32, 33, 47, 48, 49, 64, 100)


def chosen_sizes(count: int, seed: int) -> list[tuple[int, int, int]]:
    """Triples of sizes such that each size comes up as often as any other on each axis."""
    rng = np.random.default_rng(seed)
    columns = [
        np.concatenate([rng.permutation(SIZES) for _ in range(-(-count // len(SIZES)))])
        for _ in range(3)
    ]
    return [(int(m), int(k), int(n)) for m, k, n in zip(*(c[:count] for c in columns))]
