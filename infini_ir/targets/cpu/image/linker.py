"""Link relocatable ELF64 objects into one flat, position-independent image.

The image holds every allocated section at its final distance from the others, so all
references between them are resolved here and loading needs no relocation. Formats follow
the System V ABI (chapter 4, object files), the x86-64 psABI (4.4, relocation) and the ELF
for the Arm 64-bit architecture (5.7, relocation); `relocate.py` has the last two.
"""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from infini_ir.targets.cpu.image.relocate import LinkError, Patch, apply
from infini_ir.utils.errors import CompileError

_SHT_SYMTAB, _SHT_RELA, _SHT_NOTE, _SHT_NOBITS, _SHT_REL = 2, 4, 7, 8, 9
_SHF_WRITE, _SHF_ALLOC, _SHF_EXECINSTR, _SHF_TLS = 0x1, 0x2, 0x4, 0x400
_SHN_UNDEF, _SHN_LORESERVE = 0, 0xFF00
_STB_LOCAL, _STB_WEAK = 0, 2
_STV_DEFAULT = 0
_ARCHITECTURES = {62: "x86-64", 183: "aarch64"}
_PAGE = 4096
_LINE = 64


@dataclass(frozen=True)
class FlatImage:
    """Linked code and constants, to be mapped at any page boundary."""

    code: bytes
    entries: dict[str, int]
    """Offset in `code` of each global symbol that is not hidden."""


@dataclass
class _Section:
    name: str
    kind: int
    flags: int
    offset: int
    size: int
    link: int
    info: int
    alignment: int
    place: int | None = None
    """Offset in the image, once laid out."""


@dataclass
class _Symbol:
    name: str
    section: int
    value: int
    binding: int
    visible: bool


@dataclass
class _Object:
    """One parsed object: its sections and symbols, by their index in the file."""

    data: bytes
    arch: str
    sections: list[_Section]
    symbols: list[_Symbol] = field(default_factory=list)

    def allocated(self) -> Iterable[_Section]:
        """The sections that take part in the image; unwind tables and notes do not."""
        for section in self.sections:
            dropped = section.kind == _SHT_NOTE or section.name == ".eh_frame"
            if section.flags & _SHF_ALLOC and section.size and not dropped:
                yield section

    def contents(self, section: _Section) -> bytes:
        return self.data[section.offset : section.offset + section.size]


def link(objects: bytes | Sequence[bytes]) -> FlatImage:
    """Lay out and relocate `objects`, whose global symbols are shared.

    Raises `CompileError` for symbols that none defines, `LinkError` for what a flat image
    cannot hold: writable data, thread-local data, absolute addresses.
    """
    parsed = [_parse(data) for data in ([objects] if isinstance(objects, bytes) else objects)]
    if not parsed:
        raise LinkError("there is nothing to link")
    if len({o.arch for o in parsed}) > 1:
        raise LinkError("objects for different architectures cannot be linked")
    image = _lay_out(parsed)
    globals_ = _resolve_globals(parsed)
    undefined: set[str] = set()
    for each in parsed:
        _relocate(each, image, globals_, undefined)
    if undefined:
        names = ", ".join(sorted(undefined))
        raise CompileError(
            f"the generated code calls functions that no module defines: {names}; "
            "the processor compiled for may lack an instruction that another has"
        )
    entries = {name: place for name, (place, symbol) in globals_.items() if symbol.visible}
    return FlatImage(bytes(image), entries)


def _parse(data: bytes) -> _Object:
    magic, machine = data[:7], struct.unpack_from("<H", data, 18)[0] if len(data) >= 64 else 0
    if magic != b"\x7fELF\x02\x01\x01" or machine not in _ARCHITECTURES:
        raise LinkError("not a little-endian ELF64 object for x86-64 or aarch64")
    (table,) = struct.unpack_from("<Q", data, 40)
    entry_size, count, names = struct.unpack_from("<HHH", data, 58)
    if count == 0:  # 0xff00 sections or more: the numbers are in the first header
        count, first_link = _real_counts(data, table)
        names = first_link if names == 0xFFFF else names
    headers = [
        struct.unpack_from("<IIQQQQIIQQ", data, table + entry_size * i) for i in range(count)
    ]
    strings = headers[names][4]
    sections = [
        _Section(
            _string(data, strings + h[0]), h[1], h[2], h[4], h[5], h[6], h[7], max(1, h[8])
        )
        for h in headers
    ]
    parsed = _Object(data, _ARCHITECTURES[machine], sections)
    for section in sections:
        if section.kind == _SHT_SYMTAB:
            parsed.symbols = list(_symbols(parsed, section))
    return parsed


def _real_counts(data: bytes, table: int) -> tuple[int, int]:
    header = struct.unpack_from("<IIQQQQIIQQ", data, table)
    return header[5], header[6]


def _string(data: bytes, start: int) -> str:
    return data[start : data.index(0, start)].decode()


def _symbols(parsed: _Object, section: _Section) -> Iterable[_Symbol]:
    strings = parsed.sections[section.link].offset
    for name, info, other, index, value, _ in struct.iter_unpack(
        "<IBBHQQ", parsed.contents(section)
    ):
        text = _string(parsed.data, strings + name)
        yield _Symbol(text, index, value, info >> 4, other & 3 == _STV_DEFAULT)


def _lay_out(objects: Sequence[_Object]) -> bytearray:
    """Give every allocated section its place, code first, and copy its bytes there."""
    image = bytearray()
    chosen = [(o, s) for o in objects for s in o.allocated()]
    chosen.sort(key=lambda pair: not pair[1].flags & _SHF_EXECINSTR)
    for each, section in chosen:
        _check_section(section)
        alignment = section.alignment
        if image and not section.flags & _SHF_EXECINSTR:
            alignment = max(alignment, _LINE)
        section.place = -(-len(image) // alignment) * alignment
        image.extend(bytes(section.place - len(image)))
        image.extend(each.contents(section))
    return image


def _check_section(section: _Section) -> None:
    if section.flags & _SHF_TLS:
        raise LinkError(f"section {section.name} is thread-local; a flat image has none")
    if section.flags & _SHF_WRITE or section.kind == _SHT_NOBITS:
        raise LinkError(
            f"section {section.name} is writable ({section.size} bytes); a flat image is read-only: "
            "make the global a constant without addresses in it"
        )
    if section.alignment > _PAGE:
        raise LinkError(
            f"section {section.name} wants an alignment of {section.alignment} bytes"
        )


def _place(each: _Object, symbol: _Symbol) -> int | None:
    """Where a symbol that `each` defines lies in the image; `None` if it is in a section left out."""
    if symbol.section >= _SHN_LORESERVE:
        raise LinkError(
            f"symbol {symbol.name} is absolute or common; a flat image has only sections"
        )
    place = each.sections[symbol.section].place
    return None if place is None else place + symbol.value


def _resolve_globals(objects: Sequence[_Object]) -> dict[str, tuple[int, _Symbol]]:
    found: dict[str, tuple[int, _Symbol]] = {}
    for each in objects:
        for symbol in each.symbols:
            if symbol.binding == _STB_LOCAL or symbol.section == _SHN_UNDEF:
                continue
            place = _place(each, symbol)
            if place is None:
                continue
            other = found.get(symbol.name)
            if other is None or other[1].binding == _STB_WEAK != symbol.binding:
                found[symbol.name] = place, symbol
            elif symbol.binding != _STB_WEAK:
                raise LinkError(f"symbol {symbol.name} is defined twice")
    return found


def _relocate(
    each: _Object,
    image: bytearray,
    globals_: dict[str, tuple[int, _Symbol]],
    undefined: set[str],
) -> None:
    """Apply all relocations of one object to its sections in the image."""
    for table in each.sections:
        if table.kind not in (_SHT_RELA, _SHT_REL):
            continue
        base = each.sections[table.info].place
        if base is None:
            continue
        if table.kind == _SHT_REL:
            raise LinkError(f"{table.name} has relocations without addends")
        for offset, info, addend in struct.iter_unpack("<QQq", each.contents(table)):
            symbol = each.symbols[info >> 32]
            target = _target(each, symbol, globals_)
            if target is None:
                undefined.add(symbol.name)
                continue
            patch = Patch(info & 0xFFFFFFFF, base + offset, target, addend, symbol.name)
            apply(each.arch, image, patch)


def _target(
    each: _Object, symbol: _Symbol, globals_: dict[str, tuple[int, _Symbol]]
) -> int | None:
    if symbol.binding != _STB_LOCAL:
        found = globals_.get(symbol.name)
        return found[0] if found else None
    return _place(each, symbol) if symbol.section != _SHN_UNDEF else None
