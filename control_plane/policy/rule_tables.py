"""A tenant's policies, version by version: what was proposed, by whom, who agreed, which one is in force."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.foundation.database import Base, UtcDateTime


class PolicyVersionRow(Base):
    """`state` is proposed, applied, superseded, rejected; one a tenant is applied."""

    __tablename__ = "policy_versions"

    tenant: Mapped[str] = mapped_column(String(63), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    source: Mapped[str] = mapped_column(Text)
    digest: Mapped[str] = mapped_column(String(80))
    state: Mapped[str] = mapped_column(String(20))
    based_on: Mapped[int]  # the version in force when it was proposed; another one in force by now makes it stale
    message: Mapped[str] = mapped_column(String(1000))
    author: Mapped[str] = mapped_column(String(700))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    decided_by: Mapped[str] = mapped_column(String(700))
    decided_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
