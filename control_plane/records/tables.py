"""Batches as they came, and what is summed up of them at their arrival.

`position` numbers a tenant's batches in the order in which they are committed (the head row is locked until then), so
who has read up to a position never misses one below it.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Index, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.foundation.database import Base, UtcDateTime


class RecordHeadRow(Base):
    """The newest position of a tenant; locked by whoever stores."""

    __tablename__ = "record_heads"

    tenant: Mapped[str] = mapped_column(String(63), primary_key=True)
    position: Mapped[int] = mapped_column(BigInteger)


class RecordBatchRow(Base):
    """`arrow` is an IPC stream with one record batch, checked when it came; empty when the batch had no rows."""

    __tablename__ = "record_batches"
    __table_args__ = (Index("record_batches_by_table", "tenant", "table_name", "position"),)

    tenant: Mapped[str] = mapped_column(String(63), primary_key=True)
    tracepoint_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    agent_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    position: Mapped[int] = mapped_column(BigInteger)
    table_name: Mapped[str] = mapped_column(String(63))
    table_version: Mapped[int]
    rows: Mapped[int]
    arrow: Mapped[bytes] = mapped_column(LargeBinary)
    received_at: Mapped[datetime] = mapped_column(UtcDateTime)


class RecordTableRow(Base):
    """One version of a table: its columns as JSON, the rows that are kept and those that had to make room."""

    __tablename__ = "record_tables"

    tenant: Mapped[str] = mapped_column(String(63), primary_key=True)
    table_name: Mapped[str] = mapped_column(String(63), primary_key=True)
    table_version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    columns: Mapped[str] = mapped_column(Text)
    rows: Mapped[int] = mapped_column(BigInteger)
    evicted: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime)


class RecordAccountingRow(Base):
    """The newest accounting of one tracepoint on one host, as JSON: counters only ever grow."""

    __tablename__ = "record_accounting"

    tenant: Mapped[str] = mapped_column(String(63), primary_key=True)
    tracepoint_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    agent_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    table_name: Mapped[str] = mapped_column(String(63))
    sequence: Mapped[int] = mapped_column(BigInteger)
    accounting: Mapped[str] = mapped_column(Text)
    final: Mapped[bool]
    end_reason: Mapped[str] = mapped_column(String(40))
    over_quota: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")  # rows that were not kept


class RecordCanaryRow(Base):
    """Rows that an agent planted and that came out hidden."""

    __tablename__ = "record_canaries"

    tenant: Mapped[str] = mapped_column(String(63), primary_key=True)
    agent_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    hidden: Mapped[int] = mapped_column(BigInteger)
    last_at: Mapped[datetime] = mapped_column(UtcDateTime)


class RecordReceiptRow(Base):
    """What masking did, summed over a tracepoint's batches."""

    __tablename__ = "record_receipts"

    tenant: Mapped[str] = mapped_column(String(63), primary_key=True)
    tracepoint_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    column_name: Mapped[str] = mapped_column(String(64), primary_key=True)
    rule: Mapped[str] = mapped_column(String(128), primary_key=True)
    action: Mapped[str] = mapped_column(String(16), primary_key=True)
    table_name: Mapped[str] = mapped_column(String(63))
    seen: Mapped[int] = mapped_column(BigInteger)
    hidden: Mapped[int] = mapped_column(BigInteger)
