"""A program ready to run: metadata, code, weights; from the compiler or a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np

from infini_ir.runtime.image import Image
from infini_ir.runtime.memory import address_of, anonymous
from infini_ir.runtime.metadata import Metadata, WeightEntry
from infini_ir.utils.dtypes import dtype_name, numpy_dtype
from infini_ir.utils.errors import ArtifactError


class Code(Protocol):
    """The bytes of a flat image, or of a package of kernels."""

    def read(self) -> bytes: ...

    def map(self) -> Image:
        """Mapped and executable; only asked of native code."""
        ...


class Weights(Protocol):
    """Where weights are had by name: a `WeightStore` or a `WeightSection`."""

    def array(self, name: str) -> np.ndarray: ...

    def write(self, name: str, out: np.ndarray) -> None:
        """Put the numbers into zeroed memory of their shape and type."""
        ...

    def release(self, name: str) -> None: ...


@runtime_checkable
class StoredWeights(Weights, Protocol):
    """Weights that lie in one block already, from which they are to be copied to be used."""

    def laid_out(self) -> WeightSection:
        """The copy."""
        ...


@dataclass(frozen=True)
class CodeBytes:
    """Code in memory, as the linker gives it or as it lies in a file."""

    code: bytes

    def read(self) -> bytes:
        return self.code

    def map(self) -> Image:
        return Image.from_bytes(self.code)


class WeightSection:
    """All weights of a program side by side in one block, as native code sees them."""

    def __init__(self, block: np.ndarray, table: tuple[WeightEntry, ...]):
        self.block = block
        """Bytes, 64-byte aligned."""
        self.base = address_of(block)
        self._entries = {entry.name: entry for entry in table}

    def array(self, name: str) -> np.ndarray:
        """A view of one weight."""
        entry = self._entries[name]
        raw = self.block[entry.offset : entry.offset + entry.nbytes]
        return raw.view(numpy_dtype(entry.dtype)).reshape(entry.shape)

    def write(self, name: str, out: np.ndarray) -> None:
        """Copy one weight."""
        out[...] = self.array(name)

    def release(self, name: str) -> None:
        """Nothing: the block stays as long as the program."""

    @staticmethod
    def gather(source: Weights, table: tuple[WeightEntry, ...], size: int) -> WeightSection:
        """Write weights one by one into a fresh block, releasing each at its source.

        The largest come first: what making one takes besides its place is taken while most
        of the block has no memory yet.
        """
        section = WeightSection(anonymous(size), table)
        for entry in sorted(table, key=lambda entry: -entry.nbytes):
            source.write(entry.name, section.array(entry.name))
            source.release(entry.name)
        return section


def weight_array(source: Weights, entry: WeightEntry) -> np.ndarray:
    """One weight's numbers, of the type and shape that the program's table says."""
    array = source.array(entry.name)
    if array.shape != entry.shape or dtype_name(array.dtype) != entry.dtype:
        raise ArtifactError(
            f"weight '{entry.name}' is {array.dtype}{list(array.shape)}, but the program was "
            f"compiled for {entry.dtype}{list(entry.shape)}; compile the model again"
        )
    return array


@dataclass(eq=False)
class Program:
    """One program. The compiler builds it with `CodeBytes` and its weight store;
    `artifact.read` builds it with mapped regions of a file."""

    metadata: Metadata
    code: Code
    weights: Weights
    texts: Mapping[str, str] = field(default_factory=dict)
    """Texts of the levels it came through (`graph`, `tile`, `llvm`), saved with it."""
    when_ready: Callable[[Program], None] | None = None
    """Called once, when it is about to be run: code and weights are where they stay."""

    @cached_property
    def image(self) -> Image:
        """Native code, mapped and executable. Raises `ArtifactError` on a machine that lacks
        a feature the code needs."""
        self.metadata.check_host("this program")
        return self.code.map()

    @cached_property
    def weight_section(self) -> WeightSection:
        """The weights in one block; from here on they are read from it."""
        if isinstance(self.weights, StoredWeights):
            self.weights = self.weights.laid_out()
        elif not isinstance(self.weights, WeightSection):
            meta = self.metadata
            self.weights = WeightSection.gather(self.weights, meta.weights, meta.weights_size)
        return self.weights

    def tell_ready(self) -> None:
        """Call `when_ready`, the first time."""
        told, self.when_ready = self.when_ready, None
        if told is not None:
            told(self)
