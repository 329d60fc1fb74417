"""What a detector is and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from agents.masking.detectors.context import Words


class Span(NamedTuple):
    """`text[start:end]` is an entity of this kind, "CARD" or "EMAIL"; it is shown as "<CARD>"."""

    start: int
    end: int
    kind: str


@dataclass(frozen=True)
class Detector:
    """`trigger` is a pattern, for Vectorscan and RE2, that every text with such an entity matches; most others do not.

    `find` takes a normalised text (`agents.masking.normalising`) and whether the value's own name, type or function
    vouches for the kind (one of `words` stands in them); it works in time linear in the text's length. What only a
    name can vouch for has no trigger of its own: the texts of such a column are all looked at.
    """

    kind: str
    trigger: str
    find: Callable[[str, bool], Iterable[Span]]
    words: Words | None = None
    form: str = ""  # what `find` looks for before it checks; "" where it checks nothing or has no one form
