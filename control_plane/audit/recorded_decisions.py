"""The log's entries about policy -> the decisions they record, for `policy simulate`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.audit.tables import AuditEntryRow
from control_plane.foundation.audit_trail import AuditAction
from control_plane.foundation.identifiers import TenantId
from control_plane.policy.changing import RecordedDecision


class LoggedDecisions:
    """Implements `policy.changing.RecordedDecisions`."""

    async def recorded(self, session: AsyncSession, tenant: TenantId, limit: int) -> Sequence[RecordedDecision]:
        table = AuditEntryRow
        rows = await session.execute(
            select(table.time, table.action, table.actor, table.resource, table.entry)
            .where(table.tenant == tenant, table.action.in_([AuditAction.POLICY_ALLOW, AuditAction.POLICY_DENY]))
            .order_by(table.number.desc())
            .limit(limit)
        )
        return [
            RecordedDecision(
                time,
                actor,
                _permission(entry),
                resource.partition("/")[2] or "*",
                action == AuditAction.POLICY_ALLOW,
            )
            for time, action, actor, resource, entry in rows
        ]


def _permission(entry: bytes) -> str:
    document: dict[str, Any] = json.loads(entry)
    return str(document["detail"]["permission"])
