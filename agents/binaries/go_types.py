"""Go types from DWARF: into the type table, and into register-sized leaves for the calling convention.

In come entries of .debug_info, out come model types (`type_closure` closes the table over them) and `Shape`s, which
`go_abi` assigns to registers. Go marks its entries with abi.Kind (DW_AT_go_kind), so a string is known to be one and not
just a struct of two words. Which concrete types an interface may hold is told by `go_interfaces`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, IntEnum, auto
from typing import Final

from agents.binaries import dwarf_constants as dw
from agents.binaries.dwarf_entries import DebugInformation, Entry
from agents.binaries.dwarf_forms import BadDwarf
from agents.binaries.go_maps import map_groups
from agents.binaries.model import (
    Array,
    Boolean,
    Float,
    Implementation,
    Integer,
    Interface,
    Map,
    Member,
    Opaque,
    Pointer,
    Slice,
    String,
    Struct,
    TypeId,
)
from agents.binaries.type_closure import ReadType

MAX_TYPEDEFS: Final = 32  # a name of a name of a name: Go needs three
MAX_SHAPE: Final = 64  # structs in structs
WORD: Final = 8


class Kind(IntEnum):
    """internal/abi.Kind; also what DW_AT_go_kind holds."""

    BOOL = 1
    INT = 2
    UINTPTR = 12
    FLOAT32 = 13
    FLOAT64 = 14
    COMPLEX64 = 15
    COMPLEX128 = 16
    ARRAY = 17
    CHAN = 18
    FUNC = 19
    INTERFACE = 20
    MAP = 21
    POINTER = 22
    SLICE = 23
    STRING = 24
    STRUCT = 25
    UNSAFE_POINTER = 26


class RegisterClass(Enum):
    INTEGER = auto()
    FLOAT = auto()


@dataclass(frozen=True)
class Leaf:
    """A part of a value that takes one register."""

    offset: int
    size: int
    register_class: RegisterClass


@dataclass(frozen=True)
class Shape:
    """Size, alignment and leaves. `leaves` is None for what never goes in registers (an array of two or more)."""

    size: int
    align: int
    leaves: tuple[Leaf, ...] | None


Implementations = Callable[[Entry, bool, int], tuple[Implementation, ...]]  # (interface's entry, empty, level)

_OPAQUE: Final = {
    Kind.CHAN: (8, "a channel: what is in it cannot be read without disturbing it"),
    Kind.FUNC: (8, "a function value"),
    Kind.COMPLEX64: (8, "a complex number"),
    Kind.COMPLEX128: (16, "a complex number"),
}


class GoTypes:
    """Reads the types of one Go binary."""

    def __init__(self, debug: DebugInformation, implementations: Implementations) -> None:
        self._debug = debug
        self._implementations = implementations
        self._shapes: dict[int, Shape] = {}

    def read(self, type_id: TypeId, level: int) -> ReadType:
        """One type for `type_closure.close`."""
        named = self._debug.entry_at(type_id)
        entry, kind = self.underlying(named)
        name = entry.name if named.name.startswith(".param") else named.name or entry.name
        size = entry.number(dw.AT_BYTE_SIZE)
        if kind in _OPAQUE:
            return ReadType(Opaque(name, *_OPAQUE[Kind(kind)]))
        if kind == Kind.INTERFACE:
            empty = self._is_empty_interface(entry)
            found = self._implementations(entry, empty, level)
            return ReadType(Interface(name, empty, found), behind=tuple(i.type for i in found if i.type is not None))
        if kind == Kind.MAP:
            key, value = entry.number(dw.AT_GO_KEY), entry.number(dw.AT_GO_ELEM)
            if key is None or value is None:
                return ReadType(Opaque(name, WORD, "a map whose key and value types are not stated"))
            groups = map_groups(self._debug, entry)
            stored = () if groups is None else (groups.key, groups.value)
            held = Map(name, TypeId(key), TypeId(value), groups=groups)
            return ReadType(held, behind=(TypeId(key), TypeId(value), *stored))
        if kind == Kind.STRING:
            return ReadType(String(name))
        if kind == Kind.SLICE:
            element = TypeId(self._element(entry))
            return ReadType(Slice(name, element), behind=(element,))
        if entry.tag == dw.TAG_POINTER_TYPE:
            target = entry.number(dw.AT_TYPE)
            return ReadType(
                Pointer(name, None if target is None else TypeId(target)),
                behind=() if target is None else (TypeId(target),),
            )
        if entry.tag == dw.TAG_STRUCTURE_TYPE:
            members = tuple(self._members(entry))
            return ReadType(Struct(name, size or 0, members), inside=tuple(m.type for m in members))
        if entry.tag == dw.TAG_ARRAY_TYPE:
            element = TypeId(_reference(entry, dw.AT_TYPE))
            return ReadType(Array(name, size or 0, element, self._count(entry)), inside=(element,))
        if entry.tag == dw.TAG_BASE_TYPE:
            return ReadType(_base(name, size or 0, entry.number(dw.AT_ENCODING)))
        return ReadType(Opaque(name or "unspecified", size or 0, "a type that the debug information does not describe"))

    def underlying(self, entry: Entry) -> tuple[Entry, int]:
        """The entry behind its names, and its abi.Kind (0: none stated). Interfaces and maps are typedefs that carry one."""
        for _ in range(MAX_TYPEDEFS):
            kind = entry.number(dw.AT_GO_KIND) or 0
            if entry.tag != dw.TAG_TYPEDEF or kind in {Kind.INTERFACE, Kind.MAP, Kind.CHAN}:
                return entry, kind
            entry = self._debug.entry_at(_reference(entry, dw.AT_TYPE))
        raise BadDwarf(f"the typedef at {entry.offset:#x} names itself")

    def shape(self, offset: int, nesting: int = 0) -> Shape:
        """What the calling convention sees of a type."""
        if offset not in self._shapes:
            if nesting > MAX_SHAPE:
                raise BadDwarf(f"the type at {offset:#x} contains itself")
            self._shapes[offset] = self._shape(offset, nesting)
        return self._shapes[offset]

    def _shape(self, offset: int, nesting: int) -> Shape:
        entry, kind = self.underlying(self._debug.entry_at(offset))
        size = entry.number(dw.AT_BYTE_SIZE)
        words = (
            {Kind.INTERFACE: 2, Kind.STRING: 2, Kind.SLICE: 3, Kind.MAP: 1, Kind.CHAN: 1, Kind.FUNC: 1}.get(
                Kind(kind), 0
            )
            if (kind in Kind._value2member_map_)
            else 0
        )
        if words or entry.tag == dw.TAG_POINTER_TYPE:
            words = words or 1
            return Shape(words * WORD, WORD, tuple(Leaf(i * WORD, WORD, RegisterClass.INTEGER) for i in range(words)))
        if entry.tag == dw.TAG_STRUCTURE_TYPE:
            return self._struct_shape(entry, size or 0, nesting)
        if entry.tag == dw.TAG_ARRAY_TYPE:
            element = self.shape(_reference(entry, dw.AT_TYPE), nesting + 1)
            count = self._count(entry)
            leaves = () if count == 0 else element.leaves if count == 1 else None
            return Shape(count * element.size, element.align, leaves)
        if entry.tag == dw.TAG_BASE_TYPE and size:
            return _base_shape(size, entry.number(dw.AT_ENCODING))
        raise BadDwarf(f"{entry.name or 'a type'} at {entry.offset:#x} has no size")

    def _struct_shape(self, entry: Entry, size: int, nesting: int) -> Shape:
        align, leaves = 1, []
        fits = True
        for member in self._members(entry):
            inner = self.shape(member.type, nesting + 1)
            align = max(align, inner.align)
            if inner.leaves is None:
                fits = False
            else:
                leaves += [Leaf(member.offset + leaf.offset, leaf.size, leaf.register_class) for leaf in inner.leaves]
        return Shape(size, align, tuple(leaves) if fits else None)

    def _members(self, entry: Entry) -> list[Member]:
        return [
            Member(
                child.name,
                child.number(dw.AT_DATA_MEMBER_LOCATION) or 0,
                TypeId(_reference(child, dw.AT_TYPE)),
                embedded=child.flag(dw.AT_GO_EMBEDDED_FIELD),
            )
            for child in self._debug.children(entry)
            if child.tag == dw.TAG_MEMBER
        ]

    def _element(self, entry: Entry) -> int:
        stated = entry.number(dw.AT_GO_ELEM)
        if stated is not None:
            return stated
        for child in self._debug.children(entry):
            if child.name == "array":
                return _reference(self._debug.entry_at(_reference(child, dw.AT_TYPE)), dw.AT_TYPE)
        raise BadDwarf(f"the slice at {entry.offset:#x} states no element type")

    def _count(self, entry: Entry) -> int:
        for child in self._debug.children(entry):
            if child.tag == dw.TAG_SUBRANGE_TYPE:
                count, upper = child.number(dw.AT_COUNT), child.number(dw.AT_UPPER_BOUND)
                return count if count is not None else 0 if upper is None else upper + 1
        return 0

    def _is_empty_interface(self, entry: Entry) -> bool:
        """runtime.eface has `_type` first, runtime.iface has `tab`."""
        for _ in range(MAX_TYPEDEFS):
            if entry.tag == dw.TAG_STRUCTURE_TYPE:
                first = next(self._debug.children(entry), None)
                return first is not None and first.name == "_type"
            entry = self._debug.entry_at(_reference(entry, dw.AT_TYPE))
        raise BadDwarf(f"the interface at {entry.offset:#x} has no layout")


def _base(name: str, size: int, encoding: int | None) -> Integer | Boolean | Float | Opaque:
    if encoding == dw.ATE_BOOLEAN:
        return Boolean(name, size)
    if encoding == dw.ATE_FLOAT:
        return Float(name, size)
    if encoding in {dw.ATE_SIGNED, dw.ATE_SIGNED_CHAR, dw.ATE_UNSIGNED, dw.ATE_UNSIGNED_CHAR}:
        return Integer(name, size, signed=encoding in {dw.ATE_SIGNED, dw.ATE_SIGNED_CHAR})
    return Opaque(name, size, "a complex number" if encoding == dw.ATE_COMPLEX_FLOAT else f"encoding {encoding}")


def _base_shape(size: int, encoding: int | None) -> Shape:
    if encoding == dw.ATE_COMPLEX_FLOAT:
        half = size // 2
        return Shape(size, half, (Leaf(0, half, RegisterClass.FLOAT), Leaf(half, half, RegisterClass.FLOAT)))
    register_class = RegisterClass.FLOAT if encoding == dw.ATE_FLOAT else RegisterClass.INTEGER
    return Shape(size, size, (Leaf(0, size, register_class),))


def _reference(entry: Entry, attribute: int) -> int:
    value = entry.number(attribute)
    if value is None:
        raise BadDwarf(f"{entry.name or 'an entry'} at {entry.offset:#x} lacks attribute {attribute:#x}")
    return value
