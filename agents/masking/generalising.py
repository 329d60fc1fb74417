"""A value -> a coarser one of its kind, or the word for hidden: what is none of the kind is not shown at all.

The kinds and their grain follow HIPAA's safe harbor (45 CFR 164.514(b)(2)) where it has one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from ipaddress import AddressValueError, IPv4Address, IPv6Address, ip_network
from typing import Final

from agents.masking.actions import REDACTED
from language.masking import Generality

OLDEST: Final = 90  # years: from here on ages are one band
OLDEST_HUMAN: Final = 130

_DATE: Final = re.compile(
    r"((?:1[89]|20)[0-9]{2})(?:[-/.][01]?[0-9][-/.][0-3]?[0-9](?:[T ].{0,40})?|[01][0-9][0-3][0-9])"
    r"|[0-3]?[0-9][-/.][0-3]?[0-9][-/.]((?:1[89]|20)[0-9]{2})"
)
_AGE: Final = re.compile(r"[0-9]{1,3}")
_DEGREES: Final = re.compile(r"(-?[0-9]{1,3})(?:\.([0-9]{1,20}))?")
_HEX: Final = re.compile(r"[0-9a-f]{8}|[0-9a-f]{32}")
_DIGITS_POSTCODE: Final = re.compile(r"[0-9]{4,6}(?:-[0-9]{3,4})?")
_BRITISH_POSTCODE: Final = re.compile(r"([A-Z]{1,2}[0-9][A-Z0-9]?) ?[0-9][A-Z]{2}")
_CANADIAN_POSTCODE: Final = re.compile(r"([A-Z][0-9][A-Z]) ?[0-9][A-Z][0-9]")
_PREFIX: Final = 3  # digits of a postcode that stay
_IPV4_BITS: Final = 24
_IPV6_BITS: Final = 48


def generalised(value: str, kind: Generality, *, cut: bool = False) -> str:
    """`value` as text, also of a number or of bytes (in hex). Of a cut value nothing is known but that it was cut."""
    return REDACTED if cut else _KINDS[kind](value.strip()) or REDACTED


def _ip(value: str) -> str | None:
    if _HEX.fullmatch(value):  # net.IP and [4]byte
        value = _written(bytes.fromhex(value))
    try:
        return str(ip_network((int(IPv4Address(value)), _IPV4_BITS), strict=False))
    except AddressValueError:
        pass
    try:
        address = IPv6Address(value.partition("%")[0])
    except AddressValueError:
        return None
    if (inner := address.ipv4_mapped) is not None:
        return str(ip_network((int(inner), _IPV4_BITS), strict=False))
    return str(ip_network((int(address), _IPV6_BITS), strict=False))


def _written(raw: bytes) -> str:
    return str(IPv4Address(raw)) if len(raw) == 4 else str(IPv6Address(raw))


def _postcode(value: str) -> str | None:
    text = value.upper()
    for form in (_BRITISH_POSTCODE, _CANADIAN_POSTCODE):
        if found := form.fullmatch(text):
            return found.group(1)
    return text[:_PREFIX] + "*" if _DIGITS_POSTCODE.fullmatch(text) else None


def _year(value: str) -> str | None:
    found = _DATE.fullmatch(value)
    return found.group(1) or found.group(2) if found else None


def _age(value: str) -> str | None:
    if not _AGE.fullmatch(value) or int(value) > OLDEST_HUMAN:
        return None
    low = int(value) // 10 * 10
    return f"{OLDEST}+" if low >= OLDEST else f"{low}-{low + 9}"


def _coordinates(value: str) -> str | None:
    parts = [_DEGREES.fullmatch(part.strip()) for part in value.split(",")]
    if not 1 <= len(parts) <= 2 or any(part is None for part in parts):
        return None
    return ", ".join(f"{part.group(1)}.{(part.group(2) or '0')[0]}" for part in parts if part is not None)


_KINDS: Final[Mapping[Generality, Callable[[str], str | None]]] = {
    Generality.COORDINATES: _coordinates,
    Generality.IP: _ip,
    Generality.POSTCODE: _postcode,
    Generality.YEAR: _year,
    Generality.AGE: _age,
}
