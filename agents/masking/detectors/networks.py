"""Network addresses: IPv4, IPv6, MAC. The standard library's parser decides; versions and C++ names are left alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

from agents.masking.detectors.model import Detector, Span
from agents.masking.detectors.shapes import shape
from agents.masking.patterns import compiled

_MIN_COLONS: Final = 6  # six groups and an IPv4 address, when none is left out
MAX_IPV6: Final = 45  # characters: eight groups of which two are written as IPv4

_IPV4: Final = r"[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}"
_IPV6_RUN: Final = r"[0-9A-Fa-f:]*:[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*"
_PREFIX_LENGTH: Final = re.compile(r"/[0-9]{1,3}(?![0-9/.])")
_VERSION_BEFORE: Final = re.compile(r"(?:\bv|\bver|\bversion|\brelease)[ :=]?\Z", re.IGNORECASE)


def _ipv4(text: str, _vouched: bool) -> Iterator[Span]:
    for match in compiled(_IPV4).finditer(text):
        start, end = match.start(), match.end()
        before, after = text[max(0, start - 2) : start], text[end : end + 2]
        if (
            before[-1:].isdigit()
            or before[-1:] == "."
            or after[:1].isdigit()
            or (after[:1] == "." and after[1:].isdigit())
        ):
            continue
        if before[-1:].isalpha() and before[-1:] in "vV":
            continue
        if _VERSION_BEFORE.search(text, max(0, start - 10), start) or not _is_ipv4(match.group()):
            continue
        yield Span(start, _with_prefix_length(text, end), "IPV4")


def _is_ipv4(candidate: str) -> bool:
    return all(int(part) <= 255 for part in candidate.split("."))


def _ipv6(text: str, _vouched: bool) -> Iterator[Span]:
    if "::" not in text and text.count(":") < _MIN_COLONS:
        return  # a MAC address, a time
    for match in compiled(_IPV6_RUN).finditer(text):
        start, end = match.start(), match.end()
        if end - start > MAX_IPV6:
            continue
        found = text[start:end].rstrip(".")
        before, after = text[max(0, start - 1) : start], text[start + len(found) : start + len(found) + 1]
        if before.isalnum() or before in {"_", ">", ")"} or after.isalpha() or after in {"_", "~", "("}:
            continue
        for candidate in (found, found.rstrip(":") if not found.endswith("::") else found):
            if _is_ipv6(candidate):
                yield Span(start, _with_prefix_length(text, start + len(candidate)), "IPV6")
                break


def _with_prefix_length(text: str, end: int) -> int:
    """`/24` belongs to the address."""
    length = _PREFIX_LENGTH.match(text, end)
    return length.end() if length else end


def _is_ipv6(candidate: str) -> bool:
    if candidate == "::":
        return True  # whoever wrote it alone meant the address; in C++ names a letter follows
    digits = candidate.replace(":", "").replace(".", "")
    if len(digits) < 1 or (candidate.startswith("::") and len(digits) < 3 and candidate != "::1"):
        return False
    try:
        IPv6Address(candidate)
    except (AddressValueError, ValueError):
        return False
    return True


def _mac(candidate: str) -> bool:
    digits = re.sub(r"[^0-9a-f]", "", candidate.lower())
    return digits not in {"0" * 12, "f" * 12}


def is_ip(candidate: str) -> bool:
    """For generalising."""
    try:
        IPv4Address(candidate)
    except ValueError:
        return _is_ipv6(candidate)
    return True


_MAC: Final = r"(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}|(?:[0-9A-Fa-f]{2}-){5}[0-9A-Fa-f]{2}|[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}"
DETECTORS: Final[tuple[Detector, ...]] = (
    Detector("IPV4", r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]", _ipv4),
    Detector(
        "IPV6",
        r"[0-9A-Fa-f]{1,4}:[0-9A-Fa-f]{0,4}:[0-9A-Fa-f]{0,4}:|::[0-9A-Fa-f]|[0-9A-Fa-f]::|[^0-9A-Za-z_:]::[^0-9A-Za-z_:]",
        _ipv6,
    ),
    shape(
        "MAC",
        _MAC,
        _mac,
        trigger=r"[0-9A-Fa-f]{2}[:\-][0-9A-Fa-f]{2}[:\-][0-9A-Fa-f]{2}[:\-][0-9A-Fa-f]{2}[:\-]|[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}",
    ),
)
