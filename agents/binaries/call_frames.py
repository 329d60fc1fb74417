"""Where the canonical frame address (CFA) is at an instruction, as .debug_frame or .eh_frame says.

In come the section and an address, out comes `register + displacement`, or None when the rule is not of that form.
Only the CFA's own rules are followed (DWARF 5, 6.4.2); where registers are saved does not matter here. `code_sites`
checks its reading of the prologue against it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from agents.binaries.dwarf_entries import Sections
from agents.binaries.dwarf_forms import BadDwarf, sleb, uleb
from agents.binaries.machine import X86_64, Machine
from agents.binaries.model import InMemory

MAX_ENTRIES: Final = 2_000_000  # frame descriptions looked at in one section

# DW_EH_PE_* (LSB, "DWARF Extensions")
PE_ABSPTR, PE_UDATA4, PE_SDATA4, PE_UDATA8, PE_SDATA8, PE_PCREL = 0x00, 0x03, 0x0B, 0x04, 0x0C, 0x10


@dataclass(frozen=True)
class Common:
    """A common information entry."""

    code_alignment: int
    data_alignment: int
    initial: bytes
    pointer_encoding: int
    augmented: bool


@dataclass
class _Row:
    register: int | None
    offset: int


def frame_address(
    sections: Sections, eh_address: int | None, function: int, address: int, machine: Machine = X86_64
) -> InMemory | None:
    """The CFA just before the instruction at `address` of the function that starts at `function`."""
    described = _debug_frame(sections(".debug_frame"), function)
    if described is None and eh_address is not None:
        described = _eh_frame(sections(".eh_frame"), eh_address, function)
    if described is None:
        return None
    common, instructions = described
    start = _Row(None, 0)
    _run(common.initial, common, start, None)
    row = _Row(start.register, start.offset)
    _run(instructions, common, row, address - function)
    if row.register is None or row.register >= len(machine.registers):
        return None
    return InMemory(machine.registers[row.register], row.offset)


def _debug_frame(raw: bytes, function: int) -> tuple[Common, bytes] | None:
    """Found by its bytes: the section is a sequence of entries, and one of them holds the function's address at +8."""
    needle, at = function.to_bytes(8, "little"), 0
    while (at := raw.find(needle, at)) >= 0:
        start = at - 8
        at += 1
        if start < 0:
            continue
        length, pointer = _u32(raw, start), _u32(raw, start + 4)
        if (
            length + start + 4 > len(raw)
            or length < 20
            or pointer + 12 > len(raw)
            or _u32(raw, pointer + 4) != 0xFFFFFFFF
        ):
            continue
        return _common(raw, pointer), raw[start + 24 : start + 4 + length]
    return None


def _eh_frame(raw: bytes, section_address: int, function: int) -> tuple[Common, bytes] | None:
    at = 0
    commons: dict[int, Common] = {}
    for _ in range(MAX_ENTRIES):
        if at + 8 > len(raw):
            return None
        length, start = _u32(raw, at), at
        if length in {0, 0xFFFFFFFF}:
            return None
        pointer, at = _u32(raw, start + 4), start + 4 + length
        if pointer == 0:
            continue
        where = start + 4 - pointer
        if where not in commons:
            commons[where] = _common(raw, where)
        common = commons[where]
        decoded = _pointer(raw, start + 8, common.pointer_encoding, section_address)
        if decoded is None or decoded[0] != function:
            continue
        body = start + 8 + 2 * decoded[1]
        if common.augmented:
            size, body = uleb(raw, body)
            body += size
        return common, raw[body:at]
    return None


def _common(raw: bytes, at: int) -> Common:
    end = at + 4 + _u32(raw, at)
    version = raw[at + 8]
    cursor = raw.index(b"\0", at + 9)
    augmentation = raw[at + 9 : cursor]
    cursor += 1
    if version >= 4:
        cursor += 2  # address and segment selector sizes
    code, cursor = uleb(raw, cursor)
    factor, cursor = sleb(raw, cursor)
    _, cursor = uleb(raw, cursor) if version >= 3 else (raw[cursor], cursor + 1)
    encoding = PE_ABSPTR
    if augmentation.startswith(b"z"):
        size, cursor = uleb(raw, cursor)
        body, field = cursor + size, cursor
        for letter in augmentation[1:].decode("ascii", "replace"):
            if letter == "R":
                encoding = raw[field]
                field += 1
            elif letter == "L":
                field += 1
            elif letter == "P":
                field += 1 + (8 if raw[field] & 0xF in {PE_ABSPTR, PE_UDATA8, PE_SDATA8} else 4)
        cursor = body
    return Common(code, factor, raw[cursor:end], encoding, augmentation.startswith(b"z"))


def _pointer(raw: bytes, at: int, encoding: int, section_address: int) -> tuple[int, int] | None:
    """An encoded pointer and how many bytes it takes."""
    kind = encoding & 0xF
    size = 4 if kind in {PE_UDATA4, PE_SDATA4} else 8
    if kind not in {PE_ABSPTR, PE_UDATA4, PE_SDATA4, PE_UDATA8, PE_SDATA8}:
        return None
    value = int.from_bytes(raw[at : at + size], "little", signed=kind in {PE_SDATA4, PE_SDATA8})
    if encoding & 0x70 == PE_PCREL:
        value += section_address + at
    elif encoding & 0x70:
        return None
    return value & 0xFFFFFFFFFFFFFFFF, size


def _run(raw: bytes, common: Common, row: _Row, until: int | None) -> None:
    """Follow the instructions as far as the row that holds `until` bytes into the function."""
    at = location = 0
    saved: list[tuple[int | None, int]] = []
    initial = (row.register, row.offset)
    while at < len(raw):
        op = raw[at]
        at += 1
        advance: int | None = None
        if op >> 6 == 1:
            advance = op & 0x3F
        elif op in {0x02, 0x03, 0x04}:
            width = {0x02: 1, 0x03: 2, 0x04: 4}[op]
            advance, at = int.from_bytes(raw[at : at + width], "little"), at + width
        if advance is not None:
            location += advance * common.code_alignment
            if until is not None and location > until:
                return
        elif op >> 6 == 2:  # offset
            _, at = uleb(raw, at)
        elif op >> 6 == 3:  # restore
            continue
        elif op in _OPERANDS:
            at = _OPERANDS[op](raw, at, row, common)
        elif op == 0x0A:  # remember_state
            saved.append((row.register, row.offset))
        elif op == 0x0B:  # restore_state
            row.register, row.offset = saved.pop() if saved else initial
        elif op != 0:
            raise BadDwarf(f"unknown call frame instruction {op:#x}")


def _def_cfa(raw: bytes, at: int, row: _Row, common: Common) -> int:
    del common
    row.register, at = uleb(raw, at)
    row.offset, at = uleb(raw, at)
    return at


def _def_cfa_sf(raw: bytes, at: int, row: _Row, common: Common) -> int:
    row.register, at = uleb(raw, at)
    offset, at = sleb(raw, at)
    row.offset = offset * common.data_alignment
    return at


def _def_cfa_register(raw: bytes, at: int, row: _Row, common: Common) -> int:
    del common
    row.register, at = uleb(raw, at)
    return at


def _def_cfa_offset(raw: bytes, at: int, row: _Row, common: Common) -> int:
    del common
    row.offset, at = uleb(raw, at)
    return at


def _def_cfa_offset_sf(raw: bytes, at: int, row: _Row, common: Common) -> int:
    offset, at = sleb(raw, at)
    row.offset = offset * common.data_alignment
    return at


def _def_cfa_expression(raw: bytes, at: int, row: _Row, common: Common) -> int:
    del common
    row.register = None
    size, at = uleb(raw, at)
    return at + size


def _one(raw: bytes, at: int, row: _Row, common: Common) -> int:
    del row, common
    return uleb(raw, at)[1]


def _two(raw: bytes, at: int, row: _Row, common: Common) -> int:
    return _one(raw, _one(raw, at, row, common), row, common)


def _register_expression(raw: bytes, at: int, row: _Row, common: Common) -> int:
    size, at = uleb(raw, _one(raw, at, row, common))
    return at + size


_OPERANDS: Final[dict[int, Callable[[bytes, int, _Row, Common], int]]] = {
    0x01: lambda raw, at, row, common: at + 8,  # noqa: ARG005 set_loc
    0x05: _two, 0x06: _one, 0x07: _one, 0x08: _one, 0x09: _two,  # offset_extended, restore_extended, undefined, same, register
    0x0C: _def_cfa, 0x0D: _def_cfa_register, 0x0E: _def_cfa_offset, 0x0F: _def_cfa_expression,
    0x10: _register_expression, 0x11: _two, 0x12: _def_cfa_sf, 0x13: _def_cfa_offset_sf,
    0x14: _two, 0x15: _two, 0x16: _register_expression, 0x2E: _one,  # GNU_args_size
}  # fmt: skip


def _u32(raw: bytes, at: int) -> int:
    return int.from_bytes(raw[at : at + 4], "little")
