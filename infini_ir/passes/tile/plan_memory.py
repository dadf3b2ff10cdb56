"""One arena for all scratch memory: values whose lives do not meet share their bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation, SSAValue
from xdsl.passes import ModulePass

from infini_ir.dialects.dims import DimsAttr
from infini_ir.dialects.tile import KernelOp, program, view_type
from infini_ir.passes.tile.in_place import overwritable, whole_allocation
from infini_ir.passes.tile.regions import regions_of, root_of
from infini_ir.utils.dtypes import item_size
from infini_ir.utils.symbolic import Dim, maximum

ALIGNMENT = 64

Pairs = list[tuple[int, int]]


@dataclass
class Life:
    """An allocation and the steps of the program at which it is in use."""

    op: program.AllocOp
    size: Dim
    first: int = -1
    last: int = -1
    heirs: list[tuple[Life, int]] = field(default_factory=list)
    """Allocations that may begin where this one is, at the step where this one ends."""

    def bequeaths(self, other: Life) -> bool:
        """Whether the other may take this one's place: it is last used where the other is
        first, by a kernel that may overwrite it."""
        return any(
            heir is other and step == self.last == other.first for heir, step in self.heirs
        )

    def meets(self, other: Life) -> bool:
        return self.first <= other.last and other.first <= self.last

    def touch(self, step: int) -> None:
        self.first = step if self.first < 0 else min(self.first, step)
        self.last = max(self.last, step)


@dataclass(frozen=True)
class PlanMemoryPass(ModulePass):
    """
    Gives every allocation an offset in the arena, and the program its `arena` size.

    Known sizes are placed largest first at the lowest offset that is free during their
    life (Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference",
    2020, greedy by size). Symbolic ones then share slots as large as the largest in them.
    An allocation outside a loop that is used inside it lives through the whole loop.
    The result of an elementwise kernel takes the place of an operand that ends there.
    """

    name = "tile-plan-memory"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        kernels = [k for k in op.body.block.ops if isinstance(k, KernelOp)]
        pairs = {kernel.sym_name.data: overwritable(kernel) for kernel in kernels}
        for entry in op.body.block.ops:
            if isinstance(entry, program.ProgramOp):
                total = _place(_lives(entry, pairs))
                entry.attributes["arena"] = DimsAttr.of([total])


def _lives(entry: program.ProgramOp, pairs: Mapping[str, Pairs]) -> list[Life]:
    """When each allocation is used; `pairs`: what kernels overwrite (`overwritable`)."""
    lives: dict[SSAValue, Life] = {}
    depth_of: dict[SSAValue, Block] = {}
    step = 0

    def use(value: SSAValue, at: int, loops: list[tuple[Block, list[SSAValue]]]) -> None:
        root = root_of(value)
        life = lives.get(root)
        if life is None:
            return
        life.touch(at)
        for block, used in loops:
            if not _inside(depth_of[root], block):
                used.append(root)

    def visit(block: Block, loops: list[tuple[Block, list[SSAValue]]]) -> None:
        nonlocal step
        for op in block.ops:
            step += 1
            if isinstance(op, program.AllocOp):
                if op.dynamic is None:
                    type = view_type(op.out)
                    lives[op.out] = Life(op, type.element_count() * item_size(type.dtype))
                    depth_of[op.out] = block
                continue
            if isinstance(op, program.AliasOp):
                continue
            for operand in op.operands:
                use(operand, step, loops)
            if isinstance(op, program.LaunchOp):
                _note_heirs(op, pairs[op.kernel.string_value()], lives, step)
            begin = step
            used: list[SSAValue] = []
            for inner in regions_of(op):
                visit(inner, [*loops, (inner, used)])
                step += 1
            # Through all regions: those of a while follow each other again and again.
            for root in used:
                lives[root].touch(begin)
                lives[root].touch(step)
            for operand in op.operands if op.regions else ():
                # A flag is read again after its region.
                use(operand, step, loops)

    visit(entry.body.block, [])
    for life in lives.values():
        if life.first < 0:
            life.op.properties["offset"] = DimsAttr.of([0])
    return [life for life in lives.values() if life.first >= 0]


def _note_heirs(
    launch: program.LaunchOp, pairs: Pairs, lives: dict[SSAValue, Life], step: int
) -> None:
    for read, written in pairs:
        old, new = whole_allocation(launch.views[read]), whole_allocation(launch.views[written])
        if old is None or new is None or old not in lives or new not in lives:
            continue
        # The operand may be given more than once, and shown another way.
        shown = [i for i, view in enumerate(launch.views) if root_of(view) is old]
        if all((i, written) in pairs and whole_allocation(launch.views[i]) for i in shown):
            lives[old].heirs.append((lives[new], step))


def _inside(block: Block, outer: Block) -> bool:
    """Whether a block is `outer` or nested in it."""
    current: Block | None = block
    while current is not None:
        if current is outer:
            return True
        parent: Operation | None = current.parent_op()
        current = parent.parent if parent is not None else None
    return False


def _align(size: Dim) -> Dim:
    if size.value is not None:
        return Dim.of(-(-size.value // ALIGNMENT) * ALIGNMENT)
    return (size + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT


def _place(lives: list[Life]) -> Dim:
    """Set the offsets; the bytes of the arena."""
    known = sorted(
        (life for life in lives if life.size.value is not None),
        key=lambda x: -(x.size.value or 0),
    )
    placed: list[tuple[int, int, Life]] = []
    top = 0
    for life in known:
        size = _align(life.size).value or 0
        neighbours = sorted((p for p in placed if p[2].meets(life)), key=lambda p: p[0])
        offset = _inherited(life, size, neighbours)
        if offset is None:
            offset = 0
            for begin, end, _ in neighbours:
                if offset + size <= begin:
                    break
                offset = max(offset, end)
        placed.append((offset, offset + size, life))
        life.op.properties["offset"] = DimsAttr.of([offset])
        top = max(top, offset + size)
    return _place_symbolic([x for x in lives if x.size.value is None], Dim.of(top))


def _inherited(life: Life, size: int, neighbours: list[tuple[int, int, Life]]) -> int | None:
    """The place of a neighbour that this one may overwrite, or that may overwrite this."""
    for begin, end, other in neighbours:
        if end - begin != size or not (other.bequeaths(life) or life.bequeaths(other)):
            continue
        rest = [n for n in neighbours if n[2] is not other]
        if all(end <= n[0] or n[1] <= begin for n in rest):
            return begin
    return None


def _place_symbolic(lives: list[Life], begin: Dim) -> Dim:
    slots: list[tuple[Dim, list[Life]]] = []
    for life in sorted(lives, key=lambda x: x.first):
        free = [
            i for i, (_, users) in enumerate(slots) if not any(u.meets(life) for u in users)
        ]
        size = _align(life.size)
        same = [i for i in free if slots[i][0] is size]
        chosen = (same or free or [len(slots)])[0]
        if chosen == len(slots):
            slots.append((size, [life]))
        else:
            slots[chosen] = (maximum(slots[chosen][0], size), [*slots[chosen][1], life])
    offset = begin
    for size, users in slots:
        for life in users:
            life.op.properties["offset"] = DimsAttr.of([offset])
        offset = offset + size
    return offset
