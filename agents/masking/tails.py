"""Where the end of a cut value must be hidden: an entity may have begun there, and no detector knows half of one.

A card number that was cut fails its check digit, an address that was cut has no domain. So the last word of a cut
text goes, and before it whatever could be the beginning of a number or an account that is written with spaces.
"""

from __future__ import annotations

import re
from typing import Final

MAX_TAIL: Final = 96  # characters: the longest entity that is written with spaces, an IBAN, has 42

_BETWEEN_WORDS: Final = re.compile(r"[^\w.+\-%@]")
_NUMBER: Final = re.compile(r"[+(]{0,2}[0-9][0-9 ().\-/]*\Z")
_ACCOUNT: Final = re.compile(r"\b[A-Za-z]{2}[0-9]{2}[0-9A-Za-z \-]*\Z")


def tail_start(text: str) -> int:
    """The offset from which a cut text must not be shown; `len(text)` when it ends between words."""
    start = window = max(0, len(text) - MAX_TAIL)
    for match in _BETWEEN_WORDS.finditer(text, window):
        start = match.end()
    for pattern in (_NUMBER, _ACCOUNT):
        if found := pattern.search(text, window):
            start = min(start, found.start())
    return start
