"""The words that stand for hidden values, what may stay of a value, and the tenant's keyed tokens."""

from __future__ import annotations

import hashlib
import math
from typing import Final

REDACTED: Final = "<REDACTED>"
DROPPED: Final = "<DROPPED>"  # a value that should never have been read
UNSCANNED: Final = "<UNSCANNED>"  # a value that could not be masked: hidden, and counted
HIDDEN: Final = "****"  # in a partial value, however many characters it stands for

MIN_KEY: Final = 32  # bytes: a token is as hard to turn back as its key
MAX_KEY: Final = 64  # bytes: BLAKE2b takes no more (RFC 7693, 2.1)
TOKEN_BYTES: Final = 16  # 10^9 values collide with odds of 1.5e-21
MIN_HIDDEN: Final = 4  # characters that a partial value hides at least; a card with its BIN and last four hides as many
MORE: Final = "+"  # behind a length or a count: the value was cut, there is more of it
_PURPOSE: Final = b"probegate/mask/2"  # BLAKE2b's personalisation, 16 bytes


class UnusableKey(Exception):
    """The rule asks for tokens and brings no key that could make one."""


def partial(value: str, first: int, last: int, *, cut: bool) -> str:
    """`411111****1111`; nothing of a value that would show more than three quarters, no end of one whose end is missing."""
    hidden = len(value) - first - last
    if hidden < max(MIN_HIDDEN, math.ceil(len(value) / 4)):
        return HIDDEN
    return value[:first] + HIDDEN + ("" if cut or not last else value[-last:])


def truncated(shown: str, kept: int) -> str:
    """Of a text that was masked before: a cut through what was found shows nothing of it."""
    return shown if len(shown) <= kept else shown[:kept] + "\N{HORIZONTAL ELLIPSIS}"


def bucket(value: float, width: int) -> str:
    """The half-open range that holds the number."""
    if not math.isfinite(value):
        return REDACTED
    low = math.floor(value / width) * width if isinstance(value, float) else value // width * width
    return f"[{low},{low + width})"


def counted(items: int, *, cut: bool = False) -> str:
    return f"<COUNT:{items}{MORE if cut else ''}>"


class Tokens:
    """Values -> tokens that join across hosts and columns, as long as the key's epoch does."""

    def __init__(self, key: bytes, key_id: str) -> None:
        if not MIN_KEY <= len(key) <= MAX_KEY or not key_id:
            raise UnusableKey(f"expected a key of {MIN_KEY} to {MAX_KEY} bytes with an id, got {len(key)}, {key_id!r}")
        self._hash = hashlib.blake2b(key=key, digest_size=TOKEN_BYTES, person=_PURPOSE)
        self._prefix = f"token:{key_id}:"

    def token(self, kind: str, value: str, *, cut: bool = False) -> str:
        """Keyed BLAKE2b over kind and value, so that the integer 1 and the text "1" differ."""
        state = self._hash.copy()
        state.update(f"{kind}{'/cut' if cut else ''}\0".encode())
        state.update(value.encode("utf-8", "surrogatepass"))
        return self._prefix + state.hexdigest()
