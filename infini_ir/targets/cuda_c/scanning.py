"""Running combinations along an axis: threads take runs of a row, then what comes before them."""

from __future__ import annotations

from dataclasses import dataclass

from infini_ir.dialects import tile
from infini_ir.targets.cuda_c.keeping import uses_registers
from infini_ir.targets.cuda_c.layouts import Number, split, times
from infini_ir.targets.cuda_c.placement import power_of_two
from infini_ir.targets.cuda_c.reductions import Combiner
from infini_ir.targets.cuda_c.sources import At, MemorySource, Source
from infini_ir.targets.cuda_c.statements import Access
from infini_ir.targets.cuda_c.writer import KernelWriter, SharedArray
from infini_ir.utils.errors import CompileError


@dataclass
class ScanSource(Source):
    """The result of a scan, in shared memory in the type that it was computed in."""

    memory: MemorySource
    combiner: Combiner

    def at(self, k: KernelWriter, at: At) -> str:
        return self.combiner.give(self.memory.at(k, at))


def scan(k: KernelWriter, op: tile.ScanOp) -> None:
    """A `tile.scan`: the tile goes to shared memory and is replaced there by its result."""
    shape = k.placement.known_shape(op.x)
    if shape is None:
        raise CompileError(
            f"kernel '{k.name}' scans a tile of unknown size ({op.x.type}); run "
            "tile-split-axis first"
        )
    combiner = Combiner(op.kind.data, tile.tile_type(op.x).element)
    strides, pitch = [0] * len(shape), 1
    for axis in reversed(range(len(shape))):
        strides[axis], pitch = pitch, pitch * shape[axis]
    array = k.shared_array("scanned", combiner.type, pitch)
    memory = MemorySource(
        array.name, k.group_base(pitch), tuple(strides), combiner.type, array.name
    )
    _write(k, op, memory, combiner)
    _Runs(k, op, combiner, memory, shape).emit()
    k.sources[op.out] = ScanSource(memory, combiner)


def _write(k: KernelWriter, op: tile.ScanOp, memory: MemorySource, combiner: Combiner) -> None:
    layout = k.placement.layout(op.x)

    def body(at: At) -> None:
        k.touch(Access(memory.memory, True, at.layout))
        memory.store(k, at, combiner.read(k.element(op.x, at)))

    registers = uses_registers(k, op.x)
    k.step(lambda: k.sweep(layout, k.extents(op.x), body, registers=registers))


@dataclass
class _Runs:
    """The two steps of a scan in shared memory."""

    k: KernelWriter
    op: tile.ScanOp
    combiner: Combiner
    memory: MemorySource
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        self.rows = times(self.shape) // self.shape[self.op.along]
        self.parts = max(1, self.k.plan.lanes // power_of_two(self.rows))
        self.length = -(-self.shape[self.op.along] // self.parts)
        self.owner = f"runs of {self.memory.name}"

    def emit(self) -> None:
        k = self.k
        totals = None
        if self.parts > 1:
            totals = k.shared_array("run_totals", self.combiner.type, self.rows * self.parts)
            k.step(lambda: self._rows(lambda point, end: self._total(totals, point, end)))
        k.step(lambda: self._rows(lambda point, end: self._replace(totals, point, end)))

    def _rows(self, body) -> None:
        """Each thread's runs: its row, its part, and the bounds of the run."""
        k = self.k
        others = [axis for axis in range(len(self.shape)) if axis != self.op.along]
        extents = k.extents(self.op.x)
        threads = k.plan.lanes // self.parts
        row = "thread" if self.parts == 1 else f"thread / {self.parts}"
        part = "0" if self.parts == 1 else f"thread % {self.parts}"
        k.line(f"for (int element = {row}; element < {self.rows}; element += {threads}) {{")
        point, lines = split(
            "element", [self.shape[axis] for axis in others], range(len(others))
        )
        for text in lines:
            k.line(text)
        conditions = [
            f"{c} < {extents[axis]}"
            for c, axis in zip(point, others, strict=True)
            if extents[axis] != self.shape[axis]
        ]
        end: Number = extents[self.op.along]
        k.line(f"const int part = {part};")
        k.line(f"const int first = part * {self.length};")
        k.line(f"const int last = extent_of({end}, first + {self.length});")
        if conditions:
            k.line(f"if ({' && '.join(conditions)}) {{")
        full = [*point[: self.op.along], "p", *point[self.op.along :]]
        body(full, end)
        if conditions:
            k.line("}")
        k.line("}")

    def _place(self, point: list[str], end: Number) -> str:
        """Where the element at position p of the run's direction lies."""
        point = list(point)
        point[self.op.along] = f"({end} - 1 - p)" if self.op.reverse is not None else "p"
        return self.memory.index(point)

    def _total(self, totals: SharedArray, point: list[str], end: Number) -> None:
        k, combiner = self.k, self.combiner
        k.touch(Access(self.memory.memory, False, self.owner))
        k.touch(Access(totals.name, True))
        k.line(f"{combiner.type} sum = {combiner.neutral()};")
        k.line("for (int p = first; p < last; ++p) {")
        k.line(f"const {combiner.type} x = {self.memory.name}[{self._place(point, end)}];")
        k.line(f"sum = {combiner.apply('sum', 'x')};")
        k.line("}")
        base = k.group_base(totals.count)
        k.line(f"{totals.name}[{base} + element * {self.parts} + part] = sum;")

    def _replace(self, totals: SharedArray | None, point: list[str], end: Number) -> None:
        k, combiner = self.k, self.combiner
        k.touch(Access(self.memory.memory, True, self.owner))
        k.line(f"{combiner.type} sum = {combiner.neutral()};")
        if totals is not None:
            k.touch(Access(totals.name, False))
            base = k.group_base(totals.count)
            k.line("for (int before = 0; before < part; ++before) {")
            k.line(
                f"const {combiner.type} x = "
                f"{totals.name}[{base} + element * {self.parts} + before];"
            )
            k.line(f"sum = {combiner.apply('sum', 'x')};")
            k.line("}")
        place = self._place(point, end)
        exclusive = self.op.exclusive is not None
        k.line("for (int p = first; p < last; ++p) {")
        k.line(f"const {combiner.type} x = {self.memory.name}[{place}];")
        if exclusive:
            k.line(f"{self.memory.name}[{place}] = sum;")
        k.line(f"sum = {combiner.apply('sum', 'x')};")
        if not exclusive:
            k.line(f"{self.memory.name}[{place}] = sum;")
        k.line("}")
