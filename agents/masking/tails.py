"""Where the end of a cut value must be hidden: an entity may have begun there, and no detector knows half of one.

A card number that was cut fails its check digit, an address that was cut has no domain. So the last word of a cut text
goes, and before it whatever could be the beginning of something that is written with spaces: numbers, accounts, dates.
"""

from __future__ import annotations

import re
from typing import Final

MAX_TAIL: Final = 128  # characters: the longest entity that is written with spaces, an IBAN, has 42
MAX_WORD: Final = 4096  # a token of a vendor; beyond this the whole text is one word

_WORD: Final = re.compile(r"[^\s\"'<>(){}\[\],;|]+\Z")
_NUMBER: Final = re.compile(r"[+(]{0,2}[0-9][0-9 ().\-/,]*\Z")
_ACCOUNT: Final = re.compile(
    r"(?<![0-9A-Za-z])(?:[A-Za-z]{2}[0-9]{1,2}|[A-Z]{2} [0-9]{1,2}|[A-Z] ?[0-9]{2,})[0-9A-Za-z \-]*\Z"
)
_MONTH: Final = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}"
_DATE: Final = re.compile(
    rf"(?<![0-9A-Za-z])(?:[0-9]{{1,2}}(?:st|nd|rd|th)?[ ]+{_MONTH}\.?,?[ ]*[0-9]{{0,4}}"
    rf"|{_MONTH}\.?[ ]+[0-9]{{1,2}}[a-z]{{0,2}},?[ ]*[0-9]{{0,4}}|[0-9]{{1,2}}(?:st|nd|rd|th)?[ ]+[A-Za-z]{{1,9}})\Z",
    re.IGNORECASE,
)
_PLACE: Final = re.compile(r"-?[0-9]{1,3}\.[0-9]+[ ]?,?[ ]?-?[0-9.]*\Z")


def tail_start(text: str) -> int:
    """The offset from which a cut text must not be shown; `len(text)` when it ends between words."""
    window = max(0, len(text) - MAX_TAIL)
    start = len(text)
    if (word := _WORD.search(text, max(0, len(text) - MAX_WORD))) is not None:
        start = word.start()
    for pattern in (_NUMBER, _ACCOUNT, _DATE, _PLACE):
        if found := pattern.search(text, window):
            start = min(start, found.start())
    return start
