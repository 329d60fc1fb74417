"""Tenants, and who holds which role in them. `policy_version` rises with every change of either: snapshots compare it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.foundation.database import Base, UtcDateTime
from control_plane.foundation.row_security import PLATFORM_READABLE


class TenantRow(Base):
    __tablename__ = "tenants"

    tenant: Mapped[str] = mapped_column(String(63), primary_key=True)
    title: Mapped[str] = mapped_column(String(200))
    policy_version: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    created_by: Mapped[str] = mapped_column(String(700))


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
