"""A tenant's own policy, as a kind of proposal: a whole text -> the plan of it, and the version that comes into force.

What is given has to be held by its author, and by whoever agrees: nothing stands in for it. `changing` is its user.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.foundation.audit_trail import AuditAction
from control_plane.foundation.clock import Clock
from control_plane.foundation.errors import Stale
from control_plane.foundation.identifiers import SubjectId, TenantId
from control_plane.policy.comparing import told
from control_plane.policy.document import load_policy
from control_plane.policy.index import Base, Snapshot
from control_plane.policy.model import Asker, Grant, Permission
from control_plane.policy.planning import digest_of, planned, refuse_bad
from control_plane.policy.proposal_model import Description, Payload
from control_plane.policy.rule_tables import PolicyVersionRow
from control_plane.policy.snapshots import read_snapshot
from control_plane.policy.tables import TenantRow


class VersionState(StrEnum):
    APPLIED = "applied"
    SUPERSEDED = "superseded"


@dataclass(frozen=True)
class PolicyVersion:
    """One that is, or was, in force. `decided_by` put it there: its author, or the second person."""

    version: int
    digest: str
    state: VersionState
    source: str
    message: str
    author: str
    created_at: datetime
    decided_by: str
    decided_at: datetime | None

    @classmethod
    def of(cls, row: PolicyVersionRow) -> PolicyVersion:
        return cls(
            row.version,
            row.digest,
            VersionState(row.state),
            row.source,
            row.message,
            row.author,
            row.created_at,
            row.decided_by,
            row.decided_at,
        )


class PolicyText:
    """Kind[PolicyVersion]. The payload: `source`, `message`, and `based_on`, the version that it was made from, or None."""

    name: Final = "policy"
    permission: Final = Permission.POLICY_WRITE
    guard: Final = None
    action: Final = AuditAction.POLICY_APPLY

    def __init__(self, base: Base, clock: Clock) -> None:
        self._base = base
        self._clock = clock

    def resource(self, payload: Payload) -> str:
        return f"policy/{digest_of(payload['source'])}"

    def named(self, payload: Payload) -> str:  # noqa: ARG002 -- a tenant has one policy
        return "*"

    async def describe(self, session: AsyncSession, tenant: TenantId, asker: Asker, payload: Payload) -> Description:
        """Raises BadPolicy, Invalid, Stale."""
        source = payload["source"]
        document = load_policy(source, self._base.book)
        snapshot = await self.snapshot(session, tenant, lock=True)
        current = await in_force(session, tenant)
        version = current.version if current else 0
        if payload["based_on"] not in {None, version}:
            raise Stale(
                f"policy version {version} is in force, yours was made from {payload['based_on']}: "
                "`probegate policy plan` again"
            )
        plan = planned(snapshot, document, source, asker, self._clock.now())
        refuse_bad(plan)
        return Description(
            summary=told(plan.changes),
            needs=plan.needs,
            base=digest_of(f"{version} {current.digest if current else ''}"),
            not_held=plan.not_held,
            detail={"digest": plan.digest, "message": payload["message"]},
        )

    async def enact(self, session: AsyncSession, grant: Grant, payload: Payload, author: SubjectId) -> PolicyVersion:
        tenant, table, now = grant.resource.tenant, PolicyVersionRow, self._clock.now()
        current = await in_force(session, tenant)
        newest = await session.scalar(select(func.max(table.version)).where(table.tenant == tenant)) or 0
        await session.execute(
            update(table)
            .where(table.tenant == tenant, table.state == VersionState.APPLIED)
            .values(state=VersionState.SUPERSEDED.value)
        )
        row = PolicyVersionRow(
            tenant=tenant,
            version=newest + 1,
            source=payload["source"],
            digest=digest_of(payload["source"]),
            state=VersionState.APPLIED.value,
            based_on=current.version if current else 0,
            message=payload["message"],
            author=author,
            created_at=now,
            decided_by=grant.principal.id,
            decided_at=now,
        )
        session.add(row)
        await session.execute(
            update(TenantRow)
            .where(TenantRow.tenant == tenant)
            .values(policy_version=TenantRow.policy_version + 1)
            .execution_options(synchronize_session=False)
        )
        await session.flush()
        return PolicyVersion.of(row)

    async def snapshot(self, session: AsyncSession, tenant: TenantId, *, lock: bool = False) -> Snapshot:
        wanted = select(TenantRow.policy_version).where(TenantRow.tenant == tenant)
        version = await session.scalar(wanted.with_for_update() if lock else wanted)
        return await read_snapshot(session, tenant, version or 0, self._base)


async def in_force(session: AsyncSession, tenant: TenantId) -> PolicyVersionRow | None:
    """The tenant's own policy; None while policies/roles.yaml alone holds."""
    table = PolicyVersionRow
    found: PolicyVersionRow | None = await session.scalar(
        select(table).where(table.tenant == tenant, table.state == VersionState.APPLIED)
    )
    return found
