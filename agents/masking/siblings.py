"""Values split over neighbouring columns of a row, scanned joined: what they are together is hidden in each of them.

    digits    integers and texts of digits, two to four in a row: a card number in the groups in which cards are printed,
              or, where a name speaks of cards, in any groups
    texts     two in a row whose end and beginning make an address or an account number that neither holds alone

Only columns that are searched (`detect`) take part, and only values that nothing was found in. Two numbers that stand side
by side are nearly always two numbers: without a name that vouches, only the printed groups count.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from agents.masking.actions import UNSCANNED
from agents.masking.budget import Budget
from agents.masking.detectors.cards import MAX_DIGITS, MIN_DIGITS, is_card
from agents.masking.entities import spans_of
from language.masking_names import words

MAX_COLUMNS: Final = 16  # of one probe that are joined; the rest is looked at alone
MAX_PARTS: Final = 4  # a card is printed in four groups
MAX_TEXT: Final = 256  # characters of a text whose end or beginning may be a part
_PRINTED: Final = frozenset({(4, 4, 4, 4), (4, 6, 5), (4, 6, 4)})
_HALVES: Final = frozenset({(8, 8)})  # of texts only: integers of eight digits are identifiers, dates, sums
_CARD_WORDS: Final = frozenset({"card", "cards", "pan", "cc", "ccnum", "cardnumber", "creditcard"})
_WIDEST: Final = 12  # digits of a part
_POWERS: Final = np.array([10**exponent for exponent in range(1, _WIDEST)], dtype=np.uint64)
_DIGITS: Final = r"^[0-9]{1,12}$"
# The end of one text and the beginning of the next that may be one thing.
_ADDRESS, _ADDRESS_GOES_ON = r"[A-Za-z0-9._%+\-](?:@[A-Za-z0-9.\-]*)?$", r"^(?:@[A-Za-z0-9]|[A-Za-z0-9.\-])"
_ACCOUNT, _ACCOUNT_GOES_ON = r"\b[A-Z]{2}[0-9]{2}[A-Z0-9 ]*$", r"^[A-Z0-9 ]{4}"
_JOINED: Final = frozenset({"EMAIL", "IBAN"})  # what a form and a check prove, whatever stands around it


@dataclass(frozen=True)
class Sibling:
    """One column: as it was captured, and which of its values nothing was found in."""

    position: int
    names: tuple[str, ...]
    array: pa.Array
    clear: npt.NDArray[np.bool_]

    @property
    def is_text(self) -> bool:
        return bool(pa.types.is_string(self.array.type))


@dataclass(frozen=True)
class Found:
    """In `row` the value of the column at `position` is a part of an entity."""

    position: int
    row: int
    kind: str


def is_part(part: pa.Field) -> bool:
    """Whether a column's values can be parts: plain texts and integers, not JSON."""
    text = pa.types.is_string(part.type) and (part.metadata or {}).get(b"encoding") is None
    return text or pa.types.is_integer(part.type)


def unchanged(before: pa.Array, shown: pa.Array) -> npt.NDArray[np.bool_]:
    """Which values of a column are there and are shown as they came."""
    if shown is before:
        return _flags(before.is_valid())
    return _flags(pc.equal(before.cast(pa.string()), shown.cast(pa.string())))


def joined(siblings: Sequence[Sibling], budget: Budget) -> Iterator[Found]:
    """What is to be hidden; past the budget every candidate is."""
    siblings = siblings[:MAX_COLUMNS]
    if len(siblings) > 1:
        yield from _cards(siblings, budget)
        yield from _texts(siblings, budget)


def hidden(array: pa.Array, found: Sequence[Found]) -> pa.Array:
    """A masked column with these of its rows replaced."""
    kinds = {each.row: each.kind for each in found}
    rows = sorted(kinds)
    flags = np.zeros(len(array), dtype=bool)
    flags[rows] = True
    shown = [UNSCANNED if kinds[row] == UNSCANNED else f"<{kinds[row]}>" for row in rows]
    return pc.replace_with_mask(array.cast(pa.string()), pa.array(flags), pa.array(shown, pa.string()))


def _cards(siblings: Sequence[Sibling], budget: Budget) -> Iterator[Found]:
    widths = [_widths(sibling) for sibling in siblings]
    vouched = [_speaks_of_cards(sibling.names) for sibling in siblings]
    for first in range(len(siblings) - 1):
        for count in range(2, min(MAX_PARTS, len(siblings) - first) + 1):
            parts = siblings[first : first + count]
            groups = widths[first : first + count]
            rows = _candidates(parts, groups, vouched=all(vouched[first : first + count]))
            for row in rows.tolist():
                texts = [str(part.array[row].as_py()) for part in parts]
                over = budget.over()
                if over or is_card("".join(texts)) or _padded_card(texts):
                    kind = UNSCANNED if over else "CARD"
                    yield from (Found(part.position, row, kind) for part in parts)


def _candidates(
    parts: Sequence[Sibling], widths: Sequence[npt.NDArray[np.int64]], *, vouched: bool
) -> npt.NDArray[np.int64]:
    """Rows in which the parts could be the groups of one card."""
    there = np.logical_and.reduce([width > 0 for width in widths])
    if not there.any():
        return np.array([], dtype=np.int64)
    total = np.sum(widths, axis=0)
    if vouched:
        wanted = (total >= MIN_DIGITS) | np.logical_and.reduce([width <= 4 for width in widths]) & (len(parts) == 4)
        return np.flatnonzero(there & wanted & (total <= MAX_DIGITS))
    shapes = _PRINTED | (_HALVES if all(part.is_text for part in parts) else frozenset())
    wanted = np.zeros(len(there), dtype=bool)
    for shape in shapes:
        if len(shape) == len(parts):
            wanted |= np.logical_and.reduce([width == size for width, size in zip(widths, shape, strict=True)])
    return np.flatnonzero(there & wanted)


def _padded_card(texts: Sequence[str]) -> bool:
    """Four integers of four digits, of which some lost the zeros that they began with."""
    return len(texts) == MAX_PARTS and len(texts[0]) == 4 and is_card("".join(text.zfill(4) for text in texts))


def _widths(sibling: Sibling) -> npt.NDArray[np.int64]:
    """Digits of each value; 0 where it is no part of a number, or something was found in it already."""
    if sibling.is_text:
        sizes = pc.binary_length(sibling.array.fill_null("")).to_numpy(zero_copy_only=False).astype(np.int64)
        found = (sizes > 0) & (sizes <= _WIDEST)
        places = np.flatnonzero(found)
        if len(places):
            found[places] = _flags(pc.match_substring_regex(sibling.array.take(pa.array(places)), _DIGITS))
    else:
        values = sibling.array.fill_null(0).to_numpy(zero_copy_only=False)
        found = _flags(sibling.array.is_valid()) & (values >= 0)
        magnitude = np.where(found, values, 0).astype(np.uint64)
        sizes = np.searchsorted(_POWERS, magnitude, side="right").astype(np.int64) + 1
    return np.where(found & sibling.clear & (sizes <= _WIDEST), sizes, 0)


def _texts(siblings: Sequence[Sibling], budget: Budget) -> Iterator[Found]:
    for left, right in pairwise(siblings):
        if not (left.is_text and right.is_text):
            continue
        short = pc.less_equal(pc.add(pc.binary_length(left.array), pc.binary_length(right.array)), MAX_TEXT)
        wanted = _flags(short) & left.clear & right.clear & _meet(left.array, right.array)
        known: dict[tuple[str, str], str | None] = {}
        for row in np.flatnonzero(wanted).tolist():
            pair = (left.array[row].as_py(), right.array[row].as_py())
            if pair not in known:
                known[pair] = UNSCANNED if budget.over() else _kind_across(*pair)
            if (kind := known[pair]) is not None:
                yield Found(left.position, row, kind)
                yield Found(right.position, row, kind)


def _meet(left: pa.Array, right: pa.Array) -> npt.NDArray[np.bool_]:
    """Rows in which the two may meet within an address or an account number."""
    at = _flags(pc.match_substring(left, "@")) | _flags(pc.starts_with(right, "@"))
    account = _flags(pc.match_substring_regex(right, _ACCOUNT_GOES_ON))
    for rows, ends, begins in ((at, _ADDRESS, _ADDRESS_GOES_ON), (account, _ACCOUNT, _ACCOUNT_GOES_ON)):
        places = np.flatnonzero(rows)
        if len(places):
            chosen = pa.array(places)
            rows[places] = _flags(pc.match_substring_regex(left.take(chosen), ends))
            rows[places] &= _flags(pc.match_substring_regex(right.take(chosen), begins))
    return at | account


def _kind_across(left: str, right: str) -> str | None:
    """What stands across the place where the two meet."""
    meet = len(left)
    for span in spans_of(left + right, False):
        if span.kind in _JOINED and span.start < meet < span.end:
            return span.kind
    return None


def _speaks_of_cards(names: Sequence[str]) -> bool:
    parts = [part for name in names for part in re.split(r"[./]", name)]
    return any(word.rstrip("0123456789") in _CARD_WORDS for part in parts for word in words(part))


def _flags(array: Any) -> npt.NDArray[np.bool_]:
    flags: npt.NDArray[np.bool_] = array.fill_null(fill_value=False).to_numpy(zero_copy_only=False).astype(bool)
    return flags
