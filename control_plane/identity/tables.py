"""The console's sessions, and people's own tokens.

A session belongs to a person, not to a tenant: who somebody is comes before where they may look. A token is good in one
tenant only, and kept there.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import JSON, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.foundation.database import Base, UtcDateTime


class SessionRow(Base):
    """`id_hash` is the SHA-256 of the cookie: who reads the database cannot sign in by it.

    `issuer_session` is the issuer's own name for the sign-in (`sid`), by which it ends it. No token is kept.
    """

    __tablename__ = "sessions"
    __table_args__ = (Index("ix_sessions_subject", "issuer", "subject"),)

    id_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    issuer: Mapped[str] = mapped_column(String(400))
    subject: Mapped[str] = mapped_column(String(255))
    client: Mapped[str] = mapped_column(String(255))
    display_name: Mapped[str] = mapped_column(String(255))
    csrf_token: Mapped[str] = mapped_column(String(64))
    authenticated_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    groups: Mapped[list[str]] = mapped_column(JSON, server_default="[]")
    context_class: Mapped[str] = mapped_column(String(255), server_default="")
    issuer_session: Mapped[str] = mapped_column(String(255), server_default="")


class LogoutTokenRow(Base):
    """A logout token that was obeyed, until it expires: it is not obeyed twice."""

    __tablename__ = "logout_tokens"

    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)


class PersonalTokenRow(Base):
    """A token by which a program acts for a person, in one tenant, with some of their permissions, until it ends.

    Only `shown`, its beginning, is there to be read: enough to recognise it by, of no use to sign in with.
    """

    __tablename__ = "personal_tokens"

    tenant: Mapped[str] = mapped_column(String(63), primary_key=True)
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    token_hash: Mapped[str] = mapped_column(String(64), index=True)
    shown: Mapped[str] = mapped_column(String(80))
    name: Mapped[str] = mapped_column(String(100))
    subject: Mapped[str] = mapped_column(String(700))
    display_name: Mapped[str] = mapped_column(String(255))
    permissions: Mapped[list[str]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
