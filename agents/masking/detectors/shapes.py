"""A detector from one row: a pattern, a check, and words that must stand near where the pattern alone says too little."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from importlib import import_module
from typing import Final

from agents.masking.detectors.context import Words
from agents.masking.detectors.model import Detector, Span
from agents.masking.patterns import compiled

Valid = Callable[[str], bool]

_INNER: Final = "-."  # between digits these join, so that a piece of a longer number is no number


def shape(
    kind: str, pattern: str, valid: Valid | None = None, *, words: Words | None = None, trigger: str = ""
) -> Detector:
    """With `words`, one of them must vouch for each find. `trigger` is shorter than the pattern where that is enough."""

    def find(text: str, vouched: bool) -> Iterator[Span]:
        for match in compiled(pattern).finditer(text):
            start, end = match.start(), match.end()
            if not stands_alone(text, start, end):
                continue
            if words is not None and not vouched and not words.near(text, start, end):
                continue
            if valid is None or valid(match.group()):
                yield Span(start, end, kind)

    return Detector(kind, words.trigger if words else trigger or pattern, find, words)


def either(kind: str, *detectors: Detector) -> Detector:
    """One kind with several forms."""

    def find(text: str, vouched: bool) -> Iterable[Span]:
        return [span for detector in detectors for span in detector.find(text, vouched)]

    words = next((detector.words for detector in detectors if detector.words), None)
    return Detector(kind, "|".join(f"(?:{detector.trigger})" for detector in detectors), find, words)


def stands_alone(text: str, start: int, end: int) -> bool:
    """Whether the letters and digits end where the match ends, and no number goes on behind a dash or a point."""
    before, after = text[start - 1 : start], text[end : end + 1]
    if (before.isalnum() and text[start].isalnum()) or (after.isalnum() and text[end - 1].isalnum()):
        return False
    if before and before in _INNER and start > 1 and text[start - 2].isdigit() and text[start].isdigit():
        return False
    return not (after and after in _INNER and text[end + 1 : end + 2].isdigit() and text[end - 1].isdigit())


def stdnum(module: str) -> Valid:
    """The check of python-stdnum, imported when the first candidate comes: all its modules take long to import."""

    @lru_cache(maxsize=1)
    def check() -> Valid:
        found: Valid = import_module(f"stdnum.{module}").is_valid
        return found

    def valid(candidate: str) -> bool:
        try:
            return bool(check()(candidate))
        except Exception:  # noqa: BLE001 -- some modules trip over what is no number of theirs: then it is none
            return False

    return valid


def digits_of(candidate: str) -> str:
    return "".join(character for character in candidate if character.isdigit())
