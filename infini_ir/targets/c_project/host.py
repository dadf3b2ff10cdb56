"""The host program of a model as C++: `model.cpp`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from xdsl.ir import Block, Operation, SSAValue

from infini_ir.dialects import tile
from infini_ir.dialects.dims import DimsAttr, FactsAttr
from infini_ir.dialects.tile import program
from infini_ir.runtime.signature import TensorSpec
from infini_ir.targets.c_project.expressions import Names, c_comment, c_expression, c_string
from infini_ir.targets.c_project.signatures import KernelSignature
from infini_ir.targets.programs import (
    defined_symbols,
    input_symbols,
    known_outputs,
    signature_of,
    symbols_of,
)
from infini_ir.utils.dtypes import item_size
from infini_ir.utils.errors import CompileError
from infini_ir.utils.symbolic import Dim

_RESERVED = (
    "call", "arena", "weights", "arena_at", "weight_at", "infini", "inputs", "outputs",
    "description", "run_program", "LAUNCH", "floor_div", "floor_mod", "smaller", "larger",
)  # fmt: skip
_RELATIONS = {"eq": "must_equal", "le": "must_be_at_most", "ge": "must_be_at_least"}


@dataclass(frozen=True)
class _Definition:
    """A symbol's new value. Written only where something names the symbol; what `value` does
    beside is done in any case."""

    indent: str
    symbol: str
    value: str
    acts: bool
    declare: str = ""

    def text(self, names: Names) -> str | None:
        if self.symbol in names.used:
            return f"{self.indent}{self.declare}{names.symbol(self.symbol)} = {self.value};"
        return f"{self.indent}{self.value};" if self.acts else None


Handler = Callable[["HostProgram", "Operation"], None]


@dataclass
class HostProgram:
    """
    Writes `run_program` of one model, and the tables that go with it.

    `operations` are what a target's own operations of the host program become: a handler gets
    this writer and the operation, and calls `line`, `pointer` and `size`.
    """

    entry: program.ProgramOp
    signatures: Mapping[str, KernelSignature]
    weight_offsets: Mapping[str, int]
    operations: Mapping[type[Operation], Handler] = field(default_factory=dict)
    names: Names = field(init=False)
    block_count: int = 0
    """Allocations whose size is known only while running."""
    _lines: list[str | _Definition] = field(default_factory=list)
    _indent: str = "  "
    _values: dict[SSAValue, str] = field(default_factory=dict)
    _places: dict[str, dict[str, str]] = field(default_factory=dict)
    """Named offsets, by the space that they are in."""
    _sets: list[tuple[str, Dim]] = field(default_factory=list)
    _uses_arena: bool = False
    _buffers: int = 0

    def __post_init__(self) -> None:
        self.names = Names.reserving(_RESERVED)
        for symbol in symbols_of(self.entry):
            self.names.symbol(symbol)
        self.inputs, self.outputs = signature_of(self.entry)

    # For the handlers of operations

    def line(self, text: str) -> None:
        """Write one line at the current depth."""
        self._lines.append(f"{self._indent}{text}")

    def pointer(self, value: SSAValue) -> str:
        """The name of the pointer to a view's first element."""
        return self._values[value]

    def size(self, dim: int | Dim) -> str:
        """A size as an expression."""
        return self.names.expression(dim)

    # The whole

    def text(self) -> str:
        """The host program, and the tables before it."""
        arguments = self._arguments()
        self._block(self.entry.body.block)
        body, self._lines = self._lines, []
        self._memory(arguments)
        memory, self._lines = self._lines, []
        self._sizes()
        self._close_over_sets()
        sizes = [*self._rendered(self._lines), *self._later_symbols()]
        parts = [sizes, list(self._rendered(memory)), list(self._rendered(body))]
        lines = "\n\n".join("\n".join(part) for part in parts if part)
        tables = [*self._interface(), *self._offsets()]
        return "\n".join([*tables, "void infini::run_program(Call& call) {", lines, "}", ""])

    def _close_over_sets(self) -> None:
        """Now that it is known which symbols are named: what they are set to is named too."""
        used, before = self.names.used, -1
        while len(used) != before:
            before = len(used)
            for symbol, value in self._sets:
                if symbol in used:
                    used |= value.symbols()

    def _rendered(self, lines: Sequence[str | _Definition]) -> Iterator[str]:
        for line in lines:
            text = line if isinstance(line, str) else line.text(self.names)
            if text is not None:
                yield text

    def _interface(self) -> list[str]:
        """Names, types and sizes of inputs and outputs."""
        lines: list[str] = ["namespace {", ""]
        for kind, specs in (("input", self.inputs), ("output", self.outputs)):
            rows = []
            for number, spec in enumerate(specs):
                row = _tensor_info(f"{kind}_{number}", spec, lines)
                rows.append(f"    {row},")
            if rows:
                lines += [f"const infini_tensor_info {kind}s[] = {{", *rows, "};", ""]
        return [*lines, "}  // namespace", ""]

    def _offsets(self) -> list[str]:
        comments = {
            "weight_at": "Where weights begin in their file, in bytes.",
            "arena_at": "Where intermediate values begin in the arena, in bytes.",
        }
        lines: list[str] = []
        for space, places in self._places.items():
            lines += [f"// {comments[space]}", f"namespace {space} {{"]
            lines += [f"constexpr int64_t {name} = {at};" for name, at in places.items()]
            lines += [f"}}  // namespace {space}", ""]
        return lines

    def _place(self, space: str, name: str, offset: int) -> str:
        self._places.setdefault(space, {})[name] = c_expression(offset, self.names)
        return f"{space}::{name}"

    # Sizes and arguments

    def _sizes(self) -> None:
        """Symbols take their values from the inputs; all other sizes are checked."""
        changed = defined_symbols(self.entry)
        defined: set[str] = set()
        checks: list[tuple[int, int, Dim]] = []
        for number, spec in enumerate(self.inputs):
            for axis, dim in enumerate(spec.shape):
                if dim.name is None or dim.name in defined:
                    checks.append((number, axis, dim))
                    continue
                defined.add(dim.name)
                declare = "int64_t " if dim.name in changed else "const int64_t "
                value = f"call.define({c_string(dim.name)}, {number}, {axis})"
                self._lines.append(
                    _Definition(self._indent, dim.name, value, acts=True, declare=declare)
                )
        for number, axis, dim in checks:
            if dim.value is not None:
                self.line(f"call.wants({number}, {axis}, {dim.value});")
                continue
            symbols = ", ".join(map(c_string, sorted(dim.symbols())))
            given = f"{number}, {axis}, {self.size(dim)}, {c_string(str(dim))}"
            self.line(f"call.agrees({given}, {{{symbols}}});")
        if self.entry.facts is not None:
            self._facts(self.entry.facts)

    def _later_symbols(self) -> list[str]:
        """Variables of the symbols that the program itself defines."""
        given = set(input_symbols(self.entry))
        return [
            f"{self._indent}int64_t {self.names.symbol(symbol)} = 0;  // computed by the model"
            for symbol in symbols_of(self.entry)
            if symbol not in given and symbol in self.names.used
        ]

    def _arguments(self) -> list[tuple[str, str]]:
        """Pointers to inputs and to outputs of known size: their names and values."""
        count = len(self.inputs)
        numbers = known_outputs(self.entry)
        lines: list[tuple[str, str]] = []
        for index, argument in enumerate(self.entry.body.block.args):
            if index < count:
                if not argument.uses:
                    continue
                name = self.names.fresh(self.inputs[index].name)
                value = f"call.input({index})"
            else:
                number = numbers[index - count]
                name = self.names.fresh(self.outputs[number].name)
                shape = self._shape(tile.view_type(argument).shape)
                value = f"call.output({number}, {shape})"
            self._values[argument] = name
            lines.append((name if argument.uses else "", value))
        return lines

    def _memory(self, arguments: Sequence[tuple[str, str]]) -> None:
        if "weight_at" in self._places:
            self.line("char* const weights = call.weights();")
        if self._uses_arena:
            arena = self.entry.attributes.get("arena")
            assert isinstance(arena, DimsAttr)
            self.line(f"char* const arena = call.arena({self.size(arena.data[0])});")
        for name, value in arguments:
            self.line(f"char* const {name} = {value};" if name else f"{value};")

    def _shape(self, shape: Sequence[Dim]) -> str:
        return "{" + ", ".join(self.size(dim) for dim in shape) + "}"

    def _facts(self, facts: FactsAttr) -> None:
        for left, relation, right in facts.data:
            a = f"{c_string(str(left))}, {self.size(left)}"
            b = f"{c_string(str(right))}, {self.size(right)}"
            self.line(f"call.{_RELATIONS[relation]}({a}, {b});")

    # Operations

    def _block(self, block: Block) -> None:
        for op in block.ops:
            handler = self.operations.get(type(op)) or _HANDLERS.get(type(op))
            if handler is None:
                raise CompileError(f"'{op.name}' has no form in a C++ host program")
            handler(self, op)

    def _inside(self, block: Block) -> None:
        outer, self._indent = self._indent, self._indent + "  "
        self._block(block)
        self._indent = outer

    def _define_pointer(self, value: SSAValue, name: str, text: str) -> None:
        self._values[value] = name
        self.line(f"char* const {name} = {text};")

    def _alloc(self, op: program.AllocOp) -> None:
        if not op.out.uses:
            return
        self._buffers += 1
        name = self.names.fresh(f"t{self._buffers}")
        if op.dynamic is not None:
            type = tile.view_type(op.out)
            bytes = type.element_count() * item_size(type.dtype)
            number, self.block_count = self.block_count, self.block_count + 1
            self._define_pointer(op.out, name, f"call.block({number}, {self.size(bytes)})")
            return
        if op.offset is None:
            raise CompileError("memory has no places yet; run tile-plan-memory first")
        self._uses_arena, offset = True, op.offset.data[0]
        if offset.value is None:
            at = self.size(offset)
        else:
            at = self._place("arena_at", name, offset.value)
        self._define_pointer(op.out, name, f"arena + {at}")

    def _weight(self, op: program.WeightOp) -> None:
        if not op.out.uses:
            return
        name = self.names.fresh(f"w_{op.handle.data}")
        at = self._place("weight_at", name, self.weight_offsets[op.handle.data])
        self._define_pointer(op.out, name, f"weights + {at}")

    def _alias(self, op: program.AliasOp) -> None:
        source = self.pointer(op.source)
        offset = op.offset_dim * item_size(tile.view_type(op.out).dtype)
        if not op.out.uses or offset.value == 0:
            self._values[op.out] = source
        else:
            name = self.names.fresh(f"{source}_at")
            self._define_pointer(op.out, name, f"{source} + {self.size(offset)}")

    def _launch(self, op: program.LaunchOp) -> None:
        signature = self.signatures[op.kernel.string_value()]
        views = [self.pointer(view) for view in op.views]
        symbols = [self.size(Dim.symbol(symbol)) for symbol in signature.symbols]
        label = f"  // {c_comment(op.label.data)}" if op.label is not None else ""
        self.line(f"LAUNCH({', '.join([signature.name, *views, *symbols])});{label}")

    def _bind(self, op: program.BindOp) -> None:
        symbol = op.symbol.data
        value = f"call.read_size({c_string(symbol)}, {self.pointer(op.value)})"
        self._lines.append(_Definition(self._indent, symbol, value, acts=True))
        if op.facts is not None:
            self._facts(op.facts)

    def _set(self, op: program.SetOp) -> None:
        symbol, value = op.symbol.data, op.value.data[0]
        self._sets.append((symbol, value))
        text = c_expression(value, self.names)
        self._lines.append(_Definition(self._indent, symbol, text, acts=False))
        if op.facts is not None:
            self._facts(op.facts)

    def _if(self, op: program.IfOp) -> None:
        self.line(f"if (call.read_flag({self.pointer(op.condition)})) {{")
        self._inside(op.then_region.block)
        if op.else_region.block.ops:
            self.line("} else {")
            self._inside(op.else_region.block)
        self.line("}")

    def _while(self, op: program.WhileOp) -> None:
        self.line("for (;;) {")
        self._inside(op.condition.block)
        self.line(f"  if (!call.read_flag({self.pointer(op.flag)})) break;")
        self._inside(op.body.block)
        self.line("}")

    def _loop(self, op: program.LoopOp) -> None:
        count, limit = self.size(Dim.symbol(op.symbol.data)), op.to.data[0]
        text = self.size(limit)
        if limit.symbols() & defined_symbols(op):
            last = self.names.fresh(f"last_{count}")
            self.line(f"const int64_t {last} = {text};")
            text = last
        self.line(f"for ({count} = 0; {count} < {text}; ++{count}) {{")
        self._inside(op.body.block)
        if op.until is not None:
            self.line(f"  if (!call.read_flag({self.pointer(op.until)})) {{")
            self.line(f"    ++{count};")
            self.line("    break;")
            self.line("  }")
        self.line("}")

    def _publish(self, op: program.PublishOp) -> None:
        shape = self._shape(tile.view_type(op.view).shape)
        self.line(f"call.publish({op.index.value.data}, {self.pointer(op.view)}, {shape});")


def _tensor_info(name: str, spec: TensorSpec, lines: list[str]) -> str:
    """The row of a tensor in its table; the tables of its sizes go to `lines`."""
    sizes = texts = "nullptr"
    if spec.shape:
        sizes, texts = f"{name}_sizes", f"{name}_texts"
        numbers = ", ".join("-1" if d.value is None else str(d.value) for d in spec.shape)
        lines.append(f"const int64_t {sizes}[] = {{{numbers}}};")
        strings = ", ".join(c_string(str(dim)) for dim in spec.shape)
        lines.append(f"const char* const {texts}[] = {{{strings}}};")
    facts = (c_string(spec.name), c_string(spec.dtype), item_size(spec.dtype), len(spec.shape))
    return "{" + ", ".join(map(str, (*facts, sizes, texts))) + "}"


_HANDLERS: dict[type[Operation], Callable[..., None]] = {
    program.AllocOp: HostProgram._alloc,
    program.WeightOp: HostProgram._weight,
    program.AliasOp: HostProgram._alias,
    program.LaunchOp: HostProgram._launch,
    # Launches of one stream follow each other anyway.
    program.BarrierOp: lambda host, op: None,
    program.BindOp: HostProgram._bind,
    program.SetOp: HostProgram._set,
    program.IfOp: HostProgram._if,
    program.WhileOp: HostProgram._while,
    program.LoopOp: HostProgram._loop,
    program.PublishOp: HostProgram._publish,
}
