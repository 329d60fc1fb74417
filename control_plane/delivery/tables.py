"""Agents, the tokens by which hosts become agents, and which spec was given to which agent."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKeyConstraint, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.foundation.database import Base, UtcDateTime


class AgentRow(Base):
    """One enrolled host. Its id stands in its certificate and is unique everywhere: it is 96 random bits."""

    __tablename__ = "agents"
    __table_args__ = (Index("agents_by_id", "agent_id", unique=True),)

    tenant: Mapped[str] = mapped_column(String(63), primary_key=True)
    agent_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    hostname: Mapped[str] = mapped_column(String(255))
    version: Mapped[str] = mapped_column(String(64), default="")
    kernel: Mapped[str] = mapped_column(String(128), default="")
    token_id: Mapped[str] = mapped_column(String(64))
    enrolled_at: Mapped[datetime] = mapped_column(UtcDateTime)
    certificate_serial: Mapped[str] = mapped_column(String(64))
    certificate_until: Mapped[datetime] = mapped_column(UtcDateTime)
    last_seen_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revoked_by: Mapped[str | None] = mapped_column(String(700))


class JoinTokenRow(Base):
    """The secret is known by its hash only; whoever reads this table cannot enrol."""

    __tablename__ = "join_tokens"
    __table_args__ = (Index("join_tokens_by_secret", "secret_sha256", unique=True),)

    tenant: Mapped[str] = mapped_column(String(63), primary_key=True)
    token_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    secret_sha256: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    created_by: Mapped[str] = mapped_column(String(700))
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    max_uses: Mapped[int]
    uses: Mapped[int] = mapped_column(default=0)


class DeliveryRow(Base):
    """That an agent was given a version of a tracepoint: what makes the first time the first."""

    __tablename__ = "deliveries"
    __table_args__ = (ForeignKeyConstraint(["tenant", "agent_id"], ["agents.tenant", "agents.agent_id"]),)

    tenant: Mapped[str] = mapped_column(String(63), primary_key=True)
    tracepoint_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    version: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    agent_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    delivered_at: Mapped[datetime] = mapped_column(UtcDateTime)
