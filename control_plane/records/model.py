"""Rows and what is known about them: which tables there are, what was counted, what masking did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from control_plane.foundation.identifiers import AgentId
from control_plane.tracepoints.model import Accounting

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
