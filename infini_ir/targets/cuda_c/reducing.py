"""Reductions: by all threads of a program, by groups of lanes, or by single threads."""

from __future__ import annotations

from collections.abc import Callable

from infini_ir.dialects import tile
from infini_ir.targets.cuda_c.keeping import keep, uses_registers
from infini_ir.targets.cuda_c.layouts import Number, Spread, split, sum_of, times
from infini_ir.targets.cuda_c.limits import LIMITS
from infini_ir.targets.cuda_c.placement import is_identity, power_of_two
from infini_ir.targets.cuda_c.reductions import Combiner
from infini_ir.targets.cuda_c.sources import At, ReduceSource, ScalarSource
from infini_ir.targets.cuda_c.statements import Access
from infini_ir.targets.cuda_c.writer import KernelWriter

SHORT = 16
"""Length of a reduction that one thread does as well as several."""


def reduce(k: KernelWriter, op: tile.ReduceOp) -> None:
    """A `tile.reduce`."""
    if tile.tile_type(op.out).rank == 0:
        _reduce_all(k, op)
        return
    k.sources[op.out] = ReduceSource(op, k.extents(op.x))
    shape = k.placement.known_shape(op.out)
    if shape is None:
        return
    length = times(k.placement.known_shape(op.x) or (1 << 20,)) // max(1, times(shape))
    lanes = min(
        k.plan.lanes // power_of_two(times(shape)) or 1, LIMITS.warp, power_of_two(length)
    )
    if length <= SHORT and times(shape) * 2 >= k.plan.lanes:
        lanes = 1
    if lanes == 1 and _once(k, op):
        return
    parts = k.plan.lanes // power_of_two(times(shape))
    if lanes == 1:
        keep(k, [op.out], op.out.name_hint or "reduced")
    elif k.placement.order(op.x)[-1] not in op.axis_list and parts > 1 and times(shape) >= 8:
        _reduce_by_columns(k, op, shape, min(parts, power_of_two(length)))
    else:
        _reduce_in_groups(k, op, shape, lanes)


def _once(k: KernelWriter, op: tile.ReduceOp) -> bool:
    """Whether each reduced element is needed once, by a store or a map that is stored."""
    value = op.out
    while True:
        users = [use.operation for use in value.uses]
        if len(users) != 1 or users[0].parent is not op.parent:
            return False
        user = users[0]
        if isinstance(user, tile.StoreOp):
            return True
        if not isinstance(user, tile.MapOp) or len(user.outs) > 1 or k.placement.keeps(user):
            return False
        dims = user.dim_lists[list(user.inputs).index(value)]
        if not is_identity(value, dims, user.outs[0]):
            return False
        value = user.outs[0]


def _reduce_all(k: KernelWriter, op: tile.ReduceOp) -> None:
    """To one value, which all threads of the program get."""
    combiner = Combiner(op.kind.data, tile.tile_type(op.x).element)
    partial = k.fresh("partial")
    extents = k.extents(op.x)
    layout = k.placement.layout(op.x)
    registers = uses_registers(k, op.x)
    if not registers and isinstance(layout, Spread):
        layout = Spread(layout.shape, k.placement.order(op.x), layout.threads)

    def accumulate(at: At) -> None:
        value = combiner.read(k.element(op.x, at))
        k.line(f"{partial} = {combiner.apply(partial, value)};")

    def body() -> None:
        k.line(f"{combiner.type} {partial} = {combiner.neutral()};")
        k.sweep(
            layout,
            extents,
            accumulate,
            shape=[k.size(d) for d in tile.tile_type(op.x).shape],
            order=k.placement.order(op.x),
            registers=registers,
        )

    names: list[str] = []
    if k.plan.lanes <= LIMITS.warp:

        def in_lanes() -> None:
            body()
            text = partial
            if k.plan.lanes > 1:
                text = f"reduce_lanes<{combiner.functor}, {k.plan.lanes}>({partial})"
            names.append(k.local(combiner.scalar, combiner.give(text)))

        k.step(in_lanes)
    else:
        names.append(_across_warps(k, combiner, partial, body))
    k.sources[op.out] = ScalarSource(names[0])


def _across_warps(k: KernelWriter, combiner: Combiner, partial: str, body) -> str:
    """The warps' results go through shared memory, in two arrays by turns."""
    count = k.plan.lanes // LIMITS.warp
    number = k.__dict__.setdefault("reductions", 0)
    k.__dict__["reductions"] = number + 1
    array = k.pooled(f"partials_{number % 2}", combiner.type, count)

    def in_warp() -> None:
        body()
        k.line(f"{partial} = reduce_lanes<{combiner.functor}, WARP>({partial});")
        k.line(f"if (thread % WARP == 0) {array.name}[thread / WARP] = {partial};")
        k.touch(Access(array.name, True))

    names: list[str] = []

    def together() -> None:
        k.touch(Access(array.name, False))
        total = k.fresh("total")
        k.line(f"{combiner.type} {total} = {array.name}[0];")
        k.line("#pragma unroll")
        k.line(f"for (int w = 1; w < {k.plan.lanes} / WARP; ++w) {{")
        k.line(f"const {combiner.type} other = {array.name}[w];")
        k.line(f"{total} = {combiner.apply(total, 'other')};")
        k.line("}")
        given = combiner.give(total)
        names.append(given if given == total else k.local(combiner.scalar, given))

    k.step(in_warp)
    k.step(together)
    return names[0]


def _reduce_in_groups(
    k: KernelWriter, op: tile.ReduceOp, shape: tuple[int, ...], lanes: int
) -> None:
    """Each element by a few neighbouring lanes, then together by shuffles."""
    combiner = Combiner(op.kind.data, tile.tile_type(op.x).element)
    memory = k.shared_tile(op.out.name_hint or "reduced", op.out)
    extents = k.extents(op.x)
    kept = [axis for axis in range(len(extents)) if axis not in op.axis_list]
    count, groups = times(shape), k.plan.lanes // lanes

    def body() -> None:
        number = "thread" if lanes == 1 else f"thread / {lanes}"
        looped = count > groups
        k.line(f"for (int first = 0; first < {count}; first += {groups}) {{" if looped else "{")
        k.line(f"const int element = {sum_of('first' if looped else '0', number)};")
        point, lines = split("element", shape, range(len(shape)))
        for text in lines:
            k.line(text)
        conditions = [] if count % groups == 0 else [f"element < {count}"]
        for coordinate, axis, limit in zip(point, kept, shape, strict=True):
            if extents[axis] != limit:
                conditions.append(f"{coordinate} < {extents[axis]}")
        k.line(f"const bool inside = {' && '.join(conditions) or 'true'};")
        total = k.fresh("total")
        k.line(f"{combiner.type} {total} = {combiner.neutral()};")
        k.line("if (inside) {")
        _own_part(
            k,
            op,
            combiner,
            total,
            dict(zip(kept, point, strict=True)),
            extents,
            lanes,
            f"thread % {lanes}",
        )
        k.line("}")
        k.line(f"{total} = reduce_lanes<{combiner.functor}, {lanes}>({total});")
        k.line(f"if (inside && thread % {lanes} == 0) {{")
        k.touch(Access(memory.memory, True))
        memory.store(k, At(tuple(point)), combiner.give(total))
        k.line("}")
        k.line("}")

    k.step(body)
    k.sources[op.out] = memory


def _reduce_by_columns(
    k: KernelWriter, op: tile.ReduceOp, shape: tuple[int, ...], parts: int
) -> None:
    """Where neighbours in memory are kept apart, neighbouring threads take neighbouring
    elements, and the parts of an element meet in shared memory."""
    combiner = Combiner(op.kind.data, tile.tile_type(op.x).element)
    memory = k.shared_tile(op.out.name_hint or "reduced", op.out)
    extents = k.extents(op.x)
    kept = [axis for axis in range(len(extents)) if axis not in op.axis_list]
    count, width = times(shape), power_of_two(times(shape))
    array = k.shared_array("parts", combiner.type, count * parts)
    base = k.group_base(array.count)
    # The kept axes in the order of memory, so that the fastest is that of the threads.
    order = [kept.index(axis) for axis in k.placement.order(op.x) if axis in kept]

    def columns(condition: list[str], body: ColumnBody) -> None:
        conditions = [*condition, *([f"element < {count}"] if count < width else [])]
        point, lines = split("element", shape, order)
        for coordinate, axis, limit in zip(point, kept, shape, strict=True):
            if extents[axis] != limit:
                conditions.append(f"{coordinate} < {extents[axis]}")
        _column_lines(k, combiner, width, point, lines, conditions, body)

    limited = [f"part < {parts}"] if parts * width < k.plan.lanes else []

    def partial(point: list[str], total: str) -> None:
        axes = dict(zip(kept, point, strict=True))
        _own_part(k, op, combiner, total, axes, extents, parts, "part")
        k.line(f"{array.name}[{sum_of(base, f'part * {count}', 'element')}] = {total};")
        k.touch(Access(array.name, True))

    def together(point: list[str], total: str) -> None:
        k.line(f"for (int p = 0; p < {parts}; ++p) {{")
        place = sum_of(base, f"p * {count}", "element")
        k.line(f"const {combiner.type} other = {array.name}[{place}];")
        k.line(f"{total} = {combiner.apply(total, 'other')};")
        k.line("}")
        k.touch(Access(array.name, False))
        k.touch(Access(memory.memory, True))
        memory.store(k, At(tuple(point)), combiner.give(total))

    k.step(lambda: columns(limited, partial))
    k.step(lambda: columns(["part == 0"], together))
    k.sources[op.out] = memory


ColumnBody = Callable[[list[str], str], None]
"""Lines for an element, given its coordinates and the variable of its total."""


def _column_lines(
    k: KernelWriter,
    combiner: Combiner,
    width: int,
    point: list[str],
    lines: list[str],
    conditions: list[str],
    body: ColumnBody,
) -> None:
    """A thread's element and part of it, and what is done with them."""
    k.line("{")
    k.line(f"const int element = thread % {width};")
    k.line(f"const int part = thread / {width};")
    for text in lines:
        k.line(text)
    k.line(f"if ({' && '.join(conditions)}) {{" if conditions else "{")
    total = k.fresh("total")
    k.line(f"{combiner.type} {total} = {combiner.neutral()};")
    body(point, total)
    k.line("}")
    k.line("}")


def _own_part(
    k: KernelWriter,
    op: tile.ReduceOp,
    combiner: Combiner,
    total: str,
    point: dict[int, str],
    extents: tuple[Number, ...],
    lanes: int,
    part: str,
) -> None:
    """One thread's part of a reduction: every so manieth along the fastest reduced axis."""
    order = k.placement.order(op.x)
    shared = max(op.axis_list, key=lambda axis: (extents[axis] != 1, order.index(axis)))
    level = k.enter()
    for axis in op.axis_list:
        name = k.fresh("r")
        begin, step = ("0", f"++{name}")
        if axis == shared:
            begin, step = part, f"{name} += {lanes}"
        type = "int" if isinstance(extents[axis], int) else "int64_t"
        k.line(f"for ({type} {name} = {begin}; {name} < {extents[axis]}; {step}) {{")
        point[axis] = name
    value = k.element(op.x, At(tuple(point[a] for a in range(len(extents)))))
    k.line(f"{total} = {combiner.apply(total, combiner.read(value))};")
    for _ in op.axis_list:
        k.line("}")
    k.leave(level)
