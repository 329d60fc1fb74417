"""What a detector is and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Span:
    """`text[start:end]` is an entity of this kind, "CARD" or "EMAIL"; it is shown as "<CARD>"."""

    start: int
    end: int
    kind: str


@dataclass(frozen=True)
class Detector:
    """`trigger` is an RE2 pattern that every text with such an entity matches; most others do not.

    `find` takes a normalised text (`agents.masking.normalising`) and works in time linear in its length.
    """

    kind: str
    trigger: str
    find: Callable[[str], Iterable[Span]]
