"""Find personal data in one text. Each module is a family of entities: a linear pattern proposes, a validator decides.

    cards ibans emails phones networks wallets     by form and check digits
    national_ids documents                         where form proves little, by a word near by (`context`)
    secrets credentials                            by a vendor's prefix, by where they stand, by name and entropy

`agents.masking.scanning` says which detectors a text needs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from agents.masking.detectors import (
    cards,
    credentials,
    documents,
    emails,
    ibans,
    national_ids,
    networks,
    phones,
    secrets,
    wallets,
)
from agents.masking.detectors.model import Detector, Span

# In the order of precedence: of two spans with the same start and length, the earlier detector's stays.
DETECTORS: Final[tuple[Detector, ...]] = (
    cards.DETECTOR,
    ibans.DETECTOR,
    emails.DETECTOR,
    *secrets.DETECTORS,
    *credentials.DETECTORS,
    *networks.DETECTORS,
    *wallets.DETECTORS,
    *national_ids.DETECTORS,
    *documents.DETECTORS,
    phones.DETECTOR,
)
KINDS: Final = frozenset(detector.kind for detector in DETECTORS)
ALL: Final = (1 << len(DETECTORS)) - 1

NONE: Final[frozenset[str]] = frozenset()


def vouched_by(names: str) -> frozenset[str]:
    """The kinds for which a field's name, type or function vouches."""
    return frozenset(detector.kind for detector in DETECTORS if detector.words and detector.words.vouch(names))


def bits_of(kinds: Iterable[str]) -> int:
    wanted = set(kinds)
    return sum(1 << position for position, detector in enumerate(DETECTORS) if detector.kind in wanted)


def find(text: str, wanted: int = ALL, vouched: frozenset[str] = NONE) -> list[Span]:
    """The entities in a normalised text, by position, without overlaps: the earlier start wins, then the longer.

    `wanted` has a bit for each detector that is asked.
    """
    found: list[tuple[int, int, int, Span]] = []
    while wanted:
        lowest = wanted & -wanted
        wanted ^= lowest
        rank = lowest.bit_length() - 1
        detector = DETECTORS[rank]
        for span in detector.find(text, detector.kind in vouched):
            found.append((span.start, -span.end, rank, span))
    if len(found) > 1:
        found.sort()
        return merged([one[3] for one in found])
    return [found[0][3]] if found else []


def merged(found: Iterable[Span]) -> list[Span]:
    """Spans in order; the rest of an overlapped entity is still an entity, and is hidden along with the first one."""
    kept: list[Span] = []
    for span in found:
        if not kept or span.start >= kept[-1].end:
            kept.append(span)
        elif span.end > kept[-1].end:
            kept[-1] = Span(kept[-1].start, span.end, kept[-1].kind)
    return kept
