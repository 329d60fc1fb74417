"""Telephone numbers: international ones, formatted North American ones, and national ones behind a word that says so.

libphonenumber's metadata decides (`phonenumberslite`); it is slow, so only candidates come to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import phonenumbers

from agents.masking.detectors.model import Detector, Span

NATIONAL_REGIONS: Final = ("US", "GB", "DE", "FR", "IN", "AU", "BR", "JP")  # tried for numbers without a country
MAX_CONTEXT: Final = 40  # characters between the word and the number

_INTERNATIONAL: Final = re.compile(r"(?<![\w+])(?:\+|00) ?[1-9](?:[ ().\-/]{0,2}[0-9]){6,14}+(?![0-9])")
_NORTH_AMERICAN: Final = re.compile(
    r"(?<![\w.\-+/])(?:1[ .\-])?(?:\([0-9]{3}\) ?|[0-9]{3}[ .\-])[0-9]{3}[ .\-][0-9]{4}(?![0-9]|[.\-/][0-9])"
)
_NATIONAL: Final = re.compile(r"(?<![\w.\-+/])\(?[0-9](?:[ ().\-/]{0,2}[0-9]){6,13}+(?![0-9])")
_CONTEXT: Final = re.compile(
    r"\b(?:tel|telephone|phone|phone_?number|mobile|cell|cellphone|fax|call|dial|whatsapp|sms|handy|telefon|msisdn)\b",
    re.IGNORECASE,
)


def _find(text: str) -> Iterator[Span]:
    for match in _INTERNATIONAL.finditer(text):
        number = match.group()
        if _is_valid("+" + number.removeprefix("+").removeprefix("00"), None):
            yield Span(match.start(), match.end(), "PHONE")
    for match in _NORTH_AMERICAN.finditer(text):
        if _is_valid(match.group(), "US"):
            yield Span(match.start(), match.end(), "PHONE")
    for word in _CONTEXT.finditer(text):
        near = _NATIONAL.search(text, word.end(), word.end() + MAX_CONTEXT)
        if near and any(_is_valid(near.group(), region) for region in NATIONAL_REGIONS):
            yield Span(near.start(), near.end(), "PHONE")


def _is_valid(candidate: str, region: str | None) -> bool:
    try:
        return bool(phonenumbers.is_valid_number(phonenumbers.parse(candidate, region)))
    except phonenumbers.NumberParseException:
        return False


DETECTOR: Final = Detector("PHONE", r"[0-9](?:[ ().\-/]{0,2}[0-9]){6}", _find)
