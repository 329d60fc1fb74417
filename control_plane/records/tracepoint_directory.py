"""What records must know of tracepoints, from the step that has them: the TracepointDirectory of `ports`."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.foundation.identifiers import AgentId, TenantId
from control_plane.records.model import Source, TracepointFacts
from control_plane.tracepoints.lifecycle import OVER, State
from control_plane.tracepoints.reading import agents_of, target_of
from control_plane.tracepoints.tables import TracepointRow


class TracepointTables:
    """Reads the tables of `tracepoints` in the caller's transaction."""

    async def facts(self, session: AsyncSession, tenant: TenantId, tracepoint_id: str) -> TracepointFacts | None:
        wanted = select(TracepointRow).where(TracepointRow.tenant == tenant, TracepointRow.id == tracepoint_id)
        row = (await session.scalars(wanted)).one_or_none()
        if row is None:
            return None
        return TracepointFacts(
            table=row.table_name,
            table_version=row.table_version,
            agents=frozenset(AgentId(agent.agent_id) for agent in await agents_of(session, row)),
            ended=State(row.state) in OVER,
            end_reason=row.end_reason,
        )

    async def sources(self, session: AsyncSession, tenant: TenantId, table: str) -> tuple[Source, ...]:
        wanted = select(TracepointRow.id, TracepointRow.template_name, TracepointRow.target).where(
            TracepointRow.tenant == tenant, TracepointRow.table_name == table
        )
        found = []
        for identity, template, document in await session.execute(wanted):
            target = target_of(document)
            found.append(Source(identity, template, target.service, dict(target.labels)))
        return tuple(found)
