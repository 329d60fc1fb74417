"""Where the C program's arguments are, stated by hand from the System V calling convention.

`agents.binaries` reads Go so far; the cost of a probed C call does not depend on who says where the arguments are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from agents.binaries.model import (
    BinaryIdentity,
    InRegister,
    Integer,
    Language,
    Piece,
    Pointer,
    Register,
    ResolvedProbe,
    ReturnMethod,
    Site,
    TrapClass,
    TypeId,
    TypeTable,
    Variable,
)

_LONG, _CHAR, _TEXT = TypeId(1), TypeId(2), TypeId(3)
_TYPES: Final[TypeTable] = {
    _LONG: Integer("long", 8, signed=True),
    _CHAR: Integer("char", 1, signed=True, character=True),
    _TEXT: Pointer("const char *", _CHAR),
}
_PLACES: Final = (
    ("id", _LONG, Register.RDI),
    ("units", _LONG, Register.RSI),
    ("cents", _LONG, Register.RDX),
    ("customer", _TEXT, Register.RCX),
)
_ENDBR64: Final = bytes.fromhex("f30f1efa")
_PUSH_R12: Final = bytes.fromhex("4154")  # how gcc begins place_order: the kernel emulates it


def resolved(binary: Path, function: str) -> ResolvedProbe:
    """`place_order` of calls.c, probed at its first push. Raises LookupError when gcc begins it otherwise."""
    with binary.open("rb") as file:
        elf = ELFFile(file)
        table = elf.get_section_by_name(".symtab")
        assert isinstance(table, SymbolTableSection)
        symbol = (table.get_symbol_by_name(function) or [])[0]
        low = symbol["st_value"]
        offset = next(iter(elf.address_offsets(low)))
        file.seek(offset)
        code = file.read(6)
    skip = len(_ENDBR64) if code.startswith(_ENDBR64) else 0
    if code[skip : skip + 2] != _PUSH_R12:
        raise LookupError(f"{function} begins with {code.hex()}: expected an optional endbr64, then push %r12")
    entry = Site(low + skip, offset + skip, TrapClass.EMULATED, "push r12", Register.RSP, 8)
    status = binary.stat()
    return ResolvedProbe(
        binary=BinaryIdentity(str(binary), "", status.st_ino, status.st_dev),
        function=function,
        language=Language.C,
        file="calls.c",
        line=None,
        low_pc=low,
        high_pc=low + symbol["st_size"],
        arguments=tuple(Variable(name, kind, (Piece(0, 8, InRegister(place)),)) for name, kind, place in _PLACES),
        results=(),
        entry=entry,
        returns=(),
        return_method=ReturnMethod.URETPROBE,
        inlined_copies=(),
        go=None,
        types=_TYPES,
        position_independent=True,
    )
