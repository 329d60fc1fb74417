"""A word that nobody knows -> the nearest of those that are known, as the end of a sentence; "" when none is near."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def near(word: object, known: Iterable[object]) -> str:
    close = get_close_matches(str(word)[:100], [str(name) for name in known], 1)
    return f"; did you mean {close[0]}?" if close else ""
