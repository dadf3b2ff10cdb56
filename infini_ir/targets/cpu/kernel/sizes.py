"""Symbolic sizes as LLVM values: constants where known, else computed once on entry."""

from __future__ import annotations

from collections.abc import Mapping

from infini_ir.dialects import tile
from infini_ir.dialects.dims import DimsAttr
from infini_ir.targets.cpu.llvm.writer import Function, V, integer
from infini_ir.utils.symbolic import Dim


class Sizes:
    """The sizes of one function. `parameters` are the tile sizes that the plan fixed."""

    def __init__(
        self, f: Function, symbol_index: Mapping[str, int], parameters: Mapping[str, int]
    ) -> None:
        self.f = f
        self.symbol_index = symbol_index
        self.substitution = {name: Dim.of(value) for name, value in parameters.items()}
        self.known: dict[Dim, V] = {}

    def prepare(self, kernel: tile.KernelOp) -> None:
        """Compute every size that the kernel mentions, where the function begins."""
        for dim in _mentioned(kernel):
            self.of(dim)

    def of(self, dim: Dim) -> V:
        """A size as an i64."""
        dim = dim.substitute(self.substitution)
        if dim.value is not None:
            return integer(dim.value)
        value = self.known.get(dim)
        if value is None:
            value = self._emit(dim)
            self.known[dim] = value
        return value

    def forget(self, symbol: str) -> None:
        """The symbol has a new value: drop what was computed from the old one."""
        self.known = {d: v for d, v in self.known.items() if symbol not in d.symbols()}

    def _emit(self, dim: Dim) -> V:
        total = integer(0)
        for monomial, coefficient in dim.terms:
            term = integer(coefficient)
            for atom, power in monomial:
                value = self._atom(atom)
                for _ in range(power):
                    term = self.f.mul(term, value)
            total = self.f.add(total, term)
        return total

    def _atom(self, atom: object) -> V:
        if isinstance(atom, str):
            dim = Dim.symbol(atom)
            if dim not in self.known:
                index = integer(self.symbol_index[atom])
                pointer = self.f.gep(V("%symbols", "ptr"), index, "i64")
                self.known[dim] = self.f.load(pointer, "i64", 1, 8)
            return self.known[dim]
        assert isinstance(atom, tuple)
        function, left, right = atom
        a, b = self.of(left), self.of(right)
        operations = {
            "floordiv": self.f.floordiv,
            "mod": self.f.mod,
            "min": self.f.min,
            "max": self.f.max,
        }
        return operations[function](a, b)


def _mentioned(kernel: tile.KernelOp) -> list[Dim]:
    dims: list[Dim] = [*kernel.bounds.data, *kernel.steps.data]
    for view in kernel.views:
        type = tile.view_type(view)
        dims += [*type.shape, *type.strides]
    for op in kernel.body.walk():
        for result in op.results:
            if isinstance(result.type, tile.TileType):
                dims += result.type.shape
        for attribute in op.properties.values():
            if isinstance(attribute, DimsAttr):
                dims += attribute.data
    return dims
