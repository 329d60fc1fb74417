"""International bank account numbers (ISO 13616): country, check digits (mod 97), the country's length and form.

The country's own check digits are not asked for: banks appear faster than lists of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from stdnum import iban

from agents.masking.detectors.model import Detector, Span

MIN_LENGTH: Final = 15  # Norway
MAX_LENGTH: Final = 34

_START: Final = re.compile(r"(?<![0-9A-Za-z])(?:[A-Za-z]{2}|[A-Z]{2} )[0-9]{2}(?=[ \-]?[0-9A-Za-z])")
_REST: Final = re.compile(r"(?:[ \-]?[0-9A-Za-z]){11,30}+")


def _find(text: str) -> Iterator[Span]:
    end = 0
    for start in _START.finditer(text):
        if start.start() < end:
            continue
        rest = _REST.match(text, start.end())
        if rest and (found := _longest(text, start.start(), rest.end())):
            end = found
            yield Span(start.start(), found, "IBAN")


def _longest(text: str, start: int, end: int) -> int | None:
    """The end of the longest valid number from `start` that stops where a word stops; words may follow it."""
    for stop in range(end, start + MIN_LENGTH - 1, -1):
        if stop < len(text) and text[stop].isalnum():
            continue
        if text[stop - 1].isalnum() and _is_iban(text[start:stop]):
            return stop
    return None


def _is_iban(candidate: str) -> bool:
    compact = candidate.replace(" ", "").replace("-", "")
    return MIN_LENGTH <= len(compact) <= MAX_LENGTH and bool(iban.is_valid(compact, check_country=False))


DETECTOR: Final = Detector("IBAN", r"(?:[A-Za-z]{2}|[A-Z]{2} )[0-9]{2}(?:[ \-]?[0-9A-Za-z]){11}", _find)
