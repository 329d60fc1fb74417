"""Find a function's debugging entry by its address, and its inlined copies by its abstract origin.

In come an address and the units, out come entries. No unit is read but the one that holds the address. Copies are found
by searching .debug_info for references to the abstract entry, each verified by parsing the entry that it stands in:
every compiler here writes the abstract origin as the first attribute of an inlined subroutine.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from agents.binaries import dwarf_constants as dw
from agents.binaries.dwarf_entries import DebugInformation, Entry, Unit
from agents.binaries.dwarf_forms import BadDwarf
from agents.binaries.dwarf_lists import ranges

MAX_COPIES: Final = 4096  # inlined copies that are looked at; beyond, "at least" is said
MAX_ORIGINS: Final = 16  # an entry completes another one, which completes a third: C++ needs two

_SUBPROGRAM: Final = frozenset({dw.TAG_SUBPROGRAM})


def unit_of_address(debug: DebugInformation, address: int) -> Unit | None:
    """The unit whose code holds an address, by the units' own ranges."""
    for unit in debug.units:
        top = debug.top(unit)
        if top.tag == dw.TAG_COMPILE_UNIT and any(low <= address < high for low, high in ranges(debug, top)):
            return unit
    return None


def function_at(debug: DebugInformation, unit: Unit, address: int) -> Entry | None:
    """The subprogram entry whose code starts at an address."""
    for offset, _, _ in debug.walk(unit, _SUBPROGRAM):
        entry = debug.entry(unit, offset)
        if entry.number(dw.AT_LOW_PC) == address:
            return entry
        if dw.AT_LOW_PC not in entry.attributes and dw.AT_RANGES in entry.attributes:  # hot and cold parts
            covered = ranges(debug, entry)
            if covered and covered[0][0] == address:
                return entry
    return None


def entry_named(debug: DebugInformation, name: str, tag: int) -> Entry | None:
    """Go: an entry by its exact name, which stands inline right behind the one-byte abbreviation code."""
    info, needle, at = debug.info, name.encode() + b"\0", 0
    while (at := info.find(needle, at)) >= 0:
        start, at = at - 1, at + 1
        if start <= 0:
            continue
        unit = debug.unit_at(at)
        abbreviation = unit.abbreviations.get(info[start]) if start >= unit.first else None
        if (
            abbreviation is not None
            and abbreviation.tag == tag
            and abbreviation.specs[:1] == ((dw.AT_NAME, dw.FORM_STRING, 0),)
        ):
            return debug.entry(unit, start)
    return None


def origins(debug: DebugInformation, entry: Entry) -> Iterator[Entry]:
    """The entry, then those it completes: its abstract origin, its declaration in a class."""
    for _ in range(MAX_ORIGINS):
        yield entry
        reference = entry.number(dw.AT_ABSTRACT_ORIGIN)
        reference = entry.number(dw.AT_SPECIFICATION) if reference is None else reference
        if reference is None:
            return
        entry = debug.entry_at(reference)
    raise BadDwarf(f"the entry at {entry.offset:#x} completes itself")


def attribute(debug: DebugInformation, entry: Entry, wanted: int) -> Entry | None:
    """The first of the entry and its origins that states an attribute."""
    return next((each for each in origins(debug, entry) if wanted in each.attributes), None)


def full_name(debug: DebugInformation, entry: Entry) -> str:
    found = attribute(debug, entry, dw.AT_NAME)
    return found.name if found is not None else ""


def type_of(debug: DebugInformation, entry: Entry) -> int | None:
    found = attribute(debug, entry, dw.AT_TYPE)
    return found.number(dw.AT_TYPE) if found is not None else None


def inlined_copies(debug: DebugInformation, entry: Entry) -> tuple[int, ...]:
    """The first address of every inlined copy of a function, sorted."""
    reference = entry.number(dw.AT_ABSTRACT_ORIGIN)
    origin = entry if reference is None else debug.entry_at(reference)
    if dw.AT_INLINE not in origin.attributes:
        return ()
    found: set[int] = set()
    for start in _references(debug, origin):
        try:
            copy = debug.entry(debug.unit_at(start), start)
            covered = ranges(debug, copy) if copy.number(dw.AT_ABSTRACT_ORIGIN) == origin.offset else ()
        except (BadDwarf, IndexError, ValueError):
            continue  # bytes that only looked like an entry
        if covered:
            found.add(min(low for low, _ in covered))
        if len(found) >= MAX_COPIES:
            break
    return tuple(sorted(found))


def _references(debug: DebugInformation, origin: Entry) -> Iterator[int]:
    """Offsets of entries that begin with an abbreviation of an inlined subroutine and a reference to `origin`."""
    searches = [(origin.offset, 0, len(debug.info), dw.FORM_REF_ADDR)]
    searches.append((origin.offset - origin.unit.offset, origin.unit.first, origin.unit.end, dw.FORM_REF4))
    for value, start, end, form in searches:
        needle = value.to_bytes(4, "little")
        at = start
        while (at := debug.info.find(needle, at, end)) >= 0:
            for width in (1, 2):
                if at - width >= start and _begins_copy(debug, at - width, width, form):
                    yield at - width
            at += 1


def _begins_copy(debug: DebugInformation, start: int, width: int, form: int) -> bool:
    info = debug.info
    if (info[start] >= 0x80) != (width == 2):
        return False
    code = info[start] if width == 1 else (info[start] & 0x7F) | info[start + 1] << 7
    try:
        unit = debug.unit_at(start)
    except BadDwarf:
        return False
    abbreviation = unit.abbreviations.get(code)
    return (
        abbreviation is not None
        and abbreviation.tag == dw.TAG_INLINED_SUBROUTINE
        and abbreviation.specs[:1] == ((dw.AT_ABSTRACT_ORIGIN, form, 0),)
    )
