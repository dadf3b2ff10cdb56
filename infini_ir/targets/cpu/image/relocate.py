"""The relocations of x86-64 and AArch64 that position-independent code needs.

A patch computes from S (the symbol's place), A (the addend) and P (the patched place),
all offsets in an image that starts on a page boundary. References through a global offset
table become direct ones, as both ABIs allow when the symbol is in the same image.
"""

import struct
from collections.abc import Callable
from typing import NamedTuple


class LinkError(RuntimeError):
    """Generated code that a flat image cannot hold: a mistake of the compiler, not of its user."""

    def __init__(self, reason: str):
        super().__init__(f"internal error while linking: {reason}")


class Patch(NamedTuple):
    """One relocation entry, its symbol resolved."""

    kind: int
    place: int
    symbol: int
    addend: int
    name: str

    @property
    def value(self) -> int:
        """S + A."""
        return self.symbol + self.addend

    @property
    def distance(self) -> int:
        """S + A - P."""
        return self.symbol + self.addend - self.place


def apply(arch: str, image: bytearray, patch: Patch) -> None:
    """Resolve one relocation in place."""
    action = _TABLES[arch].get(patch.kind)
    if action is None:
        raise LinkError(
            f"relocation {patch.kind} of {arch} against '{patch.name}' is not position independent or not known"
        )
    action(image, patch)


def _fits(value: int, bits: int, patch: Patch) -> int:
    if not -(1 << bits - 1) <= value < 1 << bits - 1:
        raise LinkError(f"'{patch.name}' is {value} bytes away, more than {bits} bits can say")
    return value


def _relative32(image: bytearray, patch: Patch) -> None:
    struct.pack_into("<i", image, patch.place, _fits(patch.distance, 32, patch))


def _relative64(image: bytearray, patch: Patch) -> None:
    struct.pack_into("<q", image, patch.place, patch.distance)


# x86-64 psABI, table 4.10 and section B.2 (relaxing GOTPCRELX)


def _got_load(image: bytearray, patch: Patch) -> None:
    """Turn an instruction that reads the address of a symbol from the table into one that computes it."""
    opcode, operand = patch.place - 2, patch.place - 1
    code = image[opcode]
    if code == 0x8B:  # mov symbol@GOTPCREL(%rip), %reg -> lea symbol(%rip), %reg
        image[opcode] = 0x8D
    elif (
        code == 0xFF and image[operand] == 0x15
    ):  # call *symbol@GOTPCREL(%rip) -> addr32 call symbol
        image[opcode : patch.place] = b"\x67\xe8"
    elif (
        code == 0xFF and image[operand] == 0x25
    ):  # jmp *symbol@GOTPCREL(%rip) -> jmp symbol; nop
        image[opcode] = 0xE9
        struct.pack_into("<i", image, operand, _fits(patch.distance + 1, 32, patch))
        image[patch.place + 3] = 0x90
        return
    else:
        raise LinkError(
            f"instruction {code:#x} reads the address of '{patch.name}' from memory"
        )
    _relative32(image, patch)


# ELF for the Arm 64-bit architecture, 5.7.3 to 5.7.9


def _insert(image: bytearray, place: int, value: int, low: int, width: int) -> None:
    """Put the low `width` bits of `value` into the instruction at `place`, from bit `low`."""
    (word,) = struct.unpack_from("<I", image, place)
    mask = (1 << width) - 1
    struct.pack_into("<I", image, place, word & ~(mask << low) | (value & mask) << low)


def _branch26(image: bytearray, patch: Patch) -> None:
    _insert(image, patch.place, _fits(patch.distance, 28, patch) >> 2, 0, 26)


def _literal19(image: bytearray, patch: Patch) -> None:
    _insert(image, patch.place, _fits(patch.distance, 21, patch) >> 2, 5, 19)


def _address(image: bytearray, place: int, value: int) -> None:
    """The 21-bit immediate of `adr` and `adrp`: low 2 bits at 29, the rest at 5."""
    _insert(image, place, value, 29, 2)
    _insert(image, place, value >> 2, 5, 19)


def _adr(image: bytearray, patch: Patch) -> None:
    _address(image, patch.place, _fits(patch.distance, 21, patch))


def _adr_page(image: bytearray, patch: Patch) -> None:
    pages = (patch.value >> 12) - (patch.place >> 12)
    _address(image, patch.place, _fits(pages, 21, patch))


def _low12(scale: int) -> "_Action":
    """The low 12 bits of the address, in units of `1 << scale` bytes."""

    def action(image: bytearray, patch: Patch) -> None:
        low = patch.value & 0xFFF
        if low & (1 << scale) - 1:
            raise LinkError(f"'{patch.name}' is not aligned to {1 << scale} bytes")
        _insert(image, patch.place, low >> scale, 10, 12)

    return action


def _got_low12(image: bytearray, patch: Patch) -> None:
    """`ldr xd, [xn, :got_lo12:symbol]` becomes `add xd, xn, :lo12:symbol`."""
    (word,) = struct.unpack_from("<I", image, patch.place)
    struct.pack_into("<I", image, patch.place, 0x91000000 | word & 0x3FF)
    _insert(image, patch.place, patch.value & 0xFFF, 10, 12)


_Action = Callable[[bytearray, Patch], None]

_X86_64: dict[int, _Action] = {
    2: _relative32,  # R_X86_64_PC32
    4: _relative32,  # R_X86_64_PLT32
    9: _got_load,  # R_X86_64_GOTPCREL
    24: _relative64,  # R_X86_64_PC64
    41: _got_load,  # R_X86_64_GOTPCRELX
    42: _got_load,  # R_X86_64_REX_GOTPCRELX
}

_AARCH64: dict[int, _Action] = {
    260: _relative64,  # R_AARCH64_PREL64
    261: _relative32,  # R_AARCH64_PREL32
    273: _literal19,  # R_AARCH64_LD_PREL_LO19
    274: _adr,  # R_AARCH64_ADR_PREL_LO21
    275: _adr_page,  # R_AARCH64_ADR_PREL_PG_HI21
    277: _low12(0),  # R_AARCH64_ADD_ABS_LO12_NC
    278: _low12(0),  # R_AARCH64_LDST8_ABS_LO12_NC
    280: _literal19,  # R_AARCH64_CONDBR19
    282: _branch26,  # R_AARCH64_JUMP26
    283: _branch26,  # R_AARCH64_CALL26
    284: _low12(1),  # R_AARCH64_LDST16_ABS_LO12_NC
    285: _low12(2),  # R_AARCH64_LDST32_ABS_LO12_NC
    286: _low12(3),  # R_AARCH64_LDST64_ABS_LO12_NC
    299: _low12(4),  # R_AARCH64_LDST128_ABS_LO12_NC
    311: _adr_page,  # R_AARCH64_ADR_GOT_PAGE
    312: _got_low12,  # R_AARCH64_LD64_GOT_LO12_NC
    314: _relative32,  # R_AARCH64_PLT32
}

_TABLES = {"x86-64": _X86_64, "aarch64": _AARCH64}
