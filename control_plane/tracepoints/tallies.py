"""How many tracepoints a tenant has: for its quota, and before what it had is erased (`policy.tenants`)."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.tracepoints.lifecycle import LIVE, OVER, State
from control_plane.tracepoints.tables import TracepointRow


async def count_alive(session: AsyncSession, tenant: str) -> int:
    """Those that run, or will."""
    return await _count(session, tenant, set(State) - {*OVER, State.STOPPING})


async def count_running(session: AsyncSession, tenant: str) -> int:
    """Those that some host may still run: no agent has said that it ended, and the longest lease is not over."""
    return await _count(session, tenant, {*LIVE, State.STOPPING})


async def _count(session: AsyncSession, tenant: str, states: Iterable[State]) -> int:
    table = TracepointRow
    of_tenant = (table.tenant == tenant, table.state.in_([state.value for state in states]))
    return await session.scalar(select(func.count()).select_from(table).where(*of_tenant)) or 0
