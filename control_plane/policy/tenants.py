"""A tenant's life after its creation: suspended, resumed, deleted; and the limits that the platform sets for it.

    active  --suspend-->  suspended  --resume-->  active
       |                      |
       +--delete--------------+--delete-->  deleting  --finish-->  deleted

Suspended: `active_locks` has a lock on the whole tenant, so `tracepoints.enforcement` takes back what runs within a second
and nothing new is sealed; `decide` leaves members the permissions of READABLE, so that they learn why. Deleting: to its
members it is not there any more; when no host can run anything of it (each agent has said so, or its lease is over) `finish`
erases what it had. The name stays taken and the log stays: see `foundation.erasure`.

Administered by the platform only. What happens is in the platform's log and in the tenant's own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NoReturn, Protocol

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.foundation.audit_trail import AuditAction, AuditEvent, AuditTrail, Outcome
from control_plane.foundation.audited import audited
from control_plane.foundation.clock import Clock
from control_plane.foundation.correlation import current_request_id
from control_plane.foundation.database import DATABASE_UNREACHABLE, Database, EveryTenant, within
from control_plane.foundation.erasure import erase
from control_plane.foundation.errors import Conflict, Invalid, NotFound, ProbegateError
from control_plane.foundation.identifiers import TenantId
from control_plane.foundation.request_headers import check_match
from control_plane.policy.decide import PLATFORM, TENANT_PATTERN
from control_plane.policy.model import Grant
from control_plane.policy.quotas import MAX_LIMIT, Quota, Quotas, Use
from control_plane.policy.tables import TenantQuotaRow, TenantRow
from control_plane.policy.tenant_states import TenantState

PLATFORM_TENANT: Final = TenantId(PLATFORM)
MAX_REASON: Final = 1000
MAX_PAGE: Final = 200
EVERY: Final = timedelta(seconds=5)  # between looks at what is being deleted
_SYSTEM: Final = "system"
_log = logging.getLogger(__name__)


class Running(Protocol):
    """`tracepoints` implements it, `bootstrap` connects them."""

    async def __call__(self, session: AsyncSession, tenant: TenantId) -> int:
        """How many tracepoints some host may still run."""
        ...


@dataclass(frozen=True)
class TenantLife:
    name: TenantId
    title: str
    state: TenantState
    reason: str
    created_at: datetime
    created_by: str
    changed_at: datetime | None
    changed_by: str

    @property
    def etag(self) -> str:
        return f"tenant-{self.state}-{int(self.changed_at.timestamp() * 1000) if self.changed_at else 0}"


@dataclass(frozen=True)
class TenantQuotas:
    uses: tuple[Use, ...]
    revision: int

    @property
    def etag(self) -> str:
        return f"quotas-{self.revision}"


class TenantService:
    def __init__(self, database: Database, audit: AuditTrail, clock: Clock, quotas: Quotas, running: Running) -> None:
        self._database = database
        self._audit = audit
        self._clock = clock
        self._quotas = quotas
        self._running = running

    async def list(self, after: str = "", limit: int = 100) -> tuple[TenantLife, ...]:
        """By name, from behind `after`; for whoever holds tenant:read in the platform's tenant."""
        wanted = select(TenantRow).where(TenantRow.tenant > after, TenantRow.tenant != PLATFORM)
        async with self._database.transaction(
            EveryTenant("the platform's administrators see which there are")
        ) as session:
            rows = await session.scalars(wanted.order_by(TenantRow.tenant).limit(max(1, min(limit, MAX_PAGE))))
            return tuple(_life(row) for row in rows)

    async def show(self, name: str) -> TenantLife:
        """Raises NotFound."""
        tenant = _named(name)
        async with self._database.transaction(tenant) as session:
            return _life(await _row(session, tenant))

    async def suspend(self, grant: Grant, name: str, reason: str, if_match: str | None = None) -> TenantLife:
        """Raises NotFound, Conflict, Invalid, Stale."""
        return await self._move(grant, name, AuditAction.TENANT_SUSPEND, TenantState.SUSPENDED, reason, if_match)

    async def resume(self, grant: Grant, name: str, reason: str, if_match: str | None = None) -> TenantLife:
        """What was taken back stays so: it is asked for again. Raises NotFound, Conflict, Invalid, Stale."""
        return await self._move(grant, name, AuditAction.TENANT_RESUME, TenantState.ACTIVE, reason, if_match)

    async def delete(self, grant: Grant, name: str, reason: str, if_match: str | None = None) -> TenantLife:
        """For good. Its probes end first, then `finish` erases what it had. Raises NotFound, Conflict, Invalid, Stale."""
        return await self._move(grant, name, AuditAction.TENANT_DELETE, TenantState.DELETING, reason, if_match)

    async def quotas(self, name: str) -> TenantQuotas:
        """Limits and what is used of them, for the tenant and for the platform alike. Raises NotFound."""
        tenant = _named(name)
        async with self._database.transaction(tenant) as session:
            await _row(session, tenant)
            return await self._read_quotas(session, tenant)

    async def set_quotas(
        self, grant: Grant, name: str, limits: Mapping[Quota, int | None], if_match: str | None = None
    ) -> TenantQuotas:
        """Those that are named; None gives the operator's own back. Raises NotFound, Invalid, Stale."""
        tenant = _named(name)
        for quota, limit in limits.items():
            if limit is not None and not 0 <= limit <= MAX_LIMIT:
                raise Invalid(f"{quota}: expected 0 to {MAX_LIMIT}, {limit} came")
        async with self._step(grant, AuditAction.TENANT_QUOTA, tenant) as session, within(session, tenant):
            await _row(session, tenant)
            row = await session.get(TenantQuotaRow, tenant, with_for_update=True)
            check_match("the quotas", f"quotas-{row.revision if row else 0}", if_match)
            if row is None:
                row = TenantQuotaRow(tenant=tenant, limits={}, revision=0)
                session.add(row)
            before = dict(row.limits)
            after = {**before, **{quota.value: limit for quota, limit in limits.items()}}
            row.limits = {quota: limit for quota, limit in after.items() if limit is not None}
            row.revision += 1
            row.changed_by, row.changed_at = grant.principal.id, self._clock.now()
            await session.flush()
            detail = {"before": before, "after": row.limits}
            await self._note(session, tenant, grant.principal.id, AuditAction.TENANT_QUOTA, detail)
            return await self._read_quotas(session, tenant)

    async def finish(self) -> int:
        """Erase the tenants that are being deleted and whose probes have all ended; how many those were."""
        async with self._database.transaction(EveryTenant("which tenants are being deleted")) as session:
            found = await session.scalars(select(TenantRow.tenant).where(TenantRow.state == TenantState.DELETING))
            tenants = [TenantId(tenant) for tenant in found]
        return sum([await self._finished(tenant) for tenant in tenants])

    async def keep_up(self, every: timedelta = EVERY) -> NoReturn:
        """Again and again, until cancelled; a dependency that is away is tried again."""
        while True:
            try:
                await self.finish()
            except (ProbegateError, OSError, *DATABASE_UNREACHABLE) as error:
                _log.warning("the end of a tenant has to wait: %s", error)
            await asyncio.sleep(every.total_seconds())

    async def _finished(self, tenant: TenantId) -> bool:
        async with self._database.transaction(PLATFORM_TENANT) as session, within(session, tenant):
            row = await session.get(TenantRow, tenant, with_for_update=True)
            if row is None or row.state != TenantState.DELETING or await self._running(session, tenant):
                return False
            await erase(session, tenant, keep=TenantRow.__tablename__)
            row.state, row.title = TenantState.DELETED.value, ""
            row.state_changed_at, row.policy_version = self._clock.now(), row.policy_version + 1
            await session.flush()
            await self._note(session, tenant, _SYSTEM, AuditAction.TENANT_DELETE, {"state": TenantState.DELETED.value})
        return True

    async def _move(
        self, grant: Grant, name: str, action: AuditAction, to: TenantState, reason: str, if_match: str | None
    ) -> TenantLife:
        tenant, actor = _named(name), grant.principal.id
        async with self._step(grant, action, tenant) as session, within(session, tenant):
            row = await _row(session, tenant, lock=True)
            check_match(f"tenant {tenant}", _life(row).etag, if_match)
            if not reason.strip() or len(reason) > MAX_REASON or not reason.isprintable():
                raise Invalid(f"a reason of at most {MAX_REASON} printable characters is needed: its members read it")
            if TenantState(row.state) not in _FROM[to]:
                raise Conflict(f"tenant {tenant} is {row.state}: that cannot be done to it now", code="wrong_state")
            row.state, row.state_reason = to.value, reason.strip()
            row.state_changed_at, row.state_changed_by = self._clock.now(), actor
            row.policy_version += 1  # every replica builds a new snapshot at its next decision
            await session.flush()
            await self._note(session, tenant, actor, action, {"state": to.value, "reason": row.state_reason})
            return _life(row)

    def _step(self, grant: Grant, action: AuditAction, tenant: TenantId) -> AbstractAsyncContextManager[AsyncSession]:
        return audited(self._database, self._audit, PLATFORM_TENANT, grant.principal.id, action, f"tenant/{tenant}")

    async def _note(
        self, session: AsyncSession, tenant: TenantId, actor: str, action: AuditAction, detail: Mapping[str, object]
    ) -> None:
        """Into the tenant's log, in whose part of the transaction this is, and into the platform's."""
        event = AuditEvent(action, Outcome.SUCCESS, actor, f"tenant/{tenant}", detail, current_request_id.get())
        await self._audit.append(session, tenant, event)
        async with within(session, PLATFORM_TENANT):
            await self._audit.append(session, PLATFORM_TENANT, event)

    async def _read_quotas(self, session: AsyncSession, tenant: TenantId) -> TenantQuotas:
        row = await session.get(TenantQuotaRow, tenant)
        uses = await self._quotas.uses(session, tenant, self._clock.now())
        return TenantQuotas(uses, row.revision if row is not None else 0)


_FROM: Final[Mapping[TenantState, frozenset[TenantState]]] = {
    TenantState.ACTIVE: frozenset({TenantState.SUSPENDED}),
    TenantState.SUSPENDED: frozenset({TenantState.ACTIVE}),
    TenantState.DELETING: frozenset({TenantState.ACTIVE, TenantState.SUSPENDED}),
}


def _named(name: str) -> TenantId:
    """Raises NotFound, for what can be no tenant's name and for the platform's own, which has no such life."""
    if not TENANT_PATTERN.fullmatch(name) or name == PLATFORM:
        raise NotFound(f"there is no tenant {name[:80]!r}; `probegate tenant ls` lists them")
    return TenantId(name)


async def _row(session: AsyncSession, tenant: TenantId, *, lock: bool = False) -> TenantRow:
    row = await session.get(TenantRow, tenant, with_for_update=lock or None)
    if row is None:
        raise NotFound(f"there is no tenant {tenant!r}; `probegate tenant ls` lists them")
    return row


def _life(row: TenantRow) -> TenantLife:
    return TenantLife(
        TenantId(row.tenant),
        row.title,
        TenantState(row.state),
        row.state_reason,
        row.created_at,
        row.created_by,
        row.state_changed_at,
        row.state_changed_by,
    )
