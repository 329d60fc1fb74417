"""A card that nobody has, known to both ends: planted in front of masking once a minute, it must come out hidden.

Its digits follow from the tracepoint and the minute, so that it never has to be sent along. Agents plant it in their own
rows (`agents.stages.canary`), the control plane looks for it in what arrives (`control_plane.records.canaries`).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Mapping
from typing import Final

PERIOD_SECONDS: Final = 60
ISSUER: Final = "4"  # the prefix of Visa: sixteen digits with a Luhn check digit (ISO/IEC 7812-1)
IN_CLEAR: Final = 12  # digits in a row that no rule shows: the first six and the last four are what `partial` may leave


def minute_of(unix_seconds: float | None = None) -> int:
    """The number of the period that holds now, or `unix_seconds`."""
    return int(time.time() if unix_seconds is None else unix_seconds) // PERIOD_SECONDS


def card(tracepoint_id: str, minute: int) -> str:
    """Sixteen digits."""
    seed = hashlib.blake2b(f"{tracepoint_id}:{minute}".encode(), digest_size=8, person=b"probegate-canary").digest()
    body = ISSUER + f"{int.from_bytes(seed) % 10**14:014}"
    return body + str(_check_digit(body))


def shows(text: str, planted: str) -> bool:
    """Whether `text` gives the card away, whatever stands between its digits."""
    digits = "".join(letter for letter in text if letter.isdecimal())
    return any(planted[start : start + IN_CLEAR] in digits for start in range(len(planted) - IN_CLEAR + 1))


def given_away(columns: Mapping[str, Iterable[object]], planted: str) -> tuple[str, ...]:
    """The names of the columns that show it."""
    return tuple(name for name, values in columns.items() if any(shows(str(value), planted) for value in values))


def _check_digit(body: str) -> int:
    """Luhn's: ISO/IEC 7812-1, annex B."""
    doubled = (int(digit) * (2 - place % 2) for place, digit in enumerate(reversed(body)))
    return -sum(number - 9 * (number > 9) for number in doubled) % 10
