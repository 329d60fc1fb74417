"""Service accounts of a tenant: who answers for each, until when it works, and its secret, which is shown once.

An account cannot approve, whoever owns it; what it wrote counts as its owner's, who cannot approve that either
(`policy.persons`). Roles are given as to everybody else (`policy.membership`). Raises Invalid, NotFound, Conflict, Stale.
"""

from __future__ import annotations

import re
import secrets
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.foundation.audit_trail import AuditAction, AuditEvent, AuditTrail, Outcome
from control_plane.foundation.audited import audited
from control_plane.foundation.clock import Clock
from control_plane.foundation.correlation import current_request_id
from control_plane.foundation.database import Database
from control_plane.foundation.errors import Conflict, Invalid, NotFound, TooMany
from control_plane.foundation.identifiers import SubjectId, TenantId
from control_plane.foundation.request_headers import check_match
from control_plane.identity.issuer.clients import hash_secret
from control_plane.identity.issuer.tables import ServiceAccountRow
from control_plane.policy.model import Grant
from control_plane.policy.proposal_tables import PersonLinkRow
from control_plane.policy.tables import MemberRow

NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,61}[a-z0-9]")
MAX_ACCOUNTS: Final = 200  # of one tenant; one a pipeline, and not one a run
DEFAULT_LIFE: Final = timedelta(days=90)
MAX_LIFE: Final = timedelta(days=366)  # whoever answers for it looks at it once a year


@dataclass(frozen=True)
class ServiceAccount:
    """`subject` is what roles are given to."""

    name: str
    client_id: str
    subject: SubjectId
    owner: str
    disabled: bool
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    last_used_at: datetime | None
    revision: int


@dataclass(frozen=True)
class WithSecret:
    account: ServiceAccount
    secret: str


class ServiceAccounts:
    """`issuer` is this server's own name as an issuer: the accounts' tokens come from it."""

    def __init__(self, database: Database, audit: AuditTrail, clock: Clock, issuer: str) -> None:
        self._database = database
        self._audit = audit
        self._clock = clock
        self._issuer = issuer

    async def list(self, grant: Grant) -> tuple[ServiceAccount, ...]:
        table, tenant = ServiceAccountRow, grant.resource.tenant
        async with self._database.transaction(tenant) as session:
            rows = await session.scalars(select(table).where(table.tenant == tenant).order_by(table.name))
            return tuple(self._account(row) for row in rows)

    async def show(self, grant: Grant, name: str) -> ServiceAccount:
        async with self._database.transaction(grant.resource.tenant) as session:
            return self._account(await account_row(session, grant.resource.tenant, name))

    async def create(self, grant: Grant, name: str, owner: str = "", life: timedelta = DEFAULT_LIFE) -> WithSecret:
        """`owner` is a person of the tenant, the caller when none is named."""
        tenant, actor = grant.resource.tenant, grant.principal.id
        async with self._step(grant, name) as session:
            await self._check_owner(session, tenant, owner or actor)
            return await self._create(session, tenant, name, owner or actor, life, actor)

    async def unsafe_create(self, tenant: TenantId, name: str, owner: str, life: timedelta) -> WithSecret:
        """From the server's shell. Audited as `system`."""
        async with self._database.transaction(tenant) as session:
            return await self._create(session, tenant, name, owner, life, "system")

    async def rotate(
        self, grant: Grant, name: str, life: timedelta = DEFAULT_LIFE, if_match: str | None = None
    ) -> WithSecret:
        """A new secret and a new end; the old secret is worth nothing from now on."""
        async with self._step(grant, name) as session:
            row = await account_row(session, grant.resource.tenant, name, lock=True)
            check_match(f"service account {name}", str(row.revision), if_match)
            if row.disabled:
                raise Conflict(f"the service account {name} is disabled for good: create another", code="disabled")
            secret = secrets.token_urlsafe(32)
            row.secret_hash, row.expires_at, row.revision = hash_secret(secret), self._end(life), row.revision + 1
            await self._log(session, row, "rotated", grant.principal.id)
            return WithSecret(self._account(row), secret)

    async def disable(self, grant: Grant, name: str, if_match: str | None = None) -> ServiceAccount:
        """At once and for good: tokens that it holds already are refused from the next request on."""
        async with self._step(grant, name) as session:
            row = await account_row(session, grant.resource.tenant, name, lock=True)
            check_match(f"service account {name}", str(row.revision), if_match)
            if not row.disabled:
                row.disabled, row.revision = True, row.revision + 1
                await self._log(session, row, "disabled", grant.principal.id)
            return self._account(row)

    async def _create(
        self, session: AsyncSession, tenant: TenantId, name: str, owner: str, life: timedelta, actor: str
    ) -> WithSecret:
        if not NAME.fullmatch(name):
            raise Invalid(f"service account {name[:80]!r}: expected lower-case letters, digits and dashes")
        if await session.get(ServiceAccountRow, (tenant, name)) is not None:
            raise Conflict(f"tenant {tenant} has a service account {name!r} already", code="name_taken")
        table = ServiceAccountRow
        if (await session.scalar(select(func.count()).where(table.tenant == tenant)) or 0) >= MAX_ACCOUNTS:
            raise TooMany(f"tenant {tenant} has {MAX_ACCOUNTS} service accounts: one a pipeline is enough")
        secret = secrets.token_urlsafe(32)
        row = table(
            tenant=tenant,
            name=name,
            client_id=f"{tenant}.{name}",  # no user's name can clash: a user is no client
            secret_hash=hash_secret(secret),
            disabled=False,
            created_at=self._clock.now(),
            created_by=actor,
            owner=owner,
            expires_at=self._end(life),
            revision=1,
        )
        session.add(row)
        subject = self._account(row).subject
        if await session.get(PersonLinkRow, (tenant, subject)) is None:
            session.add(
                PersonLinkRow(
                    tenant=tenant, subject=subject, person=owner, linked_by=actor, linked_at=self._clock.now()
                )
            )
        await session.flush()
        await self._log(session, row, "created", actor)
        return WithSecret(self._account(row), secret)

    async def _check_owner(self, session: AsyncSession, tenant: TenantId, owner: str) -> None:
        table = MemberRow
        member = await session.scalar(
            select(table.subject).where(table.tenant == tenant, table.subject == owner).limit(1)
        )
        if member is None or owner.startswith(f"{self._issuer}|{tenant}."):
            raise Invalid(
                f'owner {owner[:200]!r}: expected a person who is a member of {tenant}, as "<issuer>|<sub>"; '
                "somebody has to answer for the account"
            )

    def _end(self, life: timedelta) -> datetime:
        if not timedelta(0) < life <= MAX_LIFE:
            raise Invalid(f"an account works for up to {MAX_LIFE.days} days, then it is rotated; got {life}")
        return self._clock.now() + life

    def _step(self, grant: Grant, name: str) -> AbstractAsyncContextManager[AsyncSession]:
        resource = f"service-account/{name[:63]}"
        tenant, actor = grant.resource.tenant, grant.principal.id
        return audited(self._database, self._audit, tenant, actor, AuditAction.ACCOUNT_CHANGE, resource)

    async def _log(self, session: AsyncSession, row: ServiceAccountRow, what: str, actor: str) -> None:
        end = row.expires_at.isoformat() if row.expires_at else ""
        event = AuditEvent(
            AuditAction.ACCOUNT_CHANGE,
            Outcome.SUCCESS,
            actor,
            f"service-account/{row.name}",
            {"what": what, "owner": row.owner, "expires_at": end},
            current_request_id.get(),
        )
        await self._audit.append(session, TenantId(row.tenant), event)

    def _account(self, row: ServiceAccountRow) -> ServiceAccount:
        return ServiceAccount(
            row.name,
            row.client_id,
            SubjectId(f"{self._issuer}|{row.client_id}"),
            row.owner,
            row.disabled,
            row.created_at,
            row.created_by,
            row.expires_at,
            row.last_used_at,
            row.revision,
        )


async def account_row(session: AsyncSession, tenant: TenantId, name: str, *, lock: bool = False) -> ServiceAccountRow:
    row = await session.get(ServiceAccountRow, (tenant, name), with_for_update=lock or None)
    if row is None:
        raise NotFound(f"there is no service account {name[:63]!r} in tenant {tenant}")
    return row
