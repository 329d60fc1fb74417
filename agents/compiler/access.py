"""Which value an expression means: a variable of the function and the steps from it, or something the probe knows.

Made by `bind`, read by `plan` (which decides how to copy it) and `predicate`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from agents.binaries.model import PLAIN, Header, TypeId, Variable


@dataclass(frozen=True)
class Within:
    """`offset` bytes further: a field, an item of an array."""

    offset: int


@dataclass(frozen=True)
class Follow:
    """The value is a pointer; go to what it points at, `offset` bytes further."""

    offset: int = 0


@dataclass(frozen=True)
class Pick:
    """The value is a string or list whose pointer and length are where `header` says; go to item `index` of items of
    `size` bytes.
    """

    index: int
    size: int
    header: Header = PLAIN


Step = Within | Follow | Pick


@dataclass(frozen=True)
class Access:
    """A value of the target. `window`: only its first so many items or bytes, as `x[:8]` asks."""

    variable: Variable
    is_result: bool
    steps: tuple[Step, ...]
    type: TypeId
    type_names: tuple[str, ...]  # of every value on the way, the last one's included
    window: int | None = None
    bits: tuple[int, int] | None = None  # of a bit-field: bits from the start of the value the steps lead to, how many


@dataclass(frozen=True)
class LengthOf:
    """`len(x)` of a string, slice or map: an int."""

    value: Access


@dataclass(frozen=True)
class Known:
    """What the probe itself knows: latency, stack, goid, pid, tid, comm."""

    name: Literal["latency", "stack", "goid", "pid", "tid", "comm"]


@dataclass(frozen=True)
class Fixed:
    """A constant: a literal, or the length of an array."""

    value: int | str | bool | None


Value = Access | LengthOf | Known | Fixed
