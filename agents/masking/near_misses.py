"""What masking nearly took for personal in a value, and why it did not: for people who write rules, never in the data's way.

no keyword         it has the form, and no word of the kind stands in the value or its names
keyword too far    a word of the kind stands in the value, but not near enough
checksum           form and word are there, the check digits are not
out of scope       it was found, and the field's rule shows it as it is
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from agents.masking.detectors import DETECTORS
from agents.masking.detectors.model import Detector, Span
from agents.masking.detectors.shapes import inside_hash, stands_alone
from agents.masking.patterns import compiled

MAX_NEAR: Final = 20  # places of one value; more are a wall of text
MAX_TEXT: Final = 4096  # characters looked at: every detector is asked, one after the other
_DIGITS: Final = r"[0-9](?:[ \-]?[0-9]){%d,%d}"
# Of detectors that are no row of `shape`: what their check refuses.
_FORMS: Final = {
    "CARD": _DIGITS % (12, 18),
    "IBAN": r"[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?",
    "US_SSN": r"[0-9]{3}-[0-9]{2}-[0-9]{4}",
}


class Why(StrEnum):
    NO_KEYWORD = "no keyword"
    KEYWORD_TOO_FAR = "keyword too far"
    CHECKSUM = "checksum"
    OUT_OF_SCOPE = "out of scope"


@dataclass(frozen=True)
class NearMiss:
    """`text[start:end]` is no entity of any of these kinds."""

    start: int
    end: int
    why: Why
    kinds: tuple[str, ...]


def near_misses(text: str, hidden: Sequence[Span], vouched: frozenset[str]) -> tuple[NearMiss, ...]:
    """`hidden` is what was found and is not shown, `vouched` the kinds that the value's names speak for."""
    text = text[:MAX_TEXT]
    found: dict[tuple[int, int, Why], list[str]] = {}
    for detector in DETECTORS:
        for start, end, why in _of(detector, text, detector.kind in vouched):
            if not any(span.start < end and start < span.end for span in hidden):
                kinds = found.setdefault((start, end, why), [])
                if detector.kind not in kinds:
                    kinds.append(detector.kind)
    placed = sorted(found.items(), key=lambda one: one[0][:2])[:MAX_NEAR]
    return tuple(NearMiss(start, end, why, tuple(kinds)) for (start, end, why), kinds in placed)


def shown_anyway(found: Sequence[Span]) -> tuple[NearMiss, ...]:
    """Found, where the rule shows all."""
    return tuple(NearMiss(span.start, span.end, Why.OUT_OF_SCOPE, (span.kind,)) for span in found[:MAX_NEAR])


def _of(detector: Detector, text: str, vouched: bool) -> Iterator[tuple[int, int, Why]]:
    with_word = list(detector.find(text, True))
    if detector.words is not None and not vouched:
        why = Why.KEYWORD_TOO_FAR if detector.words.vouch(text) else Why.NO_KEYWORD
        taken = {(span.start, span.end) for span in detector.find(text, False)}
        yield from ((span.start, span.end, why) for span in with_word if (span.start, span.end) not in taken)
    form = detector.form or _FORMS.get(detector.kind)
    for match in compiled(form).finditer(text) if form else ():
        start, end = match.start(), match.end()
        if any(span.start < end and start < span.end for span in with_word):
            continue
        if not stands_alone(text, start, end) or inside_hash(text, start, end):
            continue
        if detector.words is None or vouched or detector.words.near(text, start, end):
            yield start, end, Why.CHECKSUM
