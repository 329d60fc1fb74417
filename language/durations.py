"""Durations as people write them, `1h30m`, `90s`, `500ms`: exact, or refused.

Junk around one, a fraction, a sign, a unit twice or out of order is an error: a TTL that is read as something else
than was meant keeps a probe in production.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

from language.errors import TemplateError

MAX_TEXT: Final = 40  # characters; the longest sensible one has five parts
MAX_DURATION: Final = timedelta(days=366)  # far above every cap, far below overflow
_UNITS: Final = {
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
}
_WHOLE: Final = re.compile(r"(?:([0-9]+)d)?(?:([0-9]+)h)?(?:([0-9]+)m)?(?:([0-9]+)s)?(?:([0-9]+)ms)?", re.ASCII)


def parse(text: str) -> timedelta:
    """The duration. Raises TemplateError: what came and how it is written instead."""
    match = _WHOLE.fullmatch(text) if 0 < len(text) <= MAX_TEXT else None
    if match is None:
        raise TemplateError(
            f"{text[:MAX_TEXT]!r} is not a duration: write whole numbers with the units d, h, m, s, ms, "
            "the largest first and nothing around them, like 10m, 90s, 1h30m or 500ms"
        )
    total = timedelta()
    for count, unit in zip(match.groups(), _UNITS.values(), strict=True):
        if count is not None:
            if len(count) > 8:  # before the sum overflows
                raise TemplateError(f"{text!r} is longer than {render(MAX_DURATION)}")
            total += int(count) * unit
    if total > MAX_DURATION:
        raise TemplateError(f"{text!r} is longer than {render(MAX_DURATION)}")
    return total


def render(duration: timedelta) -> str:
    """The shortest text that `parse` reads as this duration, in whole milliseconds; `0s` for none."""
    rest = duration
    parts = []
    for name, unit in _UNITS.items():
        count, rest = divmod(rest, unit)
        if count:
            parts.append(f"{count}{name}")
    return "".join(parts) or "0s"
