"""One tile kernel as one CUDA C++ kernel function.

Inside a program the operations become *sweeps*: one loop for each store, each reduction and
each value worth keeping (see `placement`), its elements dealt out to the threads of the
program; whatever else is computed inside the loop that needs it. A program has a block of
threads, or a group of lanes of a warp, so that a block runs several programs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from xdsl.ir import Block, SSAValue

from infini_ir.dialects import tile
from infini_ir.targets.c_project.expressions import Names, c_expression
from infini_ir.targets.c_project.signatures import KernelSignature
from infini_ir.targets.cuda_c.layouts import (
    Layout,
    Number,
    Spread,
    product_text,
    scaled,
    split,
    sum_of,
    times,
)
from infini_ir.targets.cuda_c.limits import LIMITS
from infini_ir.targets.cuda_c.placement import Placement
from infini_ir.targets.cuda_c.plan import Plan
from infini_ir.targets.cuda_c.scalars import is_unsigned
from infini_ir.targets.cuda_c.sources import (
    At,
    MemorySource,
    RegisterSource,
    Source,
    element_types,
)
from infini_ir.targets.cuda_c.statements import Access, Branch, Loop, Node, Step
from infini_ir.utils.errors import CompileError
from infini_ir.utils.symbolic import Dim

RESERVED = (
    "thread", "lane", "warp", "slot", "element", "program", "programs", "row", "column",
    "index_t", "threadIdx", "blockIdx", "blockDim", "gridDim", "warpSize",
)  # fmt: skip


@dataclass(frozen=True)
class SharedArray:
    """An array in shared memory, one for each program of the block."""

    name: str
    type: str
    count: int
    """Elements of one program."""


@dataclass
class KernelWriter:
    """What is known while a kernel is written; the operations' files have the rest."""

    kernel: tile.KernelOp
    plan: Plan
    signature: KernelSignature = field(init=False)
    names: Names = field(init=False)
    placement: Placement = field(init=False)
    nodes: list[Node] = field(default_factory=list)
    """Where the next step goes."""
    lines: list[str] = field(default_factory=list)
    """The step being written."""
    accesses: list[Access] = field(default_factory=list)
    shared: list[SharedArray] = field(default_factory=list)
    sources: dict[SSAValue, Source] = field(default_factory=dict)
    scalars: dict[SSAValue, str] = field(default_factory=dict)
    bounds: dict[SSAValue, tuple[Dim, Dim]] = field(default_factory=dict)
    """Grid and loop offsets: bound and step, to know where edges cannot be."""
    registers: int = 0
    """32-bit registers that kept values and accumulators take."""
    pools: dict[str, SharedArray] = field(default_factory=dict)
    """Shared arrays that several operations use in turn."""
    _memory: list[dict[object, Any]] = field(default_factory=lambda: [{}])

    def __post_init__(self) -> None:
        self.signature = KernelSignature.of(self.kernel, RESERVED)
        self.names = self.signature.symbol_names()
        for name in RESERVED:
            self.names.taken.add(name)
        self.placement = Placement(self.kernel, self.plan)

    @property
    def name(self) -> str:
        return self.kernel.sym_name.data

    # Text

    def line(self, text: str) -> None:
        self.lines.append(text)

    def local(self, type: str, text: str) -> str:
        """A constant of the step with a value; returns its name."""
        name = self.fresh("t")
        self.line(f"const {type} {name} = {text};")
        return name

    def fresh(self, wish: str) -> str:
        return self.names.fresh(wish)

    def touch(self, access: Access) -> None:
        """Note what the step being written reads or writes."""
        if access not in self.accesses:
            self.accesses.append(access)

    def step(self, body: Callable[[], None]) -> None:
        """Write a step: what `body` writes, after whatever steps it needs first."""
        outer, self.lines, self.accesses = (self.lines, self.accesses), [], []
        level = self.enter()
        body()
        self.leave(level)
        if self.lines:
            self.nodes.append(Step(self.lines, tuple(self.accesses)))
        self.lines, self.accesses = outer

    def define(self, wish: str, type: str, text: str) -> str:
        """A constant that all later steps of the block may use; literals stay as they are."""
        if is_literal(text) or text.isidentifier():
            return text
        name = self.fresh(wish)
        self.nodes.append(Step([f"const {type} {name} = {text};"]))
        return name

    def loop(self, head: str, body: Callable[[], None], swaps=()) -> None:
        """A loop of steps."""
        node = Loop(head, swaps=tuple(swaps))
        outer, self.nodes = self.nodes, node.body
        level = self.enter()
        body()
        self.leave(level)
        self.nodes = outer
        self.nodes.append(node)

    def branch(self, condition: str, body: Callable[[], None]) -> None:
        """Steps under a condition that all threads of a program agree on."""
        node = Branch(f"if ({condition})")
        outer, self.nodes = self.nodes, node.body
        level = self.enter()
        body()
        self.leave(level)
        self.nodes = outer
        self.nodes.append(node)

    # Memory of what was computed, by scope

    def enter(self) -> int:
        """Begin a scope whose computed values do not outlive it."""
        self._memory.append({})
        return len(self._memory)

    def leave(self, level: int) -> None:
        del self._memory[level - 1 :]

    def remembered(self, key: object) -> Any:
        for level in reversed(self._memory):
            if key in level:
                return level[key]
        return None

    def remember(self, key: object, value: Any) -> None:
        self._memory[-1][key] = value

    # Sizes and scalars

    def known(self, dim: Dim) -> Dim:
        """A size with the plan's tile sizes put in."""
        return dim.substitute(self.plan.substitution)

    def size(self, dim: Dim) -> Number:
        """A size: a number, or a name or a simple expression."""
        dim = self.known(dim)
        if dim.value is not None:
            return dim.value if abs(dim.value) < 1 << 31 else f"{dim.value}LL"
        if dim.name is not None:
            return self.names.symbol(dim.name)
        key = ("size", dim)
        name = self.remembered(key)
        if name is None:
            name = self.define("size", "int64_t", c_expression(dim, self.names))
            self.remember(key, name)
        return name

    def scalar(self, value: SSAValue) -> str:
        """A scalar of the kernel body, the same for all threads of a program."""
        if value not in self.scalars:
            raise CompileError(f"kernel '{self.name}' uses a scalar before its definition")
        return self.scalars[value]

    def view(self, view: SSAValue) -> str:
        return self.signature.views[list(self.kernel.views).index(view)]  # pyright: ignore

    def position(self, operand: SSAValue, at: At, dims: Sequence[int]) -> str:
        """An index operand of a gather or a scatter."""
        if operand in self.scalars:
            return self.scalars[operand]
        text = self.element(operand, at.covered(dims))
        return f"bits({text})" if is_unsigned(tile.tile_type(operand).element) else text

    def scaled_position(self, position: str, stride: Dim) -> str:
        text = scaled(position, self.size(stride))
        simple = text == position and (is_literal(text) or text.isidentifier())
        return text if simple or "*" not in position else f"({position}) * {self.size(stride)}"

    def element(self, value: SSAValue, at: At) -> str:
        return self.sources[value].at(self, at)

    # Extents

    def extents(self, value: SSAValue) -> tuple[Number, ...]:
        """How large a tile's value is: its capacity where nothing says otherwise."""
        capacity = [self.size(d) for d in tile.tile_type(value).shape]
        return tuple(
            c if e is None else e for e, c in zip(self.sized(value), capacity, strict=True)
        )

    def sized(self, value: SSAValue) -> list[Number | None]:
        """The extents that something gives; None for axes that are open."""
        op, rank = value.owner, tile.tile_type(value).rank
        if isinstance(op, tile.LoadOp):
            return list(self.access_extents(op.view, op.offsets, op.axis_list, value))
        if isinstance(op, tile.MapOp | tile.GatherOp):
            operands = op.inputs if isinstance(op, tile.MapOp) else op.positions
            merged: list[Number | None] = [None] * rank
            for operand, dims in zip(operands, op.dim_lists, strict=True):
                if isinstance(operand.type, tile.TileType):
                    for dim, extent in zip(dims, self.sized(operand), strict=True):
                        merged[dim] = extent if merged[dim] is None else merged[dim]
            return merged
        if isinstance(op, tile.ReduceOp):
            inner = self.sized(op.x)
            return [e for axis, e in enumerate(inner) if axis not in op.axis_list]
        if isinstance(op, tile.ScanOp):
            return self.sized(op.x)
        if isinstance(op, tile.DotOp):
            right = self.sized(op.rhs)
            return [*self.sized(op.lhs)[:-1], right[1 if op.transposed is None else 0]]
        if isinstance(op, tile.ForOp):
            return self.sized(op.carried[list(op.results).index(value)])  # pyright: ignore
        if isinstance(op, Block) and isinstance(loop := op.parent_op(), tile.ForOp):
            return self.sized(loop.carried[value.index - 1])  # pyright: ignore
        return [None] * rank

    def access_extents(
        self, view: SSAValue, offsets: Sequence[SSAValue], axes: Sequence[int], value: SSAValue
    ) -> list[Number]:
        """The extent of a slice: what its capacity leaves of the view from the offset on."""
        memory = tile.view_type(view)
        return [
            self._extent(memory.shape[axis], offsets[axis], capacity)
            for axis, capacity in zip(axes, tile.tile_type(value).shape, strict=True)
        ]

    def _extent(self, size: Dim, offset: SSAValue, capacity: Dim) -> Number:
        limit, total = self.known(capacity), self.known(size)
        start = self.scalar(offset)
        if start == "0" and limit is total:
            return self.size(total)
        bound, step = self.bounds.get(offset, (None, None))
        whole = limit.value == 1 or total.exact_divide(limit) is not None
        if bound is total and step is limit and whole:
            return self.size(limit)
        if start.lstrip("-").isdigit() and limit.value is not None and total.value is not None:
            return max(0, min(limit.value, total.value - int(start)))
        key = ("extent", size, start, limit)
        known = self.remembered(key)
        if known is None:
            rest = f"{self.size(total)} - {start}" if start != "0" else str(self.size(total))
            text = f"extent_of({rest}, {self.size(limit)})"
            known = self.define("extent", "int" if limit.value is not None else "int64_t", text)
            self.remember(key, known)
        return known

    # Memory

    def slice_of(
        self,
        view: SSAValue,
        offsets: Sequence[SSAValue],
        axes: Sequence[int],
        value: SSAValue | None,
    ) -> MemorySource:
        """A slice of a view as a source."""
        memory = tile.view_type(view)
        terms = [
            self.scaled_position(self.scalar(offset), stride)
            for offset, stride in zip(offsets, memory.strides, strict=True)
        ]
        key = ("base", view, tuple(terms))
        base = self.remembered(key)
        if base is None:
            base = self.define(f"{self.view(view)}_at", "index_t", sum_of(*terms))
            self.remember(key, base)
        strides = [self.size(memory.strides[axis]) for axis in axes]
        if value is not None:
            strides = self._wide(strides, [self.size(d) for d in tile.tile_type(value).shape])
        memory_name = f"global {self.view(view)}" if view in self.placement.overwritten else ""
        return MemorySource(
            self.view(view), base, tuple(strides), element_types(view)[0], memory_name
        )

    def _wide(self, strides: Sequence[Number], shape: Sequence[Number]) -> list[Number]:
        """Strides as 64-bit numbers where offsets may need them."""
        known = [s for s in strides if isinstance(s, int)]
        counts = [n for s, n in zip(strides, shape, strict=True) if isinstance(s, int)]
        reach = sum(
            (n - 1 if isinstance(n, int) else 1 << 31) * abs(s)
            for s, n in zip(known, counts, strict=True)
            if s
        )
        if reach < 1 << 31:
            return list(strides)
        return [f"{s}LL" if isinstance(s, int) and abs(s) > 1 else s for s in strides]

    def group_base(self, count: int) -> str:
        """Where a program's part of a shared array begins."""
        return "0" if self.plan.programs == 1 else f"group * {count}"

    def shared_array(self, wish: str, type: str, count: int) -> SharedArray:
        """A new array in shared memory."""
        array = SharedArray(self.fresh(wish), type, count)
        self.shared.append(array)
        self.check_shared()
        return array

    def check_shared(self) -> None:
        """Raise `CompileError` where the shared arrays do not fit."""
        wanted = self.shared_bytes()
        if wanted > LIMITS.shared_bytes:
            raise CompileError(
                f"kernel '{self.name}' wants {wanted} bytes of shared memory (for "
                f"{', '.join(a.name for a in self.shared)}), a block has "
                f"{LIMITS.shared_bytes}; give it smaller tiles"
            )

    def shared_bytes(self) -> int:
        """Bytes of all shared arrays of a block, each aligned to 16."""
        return sum(
            -(-a.count * self.plan.programs * item_bytes(a.type) // 16) * 16
            for a in self.shared
        )

    def pooled(self, wish: str, type: str, count: int) -> SharedArray:
        """An array that other operations use too, at other times; it grows as needed."""
        key = f"{wish}/{type}"
        old = self.pools.get(key)
        if old is None:
            self.pools[key] = self.shared_array(wish, type, count)
        elif old.count < count:
            grown = SharedArray(old.name, type, count)
            self.shared[self.shared.index(old)] = grown
            self.pools[key] = grown
            self.check_shared()
        return self.pools[key]

    def register_array(self, wish: str, type: str, layout: Layout) -> RegisterSource:
        """A new array in registers, declared in the current block of steps."""
        name = self.fresh(wish)
        self.nodes.append(Step([f"{type} {name}[{layout.slots}] = {{}};"]))
        self.count_registers(layout.slots * max(4, item_bytes(type)) // 4)
        return RegisterSource(name, layout)

    def count_registers(self, count: int) -> None:
        self.registers += count

    def shared_tile(self, wish: str, value: SSAValue) -> MemorySource:
        """Shared memory for a tile, its axes in the order in which threads take them."""
        shape = self.placement.known_shape(value)
        if shape is None:
            raise CompileError(
                f"kernel '{self.name}' keeps a tile of unknown size "
                f"({tile.tile_type(value)}) in shared memory; run tile-split-axis first"
            )
        order = list(self.placement.order(value))
        strides, pitch = [0] * len(shape), 1
        for axis in reversed(order):
            strides[axis] = pitch
            # One more than a power of two, so that columns lie in different banks.
            odd = axis == order[-1] and len(order) > 1 and shape[axis] % 2 == 0
            pitch *= shape[axis] + odd
        type = element_types(value)[0]
        array = self.shared_array(wish, type, pitch)
        return MemorySource(
            array.name, self.group_base(array.count), tuple(strides), type, array.name
        )

    # Sweeps

    def sweep(
        self,
        layout: Layout | None,
        extents: Sequence[Number],
        body: Callable[[At], None],
        *,
        shape: Sequence[Number] = (),
        order: Sequence[int] = (),
        registers: bool = False,
        first: Callable[[str], None] | None = None,
    ) -> None:
        """
        Lines of a loop over the elements of a tile, each taken by one thread.

        `registers`: whether it touches arrays in registers, so that slots must be known.
        Otherwise the loop ends where the extent does. `first` is written for every slot,
        also where there is no element.
        """
        if layout is not None and (registers or not isinstance(layout, Spread)):
            head, point, slot, conditions = layout.open()
            limits = layout.shape
        else:
            head, point, conditions, limits = self._open_loose(
                layout.shape if layout is not None else shape, order, extents
            )
            slot = ""
        conditions = list(conditions)
        for coordinate, extent, limit in zip(point, extents, limits, strict=True):
            if extent != limit and coordinate != "0":
                conditions.append(f"{coordinate} < {extent}")
            elif extent != limit:
                conditions.append(f"{extent} > 0")
        for text in head:
            self.line(text)
        if first is not None:
            first(slot)
        if conditions:
            self.line(f"if ({' && '.join(conditions)}) {{")
        level = self.enter()
        body(At(tuple(point), layout, slot))
        self.leave(level)
        if conditions:
            self.line("}")
        if head:
            self.line("}")

    def _open_loose(
        self, shape: Sequence[Number], order: Sequence[int], extents: Sequence[Number]
    ) -> tuple[list[str], list[str], list[str], Sequence[Number]]:
        """A loop without slots. The slowest axis ends at its extent; where a capacity is not
        known, all axes do."""
        order = order or range(len(shape))
        if not all(isinstance(n, int) for n in shape):
            shape = extents
        axes = [axis for axis in order if shape[axis] != 1]
        if not axes:
            return self._single(shape)
        limits = [extents[a] if a == axes[0] else shape[a] for a in range(len(shape))]
        count = product_text([limits[axis] for axis in axes])
        threads = self.plan.lanes
        wide = any(isinstance(n, str) for n in shape)
        type = "int64_t" if wide else "int"
        known = [n for n in limits if isinstance(n, int)]
        if len(known) == len(limits) and times(known) <= threads:
            condition = [f"element < {count}"] if times(known) < threads else []
            coordinates, more = split("element", limits, order)
            return ["{", "const int element = thread;", *more], coordinates, condition, limits
        head = [f"for ({type} element = thread; element < {count}; element += {threads}) {{"]
        coordinates, more = split("element", limits, order)
        more = [m.replace("const int ", f"const {type} ") for m in more]
        return head + more, coordinates, [], limits

    def _single(self, shape: Sequence[Number]):
        coordinates = ["0"] * len(shape)
        if self.plan.lanes == 1:
            return ["{"], coordinates, [], shape
        return ["{"], coordinates, ["thread == 0"], shape


def is_literal(text: str) -> bool:
    """Whether an expression is a plain number."""
    return text.lstrip("-").isdigit()


_BYTES = {"half_t": 2, "bf16_t": 2, "float": 4, "double": 8, "bool": 1, "index_t": 8}


def item_bytes(type: str) -> int:
    """Bytes of a C++ scalar type."""
    return _BYTES.get(type) or int("".join(c for c in type if c.isdigit())) // 8
