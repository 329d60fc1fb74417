"""How much of what is personal is found, and how much of it leaks: ours and Presidio's patterns on the same sentences.

F1 over spans of the seven kinds that both know (same kind, overlap of at least a half); leaked is the share of labelled
characters that no rule hid, whatever it took them for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from agents.masking.entities import spans_of
from bench.figure import Figure
from bench.mask_presidio import PEER, analyse
from bench.mask_rows import KINDS, Labelled, labelled

Spans = Sequence[tuple[int, int, str]]
HALF: Final = 0.5
_OURS: Final = {"IPV4": "IP", "IPV6": "IP"}


def measure() -> list[Figure]:
    rows = labelled()
    ours = [[(s.start, s.end, _OURS.get(s.kind, s.kind)) for s in spans_of(row.text, False)] for row in rows]
    answer = analyse([row.text for row in rows], [])
    theirs = [[(a, b, kind) for a, b, kind in spans] for spans in answer.spans] if answer else []
    note = f"{len(rows)} rows, seven kinds"
    return [
        Figure("mask_f1", "F1", _f1(rows, ours), _f1(rows, theirs), PEER, f"{note}; higher is better"),
        Figure("mask_leak", "%", _leak(rows, ours), _leak(rows, theirs), PEER, f"{note}; characters left in clear"),
    ]


def _f1(rows: Sequence[Labelled], found: Sequence[Spans]) -> float:
    if not found:
        return 0.0
    right = wrong = missed = 0
    for row, spans in zip(rows, found, strict=True):
        left = [span for span in spans if span[2] in KINDS.values()]
        for wanted in row.spans:
            match = next((span for span in left if span[2] == wanted[2] and _overlap(span, wanted) >= HALF), None)
            if match is None:
                missed += 1
            else:
                left.remove(match)
                right += 1
        wrong += len(left)
    return round(2 * right / (2 * right + wrong + missed), 4)


def _overlap(one: tuple[int, int, str], other: tuple[int, int, str]) -> float:
    both = min(one[1], other[1]) - max(one[0], other[0])
    return max(0.0, both / (max(one[1], other[1]) - min(one[0], other[0])))


def _leak(rows: Sequence[Labelled], found: Sequence[Spans]) -> float:
    if not found:
        return 0.0
    labelled_characters = shown = 0
    for row, spans in zip(rows, found, strict=True):
        hidden = {position for start, end, _ in spans for position in range(start, end)}
        for start, end, _ in row.spans:
            labelled_characters += end - start
            shown += sum(position not in hidden for position in range(start, end))
    return round(100 * shown / labelled_characters, 2)
