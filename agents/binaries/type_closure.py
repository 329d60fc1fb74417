"""Close a type table over what its roots reach, bounded: nearest types first, opaque beyond.

In come root entries and a language's reading of one type, out comes a TypeTable in which every TypeId that a type names
is present. Go, C, C++ and Rust differ in `read` only (`go_types`, `native_types`); how far to go does not. Types inside a
type (members, elements) always come along; types behind a pointer cost one level.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from agents.binaries.dwarf_forms import BadDwarf
from agents.binaries.model import Opaque, Type, TypeId, TypeTable

MAX_LEVELS: Final = (
    6  # pointers, slices, maps and interfaces between a variable and a type; templates go 3 deep by default
)
MAX_TYPES: Final = 4000  # of one table: 6 levels from a compiler's node reach most of the program
MAX_NESTING: Final = 64  # structs in structs; deeper is a damaged file that contains itself


@dataclass(frozen=True)
class ReadType:
    """One type, with the types inside it and those behind a pointer. `beyond` stands for it where the table ends."""

    type: Type
    inside: tuple[TypeId, ...] = ()
    behind: tuple[TypeId, ...] = ()


def close(roots: Iterable[TypeId], read: Callable[[TypeId, int], ReadType], *, max_types: int = MAX_TYPES) -> TypeTable:
    """`read(id, level)` gives one type; level counts the pointers from a root."""
    table: dict[TypeId, Type] = {}
    wave = list(dict.fromkeys(roots))
    for level in range(MAX_LEVELS + 1):
        following: dict[TypeId, None] = {}
        for root in wave:
            _take(root, level, read, table, following, max_types)
        wave = [each for each in following if each not in table]
    for each in wave:
        table.setdefault(each, _beyond(read(each, MAX_LEVELS + 1)))
    return table


def _take(
    root: TypeId,
    level: int,
    read: Callable[[TypeId, int], ReadType],
    table: dict[TypeId, Type],
    following: dict[TypeId, None],
    max_types: int,
) -> None:
    pending = [(root, 0)]
    while pending:
        each, nesting = pending.pop()
        if each in table:
            continue
        if nesting > MAX_NESTING:
            raise BadDwarf(f"the type at {root:#x} contains itself, or nests deeper than {MAX_NESTING}")
        found = read(each, level)
        if level and nesting == 0 and len(table) >= max_types:
            table[each] = _beyond(found)
            continue
        table[each] = found.type
        pending.extend((inner, nesting + 1) for inner in found.inside)
        following.update(dict.fromkeys(found.behind))


def _beyond(found: ReadType) -> Type:
    if not found.inside and not found.behind:
        return found.type  # it drags nothing along
    of = found.type
    why = f"more than {MAX_LEVELS} pointers away from the function's arguments: capture it from a function nearer to it"
    return Opaque(of.name, of.size, why)
