"""What a program does for its captures, one frozen step each: which bytes are copied from where to where in the record.

Made by `plan`, turned into instructions by `emit_reads`, printed by `explain --dump`. Offsets are in the record. A body
under conditions runs only when all hold; a step's status byte is always written when the step is reached.
"""

from __future__ import annotations

from dataclasses import dataclass

from agents.binaries.model import Register
from agents.compiler.layout import Status


@dataclass(frozen=True)
class AtRegister:
    """register + displacement."""

    register: Register
    displacement: int = 0


@dataclass(frozen=True)
class AtStatic:
    """A virtual address of the file; the program adds the process's load bias."""

    address: int


@dataclass(frozen=True)
class AtLoaded:
    """The pointer that stands in the record at `offset`, plus `displacement`."""

    offset: int
    displacement: int = 0


Address = AtRegister | AtStatic | AtLoaded


@dataclass(frozen=True)
class StatusOk:
    """The status byte at `offset` is OK."""

    offset: int


@dataclass(frozen=True)
class ItemThere:
    """The 8-byte length at `length_offset` is greater than `index`."""

    length_offset: int
    index: int


@dataclass(frozen=True)
class TagIn:
    """The `size` bytes at `offset` are in one of the inclusive ranges; with `outside`, in none."""

    offset: int
    size: int
    signed: bool
    ranges: tuple[tuple[int, int], ...]
    outside: bool = False


Condition = StatusOk | ItemThere | TagIn


@dataclass(frozen=True)
class Zero:
    """8 bytes at `offset` become 0: eight status bytes, UNREAD."""

    offset: int


@dataclass(frozen=True)
class StoreRegister:
    """`size` bytes (1 to 8) of a register, after dropping its lowest `skip` bytes."""

    register: Register
    skip: int
    size: int
    offset: int


@dataclass(frozen=True)
class StoreConstant:
    value: int
    size: int
    offset: int


@dataclass(frozen=True)
class Copy:
    """`size` bytes of the target's memory. `nil`: the status when the base address is nil; None: it cannot be."""

    address: Address
    size: int
    offset: int
    status: int
    nil: Status | None = Status.NIL


@dataclass(frozen=True)
class CopyCounted:
    """As many items of `unit` bytes as the 8-byte length at `length_offset` says, at most `capacity` of them."""

    address: Address
    length_offset: int
    unit: int
    capacity: int
    offset: int
    status: int


@dataclass(frozen=True)
class CopyText:
    """A NUL-terminated string: up to `capacity` bytes of it, and its length without the NUL as 8 bytes."""

    address: Address
    capacity: int
    offset: int
    length_offset: int
    status: int


@dataclass(frozen=True)
class CheckIndex:
    """The status becomes OK when the length at `length_offset` is greater than `index`, else OUT_OF_RANGE."""

    length_offset: int
    index: int
    status: int


@dataclass(frozen=True)
class Unrelocate:
    """The 8-byte address at `source` minus the load bias goes to `target`."""

    source: int
    target: int


@dataclass(frozen=True)
class Compute:
    """8 bytes at `target` become those at `source`, less those at `minus`, divided by `divisor`, and `plus` more.

    `status` becomes FAULT when more is taken away than there is, and OK otherwise.
    """

    source: int
    target: int
    minus: int | None = None
    divisor: int = 1
    plus: int = 0
    status: int | None = None


@dataclass(frozen=True)
class Switch:
    """The case whose word equals the 8 bytes at `offset` runs; none may."""

    offset: int
    cases: tuple[tuple[int, Body], ...]


@dataclass(frozen=True)
class WalkStack:
    """Up to `capacity` return addresses; 8 bytes at `length_offset`: how many bytes they are."""

    offset: int
    capacity: int
    length_offset: int
    status: int


@dataclass(frozen=True)
class StoreLatency:
    """Now minus the entry's time, 8 bytes."""

    offset: int


@dataclass(frozen=True)
class StoreComm:
    """The thread's name, 16 bytes with a NUL."""

    offset: int


@dataclass(frozen=True)
class Guarded:
    conditions: tuple[Condition, ...]
    body: Body


Read = (
    Zero
    | StoreRegister
    | StoreConstant
    | Copy
    | CopyCounted
    | CopyText
    | CheckIndex
    | Unrelocate
    | Compute
    | Switch
    | WalkStack
    | StoreLatency
    | StoreComm
    | Guarded
)
Body = tuple[Read, ...]


class Steps:
    """A body while it is being written. `under` opens or continues a part of it that runs under more conditions."""

    def __init__(self, held: frozenset[Condition] = frozenset()) -> None:
        self._held = held
        self._reads: list[Read | tuple[tuple[Condition, ...], Steps]] = []

    def add(self, read: Read) -> None:
        self._reads.append(read)

    def under(self, *conditions: Condition) -> Steps:
        """Where steps go that need these; this very body when they hold in it anyway."""
        missing = tuple(condition for condition in dict.fromkeys(conditions) if condition not in self._held)
        if not missing:
            return self
        last = self._reads[-1] if self._reads else None
        if isinstance(last, tuple) and last[0] == missing:
            return last[1]
        inner = Steps(self._held | set(missing))
        self._reads.append((missing, inner))
        return inner

    def freeze(self) -> Body:
        frozen = (Guarded(each[0], each[1].freeze()) if isinstance(each, tuple) else each for each in self._reads)
        return tuple(read for read in frozen if not (isinstance(read, Guarded) and not read.body))
