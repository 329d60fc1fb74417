"""What a record of the ring means: where each byte of it came from and how it reads as a value.

Written by `agents.compiler.plan`, obeyed by the program that `agents.compiler.emit` makes, read by `agents.decoding`.
All offsets are bytes from the start of the record; every number in it is little-endian. A value is a tree of nodes;
a node's `guards` are the offsets of the status bytes that must all be OK before its bytes mean anything. An ancestor's
guards are not repeated in its children. Items of lists stand unrolled, so every offset is a constant and a column
decodes without looking at rows one by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from agents.absence import Reason

Guards = tuple[int, ...]


class Status(IntEnum):
    """One byte for each piece of memory that a program copies."""

    UNREAD = 0  # never tried: what led to it was not there
    OK = 1
    NIL = 2  # the address was nil
    FAULT = 3  # the kernel could not read the address
    OUT_OF_RANGE = 4  # x[i] with i >= len(x)
    ENDLESS = 5  # a C string without an end in the bytes that may be searched


class NumberKind(StrEnum):
    SIGNED = "signed"
    UNSIGNED = "unsigned"
    BOOLEAN = "boolean"
    FLOAT = "float"
    SCALAR_VALUE = "scalar_value"  # Rust's char: a Unicode scalar value, shown as text


@dataclass(frozen=True)
class Number:
    offset: int
    size: int  # 1, 2, 4, 8; 16 for integers
    kind: NumberKind
    guards: Guards = ()


@dataclass(frozen=True)
class BitField:
    """`bits` bits, `shift` bits above the lowest bit of the `size` bytes at `offset`."""

    offset: int
    size: int
    shift: int
    bits: int
    signed: bool
    guards: Guards = ()


@dataclass(frozen=True)
class Enumerated:
    offset: int
    size: int
    signed: bool
    members: tuple[tuple[str, int], ...]
    guards: Guards = ()


@dataclass(frozen=True)
class FixedBytes:
    """[N]byte, shown as hex: the first `count` of `true_count` bytes. `text`: C's char[N], shown up to its NUL."""

    offset: int
    count: int
    true_count: int
    text: bool = False
    guards: Guards = ()


@dataclass(frozen=True)
class Counted:
    """A string or []byte: its length (8 bytes at `length_offset`) and the first `capacity` bytes of it at `offset`.

    `window`: the expression asked for the first so many only, as in `s[:8]`. `beyond`: the last so many bytes of the
    capacity are for masking to look at; they are never shown.
    """

    offset: int
    capacity: int
    length_offset: int
    text: bool
    window: int | None = None
    guards: Guards = ()
    beyond: int = 0


@dataclass(frozen=True)
class Terminated:
    """A C string: `length_offset` holds 8 bytes, its length without the NUL; the first `capacity` bytes at `offset`.

    `window` and `beyond` as in `Counted`.
    """

    offset: int
    capacity: int
    length_offset: int
    window: int | None = None
    guards: Guards = ()
    beyond: int = 0


@dataclass(frozen=True)
class Fields:
    """A struct, by name in the order of its declaration."""

    fields: tuple[tuple[str, Node], ...]
    guards: Guards = ()


@dataclass(frozen=True)
class Moment:
    """Go's time.Time: `wall` and `ext`, 16 bytes at `offset`."""

    offset: int
    guards: Guards = ()


@dataclass(frozen=True)
class Items:
    """A slice or array. `length_offset` None: always `count` items; else 8 bytes there say how many.

    `items` are the nodes of the first few; an item's node means something only when the list is that long.
    `window` as in `Counted`. `stride`: set when all items are plain numbers `stride` bytes apart.
    """

    items: tuple[Node, ...]
    length_offset: int | None
    count: int
    window: int | None = None
    guards: Guards = ()
    stride: int | None = None


@dataclass(frozen=True)
class Pointee:
    """A pointer that was followed: null when the 8 bytes at `pointer_offset` are 0. `size` 1: a std::optional's flag."""

    pointer_offset: int
    target: Node
    guards: Guards = ()
    size: int = 8


@dataclass(frozen=True)
class Boxed:
    """A Go interface. 8 bytes at `word_offset`: 0 for nil. 8 bytes at `type_offset`: the type's unrelocated address.

    `type_guards` are checked for a value that is not nil before `type_offset` means anything.
    `cases`: how the value reads for each type; of a type with a name and no case the value is absent: `otherwise`.
    """

    word_offset: int
    type_offset: int
    type_guards: Guards
    names: tuple[tuple[int, str], ...]
    cases: tuple[tuple[int, Node], ...]
    otherwise: Reason
    guards: Guards = ()


@dataclass(frozen=True)
class Pair:
    """An entry of a map, when the control byte at `control` says so, in group number `group`."""

    control: int
    group: int
    key: Node
    value: Node


@dataclass(frozen=True)
class Pairs:
    """A Go map's entries. 8 bytes at `length_offset`: how many it has; 8 bytes at `groups_offset`: how many groups.

    An entry is there when its group is and its control byte is between the bounds `full`; at most `limit` are shown.
    `text_keys`: an object, else a list of pairs.
    """

    entries: tuple[Pair, ...]
    length_offset: int
    groups_offset: int
    full: tuple[int, int]
    limit: int
    text_keys: bool
    guards: Guards = ()


@dataclass(frozen=True)
class VariantCase:
    name: str
    discriminants: tuple[tuple[int, int], ...]  # inclusive; empty: every tag that no other case has
    node: Node


@dataclass(frozen=True)
class Variants:
    """A Rust enum: its tag chooses the case. Without a tag (`tag_size` 0) there is one case."""

    tag_offset: int
    tag_size: int
    tag_signed: bool
    cases: tuple[VariantCase, ...]
    guards: Guards = ()


@dataclass(frozen=True)
class Stack:
    """Return addresses, innermost first. `length_offset`: 8 bytes, how many bytes of them there are at `offset`.

    8 bytes at `caller_offset`: the caller's return address, which frame pointers miss at an entry (guarded apart);
    `caller_missed`: always, and not only where the kernel does not put it in itself.
    """

    offset: int
    length_offset: int
    capacity: int  # frames
    caller_offset: int
    caller_guards: Guards
    pid_offset: int  # 4 bytes: whose addresses they are
    caller_missed: bool = True
    guards: Guards = ()


@dataclass(frozen=True)
class Literal:
    value: int | str | bool | None
    guards: Guards = ()


@dataclass(frozen=True)
class Missing:
    """Known to be unreadable before anything ran."""

    reason: Reason
    detail: str = ""
    guards: Guards = ()


Node = (
    Number
    | BitField
    | Enumerated
    | FixedBytes
    | Counted
    | Terminated
    | Fields
    | Moment
    | Items
    | Pointee
    | Boxed
    | Pairs
    | Variants
    | Stack
    | Literal
    | Missing
)


@dataclass(frozen=True)
class Column:
    name: str
    expression: str  # its source text
    type_name: str  # as DWARF spells it
    node: Node


@dataclass(frozen=True)
class RecordLayout:
    """One record: header, status bytes, captures. `record_size` is a multiple of 8.

    `time` 8 bytes CLOCK_BOOTTIME ns (of the entry, when the probe has entry and return), `thread` 4 bytes tid then
    4 bytes pid. `goid`: 8 bytes, only when `goid_status` is OK; None for a target that is not Go.
    `stash_size`: the first bytes of the record that an entry writes and its return copies.
    """

    record_size: int
    function: str
    columns: tuple[Column, ...]
    time_offset: int = 0
    thread_offset: int = 8
    goid_offset: int | None = None
    goid_status: int = 0
    stash_size: int = 0
    fault: Reason = Reason.BAD_ADDRESS  # what Status.FAULT means in this program: see BpfProgram.sleepable
