"""Tracepoints, what each agent says of them, and the versions of the tables they write to."""

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


class TableVersionRow(Base):
    """The columns of one version of a table, in order."""

    __tablename__ = "table_versions"

    tenant: Mapped[str] = mapped_column(String(63), primary_key=True)
    table_name: Mapped[str] = mapped_column(String(63), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    columns: Mapped[list[str]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
