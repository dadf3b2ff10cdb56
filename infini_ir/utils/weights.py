"""Weights behind handles: names in the IR, arrays only when someone asks for the numbers.

A store keeps three kinds of weight: an array in memory (kept as it is, never copied), a
region of a file (mapped at first use), and a value derived from others, such as a packed
layout (computed at first use, and again after a release).
"""

from __future__ import annotations

import abc
import hashlib
import math
import mmap
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from infini_ir.utils.dtypes import dtype_name, item_size, numpy_dtype
from infini_ir.utils.errors import ModelError
from infini_ir.utils.file_digests import State


@dataclass(eq=False)
class _Weight(abc.ABC):
    dtype: str
    shape: tuple[int, ...]
    digest: str | None = None
    sources: tuple[str, ...] = ()
    """Weights that this one is computed from."""

    @abc.abstractmethod
    def array(self, store: WeightStore) -> np.ndarray:
        """The numbers."""

    def write(self, store: WeightStore, out: np.ndarray) -> None:
        """Put the numbers into zeroed memory."""
        out[...] = self.array(store)

    def compute_digest(self, store: WeightStore) -> str:
        return _content_digest(self.array(store))

    def release(self, store: WeightStore) -> None:  # noqa: B027 - most have nothing to give
        """Give back memory that can be had again."""


@dataclass(eq=False)
class _Held(_Weight):
    """An array in memory."""

    value: np.ndarray | None = None

    def array(self, store: WeightStore) -> np.ndarray:
        assert self.value is not None
        return self.value


@dataclass(eq=False)
class _InFile(_Weight):
    """A region of a file, in the element type's own byte order (little endian)."""

    path: Path = Path()
    offset: int = 0

    def array(self, store: WeightStore) -> np.ndarray:
        size = _size(self.dtype, self.shape)
        if size == 0:
            return np.empty(self.shape, numpy_dtype(self.dtype))
        raw = np.frombuffer(store._mapping(self.path), np.uint8, size, self.offset)
        return raw.view(numpy_dtype(self.dtype)).reshape(self.shape)

    def release(self, store: WeightStore) -> None:
        """Tell the system that the pages are not needed soon; they stay readable."""
        mapping = store._mappings.get(self.path)
        start = -(-self.offset // mmap.PAGESIZE) * mmap.PAGESIZE
        end = self.offset + _size(self.dtype, self.shape)
        length = (end - start) // mmap.PAGESIZE * mmap.PAGESIZE
        if mapping is not None and length > 0:
            mapping.madvise(mmap.MADV_DONTNEED, start, length)


@dataclass(eq=False)
class _Derived(_Weight):
    """A function of other weights."""

    key: str = ""
    compute: Callable[..., np.ndarray] | None = None
    fill: Callable[..., None] | None = None
    """In place of `compute`: writes the numbers into zeroed memory, its first argument."""
    value: np.ndarray | None = None

    def write(self, store: WeightStore, out: np.ndarray) -> None:
        if self.fill is None or self.value is not None:
            super().write(store, out)
        else:
            self.fill(out, *(store.array(s) for s in self.sources))

    def array(self, store: WeightStore) -> np.ndarray:
        if self.value is None:
            value = self._made(store)
            if value.shape != self.shape or dtype_name(value.dtype) != self.dtype:
                raise AssertionError(
                    f"weight derived by '{self.key}' is {value.dtype}{list(value.shape)}, "
                    f"declared {self.dtype}{list(self.shape)}"
                )
            self.value = value
            # Chains of layouts would otherwise hold a weight as often as it has links.
            for source in self.sources:
                store.release(source)
        return self.value

    def _made(self, store: WeightStore) -> np.ndarray:
        if self.fill is not None:
            value = np.zeros(self.shape, numpy_dtype(self.dtype))
            self.write(store, value)
            return value
        assert self.compute is not None
        return np.asarray(self.compute(*(store.array(s) for s in self.sources)))

    def compute_digest(self, store: WeightStore) -> str:
        parts = [self.key, self.dtype, repr(self.shape), *map(store.digest, self.sources)]
        return _tag(hashlib.sha256("\n".join(parts).encode()))

    def release(self, store: WeightStore) -> None:
        self.value = None


class WeightStore:
    """Named weights. Adding never copies and never hashes; deriving never computes."""

    def __init__(self) -> None:
        self._weights: dict[str, _Weight] = {}
        self._derived: dict[tuple[tuple[str, ...], str, str, tuple[int, ...]], str] = {}
        self._mappings: dict[Path, mmap.mmap] = {}
        self.files: dict[Path, State] = {}
        """Files beside the model that weights and constants were found in, as they were then."""

    # Adding

    def add(self, name: str, array: np.ndarray) -> str:
        """Keep `array` (no copy) and return its name: `name`, or `name_1` where that is taken."""
        array = np.asarray(array)
        try:
            dtype = dtype_name(array.dtype)
        except KeyError:
            raise ModelError(
                f"weight '{name}' has dtype {array.dtype}, which has no counterpart here; "
                "convert it to a real number type"
            ) from None
        return self._insert(name, _Held(dtype, array.shape, value=array))

    def add_file(
        self,
        name: str,
        path: str | os.PathLike[str],
        offset: int,
        dtype_name: str,
        shape: Sequence[int],
    ) -> str:
        """Refer to a region of a file: row-major, little endian, mapped at first use.

        Raises `ModelError` where the file is missing or ends too soon.
        """
        path, shape = Path(path), tuple(int(n) for n in shape)
        end = offset + _size(dtype_name, shape)
        try:
            length = path.stat().st_size
        except OSError as error:
            raise ModelError(
                f"weight '{name}': cannot read {path}: {error.strerror}; "
                "keep the weight files next to the model"
            ) from error
        if offset < 0 or end > length:
            raise ModelError(
                f"weight '{name}' takes bytes {offset} to {end} of {path}, which has only "
                f"{length}; the file is cut short or belongs to another model"
            )
        return self._insert(name, _InFile(dtype_name, shape, path=path, offset=offset))

    def derive(
        self,
        sources: Iterable[str],
        key: str,
        dtype_name: str,
        shape: Sequence[int],
        compute: Callable[..., np.ndarray],
    ) -> str:
        """The weight `compute(*sources' arrays)`, computed at the first `array(name)`.

        `key` must say all that `compute` does: the same sources, key, type and shape give
        the same name again. Sources are compared by name, so that nothing is hashed. The
        result may be a view of the sources, as a transposition's is: nothing is copied then.
        """
        sources, shape = tuple(sources), tuple(int(n) for n in shape)
        weight = _Derived(dtype_name, shape, sources=sources, key=key, compute=compute)
        return self._derive(weight)

    def derive_in_place(
        self,
        sources: Iterable[str],
        key: str,
        dtype_name: str,
        shape: Sequence[int],
        fill: Callable[..., None],
    ) -> str:
        """The same for a weight that `fill(out, *sources' arrays)` writes, of zeros before:
        `write` makes it where it is to lie, and never holds it twice."""
        sources, shape = tuple(sources), tuple(int(n) for n in shape)
        return self._derive(_Derived(dtype_name, shape, sources=sources, key=key, fill=fill))

    def _derive(self, weight: _Derived) -> str:
        sources = weight.sources
        for source in sources:
            self[source]
        identity = (sources, weight.key, weight.dtype, weight.shape)
        known = self._derived.get(identity)
        if known is None:
            stem = f"{sources[0]}.{weight.key}" if sources else weight.key
            known = self._derived[identity] = self._insert(stem, weight)
        return known

    # Asking

    def array(self, name: str) -> np.ndarray:
        """The numbers; for a weight in a file, a read-only view of the mapping."""
        return self[name].array(self)

    def write(self, name: str, out: np.ndarray) -> None:
        """Put the numbers into `out`: zeros of the weight's shape and type before."""
        weight = self[name]
        if out.shape != weight.shape or dtype_name(out.dtype) != weight.dtype:
            raise ModelError(
                f"weight '{name}' is {weight.dtype}{list(weight.shape)}, not "
                f"{dtype_name(out.dtype)}{list(out.shape)}; compile the model again"
            )
        weight.write(self, out)

    def dtype(self, name: str) -> str:
        """The element type's name."""
        return self[name].dtype

    def shape(self, name: str) -> tuple[int, ...]:
        return self[name].shape

    def nbytes(self, name: str) -> int:
        """Bytes taken when stored contiguously."""
        weight = self[name]
        return _size(weight.dtype, weight.shape)

    def digest(self, name: str) -> str:
        """`sha256:` and 64 hexadecimal digits, worked out at the first call.

        Of the content, or, for a derived weight, of its key and its sources' digests.
        """
        weight = self[name]
        if weight.digest is None:
            weight.digest = weight.compute_digest(self)
        return weight.digest

    def names(self) -> tuple[str, ...]:
        """All names, in the order of adding."""
        return tuple(self._weights)

    def __contains__(self, name: object) -> bool:
        return name in self._weights

    def __len__(self) -> int:
        return len(self._weights)

    def __getitem__(self, name: str) -> _Weight:
        try:
            return self._weights[name]
        except KeyError:
            raise ModelError(
                f"there is no weight '{name}' in the store; text that names weights can only "
                "run with the store it was printed from"
            ) from None

    # Memory

    def release(self, name: str) -> None:
        """Free what can be had again: a derived value and those it was computed from, the
        resident pages of a file region.

        The weight stays usable. Arrays given to `add` are the caller's and are not touched.
        """
        weight = self[name]
        weight.release(self)
        for source in weight.sources:
            self.release(source)

    def _insert(self, name: str, weight: _Weight) -> str:
        unique, count = name, 0
        while unique in self._weights:
            count += 1
            unique = f"{name}_{count}"
        self._weights[unique] = weight
        return unique

    def _mapping(self, path: Path) -> mmap.mmap:
        mapping = self._mappings.get(path)
        if mapping is None:
            try:
                with path.open("rb") as file:
                    mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except (OSError, ValueError) as error:
                raise ModelError(
                    f"cannot map weight file {path}: {error}; did it change since it was found?"
                ) from error
            self._mappings[path] = mapping
        return mapping


def _size(dtype: str, shape: tuple[int, ...]) -> int:
    return math.prod(shape) * item_size(dtype)


def _tag(state: hashlib._Hash) -> str:
    return f"sha256:{state.hexdigest()}"


def _content_digest(array: np.ndarray) -> str:
    """Of type, shape and little-endian row-major content."""
    state = hashlib.sha256(f"{dtype_name(array.dtype)}{list(array.shape)}".encode())
    native = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="), copy=False))
    state.update(native.reshape(-1).view(np.uint8).data)
    return _tag(state)
