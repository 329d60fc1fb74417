"""Telephone numbers: international ones, formatted North American ones, and national ones behind a word that says so.

`dialling_plans` decide, by libphonenumber's metadata; only candidates come to them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from agents.masking.detectors.context import Words
from agents.masking.detectors.dialling_plans import is_assigned
from agents.masking.detectors.model import Detector, Span

NATIONAL_REGIONS: Final = (
    "US",
    "GB",
    "DE",
    "FR",
    "IN",
    "AU",
    "BR",
    "JP",
    "IL",
    "CN",
    "IT",
    "ES",
    "NL",
    "MX",
    "KR",
    "PH",
    "TR",
    "ZA",
)  # tried for numbers without a country

_INTERNATIONAL: Final = re.compile(r"(?<![\w+])(?:\+|(?<!\.)00) ?[1-9](?:[ ().\-/]{0,2}[0-9]){6,14}+(?![0-9])")
_NORTH_AMERICAN: Final = re.compile(
    r"(?<![0-9_.\-+/])(?:1[ .\-])?(?:\([0-9]{3}\) ?|[0-9]{3}[ .\-])[0-9]{3}[ .\-][0-9]{4}(?![0-9]|[.\-/][0-9])"
)
_NATIONAL: Final = re.compile(r"(?<![\w.\-+/])\(?[0-9](?:[ ().\-/]{0,2}[0-9]){6,13}+(?![0-9])")
_WORDS: Final = Words(
    "tel", "telephone", "phone", "phone number", "mobile", "cell", "cellphone", "fax", "call", "dial", "whatsapp", "sms",
    "handy", "telefon", "msisdn", "contact number", "hotline",
)  # fmt: skip


def _find(text: str, vouched: bool) -> Iterator[Span]:
    for match in _INTERNATIONAL.finditer(text):
        number = match.group()
        if is_assigned("+" + number.removeprefix("+").removeprefix("00"), None):
            yield Span(match.start(), _with_extension(text, match.end()), "PHONE")
    for match in _NORTH_AMERICAN.finditer(text):
        if is_assigned(match.group(), "US"):
            yield Span(match.start(), _with_extension(text, match.end()), "PHONE")
    for match in _NATIONAL.finditer(text):
        if not vouched and (_is_decimal(match.group()) or not _WORDS.near(text, match.start(), match.end())):
            continue
        if _is_valid_somewhere(match.group()):
            yield Span(match.start(), _with_extension(text, match.end()), "PHONE")
    for match in _GROUPED.finditer(text):
        certain = _CERTAIN.near(text, match.start(), match.end()) and _is_written_so(match.group())
        if certain or (_WEAK.near(text, match.start(), match.end()) and _is_valid_somewhere(match.group())):
            yield Span(match.start(), _with_extension(text, match.end()), "PHONE")


def _is_valid_somewhere(number: str) -> bool:
    return any(is_assigned(number, region) for region in NATIONAL_REGIONS)


def _is_written_so(number: str) -> bool:
    """Behind "phone:" no plan of numbers must know it: it may be mistyped, of another country, or an extension's."""
    digits = sum(character.isdigit() for character in number)
    return _MIN_DIGITS <= digits <= _MAX_DIGITS and _DATE.match(number) is None


def _is_decimal(number: str) -> bool:
    """Seconds with their fraction, which the kernel writes before every line."""
    whole, point, fraction = number.partition(".")
    return bool(point) and whole.isdecimal() and fraction.isdecimal() and len(fraction) > _LONGEST_GROUP


def _with_extension(text: str, end: int) -> int:
    extension = _EXTENSION.match(text, end)
    return extension.end() if extension else end


# Words that name other numbers as well: with them only what is written in groups, as people write telephone numbers.
_WEAK: Final = Words(
    "number", "numbers", "office", "desk", "home", "contact", "reach", "text", "line", "ph", "cel", "work"
)
_CERTAIN: Final = Words("tel", "telephone", "phone", "phone number", "mobile", "fax", "cellphone", "telefon", "msisdn")
_LONGEST_GROUP: Final = 4  # digits behind a point: 555.1234
_MIN_DIGITS: Final = 7
_MAX_DIGITS: Final = 15  # E.164
_DATE: Final = re.compile(r"(?:19|20)[0-9]{2}[-. ][01]?[0-9][-. ][0-3]?[0-9]")
_GROUPED: Final = re.compile(r"(?<![\w.\-+/])\(?[0-9]{2,5}\)?(?:[ .\-]{1,2}[0-9]{2,8}){1,4}(?![0-9])")
_EXTENSION: Final = re.compile(r" ?(?:x|ext\.?|extension)[ .:]?[0-9]{1,6}(?![0-9])", re.IGNORECASE)

_TRIGGER: Final = (
    r"(?:\+|[^0-9]00) ?[1-9](?:[ ().\-/]{0,2}[0-9]){6}|[0-9]{3}(?:\) ?|[ .\-])[0-9]{3}[ .\-][0-9]{4}|"
    + _WORDS.trigger
    + "|"
    + _WEAK.trigger
)
DETECTOR: Final = Detector("PHONE", _TRIGGER, _find, _WORDS)
