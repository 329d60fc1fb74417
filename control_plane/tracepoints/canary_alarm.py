"""A planted card came out in clear -> everything of the tenant stops, people are told, and the log says where.

Rules that let a card through that nobody has let real ones through. The lock is one on the tenant: it ends what runs and
refuses what is new until somebody who may release locks has found out why. Nothing of the row is written anywhere.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.foundation.audit_trail import AuditAction, AuditEvent, AuditTrail, Outcome
from control_plane.foundation.clock import Clock
from control_plane.foundation.identifiers import AgentId, TenantId
from control_plane.policy.locks import lock_tenant
from control_plane.tracepoints.notices import NoticeKind, announce

RESOURCE: Final = "masking/canary"


class CanaryAlarm:
    def __init__(self, audit: AuditTrail, clock: Clock) -> None:
        self._audit = audit
        self._clock = clock

    async def sound(
        self, session: AsyncSession, tenant: TenantId, tracepoint_id: str, agent: AgentId, where: str
    ) -> None:
        """In the caller's transaction. `where`: what was looked at, with the columns; no value."""
        now = self._clock.now()
        detail = {"tracepoint": tracepoint_id, "agent": agent, "where": where}
        event = AuditEvent(AuditAction.MASKING_CANARY, Outcome.FAILED, f"agent:{agent}", RESOURCE, detail)
        await self._audit.append(session, tenant, event)
        reason = f"a planted card came out in clear: {where}, tracepoint {tracepoint_id} on {agent}"
        lock = await lock_tenant(session, self._audit, tenant, reason, now)
        if lock is not None:
            text = f"everything was stopped ({lock.id}): {reason}. Correct the masking rules, then `probegate lock release {lock.id}`"
            await announce(session, tenant, NoticeKind.CANARY, RESOURCE, text, now)
