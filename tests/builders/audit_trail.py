"""The audit trail in tests: the real log, read back, and one that refuses on demand."""

from __future__ import annotations

import json
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.audit.service import AuditLog
from control_plane.audit.tables import AuditEntryRow
from control_plane.foundation.audit_trail import AuditAction, AuditEvent
from control_plane.foundation.clock import Clock
from control_plane.foundation.database import Database
from control_plane.foundation.errors import AuditUnavailable
from control_plane.foundation.identifiers import TenantId


class BreakableTrail(AuditLog):
    """The real log, which cannot take entries of the actions in `broken`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        super().__init__(database, clock, Ed25519PrivateKey.generate())
        self.broken: set[AuditAction] = set()

    async def append(self, session: AsyncSession, tenant: TenantId, event: AuditEvent) -> int:
        if event.action in self.broken:
            raise AuditUnavailable("the log is full")
        return await super().append(session, tenant, event)


async def entries(database: Database, tenant: str = "acme") -> list[dict[str, Any]]:
    """Every entry of a tenant's log, the oldest first."""
    wanted = select(AuditEntryRow.entry).where(AuditEntryRow.tenant == tenant).order_by(AuditEntryRow.number)
    async with database.transaction(TenantId(tenant)) as session:
        return [json.loads(entry) for entry in await session.scalars(wanted)]


async def actions(database: Database, tenant: str = "acme") -> list[tuple[str, str]]:
    return [(entry["action"], entry["outcome"]) for entry in await entries(database, tenant)]
