"""Read a unit's line number program (DWARF 5, 6.2): address to file and line, and line to address.

In come a unit and .debug_line, out come file names and rows. The program is interpreted as far as it is needed: Go
starts a sequence for every function, so that one is found by its address without reading those before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from agents.binaries import dwarf_constants as dw
from agents.binaries.dwarf_entries import DebugInformation, Unit
from agents.binaries.dwarf_forms import BadDwarf, sleb, string_at, uleb

MAX_FILES: Final = 100_000  # of one unit
MAX_ROWS: Final = 10_000_000  # of one program

DW_LNCT_PATH, DW_LNCT_DIRECTORY_INDEX = 1, 2


@dataclass(frozen=True, slots=True)
class Row:
    address: int
    file: int
    line: int
    is_stmt: bool
    prologue_end: bool
    end_sequence: bool


@dataclass(frozen=True)
class LineTable:
    """A unit's header; `rows` runs its program."""

    raw: bytes
    start: int  # of the program in .debug_line
    end: int
    version: int
    address_size: int
    minimum_instruction: int
    default_is_stmt: bool
    line_base: int
    line_range: int
    opcode_base: int
    operand_counts: tuple[int, ...]
    files: tuple[str, ...]  # by the number that rows and DW_AT_decl_file use

    def file_name(self, number: int | None) -> str | None:
        return (
            self.files[number] if number is not None and 0 <= number < len(self.files) and self.files[number] else None
        )

    def rows(self, start: int | None = None) -> Iterator[Row]:
        """The rows from an offset of .debug_line where a sequence begins, or all of them."""
        raw, at = self.raw, self.start if start is None else start
        for _ in range(MAX_ROWS):
            address, file, line = 0, 1, 1
            is_stmt, prologue_end = self.default_is_stmt, False
            while True:
                if at >= self.end:
                    return
                op = raw[at]
                at += 1
                if op >= self.opcode_base:
                    adjusted = op - self.opcode_base
                    address += adjusted // self.line_range * self.minimum_instruction
                    line += self.line_base + adjusted % self.line_range
                    yield Row(address, file, line, is_stmt, prologue_end, end_sequence=False)
                    prologue_end = False
                elif op == 0:
                    size, at = uleb(raw, at)
                    if size == 0:
                        raise BadDwarf("an extended line number instruction has no length")
                    extended = raw[at]
                    if extended == 1:
                        yield Row(address, file, line, is_stmt, prologue_end, end_sequence=True)
                        at += size
                        break
                    if extended == 2:
                        address = int.from_bytes(raw[at + 1 : at + size], "little")
                    at += size
                elif op == 1:
                    yield Row(address, file, line, is_stmt, prologue_end, end_sequence=False)
                    prologue_end = False
                elif op == 2:
                    advance, at = uleb(raw, at)
                    address += advance * self.minimum_instruction
                elif op == 3:
                    advance, at = sleb(raw, at)
                    line += advance
                elif op == 4:
                    file, at = uleb(raw, at)
                elif op == 6:
                    is_stmt = not is_stmt
                elif op == 8:
                    address += (255 - self.opcode_base) // self.line_range * self.minimum_instruction
                elif op == 9:
                    address, at = address + int.from_bytes(raw[at : at + 2], "little"), at + 2
                elif op == 10:
                    prologue_end = True
                else:  # 5 set_column, 7 basic_block, 11 epilogue_begin, 12 set_isa, and ones to come
                    for _ in range(self.operand_counts[op - 1]):
                        _, at = uleb(raw, at)

    def function_rows(self, low: int, high: int) -> tuple[Row, ...]:
        """The rows of [low, high), sorted by address, the one that covers `low` included."""
        needle = b"\x00" + bytes([1 + self.address_size]) + b"\x02" + low.to_bytes(self.address_size, "little")
        start = self.raw.find(needle, self.start, self.end)
        found: list[Row] = []
        previous: Row | None = None
        for row in self.rows(start if start >= 0 else None):
            if previous is not None and not previous.end_sequence and previous.address < high and row.address > low:
                found.append(previous)
            previous = row
            if row.end_sequence and start >= 0:
                break
        return tuple(sorted(found, key=lambda row: row.address))


def line_table(debug: DebugInformation, unit: Unit) -> LineTable | None:
    """The line table of a unit; None when it has none."""
    at = debug.top(unit).number(dw.AT_STMT_LIST)
    raw = debug.sections(".debug_line")
    if at is None or at + 16 > len(raw):
        return None
    offset_size = 4
    length, at = int.from_bytes(raw[at : at + 4], "little"), at + 4
    if length == 0xFFFFFFFF:
        offset_size, length, at = 8, int.from_bytes(raw[at : at + 8], "little"), at + 8
    end = at + length
    version, at = int.from_bytes(raw[at : at + 2], "little"), at + 2
    if not 2 <= version <= 5 or end > len(raw):
        raise BadDwarf(f"a line number program of version {version} ends at {end:#x} of {len(raw):#x}")
    address_size = unit.address_size
    if version >= 5:
        address_size, at = raw[at], at + 2
    header_length, at = int.from_bytes(raw[at : at + offset_size], "little"), at + offset_size
    program = at + header_length
    minimum, at = raw[at], at + 1
    if version >= 4:
        at += 1  # operations per instruction, of VLIW machines
    default_is_stmt, line_base = raw[at] != 0, int.from_bytes(raw[at + 1 : at + 2], "little", signed=True)
    line_range, opcode_base = raw[at + 2], raw[at + 3]
    if line_range == 0 or opcode_base == 0:
        raise BadDwarf("a line number program with line_range or opcode_base 0")
    at += 4
    counts = tuple(raw[at : at + opcode_base - 1])
    at += opcode_base - 1
    files = _files_5(debug, raw, at, offset_size) if version >= 5 else _files_4(debug, unit, raw, at)
    return LineTable(
        raw,
        program,
        end,
        version,
        address_size,
        minimum,
        default_is_stmt,
        line_base,
        line_range,
        opcode_base,
        counts,
        files,
    )


def _files_4(debug: DebugInformation, unit: Unit, raw: bytes, at: int) -> tuple[str, ...]:
    """Numbers count from 1; directory 0 is the unit's own."""
    top = debug.top(unit)
    directories = [top.text(dw.AT_COMP_DIR) or ""]
    while raw[at]:
        directories.append(string_at(raw, at))
        at = raw.index(b"\0", at) + 1
    at += 1
    files = [top.name]
    while raw[at] and len(files) < MAX_FILES:
        name = string_at(raw, at)
        directory, at = uleb(raw, raw.index(b"\0", at) + 1)
        _, at = uleb(raw, at)
        _, at = uleb(raw, at)
        files.append(_joined(directories, directory, name))
    return tuple(files)


def _files_5(debug: DebugInformation, raw: bytes, at: int, offset_size: int) -> tuple[str, ...]:
    directories, at = _entries_5(debug, raw, at, offset_size)
    files, _ = _entries_5(debug, raw, at, offset_size)
    names = [name for name, _ in directories]
    names = [_joined(names, 0, name) if index else name for index, name in enumerate(names)]
    return tuple(_joined(names, directory, name) for name, directory in files)


def _entries_5(debug: DebugInformation, raw: bytes, at: int, offset_size: int) -> tuple[list[tuple[str, int]], int]:
    formats: list[tuple[int, int]] = []
    for _ in range(raw[at]):
        kind, cursor = uleb(raw, at + 1)
        form, cursor = uleb(raw, cursor)
        formats.append((kind, form))
        at = cursor - 1
    count, at = uleb(raw, at + 1)
    if count > MAX_FILES:
        raise BadDwarf(f"a line table with {count} files")
    entries: list[tuple[str, int]] = []
    for _ in range(count):
        name, directory = "", 0
        for kind, form in formats:
            text, number, at = _field_5(debug, raw, at, form, offset_size)
            if kind == DW_LNCT_PATH:
                name = text
            elif kind == DW_LNCT_DIRECTORY_INDEX:
                directory = number
        entries.append((name, directory))
    return entries, at


def _field_5(debug: DebugInformation, raw: bytes, at: int, form: int, offset_size: int) -> tuple[str, int, int]:
    if form == dw.FORM_STRING:
        return string_at(raw, at), 0, raw.index(b"\0", at) + 1
    if form in {dw.FORM_LINE_STRP, dw.FORM_STRP}:
        where = int.from_bytes(raw[at : at + offset_size], "little")
        strings = debug.sections(".debug_line_str" if form == dw.FORM_LINE_STRP else ".debug_str")
        return string_at(strings, where), 0, at + offset_size
    if form == dw.FORM_UDATA:
        number, at = uleb(raw, at)
        return "", number, at
    if form == dw.FORM_BLOCK:
        size, at = uleb(raw, at)
        return "", 0, at + size
    size = {dw.FORM_DATA1: 1, dw.FORM_DATA2: 2, dw.FORM_DATA4: 4, dw.FORM_DATA8: 8, dw.FORM_DATA16: 16}.get(form, 0)
    if not size:
        raise BadDwarf(f"unknown form {form:#x} in a line table's header")
    return "", int.from_bytes(raw[at : at + size], "little"), at + size


def _joined(directories: list[str], index: int, name: str) -> str:
    directory = directories[index] if index < len(directories) else ""
    return name if not directory or name.startswith("/") else f"{directory.rstrip('/')}/{name}"
