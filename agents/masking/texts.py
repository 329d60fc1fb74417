"""A column of strings -> the same strings with what detectors find in them replaced.

Distinct values only: the column is dictionary-encoded, one RE2 pass over the dictionary picks the values that could
hold anything, those few go through the detectors in Python, and `take` spreads the results. Cut values are looked at
one by one, because what must be hidden of them depends on where they were cut.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from agents.masking.detectors import DETECTORS, find
from agents.masking.detectors.model import Span
from agents.masking.normalising import UNUSUAL, normalise
from agents.masking.tails import tail_start

CUT: Final = "<CUT>"
MIN_HEX: Final = 12  # characters: six bytes, the shortest entity there is ("a@b.io")

_HEX: Final = re.compile(r"(?:[0-9a-f]{2})+")
# RE2, unlike `re`, runs this in linear time whatever the values are.
_TRIGGER: Final = "|".join(
    (*(detector.trigger for detector in DETECTORS), UNUSUAL, rf"^(?:[0-9a-f]{{2}}){{{MIN_HEX // 2},}}$")
)


@dataclass(frozen=True)
class Masked:
    """A masked array and how many of its values changed."""

    array: pa.Array
    hidden: int


def detect(array: pa.Array, cut: npt.NDArray[np.bool_]) -> Masked:
    """Replace what detectors find in a string array; `cut` marks the values whose end is missing."""
    return by_distinct(array, cut, shown_of, lambda distinct: pc.match_substring_regex(distinct, _TRIGGER))


def by_distinct(
    array: pa.Array,
    cut: npt.NDArray[np.bool_],
    mask: Callable[[str, bool], str],
    candidates: Callable[[pa.Array], pa.Array] | None = None,
) -> Masked:
    """Apply `mask(value, is_cut)` once to every distinct value of a string array; without cut ones, only to `candidates`."""
    encoded = array.dictionary_encode()
    distinct = encoded.dictionary
    wanted = _flags(candidates(distinct)) if candidates else np.ones(len(distinct), dtype=bool)
    before = distinct.filter(pa.array(wanted)).to_pylist()
    after = [mask(value, False) for value in before]
    changed = np.zeros(len(distinct), dtype=bool)
    changed[wanted] = [old != new for old, new in zip(before, after, strict=True)]
    shown = pc.replace_with_mask(distinct, pa.array(wanted), pa.array(after, distinct.type))
    result = shown.take(encoded.indices)
    hidden = np.zeros(len(array), dtype=bool)
    valid = _flags(array.is_valid())
    if len(distinct):
        hidden[valid] = changed[encoded.indices.drop_null().to_numpy(zero_copy_only=False)]
    cut = cut & valid
    if cut.any():
        old = array.filter(pa.array(cut)).to_pylist()
        new = [mask(value, True) for value in old]
        result = pc.replace_with_mask(result, pa.array(cut), pa.array(new, result.type))
        hidden[cut] = [one != other for one, other in zip(old, new, strict=True)]
    return Masked(result, int(hidden.sum()))


def shown_of(value: str, cut: bool) -> str:
    """What may be shown of one text; `cut` when its end is missing."""
    normalised = normalise(value)
    spans = find(normalised.text)
    if not spans and len(value) >= MIN_HEX and _HEX.fullmatch(value) and not (cut and value.isdecimal()):
        return _scan_hex(value, cut=cut)
    if cut:
        spans = _with_tail(spans, normalised.text)
    shown: list[str] = []
    at = 0
    for span in spans:
        start, end = normalised.original(span.start, span.end)
        shown += [value[at:start], f"<{span.kind}>"]
        at = end
    return "".join((*shown, value[at:])) if spans else value


def _with_tail(spans: list[Span], text: str) -> list[Span]:
    start = tail_start(text)
    for span in spans:
        if span.end > start:
            start = min(start, span.start)
    if start == len(text):
        return spans
    return [*(span for span in spans if span.end <= start), Span(start, len(text), CUT.strip("<>"))]


def _scan_hex(value: str, *, cut: bool) -> str:
    """Bytes are shown as hex, and may be text: what would be hidden in the text hides the whole value."""
    data = bytes.fromhex(value)
    for encoding in ("utf-8", "latin-1"):
        text = normalise(data.decode(encoding, "replace")).text
        if spans := find(text):
            return f"<{spans[0].kind}>"
    if cut:
        start = tail_start(data.decode("latin-1"))
        return value if start == len(data) else value[: 2 * start] + CUT
    return value


def _flags(array: Any) -> npt.NDArray[np.bool_]:
    flags: npt.NDArray[np.bool_] = array.fill_null(fill_value=False).to_numpy(zero_copy_only=False).astype(bool)
    return flags
