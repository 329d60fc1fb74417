"""Integers through a gate: those that are card numbers are hidden, all others pass at the speed of numpy.

A range check drops almost every value, a table of issuers' prefixes most of the rest (a clock in ns has 19 digits and
begins like no card does); the Luhn check decides.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from agents.masking.detectors import bits_of, find
from agents.masking.detectors.cards import ISSUERS, MAX_DIGITS, MIN_DIGITS, PREFIX, is_card

SMALLEST: Final = 10 ** (MIN_DIGITS - 1)
BEYOND: Final = 10**MAX_DIGITS
# What a name can make of a number: identifiers, telephone numbers, dates written as 19801231.
NUMERIC: Final = frozenset(
    """US_SSN US_ITIN UK_NHS CH_AHV BR_CPF IN_AADHAAR NL_BSN PL_PESEL FR_NIR DE_TAX_ID SE_PERSONNUMMER NO_FNR DK_CPR TR_TCKN
    AU_TFN AU_ABN CA_SIN ZA_ID TH_ID US_EIN US_NPI US_ABA US_BANK_ACCOUNT PASSPORT DATE_OF_BIRTH IMEI PHONE""".split()  # noqa: SIM905
)
_MIN_NAMED: Final = 5  # digits: "order 12345" is no account
_PADDED: Final = (9, 10, 11)  # digits of the identifiers that may begin with a zero


def personal(
    values: npt.NDArray[Any], vouched: frozenset[str], *, computed: bool = False, most: int | None = None
) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    """Kind and which values, of every kind that a number can be.

    `computed` values may be a card plus one: whatever is as long as a card is hidden, and what
    is not below `most`.
    """
    yield "CARD", card_numbers(values)
    if computed:
        magnitude = _magnitude(values)
        yield "COMPUTED", np.asarray(magnitude >= min(SMALLEST, SMALLEST if most is None else most), dtype=bool)
    if vouched & NUMERIC:
        yield from _by_name(values, vouched & NUMERIC)


def _by_name(values: npt.NDArray[Any], vouched: frozenset[str]) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    """Each distinct number as text, through the detectors that the column's name calls for."""
    distinct, places = np.unique(_magnitude(values, smallest=10**_MIN_NAMED), return_inverse=True)
    kinds = [_kind_of(int(number), vouched) for number in distinct]
    for kind in dict.fromkeys(one for one in kinds if one):
        yield kind, np.array([one == kind for one in kinds], dtype=bool)[places]


def _kind_of(number: int, vouched: frozenset[str]) -> str:
    """What a whole number is, with the zeros that an integer does not keep before it."""
    if number < 10**_MIN_NAMED:
        return ""
    for text in (str(number), *(str(number).zfill(width) for width in _PADDED)):
        spans = find(text, bits_of(vouched), vouched)
        if any(span.end - span.start == len(text) for span in spans):
            return spans[0].kind
    return ""


def number_shown(value: float, vouched: frozenset[str]) -> float | str:
    """One number that came outside a column."""
    if value != value or value in {float("inf"), float("-inf")} or value != int(value):  # noqa: PLR0124 -- NaN
        return value
    digits = str(abs(int(value)))
    if is_card(digits):
        return "<CARD>"
    kind = _kind_of(abs(int(value)), vouched & NUMERIC) if vouched & NUMERIC else ""
    return f"<{kind}>" if kind else value


def card_numbers(values: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Which integers (any width, signed or not) or whole floats are card numbers, whatever their sign."""
    magnitude = _magnitude(values)
    found = (magnitude >= SMALLEST) & (magnitude < np.uint64(BEYOND))
    for gate in (_has_issuer, _passes_luhn):
        if found.any():
            found[found] = gate(magnitude[found])
    return np.asarray(found, dtype=bool)


def _magnitude(values: npt.NDArray[Any], smallest: int = SMALLEST) -> npt.NDArray[np.uint64]:
    if values.dtype.kind == "u":
        return values.astype(np.uint64)
    if values.dtype.kind == "i":
        wide = values.astype(np.int64)
        return np.where(wide < 0, -wide, wide).astype(np.uint64)
    size = np.abs(values)
    whole = np.isfinite(values) & (size >= smallest) & (size < BEYOND) & (values == np.floor(values))
    return np.where(whole, size, 0).astype(np.uint64)


def _has_issuer(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    lengths = np.searchsorted(_POWERS, values, side="right")
    prefixes = values // _POWERS[lengths - PREFIX]
    return np.asarray(_issuer_table()[lengths, prefixes.astype(np.int64)], dtype=bool)


def _passes_luhn(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    total = np.zeros(len(values), dtype=np.uint64)
    rest = values.copy()
    for position in range(MAX_DIGITS):
        rest, digit = np.divmod(rest, np.uint64(10))
        total += digit if position % 2 == 0 else _DOUBLED[digit.astype(np.int64)]
    return np.asarray(total % np.uint64(10) == 0, dtype=bool)


_POWERS: Final = np.array([10**exponent for exponent in range(MAX_DIGITS + 1)], dtype=np.uint64)
_DOUBLED: Final = np.array([0, 2, 4, 6, 8, 1, 3, 5, 7, 9], dtype=np.uint64)


@lru_cache(maxsize=1)
def _issuer_table() -> npt.NDArray[np.bool_]:
    """[number of digits, first four digits]: whether an issuer has such cards."""
    table = np.zeros((MAX_DIGITS + 1, 10**PREFIX), dtype=bool)
    for first, last, lengths in ISSUERS:
        width = 10 ** (PREFIX - len(str(first)))
        for length in lengths:
            table[length, first * width : (last + 1) * width] = True
    return table
