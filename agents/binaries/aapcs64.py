"""Assign C and C++ arguments and results to registers and stack on arm64: AAPCS64, 6.8 "Parameter passing".

In come types by their entries, out come locations at the function's first instruction, and after its return; classes as
`sysv_abi` tells them. What goes in vector registers is absent; a type that is not known leaves it and all behind it open.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from agents.absence import Absent, Reason
from agents.binaries import dwarf_constants as dw
from agents.binaries.machine import ARM64
from agents.binaries.model import InMemory, InRegister, Location, Piece, TypeId
from agents.binaries.native_types import POINTERS, STRUCTS, NativeTypes
from agents.binaries.sysv_abi import Convention, Copying, Type, alignment, copying

INTEGER_ARGUMENTS: Final = ARM64.registers[:8]
VECTOR_ARGUMENTS: Final = 8
WORD: Final = 8
LARGEST_IN_REGISTERS: Final = 16

_IN_VECTOR: Final = Absent(Reason.IN_VECTOR_REGISTER, "in a vector register, which a uprobe cannot read")
_BY_X8: Final = Absent(Reason.NO_LOCATION, "its address came in x8, which the function need not keep")


def assign(types: NativeTypes, arguments: Sequence[Type], result: Type | None) -> Convention:
    integers = vectors = stack = 0
    found: list[Location | Absent | None] = []
    for each in arguments:
        kind, size = _kind(types, each), types.size(each)
        if kind is None or (found and found[-1] is None) or not size:
            found.append(None)
        elif kind == "vector":
            vectors += 1
            found.append(_IN_VECTOR if vectors <= VECTOR_ARGUMENTS else None)
        elif kind == "reference":
            if integers < len(INTEGER_ARGUMENTS):
                found.append((Piece(0, size, InMemory(INTEGER_ARGUMENTS[integers], 0)),))
                integers += 1
            else:
                found.append(None)
        else:
            words = -(-size // WORD)
            if integers + words <= len(INTEGER_ARGUMENTS):
                found.append(_pieces(integers, size))
                integers += words
            else:  # what does not fit closes the registers for all behind it (C.13)
                integers = len(INTEGER_ARGUMENTS)
                found.append((Piece(0, size, InMemory(ARM64.stack, stack)),))
                stack += words * WORD
    return Convention(tuple(found), _result(types, result))


def _result(types: NativeTypes, result: Type | None) -> Location | Absent | None:
    if result is None:
        return ()
    kind, size = _kind(types, result), types.size(result)
    if kind is None or not size:
        return None
    return {"vector": _IN_VECTOR, "reference": _BY_X8}.get(kind) or _pieces(0, size)


def _pieces(first: int, size: int) -> Location:
    return tuple(
        Piece(at, min(WORD, size - at), InRegister(INTEGER_ARGUMENTS[first + at // WORD]))
        for at in range(0, size, WORD)
    )


def _kind(types: NativeTypes, offset: Type) -> str | None:
    """Passed as "integer", "vector" or "reference"; None when it is not known."""
    entry, _ = types.named(TypeId(offset))
    if entry.tag in POINTERS or entry.tag == dw.TAG_ENUMERATION_TYPE:
        return "integer"
    if entry.tag == dw.TAG_BASE_TYPE:
        encoding = entry.number(dw.AT_ENCODING)
        if encoding == dw.ATE_COMPLEX_FLOAT:
            return None
        return "vector" if encoding == dw.ATE_FLOAT else "integer" if types.size(offset) <= WORD else None
    if entry.tag not in STRUCTS:
        return None
    verdict = copying(types, entry)
    if verdict is Copying.UNKNOWN:
        return None
    if verdict is Copying.NOT_TRIVIAL:
        return "reference"
    leaves = list(_leaves(types, offset, 0))
    if leaves and all(leaf == "float" for leaf in leaves):
        return "vector" if len(leaves) <= 4 else None  # a homogeneous aggregate, if its parts are of one size
    if alignment(types, offset, 0) > WORD:
        return None  # begins at an even register (C.10)
    return "reference" if types.size(offset) > LARGEST_IN_REGISTERS else "integer"


def _leaves(types: NativeTypes, offset: Type, level: int) -> list[str]:
    entry, _ = types.named(TypeId(offset))
    if level > 8 or entry.tag == dw.TAG_ARRAY_TYPE:
        return (
            ["other"]
            if entry.tag != dw.TAG_ARRAY_TYPE
            else _leaves(types, entry.number(dw.AT_TYPE) or 0, level + 1) * 2
        )
    if entry.tag in STRUCTS:
        return [leaf for member in types.members(entry) for leaf in _leaves(types, member.type, level + 1)]
    is_float = entry.tag == dw.TAG_BASE_TYPE and entry.number(dw.AT_ENCODING) == dw.ATE_FLOAT
    return ["float" if is_float else "other"]
