"""How DWARF encodes numbers, strings and attribute forms (DWARF 5, 7.5 to 7.6), and the abbreviations that use them.

In come bytes of .debug_abbrev and .debug_info, out come numbers, and for each abbreviation the steps to pass over its
attributes. `dwarf_entries` reads entries with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from agents.binaries import dwarf_constants as dw

MAX_ABBREVIATIONS: Final = 65_536  # of one unit; real ones have some hundreds


class BadDwarf(ValueError):
    """The debug information contradicts its own format."""


@dataclass(frozen=True, slots=True)
class Abbreviation:
    tag: int
    has_children: bool
    specs: tuple[tuple[int, int, int], ...]  # (attribute, form, implicit constant)
    steps: tuple[int, ...]  # how to pass over the attributes: bytes, or one of the negative _SKIP codes


SKIP_LEB, SKIP_STRING, SKIP_BLOCK1, SKIP_BLOCK2, SKIP_BLOCK4, SKIP_BLOCK, SKIP_INDIRECT = (
    -1,
    -2,
    -3,
    -4,
    -5,
    -6,
    -7,
)

FIXED: Final = {
    dw.FORM_DATA1: 1, dw.FORM_REF1: 1, dw.FORM_FLAG: 1, dw.FORM_STRX1: 1, dw.FORM_ADDRX1: 1,
    dw.FORM_DATA2: 2, dw.FORM_REF2: 2, dw.FORM_STRX2: 2, dw.FORM_ADDRX2: 2,
    dw.FORM_STRX3: 3, dw.FORM_ADDRX3: 3,
    dw.FORM_DATA4: 4, dw.FORM_REF4: 4, dw.FORM_STRX4: 4, dw.FORM_ADDRX4: 4, dw.FORM_REF_SUP4: 4,
    dw.FORM_DATA8: 8, dw.FORM_REF8: 8, dw.FORM_REF_SIG8: 8, dw.FORM_REF_SUP8: 8,
    dw.FORM_DATA16: 16, dw.FORM_FLAG_PRESENT: 0, dw.FORM_IMPLICIT_CONST: 0,
}  # fmt: skip
OFFSET_SIZED: Final = frozenset(
    {dw.FORM_STRP, dw.FORM_LINE_STRP, dw.FORM_SEC_OFFSET, dw.FORM_STRP_SUP, dw.FORM_GNU_REF_ALT, dw.FORM_GNU_STRP_ALT}
)
LEBS: Final = frozenset(
    {dw.FORM_SDATA, dw.FORM_UDATA, dw.FORM_REF_UDATA, dw.FORM_STRX, dw.FORM_ADDRX, dw.FORM_LOCLISTX, dw.FORM_RNGLISTX}
)
BLOCKS: Final = {
    dw.FORM_BLOCK1: SKIP_BLOCK1, dw.FORM_BLOCK2: SKIP_BLOCK2, dw.FORM_BLOCK4: SKIP_BLOCK4,
    dw.FORM_BLOCK: SKIP_BLOCK, dw.FORM_EXPRLOC: SKIP_BLOCK,
    dw.FORM_STRING: SKIP_STRING, dw.FORM_INDIRECT: SKIP_INDIRECT,
}  # fmt: skip
ADDRESS_INDEX: Final = frozenset({dw.FORM_ADDRX, dw.FORM_ADDRX1, dw.FORM_ADDRX2, dw.FORM_ADDRX3, dw.FORM_ADDRX4})
STRING_INDEX: Final = frozenset({dw.FORM_STRX, dw.FORM_STRX1, dw.FORM_STRX2, dw.FORM_STRX3, dw.FORM_STRX4})
UNIT_REFERENCES: Final = frozenset({dw.FORM_REF1, dw.FORM_REF2, dw.FORM_REF4, dw.FORM_REF8, dw.FORM_REF_UDATA})
ELSEWHERE: Final = frozenset(  # in a file that is not here: the attribute counts as missing
    {dw.FORM_REF_SUP4, dw.FORM_REF_SUP8, dw.FORM_STRP_SUP, dw.FORM_GNU_REF_ALT, dw.FORM_GNU_STRP_ALT}
)


def uleb(raw: bytes, at: int) -> tuple[int, int]:
    """An unsigned LEB128 number and the offset behind it (DWARF 5, 7.6)."""
    value = shift = 0
    while True:
        byte = raw[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63 + 7:
            raise BadDwarf("a LEB128 number has more than 64 bits")


def sleb(raw: bytes, at: int) -> tuple[int, int]:
    start = at
    value, at = uleb(raw, at)
    bits = 7 * (at - start)
    return (value - (1 << bits) if value >> (bits - 1) & 1 else value), at


def string_at(strings: bytes, offset: int) -> str:
    end = strings.find(b"\0", offset)
    return strings[offset : end if end >= 0 else len(strings)].decode("utf-8", "replace")


def read_abbreviations(
    raw: bytes, at: int, version: int, address_size: int, offset_size: int
) -> Mapping[int, Abbreviation]:
    found: dict[int, Abbreviation] = {}
    while True:
        code, at = uleb(raw, at)
        if code == 0:
            return found
        if len(found) >= MAX_ABBREVIATIONS:
            raise BadDwarf(f"more than {MAX_ABBREVIATIONS} abbreviations")
        tag, at = uleb(raw, at)
        has_children = raw[at] != 0
        at += 1
        specs: list[tuple[int, int, int]] = []
        while True:
            attribute, at = uleb(raw, at)
            form, at = uleb(raw, at)
            implicit = 0
            if form == dw.FORM_IMPLICIT_CONST:
                implicit, at = sleb(raw, at)
            if attribute == 0 and form == 0:
                break
            specs.append((attribute, form, implicit))
        found[code] = Abbreviation(
            tag, has_children, tuple(specs), steps_over(specs, version, address_size, offset_size)
        )


def steps_over(specs: list[tuple[int, int, int]], version: int, address_size: int, offset_size: int) -> tuple[int, ...]:
    """Runs of fixed size become one step: that is what makes `walk` fast."""
    steps: list[int] = []
    for _, form, _ in specs:
        if form in FIXED:
            step = FIXED[form]
        elif form in OFFSET_SIZED:
            step = offset_size
        elif form == dw.FORM_ADDR:
            step = address_size
        elif form == dw.FORM_REF_ADDR:
            step = address_size if version == 2 else offset_size
        elif form in LEBS:
            step = SKIP_LEB
        elif form in BLOCKS:
            step = BLOCKS[form]
        else:
            raise BadDwarf(f"unknown attribute form {form:#x}")
        if step >= 0 and steps and steps[-1] >= 0:
            steps[-1] += step
        else:
            steps.append(step)
    return tuple(steps)
