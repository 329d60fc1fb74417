"""One transaction whose refusal is logged too: the change rolls back, the entry about it stays.

A success writes its own entry inside the transaction, beside the change. What is refused or fails there leaves no
change, so its entry gets a transaction of its own; if that cannot be written either, the call fails with that.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.foundation.audit_trail import AuditAction, AuditEvent, AuditTrail, Outcome
from control_plane.foundation.correlation import current_request_id
from control_plane.foundation.database import Database
from control_plane.foundation.errors import AuditUnavailable, DependencyUnavailable, ProbegateError
from control_plane.foundation.identifiers import TenantId


@asynccontextmanager
async def audited(
    database: Database, audit: AuditTrail, tenant: TenantId, actor: str, action: AuditAction, resource: str
) -> AsyncIterator[AsyncSession]:
    """A session whose block commits, or rolls back and is logged as refused. Raises what the block raises."""
    try:
        async with database.transaction(tenant) as session:
            yield session
    except AuditUnavailable:
        raise  # there is no log to write this into
    except ProbegateError as error:
        outcome = Outcome.FAILED if isinstance(error, DependencyUnavailable) else Outcome.REFUSED
        event = AuditEvent(
            action=action,
            outcome=outcome,
            actor=actor,
            resource=resource,
            detail={"code": error.code, "reason": error.detail},
            request_id=current_request_id.get(),
        )
        async with database.transaction(tenant) as session:
            await audit.append(session, tenant, event)
        raise
