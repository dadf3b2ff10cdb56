"""The file of a project's weights: a header, then every weight at its aligned place.

    byte  0   8 bytes   INFINIW1
          8   8 bytes   size of the file, little endian
         16   32 bytes  SHA-256 of the table: names, types, shapes and places
         64             zeros up to the alignment, where the first weight begins

Only the table is hashed, so other weights of the same model may take these ones' place.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from infini_ir.runtime.metadata import WeightEntry
from infini_ir.runtime.program import Weights, weight_array

MAGIC = b"INFINIW1"
HEADER = 64
CHUNK = 1 << 24
"""Bytes converted and written at a time."""


def place_weights(
    weights: Iterable[tuple[str, str, tuple[int, ...]]], alignment: int
) -> tuple[WeightEntry, ...]:
    """Places in the file for (name, dtype, shape), in order, the header before them."""
    entries, offset = [], max(HEADER, alignment)
    for name, dtype, shape in weights:
        entry = WeightEntry(name, offset, dtype, tuple(shape))
        entries.append(entry)
        offset = _align(offset + entry.nbytes, alignment)
    return tuple(entries)


def file_size(table: Sequence[WeightEntry], alignment: int) -> int:
    """Bytes of the file: the last weight is filled up to the alignment too."""
    end = max((entry.offset + entry.nbytes for entry in table), default=HEADER)
    return _align(end, alignment)


def table_digest(table: Sequence[WeightEntry]) -> bytes:
    """What the header says of the table."""
    text = json.dumps([entry.to_json() for entry in table], separators=(",", ":"))
    return hashlib.sha256(text.encode()).digest()


def write_weights(
    path: Path, source: Weights, table: Sequence[WeightEntry], alignment: int
) -> None:
    """Write the file, one weight after the other, each given back when it is written."""
    size = file_size(table, alignment)
    with path.open("wb") as file:
        file.write(MAGIC + size.to_bytes(8, "little") + table_digest(table))
        for entry in table:
            file.seek(entry.offset)
            flat = _flat(weight_array(source, entry))
            step = max(1, CHUNK // max(1, flat.itemsize))
            for begin in range(0, flat.size, step):
                part = np.ascontiguousarray(flat[begin : begin + step])
                file.write(part.astype(part.dtype.newbyteorder("<"), copy=False).tobytes())
            source.release(entry.name)
        file.truncate(size)


def _flat(array: np.ndarray) -> np.ndarray:
    """The elements in row-major order, without a copy where they lie so."""
    return np.ascontiguousarray(array).reshape(-1)


def _align(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment
