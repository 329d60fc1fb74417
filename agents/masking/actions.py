"""The words that stand for hidden values, the last four characters, and the tenant's keyed hash."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

REDACTED: Final = "<REDACTED>"
DROPPED: Final = "<DROPPED>"  # a value that should never have been read
UNSCANNED: Final = "<UNSCANNED>"  # a value that could not be masked: hidden, and counted

MIN_KEY: Final = 32  # bytes: HMAC-SHA256 is as strong as its output
TOKEN_BYTES: Final = 16  # 10^9 values collide with odds of 1.5e-21
MIN_FOR_LAST4: Final = 8  # characters: of a shorter value four would show half or more
SHOWN: Final = 4


class UnusableKey(Exception):
    """The rule asks for a hash and brings no key that could make one."""


def last4(value: str, *, cut: bool) -> str:
    """`****1234`; nothing is shown of a short value, nor of a cut one, whose last characters are not the last."""
    return "****" if cut or len(value) < MIN_FOR_LAST4 else "****" + value[-SHOWN:]


class Tokens:
    """Values -> tokens that join across hosts and columns, as long as the key's epoch does."""

    def __init__(self, key: bytes, key_id: str) -> None:
        if len(key) < MIN_KEY or not key_id:
            raise UnusableKey(f"expected a key of at least {MIN_KEY} bytes with an id, got {len(key)} and {key_id!r}")
        self._mac = hmac.new(key, digestmod=hashlib.sha256)
        self._prefix = f"hmac:{key_id}:"

    def token(self, kind: str, value: str, *, cut: bool = False) -> str:
        """HMAC-SHA256 over kind and value, so that the integer 1 and the text "1" differ; 128 bits of it in hex."""
        mac = self._mac.copy()
        mac.update(f"probegate/mask/v1\0{kind}{'/cut' if cut else ''}\0".encode())
        mac.update(value.encode("utf-8", "surrogatepass"))
        return self._prefix + mac.digest()[:TOKEN_BYTES].hex()
