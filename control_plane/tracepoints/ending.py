"""The entry about a tracepoint's end: why, and where every hit went."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.foundation.audit_trail import AuditAction, AuditEvent, AuditTrail, Outcome
from control_plane.foundation.identifiers import TenantId
from control_plane.tracepoints.lifecycle import State
from control_plane.tracepoints.model import Accounting
from control_plane.tracepoints.tables import TracepointAgentRow, TracepointRow


async def log_end(
    session: AsyncSession,
    audit: AuditTrail,
    row: TracepointRow,
    statuses: Sequence[TracepointAgentRow],
    actor: str,
) -> None:
    total = Accounting.total(Accounting(**status.accounting) for status in statuses)
    event = AuditEvent(
        action=AuditAction.TRACEPOINT_END,
        outcome=Outcome.FAILED if row.state == State.FAILED else Outcome.SUCCESS,
        actor=actor,
        resource=f"tracepoint/{row.id}",
        detail={
            "name": row.name,
            "version": row.version,
            "reason": row.end_reason,
            "agents": {status.agent_id: f"{status.state} {status.end_reason}".strip() for status in statuses},
            "accounting": total.document(),
        },
    )
    await audit.append(session, TenantId(row.tenant), event)
