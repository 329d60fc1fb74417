"""One text as it would be read further on: normalised, unescaped, decoded; with the way back to the original's offsets.

URL and form escapes (`%40`, `+`), JSON and C escapes (`\\u0040`, `\\"`), HTML references, two levels deep. Base64 has no
way back by character: its whole word stands for what is inside.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from agents.masking.normalising import normalise

MAX_LEVELS: Final = 2  # JSON in a form, a form in JSON; deeper nesting is nobody's log line
MAX_DECODED: Final = 64 * 1024  # characters of one value; captures are far shorter

_ESCAPE: Final = re.compile(
    r"(?:%[0-9A-Fa-f]{2})+|\\u[0-9A-Fa-f]{4}|\\x[0-9A-Fa-f]{2}|\\[\"'/\\]|&#(?:[0-9]{1,6}|x[0-9A-Fa-f]{1,5});|\+"
)
_HEX: Final = re.compile(
    r"(?<![0-9A-Za-z])(?:[0-9a-f]{2}){10,}+(?![0-9A-Za-z])|(?<![0-9A-Za-z])(?:[0-9A-F]{2}){10,}+(?![0-9A-Za-z])"
)
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_\-]{8,}={0,2}")
_HEX_ONLY: Final = re.compile(r"[0-9a-f]+|[0-9A-F]+")
_PRINTED: Final = "\r\n\t\0\u200b\u200c\u200d\ufeff\u00ad\u00a0"  # besides those that are: what texts hold unseen
_MIN_PRINTABLE: Final = 0.95  # of decoded characters: what is no text was no base64 of one


@dataclass(frozen=True)
class View:
    """Character i of `text` stands for original[starts[i]:ends[i]]; None: the text is the original itself."""

    text: str
    starts: list[int] | None = None
    ends: list[int] | None = None

    def original(self, start: int, end: int) -> tuple[int, int]:
        if self.starts is None or self.ends is None:
            return start, end
        return self.starts[start], self.ends[end - 1]


def normalised(value: str, gap: str = "") -> View:
    found = normalise(value, gap)
    if found.offsets is None:
        return View(value)
    starts = list(found.offsets[:-1])
    return View(found.text, starts, [start + 1 for start in starts])


def unescaped(view: View) -> View | None:
    """One level of escapes undone; None when there is none."""
    text = view.text[:MAX_DECODED]
    parts: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    at, changed = 0, False
    for match in _ESCAPE.finditer(text):
        decoded = _decoded(match.group())
        if decoded == match.group():
            continue
        changed = True
        for position in range(at, match.start()):
            _copy(view, position, position + 1, starts, ends)
        parts += [text[at : match.start()], decoded]
        width = len(match.group()) // len(decoded) if decoded and len(match.group()) % len(decoded) == 0 else 0
        for index in range(len(decoded)):
            low = match.start() + index * width if width else match.start()
            _copy(view, low, low + width if width else match.end(), starts, ends)
        at = match.end()
    if not changed:
        return None
    for position in range(at, len(text)):
        _copy(view, position, position + 1, starts, ends)
    parts.append(text[at:])
    return _plain(View("".join(parts), starts, ends))


def base64_words(view: View) -> Iterator[tuple[int, int, str]]:
    """Where in the view a word is base64 of a text, and that text."""
    for match in _BASE64.finditer(view.text, 0, MAX_DECODED):
        if (decoded := _from_base64(match.group())) is not None:
            yield match.start(), match.end(), decoded


def hex_words(view: View) -> Iterator[tuple[int, int, str]]:
    """Where in the view a word is hex of a text, and that text."""
    for match in _HEX.finditer(view.text, 0, MAX_DECODED):
        text = bytes.fromhex(match.group()).decode("utf-8", "replace")
        if _printable(text):
            yield match.start(), match.end(), text


def _from_base64(word: str) -> str | None:
    bare = word.rstrip("=")
    if len(bare) % 4 == 1 or _HEX_ONLY.fullmatch(bare) or bare.isdecimal():
        return None
    try:
        raw = base64.b64decode(bare.replace("-", "+").replace("_", "/") + "=" * (-len(bare) % 4), validate=True)
        text = raw.decode()
    except (binascii.Error, ValueError):
        return None
    return text if text and _printable(text) else None


def _printable(text: str) -> bool:
    return sum(character.isprintable() or character in _PRINTED for character in text) >= _MIN_PRINTABLE * len(text)


def _decoded(escape: str) -> str:
    if escape == "+":
        return " "
    if escape[0] == "%":
        return bytes.fromhex(escape.replace("%", "")).decode("utf-8", "replace")
    if escape[0] == "&":
        digits = escape[2:-1]
        code = int(digits[1:], 16) if digits[0] == "x" else int(digits)
        return chr(code) if code < 0x110000 else escape
    return bytes.fromhex(escape[2:].zfill(4)).decode("utf-16-be", "replace") if escape[1] in "ux" else escape[1]


def _copy(view: View, low: int, high: int, starts: list[int], ends: list[int]) -> None:
    start, end = view.original(low, high)
    starts.append(start)
    ends.append(end)


def _plain(view: View) -> View:
    """Normalised once more: full-width digits may have stood behind escapes."""
    inner = normalise(view.text)
    if inner.offsets is None:
        return view
    pairs = [view.original(offset, offset + 1) for offset in inner.offsets[:-1]]
    return View(inner.text, [start for start, _ in pairs], [end for _, end in pairs])
