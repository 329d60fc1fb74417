"""How a Go map's entries lie in memory, as this binary's own debug information says.

In comes a map's entry, out come MapGroups, or None where it is neither of the two layouts that are known: Swiss tables
since Go 1.24 (internal/runtime/maps/map.go, group.go), buckets before (runtime/map.go, `bmap`). The linker writes a struct
for the header, the table and the group of each map type (cmd/link/internal/ld/dwarf.go, synthesizemaptypes).
"""

from __future__ import annotations

from typing import Final

from agents.binaries import dwarf_constants as dw
from agents.binaries.dwarf_entries import DebugInformation, Entry
from agents.binaries.model import MapGroups, TypeId

ENTRIES: Final = 8  # of a group or bucket: abi.MapGroupSlots, abi.OldMapBucketCount
MAX_GROUP: Final = 4096  # bytes: keys and values above 128 bytes are stored as pointers, so 2,056 is the largest
SWISS_FULL: Final = (0x00, 0x7F)  # the top bit marks what is empty or deleted
BUCKET_FULL: Final = (5, 0xFF)  # runtime/map.go, minTopHash: below are empty and evacuated
WORD: Final = 8


def map_groups(debug: DebugInformation, entry: Entry) -> MapGroups | None:
    header = _struct(debug, _behind(debug, entry))
    if header is None:
        return None
    fields = _fields(debug, header)
    if {"used", "dirPtr", "dirLen"} <= fields.keys():
        return _swiss(debug, fields)
    if {"count", "B", "buckets"} <= fields.keys():
        return _buckets(debug, fields)
    return None


_Fields = dict[str, tuple[int, Entry]]  # name -> offset, type's entry


def _swiss(debug: DebugInformation, header: _Fields) -> MapGroups | None:
    table = _struct(debug, _behind(debug, _behind(debug, header["dirPtr"][1])))
    groups = _fields(debug, table).get("groups") if table is not None else None
    reference = _fields(debug, groups[1]) if groups is not None else {}
    group = _struct(debug, _behind(debug, reference["data"][1])) if "data" in reference else None
    inner = _fields(debug, group) if group is not None else {}
    slot = _element(debug, inner["slots"][1]) if "slots" in inner else None
    parts = _fields(debug, slot) if slot is not None else {}
    size, step = _size(group), _size(slot)
    if groups is None or not {"key", "elem"} <= parts.keys() or "ctrl" not in inner or header["used"][0] != 0:
        return None
    if not 0 < size <= MAX_GROUP or reference["lengthMask"][0] != reference["data"][0] + WORD:
        return None
    start = inner["slots"][0]
    return MapGroups(
        swiss=True,
        header=max(header["dirPtr"][0], header["dirLen"][0]) + WORD,
        directory=header["dirPtr"][0],
        depth=header["dirLen"][0],
        table=groups[0] + reference["data"][0],
        size=size,
        control=inner["ctrl"][0],
        keys=start + parts["key"][0],
        values=start + parts["elem"][0],
        key_step=step,
        value_step=step,
        key=TypeId(parts["key"][1].offset),
        value=TypeId(parts["elem"][1].offset),
        full=SWISS_FULL,
    )


def _buckets(debug: DebugInformation, header: _Fields) -> MapGroups | None:
    bucket = _struct(debug, _behind(debug, header["buckets"][1]))
    inner = _fields(debug, bucket) if bucket is not None else {}
    if not {"tophash", "keys", "values"} <= inner.keys() or header["count"][0] != 0:
        return None
    key, value = _element(debug, inner["keys"][1]), _element(debug, inner["values"][1])
    size = _size(bucket)
    if key is None or value is None or not 0 < size <= MAX_GROUP:
        return None
    key_step = (_size(inner["keys"][1]) or 0) // ENTRIES
    value_step = (_size(inner["values"][1]) or 0) // ENTRIES
    return MapGroups(
        swiss=False,
        header=header["buckets"][0] + WORD,
        directory=header["buckets"][0],
        depth=header["B"][0],
        table=0,
        size=size,
        control=inner["tophash"][0],
        keys=inner["keys"][0],
        values=inner["values"][0],
        key_step=key_step,
        value_step=value_step,
        key=TypeId(key.offset),
        value=TypeId(value.offset),
        full=BUCKET_FULL,
    )


def _behind(debug: DebugInformation, entry: Entry | None) -> Entry | None:
    """What a type names or points at, one step further."""
    target = entry.number(dw.AT_TYPE) if entry is not None else None
    return None if target is None else debug.entry_at(target)


def _struct(debug: DebugInformation, entry: Entry | None) -> Entry | None:
    """The struct behind at most a name and a pointer."""
    for _ in range(3):
        if entry is None or entry.tag == dw.TAG_STRUCTURE_TYPE:
            return entry
        entry = _behind(debug, entry)
    return None


def _fields(debug: DebugInformation, struct: Entry) -> _Fields:
    found: _Fields = {}
    for child in debug.children(struct):
        target = child.number(dw.AT_TYPE)
        if child.tag == dw.TAG_MEMBER and target is not None:
            found[child.name] = (child.number(dw.AT_DATA_MEMBER_LOCATION) or 0, debug.entry_at(target))
    return found


def _element(debug: DebugInformation, entry: Entry) -> Entry | None:
    """An array's element, behind its names when it is a struct without one."""
    array: Entry | None = entry
    while array is not None and array.tag == dw.TAG_TYPEDEF:
        array = _behind(debug, array)
    return _behind(debug, array) if array is not None and array.tag == dw.TAG_ARRAY_TYPE else None


def _size(entry: Entry | None) -> int:
    return (entry.number(dw.AT_BYTE_SIZE) if entry is not None else None) or 0
