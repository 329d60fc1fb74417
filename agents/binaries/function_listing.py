"""List a binary's functions with their arguments and results, for the people who write templates.

In comes an open binary and a pattern, out come FunctionSummary rows. Names are matched on the symbol table; only the
units of the functions shown are read. Without debug information a row has its name only.
"""

from __future__ import annotations

import fnmatch
from typing import Final

from agents.binaries import dwarf_constants as dw
from agents.binaries.dwarf_entries import DebugInformation, Entry, Unit
from agents.binaries.dwarf_lists import ranges
from agents.binaries.function_entries import attribute, full_name, inlined_copies, type_of
from agents.binaries.function_names import NamedFunction, readable
from agents.binaries.model import FunctionSummary, Language
from agents.binaries.native_names import Definition, distinct_names, qualified_names
from agents.binaries.open_binary import OpenBinary
from agents.binaries.probed_function import ProbedFunction
from agents.binaries.type_names import type_name

MAX_LISTED: Final = 10_000  # rows of one answer
MAX_PATTERN: Final = 1000

_SUBPROGRAM: Final = frozenset({dw.TAG_SUBPROGRAM})


def list_functions(binary: OpenBinary, pattern: str | None, limit: int) -> tuple[FunctionSummary, ...]:
    limit = max(0, min(limit, MAX_LISTED))
    if not binary.is_go and binary.has_debug_information:
        return tuple(_summary(binary, name, found) for name, found in _native(binary.debug, pattern)[:limit])
    functions = binary.symbols or tuple(NamedFunction(name, 0, 0) for name in binary.pclntab_names)
    chosen = sorted((f for f in functions if _matches(f.name, pattern)), key=lambda f: f.name)[:limit]
    if not binary.has_debug_information:
        return tuple(FunctionSummary(f.name, None, None, (), (), 0, None) for f in chosen)
    units = _units(binary.debug, {f.address for f in chosen})
    return tuple(_summary(binary, f.name, units.get(f.address)) for f in chosen)


def _native(debug: DebugInformation, pattern: str | None) -> list[tuple[str, tuple[Unit, Entry]]]:
    """Functions with code by their qualified names; overloads with their parameters, as `function:` takes them."""
    found: dict[int, Definition] = {}
    for unit in debug.units:
        for offset, name in qualified_names(debug, unit).items():
            if not name or not _matches(name, pattern):
                continue
            entry = debug.entry(unit, offset)
            if covered := ranges(debug, entry):
                found.setdefault(covered[0][0], Definition(name, unit, entry, covered[0][0]))
    names = distinct_names(debug, list(found.values()))
    rows = [(name, (d.unit, d.entry)) for name, d in zip(names, found.values(), strict=True)]
    return sorted(rows, key=lambda row: row[0])


def _matches(name: str, pattern: str | None) -> bool:
    if pattern is None:
        return True
    pattern = pattern[:MAX_PATTERN].lower()
    shown = readable(name).lower()
    if not any(each in pattern for each in "*?"):
        return pattern in shown
    return any(fnmatch.fnmatchcase(shown, before + pattern) for before in ("", "*/", "*.", "*::"))


def _units(debug: DebugInformation, addresses: set[int]) -> dict[int, tuple[Unit, Entry]]:
    """The debug entries of functions that start at these addresses; only the units that hold one are walked."""
    found: dict[int, tuple[Unit, Entry]] = {}
    remaining = sorted(addresses)
    for unit in debug.units:
        top = debug.top(unit)
        covered = ranges(debug, top) if top.tag == dw.TAG_COMPILE_UNIT else ()
        if not any(low <= address < high for low, high in covered for address in remaining):
            continue
        for offset, _, _ in debug.walk(unit, _SUBPROGRAM):
            entry = debug.entry(unit, offset)
            low = entry.number(dw.AT_LOW_PC)
            if low in addresses and low is not None:
                found.setdefault(low, (unit, entry))
    return found


def _summary(binary: OpenBinary, shown: str, at: tuple[Unit, Entry] | None) -> FunctionSummary:
    if at is None:
        return FunctionSummary(shown, None, None, (), (), 0, None)
    unit, entry = at
    debug, language = binary.debug, binary.language_of(unit)
    function = ProbedFunction(binary.image, debug, unit, entry, shown, {})
    arguments: list[tuple[str, str]] = []
    results: list[tuple[str, str]] = []
    for child in debug.children(entry):
        if child.tag != dw.TAG_FORMAL_PARAMETER:
            continue
        name = full_name(debug, child)
        is_result = attribute(debug, child, dw.AT_VARIABLE_PARAMETER)
        row = (
            "_" if name.startswith("~p") else "" if name.startswith("~") else name,
            type_name(debug, type_of(debug, child)),
        )
        if language is Language.GO and is_result is not None and is_result.flag(dw.AT_VARIABLE_PARAMETER):
            results.append(row)
        elif name != ".dict":
            arguments.append(row)
    if language is not Language.GO and (returned := type_of(debug, entry)) is not None:
        results.append(("", type_name(debug, returned)))
    copies = len(inlined_copies(debug, entry))
    return FunctionSummary(shown, function.file, function.line, tuple(arguments), tuple(results), copies, language)
