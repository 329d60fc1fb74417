"""The log at rest: entries, the tree's nodes above them, the state of the tree, the checkpoints that were signed.

`entry` and `leaf` are the log; the columns beside them only find entries, and are made from the same event. The
triggers of `immutability` refuse every change of what is written; against somebody who removes the triggers stands
the tree.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Index, LargeBinary, String, Text, event
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.audit.immutability import guards
from control_plane.foundation.database import Base, UtcDateTime
from control_plane.foundation.row_security import APPEND_ONLY, GROW_ONLY


class AuditEntryRow(Base):
    __tablename__ = "audit_entries"
    __table_args__ = (
        Index("audit_entries_by_time", "tenant", "time"),
        Index("audit_entries_by_action", "tenant", "action", "number"),
        Index("audit_entries_by_actor", "tenant", "actor", "number"),
        Index("audit_entries_by_resource", "tenant", "resource", "number"),
        {"info": APPEND_ONLY},
    )

    tenant: Mapped[str] = mapped_column(String(63), primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    entry: Mapped[bytes] = mapped_column(LargeBinary)
    leaf: Mapped[bytes] = mapped_column(LargeBinary)
    time: Mapped[datetime] = mapped_column(UtcDateTime)
    action: Mapped[str] = mapped_column(String(40))
    outcome: Mapped[str] = mapped_column(String(20))
    actor: Mapped[str] = mapped_column(String(512))
    resource: Mapped[str] = mapped_column(String(512))
    request_id: Mapped[str] = mapped_column(String(128))


class AuditNodeRow(Base):
    """The hash of a perfect subtree above the leaves; written once, when the last leaf below it was."""

    __tablename__ = "audit_nodes"
    __table_args__ = {"info": APPEND_ONLY}  # noqa: RUF012 -- SQLAlchemy's own way

    tenant: Mapped[str] = mapped_column(String(63), primary_key=True)
    level: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    hash: Mapped[bytes] = mapped_column(LargeBinary)


class AuditTreeRow(Base):
    """The tenant's tree now; its row lock is what puts concurrent appends in order."""

    __tablename__ = "audit_trees"
    __table_args__ = {"info": GROW_ONLY}  # noqa: RUF012 -- SQLAlchemy's own way

    tenant: Mapped[str] = mapped_column(String(63), primary_key=True)
    size: Mapped[int] = mapped_column(BigInteger)
    peaks: Mapped[bytes] = mapped_column(LargeBinary)


class AuditCheckpointRow(Base):
    __tablename__ = "audit_checkpoints"
    __table_args__ = {"info": APPEND_ONLY}  # noqa: RUF012 -- SQLAlchemy's own way

    tenant: Mapped[str] = mapped_column(String(63), primary_key=True)
    size: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    time: Mapped[datetime] = mapped_column(UtcDateTime)
    note: Mapped[str] = mapped_column(Text)


for _name in ("audit_entries", "audit_nodes", "audit_trees", "audit_checkpoints"):
    for _ddl in guards(_name):
        event.listen(Base.metadata.tables[_name], "after_create", _ddl)
