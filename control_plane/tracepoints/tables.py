"""Tracepoints, what each agent says of them, and the versions of the tables they write to.

What a request waits for stands in the tracepoint's own row; reviews of requests, stages of a roll-out and uses of the
break-glass right have tables of their own. Columns with a server default are from after the first release.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKeyConstraint, Index, LargeBinary, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.foundation.database import Base, UtcDateTime
from control_plane.tracepoints.lifecycle import LIVE

_IS_LIVE = text("state IN ({})".format(", ".join(f"'{state.value}'" for state in LIVE)))


class TracepointRow(Base):
    """`envelope` is the newest that was sealed, wrapped; `fingerprint` is of all that a requester can choose but the TTL."""

    __tablename__ = "tracepoints"
    __table_args__ = (
        # A name means one live tracepoint of its tenant.
        Index("tracepoints_live_name", "tenant", "name", unique=True, sqlite_where=_IS_LIVE, postgresql_where=_IS_LIVE),
        Index("tracepoints_by_age", "tenant", "created_at", "id"),
        Index("tracepoints_by_state", "state", "not_after"),
    )

    tenant: Mapped[str] = mapped_column(String(63), primary_key=True)
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(63))
    version: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(String(20))
    template_name: Mapped[str] = mapped_column(String(63))
    template_version: Mapped[int]
    template_digest: Mapped[str] = mapped_column(String(71))
    fingerprint: Mapped[str] = mapped_column(String(71))
    table_name: Mapped[str] = mapped_column(String(63))
    table_version: Mapped[int]
    columns: Mapped[list[str]] = mapped_column(JSON)
    parameters: Mapped[dict[str, Any]] = mapped_column(JSON)
    target: Mapped[dict[str, Any]] = mapped_column(JSON)
    ttl_ms: Mapped[int] = mapped_column(BigInteger)
    requested_by: Mapped[str] = mapped_column(String(700))
    requested_by_name: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    issued_at: Mapped[datetime] = mapped_column(UtcDateTime)
    not_after: Mapped[datetime] = mapped_column(UtcDateTime)
    stopped_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    end_reason: Mapped[str] = mapped_column(String(40))
    envelope: Mapped[bytes] = mapped_column(LargeBinary)
    spec_digest: Mapped[str] = mapped_column(String(71))
    detail: Mapped[str] = mapped_column(Text, default="", server_default="")  # why it is as it is, for a person
    # The request: `requester` is who asked, as the token said; `request_digest` is of what reviewers say yes to.
    requester: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict, server_default="{}")
    request_digest: Mapped[str] = mapped_column(String(71), default="", server_default="")
    needs: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict, server_default="{}")
    panel: Mapped[dict[str, list[str]]] = mapped_column(JSON, default=dict, server_default="{}")
    starts_at: Mapped[datetime | None] = mapped_column(UtcDateTime, default=None)  # as asked for
    due_at: Mapped[datetime | None] = mapped_column(UtcDateTime, default=None)  # once nobody has to say yes any more
    lapses_at: Mapped[datetime | None] = mapped_column(UtcDateTime, default=None)
    # The fleet guard: `process_cap` is absent where more were approved; `counts` is how many each agent would probe.
    process_cap: Mapped[int | None] = mapped_column(BigInteger, default=None)
    counts: Mapped[dict[str, int]] = mapped_column(JSON, default=dict, server_default="{}")


class TracepointAgentRow(Base):
    """One agent of the audience. `logged` names the events of `version` that the audit log has already."""

    __tablename__ = "tracepoint_agents"
    __table_args__ = (ForeignKeyConstraint(["tenant", "tracepoint_id"], ["tracepoints.tenant", "tracepoints.id"]),)

    tenant: Mapped[str] = mapped_column(String(63), primary_key=True)
    tracepoint_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    agent_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    version: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(String(20))
    detail: Mapped[str] = mapped_column(Text)
    end_reason: Mapped[str] = mapped_column(String(40))
    sites: Mapped[int] = mapped_column(BigInteger)
    processes: Mapped[int] = mapped_column(BigInteger)
    accounting: Mapped[dict[str, Any]] = mapped_column(JSON)
    logged: Mapped[list[str]] = mapped_column(JSON)
    build_ids: Mapped[list[str]] = mapped_column(JSON, default=list)  # of the executables it probes, as the agent says
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)


class TracepointReviewRow(Base):
    """What one person said of one request. The primary key is what makes a login count once."""

    __tablename__ = "tracepoint_reviews"
    __table_args__ = (ForeignKeyConstraint(["tenant", "tracepoint_id"], ["tracepoints.tenant", "tracepoints.id"]),)

    tenant: Mapped[str] = mapped_column(String(63), primary_key=True)
    tracepoint_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    reviewer: Mapped[str] = mapped_column(String(700), primary_key=True)
    reviewer_name: Mapped[str] = mapped_column(String(200))
    verdict: Mapped[str] = mapped_column(String(20))
    digest: Mapped[str] = mapped_column(String(71))
    comment: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(UtcDateTime)


class RolloutRow(Base):
    """A tracepoint that goes out in stages. `stages` names the agents of each; `stage` counts from 0."""

    __tablename__ = "rollouts"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "tracepoint_id"], ["tracepoints.tenant", "tracepoints.id"]),
        Index("rollouts_by_state", "state"),
    )

    tenant: Mapped[str] = mapped_column(String(63), primary_key=True)
    tracepoint_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    stages: Mapped[list[list[str]]] = mapped_column(JSON)
    stage: Mapped[int]
    state: Mapped[str] = mapped_column(String(20))
    soak_ms: Mapped[int] = mapped_column(BigInteger)
    stage_at: Mapped[datetime] = mapped_column(UtcDateTime)
    settled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)  # since when all agents of the stage run it
    detail: Mapped[str] = mapped_column(Text)


class BreakGlassRow(Base):
    """One use of the break-glass right, and what a reviewer said of it afterwards."""

    __tablename__ = "break_glass_uses"
    __table_args__ = (ForeignKeyConstraint(["tenant", "tracepoint_id"], ["tracepoints.tenant", "tracepoints.id"]),)

    tenant: Mapped[str] = mapped_column(String(63), primary_key=True)
    tracepoint_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    subject: Mapped[str] = mapped_column(String(700))
    subject_name: Mapped[str] = mapped_column(String(200))
    reason: Mapped[str] = mapped_column(Text)
    ticket: Mapped[str] = mapped_column(String(200))
    used_at: Mapped[datetime] = mapped_column(UtcDateTime)
    review_by: Mapped[datetime] = mapped_column(UtcDateTime)
    verdict: Mapped[str] = mapped_column(String(10))  # empty: nobody has looked at it yet
    reviewer: Mapped[str] = mapped_column(String(700))
    comment: Mapped[str] = mapped_column(Text)
    reviewed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class NoticeRow(Base):
    """What everybody in a tenant is to know; open until `closed_at`."""

    __tablename__ = "notices"
    __table_args__ = (Index("notices_by_age", "tenant", "at", "id"),)

    tenant: Mapped[str] = mapped_column(String(63), primary_key=True)
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    kind: Mapped[str] = mapped_column(String(40))
    resource: Mapped[str] = mapped_column(String(200))
    text: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    closed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class RunPolicyRow(Base):
    """How a tenant lets approved and, in a dry run, unapproved versions run; see `run_policy`."""

    __tablename__ = "run_policies"

    tenant: Mapped[str] = mapped_column(String(63), primary_key=True)
    document: Mapped[dict[str, Any]] = mapped_column(JSON)
    revision: Mapped[int]
    changed_by: Mapped[str] = mapped_column(String(700))
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime)


class TableVersionRow(Base):
    """The columns of one version of a table, in order."""

    __tablename__ = "table_versions"

    tenant: Mapped[str] = mapped_column(String(63), primary_key=True)
    table_name: Mapped[str] = mapped_column(String(63), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    columns: Mapped[list[str]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
