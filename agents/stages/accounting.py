"""What became of every hit: kernel counters and the agent's own losses in, one sum that adds up out.

    hits = delivered + filtered + sampled out + throttled + expired + lost(reason)

It stands in every batch, in `try`'s last line and in the status of a tracepoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from agents.compiler.model import Counter

RING_FULL: Final = "ring_full"  # the agent drained slower than the target hit
STASH_FULL: Final = "stash_full"  # too many calls in flight at once
NO_RETURN: Final = "no_return"  # entered, never seen to return: still running at the end, panic, longjmp, exception
WITHHELD: Final = "withheld"  # masked by rules that had let a planted card out


@dataclass(frozen=True)
class Accounting:
    hits: int = 0
    delivered: int = 0
    filtered: int = 0
    sampled_out: int = 0
    throttled: int = 0
    expired: int = 0
    lost: Mapping[str, int] = field(default_factory=dict)  # reason -> hits; only reasons that happened

    def __add__(self, other: Accounting) -> Accounting:
        return Accounting(
            self.hits + other.hits,
            self.delivered + other.delivered,
            self.filtered + other.filtered,
            self.sampled_out + other.sampled_out,
            self.throttled + other.throttled,
            self.expired + other.expired,
            merged(self.lost, other.lost),
        )

    def withheld(self, rows: int) -> Accounting:
        """These rows were counted as delivered, and then not sent."""
        lost = merged(self.lost, {WITHHELD: rows} if rows else {})
        return replace(self, delivered=self.delivered - rows, lost=lost)

    @property
    def outcomes(self) -> int:
        """The hits whose outcome is known."""
        known = self.delivered + self.filtered + self.sampled_out + self.throttled + self.expired
        return known + sum(self.lost.values())

    @property
    def adds_up(self) -> bool:
        return self.hits == self.outcomes


def account(counters: Mapping[Counter, int], drained: int, dropped: Mapping[str, int], in_flight: int) -> Accounting:
    """The accounting of one ended probe: nothing is in the ring any more, and what is in flight will not be seen.

    `drained` counts the records taken out of the ring, `dropped` those of them that did not become rows.
    """
    lost = merged(
        dropped,
        {
            RING_FULL: counters[Counter.LOST_RING_FULL],
            STASH_FULL: counters[Counter.LOST_STASH_FULL],
            NO_RETURN: counters[Counter.LOST_NO_RETURN] + in_flight,
        },
    )
    return Accounting(
        hits=counters[Counter.HITS],
        delivered=drained - sum(dropped.values()),
        filtered=counters[Counter.FILTERED],
        sampled_out=counters[Counter.SAMPLED_OUT],
        throttled=counters[Counter.THROTTLED],
        expired=counters[Counter.EXPIRED],
        lost=lost,
    )


def account_so_far(counters: Mapping[Counter, int], drained: int, dropped: Mapping[str, int]) -> Accounting:
    """The accounting of a running probe: calls in flight and records still in the ring have no outcome yet.

    They are left out of `hits` too, since the counters move while they are read; the final accounting has all of them.
    """
    known = account(counters, drained, dropped, in_flight=0)
    return Accounting(
        known.outcomes,
        known.delivered,
        known.filtered,
        known.sampled_out,
        known.throttled,
        known.expired,
        known.lost,
    )


def merged(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    both = {reason: one.get(reason, 0) + other.get(reason, 0) for reason in {*one, *other}}
    return {reason: count for reason, count in sorted(both.items()) if count}
