"""Files in one block of bytes: how the kernels and the plan of a device program are kept.

8 bytes    length of the table
table      JSON: name -> [offset, size], offsets from the end of the table
files      each at a multiple of 16
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from infini_ir.utils.errors import ArtifactError

_ALIGNMENT = 16
_LENGTH = 8


def pack(files: Mapping[str, bytes]) -> bytes:
    """All files in one block; `unpack` gives them back."""
    sizes = {name: len(data) for name, data in files.items()}
    # Offsets count from the end of the table, whose length then does not depend on them.
    table: dict[str, list[int]] = {}
    offset = 0
    for name, size in sizes.items():
        table[name] = [offset, size]
        offset += -(-size // _ALIGNMENT) * _ALIGNMENT
    head = json.dumps(table, separators=(",", ":")).encode()
    head += b" " * (-(_LENGTH + len(head)) % _ALIGNMENT)
    parts = [len(head).to_bytes(_LENGTH, "little"), head]
    for data in files.values():
        parts += [data, bytes(-len(data) % _ALIGNMENT)]
    return b"".join(parts)


def unpack(block: bytes) -> dict[str, bytes]:
    """The files by name. Raises `ArtifactError` for a block that `pack` did not make."""
    try:
        begin = _LENGTH + int.from_bytes(block[:_LENGTH], "little")
        table = json.loads(block[_LENGTH:begin])
        files = {
            str(name): block[begin + int(offset) : begin + int(offset) + int(size)]
            for name, (offset, size) in table.items()
        }
        whole = all(len(files[name]) == size for name, (_, size) in table.items())
    except (ValueError, TypeError, AttributeError) as error:
        raise ArtifactError(
            f"the program's kernels cannot be read ({error}); compile the model again"
        ) from error
    if not whole:
        raise ArtifactError("the program's kernels are cut short; compile the model again")
    return files
