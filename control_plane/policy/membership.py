"""Tenants and their members: a Grant and a change -> rows, with the tenant's policy version raised by one.

The raised version is what makes every replica build a new snapshot at its next decision. Kept here: the rules that no
role may break. A tenant keeps at least one administrator, nobody holds two roles that exclude each other, a platform
role is held in the platform's tenant only. Before it `service.require` decided; after it nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.foundation.audit_trail import AuditAction, AuditEvent, AuditTrail, Outcome
from control_plane.foundation.audited import audited
from control_plane.foundation.clock import Clock
from control_plane.foundation.correlation import current_request_id
from control_plane.foundation.database import Database, EveryTenant, within
from control_plane.foundation.errors import Conflict, Invalid, NotFound
from control_plane.foundation.identifiers import SubjectId, TenantId
from control_plane.identity.model import Principal
from control_plane.policy.decide import PLATFORM, SUBJECT_PATTERN, TENANT_PATTERN
from control_plane.policy.model import Grant
from control_plane.policy.roles import RoleBook
from control_plane.policy.service import PLATFORM_TENANT, no_such_tenant
from control_plane.policy.tables import MemberRow, TenantRow

RESERVED_TENANTS: Final = frozenset({PLATFORM, "system", "admin", "default"})
MAX_TITLE: Final = 200
_MAX_LOGGED: Final = 700  # characters of a subject that nobody has checked yet
_ADMINISTRATORS: Final = {True: "platform-admin", False: "tenant-admin"}
_OPERATOR: Final = "system"  # the person at the server's own shell: holds the state directory, so every key already


@dataclass(frozen=True)
class Tenant:
    name: TenantId
    title: str
    created_at: datetime
    created_by: str


@dataclass(frozen=True)
class Membership:
    """One subject in one tenant."""

    tenant: TenantId
    subject: SubjectId
    roles: tuple[str, ...]


class MembershipService:
    """`issuer` completes a bare user name to a subject: "alice" -> "<issuer>|alice"."""

    def __init__(self, database: Database, audit: AuditTrail, book: RoleBook, clock: Clock, issuer: str) -> None:
        self._database = database
        self._audit = audit
        self._book = book
        self._clock = clock
        self._issuer = issuer

    async def create_tenant(self, grant: Grant, name: str, title: str, administrator: str = "") -> Tenant:
        """A tenant and its first administrator, the caller when none is named. Raises Invalid, Conflict."""
        actor = grant.principal.id
        step = audited(
            self._database, self._audit, PLATFORM_TENANT, actor, AuditAction.TENANT_CREATE, f"tenant/{name[:63]}"
        )
        async with step as session:
            return await self._create(session, name, title, administrator or actor, actor)

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

    async def put_member(self, grant: Grant, subject: str, roles: Sequence[str]) -> Membership:
        """The roles given are all that the subject holds from now on. Raises Invalid, Conflict."""
        async with self._changing(grant, subject) as session:
            return await self._put(session, grant.resource.tenant, subject, roles, grant.principal.id)

    async def remove_member(self, grant: Grant, subject: str) -> None:
        """Raises NotFound, Conflict (the last administrator)."""
        tenant = grant.resource.tenant
        async with self._changing(grant, subject) as session:
            full = self.complete(subject)
            await self._keep_an_administrator(session, tenant, full, ())
            gone = await session.scalars(
                delete(MemberRow).where(MemberRow.tenant == tenant, MemberRow.subject == full).returning(MemberRow.role)
            )
            roles = sorted(gone.all())
            if not roles:
                raise NotFound(f"{subject!r} is not a member of tenant {tenant}")
            await self._changed(session, tenant, full, roles, [], grant.principal.id)

    def _changing(self, grant: Grant, subject: str) -> AbstractAsyncContextManager[AsyncSession]:
        resource = f"member/{subject[:_MAX_LOGGED]}"
        actor = grant.principal.id
        return audited(self._database, self._audit, grant.resource.tenant, actor, AuditAction.MEMBER_CHANGE, resource)

    async def of(self, principal: Principal) -> tuple[Membership, ...]:
        """Where the principal is a member. Needs no grant: it is about the one who asks."""
        async with self._database.transaction(EveryTenant("where one person is a member")) as session:
            rows = await session.scalars(
                select(MemberRow).where(MemberRow.subject == principal.id).order_by(MemberRow.tenant, MemberRow.role)
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
        full = self.complete(subject)
        wanted = tuple(sorted(set(roles)))
        self._check_roles(tenant, wanted)
        if await session.get(TenantRow, tenant) is None:
            raise no_such_tenant(tenant)
        await self._keep_an_administrator(session, tenant, full, wanted)
        before = (
            await session.scalars(
                delete(MemberRow).where(MemberRow.tenant == tenant, MemberRow.subject == full).returning(MemberRow.role)
            )
        ).all()
        for role in wanted:
            session.add(MemberRow(tenant=tenant, subject=full, role=role, added_at=self._clock.now(), added_by=actor))
        await session.flush()
        await self._changed(session, tenant, full, sorted(before), list(wanted), actor)
        return Membership(tenant, full, wanted)

    def _check_roles(self, tenant: TenantId, roles: tuple[str, ...]) -> None:
        if not roles:
            raise Invalid("roles: expected at least one; removing the member takes all of them away")
        for name in roles:
            role = self._book.roles.get(name)
            if role is None:
                raise Invalid(f"there is no role {name!r}; roles are {', '.join(self._book.roles)}")
            if role.platform != (tenant == PLATFORM_TENANT) and (role.platform or name != "auditor"):
                where = "in the tenant 'platform' only" if role.platform else "not in the tenant 'platform'"
                raise Invalid(f"the role {name} can be held {where}")
            for other in role.excludes:
                if other in roles:
                    raise Invalid(f"{name} and {other} exclude each other: two people must hold them")

    async def _keep_an_administrator(
        self, session: AsyncSession, tenant: TenantId, subject: SubjectId, roles: tuple[str, ...]
    ) -> None:
        administrator = _ADMINISTRATORS[tenant == PLATFORM_TENANT]
        if administrator in roles:
            return
        holders = (
            await session.scalars(
                select(MemberRow.subject).where(MemberRow.tenant == tenant, MemberRow.role == administrator)
            )
        ).all()
        if list(holders) == [subject]:
            raise Conflict(
                f"{subject} is the last {administrator} of tenant {tenant}; name another first",
                code="last_administrator",
            )

    async def _changed(
        self,
        session: AsyncSession,
        tenant: TenantId,
        subject: SubjectId,
        before: list[str],
        after: list[str],
        actor: str,
    ) -> None:
        await session.execute(
            update(TenantRow)
            .where(TenantRow.tenant == tenant)
            .values(policy_version=TenantRow.policy_version + 1)
            .execution_options(synchronize_session=False)
        )
        detail: dict[str, object] = {"subject": subject, "before": before, "after": after}
        await self._audit.append(
            session,
            tenant,
            AuditEvent(
                AuditAction.MEMBER_CHANGE, Outcome.SUCCESS, actor, f"member/{subject}", detail, current_request_id.get()
            ),
        )

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
