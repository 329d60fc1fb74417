"""The types of what a probe reads: what `agents.binaries` makes of DWARF, and `agents.compiler` plans reads by. No I/O.

Part of `agents.binaries.model`, where everything that comes after imports it from. Sizes and offsets are bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NewType

TypeId = NewType("TypeId", int)  # key into TypeTable; the DIE's offset, or negative for a synthetic type


@dataclass(frozen=True)
class Integer:
    name: str
    size: int  # 1, 2, 4, 8, 16
    signed: bool
    character: bool = False  # C's char, Rust's char (size 4)


@dataclass(frozen=True)
class Boolean:
    name: str
    size: int


@dataclass(frozen=True)
class Float:
    name: str
    size: int


@dataclass(frozen=True)
class Enumeration:
    name: str
    size: int
    signed: bool
    members: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Pointer:
    """`target` is None for void*, unsafe.Pointer and uintptr-like handles. The address is the first of `size` bytes:
    std::shared_ptr has more of them. `reference`: C++ code names what it points at, never itself.
    """

    name: str
    target: TypeId | None
    size: int = 8
    reference: bool = False


@dataclass(frozen=True)
class Member:
    name: str
    offset: int
    type: TypeId
    embedded: bool = False  # Go embedded field, C++ base class, C anonymous member: its fields are promoted
    bit_offset: int | None = None  # bit-fields: from the start of the struct, DW_AT_data_bit_offset
    bit_size: int | None = None


@dataclass(frozen=True)
class Struct:
    """Also C++ classes, Rust structs and tuples, and unions (every member at 0)."""

    name: str
    size: int
    members: tuple[Member, ...]
    union: bool = False
    incomplete: bool = False  # declaration only


@dataclass(frozen=True)
class Variant:
    """One alternative of a Rust enum. `discriminants` are inclusive ranges; empty: the default (niche) one."""

    name: str
    discriminants: tuple[tuple[int, int], ...]
    type: TypeId  # a Struct whose member offsets count from the start of the whole enum


@dataclass(frozen=True)
class VariantPart:
    """A Rust enum (DW_TAG_variant_part): the tag tells which alternative's fields are alive."""

    name: str
    size: int
    tag_offset: int
    tag_size: int
    tag_signed: bool
    variants: tuple[Variant, ...]


@dataclass(frozen=True)
class Array:
    name: str
    size: int
    element: TypeId
    count: int


@dataclass(frozen=True)
class Header:
    """Where in a string or list the pointer and the length are, 8 bytes each, in bytes from its start.

    `unit` above 0: at `length` is the end's address, and the length is the distance in units of so many bytes.
    """

    pointer: int = 0
    length: int = 8
    unit: int = 0

    @property
    def span(self) -> int:
        return max(self.pointer, self.length) + 8


PLAIN: Final = Header()


@dataclass(frozen=True)
class String:
    """Go's string, Rust's &str and String, std::string and std::string_view."""

    name: str
    size: int = 16
    header: Header = PLAIN


@dataclass(frozen=True)
class Slice:
    """Go's []T (pointer, length, capacity: 24 bytes), Rust's &[T] (16 bytes) and Vec<T>, std::vector<T>."""

    name: str
    element: TypeId
    size: int = 24
    header: Header = PLAIN


@dataclass(frozen=True)
class Optional:
    """std::optional: the value at `value` is alive when the byte at `flag` is not 0."""

    name: str
    size: int
    flag: int
    value: int
    type: TypeId


@dataclass(frozen=True)
class Implementation:
    """A concrete type that a Go interface value may hold, found by its type word."""

    word: int  # unrelocated virtual address of the type descriptor: see Interface
    name: str  # "*errors.errorString"
    type: TypeId | None  # None: only the name is known


@dataclass(frozen=True)
class Interface:
    """Go interface, two words. The type word of a value is its first word when `empty`, else what the itab that the first
    word points to holds at +8. Compare it, less the load bias, with `Implementation.word`; the types listed are those the
    binary states, a value may hold another one. Second word: pointer to the value, or the value itself when its type is a
    pointer, map, channel, function, or a struct or array of just one of these.
    """

    name: str
    empty: bool
    implementations: tuple[Implementation, ...] = ()
    size: int = 16


@dataclass(frozen=True)
class MapGroups:
    """How a Go map's entries lie in memory: eight to a group, each with a control byte that says whether it is there.

    The map is a pointer to its header. `directory`: the header's pointer to the groups. `depth`: 0 there means that there is
    one group only. Swiss tables (Go 1.24, internal/runtime/maps): `depth` is the 8 byte dirLen; when it is not 0, `directory`
    leads to table pointers, and a table has at `table` the address of its groups and then their number less one. Before that
    (runtime.hmap): `depth` is the byte B, and `directory` leads to 1 << B buckets; what overflows one is elsewhere.
    """

    swiss: bool
    header: int  # bytes of the header that say all this; its first word counts the entries
    directory: int
    depth: int
    table: int
    size: int  # bytes of a group
    control: int  # offsets in a group
    keys: int
    values: int
    key_step: int
    value_step: int
    key: TypeId  # as they are stored: a pointer for what is large
    value: TypeId
    full: tuple[int, int]  # control bytes, inclusive


@dataclass(frozen=True)
class Map:
    """Go map. `groups` is None where its entries are not read, for the reason that `unread` gives a person."""

    name: str
    key: TypeId
    value: TypeId
    size: int = 8
    groups: MapGroups | None = None
    unread: str = "the debug information does not say how its entries lie in memory"


@dataclass(frozen=True)
class Opaque:
    """A type whose value cannot be shown; `why` says so to a person (channels, functions, complex numbers)."""

    name: str
    size: int
    why: str


Type = (
    Integer
    | Boolean
    | Float
    | Enumeration
    | Pointer
    | Struct
    | VariantPart
    | Array
    | String
    | Slice
    | Optional
    | Interface
    | Map
    | Opaque
)
TypeTable = Mapping[TypeId, Type]  # closed: every TypeId that a type in it names is in it too
