"""From a tile program to a launch plan: buffers become pointers, operations become steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from xdsl.ir import Block, Operation, SSAValue

from infini_ir.dialects.dims import FactsAttr
from infini_ir.dialects.tile import program, view_type
from infini_ir.runtime.launch_plan import (
    ALIGNMENT,
    ARENA,
    INPUT,
    OUTPUT,
    TAKEN,
    WEIGHTS,
    Argument,
    Bind,
    Check,
    If,
    Launch,
    Loop,
    PlannedKernel,
    Pointer,
    Product,
    Publish,
    Replacement,
    Set,
    Step,
    Take,
    Variant,
    While,
    steps_of,
)
from infini_ir.targets.nvidia.emitted import EmittedKernel
from infini_ir.targets.nvidia.toolchain import CompiledKernel, Job
from infini_ir.targets.programs import known_outputs
from infini_ir.utils.dtypes import item_size
from infini_ir.utils.errors import CompileError
from infini_ir.utils.symbolic import ONE, Dim

MakeProduct = Callable[[str, Sequence[Pointer]], Product | None]
"""The library's step for a launch of the kernel of that name, where it can do it."""


@dataclass
class HostProgram:
    """The steps of a program, with kernels by number."""

    steps: tuple[Step, ...]
    kernels: tuple[str, ...]
    """Names of the kernels launched."""
    outputs: tuple[int, ...]

    def launches(self, kernel: int) -> list[Launch]:
        """All launches of a kernel."""
        return [
            step
            for step in steps_of(self.steps)
            if isinstance(step, Launch) and step.kernel == kernel
        ]


def host_program(
    entry: program.ProgramOp, weights: Mapping[str, int], product: MakeProduct | None = None
) -> HostProgram:
    """The steps of a program whose memory is planned. `weights`: offsets by name."""
    writer = _Writer(entry, weights, product)
    steps = writer.facts(entry.facts) + writer.block(entry.body.block)
    return HostProgram(tuple(steps), tuple(writer.kernels), tuple(known_outputs(entry)))


@dataclass
class _Writer:
    entry: program.ProgramOp
    weights: Mapping[str, int]
    product: MakeProduct | None
    kernels: dict[str, int] = field(default_factory=dict)
    taken: int = 0
    pointers: dict[SSAValue, Pointer] = field(default_factory=dict)

    def __post_init__(self) -> None:
        count = self.entry.input_count.value.data
        numbers = known_outputs(self.entry)
        for index, argument in enumerate(self.entry.body.block.args):
            base, number = (INPUT, index) if index < count else (OUTPUT, numbers[index - count])
            self.pointers[argument] = Pointer(base, number, Dim.of(0))

    def block(self, block: Block) -> list[Step]:
        steps: list[Step] = []
        for op in block.ops:
            rule = _RULES.get(type(op))
            if rule is None:
                raise CompileError(f"'{op.name}' has no place in a launch plan")
            steps += rule(self, op)
        return steps

    def facts(self, facts: FactsAttr | None) -> list[Step]:
        return [] if facts is None or not facts.data else [Check(tuple(facts.data))]

    def alloc(self, op: program.AllocOp) -> list[Step]:
        if op.dynamic is None:
            if op.offset is None:
                raise CompileError("an allocation has no place; run tile-plan-memory first")
            self.pointers[op.out] = Pointer(ARENA, 0, op.offset.data[0])
            return []
        type = view_type(op.out)
        self.pointers[op.out] = Pointer(TAKEN, self.taken, Dim.of(0))
        self.taken += 1
        return [Take(self.taken - 1, type.element_count() * item_size(type.dtype))]

    def weight(self, op: program.WeightOp) -> list[Step]:
        offset = Dim.of(self.weights[op.handle.data])
        self.pointers[op.out] = Pointer(WEIGHTS, 0, offset)
        return []

    def alias(self, op: program.AliasOp) -> list[Step]:
        source = self.pointers[op.source]
        offset = source.offset + op.offset_dim * item_size(view_type(op.out).dtype)
        self.pointers[op.out] = Pointer(source.base, source.index, offset)
        return []

    def launch(self, op: program.LaunchOp) -> list[Step]:
        name = op.kernel.string_value()
        views = tuple(self.pointers[view] for view in op.views)
        step = self.product(name, views) if self.product is not None else None
        if step is not None:
            return [step]
        return [Launch(self.kernels.setdefault(name, len(self.kernels)), views)]

    def bind(self, op: program.BindOp) -> list[Step]:
        return [Bind(self.pointers[op.value], op.symbol.data), *self.facts(op.facts)]

    def set(self, op: program.SetOp) -> list[Step]:
        return [Set(op.symbol.data, op.value.data[0]), *self.facts(op.facts)]

    def if_(self, op: program.IfOp) -> list[Step]:
        then, other = self.block(op.then_region.block), self.block(op.else_region.block)
        return [If(self.pointers[op.condition], tuple(then), tuple(other))]

    def loop(self, op: program.LoopOp) -> list[Step]:
        body = tuple(self.block(op.body.block))
        until = None if op.until is None else self.pointers[op.until]
        return [Loop(op.symbol.data, op.to.data[0], until, body)]

    def while_(self, op: program.WhileOp) -> list[Step]:
        condition, body = self.block(op.condition.block), self.block(op.body.block)
        return [While(self.pointers[op.flag], tuple(condition), tuple(body))]

    def publish(self, op: program.PublishOp) -> list[Step]:
        return [Publish(self.pointers[op.view], op.index.value.data)]


_RULES: dict[type[Operation], Callable[[_Writer, Any], list[Step]]] = {
    program.AllocOp: _Writer.alloc,
    program.WeightOp: _Writer.weight,
    program.AliasOp: _Writer.alias,
    program.LaunchOp: _Writer.launch,
    program.BarrierOp: lambda writer, op: [],  # one stream keeps the order
    program.BindOp: _Writer.bind,
    program.SetOp: _Writer.set,
    program.IfOp: _Writer.if_,
    program.LoopOp: _Writer.loop,
    program.WhileOp: _Writer.while_,
    program.PublishOp: _Writer.publish,
}


# Variants


@dataclass(frozen=True)
class VariantChoice:
    """Arguments that a variant takes to be multiples of 16, by number, and of those the ones
    that must be looked at in each launch."""

    divisible: tuple[int, ...]
    checked: tuple[int, ...]


def is_multiple(size: Dim, assumed: frozenset[str] = frozenset()) -> bool:
    """Whether a size is sure to be a multiple of `ALIGNMENT`, where the assumed symbols are."""
    for monomial, coefficient in size.terms:
        factor = coefficient
        for atom, power in monomial:
            if isinstance(atom, str) and atom in assumed:
                factor *= ALIGNMENT**power
        if factor % ALIGNMENT:
            return False
    return True


def variants_of(kernel: EmittedKernel, launches: Sequence[Launch]) -> list[VariantChoice]:
    """At most two variants: for sizes that are multiples of 16, and for all others.

    A pointer is aligned in both where that follows from its offset, in the first where it
    follows for some launch, and in neither otherwise.
    """
    wanted = [(n, a) for n, a in enumerate(kernel.arguments) if a.divisible]
    symbols = frozenset(a.symbol for _, a in wanted if a.symbol is not None)
    sure: list[int] = []
    checked: list[int] = []
    for number, argument in wanted:
        if argument.view is None:
            checked.append(number)
            continue
        offsets = [launch.views[argument.view].offset for launch in launches]
        if all(is_multiple(offset) for offset in offsets):
            sure.append(number)
        elif any(is_multiple(offset, symbols) for offset in offsets):
            checked.append(number)
    general = VariantChoice(tuple(sure), ())
    if not checked:
        return [general]
    return [VariantChoice(tuple(sorted(sure + checked)), tuple(checked)), general]


def jobs_of(
    kernel: EmittedKernel, choices: Sequence[VariantChoice], capability: int
) -> list[Job]:
    """What to compile for a kernel."""
    return [Job(kernel, capability, choice.divisible) for choice in choices]


def planned_kernel(
    kernel: EmittedKernel,
    choices: Sequence[VariantChoice],
    compiled: Sequence[CompiledKernel],
    small: Replacement | None = None,
) -> PlannedKernel:
    """A kernel of the plan, from its compiled variants. `small`: what replaces it for small
    sizes."""
    arguments = tuple(
        Argument("pointer", argument.view)
        if argument.view is not None
        else Argument(argument.type, size=Dim.of(argument.symbol or "0"))
        for argument in kernel.arguments
    )
    variants = [
        _variant(kernel, choice, code, number)
        for number, (choice, code) in enumerate(zip(choices, compiled, strict=True))
    ]
    x, y, z = (*kernel.grid, ONE, ONE, ONE)[:3]
    return PlannedKernel(
        kernel.name, arguments, (x, y, z), tuple(variants), kernel.symbol_limit, small
    )


def _variant(
    kernel: EmittedKernel, choice: VariantChoice, code: CompiledKernel, number: int
) -> Variant:
    checked = [kernel.arguments[n] for n in choice.checked]
    return Variant(
        f"{kernel.name}{'_any' if number else ''}.cubin",
        code.function,
        code.threads,
        code.shared,
        code.scratch,
        tuple(Dim.of(a.symbol) for a in checked if a.symbol is not None),
        tuple(a.view for a in checked if a.view is not None),
    )
