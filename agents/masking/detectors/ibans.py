"""International bank account numbers (ISO 13616): country, check digits (mod 97), the country's length and form.

The country's own check digits are not asked for: banks appear faster than lists of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from agents.masking.detectors.model import Detector, Span

MIN_LENGTH: Final = 15  # Norway
MAX_LENGTH: Final = 34

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
    if not MIN_LENGTH <= len(compact) <= MAX_LENGTH:
        return False
    turned = compact[4:] + compact[:4]
    if int("".join(str(int(character, 36)) for character in turned)) % 97 != 1:  # ISO 7064
        return False
    from stdnum import iban  # takes longer to import than all of masking, and few texts have a candidate

    return bool(iban.is_valid(compact, check_country=False))


DETECTOR: Final = Detector("IBAN", rf"[^0-9A-Za-z](?i:{COUNTRIES}) ?[0-9]{{2}}(?:[ \-]?[0-9A-Za-z]){{11}}", _find)
