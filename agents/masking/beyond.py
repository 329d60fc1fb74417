"""Texts that were captured past their limit: what lies beyond is looked at, so that an entity is seen whole, and never shown.

    limit      bytes of UTF-8 (or characters of hex) that may be shown
    captured   bytes that there are at most: a text of so many goes on, and its end is judged by `tails`

Decoding marks the field (`agents.decoding.fields.BEYOND_LIMIT`). Neither a result, a length, nor a receipt tells of the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from agents.decoding.fields import BEYOND_LIMIT
from agents.masking.detectors.model import Span

CHARACTER: Final = 3  # bytes of a character that may be missing at the end of what was captured
_REPLACED: Final = "\ufffd"  # a text with one has no bytes beyond: decoding left them out


@dataclass(frozen=True)
class Beyond:
    limit: int
    captured: int

    def longer(self, array: pa.Array) -> npt.NDArray[np.bool_]:
        """Which texts of a string array go beyond the limit."""
        found = _flags(pc.greater(pc.binary_length(array), self.limit))
        if found.any():
            found &= ~_flags(pc.match_substring(array, _REPLACED))
        return found

    def goes_on(self, text: str) -> bool:
        """Whether even what was captured is not the whole text."""
        return len(text.encode("utf-8", "surrogatepass")) > self.captured - CHARACTER - 1

    def clipped(self, text: str) -> str:
        return text[: self._end(text)]

    def shown(self, text: str, spans: list[Span]) -> str:
        """The text up to its limit with the word of each span that begins before it."""
        end = self._end(text)
        parts: list[str] = []
        at = 0
        for span in spans:
            if span.start >= end:
                break
            parts += [text[at : span.start], f"<{span.kind}>"]
            at = span.end
        return "".join((*parts, text[at : max(at, end)]))

    def clip(self, array: pa.Array, longer: npt.NDArray[np.bool_]) -> pa.Array:
        """The array with those texts at their limit."""
        if not longer.any():
            return array
        clipped = [self.clipped(text) for text in array.filter(pa.array(longer)).to_pylist()]
        return pc.replace_with_mask(array, pa.array(longer), pa.array(clipped, array.type))

    def _end(self, text: str) -> int:
        return len(text.encode("utf-8", "surrogatepass")[: self.limit].decode("utf-8", "ignore"))


def beyond_of(part: pa.Field) -> Beyond | None:
    """As decoding marked the field. Raises ValueError for a mark that is none: then the column is hidden."""
    mark: bytes | None = (part.metadata or {}).get(BEYOND_LIMIT)
    if mark is None:
        return None
    limit, captured = (int(number) for number in mark.split())
    return Beyond(limit, captured)


def unmarked(metadata: Any) -> dict[bytes, bytes]:
    """A field's metadata without the mark, which is nobody's business outside."""
    return {key: value for key, value in (metadata or {}).items() if key != BEYOND_LIMIT}


def _flags(array: Any) -> npt.NDArray[np.bool_]:
    flags: npt.NDArray[np.bool_] = array.fill_null(fill_value=False).to_numpy(zero_copy_only=False).astype(bool)
    return flags
