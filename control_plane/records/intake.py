"""A batch from an agent -> stored once, in its own tenant's table, or refused for good with the reason.

    1. the tracepoint   of the tenant whose certificate sent it, sealed for that agent, into that table and version
    2. the number       (tracepoint, agent, sequence) seen before: kept already, nothing to do
    3. the bytes        `arrow_batches`: bounded, uncompressed, valid
    4. the quota        of the tenant: beyond it the rows are not kept, and stand in the accounting as lost(over_quota)
    5. one transaction  the batch, its place in the order, columns, accounting, receipts; the oldest make room

A row that the agent planted itself (`canaries`) is looked at in place of 4 and not kept.

Nothing that an agent says decides where its rows land: the tenant comes from the certificate, the table from the request.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Final

import pyarrow as pa
from sqlalchemy import func, select, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncSession
from wire.v1 import records_pb2

from control_plane.foundation.clock import Clock
from control_plane.foundation.database import DATABASE_UNREACHABLE, Database
from control_plane.foundation.errors import DependencyUnavailable
from control_plane.foundation.identifiers import AgentId, TenantId
from control_plane.policy.quotas import Quotas
from control_plane.records.arrivals import Arrivals
from control_plane.records.arrow_batches import BadBatch, columns_of, read_batch
from control_plane.records.canaries import Canaries
from control_plane.records.model import Column
from control_plane.records.ports import TracepointDirectory
from control_plane.records.tables import (
    RecordAccountingRow,
    RecordBatchRow,
    RecordHeadRow,
    RecordReceiptRow,
    RecordTableRow,
)

MAX_TABLE_ROWS: Final = 1_000_000  # kept of one table, over its versions: an incident's worth; the oldest make room
MAX_RECEIPTS: Final = 2000  # of one batch: 64 columns with some 30 rules each
MAX_LOST_REASONS: Final = 32
MAX_COUNT: Final = 2**63 - 1  # what the database's integers hold
_WORD: Final = re.compile(r"[a-z0-9_]{1,40}", re.ASCII)


class RecordIntake:
    """Implements `delivery.ports.BatchSink`."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        tracepoints: TracepointDirectory,
        arrivals: Arrivals,
        canaries: Canaries,
        quotas: Quotas | None = None,
    ) -> None:
        self._canaries = canaries
        self._quotas = quotas or Quotas()
        self._database = database
        self._clock = clock
        self._tracepoints = tracepoints
        self._arrivals = arrivals

    async def store(self, tenant: TenantId, agent: AgentId, batch: records_pb2.Batch) -> str:
        """Nothing when it is kept, now or before; else why it never will be. Raises DependencyUnavailable: send it again."""
        (refusal,) = await self.store_together(tenant, agent, (batch,))
        return refusal

    async def store_together(
        self, tenant: TenantId, agent: AgentId, batches: Sequence[records_pb2.Batch]
    ) -> tuple[str, ...]:
        """The same for several in one transaction, in this order: all of them, or when it raises none."""
        looked = [_looked_at(batch) for batch in batches]
        try:
            async with self._database.transaction(tenant) as session:
                refusals = [
                    bad or await self._store(session, tenant, agent, batch, sent)
                    for batch, (sent, bad) in zip(batches, looked, strict=True)
                ]
        except DATABASE_UNREACHABLE as error:
            raise DependencyUnavailable("the database cannot take the batch now; send it again") from error
        for batch, refusal in zip(batches, refusals, strict=True):
            if not refusal and not batch.canary:
                self._arrivals.announce(tenant, batch.table)
        return tuple(refusals)

    async def _store(
        self,
        session: AsyncSession,
        tenant: TenantId,
        agent: AgentId,
        batch: records_pb2.Batch,
        sent: pa.RecordBatch | None,
    ) -> str:
        facts = await self._tracepoints.facts(session, tenant, batch.tracepoint_id)
        if facts is None or agent not in facts.agents:
            return "unknown_tracepoint: it was never sealed for this agent"
        if (batch.table, batch.table_version) != (facts.table, facts.table_version):
            return f"wrong_table: it writes into {facts.table} version {facts.table_version}"
        position = await _next_position(session, tenant)  # the lock: from here on, one after the other in a tenant
        if await session.get(RecordBatchRow, (tenant, batch.tracepoint_id, agent, batch.sequence)) is not None:
            return ""
        broken, rows = None, batch.rows
        if batch.canary and sent is not None:
            told = await self._canaries.look(session, tenant, agent, batch.tracepoint_id, batch.canary, sent)
            if told:
                return told
            rows = 0
        elif rows:
            broken = await self._quotas.take(session, tenant, rows, len(batch.arrow), self._clock.now())
            rows = 0 if broken else rows
        session.add(
            RecordBatchRow(
                tenant=tenant,
                tracepoint_id=batch.tracepoint_id,
                agent_id=agent,
                sequence=batch.sequence,
                position=position,
                table_name=batch.table,
                table_version=batch.table_version,
                rows=rows,
                arrow=batch.arrow if rows else b"",
                received_at=self._clock.now(),
            )
        )
        await session.execute(update(RecordHeadRow).where(RecordHeadRow.tenant == tenant).values(position=position))
        if not batch.canary:
            await self._describe(session, tenant, batch, columns_of(sent) if sent is not None else (), rows)
        await _account(session, tenant, agent, batch, over_quota=batch.rows if broken else 0)
        for receipt in batch.receipts:
            await _add_receipt(session, tenant, batch, receipt)
        await session.flush()
        await _make_room(session, tenant, batch.table)
        # Its number is kept, so that it is not counted twice; its rows are counted as lost and nowhere else.
        return f"over_quota: the tenant's {broken}" if broken else ""

    async def _describe(
        self, session: AsyncSession, tenant: TenantId, batch: records_pb2.Batch, columns: tuple[Column, ...], rows: int
    ) -> None:
        now = self._clock.now()
        table = await session.get(RecordTableRow, (tenant, batch.table, batch.table_version))
        if table is None:
            table = RecordTableRow(
                tenant=tenant,
                table_name=batch.table,
                table_version=batch.table_version,
                columns="[]",
                rows=0,
                evicted=0,
                created_at=now,
            )
            session.add(table)
        if columns:
            table.columns = json.dumps([[column.name, column.type] for column in columns])
        table.rows += rows
        table.changed_at = now


def _looked_at(batch: records_pb2.Batch) -> tuple[pa.RecordBatch | None, str]:
    """Its rows, or why it is none."""
    try:
        return _checked(batch), ""
    except BadBatch as error:
        return None, f"bad_batch: {error}"


def _checked(batch: records_pb2.Batch) -> pa.RecordBatch | None:
    """Everything that can be said of a batch by itself. Raises BadBatch."""
    if not 1 <= batch.sequence <= MAX_COUNT:
        raise BadBatch("sequences begin at 1")
    if len(batch.receipts) > MAX_RECEIPTS or any(not _is_plain(receipt) for receipt in batch.receipts):
        raise BadBatch("its receipts are not those of a plan")
    if batch.end_reason and not _WORD.fullmatch(batch.end_reason):
        raise BadBatch("end_reason is one word")
    if batch.canary and batch.rows != 1:
        raise BadBatch("what an agent plants is one row: nothing else may go uncounted")
    lost = batch.accounting.lost
    if len(lost) > MAX_LOST_REASONS or not all(_WORD.fullmatch(reason) for reason in lost):
        raise BadBatch(f"expected at most {MAX_LOST_REASONS} reasons of loss, each one word")
    if batch.rows == 0 and not batch.arrow:
        return None
    return read_batch(batch.arrow, batch.rows)


def _is_plain(receipt: records_pb2.Receipt) -> bool:
    return (
        len(receipt.column) <= 64
        and len(receipt.rule) <= 128
        and len(receipt.action) <= 16
        and receipt.hidden <= receipt.values <= MAX_COUNT >> 20  # sums of them fit too
        and all(text.isprintable() for text in (receipt.column, receipt.rule, receipt.action))
    )


async def _next_position(session: AsyncSession, tenant: TenantId) -> int:
    """One more than the newest; nobody else in the tenant can store before this transaction ends."""
    wanted = select(RecordHeadRow.position).where(RecordHeadRow.tenant == tenant).with_for_update()
    position = await session.scalar(wanted)
    if position is None:
        if session.get_bind().dialect.name == "postgresql":
            await session.execute(
                postgresql.insert(RecordHeadRow).values(tenant=tenant, position=0).on_conflict_do_nothing()
            )
        else:
            session.add(RecordHeadRow(tenant=tenant, position=0))
            await session.flush()
        position = await session.scalar(wanted) or 0
    return position + 1


async def _account(
    session: AsyncSession, tenant: TenantId, agent: AgentId, batch: records_pb2.Batch, over_quota: int
) -> None:
    row = await session.get(RecordAccountingRow, (tenant, batch.tracepoint_id, agent))
    if row is None:
        row = RecordAccountingRow(
            tenant=tenant,
            tracepoint_id=batch.tracepoint_id,
            agent_id=agent,
            table_name=batch.table,
            sequence=0,
            final=False,
            end_reason="",
            accounting="{}",
            over_quota=0,
        )
        session.add(row)
    row.over_quota += over_quota
    if batch.final:
        row.final = True
        row.end_reason = batch.end_reason
    if batch.sequence > row.sequence:  # batches may come in another order
        counted = batch.accounting
        row.sequence = batch.sequence
        row.accounting = json.dumps(
            {
                "hits": counted.hits,
                "delivered": counted.delivered,
                "filtered": counted.filtered,
                "sampled_out": counted.sampled_out,
                "throttled": counted.throttled,
                "expired": counted.expired,
                "lost": dict(counted.lost),
            }
        )


async def _add_receipt(
    session: AsyncSession, tenant: TenantId, batch: records_pb2.Batch, receipt: records_pb2.Receipt
) -> None:
    key = (tenant, batch.tracepoint_id, receipt.column, receipt.rule, receipt.action)
    row = await session.get(RecordReceiptRow, key)
    if row is None:
        row = RecordReceiptRow(
            tenant=tenant,
            tracepoint_id=batch.tracepoint_id,
            column_name=receipt.column,
            rule=receipt.rule,
            action=receipt.action,
            table_name=batch.table,
            seen=0,
            hidden=0,
        )
        session.add(row)
    row.seen += receipt.values
    row.hidden += receipt.hidden


async def _make_room(session: AsyncSession, tenant: TenantId, table: str) -> None:
    """Empty the oldest batches beyond the bound. Their rows of ours stay, so that none is stored twice."""
    of_table = (RecordTableRow.tenant == tenant, RecordTableRow.table_name == table)
    kept = await session.scalar(select(func.sum(RecordTableRow.rows)).where(*of_table)) or 0
    batches = (RecordBatchRow.tenant == tenant, RecordBatchRow.table_name == table)
    while kept > MAX_TABLE_ROWS:
        oldest = await session.scalar(
            select(RecordBatchRow).where(*batches, RecordBatchRow.rows > 0).order_by(RecordBatchRow.position).limit(1)
        )
        if oldest is None:
            return
        moved = {"rows": RecordTableRow.rows - oldest.rows, "evicted": RecordTableRow.evicted + oldest.rows}
        version = RecordTableRow.table_version == oldest.table_version
        await session.execute(update(RecordTableRow).where(*of_table, version).values(moved))
        kept -= oldest.rows
        oldest.rows, oldest.arrow = 0, b""
        await session.flush()
