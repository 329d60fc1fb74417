"""Rows and what is known about them: which tables there are, what was counted, what masking did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from control_plane.foundation.identifiers import AgentId

Row = Mapping[str, Any]


@dataclass(frozen=True)
class TracepointFacts:
    """What this step must know of a tracepoint: whose batches to take, into which table, and when no more will come."""

    table: str
    table_version: int
    agents: frozenset[AgentId]  # the hosts it was sealed for
    ended: bool  # no host runs it any more, as far as is known
    end_reason: str = ""


@dataclass(frozen=True)
class Source:
    """A tracepoint that writes into a table, as the rules about reading see it: what it is of, and where it was aimed."""

    tracepoint: str
    template: str
    service: str | None
    labels: Mapping[str, str]


@dataclass(frozen=True)
class Accounting:
    """`hits = delivered + filtered + sampled_out + throttled + expired + sum(lost)`, summed over hosts."""

    hits: int = 0
    delivered: int = 0
    filtered: int = 0
    sampled_out: int = 0
    throttled: int = 0
    expired: int = 0
    lost: Mapping[str, int] = field(default_factory=dict)

    @property
    def adds_up(self) -> bool:
        parts = self.delivered + self.filtered + self.sampled_out + self.throttled + self.expired
        return self.hits == parts + sum(self.lost.values())

    def __add__(self, other: Accounting) -> Accounting:
        reasons = sorted({*self.lost, *other.lost})
        return Accounting(
            hits=self.hits + other.hits,
            delivered=self.delivered + other.delivered,
            filtered=self.filtered + other.filtered,
            sampled_out=self.sampled_out + other.sampled_out,
            throttled=self.throttled + other.throttled,
            expired=self.expired + other.expired,
            lost={reason: self.lost.get(reason, 0) + other.lost.get(reason, 0) for reason in reasons},
        )


@dataclass(frozen=True)
class Masked:
    """What one rule did to one column, over all batches."""

    column: str
    rule: str
    action: str
    values: int
    hidden: int


@dataclass(frozen=True)
class Column:
    name: str
    type: str  # of Arrow, as the newest batch had it


@dataclass(frozen=True)
class Table:
    """One version of a table. `evicted` rows were stored once and had to make room."""

    name: str
    version: int
    columns: tuple[Column, ...]
    rows: int
    evicted: int
    created_at: datetime
    changed_at: datetime


@dataclass(frozen=True)
class Place:
    """Between two rows: after `index` rows of the batch at `position`, in the order of arrival."""

    position: int = 0
    index: int = 0


@dataclass(frozen=True)
class Answer:
    """Rows in the order of arrival, the newest last, and what was counted. `more` rows come after `place`."""

    rows: tuple[Row, ...]
    place: Place
    more: bool
    accounting: Accounting
    masking: tuple[Masked, ...]
