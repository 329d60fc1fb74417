"""A tenant's own detectors over the values of one batch: RE2, besides the platform's one pass, and only where a tenant has some.

They look where the platform's do: in the text as it stands, without what is invisible, behind escapes, inside base64 and
hex two levels deep. Whatever there is no time for is hidden.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from agents.masking.actions import UNSCANNED
from agents.masking.budget import Budget
from agents.masking.detectors.model import Span
from agents.masking.normalising import has_invisible
from agents.masking.scanning import BASE64, ESCAPED, HEX, UNUSUAL, scanner
from agents.masking.views import MAX_LEVELS, View, base64_words, hex_words, normalised, unescaped
from language.masking_patterns import ValuePattern, pattern_set


class OwnPatterns:
    """`patterns` were admitted, so they compile. Raises BadRegex where they do not: nothing of the column is shown."""

    def __init__(self, patterns: tuple[ValuePattern, ...], budget: Budget | None = None) -> None:
        self._set = pattern_set(patterns)
        self._budget = budget or Budget()

    def hits(self, text: str) -> bool:
        """Whether the text as it stands holds something."""
        return self._budget.over() or self._set.hits(text)

    def spans(self, text: str, bits: int, *, cut: bool) -> list[Span]:
        """`bits` as the scanner gave them for this text: which other views of it there are."""
        if self._budget.over():
            return [Span(0, len(text), UNSCANNED.strip("<>"))]
        found = list(self._in_view(View(text), bits, MAX_LEVELS))
        if bits & UNUSUAL:
            for gap in ("", " ") if has_invisible(text) else ("",):
                view = normalised(text, gap)
                found += self._in_view(view, scanner().bits_of(view.text), MAX_LEVELS)
        if cut and (start := self._set.tail(text)) < len(text):
            found.append(Span(start, len(text), "CUT"))
        return found

    def in_bytes(self, value: str, *, cut: bool) -> list[Span]:
        """The same of binary data in hex: what its text would hide hides the whole value."""
        data = bytes.fromhex(value)
        texts = [data.decode(encoding, "replace") for encoding in ("utf-8", "latin-1")]
        for text in texts:
            if spans := self.spans(text, scanner().bits_of(text), cut=cut):
                return [Span(0, len(value), spans[0].kind)]
        return []

    def counted(self, before: pa.Array, shown: pa.Array) -> Iterator[tuple[ValuePattern, int]]:
        """In how many values each pattern's word came to stand. `before` may be of numbers, `shown` is of texts then."""
        if before is shown or not (pa.types.is_string(shown.type) or pa.types.is_large_string(shown.type)):
            return
        for pattern in self._set.patterns:
            word = f"<{pattern.word}>"
            count = _holding(shown, word) - (_holding(before, word) if before.type == shown.type else 0)
            if count > 0:
                yield pattern, count

    def _in_view(self, view: View, bits: int, levels: int) -> Iterator[Span]:
        for start, end, pattern in self._set.spans(view.text, self._budget.over):
            yield Span(*view.original(start, end), pattern.word)
        if not levels:
            return
        if bits & ESCAPED and (inner := unescaped(view)) is not None:
            yield from self._in_view(inner, scanner().bits_of(inner.text), levels - 1)
        for sign, words in ((BASE64, base64_words), (HEX, hex_words)):
            for start, end, text in words(view) if bits & sign else ():
                if (inside := next(self._in_view(View(text), scanner().bits_of(text), levels - 1), None)) is not None:
                    yield Span(*view.original(start, end), inside.kind)


def own_patterns(patterns: tuple[ValuePattern, ...], budget: Budget | None = None) -> OwnPatterns | None:
    """None, and no pass at all, for a tenant without."""
    return OwnPatterns(patterns, budget) if patterns else None


def _holding(array: pa.Array, word: str) -> int:
    return int(pc.sum(pc.match_substring(array, word)).as_py() or 0)
