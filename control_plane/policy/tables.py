"""Tenants, and who holds which role in them. `policy_version` rises with every change of either: snapshots compare it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import JSON, BigInteger, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.foundation.database import Base, UtcDateTime
from control_plane.foundation.row_security import PLATFORM_READABLE


class TenantRow(Base):
    """`state` is one of `tenant_states.TenantState`. A deleted tenant's row stays: its name is never somebody else's."""

    __tablename__ = "tenants"

    tenant: Mapped[str] = mapped_column(String(63), primary_key=True)
    title: Mapped[str] = mapped_column(String(200))
    policy_version: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    created_by: Mapped[str] = mapped_column(String(700))
    state: Mapped[str] = mapped_column(String(20), default="active", server_default="active")
    state_reason: Mapped[str] = mapped_column(String(1000), default="", server_default="")
    state_changed_at: Mapped[datetime | None] = mapped_column(UtcDateTime, default=None)
    state_changed_by: Mapped[str] = mapped_column(String(700), default="", server_default="")


class TenantQuotaRow(Base):
    """The limits that were set for a tenant, by name; the others are the operator's."""

    __tablename__ = "tenant_quotas"

    tenant: Mapped[str] = mapped_column(ForeignKey("tenants.tenant"), primary_key=True)
    limits: Mapped[dict[str, int]] = mapped_column(JSON)
    revision: Mapped[int]
    changed_by: Mapped[str] = mapped_column(String(700))
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime)


class TenantUsageRow(Base):
    """What came in: bytes of `day` (UTC), rows of `window` and of the one before; see `quotas`."""

    __tablename__ = "tenant_usage"

    tenant: Mapped[str] = mapped_column(String(63), primary_key=True)
    day: Mapped[str] = mapped_column(String(10))
    bytes: Mapped[int] = mapped_column(BigInteger)
    window: Mapped[int] = mapped_column(BigInteger)
    events: Mapped[int] = mapped_column(BigInteger)
    events_before: Mapped[int] = mapped_column(BigInteger)


class MemberRow(Base):
    """One role of one subject in one tenant."""

    __tablename__ = "members"

    tenant: Mapped[str] = mapped_column(ForeignKey("tenants.tenant"), primary_key=True)
    subject: Mapped[str] = mapped_column(String(700), primary_key=True)
    role: Mapped[str] = mapped_column(String(40), primary_key=True)
    added_at: Mapped[datetime] = mapped_column(UtcDateTime)
    added_by: Mapped[str] = mapped_column(String(700))


class LockRow(Base):
    """A lock, and its end when it was released; those of the tenant `platform` hold everywhere."""

    __tablename__ = "locks"
    __table_args__ = {"info": PLATFORM_READABLE}  # noqa: RUF012 -- SQLAlchemy's own way

    tenant: Mapped[str] = mapped_column(String(63), primary_key=True)
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    value: Mapped[str] = mapped_column(String(700))
    reason: Mapped[str] = mapped_column(String(1000))
    created_by: Mapped[str] = mapped_column(String(700))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    released_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    released_by: Mapped[str | None] = mapped_column(String(700))
