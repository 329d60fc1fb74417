"""A probe in the middle of a function: the first instruction of a source line, and the variables that live there.

In come a function, a file and a line, out come the site, its arguments and its local variables. Locations are taken as
DWARF states them at that instruction. A line that the compiler left in several places is probed at the first one only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from agents.absence import Absent
from agents.binaries import dwarf_constants as dw
from agents.binaries.dwarf_entries import Entry
from agents.binaries.dwarf_expressions import PieceList
from agents.binaries.dwarf_lists import ranges
from agents.binaries.function_entries import full_name, type_of
from agents.binaries.model import Location, Site, TypeId, Unresolved, UnresolvedReason, Variable
from agents.binaries.probed_function import ProbedFunction

MAX_SCOPES: Final = 64  # blocks in blocks, inlined calls in inlined calls
SHOWN_LINES: Final = 12

Locate = Callable[[PieceList | None, int], Location | Absent]  # (pieces, type's offset) -> location

_SCOPES: Final = frozenset({dw.TAG_LEXICAL_BLOCK, dw.TAG_INLINED_SUBROUTINE})
_VARIABLES: Final = frozenset({dw.TAG_FORMAL_PARAMETER, dw.TAG_VARIABLE})


def line_site(function: ProbedFunction, line: tuple[str, int]) -> tuple[Site, tuple[str, ...]]:
    """The site and its notes. Raises Unresolved: no_line, with the lines that have code."""
    wanted_file, wanted_line = line
    lines = function.lines
    rows = [
        row
        for row in function.rows
        if row.is_stmt and lines is not None and _is_file(lines.file_name(row.file), wanted_file)
    ]
    places = sorted({row.address for row in rows if row.line == wanted_line})
    behind_prologue = [address for address in places if address >= _prologue_end(function)]
    if not behind_prologue:
        having = sorted({row.line for row in rows if row.address >= _prologue_end(function)})
        near = sorted(sorted(having, key=lambda number: abs(number - wanted_line))[:SHOWN_LINES])
        what = "is the function's first one: probe it with `at: entry`" if places else "has no code there"
        known = f"; lines with code: {', '.join(map(str, near))}" if near else f"; it has no line of {wanted_file}"
        raise Unresolved(
            UnresolvedReason.NO_LINE, f"{function.name}: line {wanted_line} of {wanted_file} {what}{known}"
        )
    notes = (f"line {wanted_line} begins in {len(places)} places, only the first is probed",) if len(places) > 1 else ()
    return function.site(behind_prologue[0]), notes


def visible_variables(function: ProbedFunction, address: int, locate: Locate) -> tuple[Variable, ...]:
    """Arguments and locals whose scope holds the address; an inner name hides an outer one."""
    found: dict[str, Variable] = {}
    for entry in _in_scope(function, function.entry, address, 0):
        name, type_id = full_name(function.debug, entry), type_of(function.debug, entry)
        if not name or name.startswith((".", "~")) or type_id is None:
            continue
        location = locate(function.stated(entry, address), type_id)
        shown = name.removeprefix("&")  # Go: a variable that moved to the heap, seen through its pointer
        if entry.tag == dw.TAG_VARIABLE and shown in found and isinstance(location, Absent):
            continue
        found[shown] = Variable(shown, TypeId(type_id), location)
    return tuple(found.values())


def _in_scope(function: ProbedFunction, scope: Entry, address: int, depth: int) -> Iterator[Entry]:
    if depth > MAX_SCOPES:
        return
    inner: list[Entry] = []
    for child in function.debug.children(scope):
        if child.tag in _VARIABLES and not child.flag(dw.AT_VARIABLE_PARAMETER):
            yield child
        elif child.tag in _SCOPES and any(low <= address < high for low, high in ranges(function.debug, child)):
            inner.append(child)
    for child in inner:
        yield from _in_scope(function, child, address, depth + 1)


def _prologue_end(function: ProbedFunction) -> int:
    """Where the line table says so, else its second address: before it, arguments are not in their slots yet."""
    marked = [row.address for row in function.rows if row.prologue_end and row.address >= function.low]
    later = [row.address for row in function.rows if row.address > function.low]
    return min(marked or later or [function.low])


def _is_file(path: str | None, wanted: str) -> bool:
    return path is not None and (path == wanted or path.endswith("/" + wanted.lstrip("/")))
