"""RE2 behind one name: patterns whose time is linear in the text, whoever wrote them.

What RE2 does not know (lookaround, back-references) is done by validators. ASCII texts, which most are, go to the
engine without the wrapper's bookkeeping of character offsets: that is half of what a match costs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, Final

import re2

MAX_MEMORY: Final = 8 << 20  # bytes for one pattern's automaton; RE2 falls back to its slower, still linear one beyond
_UNANCHORED: Final = re2._re2.RE2.Anchor.UNANCHORED  # noqa: SLF001 -- the engine under the wrapper
_START: Final = re2._re2.RE2.Anchor.ANCHOR_START  # noqa: SLF001
_NOTHING: Final = (-1, -1)


class Found:
    """One match: `start`, `end` and `group`, as the standard library has them."""

    __slots__ = ("_spans", "_text")

    def __init__(self, text: str, spans: Sequence[tuple[int, int]]) -> None:
        self._text = text
        self._spans = spans

    def start(self, group: int = 0) -> int:
        return self._spans[group][0]

    def end(self, group: int = 0) -> int:
        return self._spans[group][1]

    def group(self, group: int = 0) -> str:
        start, end = self._spans[group]
        return self._text[start:end]


class Pattern:
    def __init__(self, pattern: str) -> None:
        options = re2.Options()
        options.max_mem = MAX_MEMORY
        options.log_errors = False
        self._wrapped: Any = re2.compile(pattern, options)
        self._engine: Any = self._wrapped._regexp  # noqa: SLF001
        self._groups: int = self._wrapped.groups + 1

    def finditer(self, text: str, pos: int = 0) -> Iterator[Found]:
        return self._ascii(text, pos, _UNANCHORED) if text.isascii() else self._any(text, pos)

    def search(self, text: str, pos: int = 0) -> Found | None:
        return next(self.finditer(text, pos), None)

    def match(self, text: str, pos: int = 0) -> Found | None:
        """At `pos`, not behind it."""
        if text.isascii():
            return next(self._ascii(text, pos, _START), None)
        found = self._wrapped.match(text, pos)
        return self._found(text, found) if found else None

    def _ascii(self, text: str, pos: int, anchor: Any) -> Iterator[Found]:
        encoded, end = text.encode(), len(text)
        while pos <= end:
            spans = self._engine.Match(anchor, encoded, pos, end)
            if spans[0] == _NOTHING:
                return
            yield Found(text, spans)
            pos = spans[0][1] if spans[0][1] > pos else pos + 1

    def _any(self, text: str, pos: int) -> Iterator[Found]:
        for found in self._wrapped.finditer(text, pos):
            yield self._found(text, found)

    def _found(self, text: str, found: Any) -> Found:
        return Found(text, [found.span(group) for group in range(self._groups)])


@lru_cache(maxsize=512)
def compiled(pattern: str) -> Pattern:
    """Raises ValueError for what RE2 refuses."""
    try:
        return Pattern(pattern)
    except re2.error as error:
        raise ValueError(f"{pattern!r} is no RE2 pattern: {error}") from error
