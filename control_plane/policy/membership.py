"""Tenants and their members: a Grant and a change -> rows, with the tenant's policy version raised by one.

The raised version is what makes every replica build a new snapshot at its next decision. Members change by proposals of
the kind `role_changes`, which holds the rules that no role may break. The first people of a tenant are seated by whoever
creates it, or by the operator at the server's shell. Before it `service.require` decided; after it nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.foundation.audit_trail import AuditAction, AuditEvent, AuditTrail, Outcome
from control_plane.foundation.audited import audited
from control_plane.foundation.clock import Clock
from control_plane.foundation.correlation import current_request_id
from control_plane.foundation.database import Database, EveryTenant, within
from control_plane.foundation.errors import Conflict, Invalid
from control_plane.foundation.identifiers import SubjectId, TenantId
from control_plane.identity.model import Principal
from control_plane.policy.decide import PLATFORM, SUBJECT_PATTERN, TENANT_PATTERN
from control_plane.policy.index import Base
from control_plane.policy.model import Grant
from control_plane.policy.proposal_model import Applied, Proposed
from control_plane.policy.proposals import Proposals
from control_plane.policy.role_changes import Membership, RoleChange, check_roles, keep_an_administrator
from control_plane.policy.service import PLATFORM_TENANT, no_such_tenant
from control_plane.policy.snapshots import members_of
from control_plane.policy.tables import MemberRow, TenantRow
from control_plane.policy.tenant_states import GONE

RESERVED_TENANTS: Final = frozenset({PLATFORM, "system", "admin", "default"})
MAX_TITLE: Final = 200
MAX_FOUNDERS: Final = 50  # seated together with their tenant; the rest come by its own administrators
_OPERATOR: Final = "system"  # the person at the server's own shell: holds the state directory, so every key already


@dataclass(frozen=True)
class Tenant:
    name: TenantId
    title: str
    created_at: datetime
    created_by: str


class MembershipService:
    """`issuer` completes a bare user name to a subject: "alice" -> "<issuer>|alice"."""

    def __init__(
        self, database: Database, audit: AuditTrail, base: Base, clock: Clock, issuer: str, proposals: Proposals
    ) -> None:
        self._database = database
        self._audit = audit
        self._base = base
        self._clock = clock
        self._issuer = issuer
        self._proposals = proposals
        self._kind = RoleChange(base, clock)
        proposals.register(self._kind)

    async def create_tenant(
        self,
        grant: Grant,
        name: str,
        title: str,
        administrator: str = "",
        founders: Sequence[tuple[str, Sequence[str]]] = (),
    ) -> Tenant:
        """A tenant, its administrator, the caller when none is named, and its first people. Raises Invalid, Conflict."""
        actor = grant.principal.id
        step = audited(
            self._database, self._audit, PLATFORM_TENANT, actor, AuditAction.TENANT_CREATE, f"tenant/{name[:63]}"
        )
        async with step as session:
            tenant = await self._create(session, name, title, administrator or actor, actor)
            async with within(session, tenant.name):
                for subject, roles in founders:
                    await self._put(session, tenant.name, subject, roles, actor)
            return tenant

    async def unsafe_create_tenant(self, name: str, title: str, administrator: str) -> Tenant:
        """From the server's shell, where no principal exists. Audited as `system`."""
        async with self._database.transaction(PLATFORM_TENANT) as session:
            await self._ensure_platform(session)
            return await self._create(session, name, title, administrator, _OPERATOR)

    async def unsafe_put_member(self, tenant: TenantId, subject: str, roles: Sequence[str]) -> Membership:
        """From the server's shell: how the first administrators come to be. Audited as `system`."""
        async with self._database.transaction(PLATFORM_TENANT) as session:
            await self._ensure_platform(session)
            async with within(session, tenant):
                return await self._put(session, tenant, subject, roles, _OPERATOR)

    async def show(self, grant: Grant) -> Tenant:
        async with self._database.transaction(grant.resource.tenant) as session:
            row = await session.get(TenantRow, grant.resource.tenant)
        if row is None:
            raise no_such_tenant(grant.resource.tenant)
        return _tenant(row)

    async def members(self, grant: Grant) -> tuple[Membership, ...]:
        tenant = grant.resource.tenant
        async with self._database.transaction(tenant) as session:
            rows = await session.scalars(
                select(MemberRow).where(MemberRow.tenant == tenant).order_by(MemberRow.subject, MemberRow.role)
            )
            return _memberships(rows.all())

    async def put_member(
        self, grant: Grant, subject: str, roles: Sequence[str], if_match: str | None = None
    ) -> Applied[Membership] | Proposed:
        """The roles given are all that the subject holds from now on. Raises Invalid, Conflict, Denied, Stale.

        Where a reviewer, an administrator or an auditor comes or goes, a second person agrees first.
        """
        full = self.complete(subject)
        if not roles:
            raise Invalid("roles: expected at least one; removing the member takes all of them away")
        payload = {"subject": full, "roles": sorted(set(roles)), "if_match": if_match}
        return await self._proposals.propose(grant, self._kind, payload)

    async def remove_member(
        self, grant: Grant, subject: str, if_match: str | None = None
    ) -> Applied[Membership] | Proposed:
        """Raises NotFound, Stale, Conflict (the last administrator)."""
        payload: dict[str, object] = {"subject": self.complete(subject), "roles": [], "if_match": if_match}
        return await self._proposals.propose(grant, self._kind, payload)

    async def of(self, principal: Principal) -> tuple[Membership, ...]:
        """Where the principal is a member. Needs no grant: it is about the one who asks."""
        async with self._database.transaction(EveryTenant("where one person is a member")) as session:
            rows = await session.scalars(
                select(MemberRow)
                .join(TenantRow, TenantRow.tenant == MemberRow.tenant)
                .where(MemberRow.subject == principal.id, TenantRow.state.not_in(GONE))
                .order_by(MemberRow.tenant, MemberRow.role)
            )
            return _memberships(rows.all())

    def complete(self, subject: str) -> SubjectId:
        """A bare user name of this server's issuer -> a whole subject. Raises Invalid."""
        full = subject if "|" in subject else f"{self._issuer}|{subject}"
        if not subject or not SUBJECT_PATTERN.fullmatch(full):
            raise Invalid(f'subject {subject!r}: expected a user\'s name or "<issuer>|<sub>"')
        return SubjectId(full)

    async def _create(self, session: AsyncSession, name: str, title: str, administrator: str, actor: str) -> Tenant:
        if not TENANT_PATTERN.fullmatch(name) or name in RESERVED_TENANTS:
            raise Invalid(
                f"tenant name {name!r}: expected up to 63 lower-case letters, digits and dashes, and none of "
                f"{', '.join(sorted(RESERVED_TENANTS))}"
            )
        if not title.isprintable() or len(title) > MAX_TITLE:
            raise Invalid(f"title: expected at most {MAX_TITLE} printable characters")
        subject = self.complete(administrator)
        tenant = TenantId(name)
        row = TenantRow(
            tenant=name, title=title or name, policy_version=1, created_at=self._clock.now(), created_by=actor
        )
        created = AuditEvent(
            AuditAction.TENANT_CREATE,
            Outcome.SUCCESS,
            actor,
            f"tenant/{name}",
            {"title": row.title, "administrator": subject},
            current_request_id.get(),
        )
        await self._audit.append(session, PLATFORM_TENANT, created)
        async with within(session, tenant):
            if await session.get(TenantRow, name) is not None:
                raise Conflict(f"there is a tenant {name!r} already", code="name_taken")
            session.add(row)
            await session.flush()
            await self._audit.append(session, tenant, created)
            await self._put(session, tenant, subject, ["tenant-admin"], actor)
        return _tenant(row)

    async def _put(
        self, session: AsyncSession, tenant: TenantId, subject: str, roles: Sequence[str], actor: str
    ) -> Membership:
        """Without a second person: the first people of a tenant, and whoever the operator seats."""
        full = self.complete(subject)
        wanted = tuple(sorted(set(roles)))
        check_roles(self._base, tenant, wanted)
        if await session.get(TenantRow, tenant) is None:
            raise no_such_tenant(tenant)
        members = await members_of(session, tenant)
        keep_an_administrator(tenant, members, full, wanted)
        seated = await self._kind.seat(session, tenant, full, wanted, actor)
        detail: dict[str, object] = {"subject": full, "before": list(members.get(full, ())), "after": list(wanted)}
        event = AuditEvent(
            AuditAction.MEMBER_CHANGE, Outcome.SUCCESS, actor, f"member/{full}", detail, current_request_id.get()
        )
        await self._audit.append(session, tenant, event)
        return seated

    async def _ensure_platform(self, session: AsyncSession) -> None:
        if await session.get(TenantRow, PLATFORM_TENANT) is None:
            session.add(
                TenantRow(
                    tenant=PLATFORM_TENANT,
                    title="The platform itself",
                    policy_version=1,
                    created_at=self._clock.now(),
                    created_by=_OPERATOR,
                )
            )
            await session.flush()


def _tenant(row: TenantRow) -> Tenant:
    return Tenant(TenantId(row.tenant), row.title, row.created_at, row.created_by)


def _memberships(rows: Sequence[MemberRow]) -> tuple[Membership, ...]:
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for row in rows:
        key = (row.tenant, row.subject)
        found[key] = (*found.get(key, ()), row.role)
    return tuple(Membership(TenantId(tenant), SubjectId(subject), roles) for (tenant, subject), roles in found.items())
