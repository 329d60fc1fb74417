"""One value in the form that its token is made of: written differently, the same card, address or number joins.

A value that is one entity as a whole gets that entity's kind as its domain, whatever type held it: the card in an
int64 of one service and the card with spaces in a string of another give the same token. Anything else keeps the kind
of its type, in Unicode's normal form.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from ipaddress import ip_address
from typing import Final

from agents.masking.entities import spans_of
from agents.masking.normalising import normalise

MAX_ENTITY: Final = 320  # characters: the longest e-mail address (RFC 5321); what is longer is a text


def joined(value: str, kind: str, vouched: frozenset[str]) -> tuple[str, str]:
    """Domain and normalised value."""
    text = normalise(value).text.strip()
    if len(text) <= MAX_ENTITY:
        whole = spans_of(text, False, None, vouched)
        if len(whole) == 1 and (whole[0].start, whole[0].end) == (0, len(text)):
            return whole[0].kind, _NORMAL.get(whole[0].kind, _compact)(text)
    return kind, text


def _compact(text: str) -> str:
    """Letters and digits in upper case: how numbers of people, accounts and cards are compared."""
    return "".join(character for character in text if character.isalnum()).upper()


def _address(text: str) -> str:
    """RFC 5321 lets the local part differ by case; no provider of note does."""
    return text.replace("%40", "@").lower()


def _phone(text: str) -> str:
    digits = "".join(character for character in text if character.isdigit())
    return digits.removeprefix("00") if text.startswith("00") else digits


def _ip(text: str) -> str:
    with suppress(ValueError):
        return str(ip_address(text.partition("/")[0]))
    return text.lower()


def _as_written(text: str) -> str:
    return text


_NORMAL: Final[Mapping[str, Callable[[str], str]]] = {
    "EMAIL": _address,
    "PHONE": _phone,
    "IPV4": _ip,
    "IPV6": _ip,
    # Base58 and secrets mean their case.
    **dict.fromkeys(("BITCOIN_ADDRESS", "JWT", "SECRET", "PASSWORD", "BEARER_TOKEN", "BASIC_AUTH"), _as_written),
}
