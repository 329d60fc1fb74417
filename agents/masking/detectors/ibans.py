"""International bank account numbers (ISO 13616): country, check digits (mod 97), the country's length and form.

The country's own check digits are not asked for: banks appear faster than lists of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from string import ascii_uppercase
from typing import Final

from agents.masking.detectors.model import Detector, Span

_LETTERS: Final = {ord(letter): str(10 + position) for position, letter in enumerate(ascii_uppercase)}
_GROUPS: Final = re.compile(r"([0-9]+)!([nac])")  # of the SWIFT registry: 4!n is four digits
_CLASSES: Final = {"n": "[0-9]", "a": "[A-Z]", "c": "[0-9A-Z]"}

COUNTRIES: Final = (  # of the SWIFT registry: any two letters would send every other trace id to the check digits
    "AD|AE|AL|AT|AZ|BA|BE|BG|BH|BI|BR|BY|CH|CR|CY|CZ|DE|DJ|DK|DO|EE|EG|ES|FI|FK|FO|FR|GB|GE|GI|GL|GR|GT|HN|HR|HU|IE|IL|IQ|IS|IT|"
    "JO|KW|KZ|LB|LC|LI|LT|LU|LV|LY|MC|MD|ME|MK|MN|MR|MT|MU|NI|NL|NO|OM|PK|PL|PS|PT|QA|RO|RS|RU|SA|SC|SD|SE|SI|SK|SM|SO|ST|SV|TL|"
    "TN|TR|UA|VA|VG|XK|YE"
)
_START: Final = re.compile(r"(?<![0-9A-Za-z])(?:[A-Za-z]{2}|[A-Z]{2} )[0-9]{2}(?=[ \-]?[0-9A-Za-z])")
_REST: Final = re.compile(r"(?:[ \-]?[0-9A-Za-z]){11,30}+")


def _find(text: str, _vouched: bool) -> Iterator[Span]:
    end = 0
    for start in _START.finditer(text):
        if start.start() < end:
            continue
        rest = _REST.match(text, start.end())
        if rest and (found := _end(text, start.start(), rest.end())):
            end = found
            yield Span(start.start(), found, "IBAN")


def _end(text: str, start: int, end: int) -> int | None:
    """Where a valid number that begins at `start` ends: its country says how long it is, and no word goes on there."""
    form = _form(text[start : start + 2].upper())
    if form is None:
        return None
    length, groups = form
    stop, taken = start, 0
    while taken < length and stop < end:
        taken += text[stop].isalnum()
        stop += 1
    if taken < length or (stop < len(text) and text[stop].isalnum()):
        return None
    compact = text[start:stop].replace(" ", "").replace("-", "").upper()
    return stop if _checks(compact) and groups.fullmatch(compact, 4) else None


def _checks(compact: str) -> bool:
    """ISO 7064, MOD 97-10, with letters as two digits."""
    return int((compact[4:] + compact[:4]).translate(_LETTERS)) % 97 == 1


@lru_cache(maxsize=256)
def _form(country: str) -> tuple[int, re.Pattern[str]] | None:
    """Length of a country's numbers and what may stand behind its check digits; None for one that has none."""
    from stdnum import numdb  # takes longer to import than all of masking, and few texts have a candidate

    found = numdb.get("iban").info(country)
    groups = _GROUPS.findall(found[0][1].get("bban", "")) if found else []
    if not groups:
        return None
    pattern = "".join(f"{_CLASSES[kind]}{{{count}}}" for count, kind in groups)
    return 4 + sum(int(count) for count, _ in groups), re.compile(pattern)


DETECTOR: Final = Detector("IBAN", rf"[^0-9A-Za-z](?i:{COUNTRIES}) ?[0-9]{{2}}(?:[ \-]?[0-9A-Za-z]){{11}}", _find)
