"""Assign C and C++ arguments and results to registers and stack: the x86-64 psABI, 3.2.3, and the Itanium C++ ABI, 3.1.

In come types by their entries, out come locations at the function's first instruction, and after its return. Where a type
leaves the class in doubt (a C++ class whose copying may or may not be trivial), it and all behind it are left open:
`native_functions` then has DWARF's word only, or says that the place is not known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from agents.absence import Absent, Reason
from agents.binaries import dwarf_constants as dw
from agents.binaries.dwarf_entries import Entry
from agents.binaries.dwarf_forms import BadDwarf
from agents.binaries.model import InMemory, InRegister, Location, Piece, Place, Register, TypeId
from agents.binaries.native_types import POINTERS, STRUCTS, NativeTypes

INTEGER_ARGUMENTS: Final = (Register.RDI, Register.RSI, Register.RDX, Register.RCX, Register.R8, Register.R9)
INTEGER_RESULTS: Final = (Register.RAX, Register.RDX)
VECTOR_ARGUMENTS: Final = 8
RETURN_ADDRESS: Final = 8
WORD: Final = 8
MAX_NESTING: Final = 32  # structs in structs
AT_DEFAULTED: Final = 0x8B  # DWARF 5: `= default`
AT_VIRTUALITY: Final = 0x4C
AT_GNU_VECTOR: Final = 0x2107

Type = int  # offset of the entry


class _Class(Enum):
    INTEGER = auto()
    SSE = auto()
    X87 = auto()
    MEMORY = auto()


class Copying(Enum):
    """Does a C++ class go through registers (trivial), or by invisible reference?"""

    TRIVIAL = auto()
    NOT_TRIVIAL = auto()
    UNKNOWN = auto()


@dataclass(frozen=True)
class Convention:
    """`arguments[i]` and `result` are None where the convention cannot be computed from the types."""

    arguments: tuple[Location | Absent | None, ...]
    result: Location | Absent | None


def assign(types: NativeTypes, arguments: Sequence[Type], result: Type | None) -> Convention:
    """Where each is. A result in memory takes the first argument register, and its address is in rax after the return."""
    classified = None if result is None else _classes(types, result)
    returned: Location | Absent | None = ()
    integers = vectors = stack = 0
    if result is not None:
        size = types.size(result)
        if classified is None:
            return Convention((None,) * len(arguments), None)
        if _in_memory(classified):
            returned = (Piece(0, size, InMemory(Register.RAX, 0)),)
            integers = 1
        else:
            returned = _returned(classified, size)
    found: list[Location | Absent | None] = []
    open_from_here = False
    for each in arguments:
        kinds = _classes(types, each)
        size = types.size(each)
        if open_from_here or kinds is None:
            open_from_here = True
            found.append(None)
            continue
        if kinds == [_Class.MEMORY] and _copying_of(types, each) is Copying.NOT_TRIVIAL:  # by invisible reference
            behind, integers, stack = _reference(integers, stack)
            found.append((Piece(0, size, behind),) if isinstance(behind, InMemory) else behind)
            continue
        wanted_integers, wanted_vectors = kinds.count(_Class.INTEGER), kinds.count(_Class.SSE)
        fits = integers + wanted_integers <= len(INTEGER_ARGUMENTS) and vectors + wanted_vectors <= VECTOR_ARGUMENTS
        if not kinds:
            found.append(())
        elif _in_memory(kinds) or _Class.X87 in kinds or not fits:
            align = max(WORD, min(16, alignment(types, each, 0)))
            stack = -(-stack // align) * align
            found.append((Piece(0, size, InMemory(Register.RSP, RETURN_ADDRESS + stack)),))
            stack += -(-size // WORD) * WORD
        else:
            pieces = []
            for index, kind in enumerate(kinds):
                length = min(WORD, size - index * WORD)
                place: Place
                if kind is _Class.INTEGER:
                    place = InRegister(INTEGER_ARGUMENTS[integers])
                    integers += 1
                else:
                    place = Absent(Reason.IN_VECTOR_REGISTER, f"in xmm{vectors}, which a uprobe cannot read")
                    vectors += 1
                pieces.append(Piece(index * WORD, length, place))
            found.append(_one_reason(tuple(pieces)))
    return Convention(tuple(found), returned)


def copying(types: NativeTypes, entry: Entry, nesting: int = 0) -> Copying:
    """Itanium C++ ABI, 1.1 "non-trivial for the purposes of calls", as far as DWARF shows it."""
    if nesting > MAX_NESTING:
        raise BadDwarf(f"the class at {entry.offset:#x} contains itself")
    if entry.tag not in STRUCTS:
        return Copying.TRIVIAL
    verdict = Copying.UNKNOWN if entry.flag(dw.AT_DECLARATION) else Copying.TRIVIAL
    for child in types.debug.children(entry):
        if child.tag == dw.TAG_SUBPROGRAM:
            if child.name.startswith("~") and not child.flag(dw.AT_ARTIFICIAL) and AT_DEFAULTED not in child.attributes:
                return Copying.NOT_TRIVIAL  # a destructor that somebody wrote
            if child.number(AT_VIRTUALITY) or _copies(types, child, entry):
                verdict = Copying.UNKNOWN
        elif child.tag in {dw.TAG_MEMBER, dw.TAG_INHERITANCE} and (target := child.number(dw.AT_TYPE)) is not None:
            if child.flag(dw.AT_EXTERNAL) or child.flag(dw.AT_DECLARATION):
                continue
            inner = copying(types, _element(types, target), nesting + 1)
            if inner is Copying.NOT_TRIVIAL:
                return inner
            if inner is Copying.UNKNOWN or isinstance(child.attributes.get(dw.AT_DATA_MEMBER_LOCATION), bytes):
                verdict = Copying.UNKNOWN
    return verdict


def _copies(types: NativeTypes, constructor: Entry, of: Entry) -> bool:
    """A constructor that somebody wrote and that takes a reference to its own class, after `this`."""
    if constructor.flag(dw.AT_ARTIFICIAL) or constructor.name != of.name.split("<")[0]:
        return False
    given = [
        c
        for c in types.debug.children(constructor)
        if c.tag == dw.TAG_FORMAL_PARAMETER and not c.flag(dw.AT_ARTIFICIAL)
    ]
    if not given or (target := given[0].number(dw.AT_TYPE)) is None:
        return False
    reference, _ = types.named(target)
    pointed = reference.number(dw.AT_TYPE)
    return reference.tag in POINTERS and pointed is not None and types.named(pointed)[0].offset == of.offset


def _copying_of(types: NativeTypes, offset: Type) -> Copying:
    return copying(types, types.named(offset)[0])


def _element(types: NativeTypes, offset: Type) -> Entry:
    entry, _ = types.named(offset)
    for _ in range(MAX_NESTING):
        target = entry.number(dw.AT_TYPE)
        if entry.tag != dw.TAG_ARRAY_TYPE or target is None:
            break
        entry, _ = types.named(target)
    return entry


def _classes(types: NativeTypes, offset: Type) -> list[_Class] | None:
    """One class per eightbyte, [MEMORY] for the stack or by reference, [] for nothing, None when in doubt."""
    entry, _ = types.named(offset)
    size = types.size(offset)
    if entry.tag in STRUCTS:
        verdict = copying(types, entry)
        if verdict is Copying.UNKNOWN and size <= 2 * WORD:
            return None
        if verdict is not Copying.TRIVIAL:
            return [_Class.MEMORY] if verdict is Copying.NOT_TRIVIAL else None
        if size > 2 * WORD:
            return [_Class.MEMORY]
        if size == 0:
            return None  # an empty C++ class takes a place on the stack, an empty GNU C struct does not
    words: list[_Class | None] = [None] * (-(-size // WORD))
    if size > 4 * WORD or not _classify(types, offset, 0, words, 0):
        return None
    if any(word is _Class.MEMORY for word in words):
        return [_Class.MEMORY]
    return [word or _Class.SSE for word in words]  # an eightbyte of padding only has NO_CLASS, which goes like SSE


def _classify(types: NativeTypes, offset: Type, at: int, words: list[_Class | None], nesting: int) -> bool:
    """Merge a type's classes into the words that it covers; False when it has a kind of type that is not known here."""
    if nesting > MAX_NESTING:
        return False
    entry, _ = types.named(offset)
    size = types.size(offset)
    if entry.tag in STRUCTS:
        return all(
            _classify(types, m.type, at + m.offset, words, nesting + 1)
            if m.bit_size is None
            else _merge(words, at + (m.bit_offset or 0) // 8, -(-m.bit_size // 8), _Class.INTEGER, aligned=False)
            for m in types.members(entry)
        )
    if entry.tag == dw.TAG_ARRAY_TYPE:
        element = None if entry.flag(AT_GNU_VECTOR) else entry.number(dw.AT_TYPE)
        step = types.size(element) if element is not None else 0
        if element is None or not step or size // step > 2 * WORD:
            return False
        return all(_classify(types, element, at + index * step, words, nesting + 1) for index in range(size // step))
    if entry.tag in POINTERS or entry.tag == dw.TAG_ENUMERATION_TYPE:
        return _merge(words, at, size, _Class.INTEGER)
    if entry.tag != dw.TAG_BASE_TYPE:
        return False
    encoding = entry.number(dw.AT_ENCODING)
    if encoding == dw.ATE_FLOAT:
        if size == 2 * WORD:
            return nesting == 0 and _merge(words, at, size, _Class.X87)
        return size in {4, 8} and _merge(words, at, size, _Class.SSE)
    if encoding == dw.ATE_COMPLEX_FLOAT:
        return size <= 2 * WORD and _merge(words, at, size, _Class.SSE)
    return _merge(words, at, size, _Class.INTEGER)


def _merge(words: list[_Class | None], at: int, size: int, kind: _Class, *, aligned: bool = True) -> bool:
    if aligned and size and at % min(size, WORD):
        return False  # packed: goes in memory, but compilers have disagreed about the details
    for index in range(at // WORD, -(-(at + size) // WORD)):
        if index >= len(words):
            return False
        words[index] = _Class.INTEGER if _Class.INTEGER in {kind, words[index]} else kind
    return True


def _in_memory(kinds: list[_Class]) -> bool:
    return _Class.MEMORY in kinds


def _reference(integers: int, stack: int) -> tuple[InMemory | Absent, int, int]:
    if integers < len(INTEGER_ARGUMENTS):
        return InMemory(INTEGER_ARGUMENTS[integers], 0), integers + 1, stack
    return Absent(Reason.UNSUPPORTED_LOCATION, "behind a pointer that is passed on the stack"), integers, stack + WORD


def _returned(kinds: list[_Class], size: int) -> Location | Absent:
    pieces, integers, vectors = [], 0, 0
    for index, kind in enumerate(kinds):
        place: Place
        if kind is _Class.INTEGER:
            place = InRegister(INTEGER_RESULTS[integers])
            integers += 1
        elif kind is _Class.SSE:
            place = Absent(Reason.IN_VECTOR_REGISTER, f"in xmm{vectors}, which a uprobe cannot read")
            vectors += 1
        else:
            place = Absent(Reason.IN_VECTOR_REGISTER, "in st0, which a uprobe cannot read")
        pieces.append(Piece(index * WORD, min(WORD, size - index * WORD), place))
    return _one_reason(tuple(pieces))


def _one_reason(location: Location) -> Location | Absent:
    absent = [piece.place for piece in location if isinstance(piece.place, Absent)]
    return absent[0] if absent and len(absent) == len(location) else location


def alignment(types: NativeTypes, offset: Type, nesting: int) -> int:
    entry, _ = types.named(TypeId(offset))
    if nesting > MAX_NESTING:
        return WORD
    stated = entry.number(dw.AT_ALIGNMENT)
    if stated is not None:
        return stated
    if entry.tag in STRUCTS:
        return max((alignment(types, m.type, nesting + 1) for m in types.members(entry)), default=1)
    if entry.tag == dw.TAG_ARRAY_TYPE and (element := entry.number(dw.AT_TYPE)) is not None:
        return alignment(types, element, nesting + 1)
    return types.size(offset) or 1
