"""Loops of a kernel function: nests, vector loops with masked ends, remembered values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from infini_ir.targets.cpu.features import CpuFeatures
from infini_ir.targets.cpu.kernel.sources import Coordinate, Point
from infini_ir.targets.cpu.llvm.writer import ZERO, Function, V, integer


@dataclass(kw_only=True)
class LoopWriter:
    """A function being written, the vector width, and what is known at each loop level."""

    features: CpuFeatures
    f: Function = field(init=False)
    lanes: int = field(init=False)
    mask: V | None = None
    """The lanes that exist, in the masked end of a vector loop."""
    _memory: list[dict[object, tuple[V, ...]]] = field(default_factory=lambda: [{}])

    # Memory of what was computed, by loop level

    def enter(self) -> int:
        """Begin a scope whose computed values do not outlive it."""
        self._memory.append({})
        return len(self._memory)

    def leave(self, level: int) -> None:
        del self._memory[level - 1 :]

    def remembered(self, key: object) -> tuple[V, ...] | None:
        for level in reversed(self._memory):
            if key in level:
                return level[key]
        return None

    def remember(self, key: object, value: tuple[V, ...]) -> None:
        self._memory[-1][key] = value

    def mask_key(self) -> str | None:
        return self.mask.text if self.mask is not None else None

    # Positions

    def coordinate(self, coordinate: Coordinate) -> V:
        """A position as a value: lanes follow one another on the vector axis."""
        if not coordinate.vector:
            return coordinate.position
        base = self.f.splat(coordinate.position, self.lanes)
        return self.add_vectors(base, self.f.lane_numbers(self.lanes))

    def add_vectors(self, a: V | None, b: V) -> V:
        if a is None:
            return b
        return self.f.assign(f"add {a.full_type} {a.text}, {b.text}", a.type, a.lanes)

    def scaled(self, value: V, stride: V) -> V:
        if stride.number == 1:
            return value
        wide = self.f.splat(stride, value.lanes)
        return self.f.assign(
            f"mul {value.full_type} {value.text}, {wide.text}", value.type, value.lanes
        )

    # Loops

    def vector_axis_of(self, strides: Sequence[V], extents: Sequence[V]) -> int | None:
        """The axis to vectorise: the last one of stride 1, else the last that is long."""
        long = [
            a
            for a, extent in enumerate(extents)
            if extent.number is None or int(extent.number) > 1
        ]
        unit = [a for a in long if strides[a].number == 1]
        if unit:
            return unit[-1]
        return long[-1] if long else None

    def nest(
        self,
        extents: Sequence[V],
        axes: Sequence[int],
        point: list[Coordinate | None],
        body: Callable[[Point], None],
    ) -> None:
        """Loops over the axes, outermost first, then the body."""
        if not axes:
            filled = tuple(c if c is not None else Coordinate(ZERO) for c in point)
            level = self.enter()
            body(filled)
            self.leave(level)
            return
        axis, rest = axes[0], axes[1:]

        def inside(position: V) -> None:
            level = self.enter()
            self.nest(
                extents, rest, [*point[:axis], Coordinate(position), *point[axis + 1 :]], body
            )
            self.leave(level)

        self.f.loop(extents[axis], inside, hint=f"axis{axis}.")

    def vector_loop(
        self, extent: V, body: Callable[[Coordinate], None], *, start: V = ZERO
    ) -> None:
        """The body for whole vectors, then for the rest: masked, or one by one. `start` is a
        whole number of vectors."""
        lanes = self.lanes
        if extent.number is not None:
            whole = integer(int(extent.number) // lanes * lanes)
            rest: V = integer(int(extent.number) % lanes)
        else:
            whole = self.f.assign(f"and i64 {extent.text}, {-lanes}", "i64")
            rest = self.f.sub(extent, whole)
        self.f.loop(
            whole,
            lambda i: self._scoped(body, Coordinate(i, True)),
            start=start,
            step=lanes,
            hint="vector",
        )
        if self.features.has_avx512:
            self.f.when(
                self.f.compare("sgt", rest, ZERO), lambda: self._masked(body, whole, rest)
            )
        else:
            self.f.loop(
                extent, lambda i: self._scoped(body, Coordinate(i)), start=whole, hint="tail"
            )

    def _scoped(self, body: Callable[[Coordinate], None], coordinate: Coordinate) -> None:
        level = self.enter()
        body(coordinate)
        self.leave(level)

    def _masked(self, body: Callable[[Coordinate], None], whole: V, rest: V) -> None:
        self.mask = self.f.first_lanes(rest, self.lanes)
        self._scoped(body, Coordinate(whole, True))
        self.mask = None
