"""E-mail addresses (RFC 5321, RFC 6531): an at sign with a local part before it and a domain name behind it.

Works outward from each at sign, at most 64 and 255 characters (RFC 5321, 4.5.3.1), so no text can make it slow.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from agents.masking.detectors.model import Detector, Span

MAX_LOCAL: Final = 64
MAX_DOMAIN: Final = 255

_AT: Final = re.compile(r"@|%40")  # as it is, or in a URL
_LOCAL_REVERSED: Final = re.compile(r"""[\w!#$%&'*+/=?^`{|}~\-]++(?:\.[\w!#$%&'*+/=?^`{|}~\-]++)*+""")
_QUOTED_REVERSED: Final = re.compile(r'"[^"\n]{1,64}"')
_DOMAIN: Final = re.compile(r"(?:[^\W_](?:[\w\-]{0,61}[^\W_])?\.)+(?:xn--[a-zA-Z0-9\-]{2,59}|[^\W\d_]{2,24})")
_ADDRESS_LITERAL: Final = re.compile(r"\[(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}|IPv6:[0-9A-Fa-f:.]{2,45})\]")
# What may stand in a local part but is in practice what stands before one: key=value, paths, URL queries.
_BEFORE: Final = re.compile(r"^.*[=/?&|{}'`]")

# systemd's instances are written like addresses (getty@tty1.service), and none of these is a top-level domain.
_UNITS: Final = tuple(f".{unit}" for unit in "service socket target timer mount automount swap slice scope".split())  # noqa: SIM905


def _find(text: str, _vouched: bool) -> Iterator[Span]:
    for at in _AT.finditer(text):
        start = _local_start(text, at.start())
        end = _domain_end(text, at.end())
        if start is not None and end is not None:
            yield Span(start, end, "EMAIL")


def _local_start(text: str, at: int) -> int | None:
    reversed_text = text[max(0, at - MAX_LOCAL - 2) : at][::-1]
    quoted = _QUOTED_REVERSED.match(reversed_text)
    if quoted:
        return at - quoted.end()
    local = _LOCAL_REVERSED.match(reversed_text)
    if local is None:
        return None
    start = at - min(local.end(), MAX_LOCAL)
    before = _BEFORE.match(text[start:at])
    inner = start + before.end() if before else start
    return inner if inner < at else start


def _domain_end(text: str, start: int) -> int | None:
    domain = _DOMAIN.match(text, start, start + MAX_DOMAIN) or _ADDRESS_LITERAL.match(text, start, start + MAX_DOMAIN)
    return domain.end() if domain and not domain.group().endswith(_UNITS) else None


DETECTOR: Final = Detector("EMAIL", r"@|%40", _find)
