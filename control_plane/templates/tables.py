"""Versions of templates and reviews of them. `canonical` holds the bytes that `digest` and every review name."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKeyConstraint, Index, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.foundation.database import Base, UtcDateTime


class TemplateVersionRow(Base):
    __tablename__ = "template_versions"
    __table_args__ = (
        Index("template_versions_by_state", "tenant", "state"),
        Index("template_versions_by_body", "tenant", "body_digest"),
    )

    tenant: Mapped[str] = mapped_column(String(63), primary_key=True)
    name: Mapped[str] = mapped_column(String(63), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    digest: Mapped[str] = mapped_column(String(71))
    canonical: Mapped[bytes] = mapped_column(LargeBinary)
    source: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(20))
    author: Mapped[str] = mapped_column(String(700))
    author_name: Mapped[str] = mapped_column(String(200))
    message: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    approved_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # As of the submission: they are joined with what holds at each later look, and the stricter of both counts.
    body_digest: Mapped[str] = mapped_column(String(71))
    risk: Mapped[list[list[str]]] = mapped_column(JSON)
    requirement: Mapped[dict[str, Any]] = mapped_column(JSON)
    panel: Mapped[dict[str, list[str]]] = mapped_column(JSON)
    lapses_at: Mapped[datetime] = mapped_column(UtcDateTime)


class TemplateReviewRow(Base):
    """The primary key is what makes a person count once."""

    __tablename__ = "template_reviews"
    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant", "name", "version"],
            ["template_versions.tenant", "template_versions.name", "template_versions.version"],
        ),
    )

    tenant: Mapped[str] = mapped_column(String(63), primary_key=True)
    name: Mapped[str] = mapped_column(String(63), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    reviewer: Mapped[str] = mapped_column(String(700), primary_key=True)
    reviewer_name: Mapped[str] = mapped_column(String(200))
    verdict: Mapped[str] = mapped_column(String(20))
    digest: Mapped[str] = mapped_column(String(71))
    comment: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(UtcDateTime)


class ApprovalRuleRow(Base):
    """A rule of the tenant that asks for more than the platform's; see `requirements.OwnerRule`."""

    __tablename__ = "approval_rules"

    tenant: Mapped[str] = mapped_column(String(63), primary_key=True)
    name: Mapped[str] = mapped_column(String(63), primary_key=True)
    document: Mapped[dict[str, Any]] = mapped_column(JSON)
    revision: Mapped[int]
    changed_by: Mapped[str] = mapped_column(String(700))
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime)
