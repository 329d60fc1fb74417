"""Read debugging information entries (DIEs) of .debug_info, DWARF 2 to 5, one at a time.

In come the section's bytes, out come units and entries with decoded attributes. Only what is asked for is parsed: a
33 MB Go binary has half a million entries. `walk` passes over a unit without decoding what nobody wants. What an
attribute of type location means is told by `dwarf_lists` and `dwarf_expressions`.

    attribute class   Python value
    constant, address int
    reference         int, the entry's offset in .debug_info (of another unit too)
    section offset    int; a loclistx or rnglistx index is resolved to one already
    block, expression bytes
    string            str
    flag              bool
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from agents.binaries import dwarf_constants as dw
from agents.binaries.dwarf_forms import (
    ADDRESS_INDEX,
    ELSEWHERE,
    FIXED,
    LEBS,
    OFFSET_SIZED,
    SKIP_BLOCK,
    SKIP_BLOCK1,
    SKIP_BLOCK2,
    SKIP_BLOCK4,
    SKIP_LEB,
    SKIP_STRING,
    STRING_INDEX,
    UNIT_REFERENCES,
    Abbreviation,
    BadDwarf,
    read_abbreviations,
    sleb,
    steps_over,
    string_at,
    uleb,
)

MAX_UNITS: Final = 200_000  # Chromium has 40,000; each costs a header to look at
MAX_CHILDREN: Final = 100_000  # of one entry; the largest known enumerations have some ten thousand members

Value = int | bytes | str | bool
Sections = Callable[[str], bytes]  # ".debug_info" -> bytes; empty when absent


@dataclass(slots=True)
class Unit:
    offset: int  # of its header in .debug_info
    end: int
    version: int
    address_size: int
    offset_size: int
    first: int  # offset of its top entry
    abbreviations: Mapping[int, Abbreviation]
    str_offsets_base: int = 8
    addr_base: int = 8
    rnglists_base: int = 0
    loclists_base: int = 0
    low_pc: int = 0  # base address of its range and location lists


@dataclass(frozen=True, slots=True)
class Entry:
    offset: int
    tag: int
    attributes: Mapping[int, Value]
    has_children: bool
    after: int  # offset behind its attributes: its first child or its sibling
    unit: Unit = field(repr=False)

    def number(self, attribute: int) -> int | None:
        value = self.attributes.get(attribute)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def text(self, attribute: int) -> str | None:
        value = self.attributes.get(attribute)
        return value if isinstance(value, str) else None

    def flag(self, attribute: int) -> bool:
        return bool(self.attributes.get(attribute, False))

    @property
    def name(self) -> str:
        return self.text(dw.AT_NAME) or ""


class DebugInformation:
    """All units of one file."""

    def __init__(self, sections: Sections) -> None:
        self.sections = sections
        info = sections(".debug_info")
        self._types_begin = len(info)
        self.info = info + sections(".debug_types")  # DWARF 4 keeps type units apart: here they follow the others
        self._signatures: dict[int, int] = {}  # of a type unit -> offset of its type's entry
        self._abbreviations: dict[tuple[int, int, int], Mapping[int, Abbreviation]] = {}

    @cached_property
    def abbrev(self) -> bytes:
        return self.sections(".debug_abbrev")

    @cached_property
    def units(self) -> tuple[Unit, ...]:
        """Every unit, its bases read from its top entry. 220 of them take some milliseconds."""
        units: list[Unit] = []
        at = 0
        while at + 11 < len(self.info):
            if len(units) >= MAX_UNITS:
                raise BadDwarf(f"more than {MAX_UNITS} units")
            unit = self._header(at)
            at = unit.end
            self._read_bases(unit)
            units.append(unit)
        return tuple(units)

    def unit_at(self, offset: int) -> Unit:
        """The unit that holds the entry at an offset of .debug_info."""
        low, high = 0, len(self.units)
        while low < high:
            middle = (low + high) // 2
            if self.units[middle].end <= offset:
                low = middle + 1
            else:
                high = middle
        if low == len(self.units) or not self.units[low].first <= offset:
            raise BadDwarf(f"no unit holds an entry at {offset:#x}")
        return self.units[low]

    def top(self, unit: Unit) -> Entry:
        return self.entry(unit, unit.first)

    def entry_at(self, offset: int) -> Entry:
        return self.entry(self.unit_at(offset), offset)

    def entry(self, unit: Unit, offset: int) -> Entry:
        """The entry at an offset. Raises BadDwarf for the null entry that ends a list of siblings."""
        code, at = uleb(self.info, offset)
        abbreviation = unit.abbreviations.get(code)
        if abbreviation is None:
            raise BadDwarf(f"no entry at {offset:#x}: abbreviation {code} is not declared")
        attributes: dict[int, Value] = {}
        offset_from_low = False
        for attribute, declared, implicit in abbreviation.specs:
            form = declared
            while form == dw.FORM_INDIRECT:
                form, at = uleb(self.info, at)
            value, at = self._value(unit, form, at, implicit)
            if value is None:
                continue
            attributes[attribute] = value
            if attribute == dw.AT_HIGH_PC and form != dw.FORM_ADDR and form not in ADDRESS_INDEX:
                offset_from_low = True
        if offset_from_low:  # DWARF 4, 2.17.2: a constant counts from the low one
            attributes[dw.AT_HIGH_PC] = int(attributes.get(dw.AT_LOW_PC, 0)) + int(attributes[dw.AT_HIGH_PC])
        if at > unit.end:
            raise BadDwarf(f"the entry at {offset:#x} reaches beyond its unit")
        return Entry(offset, abbreviation.tag, attributes, abbreviation.has_children, at, unit)

    def children(self, entry: Entry) -> Iterator[Entry]:
        """The direct children, in order."""
        if not entry.has_children:
            return
        at = entry.after
        for _ in range(MAX_CHILDREN):
            if at >= entry.unit.end or self.info[at] == 0:
                return
            child = self.entry(entry.unit, at)
            yield child
            at = self._behind(child)
        raise BadDwarf(f"the entry at {entry.offset:#x} has more than {MAX_CHILDREN} children")

    def walk(self, unit: Unit, wanted: frozenset[int], start: int | None = None) -> Iterator[tuple[int, int, int]]:
        """(offset, tag, depth) of every entry of the unit whose tag is wanted, in order; the top one has depth 0."""
        info, end, abbreviations = self.info, unit.end, unit.abbreviations
        at, depth = unit.first if start is None else start, 0
        while at < end:
            offset = at
            code = info[at]
            at += 1
            if code == 0:
                depth -= 1
                if depth <= 0:
                    return
                continue
            if code >= 0x80:
                code, at = uleb(info, offset)
            abbreviation = abbreviations.get(code)
            if abbreviation is None:
                raise BadDwarf(f"no entry at {offset:#x}: abbreviation {code} is not declared")
            if abbreviation.tag in wanted:
                yield offset, abbreviation.tag, depth
            at = self._skipped(unit, abbreviation.steps, at)
            if abbreviation.has_children:
                depth += 1
            elif depth == 0:
                return

    def _behind(self, entry: Entry) -> int:
        """The offset of an entry's sibling."""
        if not entry.has_children:
            return entry.after
        sibling = entry.number(dw.AT_SIBLING)
        if sibling is not None and entry.after <= sibling <= entry.unit.end:
            return sibling
        info, abbreviations = self.info, entry.unit.abbreviations
        at, depth = entry.after, 1
        while depth and at < entry.unit.end:
            code, at = uleb(info, at)
            if code == 0:
                depth -= 1
                continue
            abbreviation = abbreviations.get(code)
            if abbreviation is None:
                raise BadDwarf(f"abbreviation {code} is not declared")
            at = self._skipped(entry.unit, abbreviation.steps, at)
            depth += abbreviation.has_children
        return at

    def _skipped(self, unit: Unit, steps: tuple[int, ...], at: int) -> int:
        info = self.info
        for step in steps:
            if step >= 0:
                at += step
            elif step == SKIP_LEB:
                while info[at] >= 0x80:
                    at += 1
                at += 1
            elif step == SKIP_STRING:
                at = info.index(b"\0", at) + 1
            elif step == SKIP_BLOCK1:
                at += 1 + info[at]
            elif step == SKIP_BLOCK:
                size, at = uleb(info, at)
                at += size
            elif step == SKIP_BLOCK2:
                at += 2 + int.from_bytes(info[at : at + 2], "little")
            elif step == SKIP_BLOCK4:
                at += 4 + int.from_bytes(info[at : at + 4], "little")
            else:
                form, at = uleb(info, at)
                at = self._skipped(
                    unit, steps_over([(0, form, 0)], unit.version, unit.address_size, unit.offset_size), at
                )
        return at

    def _header(self, at: int) -> Unit:
        info = self.info
        start, offset_size = at, 4
        length = int.from_bytes(info[at : at + 4], "little")
        at += 4
        if length == 0xFFFFFFFF:  # 64-bit DWARF
            length, offset_size = int.from_bytes(info[at : at + 8], "little"), 8
            at += 8
        end = at + length
        version = int.from_bytes(info[at : at + 2], "little")
        at += 2
        if end > len(info) or not 2 <= version <= 5:
            raise BadDwarf(f"the unit at {start:#x} has version {version} and ends at {end:#x} of {len(info):#x}")
        if version == 5:
            kind, address_size = info[at], info[at + 1]
            abbreviations_at = int.from_bytes(info[at + 2 : at + 2 + offset_size], "little")
            at += 2 + offset_size
            extra = {2: 8 + offset_size, 4: 8, 5: 8, 6: 8 + offset_size}.get(kind, 0)
        else:
            abbreviations_at = int.from_bytes(info[at : at + offset_size], "little")
            address_size = info[at + offset_size]
            at += offset_size + 1
            kind, extra = (2, 8 + offset_size) if start >= self._types_begin else (1, 0)
        if kind == 2:  # DW_UT_type: a signature, and where in the unit its type is
            signature = int.from_bytes(info[at : at + 8], "little")
            self._signatures[signature] = start + int.from_bytes(info[at + 8 : at + 8 + offset_size], "little")
        at += extra
        key = (abbreviations_at, version << 8 | address_size, offset_size)
        if key not in self._abbreviations:
            self._abbreviations[key] = read_abbreviations(
                self.abbrev, abbreviations_at, version, address_size, offset_size
            )
        return Unit(start, end, version, address_size, offset_size, at, self._abbreviations[key])

    def _read_bases(self, unit: Unit) -> None:
        """Where the unit's indexed strings, addresses and lists begin; its low_pc may itself be an indexed address."""
        if unit.first >= unit.end or self.info[unit.first] == 0:
            return
        code, at = uleb(self.info, unit.first)
        abbreviation = unit.abbreviations.get(code)
        if abbreviation is None:
            raise BadDwarf(f"abbreviation {code} of the unit at {unit.offset:#x} is not declared")
        bases = {
            dw.AT_STR_OFFSETS_BASE: "str_offsets_base",
            dw.AT_ADDR_BASE: "addr_base",
            dw.AT_RNGLISTS_BASE: "rnglists_base",
            dw.AT_LOCLISTS_BASE: "loclists_base",
        }
        for attribute, form, _ in abbreviation.specs:
            if attribute in bases:
                setattr(unit, bases[attribute], int.from_bytes(self.info[at : at + unit.offset_size], "little"))
            at = self._skipped(
                unit, steps_over([(attribute, form, 0)], unit.version, unit.address_size, unit.offset_size), at
            )
        unit.low_pc = self.top(unit).number(dw.AT_LOW_PC) or 0

    def _value(self, unit: Unit, form: int, at: int, implicit: int) -> tuple[Value | None, int]:
        info = self.info
        size = FIXED.get(form)
        if size is not None:
            end = at + size
            if form == dw.FORM_FLAG_PRESENT:
                return True, at
            if form == dw.FORM_IMPLICIT_CONST:
                return implicit, at
            if form == dw.FORM_DATA16:
                return info[at:end], end
            number = int.from_bytes(info[at:end], "little")
        elif form == dw.FORM_STRING:
            end = info.index(b"\0", at)
            return info[at:end].decode("utf-8", "replace"), end + 1
        elif form in LEBS:
            number, end = sleb(info, at) if form == dw.FORM_SDATA else uleb(info, at)
        elif form == dw.FORM_ADDR:
            end = at + unit.address_size
            number = int.from_bytes(info[at:end], "little")
        elif form == dw.FORM_REF_ADDR:
            end = at + (unit.address_size if unit.version == 2 else unit.offset_size)
            return int.from_bytes(info[at:end], "little"), end
        elif form in OFFSET_SIZED:
            end = at + unit.offset_size
            number = int.from_bytes(info[at:end], "little")
            if form == dw.FORM_STRP:
                return string_at(self._strings, number), end
            if form == dw.FORM_LINE_STRP:
                return string_at(self._line_strings, number), end
        else:
            return self._block(form, at)
        if form in ELSEWHERE:
            return None, end
        if form == dw.FORM_REF_SIG8:
            return self._signatures.get(number), end
        if form == dw.FORM_FLAG:
            return number != 0, end
        if form in UNIT_REFERENCES:
            return unit.offset + number, end
        if form in ADDRESS_INDEX:
            return self.address(unit, number), end
        if form in STRING_INDEX:
            where = unit.str_offsets_base + number * unit.offset_size
            return string_at(
                self._strings, int.from_bytes(self._string_offsets[where : where + unit.offset_size], "little")
            ), end
        if form == dw.FORM_LOCLISTX:
            return self._list_offset(self.sections(".debug_loclists"), unit, unit.loclists_base, number), end
        if form == dw.FORM_RNGLISTX:
            return self._list_offset(self.sections(".debug_rnglists"), unit, unit.rnglists_base, number), end
        return number, end

    def _block(self, form: int, at: int) -> tuple[bytes, int]:
        info = self.info
        if form in {dw.FORM_EXPRLOC, dw.FORM_BLOCK}:
            size, at = uleb(info, at)
        elif form in {dw.FORM_BLOCK1, dw.FORM_BLOCK2, dw.FORM_BLOCK4}:
            width = {dw.FORM_BLOCK1: 1, dw.FORM_BLOCK2: 2, dw.FORM_BLOCK4: 4}[form]
            size, at = int.from_bytes(info[at : at + width], "little"), at + width
        else:
            raise BadDwarf(f"unknown attribute form {form:#x}")
        return info[at : at + size], at + size

    def address(self, unit: Unit, index: int) -> int:
        where = unit.addr_base + index * unit.address_size
        return int.from_bytes(self._addresses[where : where + unit.address_size], "little")

    @staticmethod
    def _list_offset(lists: bytes, unit: Unit, base: int, index: int) -> int:
        where = base + index * unit.offset_size
        return base + int.from_bytes(lists[where : where + unit.offset_size], "little")

    @cached_property
    def _strings(self) -> bytes:
        return self.sections(".debug_str")

    @cached_property
    def _line_strings(self) -> bytes:
        return self.sections(".debug_line_str")

    @cached_property
    def _string_offsets(self) -> bytes:
        return self.sections(".debug_str_offsets")

    @cached_property
    def _addresses(self) -> bytes:
        return self.sections(".debug_addr")
