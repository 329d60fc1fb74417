"""One text -> the spans in it that must be hidden, in offsets of the text as it came.

Each view of the text (`views`) goes through the detectors that its triggers ask for; what a view shows is hidden where
it stands in the original. Of a cut text its end is judged by `tails` as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from agents.masking.detectors import ALL, NONE, bits_of, find, merged
from agents.masking.detectors.model import Span
from agents.masking.normalising import has_invisible
from agents.masking.own_patterns import OwnPatterns
from agents.masking.scanning import BASE64, ESCAPED, EVERYTHING, HEX, UNUSUAL, scanner
from agents.masking.tails import tail_start
from agents.masking.views import MAX_LEVELS, View, base64_words, hex_words, normalised, unescaped

CUT: Final = "<CUT>"
MIN_HEX: Final = 12  # characters: six bytes, the shortest entity there is ("a@b.io")

_HEX: Final = re.compile(r"(?:[0-9a-f]{2})+")


def shown_of(
    value: str, cut: bool, bits: int | None = None, vouched: frozenset[str] = NONE, own: OwnPatterns | None = None
) -> str:
    """What may be shown of one text; `cut` when its end is missing."""
    spans = spans_of(value, cut, bits, vouched, own)
    return shown_with(value, spans) if spans else value


def shown_bytes(value: str, cut: bool, vouched: frozenset[str] = NONE, own: OwnPatterns | None = None) -> str:
    """The same of binary data, which comes and is shown in hex: whatever it may spell is looked at."""
    spans = _in_hex(value, vouched, cut=cut) or (own.in_bytes(value, cut=cut) if own else [])
    spans = spans or spans_of(value, cut, None, vouched, own)
    return shown_with(value, spans) if spans else value


def shown_with(value: str, spans: list[Span]) -> str:
    """The text with the word of each span in its place."""
    if len(spans) == 1:
        start, end, kind = spans[0]
        return f"{value[:start]}<{kind}>{value[end:]}"
    shown: list[str] = []
    at = 0
    for span in spans:
        shown += [value[at : span.start], f"<{span.kind}>"]
        at = span.end
    return "".join((*shown, value[at:]))


def spans_of(
    value: str, cut: bool, bits: int | None = None, vouched: frozenset[str] = NONE, own: OwnPatterns | None = None
) -> list[Span]:
    """`bits` as the scanner gave them for this text; None to ask it."""
    if bits is None:
        bits = scanner().bits_of(value)
    spans = _platform_spans(value, cut, bits, vouched)
    return _joined(spans, own.spans(value, bits, cut=cut)) if own else spans


def _platform_spans(value: str, cut: bool, bits: int, vouched: frozenset[str]) -> list[Span]:
    if vouched:
        bits |= bits_of(vouched)
    view = View(value)
    if bits & UNUSUAL:
        view = normalised(value)
        bits |= scanner().bits_of(view.text)
    spans = _in_view(view, bits, vouched)
    if bits & UNUSUAL and has_invisible(value):
        apart = normalised(value, " ")
        spans = _joined(spans, _in_view(apart, scanner().bits_of(apart.text), vouched))
    if bits & ESCAPED:
        spans = _joined(spans, _in_escapes(view, vouched))
    if bits & BASE64:
        spans = _joined(spans, _in_base64(view, spans))
    if bits & HEX and len(value) >= MIN_HEX and _HEX.fullmatch(value) and not (cut and value.isdecimal()):
        return _joined(spans, _in_hex(value, vouched, cut=cut))
    if bits & HEX:
        spans = _joined(spans, _in_words(view, hex_words(view), spans, 1))
    if cut:
        spans = _with_tail(spans, view)
    return spans


def _in_view(view: View, bits: int, vouched: frozenset[str]) -> list[Span]:
    found = find(view.text, bits & ALL, vouched)
    if view.starts is None:
        return found
    return [Span(*view.original(span.start, span.end), span.kind) for span in found]


def _in_escapes(view: View, vouched: frozenset[str]) -> list[Span]:
    found: list[Span] = []
    inner = view
    for _ in range(MAX_LEVELS):
        deeper = unescaped(inner)
        if deeper is None:
            break
        inner = deeper
        bits = scanner().bits_of(inner.text)
        if vouched:
            bits |= bits_of(vouched)
        found += _in_view(inner, bits, vouched)
        if bits & BASE64:
            found += _in_base64(inner, [])
        if bits & HEX:
            found += _in_words(inner, hex_words(inner), [], 1)
        if not bits & ESCAPED:
            break
    return found


def _in_base64(view: View, known: list[Span], level: int = 1) -> list[Span]:
    return _in_words(view, base64_words(view), known, level)


def _in_words(view: View, words: Iterator[tuple[int, int, str]], known: list[Span], level: int) -> list[Span]:
    """The words that hide something once they are decoded, each as a whole."""
    found: list[Span] = []
    for start, end, text in words:
        low, high = view.original(start, end)
        if any(span.start <= low and high <= span.end for span in known):
            continue
        if (kind := _kind_inside(text, level) or _credentials(text)) is not None:
            found.append(Span(low, high, kind))
    return found


def _kind_inside(text: str, level: int, vouched: frozenset[str] = NONE) -> str | None:
    """The kind of the first entity in a decoded text, which may hold escapes and, once more, base64."""
    view = normalised(text)
    bits = scanner().bits_of(view.text)
    wanted = bits_of(vouched) if vouched else 0
    spans = find(view.text, bits & ALL | wanted, vouched)
    if not spans and has_invisible(text):
        apart = normalised(text, " ").text
        spans = find(apart, scanner().bits_of(apart) & ALL | wanted, vouched)
    if not spans and bits & ESCAPED:
        spans = _in_escapes(view, NONE)
    if not spans and bits & BASE64 and level < MAX_LEVELS:
        spans = _in_base64(view, [], level + 1)
    if not spans and bits & HEX and level < MAX_LEVELS:
        spans = _in_words(view, hex_words(view), [], level + 1)
    return spans[0].kind if spans else None


def _credentials(text: str) -> str | None:
    """name:password, which no pattern knows: why else would anybody encode it?"""
    alone = text.count(":") == 1 and text.isprintable() and " " not in text and "/" not in text
    return "BASIC_AUTH" if alone else None


def _in_hex(value: str, vouched: frozenset[str], *, cut: bool) -> list[Span]:
    """Bytes are shown as hex, and may be text: what would be hidden in the text hides the whole value."""
    data = bytes.fromhex(value)
    for encoding in ("utf-8", "latin-1"):
        if (kind := _kind_inside(data.decode(encoding, "replace"), 1, vouched)) is not None:
            return [Span(0, len(value), kind)]
    if cut:
        start = tail_start(data.decode("latin-1"))
        return [] if start == len(data) else [Span(2 * start, len(value), CUT.strip("<>"))]
    return []


def _with_tail(spans: list[Span], view: View) -> list[Span]:
    start = tail_start(view.text)
    if start == len(view.text):
        return spans
    low, high = view.original(start, len(view.text))
    for span in spans:
        if span.end > low:
            low = min(low, span.start)
    return [*(span for span in spans if span.end <= low), Span(low, high, CUT.strip("<>"))]


def _joined(one: list[Span], other: list[Span]) -> list[Span]:
    if not other:
        return one
    return merged(sorted([*one, *other], key=lambda span: (span.start, -span.end)))


__all__ = ["CUT", "EVERYTHING", "shown_of", "spans_of"]
