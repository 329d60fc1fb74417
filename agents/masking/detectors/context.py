"""Words that vouch for a value: "ssn" before nine digits, in the text or in the name of the field that holds it.

They are compared as words: over spaces, `_`, `-` and camelCase, so `sin` does not stand in `using`.
"""

from __future__ import annotations

import re
from typing import Final

BEFORE: Final = 60  # characters that a word may stand before the value: a label, a colon, a bit of markup
AFTER: Final = 30  # and behind it: "123456789 (SSN)"


class Words:
    """Phrases in lower case, their words divided by single spaces."""

    def __init__(self, *phrases: str) -> None:
        ordered = sorted(phrases, key=len, reverse=True)
        joined = "|".join(phrase.replace(" ", r"[ _\-]?") for phrase in ordered)
        camel = "|".join(_camel(phrase) for phrase in ordered)
        self._pattern = re.compile(joined, re.IGNORECASE)
        self.trigger = rf"(?:[^A-Za-z](?i:{joined})|[a-z](?:{camel}))s?[^a-z]"

    def near(self, text: str, start: int, end: int) -> bool:
        """Whether one stands close to text[start:end]."""
        return self._stands(text, max(0, start - BEFORE), start) or self._stands(text, end, end + AFTER)

    def vouch(self, names: str) -> bool:
        return self._stands(names, 0, len(names))

    def _stands(self, text: str, low: int, high: int) -> bool:
        return any(_is_word(text, *found.span()) for found in self._pattern.finditer(text, low, high))


def _is_word(text: str, start: int, end: int) -> bool:
    if start > 0 and text[start - 1].isalpha() and not (text[start - 1].islower() and text[start].isupper()):
        return False
    rest = text[end : end + 2].removeprefix("s")
    return not rest[:1].islower()


def _camel(phrase: str) -> str:
    words = phrase.split(" ")
    spelt = ("".join(word.capitalize() for word in words), "".join(words).upper())
    return "|".join(dict.fromkeys(spelt))  # in this order in every process: what is compiled of it is kept
