"""Payment card numbers: 12 to 19 digits, an issuer's prefix with its length, and the Luhn check (ISO/IEC 7812-1)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from agents.masking.detectors.model import Detector, Span
from agents.masking.detectors.shapes import inside_hash

# (first, last) prefix -> lengths. From the issuers' published ranges; random digits pass Luhn one time in ten.
ISSUERS: Final[tuple[tuple[int, int, frozenset[int]], ...]] = (
    (4, 4, frozenset({13, 16, 19})),  # Visa
    (51, 55, frozenset({16})),  # Mastercard
    (2221, 2720, frozenset({16})),
    (34, 34, frozenset({15})),  # American Express
    (37, 37, frozenset({15})),
    (6011, 6011, frozenset(range(16, 20))),  # Discover
    (644, 649, frozenset(range(16, 20))),
    (65, 65, frozenset(range(16, 20))),
    (300, 305, frozenset({14, 16})),  # Diners Club
    (3095, 3095, frozenset({14, 16})),
    (36, 36, frozenset(range(14, 20))),
    (38, 39, frozenset({14, 16})),
    (3528, 3589, frozenset(range(16, 20))),  # JCB
    (62, 62, frozenset(range(16, 20))),  # UnionPay
    (81, 82, frozenset({16})),  # UnionPay, RuPay
    (60, 60, frozenset({16})),  # RuPay
    (508, 508, frozenset({16})),
    (2200, 2204, frozenset(range(16, 20))),  # Mir
    (5018, 5018, frozenset(range(12, 20))),  # Maestro
    (5020, 5020, frozenset(range(12, 20))),
    (5038, 5038, frozenset(range(12, 20))),
    (5893, 5893, frozenset(range(12, 20))),
    (6304, 6304, frozenset(range(12, 20))),
    (6759, 6759, frozenset(range(12, 20))),
    (6761, 6763, frozenset(range(12, 20))),
    (5019, 5019, frozenset({16})),  # Dankort
    (5602, 5602, frozenset({16})),  # Bankcard
    (5610, 5610, frozenset({16})),
    (6331, 6331, frozenset({16, 18, 19})),  # Switch, Solo
    (6333, 6334, frozenset({16, 18, 19})),
    (9792, 9792, frozenset({16})),  # Troy
)
PREFIX: Final = 4  # digits that tell the issuer
MIN_DIGITS: Final = 12
MAX_DIGITS: Final = 19

_RUN: Final = re.compile(r"[0-9]++(?:[ .\-][0-9]++)*+")
_GROUP: Final = re.compile(r"[0-9]+")
_GROUP_SIZES: Final = range(3, 9)  # 4-4-4-4, 4-6-5, 4-4-4-4-3
_LAST_GROUP_SIZES: Final = range(2, 9)  # what is left over
_LUHN_DOUBLED: Final = bytes.maketrans(b"0123456789", b"0246813579")
_ZERO: Final = ord("0")


def _find(text: str, _vouched: bool) -> Iterator[Span]:
    for run in _RUN.finditer(text):
        if run.end() - run.start() >= MIN_DIGITS:
            yield from _in_run(text, run.start(), run.group())


def _in_run(text: str, offset: int, run: str) -> Iterator[Span]:
    groups = [match.span() for match in _GROUP.finditer(run)]
    taken = 0
    for first, (start, _) in enumerate(groups):
        if first < taken:
            continue
        for last in range(_furthest(groups, first), first - 1, -1):
            end = groups[last][1]
            if first == last and start > 0 and run[start - 1] == ".":
                continue  # the digits behind a decimal point
            if _is_printed_card(run, groups[first : last + 1]) and not inside_hash(text, offset + start, offset + end):
                yield Span(offset + start, offset + end, "CARD")
                taken = last + 1
                break


def _furthest(groups: list[tuple[int, int]], first: int) -> int:
    digits, last = 0, first
    for position in range(first, len(groups)):
        digits += groups[position][1] - groups[position][0]
        if digits > MAX_DIGITS:
            break
        last = position
    return last


def _is_printed_card(run: str, groups: list[tuple[int, int]]) -> bool:
    """One group of digits, or groups as cards print them with one kind of separator, that is a card number."""
    if len(groups) > 1:
        separators = {run[end] for _, end in groups[:-1]}
        if len(separators) > 1 or not _is_card_grouping([end - start for start, end in groups]):
            return False
    return is_card("".join(run[start:end] for start, end in groups))


def _is_card_grouping(sizes: list[int]) -> bool:
    return all(size in _GROUP_SIZES for size in sizes[:-1]) and sizes[-1] in _LAST_GROUP_SIZES


def is_card(digits: str) -> bool:
    """Whether ASCII digits are a card number: length, issuer and check digit."""
    return MIN_DIGITS <= len(digits) <= MAX_DIGITS and has_issuer(digits) and passes_luhn(digits)


def has_issuer(digits: str) -> bool:
    return len(digits) in _BY_PREFIX.get(digits[:PREFIX], ())


def passes_luhn(digits: str) -> bool:
    values = digits.encode()
    total = sum(values[-1::-2]) + sum(values[-2::-2].translate(_LUHN_DOUBLED))
    return (total - _ZERO * len(values)) % 10 == 0


def _by_prefix() -> dict[str, frozenset[int]]:
    """Four digits -> the lengths of cards that begin so."""
    found: dict[str, frozenset[int]] = {}
    for first, last, lengths in ISSUERS:
        width = 10 ** (PREFIX - len(str(first)))
        for prefix in range(first * width, (last + 1) * width):
            key = str(prefix)
            found[key] = found.get(key, frozenset()) | lengths
    return found


_BY_PREFIX: Final = _by_prefix()
DETECTOR: Final = Detector("CARD", r"[0-9](?:[ .\-]?[0-9]){11}", _find)
