"""The queries behind the service: batches in order, sums of what was counted. Inside the caller's transaction; asks nobody.

Only `service`, `live` and `exports` call these, after the read was logged.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from typing import Final

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.foundation.identifiers import TenantId
from control_plane.policy.quotas import OVER_QUOTA
from control_plane.records.arrow_batches import stored_batch
from control_plane.records.model import Column, Masked, Place, Row, Table
from control_plane.records.rows import to_rows
from control_plane.records.tables import RecordAccountingRow, RecordBatchRow, RecordReceiptRow, RecordTableRow
from control_plane.tracepoints.model import Accounting

MAX_ANSWER_BYTES: Final = 16 << 20  # Arrow bytes unpacked for one answer: some 100 MiB as objects
MAX_POSITION: Final = 2**63 - 1
PREFETCH: Final = 8  # batches taken from the database at once


async def tables_of(session: AsyncSession, tenant: TenantId, name: str | None = None) -> tuple[Table, ...]:
    wanted = select(RecordTableRow).where(RecordTableRow.tenant == tenant)
    if name is not None:
        wanted = wanted.where(RecordTableRow.table_name == name)
    rows = await session.scalars(wanted.order_by(RecordTableRow.table_name, RecordTableRow.table_version))
    return tuple(
        Table(
            name=row.table_name,
            version=row.table_version,
            columns=tuple(Column(*column) for column in json.loads(row.columns)),
            rows=row.rows,
            evicted=row.evicted,
            created_at=row.created_at,
            changed_at=row.changed_at,
        )
        for row in rows
    )


async def accounting_of(session: AsyncSession, tenant: TenantId, table: str, tracepoint: str | None) -> Accounting:
    """Summed over hosts and, without a tracepoint, over all that wrote into the table."""
    return Accounting.total(map(_counted, await _accounting_rows(session, tenant, table, tracepoint)))


def _counted(row: RecordAccountingRow) -> Accounting:
    """What the host counted, but for what arrived and was not kept."""
    said = Accounting(**json.loads(row.accounting))
    if not row.over_quota:
        return said
    lost = {**said.lost, OVER_QUOTA: row.over_quota}
    return replace(said, delivered=max(0, said.delivered - row.over_quota), lost=lost)


async def all_final(session: AsyncSession, tenant: TenantId, table: str, tracepoint: str) -> bool:
    """Whether hosts have sent batches of it, and each of them its last one."""
    rows = await _accounting_rows(session, tenant, table, tracepoint)
    return bool(rows) and all(row.final for row in rows)


async def masking_of(session: AsyncSession, tenant: TenantId, table: str, tracepoint: str | None) -> tuple[Masked, ...]:
    wanted = (
        select(
            RecordReceiptRow.column_name,
            RecordReceiptRow.rule,
            RecordReceiptRow.action,
            func.sum(RecordReceiptRow.seen),
            func.sum(RecordReceiptRow.hidden),
        )
        .where(RecordReceiptRow.tenant == tenant, RecordReceiptRow.table_name == table)
        .group_by(RecordReceiptRow.column_name, RecordReceiptRow.rule, RecordReceiptRow.action)
        .order_by(RecordReceiptRow.column_name, RecordReceiptRow.rule, RecordReceiptRow.action)
    )
    if tracepoint is not None:
        wanted = wanted.where(RecordReceiptRow.tracepoint_id == tracepoint)
    return tuple(
        Masked(column, rule, action, int(seen), int(hidden))
        for column, rule, action, seen, hidden in await session.execute(wanted)
    )


async def newest_place(session: AsyncSession, tenant: TenantId, table: str) -> Place:
    """Behind everything that is stored now."""
    newest = await session.scalar(
        select(func.max(RecordBatchRow.position)).where(
            RecordBatchRow.tenant == tenant, RecordBatchRow.table_name == table
        )
    )
    return Place((newest or 0) + 1, 0)


async def rows_after(
    session: AsyncSession, tenant: TenantId, table: str, tracepoint: str | None, place: Place, limit: int
) -> tuple[list[Row], Place, bool]:
    """At most `limit` rows behind a place, where they end, and whether more follow."""
    rows: list[Row] = []
    size = 0
    async for batch in _oldest_first(session, _batches(tenant, table, tracepoint), place.position):
        if len(rows) >= limit or size > MAX_ANSWER_BYTES:
            return rows, place, True
        size += len(batch.arrow)
        skipped = place.index if batch.position == place.position else 0
        fresh = _cut(batch, skipped, skipped + limit - len(rows))
        rows.extend(fresh)
        place = Place(batch.position, skipped + len(fresh))
        if place.index >= batch.rows:
            place = Place(batch.position + 1, 0)
    return rows, place, place.index > 0


async def last_rows(
    session: AsyncSession, tenant: TenantId, table: str, tracepoint: str | None, limit: int
) -> tuple[list[Row], Place]:
    """The newest rows, at most `limit`, the newest of them last; and the place behind them."""
    found: list[Sequence[Row]] = []
    count = size = 0
    end: Place | None = None
    async for batch in _newest_first(session, _batches(tenant, table, tracepoint)):
        end = end or Place(batch.position + 1, 0)
        fresh = _cut(batch, max(0, batch.rows - (limit - count)), batch.rows)
        found.append(fresh)
        count += len(fresh)
        size += len(batch.arrow)
        if count >= limit or size > MAX_ANSWER_BYTES:
            break
    return [row for rows in reversed(found) for row in rows], end or Place()


async def batches_of_version(
    session: AsyncSession, tenant: TenantId, table: str, version: int, position: int
) -> tuple[RecordBatchRow, ...]:
    """The next few batches of one version of a table, from a position on."""
    wanted = _batches(tenant, table, None).where(
        RecordBatchRow.table_version == version, RecordBatchRow.position >= position
    )
    return tuple(await session.scalars(wanted.order_by(RecordBatchRow.position).limit(PREFETCH)))


def _batches(tenant: TenantId, table: str, tracepoint: str | None) -> Select[RecordBatchRow]:
    wanted = select(RecordBatchRow).where(
        RecordBatchRow.tenant == tenant, RecordBatchRow.table_name == table, RecordBatchRow.rows > 0
    )
    return wanted if tracepoint is None else wanted.where(RecordBatchRow.tracepoint_id == tracepoint)


async def _oldest_first(
    session: AsyncSession, wanted: Select[RecordBatchRow], position: int
) -> AsyncIterator[RecordBatchRow]:
    """From a position on, a few at a time: the caller stops when it has enough, and batches are big."""
    while True:
        page = wanted.where(RecordBatchRow.position >= position).order_by(RecordBatchRow.position).limit(PREFETCH)
        rows = (await session.scalars(page)).all()
        for row in rows:
            yield row
        if len(rows) < PREFETCH:
            return
        position = rows[-1].position + 1


async def _newest_first(session: AsyncSession, wanted: Select[RecordBatchRow]) -> AsyncIterator[RecordBatchRow]:
    below = MAX_POSITION
    while True:
        page = wanted.where(RecordBatchRow.position < below).order_by(RecordBatchRow.position.desc()).limit(PREFETCH)
        rows = (await session.scalars(page)).all()
        for row in rows:
            yield row
        if len(rows) < PREFETCH:
            return
        below = rows[-1].position


def _cut(batch: RecordBatchRow, start: int, end: int) -> list[Row]:
    end = min(end, batch.rows)
    return list(_rows(batch, start, end)) if start < end else []


def _rows(batch: RecordBatchRow, start: int, end: int) -> Iterator[Row]:
    return to_rows(stored_batch(batch.arrow).slice(start, end - start))


async def _accounting_rows(
    session: AsyncSession, tenant: TenantId, table: str, tracepoint: str | None
) -> Sequence[RecordAccountingRow]:
    wanted = select(RecordAccountingRow).where(
        RecordAccountingRow.tenant == tenant, RecordAccountingRow.table_name == table
    )
    if tracepoint is not None:
        wanted = wanted.where(RecordAccountingRow.tracepoint_id == tracepoint)
    return (await session.scalars(wanted)).all()
