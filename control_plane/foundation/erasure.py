"""Everything that a tenant has, gone in one transaction: from the metadata, so that a new table cannot be forgotten.

Kept: the tenant's own row, by which its name stays taken, and the log (`APPEND_ONLY`, `GROW_ONLY`): who looked at what has to
outlive the tenant, no entry holds a captured value, and a Merkle log with a hole in it proves nothing.
"""

from __future__ import annotations

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.foundation.database import Base
from control_plane.foundation.identifiers import TenantId
from control_plane.foundation.row_security import APPEND_ONLY, GROW_ONLY, keyed_by_tenant


async def erase(session: AsyncSession, tenant: TenantId, keep: str) -> None:
    """Delete the tenant's rows in every table but `keep` and those of the log, the referring ones first."""
    for table in reversed(Base.metadata.sorted_tables):
        privileges = table.info.get("privileges")
        logged = privileges in {APPEND_ONLY["privileges"], GROW_ONLY["privileges"]}
        if keyed_by_tenant(table) and not logged and table.name != keep:
            await session.execute(delete(table).where(table.c.tenant == tenant))
