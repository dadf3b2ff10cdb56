"""Plans beside a plan: what tuning tries.

One decision changes at a time, so that a search goes from plan to plan as long as it finds
better ones. Everything that the rules of planning demand holds for all of them: columns in
whole panels, accumulators in registers, strips no longer than their block.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from infini_ir.dialects import tile
from infini_ir.targets.cpu.features import CpuFeatures
from infini_ir.targets.cpu.plans.amx_plan import plan_amx
from infini_ir.targets.cpu.plans.contraction_plan import PART_UNIT
from infini_ir.targets.cpu.plans.plan import Plan
from infini_ir.targets.cpu.plans.planning import plan_kernel
from infini_ir.targets.cpu.plans.row_blocks import even_strip
from infini_ir.targets.cpu.products import contraction, equal_products
from infini_ir.targets.cpu.tuning.findings import unreasoned
from infini_ir.utils.dtypes import item_size

MOST_VECTORS, MOST_PANELS = 4, 4
_BLOCKED = 32
"""Rows and columns that a matrix unit does at once."""
_FEW_ROWS = 64
"""Rows up to which vectors may multiply as fast as a matrix unit, which then waits for memory."""
_LEAST_PIECE = 8
"""Elements or rows that a loop inside a program takes at a time, at least."""


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
    elif equal_products.in_kernel(kernel) is not None:
        yield from _of_equal_products(kernel, plan, features)
    elif any(isinstance(op, tile.DotOp) for op in kernel.body.walk()):
        yield from _of_blocks(kernel, plan, features)
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
        yield from self._parts()
        yield from self._units()

    def _tiles(self) -> Iterator[Plan]:
        """Other register tiles; a matrix unit has but one."""
        if self.plan.unit:
            return
        for vectors in range(1, MOST_VECTORS + 1):
            width = self.lanes * vectors
            if vectors > 1 and (self.columns or width) < width:
                continue
            most = most_rows(self.features, vectors)
            for rows in dict.fromkeys((most, max(1, most * 3 // 4))):
                yield self._with_tile(vectors, rows)
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
        if self.plan.unit:
            outer = "rows" if self.plan.outer == "columns" else "columns"
            yield replace(self.plan, outer=outer, part=0)

    def _parts(self) -> Iterator[Plan]:
        """More or less of the contracted axis at once; a matrix unit has passes of its own."""
        depth = contraction.loop_bound(self.nest.outer).value
        block = self.plan.parameters.get("BK")
        if self.plan.unit or self.nest.whole or self.nest.factor or not depth or not block:
            return
        for wanted in (block // 2, block * 2):
            part = -(-wanted // PART_UNIT) * PART_UNIT
            if part >= 4 * PART_UNIT:
                yield with_parameters(self.plan, {"BK": min(part, depth)})

    def _units(self) -> Iterator[Plan]:
        """What the rules would have the other unit do."""
        sizes = [self.sizes[name] for name in ("BM", "BH", "BW") if name in self.sizes]
        rows = math.prod(size or _FEW_ROWS + 1 for size in sizes)
        if self.plan.unit != "amx":
            if (plan := plan_amx(self.kernel, self.nest, self.features)) is not None:
                yield plan
        elif rows <= _FEW_ROWS:
            vectors = frozenset(f for f in self.features.features if not f.startswith("amx"))
            yield plan_kernel(self.kernel, replace(self.features, features=vectors))


def most_rows(features: CpuFeatures, vectors: int) -> int:
    """Rows whose accumulators, with a row of the right operand, fit the registers."""
    return max(1, (features.vector_registers - 2 - vectors) // vectors)


def _of_equal_products(
    kernel: tile.KernelOp, plan: Plan, features: CpuFeatures
) -> Iterator[Plan]:
    """An algorithm by tiles: blocks of tiles and of columns, and the register tile."""
    sizes = sizes_of_steps(kernel)
    limit = plan.strip[1]

    def with_blocks(changed: Mapping[str, int], most: int, vectors: int) -> Plan:
        other = with_parameters(plan, changed)
        rows = other.parameters["BH"] * other.parameters["BW"]
        return replace(other, strip=(1, even_strip(rows, most)), vectors=vectors)

    for name in ("BH", "BW"):
        for block in _near_divisors(plan.parameters[name], sizes.get(name)):
            yield with_blocks({name: block}, max(limit, 6), plan.vectors)
    width = max(1, features.vector_bytes // 4) * plan.vectors
    columns = sizes.get("BN")
    if columns is not None and columns % width == 0:
        for groups in _near_divisors(plan.parameters["BN"] // width, columns // width):
            yield with_parameters(plan, {"BN": groups * width})
    for vectors in range(1, MOST_VECTORS + 1):
        if plan.parameters["BN"] % (width // plan.vectors * vectors) == 0:
            yield with_blocks({}, most_rows(features, vectors), vectors)


def _near_divisors(block: int, size: int | None) -> list[int]:
    """The next divisors of a size below and above one of them."""
    divisors = [d for d in range(1, (size or 0) + 1) if (size or 0) % d == 0]
    below, above = [d for d in divisors if d < block], [d for d in divisors if d > block]
    return [*below[-1:], *above[:1]]


def _of_blocks(kernel: tile.KernelOp, plan: Plan, features: CpuFeatures) -> Iterator[Plan]:
    """Products of tiles in scratch memory: blocks of rows and of columns, the register tile,
    what lies in lanes, and the order of programs."""
    sizes = sizes_of_steps(kernel)
    for name in ("BM", "BN", "BK"):
        block = plan.parameters.get(name)
        if block is None:
            continue
        size = sizes.get(name)
        for wanted in (block // 2, block * 2):
            if plan.unit and wanted % 16:
                continue
            if wanted >= 16 and (size is None or wanted < 2 * size):
                strip = plan.strip
                if name == "BM":
                    strip = (strip[0], even_strip(wanted, strip[1]))
                yield with_parameters(replace(plan, strip=strip), {name: wanted})
    for vectors in range(1, MOST_VECTORS + 1):
        yield replace(plan, vectors=vectors, strip=(1, most_rows(features, vectors)))
    if plan.across or "BM" in sizes:
        yield replace(plan, across="" if plan.across else "BM")
    if plan.paired:
        yield replace(plan, paired=False)


def _of_sweeps(kernel: tile.KernelOp, plan: Plan) -> Iterator[Plan]:
    """Kernels of elements, rows and windows: more or fewer elements in a program, and in a
    turn of the loops inside."""
    sizes = sizes_of_steps(kernel)
    for name, block in plan.parameters.items():
        size, least = sizes.get(name), 1 if name in sizes else _LEAST_PIECE
        for wanted in (block // 2, block * 2, block // 4, block * 4):
            if wanted >= least and (size is None or wanted < 2 * size):
                yield with_parameters(
                    plan, {name: wanted if size is None else min(wanted, size)}
                )
