"""A tracepoint as it is asked for and as it is shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from control_plane.foundation.identifiers import AgentId, SubjectId
from control_plane.templates.model import Review
from control_plane.tracepoints.lifecycle import AgentState, State
from language.model import ParameterScalar, TargetSpec


@dataclass(frozen=True)
class BreakGlass:
    """Why somebody takes the right to run without anybody's yes to the request; see `break_glass`."""

    reason: str
    ticket: str


@dataclass(frozen=True)
class RequestTracepoint:
    """What a requester chooses. Without `version` the approved one is meant; without `ttl` the longest allowed."""

    template: str
    name: str | None = None
    version: int | None = None
    digest: str | None = None
    parameters: Mapping[str, ParameterScalar] = field(default_factory=dict)
    target: TargetSpec = field(default_factory=TargetSpec)
    ttl: timedelta | None = None
    starts_at: datetime | None = None  # else at once
    break_glass: BreakGlass | None = None


@dataclass(frozen=True)
class Accounting:
    """hits = delivered + filtered + sampled_out + throttled + expired + sum(lost), once nothing runs any more."""

    hits: int = 0
    delivered: int = 0
    filtered: int = 0
    sampled_out: int = 0
    throttled: int = 0
    expired: int = 0
    lost: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def total(cls, parts: Iterable[Accounting]) -> Accounting:
        """The sum over agents."""
        every = list(parts)
        reasons = sorted({reason for part in every for reason in part.lost})
        return cls(
            hits=sum(part.hits for part in every),
            delivered=sum(part.delivered for part in every),
            filtered=sum(part.filtered for part in every),
            sampled_out=sum(part.sampled_out for part in every),
            throttled=sum(part.throttled for part in every),
            expired=sum(part.expired for part in every),
            lost={reason: sum(part.lost.get(reason, 0) for part in every) for reason in reasons},
        )

    @property
    def adds_up(self) -> bool:
        parts = self.delivered + self.filtered + self.sampled_out + self.throttled + self.expired
        return self.hits == parts + sum(self.lost.values())

    def document(self) -> dict[str, Any]:
        return {
            "hits": self.hits,
            "delivered": self.delivered,
            "filtered": self.filtered,
            "sampled_out": self.sampled_out,
            "throttled": self.throttled,
            "expired": self.expired,
            "lost": dict(self.lost),
        }


@dataclass(frozen=True)
class AgentStatus:
    """What one agent last said."""

    agent: AgentId
    version: int
    state: AgentState
    detail: str
    end_reason: str
    sites: int
    processes: int
    accounting: Accounting
    updated_at: datetime


@dataclass(frozen=True)
class Rollout:
    """How far a staged roll-out is: `stage` of `stages`, from 1; `agents` so far."""

    state: str
    stage: int
    stages: int
    agents: int
    detail: str


@dataclass(frozen=True)
class Asking:
    """What a request waits for: `needs` people, by what rules, until when; and what was said."""

    digest: str  # what a reviewer says yes to
    needs: int
    why: tuple[str, ...]
    reviews: tuple[Review, ...]
    starts_at: datetime | None
    lapses_at: datetime | None
    processes: int | None  # at most so many without the fleet guard's approval; None: more were asked for


@dataclass(frozen=True)
class Tracepoint:
    """One request that was granted, and what became of it."""

    id: str
    name: str
    version: int
    state: State
    template: str
    template_version: int
    template_digest: str
    table: str
    table_version: int
    columns: tuple[str, ...]
    parameters: Mapping[str, ParameterScalar]
    target: TargetSpec
    ttl: timedelta
    requested_by: SubjectId
    requested_by_name: str
    created_at: datetime
    expires_at: datetime
    ended_at: datetime | None
    end_reason: str
    spec_digest: str
    detail: str
    agents: tuple[AgentStatus, ...]
    asking: Asking
    rollout: Rollout | None = None

    @property
    def accounting(self) -> Accounting:
        return Accounting.total(agent.accounting for agent in self.agents)


@dataclass(frozen=True)
class Page:
    items: tuple[Tracepoint, ...]
    next: str | None  # an opaque cursor
