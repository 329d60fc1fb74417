"""Changes that wait, or waited, for a second person; and which logins are one person."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import JSON, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.foundation.database import Base, UtcDateTime


class ProposalRow(Base):
    """`payload` is canonical JSON: what `digest` binds, together with the kind and with `base`."""

    __tablename__ = "proposals"
    __table_args__ = (Index("proposals_by_state", "tenant", "state"),)

    tenant: Mapped[str] = mapped_column(String(63), primary_key=True)
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    kind: Mapped[str] = mapped_column(String(40))
    resource: Mapped[str] = mapped_column(String(800))
    payload: Mapped[str] = mapped_column(Text)
    digest: Mapped[str] = mapped_column(String(71))
    base: Mapped[str] = mapped_column(String(71))  # of what it changes; another one by now makes it stale
    summary: Mapped[list[str]] = mapped_column(JSON)
    needs: Mapped[list[str]] = mapped_column(JSON)
    message: Mapped[str] = mapped_column(String(1000))
    state: Mapped[str] = mapped_column(String(20))
    author: Mapped[str] = mapped_column(String(700))
    author_groups: Mapped[list[str]] = mapped_column(JSON)  # as they signed in: their rights are looked at once more
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    lapses_at: Mapped[datetime] = mapped_column(UtcDateTime)
    decided_by: Mapped[str] = mapped_column(String(700))
    decided_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    reason: Mapped[str] = mapped_column(String(1000))


class PersonLinkRow(Base):
    """`subject` is another login of `person`, or a service account that this person answers for."""

    __tablename__ = "person_links"

    tenant: Mapped[str] = mapped_column(String(63), primary_key=True)
    subject: Mapped[str] = mapped_column(String(700), primary_key=True)
    person: Mapped[str] = mapped_column(String(700))
    linked_by: Mapped[str] = mapped_column(String(700))
    linked_at: Mapped[datetime] = mapped_column(UtcDateTime)
