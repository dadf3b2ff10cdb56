"""A writer of LLVM IR text: typed values, instructions, loops, constants folded as they come.

Values are scalars or vectors of `lanes` elements. Arithmetic on integers that are known is
done here, so that sizes that are constants leave no instructions behind, and known addends
are carried along (`Sum`) until an address takes them: `p[(i + 1) * 32 + j]` is 32 elements past
`p[i * 32 + j]`. Addresses that differ by constants so share one computation, and machine code
has the rest in its operands; LLVM's pass for that, loop strength reduction, finds fewer and
takes most of the time of code generation when there are many.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

FLOAT_TYPES = ("half", "bfloat", "float", "double")


@dataclass(frozen=True)
class V:
    """An LLVM value: its operand text, its scalar type and its number of lanes (1: scalar)."""

    text: str
    type: str
    lanes: int = 1
    number: int | float | None = None
    """The value, where it is a known scalar."""

    @property
    def full_type(self) -> str:
        return self.type if self.lanes == 1 else f"<{self.lanes} x {self.type}>"

    @property
    def typed(self) -> str:
        """Type and operand, as an instruction wants it."""
        return f"{self.full_type} {self.text}"

    @property
    def is_float(self) -> bool:
        return self.type in FLOAT_TYPES


class Sum(V):
    """`base + offset`, an integer of which only `offset` is known. The addition is written,
    at the place where it was asked for, when something other than a sum or an address uses it.
    """

    base: V
    offset: int
    _cell: list[str]
    """Its line among the function's, once it is written."""
    _name: str

    def __init__(self, base: V, offset: int, cell: list[str], name: str):
        for key, value in (
            ("type", base.type),
            ("lanes", 1),
            ("number", None),
            ("base", base),
            ("offset", offset),
            ("_cell", cell),
            ("_name", name),
        ):
            object.__setattr__(self, key, value)

    @property
    def text(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        if not self._cell:
            self._cell.append(
                f"  {self._name} = add nsw {self.type} {self.base.text}, {self.offset}"
            )
        return self._name


def _parts(value: V) -> tuple[V, int]:
    """A value as one that is not a known addend's sum, and that addend."""
    return (value.base, value.offset) if isinstance(value, Sum) else (value, 0)


def float_text(number: float, type: str) -> str:
    """An exact floating-point literal: LLVM reads hexadecimal ones bit by bit."""
    if type == "double":
        return f"0x{struct.unpack('<Q', struct.pack('<d', number))[0]:016X}"
    if type == "float":
        try:
            narrow = struct.unpack("<f", struct.pack("<f", number))[0]
        except OverflowError:
            narrow = float("inf") if number > 0 else float("-inf")
        return f"0x{struct.unpack('<Q', struct.pack('<d', narrow))[0]:016X}"
    if type == "half":
        return f"0xH{struct.unpack('<H', struct.pack('<e', number))[0]:04X}"
    bits = struct.unpack("<I", struct.pack("<f", number))[0]
    return f"0xR{(bits + 0x7FFF + ((bits >> 16) & 1)) >> 16 & 0xFFFF:04X}"


def integer(number: int, type: str = "i64") -> V:
    """A known integer."""
    return V(str(number), type, 1, number)


def floating(number: float, type: str = "float") -> V:
    """A known floating-point number."""
    return V(float_text(number, type), type, 1, number)


def boolean(value: bool) -> V:
    return V("true" if value else "false", "i1", 1, int(value))


ZERO = integer(0)
ONE = integer(1)


@dataclass
class Function:
    """One function being written: entry allocas, then blocks in order."""

    header: str
    module: Module
    allocas: list[str] = field(default_factory=list)
    lines: list[str | list[str]] = field(default_factory=list)
    """Lines; a list has one, or none where a sum is not used."""
    block: str = "entry"
    counter: int = 0
    made: dict[tuple[str, ...], V] = field(default_factory=dict)
    """Integers and addresses that this block has computed."""

    # Plain text

    def name(self, hint: str = "") -> str:
        self.counter += 1
        return f"%{hint}{self.counter}" if hint else f"%v{self.counter}"

    def emit(self, line: str) -> None:
        self.lines.append("  " + line)

    def assign(self, text: str, type: str, lanes: int = 1, hint: str = "") -> V:
        """`%new = text`."""
        name = self.name(hint)
        self.emit(f"{name} = {text}")
        return V(name, type, lanes)

    def once(self, text: str, type: str) -> V:
        """`assign` for what depends on its operands alone: computed once in a block."""
        key = (text, type)
        found = self.made.get(key)
        if found is None:
            found = self.made[key] = self.assign(text, type)
        return found

    def label(self, hint: str) -> str:
        self.counter += 1
        return f"{hint}{self.counter}"

    def start(self, label: str) -> None:
        """Begin a block."""
        self.made = {}
        self.lines.append(f"{label}:")
        self.block = label

    def branch(self, label: str) -> None:
        self.emit(f"br label %{label}")

    def branch_if(self, condition: V, on_true: str, on_false: str) -> None:
        self.emit(f"br i1 {condition.text}, label %{on_true}, label %{on_false}")

    def alloca(
        self, type: str, count: int = 1, align: int = 64, initial: str | None = None
    ) -> V:
        """Stack memory, taken once in the entry block, and there given its first value."""
        name = self.name("stack")
        size = f", i64 {count}" if count != 1 else ""
        self.allocas.append(f"  {name} = alloca {type}{size}, align {align}")
        if initial is not None:
            self.allocas.append(f"  store {type} {initial}, ptr {name}, align {align}")
        return V(name, "ptr")

    def text(self) -> str:
        return "\n".join(
            [
                f"{self.header} {{",
                "entry:",
                *self.allocas,
                "  br label %body",
                "body:",
                *(line if isinstance(line, str) else line[0] for line in self.lines if line),
                "}",
            ]
        )

    # Integers (i64), folded where known

    def add(self, a: V, b: V) -> V:
        if a.number is not None and b.number is not None:
            return integer(int(a.number) + int(b.number), a.type)
        if a.number == 0:
            return b
        if b.number == 0:
            return a
        if a.lanes != 1 or b.lanes != 1:
            return self.assign(f"add nsw {a.full_type} {a.text}, {b.text}", a.type, a.lanes)
        if b.number is not None:
            return self.plus(a, int(b.number))
        if a.number is not None:
            return self.plus(b, int(a.number))
        (a, x), (b, y) = _parts(a), _parts(b)
        return self.plus(self.once(f"add nsw {a.type} {a.text}, {b.text}", a.type), x + y)

    def plus(self, value: V, addend: int) -> V:
        """A scalar and a known number."""
        base, offset = _parts(value)
        if offset + addend == 0:
            return base
        key = (base.text, base.type, str(offset + addend))
        found = self.made.get(key)
        if found is None:
            cell: list[str] = []
            self.lines.append(cell)
            found = self.made[key] = Sum(base, offset + addend, cell, self.name())
        return found

    def sub(self, a: V, b: V) -> V:
        if a.number is not None and b.number is not None:
            return integer(int(a.number) - int(b.number), a.type)
        if b.number == 0:
            return a
        if a.lanes != 1 or b.lanes != 1:
            return self.assign(f"sub nsw {a.full_type} {a.text}, {b.text}", a.type, a.lanes)
        if b.number is not None:
            return self.plus(a, -int(b.number))
        (a, x), (b, y) = _parts(a), _parts(b)
        if a.text == b.text:
            return integer(x - y, a.type)
        if a.number is not None:
            a, x = integer(int(a.number) + x - y, a.type), y
        return self.plus(self.once(f"sub nsw {a.type} {a.text}, {b.text}", a.type), x - y)

    def mul(self, a: V, b: V) -> V:
        if a.number is not None and b.number is not None:
            return integer(int(a.number) * int(b.number), a.type)
        if 0 in (a.number, b.number):
            return integer(0, a.type)
        if a.number == 1:
            return b
        if b.number == 1:
            return a
        if a.lanes != 1 or b.lanes != 1:
            return self.assign(f"mul nsw {a.full_type} {a.text}, {b.text}", a.type, a.lanes)
        if a.number is not None:
            a, b = b, a
        if b.number is None:
            return self.once(f"mul nsw {a.type} {a.text}, {b.text}", a.type)
        base, offset = _parts(a)
        product = self.once(f"mul nsw {a.type} {base.text}, {b.text}", a.type)
        return self.plus(product, offset * int(b.number))

    def floordiv(self, a: V, b: V) -> V:
        """Division rounding down; 0 where the divisor is 0."""
        if a.number is not None and b.number is not None:
            return integer(int(a.number) // int(b.number) if b.number else 0)
        if b.number == 1:
            return a
        if (
            b.number is not None
            and int(b.number) > 0
            and int(b.number) & (int(b.number) - 1) == 0
        ):
            shift = int(b.number).bit_length() - 1
            return self.once(f"ashr i64 {a.text}, {shift}", "i64")
        return self._guarded("sdiv", a, b, floor=True)

    def mod(self, a: V, b: V) -> V:
        """Remainder of `floordiv`."""
        if a.number is not None and b.number is not None:
            return integer(int(a.number) % int(b.number) if b.number else 0)
        if b.number == 1:
            return ZERO
        return self.sub(a, self.mul(self.floordiv(a, b), b))

    def udiv(self, a: V, b: V) -> V:
        """Division of non-negative numbers by a positive one."""
        if a.number is not None and b.number is not None:
            return integer(int(a.number) // max(1, int(b.number)))
        if b.number == 1:
            return a
        if b.number is None:
            b = self.max(b, ONE)
        return self.once(f"udiv i64 {a.text}, {b.text}", "i64")

    def _guarded(self, op: str, a: V, b: V, *, floor: bool) -> V:
        safe = b
        if b.number is None:
            zero = self.assign(f"icmp eq i64 {b.text}, 0", "i1")
            safe = self.assign(f"select i1 {zero.text}, i64 1, i64 {b.text}", "i64")
        q = self.assign(f"{op} i64 {a.text}, {safe.text}", "i64")
        if not floor:
            return q
        product = self.mul(q, safe)
        rest = self.sub(a, product)
        mixed = self.assign(f"xor i64 {rest.text}, {safe.text}", "i64")
        negative = self.assign(f"icmp slt i64 {mixed.text}, 0", "i1")
        nonzero = self.assign(f"icmp ne i64 {rest.text}, 0", "i1")
        both = self.assign(f"and i1 {negative.text}, {nonzero.text}", "i1")
        step = self.assign(f"zext i1 {both.text} to i64", "i64")
        return self.sub(q, step)

    def min(self, a: V, b: V) -> V:
        if a.number is not None and b.number is not None:
            return integer(min(int(a.number), int(b.number)))
        return self.intrinsic("llvm.smin", [a, b], a.type, a.lanes)

    def max(self, a: V, b: V) -> V:
        if a.number is not None and b.number is not None:
            return integer(max(int(a.number), int(b.number)))
        return self.intrinsic("llvm.smax", [a, b], a.type, a.lanes)

    def compare(self, predicate: str, a: V, b: V) -> V:
        """An integer comparison (`slt`, `eq`, ...) of scalars."""
        if a.number is not None and b.number is not None:
            x, y = int(a.number), int(b.number)
            table = {
                "eq": x == y,
                "ne": x != y,
                "slt": x < y,
                "sle": x <= y,
                "sgt": x > y,
                "sge": x >= y,
            }
            return boolean(table[predicate])
        return self.assign(f"icmp {predicate} {a.full_type} {a.text}, {b.text}", "i1", a.lanes)

    def select(self, condition: V, a: V, b: V) -> V:
        """`a` where the condition holds, else `b`; scalars."""
        if condition.number is not None:
            return a if condition.number else b
        return self.assign(f"select i1 {condition.text}, {a.typed}, {b.typed}", a.type, a.lanes)

    # Vectors

    def splat(self, value: V, lanes: int) -> V:
        """The scalar in every lane."""
        if value.lanes == lanes:
            return value
        if value.number is not None:
            return V(f"splat ({value.type} {value.text})", value.type, lanes)
        vector = f"<{lanes} x {value.type}>"
        first = self.assign(
            f"insertelement {vector} poison, {value.type} {value.text}, i64 0",
            value.type,
            lanes,
        )
        return self.assign(
            f"shufflevector {vector} {first.text}, {vector} poison, <{lanes} x i32> zeroinitializer",
            value.type,
            lanes,
        )

    def lane_numbers(self, lanes: int, type: str = "i64") -> V:
        """0, 1, 2, ... in a vector."""
        items = ", ".join(f"{type} {i}" for i in range(lanes))
        return V(f"<{items}>", type, lanes)

    def first_lanes(self, count: V, lanes: int) -> V:
        """A mask of the first `count` lanes."""
        if count.number is not None:
            items = ", ".join(
                f"i1 {'true' if i < int(count.number) else 'false'}" for i in range(lanes)
            )
            return V(f"<{items}>", "i1", lanes)
        narrow = self.assign(f"trunc i64 {count.text} to i32", "i32")
        limit = self.splat(narrow, lanes)
        numbers = self.lane_numbers(lanes, "i32")
        return self.assign(
            f"icmp ult {numbers.full_type} {numbers.text}, {limit.text}", "i1", lanes
        )

    # Memory

    def gep(self, pointer: V, index: V, type: str) -> V:
        """The address of element `index`."""
        if index.number == 0:
            return pointer
        base, offset = _parts(index)
        if offset:
            pointer, index = self.gep(pointer, base, type), integer(offset)
        return self.once(f"getelementptr {type}, ptr {pointer.text}, i64 {index.text}", "ptr")

    def load(
        self, pointer: V, type: str, lanes: int = 1, align: int = 1, mask: V | None = None
    ) -> V:
        full = type if lanes == 1 else f"<{lanes} x {type}>"
        if mask is not None and lanes > 1:
            suffix = f"v{lanes}{suffix_of(type)}"
            self.module.declare(
                f"declare {full} @llvm.masked.load.{suffix}.p0(ptr, i32, <{lanes} x i1>, {full})"
            )
            return self.assign(
                f"call {full} @llvm.masked.load.{suffix}.p0(ptr {pointer.text}, i32 {align}, "
                f"{mask.typed}, {full} zeroinitializer)",
                type,
                lanes,
            )
        return self.assign(f"load {full}, ptr {pointer.text}, align {align}", type, lanes)

    def store(
        self,
        value: V,
        pointer: V,
        align: int = 1,
        mask: V | None = None,
        *,
        past: bool = False,
    ) -> None:
        """Write a value, the lanes of a mask of it, or `past` the caches a vector as long as its
        alignment."""
        if mask is not None and value.lanes > 1:
            suffix = f"v{value.lanes}{suffix_of(value.type)}"
            self.module.declare(
                f"declare void @llvm.masked.store.{suffix}.p0({value.full_type}, ptr, i32, <{value.lanes} x i1>)"
            )
            self.emit(
                f"call void @llvm.masked.store.{suffix}.p0({value.typed}, ptr {pointer.text}, "
                f"i32 {align}, {mask.typed})"
            )
            return
        if past:
            self._store_past(value, pointer, align)
            return
        self.emit(f"store {value.typed}, ptr {pointer.text}, align {align}")

    def _store_past(self, value: V, pointer: V, align: int) -> None:
        """A store that no line is read for. LLVM knows such instructions for words alone, and
        turns what comes from a vector of halves back into one, but for the fence."""
        kind = f"<{align // 4} x float>"
        name = f"@llvm.arithmetic.fence.v{align // 4}f32"
        self.module.declare(f"declare {kind} {name}({kind})")
        words = self.assign(f"bitcast {value.typed} to {kind}", "float", align // 4)
        kept = self.assign(f"call {kind} {name}({words.typed})", "float", align // 4)
        self.emit(
            f"store {kept.typed}, ptr {pointer.text}, align {align}, !nontemporal !{{i32 1}}"
        )

    def prefetch(self, pointer: V, *, level: int = 2, writing: bool = False) -> None:
        """Ask for the cache line at an address, which need not be one of ours, in the cache
        of a level."""
        self.module.declare("declare void @llvm.prefetch.p0(ptr, i32, i32, i32)")
        self.emit(
            f"call void @llvm.prefetch.p0(ptr {pointer.text}, i32 {int(writing)}, "
            f"i32 {4 - level}, i32 1)"
        )

    def gather(self, pointers: V, type: str, align: int, mask: V | None) -> V:
        """One element from each address of a vector of addresses."""
        lanes = pointers.lanes
        active = mask.text if mask is not None else "splat (i1 true)"
        suffix = f"v{lanes}{suffix_of(type)}.v{lanes}p0"
        full = f"<{lanes} x {type}>"
        self.module.declare(
            f"declare {full} @llvm.masked.gather.{suffix}(<{lanes} x ptr>, i32, <{lanes} x i1>, {full})"
        )
        return self.assign(
            f"call {full} @llvm.masked.gather.{suffix}(<{lanes} x ptr> {pointers.text}, i32 {align}, "
            f"<{lanes} x i1> {active}, {full} zeroinitializer)",
            type,
            lanes,
        )

    def scatter(self, value: V, pointers: V, align: int, mask: V | None) -> None:
        """One element to each address, lane 0 first."""
        lanes = pointers.lanes
        active = mask.text if mask is not None else "splat (i1 true)"
        suffix = f"v{lanes}{suffix_of(value.type)}.v{lanes}p0"
        self.module.declare(
            f"declare void @llvm.masked.scatter.{suffix}({value.full_type}, <{lanes} x ptr>, i32, <{lanes} x i1>)"
        )
        self.emit(
            f"call void @llvm.masked.scatter.{suffix}({value.typed}, <{lanes} x ptr> {pointers.text}, "
            f"i32 {align}, <{lanes} x i1> {active})"
        )

    def addresses(self, pointer: V, indices: V, type: str) -> V:
        """A vector of addresses of the elements at a vector of indices."""
        return self.assign(
            f"getelementptr {type}, ptr {pointer.text}, {indices.typed}", "ptr", indices.lanes
        )

    # Calls

    def intrinsic(
        self, name: str, arguments: Sequence[V], type: str, lanes: int = 1, flags: str = ""
    ) -> V:
        """A call of an overloaded intrinsic whose suffix is its first argument's type."""
        first = arguments[0]
        suffix = (f"v{first.lanes}" if first.lanes > 1 else "") + suffix_of(first.type)
        full = type if lanes == 1 else f"<{lanes} x {type}>"
        types = ", ".join(a.full_type for a in arguments)
        self.module.declare(f"declare {full} @{name}.{suffix}({types})")
        return self.assign(
            f"call {flags}{full} @{name}.{suffix}({', '.join(a.typed for a in arguments)})",
            type,
            lanes,
        )

    # Loops

    def loop(
        self,
        count: V,
        body: Callable[[V], None],
        *,
        start: V = ZERO,
        step: int = 1,
        hint: str = "loop",
    ) -> None:
        """`for i in range(start, count, step): body(i)`; left out where it runs zero times."""
        if start.number is not None and count.number is not None:
            trips = -(-(int(count.number) - int(start.number)) // step)
            if trips <= 0:
                return
            if trips == 1:
                body(start)
                return
        head, inside, done = (
            self.label(f"{hint}.head"),
            self.label(hint),
            self.label(f"{hint}.done"),
        )
        before = self.block if self.block != "entry" else "body"
        self.branch(head)
        self.start(head)
        name = self.name("i")
        position = len(self.lines)
        index = V(name, "i64")
        more = self.assign(f"icmp slt i64 {name}, {count.text}", "i1")
        self.branch_if(more, inside, done)
        self.start(inside)
        body(index)
        following = self.assign(f"add nsw i64 {name}, {step}", "i64")
        last = self.block
        self.branch(head)
        self.lines.insert(
            position,
            f"  {name} = phi i64 [ {start.text}, %{before} ], [ {following.text}, %{last} ]",
        )
        self.start(done)

    def when(
        self,
        condition: V,
        body: Callable[[], None],
        hint: str = "when",
        *,
        likely: bool = True,
    ) -> None:
        """`if condition: body()`; what is not `likely` is kept out of the way."""
        if condition.number is not None:
            if condition.number:
                body()
            return
        inside, done = self.label(hint), self.label(f"{hint}.done")
        weights = "" if likely else ', !prof !{!"branch_weights", i32 1, i32 2000}'
        self.emit(f"br i1 {condition.text}, label %{inside}, label %{done}{weights}")
        self.start(inside)
        body()
        self.branch(done)
        self.start(done)


def suffix_of(type: str) -> str:
    """The name of a type in an overloaded intrinsic."""
    return {"float": "f32", "double": "f64", "half": "f16", "bfloat": "bf16", "ptr": "p0"}.get(
        type, type
    )


@dataclass
class Module:
    """An LLVM module being written."""

    declarations: dict[str, None] = field(default_factory=dict)
    functions: list[Function] = field(default_factory=list)
    attributes: str = "attributes #0 = { nounwind }"
    rounds_bf16: bool = False
    """Whether an instruction of the machine rounds f32 to bf16."""
    has_avx512: bool = False
    """Whether the machine has AVX-512 as in x86-64-v4."""

    def declare(self, line: str) -> None:
        self.declarations.setdefault(line)

    def function(self, header: str) -> Function:
        made = Function(f"{header} #0", self, block="body")
        self.functions.append(made)
        return made

    def text(self) -> str:
        bodies = "\n\n".join(function.text() for function in self.functions)
        return "\n".join([*self.declarations, "", bodies, "", self.attributes, ""])
