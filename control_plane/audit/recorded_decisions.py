"""The log's entries about policy -> the decisions they record, for `policy simulate`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.audit.tables import AuditEntryRow
from control_plane.foundation.audit_trail import AuditAction
from control_plane.foundation.identifiers import TenantId
from control_plane.identity.model import PrincipalKind
from control_plane.policy.questions import RecordedDecision


class LoggedDecisions:
    """Implements `policy.questions.RecordedDecisions`."""

    async def recorded(self, session: AsyncSession, tenant: TenantId, limit: int) -> Sequence[RecordedDecision]:
        table = AuditEntryRow
        rows = await session.execute(
            select(table.time, table.action, table.actor, table.resource, table.entry)
            .where(table.tenant == tenant, table.action.in_([AuditAction.POLICY_ALLOW, AuditAction.POLICY_DENY]))
            .order_by(table.number.desc())
            .limit(limit)
        )
        return [
            _decision(time, actor, resource, action == AuditAction.POLICY_ALLOW, _detail(entry))
            for time, action, actor, resource, entry in rows
        ]

    async def groups_of(self, session: AsyncSession, tenant: TenantId, subject: str) -> frozenset[str]:
        table = AuditEntryRow
        entry = await session.scalar(
            select(table.entry)
            .where(
                table.tenant == tenant,
                table.actor == subject,
                table.action.in_([AuditAction.POLICY_ALLOW, AuditAction.POLICY_DENY]),
            )
            .order_by(table.number.desc())
            .limit(1)
        )
        return frozenset() if entry is None else frozenset(map(str, _detail(entry).get("groups", ())))


def _decision(time: datetime, actor: str, resource: str, allowed: bool, detail: dict[str, Any]) -> RecordedDecision:
    return RecordedDecision(
        at=time,
        actor=actor,
        permission=str(detail["permission"]),
        name=resource.partition("/")[2] or "*",
        allowed=allowed,
        rule=str(detail.get("rule", "")),
        groups=frozenset(map(str, detail.get("groups", ()))),
        program=detail.get("kind") == PrincipalKind.SERVICE,
    )


def _detail(entry: bytes) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(entry)
    detail: dict[str, Any] = document["detail"]
    return detail
