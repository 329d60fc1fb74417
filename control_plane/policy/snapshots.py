"""The database -> one tenant's Snapshot, as of the transaction that reads it."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.policy.document import PolicyDocument, load_policy
from control_plane.policy.index import Base, Snapshot, build_snapshot
from control_plane.policy.rule_tables import PolicyVersionRow
from control_plane.policy.tables import MemberRow, TenantRow
from control_plane.policy.tenant_states import TenantState


async def read_snapshot(session: AsyncSession, tenant: str, version: int, base: Base) -> Snapshot:
    document = await policy_in_force(session, tenant, base)
    members = await members_of(session, tenant)
    snapshot = build_snapshot(tenant, version, members, base, document.rules, document.group_roles())
    wanted = select(TenantRow.state_reason).where(TenantRow.tenant == tenant, TenantRow.state == TenantState.SUSPENDED)
    suspended = await session.scalar(wanted)
    return snapshot if suspended is None else replace(snapshot, suspended=suspended)


async def policy_in_force(session: AsyncSession, tenant: str, base: Base) -> PolicyDocument:
    """The tenant's own policy; an empty one when it never applied any. Raises BadPolicy: then nothing is allowed."""
    table = PolicyVersionRow
    source = await session.scalar(select(table.source).where(table.tenant == tenant, table.state == "applied"))
    return PolicyDocument() if source is None else load_policy(source, base.book)


async def members_of(session: AsyncSession, tenant: str) -> dict[str, tuple[str, ...]]:
    rows = await session.execute(
        select(MemberRow.subject, MemberRow.role)
        .where(MemberRow.tenant == tenant)
        .order_by(MemberRow.subject, MemberRow.role)
    )
    members: dict[str, tuple[str, ...]] = {}
    for subject, role in rows:
        members[subject] = (*members.get(subject, ()), role)
    return members
