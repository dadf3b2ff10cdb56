"""How the elements of a tile are dealt out to the threads of a program."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import mul

Number = int | str
"""A size: known, or the name of a variable."""


def times(numbers: Sequence[int]) -> int:
    """The product."""
    return reduce(mul, numbers, 1)


@dataclass(frozen=True)
class Spread:
    """
    Element i belongs to thread i % threads, elements being numbered with the last axis of
    `order` fastest, so that neighbouring threads touch neighbouring memory.
    """

    shape: tuple[int, ...]
    order: tuple[int, ...]
    threads: int

    @property
    def slots(self) -> int:
        """Elements of one thread."""
        return -(-times(self.shape) // self.threads)

    @property
    def key(self) -> Hashable:
        """Layouts with the same key give the same elements to the same threads."""
        return self

    def open(self) -> tuple[list[str], list[str], str, list[str]]:
        """
        The head of a loop over a thread's elements.

        Returns the lines, the coordinates, the slot, and conditions for the element to exist.
        """
        count = times(self.shape)
        lines = ["#pragma unroll", f"for (int slot = 0; slot < {self.slots}; ++slot) {{"]
        element = "thread" if self.slots == 1 else f"slot * {self.threads} + thread"
        if self.slots == 1:
            lines = ["{", "const int slot = 0;"]
        conditions = [] if count % self.threads == 0 else [f"{{element}} < {count}"]
        coordinates, more = split("element", self.shape, self.order)
        lines.append(f"const int element = {element};")
        return (
            lines + more,
            coordinates,
            "slot",
            [c.format(element="element") for c in conditions],
        )


@dataclass(frozen=True)
class Blocks:
    """
    The accumulator of a product: each thread has a block of `rows` x `columns` elements of
    a matrix. The matrix is the tile with its leading axes flattened; it may be smaller than
    the blocks together. Rows of a thread are neighbours; columns come in groups.
    """

    shape: tuple[int, ...]
    rows: int
    columns: int
    down: int
    """Threads along the rows, slower than those along the columns."""
    across: int

    @property
    def slots(self) -> int:
        return self.rows * self.columns

    @property
    def threads(self) -> int:
        return self.down * self.across

    @property
    def key(self) -> Hashable:
        return self

    @property
    def group(self) -> int:
        """Columns of a thread that are neighbours: as many as one vector access reads."""
        return next(g for g in (4, 2, 1) if self.columns % g == 0)

    @property
    def matrix(self) -> tuple[int, int]:
        """Rows and columns of the matrix."""
        return times(self.shape[:-1]), self.shape[-1]

    @property
    def padded(self) -> tuple[int, int]:
        """Rows and columns that the threads' blocks cover."""
        return self.down * self.rows, self.across * self.columns

    def first_row(self) -> str:
        return scaled(self.thread_row(), self.rows)

    def thread_row(self) -> str:
        if self.down == 1:
            return "0"
        return f"(thread / {self.across})" if self.across > 1 else "thread"

    def thread_column(self) -> str:
        if self.across == 1:
            return "0"
        return f"(thread % {self.across})" if self.down > 1 else "thread"

    def column(self, number: str) -> str:
        """The matrix column of a thread's column."""
        group, first = self.group, scaled(self.thread_column(), self.group)
        if self.columns == group:
            return sum_of(first, number)
        step = self.across * group
        if group == 1:
            return sum_of(f"{number} * {step}", first)
        return sum_of(f"{number} / {group} * {step}", first, f"{number} % {group}")

    def open(self) -> tuple[list[str], list[str], str, list[str]]:
        """As `Spread.open`."""
        lines = [
            "#pragma unroll",
            f"for (int slot = 0; slot < {self.slots}; ++slot) {{",
            f"const int row = {sum_of(self.first_row(), f'slot / {self.columns}')};",
            f"const int column = {self.column(f'(slot % {self.columns})')};",
        ]
        rows, columns = self.matrix
        conditions = []
        if self.padded[0] > rows:
            conditions.append(f"row < {rows}")
        if self.padded[1] > columns:
            conditions.append(f"column < {columns}")
        if len(self.shape) == 1:
            return lines, ["column"], "slot", conditions
        leading, more = split("row", self.shape[:-1], range(len(self.shape) - 1))
        return lines + more, [*leading, "column"], "slot", conditions


Layout = Spread | Blocks


def split(
    number: str, shape: Sequence[Number], order: Sequence[int], prefix: str = "c"
) -> tuple[list[str], list[str]]:
    """Coordinates of an element's number: their names, and the lines that compute them."""
    coordinates = ["0"] * len(shape)
    lines: list[str] = []
    axes = [axis for axis in order if shape[axis] != 1]
    inner: list[Number] = []
    for axis in reversed(axes):
        text = number
        if inner:
            text = f"{text} / {product_text(inner)}"
        if axis != axes[0]:
            text = f"{text} % {shape[axis]}"
        if text == number:
            coordinates[axis] = number
        else:
            coordinates[axis] = f"{prefix}{axis}"
            lines.append(f"const int {prefix}{axis} = {text};")
        inner.append(shape[axis])
    return coordinates, lines[::-1]


def product_text(numbers: Sequence[Number]) -> str:
    """A product of sizes, in parentheses where it needs them."""
    known = times([n for n in numbers if isinstance(n, int)])
    names = [n for n in numbers if isinstance(n, str)]
    factors = [*names, *([str(known)] if known != 1 or not names else [])]
    return factors[0] if len(factors) == 1 else f"({' * '.join(factors)})"


def scaled(text: str, factor: Number) -> str:
    """`text * factor`, simplified."""
    if text == "0" or factor == 0:
        return "0"
    if factor == 1:
        return text
    if text.lstrip("-").isdigit() and isinstance(factor, int):
        return str(int(text) * factor)
    if text == "1":
        return str(factor)
    return f"{text} * {factor}"


def sum_of(*terms: str) -> str:
    """A sum without zeros."""
    kept = [term for term in terms if term != "0"]
    return " + ".join(kept) if kept else "0"
