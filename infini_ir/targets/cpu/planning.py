"""Choosing tile sizes, register tiles and loop order for each kernel: the pass `cpu-plan`.

The limits are those of the machine (`CpuFeatures`): vector width, registers, cache sizes.
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, UnitAttr
from xdsl.passes import ModulePass

from infini_ir.dialects import tile
from infini_ir.dialects.tile import program
from infini_ir.targets.cpu import contraction
from infini_ir.targets.cpu.cost import kernel_nanoseconds
from infini_ir.targets.cpu.features import CpuFeatures, host, named
from infini_ir.targets.cpu.plan import Plan
from infini_ir.utils.dtypes import item_size
from infini_ir.utils.symbolic import PARAMETERS, Dim, product

SERIAL_NANOSECONDS = 3000
"""Work of a kernel below which the barriers cost more than a second worker saves."""

SWEEP_ELEMENTS = 4096
"""Elements of a program of an elementwise kernel: long loops, and enough programs to share."""

PROGRAMS = 16
"""Programs that a large kernel should have at least, so that workers end together."""


@dataclass(frozen=True)
class CpuPlanPass(ModulePass):
    """
    Fixes every kernel's parameters for a CPU, as its `plan` attribute, with the reason.

    `cpu` names the machine as `infini compile --cpu` does; "native" is this one.
    """

    name = "cpu-plan"
    cpu: str = "native"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        features = host() if self.cpu == "native" else named(self.cpu)
        kernels = {
            k.sym_name.data: k for k in op.body.block.ops if isinstance(k, tile.KernelOp)
        }
        for kernel in kernels.values():
            kernel.properties["plan"] = plan_kernel(kernel, features).attribute()
        for launch in op.walk():
            if isinstance(launch, program.LaunchOp):
                kernel = kernels[launch.kernel.string_value()]
                if kernel_nanoseconds(kernel) < SERIAL_NANOSECONDS:
                    launch.properties["serial"] = UnitAttr()


def plan_kernel(kernel: tile.KernelOp, features: CpuFeatures) -> Plan:
    """The plan of one kernel."""
    nests = [
        nest
        for op in kernel.body.block.ops
        if isinstance(op, tile.ForOp) and (nest := contraction.match(op)) is not None
    ]
    if nests:
        return _plan_contraction(kernel, nests[0], features)
    if any(isinstance(op, tile.DotOp) for op in kernel.body.walk()):
        return _plan_attention(kernel, features)
    return _plan_sweep(kernel)


def _known(dim: Dim, default: int) -> int:
    return dim.value if dim.value is not None else default


def _plan_sweep(kernel: tile.KernelOp) -> Plan:
    """Elementwise and row kernels: whole rows where they are short, pieces where long."""
    sizes = dict(zip((str(s) for s in kernel.steps.data), kernel.bounds.data, strict=True))
    columns = _known(sizes["BC"], 1 << 20) if "BC" in sizes else 1
    total = _known(product(kernel.bounds.data), 1 << 20)
    piece = max(64, min(SWEEP_ELEMENTS, total // PROGRAMS))
    width = columns if columns <= 2 * piece else max(64, piece // 64 * 64)
    rows = _known(sizes["BR"], 1 << 20) if "BR" in sizes else 1
    height = max(1, min(rows, piece // max(1, width)))
    parameters = {
        "BC": max(1, width),
        "BR": height,
        "BW": 1,
        "BH": 1,
        "BM": 1,
        "BN": 64,
        "BK": 64,
    }
    if "BW" in sizes:
        parameters["BW"] = max(1, min(_known(sizes["BW"], 8), 8))
    if "BH" in sizes:
        parameters["BH"] = 1
    if "BM" in sizes:
        parameters["BM"] = 1
    used = {
        name: max(1, value) for name, value in parameters.items() if name in mentioned(kernel)
    }
    return Plan(used, reason=f"programs of about {piece} elements")


def mentioned(kernel: tile.KernelOp) -> set[str]:
    """The parameters that a kernel's steps, loops and tiles use."""
    names = {name for step in kernel.steps.data for name in step.symbols()}
    for op in kernel.body.walk():
        if isinstance(op, tile.ForOp):
            names |= op.step_size.symbols()
        for result in op.results:
            if isinstance(result.type, tile.TileType):
                names |= {name for dim in result.type.shape for name in dim.symbols()}
    return names & set(PARAMETERS)


def register_tile(features: CpuFeatures, lanes: int, columns: int | None) -> tuple[int, int]:
    """(rows, vectors) that keep the accumulators in registers."""
    if features.vector_registers >= 32:
        wide = columns is None or columns > lanes
        return (14, 2) if wide else (24, 1)
    return (6, 2) if columns is None or columns > lanes else (12, 1)


def _plan_contraction(
    kernel: tile.KernelOp, nest: contraction.Nest, features: CpuFeatures
) -> Plan:
    lhs, rhs = nest.lhs, nest.rhs
    a, b = tile.view_type(lhs.view), tile.view_type(rhs.view)
    accumulator = tile.tile_type(nest.dot.acc)
    lanes = max(1, features.vector_bytes // max(4, item_size(accumulator.dtype)))
    n_size = b.shape[rhs.axis_list[nest.column_axis]]
    row_axes = lhs.axis_list[:-1]
    row_sizes = [a.shape[axis] for axis in row_axes]
    k_size = product(b.shape).exact_divide(n_size)
    depth = _known(k_size, 1024) if k_size is not None else 1024
    limit, vectors = register_tile(features, lanes, n_size.value)
    strip = _strip(row_sizes, limit)
    if n_size.value is not None and n_size.value <= lanes * vectors // 2:
        vectors = 1
    panels = 1
    if strip[0] * strip[1] * 2 <= limit:
        panels = max(1, min(4, limit // (2 * strip[0] * strip[1])))
    width = lanes * vectors
    parameters, order, reason = _blocks(
        kernel, nest, row_sizes, n_size, depth, width * panels, strip, features
    )
    return Plan(parameters, strip, vectors, panels, order, reason)


def _strip(row_sizes: list[Dim], limit: int) -> tuple[int, int]:
    """Rows of the register tile along the last two row axes, even over the axis."""
    last = _known(row_sizes[-1], limit)
    if last >= limit or len(row_sizes) == 1:
        count = -(-max(1, last) // limit)
        return 1, max(1, min(limit, -(-max(1, last) // count)))
    return max(1, min(limit // max(1, last), _known(row_sizes[0], limit))), max(1, last)


def _blocks(
    kernel: tile.KernelOp,
    nest: contraction.Nest,
    row_sizes: list[Dim],
    n_size: Dim,
    depth: int,
    width: int,
    strip: tuple[int, int],
    features: CpuFeatures,
) -> tuple[dict[str, int], tuple[int, ...], str]:
    """Tile sizes and grid order: what is read again stays in the L2 cache."""
    item = item_size(tile.view_type(nest.rhs.view).dtype)
    rows = 1
    for size in row_sizes:
        rows *= _known(size, 64)
    columns = _known(n_size, 1024)
    weights = depth * columns * item
    others = [
        _known(b, 8)
        for b, s in zip(kernel.bounds.data, kernel.steps.data, strict=True)
        if s.value == 1
    ]
    outer_programs = 1
    for count in others:
        outer_programs *= max(1, count)
    half = features.l2_bytes // 2
    if weights <= half and (rows * outer_programs >= 4 * PROGRAMS or rows * 4 >= columns):
        # The whole right operand stays in L2: share the rows.
        n_block = max(width, -(-columns // width) * width)
        wanted = max(1, PROGRAMS // max(1, outer_programs))
        row_block = max(strip[0] * strip[1], -(-rows // wanted))
        reason = f"right operand of {weights} bytes stays in L2, rows are shared"
    else:
        # The right operand is read once: share the columns, all rows at once if A fits.
        row_block = (
            rows
            if rows * depth * item <= features.l2_bytes // 2
            else max(strip[0] * strip[1], features.l2_bytes // 2 // max(1, depth * item))
        )
        pieces = max(1, PROGRAMS // max(1, outer_programs))
        n_block = max(width, -(-columns // pieces) // width * width)
        reason = f"right operand of {weights} bytes is read once, columns are shared"
    parameters = {"BN": n_block, "BK": depth}
    _row_blocks(parameters, row_sizes, row_block, strip, kernel)
    return parameters, _order(kernel), reason


def _row_blocks(
    parameters: dict[str, int],
    row_sizes: list[Dim],
    row_block: int,
    strip: tuple[int, int],
    kernel: tile.KernelOp,
) -> None:
    def rounded(value: int, step: int) -> int:
        return max(step, value // step * step)

    if len(row_sizes) == 1:
        name = "BM" if any(str(s) == "BM" for s in kernel.steps.data) else "BW"
        whole = row_sizes[0].value is not None and row_block >= row_sizes[0].value
        parameters[name] = _known(row_sizes[0], 1) if whole else rounded(row_block, strip[1])
        parameters[name] = max(1, parameters[name])
        return
    width = _known(row_sizes[1], 64)
    parameters["BW"] = width if row_sizes[1].value is not None else rounded(64, strip[1])
    parameters["BH"] = rounded(max(1, row_block // max(1, width)), strip[0])


def _order(kernel: tile.KernelOp) -> tuple[int, ...]:
    return tuple(range(kernel.grid_rank))


def _plan_attention(kernel: tile.KernelOp, features: CpuFeatures) -> Plan:
    """Products of tiles in scratch: query rows and key columns that fit the L2 cache."""
    sizes = dict(zip((str(s) for s in kernel.steps.data), kernel.bounds.data, strict=True))
    rows = _known(sizes["BM"], 64) if "BM" in sizes else 1
    limit, vectors = register_tile(features, features.vector_bytes // 4, None)
    block = min(max(1, rows), 64 if rows % 64 == 0 or rows > 128 else 128)
    strip = _strip([Dim.of(block)], limit)
    parameters = {"BM": block, "BN": 128, "BK": 128, "BR": 1, "BC": 64, "BH": 1, "BW": 1}
    return Plan(parameters, strip, vectors, 1, (), "scores of one block stay in L2")
