"""Choosing tile sizes, register tiles and loop order for each kernel: the pass `cpu-plan`.

The limits are those of the machine (`CpuFeatures`): vector width, registers, cache sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, UnitAttr
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass

from infini_ir.dialects import tile
from infini_ir.dialects.tile import program
from infini_ir.targets.cpu.features import CpuFeatures, host, named
from infini_ir.targets.cpu.plans import packing
from infini_ir.targets.cpu.plans.amx_plan import plan_amx
from infini_ir.targets.cpu.plans.contraction_plan import plan_contraction, register_tile
from infini_ir.targets.cpu.plans.cost import kernel_nanoseconds
from infini_ir.targets.cpu.plans.grouped_lanes_plan import plan_few_rows, plan_lanes
from infini_ir.targets.cpu.plans.plan import Plan
from infini_ir.targets.cpu.plans.product_sizes import PROGRAMS
from infini_ir.targets.cpu.plans.round_factors import multiplies_in_tiles
from infini_ir.targets.cpu.plans.row_blocks import even_strip
from infini_ir.targets.cpu.plans.tile_blocks import plan_tiles
from infini_ir.targets.cpu.products import contraction, equal_products
from infini_ir.targets.cpu.products.few_rows import FEW_ROWS
from infini_ir.utils.symbolic import PARAMETERS, Dim, product

SERIAL_NANOSECONDS = 3000
"""Work of a kernel below which the barriers cost more than a second worker saves."""

SWEEP_ELEMENTS = 4096
"""Elements of a program of an elementwise kernel: long loops, and enough programs to share."""

TRANSPOSED_COLUMNS = 64
"""Columns of a program that transposes: runs of a few lines on both sides, and few pages."""

LONG_LINE = 256
"""Results of a line below which a program computes all of it where it transposes windows."""

LOOP_ELEMENTS = 1024
"""Elements of a chunk of a row that a program takes in a loop: it stays in the L1 cache."""

FEW_KEYS = 256
"""Keys of a block where queries are few."""

FEW_VECTORS = 8
"""Vectors of values in a register tile where queries are few."""

FEW_SUMS = 24
"""Vectors of sums in that register tile."""

LOOP_ROWS = 16
"""Rows that a program reduces at once into the sums of columns: so many streams of loads."""


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
        weights = _weights(op)
        for name, kernel in kernels.items():
            plan = plan_kernel(kernel, features, weights.get(name, frozenset()))
            kernel.properties["plan"] = plan.attribute()
        for launch in op.walk():
            if isinstance(launch, program.LaunchOp):
                kernel = kernels[launch.kernel.string_value()]
                if kernel_nanoseconds(kernel, features) < SERIAL_NANOSECONDS:
                    launch.properties["serial"] = UnitAttr()


def _weights(module: ModuleOp) -> dict[str, frozenset[int]]:
    """By names of kernels, the numbers of those of their views that are weights always."""
    found: dict[str, frozenset[int]] = {}
    for launch in module.walk():
        if isinstance(launch, program.LaunchOp):
            name = launch.kernel.string_value()
            here = frozenset(
                i for i, v in enumerate(launch.views) if isinstance(v.owner, program.WeightOp)
            )
            found[name] = found.get(name, here) & here
    return found


def plan_kernel(
    kernel: tile.KernelOp, features: CpuFeatures, weights: frozenset[int] = frozenset()
) -> Plan:
    """The plan of one kernel, of whose views those of some numbers are weights."""
    nests = [
        nest
        for op in kernel.body.block.ops
        if isinstance(op, tile.ForOp) and (nest := contraction.match(op)) is not None
    ]
    if nests:
        nest = nests[0]
        plan = (
            plan_few_rows(kernel, nest, features)
            or plan_amx(kernel, nest, features, packing.packable_view(kernel) in weights)
            or plan_lanes(kernel, nest, features)
            or plan_contraction(kernel, nest, features)
        )
        return _with_steps(plan, nest)
    if (products := equal_products.in_kernel(kernel)) is not None:
        return plan_tiles(kernel, products, features)
    if any(isinstance(op, tile.DotOp) for op in kernel.body.walk()):
        return _plan_attention(kernel, features)
    return _plan_sweep(kernel)


def _with_steps(plan: Plan, nest: contraction.Nest) -> Plan:
    """The plan with steps of all loops over k: a pass may have cut an axis by another
    parameter than that of products; nests go through all of it whatever the step."""
    steps = {name for loop in nest.loops for name in loop.step_size.symbols()}
    missing = steps & set(PARAMETERS) - set(plan.parameters)
    if not missing:
        return plan
    depth = plan.parameters.get("BK", 1)
    return replace(plan, parameters={**plan.parameters, **dict.fromkeys(missing, depth)})


def _known(dim: Dim, default: int) -> int:
    return dim.value if dim.value is not None else default


def _plan_sweep(kernel: tile.KernelOp) -> Plan:
    """Elementwise and row kernels: whole rows where they are short, pieces where long."""
    sizes = dict(zip((str(s) for s in kernel.steps.data), kernel.bounds.data, strict=True))
    columns = _known(sizes["BC"], 1 << 20) if "BC" in sizes else 1
    total = _known(product(kernel.bounds.data), 1 << 20)
    piece = max(64, min(SWEEP_ELEMENTS, total // PROGRAMS))
    width = columns if columns <= 2 * piece else max(64, piece // 64 * 64)
    if _transposes(kernel):
        width = min(columns, TRANSPOSED_COLUMNS)
    rows = _known(sizes["BR"], 1 << 20) if "BR" in sizes else 1
    height = max(1, min(rows, piece // max(1, width)))
    parameters = {
        "BC": max(1, width) if "BC" in sizes else LOOP_ELEMENTS,
        "BR": height if "BR" in sizes else LOOP_ROWS,
        "BW": 1,
        "BH": 1,
        "BM": 1,
        "BN": 64,
        "BK": 64,
    }
    if "BW" in sizes:
        parameters["BW"] = max(1, min(_known(sizes["BW"], 8), 8))
        if _turns(kernel) and _known(sizes["BW"], LONG_LINE) < LONG_LINE:
            parameters["BW"] = max(1, _known(sizes["BW"], 1))
            if columns % TRANSPOSED_COLUMNS == 0:
                parameters["BC"] = TRANSPOSED_COLUMNS
    if "BH" in sizes:
        parameters["BH"] = 1
    if "BM" in sizes:
        parameters["BM"] = 1
    used = {
        name: max(1, value) for name, value in parameters.items() if name in mentioned(kernel)
    }
    return Plan(used, reason=f"programs of about {piece} elements")


def _transposes(kernel: tile.KernelOp) -> bool:
    """Whether values lie along the last but one axis of the grid that are stored along the
    last one."""
    return len(kernel.offsets) > 1 and _lie_across(
        kernel, kernel.offsets[-2], kernel.offsets[-1]
    )


def _turns(kernel: tile.KernelOp) -> bool:
    """Whether values lie along the last axis of the grid that are stored along the one
    before."""
    return len(kernel.offsets) > 1 and _lie_across(
        kernel, kernel.offsets[-1], kernel.offsets[-2]
    )


def _lie_across(kernel: tile.KernelOp, loaded: SSAValue, stored: SSAValue) -> bool:
    read = [(op.view, op.offsets) for op in kernel.body.walk() if isinstance(op, tile.LoadOp)]
    written = [
        (op.view, op.offsets) for op in kernel.body.walk() if isinstance(op, tile.StoreOp)
    ]
    return any(_moves(*access, stored) for access in written) and any(
        _moves(*access, loaded) and not _moves(*access, stored) for access in read
    )


def _moves(view: SSAValue, offsets: Sequence[SSAValue], offset: SSAValue) -> bool:
    """Whether an access moves along an axis of the grid from element to element."""
    strides = tile.view_type(view).strides
    pairs = zip(offsets, strides, strict=True)
    return any(o is offset and stride.value == 1 for o, stride in pairs)


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


def _plan_attention(kernel: tile.KernelOp, features: CpuFeatures) -> Plan:
    """Products of tiles in scratch: query rows and key columns that fit the L2 cache."""
    sizes = dict(zip((str(s) for s in kernel.steps.data), kernel.bounds.data, strict=True))
    rows = _known(sizes["BM"], 64) if "BM" in sizes else 1
    limit, vectors = register_tile(features, features.vector_bytes // 4, None)
    lanes = features.vector_bytes // 4
    block = min(-(-rows // lanes) * lanes, 4 * lanes)
    grows = _grows(kernel)
    # Half of a block on the diagonal is lost where later keys are not seen.
    keys = block if grows else 128
    parameters = {"BM": block, "BN": keys, "BK": 128, "BR": 1, "BC": 64, "BH": 1, "BW": 1}
    reason = "queries in lanes; scores of one block stay in L2"
    if multiplies_in_tiles(kernel, features):
        reason = "queries in lanes, products on tiles; scores of one block stay in L2"
        return Plan(parameters, unit="amx", across="BM", paired=grows, reason=reason)
    if rows <= FEW_ROWS and features.has_avx512 and _has_rows_along_k(kernel):
        return _plan_few_queries(kernel, rows, lanes)
    return Plan(parameters, (1, limit), vectors, across="BM", paired=grows, reason=reason)


def _has_rows_along_k(kernel: tile.KernelOp) -> bool:
    dots = (op for op in kernel.body.walk() if isinstance(op, tile.DotOp))
    return any(dot.transposed is not None for dot in dots)


def _plan_few_queries(kernel: tile.KernelOp, rows: int, lanes: int) -> Plan:
    """Rows that would leave most lanes empty: keys in lanes, and the register tile as wide as
    a row of values, so that these are read in order."""
    dots = [op for op in kernel.body.walk() if isinstance(op, tile.DotOp)]
    widths = [tile.tile_type(op.out).shape[1].value or 1 for op in dots]
    vectors = max(1, min(-(-max(widths) // lanes), FEW_VECTORS))
    strip = even_strip(rows, max(1, FEW_SUMS // vectors))
    parameters = {"BM": rows, "BN": FEW_KEYS, "BK": 128, "BR": 1, "BC": 64, "BH": 1, "BW": 1}
    reason = "keys in lanes, each read once and in order"
    return Plan(parameters, (1, strip), vectors, reason=reason)


def _grows(kernel: tile.KernelOp) -> bool:
    """Whether a loop goes the further, the later the program on the last axis of the grid."""
    last = kernel.offsets[-1]

    def depends(value: SSAValue) -> bool:
        owner = value.owner
        return value is last or (
            isinstance(owner, Operation) and any(depends(v) for v in owner.operands)
        )

    return any(isinstance(op, tile.ForOp) and depends(op.to) for op in kernel.body.block.ops)
