"""A detector from one row: a pattern, a check, and words that must stand near where the pattern alone says too little."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from importlib import import_module
from typing import Final

from agents.masking.detectors.context import Words
from agents.masking.detectors.model import Detector, Span
from agents.masking.patterns import compiled

Valid = Callable[[str], bool]

MIN_HASH: Final = 20  # hexadecimal digits: more than a card has; shorter words may be anything
MAX_HASH: Final = 200  # characters looked at on either side: a SHA-512 has 128
_HEX_TOKEN: Final = re.compile(r"[0-9a-f]+|[0-9A-F]+")
_INNER: Final = "-."  # between digits these join, so that a piece of a longer number is no number


def shape(
    kind: str, pattern: str, valid: Valid | None = None, *, words: Words | None = None, trigger: str = ""
) -> Detector:
    """With `words`, one of them must vouch for each find. `trigger` is shorter than the pattern where that is enough."""

    def find(text: str, vouched: bool) -> Iterator[Span]:
        for match in compiled(pattern).finditer(text):
            start, end = match.start(), match.end()
            if not stands_alone(text, start, end) or inside_hash(text, start, end):
                continue
            if words is not None and not vouched and not words.near(text, start, end):
                continue
            if valid is None or valid(match.group()):
                yield Span(start, end, kind)

    return Detector(kind, words.trigger if words else trigger or pattern, find, words, pattern if valid else "")


def either(kind: str, *detectors: Detector) -> Detector:
    """One kind with several forms."""

    def find(text: str, vouched: bool) -> Iterable[Span]:
        return [span for detector in detectors for span in detector.find(text, vouched)]

    words = next((detector.words for detector in detectors if detector.words), None)
    forms = "|".join(f"(?:{detector.form})" for detector in detectors if detector.form)
    return Detector(kind, "|".join(f"(?:{detector.trigger})" for detector in detectors), find, words, forms)


def stands_alone(text: str, start: int, end: int) -> bool:
    """Whether the letters and digits end where the match ends, and no number goes on behind a dash or a point."""
    before, after = text[start - 1 : start], text[end : end + 1]
    if (before.isalnum() and text[start].isalnum()) or (after.isalnum() and text[end - 1].isalnum()):
        return False
    if before and before in _INNER and start > 1 and text[start - 2].isdigit() and text[start].isdigit():
        return False
    return not (after and after in _INNER and text[end + 1 : end + 2].isdigit() and text[end - 1].isdigit())


def inside_hash(text: str, start: int, end: int) -> bool:
    """Whether the match is a piece of a longer hexadecimal word: a commit, a trace id, a UUID."""
    left, right = start, end
    while left > 0 and end - left <= MAX_HASH and (text[left - 1].isalnum() or text[left - 1] == "-"):
        left -= 1
    while right < len(text) and right - start <= MAX_HASH and (text[right].isalnum() or text[right] == "-"):
        right += 1
    if right - left == end - start:
        return False
    token = text[left:right].replace("-", "")
    return len(token) >= MIN_HASH and not token.isdecimal() and _HEX_TOKEN.fullmatch(token) is not None


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
