"""What may happen to a captured value: the words that templates, the control plane and the agent share, and their order.

An action may have an argument, written behind it: `partial(6,4)`, `truncate(8)`, `bucket(100)`, `generalise(ip)`. In
specs and databases the two stand apart. The order is total, so that of several rules exactly one is the strictest:
first by what an action leaves of a value (the order of `Action`), then by how much its argument leaves.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Action(StrEnum):
    """What happens to a captured value before it leaves the host, from loosest to strictest."""

    ALLOW = "allow"  # as it is
    DETECT = "detect"  # found entities inside are replaced
    BUCKET = "bucket"  # bucket(100): a number's range, "[4100,4200)"; found entities are replaced
    GENERALISE = "generalise"  # generalise(ip): a coarser value; what is none of that kind is replaced
    TRUNCATE = "truncate"  # truncate(8): found entities are replaced, then the first characters of that
    PARTIAL = "partial"  # partial(6,4): the first six and the last four characters, of a value that is long enough
    TOKEN = "token"  # noqa: S105 -- keyed hash under the tenant's key: joins, but does not show
    LENGTH = "length"  # how many characters, or bytes of binary data
    COUNT_ONLY = "count-only"  # how many items a collection has; of anything else, that there was one
    REDACT = "redact"  # replaced by a fixed word
    DROP = "drop"  # never read from the target


class Generality(StrEnum):
    """What `generalise` makes coarser, from what leaves most to what leaves least."""

    COORDINATES = "coordinates"  # one decimal, some 11 km
    IP = "ip"  # the /24 of an IPv4 address, the /48 of an IPv6 address
    POSTCODE = "postcode"  # the outward part, or the first three digits
    YEAR = "year"  # of a date or a moment
    AGE = "age"  # ten years together, 90 and above as one (45 CFR 164.514(b)(2)(i)(C))


MAX_SHOWN: Final = 12  # characters of `partial`: a BIN of eight and the last four, all that PCI DSS 3.4.1 lets be shown
MAX_TRUNCATED: Final = 4096  # characters: no capture is longer
MAX_BUCKET: Final = 10**15
SHOWING: Final = frozenset({Action.PARTIAL, Action.TRUNCATE, Action.GENERALISE, Action.BUCKET})  # a part of the value

_WRITTEN: Final = re.compile(r"([a-z0-9-]{1,20})(?:\(([a-z0-9,]{1,40})\))?")
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,15}")
_EARLIER: Final = {"hash": ("token", None), "last4": ("partial", "0,4")}  # spellings of approved templates
_RANK: Final = {action: rank for rank, action in enumerate(Action)}
_GENERALITY: Final = {kind: rank for rank, kind in enumerate(Generality)}


class BadAction(ValueError):
    """No action, or an argument that it does not take; `str()` says what was expected."""


@dataclass(frozen=True)
class Treatment:
    """An action with its argument in canonical form ("" where it takes none). Made by `treatment` and `parse_treatment`."""

    action: Action
    argument: str = ""

    def __str__(self) -> str:
        return f"{self.action}({self.argument})" if self.argument else str(self.action)

    @property
    def numbers(self) -> tuple[int, ...]:
        """The argument of `partial`, `truncate` and `bucket`."""
        return tuple(int(part) for part in self.argument.split(","))

    @property
    def strictness(self) -> tuple[int, ...]:
        """Of two treatments the one with the greater is stricter; equal only when they are the same."""
        rank = _RANK[self.action]
        match self.action:
            case Action.PARTIAL:
                first, last = self.numbers
                return (rank, -(first + last), -first)
            case Action.TRUNCATE:
                return (rank, -self.numbers[0])
            case Action.BUCKET:
                return (rank, self.numbers[0])
            case Action.GENERALISE:
                return (rank, _GENERALITY[Generality(self.argument)])
            case _:
                return (rank,)


def parse_treatment(text: str) -> Treatment:
    """Read `partial(6,4)` or `allow`. Raises BadAction."""
    written = _WRITTEN.fullmatch(text)
    if written is None:
        raise BadAction(f"{text[:60]!r} is no masking action: expected one of {', '.join(Action)}, like partial(0,4)")
    word, argument = written.groups()
    if word in _EARLIER:
        if argument is not None:
            raise BadAction(f"{word} takes no argument")
        word, argument = _EARLIER[word]
    return treatment(word, argument or "")


def treatment(word: str, argument: str = "") -> Treatment:
    """An action and its argument as specs carry them. Raises BadAction for anything but the canonical form."""
    try:
        action = Action(word)
    except ValueError:
        raise BadAction(f"{word[:40]!r} is no masking action: expected one of {', '.join(Action)}") from None
    if (expected := _misfit(action, argument)) is not None:
        came = f"{argument[:40]!r}" if argument else "none"
        raise BadAction(f"{action} takes {expected}; the argument was {came}")
    return Treatment(action, argument)


def strictest(actions: Iterable[Treatment]) -> Treatment:
    """The strictest of several. Raises ValueError when there is none: empty means no."""
    return max(actions, key=lambda one: one.strictness)


def _misfit(action: Action, argument: str) -> str | None:
    """What the action takes, if the argument is not that."""
    match action:
        case Action.PARTIAL:
            shown = _numbers(argument, 2)
            fits = shown is not None and 0 < sum(shown) <= MAX_SHOWN
            return None if fits else f"how many first and last characters to show, at most {MAX_SHOWN}: partial(0,4)"
        case Action.TRUNCATE:
            kept = _numbers(argument, 1)
            fits = kept is not None and 0 < kept[0] <= MAX_TRUNCATED
            return None if fits else f"how many characters to keep, 1 to {MAX_TRUNCATED}: truncate(8)"
        case Action.BUCKET:
            width = _numbers(argument, 1)
            fits = width is not None and 1 < width[0] <= MAX_BUCKET
            return None if fits else f"how wide a bucket is, 2 to {MAX_BUCKET}: bucket(100)"
        case Action.GENERALISE:
            return None if argument in set(Generality) else f"one of {', '.join(Generality)}: generalise(ip)"
        case _:
            return None if not argument else "no argument"


def _numbers(argument: str, count: int) -> tuple[int, ...] | None:
    parts = argument.split(",")
    if len(parts) != count or not all(_NUMBER.fullmatch(part) for part in parts):
        return None
    return tuple(int(part) for part in parts)
