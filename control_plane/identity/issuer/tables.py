"""What the embedded issuer keeps. Its users belong to no tenant: who somebody is comes before where they may look.

Secrets, codes and refresh tokens are stored as SHA-256 (they are random), passwords as argon2 (they are not).
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import JSON, String
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.foundation.database import Base, UtcDateTime


class UserRow(Base):
    """The name is the token's `sub`. Users are disabled, never removed, so that a name is never somebody else's."""

    __tablename__ = "issuer_users"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    display_name: Mapped[str] = mapped_column(String(200))
    password_hash: Mapped[str] = mapped_column(String(255))
    disabled: Mapped[bool]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class ServiceAccountRow(Base):
    """A program of a tenant. `client_id` is "<tenant>.<name>": it is the token's `sub` and `client_id`.

    `owner` is the person who answers for it, as "<issuer>|<sub>". Without an end it is at its end.
    """

    __tablename__ = "issuer_service_accounts"

    tenant: Mapped[str] = mapped_column(String(63), primary_key=True)
    name: Mapped[str] = mapped_column(String(63), primary_key=True)
    client_id: Mapped[str] = mapped_column(String(128), unique=True)
    secret_hash: Mapped[str] = mapped_column(String(64))
    disabled: Mapped[bool]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    created_by: Mapped[str] = mapped_column(String(700), server_default="")
    owner: Mapped[str] = mapped_column(String(700), server_default="")
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revision: Mapped[int] = mapped_column(server_default="1")


class TrustRuleRow(Base):
    """Whose tokens of another issuer become tokens of a service account: all of it must be equal. Never changed, only removed."""

    __tablename__ = "issuer_trust_rules"

    tenant: Mapped[str] = mapped_column(String(63), primary_key=True)
    name: Mapped[str] = mapped_column(String(63), primary_key=True)
    account: Mapped[str] = mapped_column(String(63))
    issuer: Mapped[str] = mapped_column(String(400))
    audience: Mapped[str] = mapped_column(String(255))
    claims: Mapped[dict[str, str]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    created_by: Mapped[str] = mapped_column(String(700))


class CodeRow(Base):
    """An authorization code, until it is redeemed."""

    __tablename__ = "issuer_codes"

    code_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    client_id: Mapped[str] = mapped_column(String(128))
    user: Mapped[str] = mapped_column(String(64))
    redirect_uri: Mapped[str] = mapped_column(String(500))
    scope: Mapped[str] = mapped_column(String(200))
    nonce: Mapped[str] = mapped_column(String(200))
    code_challenge: Mapped[str] = mapped_column(String(128))
    authenticated_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)


class DeviceRow(Base):
    """A device code: waiting for a person (`answer` empty), then approved or denied by `user`."""

    __tablename__ = "issuer_devices"

    device_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_code: Mapped[str] = mapped_column(String(16), unique=True)
    client_id: Mapped[str] = mapped_column(String(128))
    scope: Mapped[str] = mapped_column(String(200))
    user: Mapped[str] = mapped_column(String(64))
    answer: Mapped[str] = mapped_column(String(10))
    interval: Mapped[int]  # seconds that the client must wait between polls; grows when it does not
    polled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    authenticated_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)


class RefreshRow(Base):
    """One refresh token of a family. `used`: it was exchanged; shown again, the whole family is stolen goods."""

    __tablename__ = "issuer_refresh_tokens"

    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    family: Mapped[str] = mapped_column(String(40), index=True)
    client_id: Mapped[str] = mapped_column(String(128))
    user: Mapped[str] = mapped_column(String(64))
    scope: Mapped[str] = mapped_column(String(200))
    used: Mapped[bool]
    authenticated_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
