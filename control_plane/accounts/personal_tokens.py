"""Tokens that people make for their own programs: shown once, kept as a hash, good for some permissions in one tenant.

Policy decides for the person as ever, then the token takes away what it does not name. None approves, and none makes
tokens: that takes the person. It says nothing of groups: what somebody may do by a group of their issuer, a token cannot.
Raises Invalid, NotFound, TooMany.
"""

from __future__ import annotations

from collections.abc import Iterable
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
from control_plane.foundation.errors import Invalid, NotFound, TooMany
from control_plane.foundation.identifiers import new_id
from control_plane.identity.personal_tokens import new_token, shown_part, token_hash
from control_plane.identity.tables import PersonalTokenRow
from control_plane.policy.model import Grant, Permission
from control_plane.policy.service import IN_PERSON

MAX_TOKENS: Final = 50  # of one person in one tenant that have not ended
MAX_NAME: Final = 100


@dataclass(frozen=True)
class PersonalToken:
    id: str
    shown: str
    name: str
    subject: str
    permissions: tuple[str, ...]
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True)
class NewToken:
    about: PersonalToken
    token: str


class PersonalTokenService:
    """`max_life` comes from the settings."""

    def __init__(self, database: Database, audit: AuditTrail, clock: Clock, max_life: timedelta) -> None:
        self._database = database
        self._audit = audit
        self._clock = clock
        self._max_life = max_life

    async def own(self, grant: Grant) -> tuple[PersonalToken, ...]:
        return await self._list(grant, PersonalTokenRow.subject == grant.principal.id)

    async def all(self, grant: Grant) -> tuple[PersonalToken, ...]:
        """Of everybody in the tenant, for whoever administers it."""
        return await self._list(grant)

    async def create(self, grant: Grant, name: str, permissions: Iterable[str], life: timedelta) -> NewToken:
        tenant, person, now = grant.resource.tenant, grant.principal, self._clock.now()
        async with self._step(grant, "*") as session:
            wanted = _checked(permissions)
            if not 0 < len(name) <= MAX_NAME or not name.isprintable():
                raise Invalid(f"name: expected 1 to {MAX_NAME} printable characters, to recognise the token by")
            if not timedelta(0) < life <= self._max_life:
                raise Invalid(f"a token lives for up to {self._max_life.days} days here, got {life}")
            table = PersonalTokenRow
            living = (table.tenant == tenant, table.subject == person.id, table.expires_at > now)
            count = select(func.count()).where(*living, table.revoked_at.is_(None))
            if (await session.scalar(count) or 0) >= MAX_TOKENS:
                raise TooMany(f"you have {MAX_TOKENS} tokens in {tenant}: revoke those that nothing uses")
            token = new_token(tenant)
            row = table(
                tenant=tenant,
                id=new_id("pt"),
                token_hash=token_hash(token),
                shown=shown_part(token),
                name=name,
                subject=person.id,
                display_name=person.display_name,
                permissions=wanted,
                created_at=now,
                expires_at=now + life,
                last_used_at=None,
                revoked_at=None,
            )
            session.add(row)
            await session.flush()
            await self._log(session, grant, row, "created")
            return NewToken(_token(row), token)

    async def revoke(self, grant: Grant, token_id: str, *, anybodys: bool = False) -> PersonalToken:
        """One's own; somebody else's for whoever administers the tenant. Absent and not one's own is one answer."""
        async with self._step(grant, token_id) as session:
            row = await session.get(PersonalTokenRow, (grant.resource.tenant, token_id), with_for_update=True)
            if row is None or not (anybodys or row.subject == grant.principal.id):
                raise NotFound(f"you have no token {token_id[:40]!r} in tenant {grant.resource.tenant}")
            if row.revoked_at is None:
                row.revoked_at = self._clock.now()
                await self._log(session, grant, row, "revoked")
            return _token(row)

    async def _list(self, grant: Grant, *conditions: object) -> tuple[PersonalToken, ...]:
        table, tenant = PersonalTokenRow, grant.resource.tenant
        async with self._database.transaction(tenant) as session:
            rows = await session.scalars(
                select(table).where(table.tenant == tenant, *conditions).order_by(table.created_at, table.id)  # type: ignore[arg-type]
            )
            return tuple(_token(row) for row in rows)

    def _step(self, grant: Grant, token_id: str) -> AbstractAsyncContextManager[AsyncSession]:
        resource = f"token/{token_id[:40]}"
        tenant, actor = grant.resource.tenant, grant.principal.id
        return audited(self._database, self._audit, tenant, actor, AuditAction.TOKEN_CHANGE, resource)

    async def _log(self, session: AsyncSession, grant: Grant, row: PersonalTokenRow, what: str) -> None:
        detail = {"what": what, "name": row.name, "of": row.subject, "shown": row.shown}
        event = AuditEvent(
            AuditAction.TOKEN_CHANGE,
            Outcome.SUCCESS,
            grant.principal.id,
            f"token/{row.id}",
            {**detail, "permissions": list(row.permissions), "expires_at": row.expires_at.isoformat()},
            current_request_id.get(),
        )
        await self._audit.append(session, grant.resource.tenant, event)


def _checked(permissions: Iterable[str]) -> list[str]:
    wanted = sorted(set(permissions))
    known = {permission.value for permission in Permission} - IN_PERSON
    strange = [permission for permission in wanted if permission not in known]
    if not wanted or strange:
        raise Invalid(
            f"permissions: expected some of {', '.join(sorted(known))}, got {', '.join(strange) or 'none'}; "
            "approving and making tokens take the person"
        )
    return wanted


def _token(row: PersonalTokenRow) -> PersonalToken:
    return PersonalToken(
        row.id,
        row.shown,
        row.name,
        row.subject,
        tuple(row.permissions),
        row.created_at,
        row.expires_at,
        row.last_used_at,
        row.revoked_at,
    )
