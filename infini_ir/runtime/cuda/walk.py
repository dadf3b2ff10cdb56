"""Carrying out a launch plan: the host's part of a call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from infini_ir.runtime.cuda.launches import BufferTable, Kernels, Ready
from infini_ir.runtime.launch_plan import (
    Bind,
    Block,
    Check,
    Fact,
    If,
    Launch,
    LaunchPlan,
    Loop,
    Pointer,
    Product,
    Publish,
    Set,
    Take,
    While,
)
from infini_ir.utils.errors import ModelError, SizeError

_WORDS = {"eq": "must equal", "le": "must be at most", "ge": "must be at least"}
_HOLDS = {"eq": int.__eq__, "le": int.__le__, "ge": int.__ge__}

_REMEMBERED = 4096
"""Launches with their sizes kept ready; a program that makes more starts over."""


def check_facts(facts: tuple[Fact, ...], symbols: Mapping[str, int]) -> None:
    """Raise `SizeError` for the first condition that does not hold."""
    for left, relation, right in facts:
        a, b = left.evaluate(symbols), right.evaluate(symbols)
        if not _HOLDS[relation](a, b):
            raise SizeError(f"size {left} {_WORDS[relation]} {right}, but they are {a} and {b}")


class Maker:
    """Makes launches ready, remembering those that were made for the same sizes."""

    def __init__(
        self,
        plan: LaunchPlan,
        kernels: Kernels,
        buffers: BufferTable,
        product: Callable[[Product, Mapping[str, int], BufferTable], Ready | None],
    ):
        self.plan = plan
        self.buffers = buffers
        self._kernels = kernels
        self._product = product
        self._uses: dict[Launch | Product, tuple[str, ...]] = {}
        self._known: dict[tuple[Any, ...], Ready | None] = {}

    def make(self, step: Launch | Product, symbols: Mapping[str, int]) -> Ready | None:
        """The work of a step with these sizes; None where there is none to do."""
        if isinstance(step, Product):
            return self._product(step, symbols, self.buffers)
        kernel = self.plan.kernels[step.kernel]
        return self._kernels.prepare(kernel, step.views, symbols, self.buffers)

    def remembered(self, step: Launch | Product, symbols: Mapping[str, int]) -> Ready | None:
        """The same, made once. Not to be shared by threads."""
        key = (step, *(symbols[name] for name in self._names(step)))
        if key not in self._known:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[key] = self.make(step, symbols)
        return self._known[key]

    def _names(self, step: Launch | Product) -> tuple[str, ...]:
        """The symbols that decide a step's work."""
        names = self._uses.get(step)
        if names is None:
            names = self._uses[step] = tuple(sorted(self._find_names(step)))
        return names

    def _find_names(self, step: Launch | Product) -> set[str]:
        if isinstance(step, Product):
            operands = (step.lhs, step.rhs, step.out)
            sizes = [step.m, step.n, step.k, step.batch]
            for operand in operands:
                sizes += [operand.pointer.offset, operand.leading, operand.batch]
        else:
            kernel = self.plan.kernels[step.kernel]
            sizes = [*kernel.grid, *(view.offset for view in step.views)]
            sizes += [a.size for a in kernel.arguments if a.size is not None]
            sizes += [size for variant in kernel.variants for size in variant.divisible]
        return set().union(*(size.symbols() for size in sizes))


def flatten(maker: Maker, symbols: dict[str, int]) -> list[Ready]:
    """All the work of a plan that never waits for the device, in order."""
    found: list[Ready] = []

    def visit(block: Block) -> None:
        for step in block:
            match step:
                case Launch() | Product():
                    ready = maker.make(step, symbols)
                    if ready is not None:
                        found.append(ready)
                case Check(facts):
                    check_facts(facts, symbols)
                case Set(symbol, value):
                    symbols[symbol] = value.evaluate(symbols)
                case Loop(symbol, to, None, body):
                    turns = to.evaluate(symbols)
                    for turn in range(turns):
                        symbols[symbol] = turn
                        visit(body)
                    symbols[symbol] = max(turns, 0)
                case _:
                    raise AssertionError(f"{type(step).__name__} waits for the device")

    visit(maker.plan.steps)
    return found


class Walk:
    """One run of a plan that reads from the device while it goes."""

    def __init__(
        self,
        maker: Maker,
        symbols: dict[str, int],
        addresses: list[int],
        *,
        run: Callable[[Ready, list[int]], None],
        take: Callable[[int], int],
        read: Callable[[int, int], int],
    ):
        """`run` puts work on the stream, `take` gives memory until the call's end, `read`
        waits for what is on the stream and gives the number of so many bytes there."""
        self.maker = maker
        self.symbols = symbols
        self.addresses = addresses
        self.published: dict[int, int] = {}
        """Addresses of outputs by their number."""
        self._run, self._take, self._read = run, take, read

    def block(self, block: Block) -> None:
        """Carry out steps in order."""
        for step in block:
            _RULES[type(step)](self, step)

    def _address(self, pointer: Pointer) -> int:
        begin = self.addresses[self.maker.buffers.number(pointer)]
        return begin + pointer.offset.evaluate(self.symbols)

    def _flag(self, pointer: Pointer) -> bool:
        return self._read(self._address(pointer), 1) != 0

    def _work(self, step: Launch | Product) -> None:
        ready = self.maker.remembered(step, self.symbols)
        if ready is not None:
            self._run(ready, self.addresses)

    def _take_memory(self, step: Take) -> None:
        size = step.bytes.evaluate(self.symbols)
        place = self.maker.buffers.number(Pointer("taken", step.index, step.bytes))
        self.addresses.extend([0] * (place + 1 - len(self.addresses)))
        self.addresses[place] = self._take(size)

    def _check(self, step: Check) -> None:
        check_facts(step.facts, self.symbols)

    def _bind(self, step: Bind) -> None:
        value = self._read(self._address(step.pointer), 8)
        if value < 0:
            raise SizeError(
                f"size '{step.symbol}' computed by the model is {value}, but must not be "
                "negative"
            )
        self.symbols[step.symbol] = value

    def _set(self, step: Set) -> None:
        self.symbols[step.symbol] = step.value.evaluate(self.symbols)

    def _if(self, step: If) -> None:
        self.block(step.then if self._flag(step.condition) else step.other)

    def _loop(self, step: Loop) -> None:
        done = 0
        for done in range(1, step.to.evaluate(self.symbols) + 1):
            self.symbols[step.symbol] = done - 1
            self.block(step.body)
            if step.until is not None and not self._flag(step.until):
                break
        self.symbols[step.symbol] = done

    def _while(self, step: While) -> None:
        self.block(step.condition)
        while self._flag(step.flag):
            self.block(step.body)
            self.block(step.condition)

    def _publish(self, step: Publish) -> None:
        self.published[step.index] = self._address(step.pointer)

    def address_of_output(self, index: int) -> int:
        """Where a published output is."""
        if index not in self.published:
            raise ModelError(f"the program gave no memory for output {index}")
        return self.published[index]


_RULES: dict[type[Any], Callable[[Walk, Any], None]] = {
    Launch: Walk._work,
    Product: Walk._work,
    Take: Walk._take_memory,
    Check: Walk._check,
    Bind: Walk._bind,
    Set: Walk._set,
    If: Walk._if,
    Loop: Walk._loop,
    While: Walk._while,
    Publish: Walk._publish,
}
