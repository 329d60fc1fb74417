"""A column of strings -> the same strings with what detectors find in them replaced.

Distinct values only: the column is dictionary-encoded, one scan over the joined dictionary says which values could hold
what (`scanning`), those few are looked into in Python (`entities`), and `take` spreads the results. Cut values are
looked at one by one, because what must be hidden of them depends on where they were cut.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from agents.masking.actions import UNSCANNED
from agents.masking.beyond import Beyond
from agents.masking.budget import Budget
from agents.masking.detectors import NONE, bits_of
from agents.masking.entities import shown_of, spans_of
from agents.masking.own_patterns import OwnPatterns
from agents.masking.scanning import CHUNK, scanner

DISTINCT_SAMPLE: Final = 4096  # values whose repetition says whether encoding the column pays
MOSTLY_DISTINCT: Final = 0.7


@dataclass(frozen=True)
class Masked:
    """A masked array, how many of its values changed, and how many of those because there was no time for them."""

    array: pa.Array
    hidden: int
    unscanned: int = 0


def detect(
    array: pa.Array,
    cut: npt.NDArray[np.bool_],
    vouched: frozenset[str] = NONE,
    budget: Budget | None = None,
    own: OwnPatterns | None = None,
) -> Masked:
    """Replace what detectors find in a string array; `cut` marks the values whose end is missing."""
    budget = budget or Budget()

    def look(value: str, is_cut: bool) -> str:
        return UNSCANNED if budget.over() else shown_of(value, is_cut, None, vouched, own)

    return _spread(array, cut, lambda distinct: _detected(distinct, vouched, budget, own), look)


def detect_past_limit(
    array: pa.Array, beyond: Beyond, vouched: frozenset[str], budget: Budget, own: OwnPatterns | None
) -> Masked:
    """The same of texts that go beyond their limit: looked at as far as they were captured, shown up to the limit."""
    hidden = unscanned = 0
    known: dict[str, str] = {}
    result: list[str] = []
    for text in array.to_pylist():
        if budget.over():
            shown = UNSCANNED
            unscanned += 1
        elif (shown := known.get(text, UNSCANNED)) is UNSCANNED:
            shown = beyond.shown(text, spans_of(text, beyond.goes_on(text), None, vouched, own))
            known[text] = shown
        hidden += shown != beyond.clipped(text)
        result.append(shown)
    return Masked(pa.array(result, array.type), hidden, unscanned)


def by_distinct(
    array: pa.Array, cut: npt.NDArray[np.bool_], mask: Callable[[str, bool], str], budget: Budget | None = None
) -> Masked:
    """Apply `mask(value, is_cut)` once to every distinct value of a string array."""
    budget = budget or Budget()

    def one(value: str, is_cut: bool) -> str:
        return UNSCANNED if budget.over() else mask(value, is_cut)

    def all_of(distinct: pa.Array) -> dict[int, str]:
        return {position: one(value, False) for position, value in enumerate(distinct.to_pylist())}

    return _spread(array, cut, all_of, one)


def _detected(distinct: pa.Array, vouched: frozenset[str], budget: Budget, own: OwnPatterns | None) -> dict[int, str]:
    """The values that change, by position."""
    changed: dict[int, str] = {}
    always = bits_of(vouched) if vouched else 0
    for first in range(0, len(distinct), CHUNK):
        chunk = distinct.slice(first, CHUNK)
        if budget.over():
            changed.update(dict.fromkeys(range(first, first + len(chunk)), UNSCANNED))
            continue
        bits = scanner().bits(chunk)
        if always:
            bits = {position: bits.get(position, 0) | always for position in range(len(chunk))}
        if own:
            bits |= {place: bits.get(place, 0) for place, value in enumerate(chunk.to_pylist()) if own.hits(value)}
        places = sorted(bits)
        for place, value in zip(places, chunk.take(pa.array(places, pa.int64())).to_pylist(), strict=True):
            shown = UNSCANNED if budget.over() else shown_of(value, False, bits[place], vouched, own)
            if shown is not value and shown != value:
                changed[first + place] = shown
    return changed


def _spread(
    array: pa.Array,
    cut: npt.NDArray[np.bool_],
    mask: Callable[[pa.Array], dict[int, str]],
    one: Callable[[str, bool], str],
) -> Masked:
    if array.null_count == 0 and not cut.any() and _mostly_distinct(array):
        return _replaced(array, mask(array))
    encoded = array.dictionary_encode()
    distinct = encoded.dictionary
    found = _replaced(distinct, mask(distinct))
    result = found.array.take(encoded.indices)
    valid = _flags(array.is_valid())
    hidden = np.zeros(len(array), dtype=bool)
    if found.hidden:
        changed = _flags(pc.not_equal(found.array, distinct))
        hidden[valid] = changed[encoded.indices.drop_null().to_numpy(zero_copy_only=False)]
    cut = cut & valid
    if cut.any():
        old = array.filter(pa.array(cut)).to_pylist()
        new = [one(value, True) for value in old]
        result = pc.replace_with_mask(result, pa.array(cut), pa.array(new, result.type))
        hidden[cut] = [before != after for before, after in zip(old, new, strict=True)]
    unscanned = int(pc.sum(pc.equal(result, UNSCANNED)).as_py() or 0) if hidden.any() else 0
    return Masked(result, int(hidden.sum()), unscanned)


def _replaced(values: pa.Array, changed: dict[int, str]) -> Masked:
    if not changed:
        return Masked(values, 0)
    flags = np.zeros(len(values), dtype=bool)
    places = sorted(changed)
    flags[places] = True
    new = [changed[place] for place in places]
    shown = pc.replace_with_mask(values, pa.array(flags), pa.array(new, values.type))
    return Masked(shown, len(places), sum(value is UNSCANNED for value in new))


def _mostly_distinct(array: pa.Array) -> bool:
    """Then encoding costs more than it saves."""
    sample = array.slice(0, DISTINCT_SAMPLE)
    return len(sample) > 0 and len(sample.unique()) > MOSTLY_DISTINCT * len(sample)


def _flags(array: Any) -> npt.NDArray[np.bool_]:
    flags: npt.NDArray[np.bool_] = array.fill_null(fill_value=False).to_numpy(zero_copy_only=False).astype(bool)
    return flags
