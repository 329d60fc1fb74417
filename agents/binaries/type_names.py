"""Write a type as its language's programmers do, near enough to recognise it, from its debug entry."""

from __future__ import annotations

from typing import Final

from agents.binaries import dwarf_constants as dw
from agents.binaries.dwarf_entries import DebugInformation, Entry

MAX_TYPE_NAME: Final = 32  # const pointer to a pointer to ...

_DECORATED: Final = {
    dw.TAG_POINTER_TYPE: "{} *", dw.TAG_REFERENCE_TYPE: "{} &", dw.TAG_RVALUE_REFERENCE_TYPE: "{} &&",
    dw.TAG_CONST_TYPE: "const {}", dw.TAG_VOLATILE_TYPE: "volatile {}", dw.TAG_RESTRICT_TYPE: "{}", dw.TAG_ATOMIC_TYPE: "_Atomic {}",
}  # fmt: skip


def type_name(debug: DebugInformation, offset: int | None, nesting: int = 0) -> str:
    """A type as its language's programmers write it, near enough to recognise it."""
    if offset is None:
        return "void"
    if nesting > MAX_TYPE_NAME:
        return "…"
    entry = debug.entry_at(offset)
    if entry.name and not entry.name.startswith(".param"):
        return entry.name
    inner = type_name(debug, entry.number(dw.AT_TYPE), nesting + 1)
    if entry.tag in _DECORATED and not (entry.tag == dw.TAG_CONST_TYPE and inner.endswith(("*", "&"))):
        return _DECORATED[entry.tag].format(inner)
    if entry.tag == dw.TAG_ARRAY_TYPE:
        return f"{inner}[]"
    return inner if entry.tag in {dw.TAG_TYPEDEF, dw.TAG_CONST_TYPE} else f"<unnamed {_kind(entry)}>"


def _kind(entry: Entry) -> str:
    return {dw.TAG_STRUCTURE_TYPE: "struct", dw.TAG_UNION_TYPE: "union", dw.TAG_ENUMERATION_TYPE: "enum"}.get(
        entry.tag, "type"
    )
