"""A tenant's masking rules, their exceptions, its settings, and the epochs of its key."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.foundation.database import Base, UtcDateTime


class MaskingRuleRow(Base):
    """`document` is the rule's JSON form, read again by `language.masking_rules.rule_from` at each use."""

    __tablename__ = "masking_rules"

    tenant: Mapped[str] = mapped_column(String(63), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    document: Mapped[str] = mapped_column(Text)
    revision: Mapped[int]
    changed_by: Mapped[str] = mapped_column(String(700))
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime)


class MaskingSettingsRow(Base):
    __tablename__ = "masking_settings"

    tenant: Mapped[str] = mapped_column(String(63), primary_key=True)
    strict: Mapped[bool]


class MaskingExceptionRow(Base):
    """Agreed to by two people. `document` is its JSON form, read again by `language.masking_exceptions` at each use."""

    __tablename__ = "masking_exceptions"

    tenant: Mapped[str] = mapped_column(String(63), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    document: Mapped[str] = mapped_column(Text)
    revision: Mapped[int]
    author: Mapped[str] = mapped_column(String(700))
    approved_by: Mapped[str] = mapped_column(String(700))
    approved_at: Mapped[datetime] = mapped_column(UtcDateTime)


class MaskingKeyRow(Base):
    """The newest epoch is in use. `wrapped` is of no use without the server's wrapping key."""

    __tablename__ = "masking_keys"

    tenant: Mapped[str] = mapped_column(String(63), primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    wrapped: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
