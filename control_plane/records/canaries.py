"""The rows that agents plant themselves: looked at when they arrive, counted, and not kept.

    hidden    counted for the agent, with the time; an alarm that was open is over
    in clear  the batch is refused and `tracepoints.canary_alarm` stops the tenant

The agent has looked before it sent the row. This is the second look, at what came out of spool and socket.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import pyarrow as pa
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from wire import canary

from control_plane.foundation.clock import Clock
from control_plane.foundation.database import Database
from control_plane.foundation.identifiers import AgentId, TenantId
from control_plane.policy.model import Grant
from control_plane.records.tables import RecordCanaryRow
from control_plane.tracepoints.canary_alarm import RESOURCE, CanaryAlarm
from control_plane.tracepoints.notices import NoticeKind, close

MAX_SHOWN: Final = 1000  # agents of one tenant in an answer
IN_CLEAR: Final = "canary: a planted card came out in clear"


@dataclass(frozen=True)
class CanaryCount:
    """How many planted rows of an agent came out hidden, and when the last one did."""

    agent: str
    hidden: int
    last_at: datetime


class Canaries:
    def __init__(self, database: Database, clock: Clock, alarm: CanaryAlarm) -> None:
        self._database = database
        self._clock = clock
        self._alarm = alarm

    async def look(
        self,
        session: AsyncSession,
        tenant: TenantId,
        agent: AgentId,
        tracepoint_id: str,
        minute: int,
        rows: pa.RecordBatch,
    ) -> str:
        """In the intake's transaction. Returns why the batch is refused, or nothing."""
        found = canary.given_away(rows.to_pydict(), canary.card(tracepoint_id, minute))
        if found:
            await self._alarm.sound(session, tenant, tracepoint_id, agent, f"in columns {', '.join(found)} of a batch")
            return IN_CLEAR
        row = await session.get(RecordCanaryRow, (tenant, agent))
        if row is None:
            row = RecordCanaryRow(tenant=tenant, agent_id=agent, hidden=0, last_at=self._clock.now())
            session.add(row)
        row.hidden += 1
        row.last_at = self._clock.now()
        await close(session, tenant, NoticeKind.CANARY, RESOURCE, row.last_at)
        return ""

    async def counts(self, grant: Grant) -> tuple[CanaryCount, ...]:
        """By agent, whoever was heard of last first."""
        tenant, table = grant.resource.tenant, RecordCanaryRow
        wanted = select(table).where(table.tenant == tenant).order_by(table.last_at.desc()).limit(MAX_SHOWN)
        async with self._database.transaction(tenant) as session:
            return tuple(CanaryCount(row.agent_id, row.hidden, row.last_at) for row in await session.scalars(wanted))
