"""Find personal data in one text. Each module is one kind of entity: a linear pattern proposes, a validator decides."""

from __future__ import annotations

from typing import Final

from agents.masking.detectors import cards, emails, ibans, phones
from agents.masking.detectors.model import Detector, Span

# In the order of precedence: of two spans with the same start and length, the earlier detector's stays.
DETECTORS: Final[tuple[Detector, ...]] = (cards.DETECTOR, ibans.DETECTOR, emails.DETECTOR, phones.DETECTOR)


def find(text: str) -> list[Span]:
    """The entities in a normalised text, by position, without overlaps: the earlier start wins, then the longer."""
    found = [(span, rank) for rank, detector in enumerate(DETECTORS) for span in detector.find(text)]
    found.sort(key=lambda one: (one[0].start, -one[0].end, one[1]))
    kept: list[Span] = []
    for span, _ in found:
        if not kept or span.start >= kept[-1].end:
            kept.append(span)
        elif span.end > kept[-1].end:
            # The rest of an overlapped entity is still an entity: hide it along with the first one.
            kept[-1] = Span(kept[-1].start, span.end, kept[-1].kind)
    return kept
