"""Find a C, C++ or Rust function by the name that its programmers use: shop::Order::total, shapes::run, hidden.

In come debug information and a name, out come definitions with their qualified names. Symbols are mangled, so the names
are put together from the scopes that debug entries stand in; only units that mention the last part of the name are read.
Rust's `{impl#0}` scopes are left out, and template arguments may be. Parameter types in parentheses choose an overload.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from agents.binaries import dwarf_constants as dw
from agents.binaries.dwarf_entries import DebugInformation, Entry, Unit
from agents.binaries.dwarf_lists import ranges
from agents.binaries.function_entries import attribute, origins, type_of
from agents.binaries.function_names import SHOWN
from agents.binaries.model import Unresolved, UnresolvedReason
from agents.binaries.type_names import type_name

MAX_DEFINITIONS: Final = 10_000  # functions of one name: overloads and instances of a template
MAX_NAMED: Final = 16 << 20  # bytes of .debug_info that an error text may cost: a second or two
MAX_HITS: Final = 100_000  # places in .debug_str where a name occurs

_SCOPES: Final = frozenset(
    {
        dw.TAG_SUBPROGRAM,
        dw.TAG_NAMESPACE,
        dw.TAG_STRUCTURE_TYPE,
        dw.TAG_CLASS_TYPE,
        dw.TAG_UNION_TYPE,
        dw.TAG_ENUMERATION_TYPE,
    }
)
_IMPL: Final = re.compile(r"\{impl#\d+\}::")


@dataclass(frozen=True)
class Definition:
    name: str  # qualified
    unit: Unit
    entry: Entry
    address: int | None  # None: only inlined


def find_native(debug: DebugInformation, asked: str, path: str) -> Definition | None:
    """The definition that `asked` means, None when there is none. Raises Unresolved: ambiguous."""
    bare, parameters = _split(asked)
    found = [d for d in definitions(debug, _last(bare)) if _means(d.name, bare)]
    for same in ([d for d in found if d.name == bare], [d for d in found if _plain(d.name) == bare]):
        if same:
            found = same
            break
    if parameters:
        found = [d for d in found if _squeezed(signature(debug, d)) == _squeezed(parameters)]
    placed = list({d.address: d for d in found if d.address is not None}.values())
    if parameters and len(placed) == 1:
        return replace(placed[0], name=f"{placed[0].name}{signature(debug, placed[0])}")
    if len(placed) > 1:
        shown = ", ".join(sorted(distinct_names(debug, placed))[:SHOWN])
        raise Unresolved(
            UnresolvedReason.AMBIGUOUS,
            f"{asked!r} means {len(placed)} functions of {path}; name one of them in full: {shown}",
        )
    return placed[0] if placed else found[0] if found else _by_linkage_name(debug, asked)


def _by_linkage_name(debug: DebugInformation, asked: str) -> Definition | None:
    """By its mangled name, for what the symbol table leaves out: a local function of a library."""
    for unit in _units_mentioning(debug, asked):
        for offset, _, _ in debug.walk(unit, frozenset({dw.TAG_SUBPROGRAM})):
            entry = debug.entry(unit, offset)
            covered = ranges(debug, entry)
            stated = attribute(debug, entry, dw.AT_LINKAGE_NAME) if covered else None
            if stated is not None and stated.text(dw.AT_LINKAGE_NAME) == asked:
                return Definition(asked, unit, entry, covered[0][0])
    return None


def definitions(debug: DebugInformation, last: str) -> Iterator[Definition]:
    """Every function whose last name is `last`, template arguments aside; inlined ones too."""
    for unit in _units_mentioning(debug, last):
        for number, (offset, name) in enumerate(qualified_names(debug, unit).items()):
            if number > MAX_DEFINITIONS * 100:
                return
            if _last(name) != last:
                continue
            entry = debug.entry(unit, offset)
            covered = ranges(debug, entry)
            if covered:
                yield Definition(name, unit, entry, covered[0][0])
            elif dw.AT_INLINE in entry.attributes:
                yield Definition(name, unit, entry, None)


def qualified_names(debug: DebugInformation, unit: Unit) -> dict[int, str]:
    """Offset of each subprogram entry of a unit -> its name with its scopes."""
    stack: list[tuple[int, str]] = []
    own: dict[int, str] = {}
    for offset, tag, depth in debug.walk(unit, _SCOPES):
        entry = debug.entry(unit, offset)
        while stack and stack[-1][0] >= depth:
            stack.pop()
        scope = "".join(name + "::" for _, name in stack if name)
        own[offset] = _IMPL.sub("", scope + entry.name) if entry.name else ""
        if tag != dw.TAG_SUBPROGRAM:
            stack.append((depth, entry.name))
    names: dict[int, str] = {}
    for offset, name in own.items():
        entry = debug.entry(unit, offset)
        if entry.tag != dw.TAG_SUBPROGRAM:
            continue
        declared = next((own.get(each.offset) or each.name for each in reversed(list(origins(debug, entry)))), name)
        names[offset] = declared or name
    return names


def all_names(debug: DebugInformation) -> tuple[str, ...]:
    """Every function's qualified name, for the nearest ones to one that is not there; none of a very large binary."""
    if len(debug.info) > MAX_NAMED:
        return ()
    return tuple(dict.fromkeys(name for unit in debug.units for name in qualified_names(debug, unit).values() if name))


def distinct_names(debug: DebugInformation, found: Sequence[Definition]) -> list[str]:
    """A name for each by which it can be asked for: with parameters where the name is not enough, else the symbol's."""
    names = Counter(d.name for d in found)
    full = [d.name + (signature(debug, d) if names[d.name] > 1 else "") for d in found]
    count = Counter(full)
    linkage = [attribute(debug, d.entry, dw.AT_LINKAGE_NAME) for d in found]
    symbols = [stated.text(dw.AT_LINKAGE_NAME) if stated is not None else None for stated in linkage]
    return [symbol if count[name] > 1 and symbol else name for name, symbol in zip(full, symbols, strict=True)]


def signature(debug: DebugInformation, definition: Definition) -> str:
    """(const shop::Order &, shop::Level): the parameters without `this`."""
    texts: list[str] = []
    for child in debug.children(definition.entry):
        artificial = attribute(debug, child, dw.AT_ARTIFICIAL) if child.tag == dw.TAG_FORMAL_PARAMETER else None
        if child.tag == dw.TAG_FORMAL_PARAMETER and artificial is None:
            texts.append(type_name(debug, type_of(debug, child)))
    return f"({', '.join(texts)})"


def _units_mentioning(debug: DebugInformation, last: str) -> Iterator[Unit]:
    """Names stand inline, or as offsets into .debug_str; a unit with indexed strings is always read."""
    inline = [last.encode() + b"\0", last.encode() + b"<"]  # linkers let a string begin inside another one
    strings = debug.sections(".debug_str")
    references = {start.to_bytes(4, "little") for needle in inline for start in _starts(strings, needle)}
    for unit in debug.units:
        indexed = unit.version >= 5 and dw.AT_STR_OFFSETS_BASE in debug.top(unit).attributes
        if indexed or any(debug.info.find(each, unit.first, unit.end) >= 0 for each in [*inline, *references]):
            yield unit


def _starts(strings: bytes, needle: bytes) -> Iterator[int]:
    at = -1
    for _ in range(MAX_HITS):
        at = strings.find(needle, at + 1)
        if at < 0:
            return
        yield at


def _split(asked: str) -> tuple[str, str]:
    """shop::charge(int) -> shop::charge, (int): the last pair of parentheses, when it ends the name."""
    depth = 0
    for at in range(len(asked) - 1, 0, -1):
        depth += (asked[at] == ")") - (asked[at] == "(")
        if depth == 0:
            return (asked[:at], asked[at:]) if asked.endswith(")") and asked[:at] else (asked, "")
    return asked, ""


def _means(name: str, asked: str) -> bool:
    """Whole parts from the right, template arguments optional."""
    return any(each == asked or each.endswith("::" + asked) for each in (name, _plain(name)))


def _plain(name: str) -> str:
    """Without template arguments: shop::largest<int> -> shop::largest"""
    previous, name = "", name.replace("->", "")  # of a function type: no bracket
    while previous != name and not name.startswith("operator"):
        previous, name = name, re.sub(r"<[^<>]*>", "", name)
    return name


def _last(name: str) -> str:
    return _plain(name).rsplit("::", 1)[-1]


def _squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text)
