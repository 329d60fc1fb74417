"""Where in the record things go: allocation of data and status bytes, under one bound.

Used by `plan` and `plan_values`. Alternatives of which one runs (the types an interface may hold) share their bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from agents.absence import Absent, Reason
from agents.compiler.layout import Guards

# One hit writes this much at most: the longest time a hit may take, and 256 records still fit the largest ring.
MAX_RECORD: Final = 32 << 10
STATUS_CHUNK: Final = 8  # status bytes come by eights, so that one store makes them UNREAD


class RecordTooLarge(Exception):
    """The captures need more than MAX_RECORD bytes."""


class Space:
    """A growing record. Offsets handed out never overlap, except between `fork`s of one space."""

    def __init__(self, start: int) -> None:
        self.end = start
        self.chunks: list[int] = []  # where status bytes are, to be zeroed
        self._left = 0

    def take(self, size: int, align: int = 8) -> int:
        """`size` bytes, aligned. Raises RecordTooLarge."""
        offset = -(-self.end // align) * align
        self.end = offset + size
        if self.end > MAX_RECORD:
            raise RecordTooLarge
        return offset

    def status(self) -> int:
        """One status byte."""
        if not self._left:
            self.chunks.append(self.take(STATUS_CHUNK))
            self._left = STATUS_CHUNK
        self._left -= 1
        return self.chunks[-1] + STATUS_CHUNK - 1 - self._left

    def fork(self) -> Space:
        """An alternative that begins where this one ends. Call `join` with all of them."""
        return Space(self.end)

    def join(self, forks: list[Space]) -> None:
        self.end = max([self.end, *(fork.end for fork in forks)])


@dataclass(frozen=True)
class Segment:
    """Bytes [low, high) of a value are in the record from `offset` on when all `guards` are OK, or are absent."""

    low: int
    high: int
    offset: int
    guards: Guards = ()
    absent: Absent | None = None


@dataclass(frozen=True)
class Block:
    """A value's bytes as they lie in the record, ordered by `low`."""

    segments: tuple[Segment, ...]

    def find(self, low: int, size: int) -> tuple[int, Guards] | Absent:
        """The record offset of bytes [low, low + size), contiguous there, and their guards; or why they are not there."""
        found: list[Segment] = []
        at = low
        for segment in self.segments:
            if segment.low <= at < segment.high:
                found.append(segment)
                at = segment.high
                if at >= low + size:
                    break
        absent = next((segment.absent for segment in found if segment.absent is not None), None)
        if absent is not None:
            return absent
        if at < low + size or not found:
            return Absent(Reason.NO_LOCATION, "the debug information says of a part of it only where it is")
        if len({segment.offset - segment.low for segment in found}) != 1:
            return Absent(Reason.UNSUPPORTED_LOCATION, "its bytes are in places that do not follow one another")
        guards = tuple(dict.fromkeys(guard for segment in found for guard in segment.guards))
        return found[0].offset - found[0].low + low, guards

    def guards_of_all(self) -> Guards:
        """The guards that every byte of the value shares."""
        if not self.segments or any(segment.absent is not None for segment in self.segments):
            return ()
        shared = set.intersection(*(set(segment.guards) for segment in self.segments))
        return tuple(guard for guard in self.segments[0].guards if guard in shared)
