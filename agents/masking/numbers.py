"""Integers through a gate: those that are card numbers are hidden, all others pass at the speed of numpy.

A range check drops almost every value, a table of issuers' prefixes most of the rest (a clock in ns has 19 digits and
begins like no card does); the Luhn check decides.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from agents.masking.detectors.cards import MAX_DIGITS, MIN_DIGITS, has_issuer

SMALLEST: Final = 10 ** (MIN_DIGITS - 1)
BEYOND: Final = 10**MAX_DIGITS


def card_numbers(values: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Which integers (any width, signed or not) or whole floats are card numbers, whatever their sign."""
    magnitude = _magnitude(values)
    found = (magnitude >= SMALLEST) & (magnitude < np.uint64(BEYOND))
    for gate in (_has_issuer, _passes_luhn):
        if found.any():
            found[found] = gate(magnitude[found])
    return np.asarray(found, dtype=bool)


def _magnitude(values: npt.NDArray[Any]) -> npt.NDArray[np.uint64]:
    if values.dtype.kind == "u":
        return values.astype(np.uint64)
    if values.dtype.kind == "i":
        wide = values.astype(np.int64)
        return np.where(wide < 0, -wide, wide).astype(np.uint64)
    size = np.abs(values)
    whole = np.isfinite(values) & (size >= SMALLEST) & (size < BEYOND) & (values == np.floor(values))
    return np.where(whole, size, 0).astype(np.uint64)


def _has_issuer(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    lengths = np.searchsorted(_POWERS, values, side="right")
    prefixes = values // _POWERS[lengths - _PREFIX]
    return np.asarray(_ISSUER_TABLE[lengths, prefixes.astype(np.int64)], dtype=bool)


def _passes_luhn(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    total = np.zeros(len(values), dtype=np.uint64)
    rest = values.copy()
    for position in range(MAX_DIGITS):
        rest, digit = np.divmod(rest, np.uint64(10))
        total += digit if position % 2 == 0 else _DOUBLED[digit.astype(np.int64)]
    return np.asarray(total % np.uint64(10) == 0, dtype=bool)


_PREFIX: Final = 4  # digits that tell the issuer
_POWERS: Final = np.array([10**exponent for exponent in range(MAX_DIGITS + 1)], dtype=np.uint64)
_DOUBLED: Final = np.array([0, 2, 4, 6, 8, 1, 3, 5, 7, 9], dtype=np.uint64)
# [number of digits, first four digits]: whether an issuer has such cards.
_ISSUER_TABLE: Final = np.array(
    [
        [length >= MIN_DIGITS and has_issuer(str(first).ljust(length, "0")) for first in range(10**_PREFIX)]
        for length in range(MAX_DIGITS + 1)
    ]
)
