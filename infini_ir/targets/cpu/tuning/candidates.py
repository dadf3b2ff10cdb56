"""Plans beside a plan: what tuning tries.

One decision changes at a time, so that a search goes from plan to plan as long as it finds
better ones. Everything that the rules of planning demand holds for all of them: columns in
whole panels, accumulators in registers, strips no longer than their block.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from infini_ir.dialects import tile
from infini_ir.targets.cpu import contraction
from infini_ir.targets.cpu.contraction_plan import even_strip
from infini_ir.targets.cpu.features import CpuFeatures
from infini_ir.targets.cpu.plan import Plan
from infini_ir.targets.cpu.tuning.findings import unreasoned
from infini_ir.utils.dtypes import item_size

MOST_VECTORS, MOST_PANELS = 4, 4
_BLOCKED = 32
"""Rows and columns that a matrix unit does at once."""


def candidates(kernel: tile.KernelOp, plan: Plan, features: CpuFeatures) -> list[Plan]:
    """Plans that differ from a legal one in a single decision, likely gains first."""
    found: dict[Plan | object, Plan] = {}
    for other in _neighbours(kernel, plan, features):
        other = unreasoned(other)
        if other != unreasoned(plan):
            found.setdefault(str(other), other)
    return list(found.values())


def _neighbours(kernel: tile.KernelOp, plan: Plan, features: CpuFeatures) -> Iterator[Plan]:
    nest = nest_of(kernel)
    if nest is not None:
        yield from _Product(kernel, nest, plan, features).neighbours()
    elif any(isinstance(op, tile.DotOp) for op in kernel.body.walk()):
        yield from _of_blocks(kernel, plan)
    else:
        yield from _of_sweeps(kernel, plan)


def nest_of(kernel: tile.KernelOp) -> contraction.Nest | None:
    """The product that a kernel is made around."""
    for op in kernel.body.block.ops:
        if isinstance(op, tile.ForOp) and (nest := contraction.match(op)) is not None:
            return nest
    return None


def sizes_of_steps(kernel: tile.KernelOp) -> dict[str, int | None]:
    """The axes of the grid by the parameter that divides them; None: a symbolic size."""
    pairs = zip(kernel.steps.data, kernel.bounds.data, strict=True)
    return {str(step): bound.value for step, bound in pairs if step.value is None}


def with_parameters(plan: Plan, changed: Mapping[str, int]) -> Plan:
    """A plan with other tile sizes."""
    return replace(plan, parameters={**plan.parameters, **changed})


@dataclass
class _Product:
    kernel: tile.KernelOp
    nest: contraction.Nest
    plan: Plan
    features: CpuFeatures

    def __post_init__(self) -> None:
        item = item_size(tile.tile_type(self.nest.dot.acc).dtype)
        self.lanes = max(1, self.features.vector_bytes // max(4, item))
        self.sizes = sizes_of_steps(self.kernel)
        self.columns = self.sizes.get("BN")
        self.rows = next((n for n in ("BM", "BH", "BW") if n in self.sizes), None)

    def neighbours(self) -> Iterator[Plan]:
        yield from self._tiles()
        yield from self._columns()
        yield from self._rows()
        yield from self._orders()

    def _limit(self, vectors: int) -> int:
        """Rows whose accumulators, with a row of the right operand, fit the registers."""
        return max(1, (self.features.vector_registers - 2 - vectors) // vectors)

    def _tiles(self) -> Iterator[Plan]:
        """Other register tiles; a matrix unit has but one."""
        if self.plan.unit:
            return
        for vectors in range(1, MOST_VECTORS + 1):
            width = self.lanes * vectors
            if vectors > 1 and (self.columns or width) < width:
                continue
            for rows in dict.fromkeys((self._limit(vectors), self._limit(vectors) * 3 // 4)):
                yield self._with_tile(vectors, max(1, rows))
        rows = self.plan.strip[0] * self.plan.strip[1]
        for panels in range(1, MOST_PANELS + 1):
            if rows * panels * self.plan.vectors <= self.features.vector_registers - 4:
                yield replace(self.plan, panels=panels)

    def _with_tile(self, vectors: int, rows: int) -> Plan:
        height, width = self.plan.strip
        block = self._block_of_last_row_axis()
        if height > 1:
            strip = (max(1, rows // width), width) if width <= rows else (1, rows)
        else:
            strip = (1, even_strip(block, rows) if block else rows)
        plan = replace(self.plan, vectors=vectors, strip=strip, panels=1)
        return with_parameters(plan, {"BN": self._whole(plan.parameters["BN"], vectors)})

    def _block_of_last_row_axis(self) -> int:
        parameters = self.plan.parameters
        return parameters.get("BW", parameters.get("BM", 0)) if self.rows else 0

    def _whole(self, columns: int, vectors: int) -> int:
        """A block of columns in whole panels, or all columns."""
        width = _BLOCKED if self.plan.unit else self.lanes * vectors
        if self.columns is not None and columns >= self.columns:
            return max(1, self.columns)
        return max(1, -(-columns // width)) * width

    def _columns(self) -> Iterator[Plan]:
        if "BN" not in self.sizes:
            return
        block = self.plan.parameters["BN"]
        for wanted in (block // 2, block * 2, block // 4, block * 4, self.columns or 0):
            if wanted > 0:
                whole = self._whole(wanted, self.plan.vectors)
                yield with_parameters(self.plan, {"BN": whole})

    def _rows(self) -> Iterator[Plan]:
        if self.rows is None:
            return
        block, size = self.plan.parameters[self.rows], self.sizes[self.rows]
        step = self.plan.strip[0] if self.rows == "BH" else self.plan.strip[1]
        for wanted in (block // 2, block * 2, block // 4, size or 0):
            rows = max(1, wanted if wanted == size else -(-wanted // step) * step)
            if wanted > 0 and (size is None or rows <= size):
                strip = self.plan.strip
                if self.rows != "BH":
                    strip = (strip[0], min(strip[1], rows))
                yield with_parameters(replace(self.plan, strip=strip), {self.rows: rows})

    def _orders(self) -> Iterator[Plan]:
        """Rows fastest, and columns fastest."""
        offsets = list(self.kernel.offsets)
        taken = {self.nest.lhs.offsets[axis] for axis in self.nest.lhs.axis_list[:-1]}
        rows = [i for i, offset in enumerate(offsets) if offset in taken]
        rest = [i for i in range(len(offsets)) if i not in rows]
        if rows and rest:
            yield replace(self.plan, order=(*rest, *rows))
            yield replace(self.plan, order=(*rows, *rest) if rows[0] > rest[0] else ())


def _of_blocks(kernel: tile.KernelOp, plan: Plan) -> Iterator[Plan]:
    """Products of tiles in scratch memory: blocks of rows and of columns."""
    sizes = sizes_of_steps(kernel)
    for name in ("BM", "BN", "BK"):
        block = plan.parameters.get(name)
        if block is None:
            continue
        size = sizes.get(name)
        for wanted in (block // 2, block * 2):
            if wanted >= 16 and (size is None or wanted < 2 * size):
                strip = plan.strip
                if name == "BM":
                    strip = (strip[0], even_strip(wanted, strip[1]))
                yield with_parameters(replace(plan, strip=strip), {name: wanted})


def _of_sweeps(kernel: tile.KernelOp, plan: Plan) -> Iterator[Plan]:
    """Elementwise and row kernels: more or fewer elements in a program."""
    for name, size in sizes_of_steps(kernel).items():
        block = plan.parameters.get(name)
        if block is None:
            continue
        for wanted in (block // 2, block * 2, block // 4, block * 4):
            if wanted >= 1 and (size is None or wanted < 2 * size):
                yield with_parameters(
                    plan, {name: wanted if size is None else min(wanted, size)}
                )
