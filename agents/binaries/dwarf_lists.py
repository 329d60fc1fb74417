"""Range lists and location lists: which addresses an entry covers, and where a variable is at one address.

In come a unit and an attribute's value, out come address ranges or the one DWARF expression that holds at an address
(DWARF 5, 2.17.3 and 2.6.2; DWARF 4, 2.17.3 and 2.6.2 for .debug_ranges and .debug_loc). `dwarf_expressions` reads the
expression.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from agents.binaries import dwarf_constants as dw
from agents.binaries.dwarf_entries import DebugInformation, Entry, Unit
from agents.binaries.dwarf_forms import BadDwarf, uleb

MAX_LIST: Final = 1_000_000  # entries of one list; the unit of a large Rust program has some ten thousand ranges


@dataclass(frozen=True)
class Located:
    """An expression and the addresses [low, high) it holds for."""

    low: int
    high: int
    expression: bytes


def ranges(debug: DebugInformation, entry: Entry) -> tuple[tuple[int, int], ...]:
    """The [low, high) address ranges of an entry; empty when it has no code."""
    at = entry.number(dw.AT_RANGES)
    if at is not None:
        read = _ranges_5 if entry.unit.version >= 5 else _ranges_4
        return tuple((low, high) for low, high in read(debug, entry.unit, at) if low < high)
    low, high = entry.number(dw.AT_LOW_PC), entry.number(dw.AT_HIGH_PC)
    return ((low, high),) if low is not None and high is not None and low < high else ()


def location_list(debug: DebugInformation, unit: Unit, at: int) -> tuple[Located, ...]:
    """Every entry of the location list at an offset of .debug_loclists (DWARF 5) or .debug_loc."""
    read = _locations_5 if unit.version >= 5 else _locations_4
    return tuple(read(debug, unit, at))


def _ranges_5(debug: DebugInformation, unit: Unit, at: int) -> Iterator[tuple[int, int]]:
    for low, high, _ in _list_5(debug, unit, debug.sections(".debug_rnglists"), at, located=False):
        yield low, high


def _locations_5(debug: DebugInformation, unit: Unit, at: int) -> Iterator[Located]:
    for low, high, expression in _list_5(debug, unit, debug.sections(".debug_loclists"), at, located=True):
        yield Located(low, high, expression)


def _list_5(
    debug: DebugInformation, unit: Unit, raw: bytes, at: int, *, located: bool
) -> Iterator[tuple[int, int, bytes]]:
    """DW_RLE_* and DW_LLE_*: the same kinds, but that a location list has a default one at 5 in between."""
    base, size = unit.low_pc, unit.address_size
    for _ in range(MAX_LIST):
        kind = raw[at]
        at += 1
        low = high = -1
        if located and kind == 5:  # DW_LLE_default_location
            low, high = 0, 1 << 64
        elif located and kind > 5:
            kind -= 1
        elif not located and kind > 7:
            raise BadDwarf(f"unknown range list entry {kind}")
        if low == 0:
            pass
        elif kind == 0:  # end_of_list
            return
        elif kind == 1:  # base_addressx
            index, at = uleb(raw, at)
            base = debug.address(unit, index)
            continue
        elif kind == 2:  # startx_endx
            first, at = uleb(raw, at)
            second, at = uleb(raw, at)
            low, high = debug.address(unit, first), debug.address(unit, second)
        elif kind == 3:  # startx_length
            index, at = uleb(raw, at)
            length, at = uleb(raw, at)
            low = debug.address(unit, index)
            high = low + length
        elif kind == 4:  # offset_pair
            first, at = uleb(raw, at)
            second, at = uleb(raw, at)
            low, high = base + first, base + second
        elif kind == 5:  # base_address
            base, at = _word(raw, at, size), at + size
            continue
        elif kind == 6:  # start_end
            low, high, at = _word(raw, at, size), _word(raw, at + size, size), at + 2 * size
        elif kind == 7:  # start_length
            low, at = _word(raw, at, size), at + size
            length, at = uleb(raw, at)
            high = low + length
        else:
            raise BadDwarf(f"unknown location list entry {kind}")
        expression = b""
        if located:
            length, at = uleb(raw, at)
            expression, at = raw[at : at + length], at + length
        yield low, high, expression
    raise BadDwarf(f"a list has more than {MAX_LIST} entries")


def _ranges_4(debug: DebugInformation, unit: Unit, at: int) -> Iterator[tuple[int, int]]:
    raw, size, base = debug.sections(".debug_ranges"), unit.address_size, unit.low_pc
    for _ in range(MAX_LIST):
        low, high, at = _word(raw, at, size), _word(raw, at + size, size), at + 2 * size
        if low == high == 0:
            return
        if low == (1 << 8 * size) - 1:
            base = high
        else:
            yield base + low, base + high
    raise BadDwarf(f"a range list has more than {MAX_LIST} entries")


def _locations_4(debug: DebugInformation, unit: Unit, at: int) -> Iterator[Located]:
    raw, size, base = debug.sections(".debug_loc"), unit.address_size, unit.low_pc
    for _ in range(MAX_LIST):
        low, high, at = _word(raw, at, size), _word(raw, at + size, size), at + 2 * size
        if low == high == 0:
            return
        if low == (1 << 8 * size) - 1:
            base = high
            continue
        length = int.from_bytes(raw[at : at + 2], "little")
        yield Located(base + low, base + high, raw[at + 2 : at + 2 + length])
        at += 2 + length
    raise BadDwarf(f"a location list has more than {MAX_LIST} entries")


def _word(raw: bytes, at: int, size: int) -> int:
    if at + size > len(raw):
        raise BadDwarf("a list reaches beyond its section")
    return int.from_bytes(raw[at : at + size], "little")
