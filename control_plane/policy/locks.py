"""Locks: what must not be asked for and must not run, from now on, until somebody releases it.

A lock names a user, a role, a tenant, a template, a digest, an agent, a build-id of an executable, or everything. Those
of the tenant `platform` hold in every tenant. `hit` is pure: it finds the lock that stops something. `tracepoints` asks
it before it seals and again every second for all that runs; releasing a lock starts nothing again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.foundation.audit_trail import AuditAction, AuditEvent, AuditTrail, Outcome
from control_plane.foundation.audited import audited
from control_plane.foundation.clock import Clock
from control_plane.foundation.correlation import current_request_id
from control_plane.foundation.database import Database
from control_plane.foundation.errors import Conflict, Invalid, NotFound
from control_plane.foundation.identifiers import SubjectId, TenantId, new_id
from control_plane.policy.decide import PLATFORM
from control_plane.policy.model import Grant
from control_plane.policy.tables import LockRow, TenantRow
from control_plane.policy.tenant_states import TenantState

MAX_LOCKS: Final = 1000  # of one tenant at once: each is compared with all that runs, every second
MAX_VALUE: Final = 700
MAX_REASON: Final = 1000
ITSELF: Final = "system"  # who locks when no person does


class LockKind(StrEnum):
    USER = "user"
    ROLE = "role"
    TENANT = "tenant"
    TEMPLATE = "template"
    DIGEST = "digest"
    AGENT = "agent"
    BUILD_ID = "build-id"
    EVERYTHING = "everything"


@dataclass(frozen=True)
class Lock:
    id: str
    kind: LockKind
    value: str  # empty for everything
    reason: str
    created_by: str
    created_at: datetime
    expires_at: datetime | None
    platform: bool  # holds in every tenant

    def words(self) -> str:
        what = f"{self.kind} {self.value}".strip()
        return f"{what} is locked by {self.created_by}: {self.reason} ({self.id})"


@dataclass(frozen=True)
class Touched:
    """What one tracepoint, or the request for one, has to do with."""

    tenant: TenantId
    users: frozenset[str] = frozenset()  # who asked for it, all of their logins
    roles: frozenset[str] = frozenset()
    template: str = ""
    digest: str = ""
    build_ids: frozenset[str] = field(default_factory=frozenset)


def hit(locks: Iterable[Lock], touched: Touched) -> Lock | None:
    """The first lock that stops it as a whole; agents are another question: see `locked_agents`."""
    for lock in locks:
        match lock.kind:
            case LockKind.EVERYTHING:
                return lock
            case LockKind.TENANT if lock.value == touched.tenant:
                return lock
            case LockKind.USER if lock.value in touched.users:
                return lock
            case LockKind.ROLE if lock.value in touched.roles:
                return lock
            case LockKind.TEMPLATE if lock.value == touched.template:
                return lock
            case LockKind.DIGEST if lock.value == touched.digest:
                return lock
            case LockKind.BUILD_ID if lock.value in touched.build_ids:
                return lock
            case _:
                pass
    return None


def locked_agents(locks: Iterable[Lock]) -> frozenset[str]:
    return frozenset(lock.value for lock in locks if lock.kind is LockKind.AGENT)


def locked_build_ids(locks: Iterable[Lock]) -> frozenset[str]:
    return frozenset(lock.value for lock in locks if lock.kind is LockKind.BUILD_ID)


async def active_locks(session: AsyncSession, tenant: str, now: datetime) -> tuple[Lock, ...]:
    """Those of the tenant and of the platform that hold now, the oldest first; a tenant that is not active is one itself."""
    stopped = await session.scalar(
        select(TenantRow).where(TenantRow.tenant == tenant, TenantRow.state != TenantState.ACTIVE)
    )
    found = await session.scalars(
        select(LockRow)
        .where(
            LockRow.tenant.in_({tenant, PLATFORM}),
            LockRow.released_at.is_(None),
            or_(LockRow.expires_at.is_(None), LockRow.expires_at > now),
        )
        .order_by(LockRow.created_at, LockRow.id)
    )
    return (*([_stopped(stopped)] if stopped is not None else []), *(_lock(row) for row in found))


async def locked_subjects(
    session: AsyncSession, tenant: str, roles: Mapping[SubjectId, Collection[str]], now: datetime
) -> frozenset[SubjectId]:
    """Those whose user, or one of whose roles, is locked."""
    locks = await active_locks(session, tenant, now)
    users = {lock.value for lock in locks if lock.kind is LockKind.USER}
    held = {lock.value for lock in locks if lock.kind is LockKind.ROLE}
    return frozenset(who for who, theirs in roles.items() if who in users or held & set(theirs))


async def lock_tenant(
    session: AsyncSession, audit: AuditTrail, tenant: TenantId, reason: str, now: datetime
) -> Lock | None:
    """By the platform itself, in the caller's transaction. None: it is locked already."""
    if any(
        lock.kind is LockKind.TENANT and lock.created_by == ITSELF for lock in await active_locks(session, tenant, now)
    ):
        return None
    row = LockRow(
        tenant=tenant,
        id=new_id("lk"),
        kind=LockKind.TENANT.value,
        value=tenant,
        reason=reason[:MAX_REASON],
        created_by=ITSELF,
        created_at=now,
        expires_at=None,
        released_at=None,
        released_by=None,
    )
    session.add(row)
    await session.flush()
    detail = {"id": row.id, "reason": row.reason}
    event = AuditEvent(AuditAction.LOCK_CREATE, Outcome.SUCCESS, ITSELF, f"lock/tenant:{tenant}", detail)
    await audit.append(session, tenant, event)
    return _lock(row)


class LockService:
    def __init__(self, database: Database, audit: AuditTrail, clock: Clock) -> None:
        self._database = database
        self._audit = audit
        self._clock = clock

    async def lock(self, grant: Grant, kind: LockKind, value: str, reason: str, ttl: timedelta | None = None) -> Lock:
        """Raises Invalid, Conflict."""
        tenant, now = grant.resource.tenant, self._clock.now()
        resource = f"lock/{kind}:{value[:MAX_VALUE]}"
        async with audited(
            self._database, self._audit, tenant, grant.principal.id, AuditAction.LOCK_CREATE, resource
        ) as session:
            _check(tenant, kind, value, reason)
            if len([lock for lock in await active_locks(session, tenant, now) if not lock.platform]) >= MAX_LOCKS:
                raise Conflict(f"a tenant has at most {MAX_LOCKS} locks at once: release some", code="too_many_locks")
            row = LockRow(
                tenant=tenant,
                id=new_id("lk"),
                kind=kind.value,
                value=value,
                reason=reason.strip(),
                created_by=grant.principal.id,
                created_at=now,
                expires_at=None if ttl is None else now + ttl,
                released_at=None,
                released_by=None,
            )
            session.add(row)
            await session.flush()
            await self._log(session, grant, AuditAction.LOCK_CREATE, resource, {"id": row.id, "reason": row.reason})
            return _lock(row)

    async def release(self, grant: Grant, lock_id: str) -> Lock:
        """What it stopped stays stopped. Raises NotFound."""
        tenant = grant.resource.tenant
        resource = f"lock/{lock_id[:40]}"
        async with audited(
            self._database, self._audit, tenant, grant.principal.id, AuditAction.LOCK_RELEASE, resource
        ) as session:
            row = await session.get(LockRow, (tenant, lock_id[:40]), with_for_update=True)
            if row is None or row.released_at is not None:
                raise NotFound(f"there is no lock {lock_id[:40]!r} that holds; `probegate lock ls` lists them")
            row.released_at, row.released_by = self._clock.now(), grant.principal.id
            details = {"kind": row.kind, "value": row.value}
            await self._log(session, grant, AuditAction.LOCK_RELEASE, resource, details)
            return _lock(row)

    async def list(self, grant: Grant) -> tuple[Lock, ...]:
        async with self._database.transaction(grant.resource.tenant) as session:
            return await active_locks(session, grant.resource.tenant, self._clock.now())

    async def _log(
        self, session: AsyncSession, grant: Grant, action: AuditAction, resource: str, detail: Mapping[str, object]
    ) -> None:
        event = AuditEvent(action, Outcome.SUCCESS, grant.principal.id, resource, detail, current_request_id.get())
        await self._audit.append(session, grant.resource.tenant, event)


def _check(tenant: str, kind: LockKind, value: str, reason: str) -> None:
    if not reason.strip() or len(reason) > MAX_REASON:
        raise Invalid(f"a lock needs a reason of at most {MAX_REASON} characters: others have to know why")
    if kind is LockKind.EVERYTHING:
        if value:
            raise Invalid("a lock on everything names nothing else")
        return
    if not value or len(value) > MAX_VALUE or not value.isprintable():
        raise Invalid(f"a lock on a {kind} names one, in at most {MAX_VALUE} printable characters")
    if kind is LockKind.TENANT and tenant not in {value, PLATFORM}:
        raise Invalid("a tenant locks itself only; the platform's administrators lock any")


def _stopped(row: TenantRow) -> Lock:
    since = row.state_changed_at or row.created_at
    return Lock(
        row.state, LockKind.TENANT, row.tenant, row.state_reason, row.state_changed_by, since, None, platform=True
    )


def _lock(row: LockRow) -> Lock:
    return Lock(
        row.id,
        LockKind(row.kind),
        row.value,
        row.reason,
        row.created_by,
        row.created_at,
        row.expires_at,
        row.tenant == PLATFORM,
    )
