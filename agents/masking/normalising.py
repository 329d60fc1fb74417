"""A text as detectors want it: ASCII digits and dashes, nothing invisible; and the way back to the original's offsets.

Full-width and other scripts' digits, ligatures (NFKC), dashes of every kind, and characters without width (zero-width
spaces, soft hyphens, direction marks, control characters) would otherwise hide an entity from every pattern.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

# RE2: a text that matches needs this step; all others are their own normal form.
UNUSUAL: Final = r"[^\t\n\r\x20-\x7e]"
_UNUSUAL: Final = re.compile(UNUSUAL)


@dataclass(frozen=True)
class Normalised:
    """`offsets[i]` is where character i of `text` begins in the original; one more entry for its end."""

    text: str
    offsets: tuple[int, ...] | None  # None: the text is its own normal form

    def original(self, start: int, end: int) -> tuple[int, int]:
        """The original's span of a span in `text`; what is invisible inside belongs to it."""
        if self.offsets is None:
            return start, end
        return self.offsets[start], self.offsets[end - 1] + 1 if end > start else self.offsets[end]


def normalise(text: str, gap: str = "") -> Normalised:
    """`gap` stands for each character that nobody sees: it may stand inside an entity, or between a word and one."""
    if _UNUSUAL.search(text) is None:
        return Normalised(text, None)
    characters: list[str] = []
    offsets: list[int] = []
    for position, character in enumerate(text):
        for replacement in _plain(character) or gap:
            characters.append(replacement)
            offsets.append(position)
    offsets.append(len(text))
    return Normalised("".join(characters), tuple(offsets))


def has_invisible(text: str) -> bool:
    """Whether some of its characters have no width."""
    return _UNUSUAL.search(text) is not None and any(not _plain(character) for character in text)


@lru_cache(maxsize=8192)
def _plain(character: str) -> str:
    if character in "\t\n\r":
        return character
    category = unicodedata.category(character)
    if category in {"Cf", "Cc", "Mn", "Me"}:
        return ""
    if category == "Pd" or character == "\N{MINUS SIGN}":
        return "-"
    if category == "Zs":
        return " "
    if category == "Nd":
        return str(unicodedata.decimal(character))
    return unicodedata.normalize("NFKC", character)
