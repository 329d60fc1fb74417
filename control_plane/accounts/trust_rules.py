"""Trust rules of a tenant: which pipeline's own token becomes which service account. Created and removed, never changed.

A rule names an issuer of the operator's list, one audience, and at least one claim; all must be equal, so it holds no
patterns. `identity.issuer.exchange` asks them. Raises Invalid, NotFound, Conflict.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.accounts.service_accounts import NAME, account_row
from control_plane.foundation.audit_trail import AuditAction, AuditEvent, AuditTrail, Outcome
from control_plane.foundation.audited import audited
from control_plane.foundation.clock import Clock
from control_plane.foundation.correlation import current_request_id
from control_plane.foundation.database import Database
from control_plane.foundation.errors import Conflict, Invalid, NotFound, TooMany
from control_plane.identity.issuer.exchange import MAX_RULES
from control_plane.identity.issuer.tables import TrustRuleRow
from control_plane.policy.model import Grant

MAX_CLAIMS: Final = 10
MAX_VALUE: Final = 400  # characters of a claim
_NOT_CLAIMS: Final = frozenset({"iss", "aud", "exp", "iat", "nbf", "jti"})  # have a place of their own, or change
_PATTERN: Final = frozenset("*?")


@dataclass(frozen=True)
class TrustRule:
    name: str
    account: str
    issuer: str
    audience: str
    claims: Mapping[str, str]
    created_at: datetime
    created_by: str


class TrustRules:
    """`issuers` are those that the operator lets tenants trust."""

    def __init__(self, database: Database, audit: AuditTrail, clock: Clock, issuers: frozenset[str]) -> None:
        self._database = database
        self._audit = audit
        self._clock = clock
        self._issuers = issuers

    async def list(self, grant: Grant) -> tuple[TrustRule, ...]:
        table, tenant = TrustRuleRow, grant.resource.tenant
        async with self._database.transaction(tenant) as session:
            rows = await session.scalars(select(table).where(table.tenant == tenant).order_by(table.name))
            return tuple(_rule(row) for row in rows)

    async def create(
        self, grant: Grant, name: str, account: str, issuer: str, audience: str, claims: Mapping[str, str]
    ) -> TrustRule:
        table, tenant = TrustRuleRow, grant.resource.tenant
        async with self._step(grant, name) as session:
            self._check(name, issuer, audience, claims)
            await account_row(session, tenant, account, lock=True)
            if await session.get(table, (tenant, name)) is not None:
                raise Conflict(f"tenant {tenant} has a trust rule {name!r} already", code="name_taken")
            of_account = select(func.count()).where(table.tenant == tenant, table.account == account)
            if (await session.scalar(of_account) or 0) >= MAX_RULES:
                raise TooMany(f"the service account {account} has {MAX_RULES} trust rules: make another account")
            row = table(
                tenant=tenant,
                name=name,
                account=account,
                issuer=issuer,
                audience=audience,
                claims=dict(claims),
                created_at=self._clock.now(),
                created_by=grant.principal.id,
            )
            session.add(row)
            await session.flush()
            await self._log(session, grant, row, "created")
            return _rule(row)

    async def remove(self, grant: Grant, name: str) -> TrustRule:
        async with self._step(grant, name) as session:
            row = await session.get(TrustRuleRow, (grant.resource.tenant, name), with_for_update=True)
            if row is None:
                raise NotFound(f"there is no trust rule {name[:63]!r} in tenant {grant.resource.tenant}")
            await session.delete(row)
            await self._log(session, grant, row, "removed")
            return _rule(row)

    def _check(self, name: str, issuer: str, audience: str, claims: Mapping[str, str]) -> None:
        if not NAME.fullmatch(name):
            raise Invalid(f"trust rule {name[:80]!r}: expected lower-case letters, digits and dashes")
        if issuer not in self._issuers:
            known = ", ".join(sorted(self._issuers)) or "none"
            raise Invalid(f"issuer {issuer[:200]!r}: the operator lets tenants trust {known}", code="unknown_issuer")
        if not 0 < len(audience) <= MAX_VALUE or not 0 < len(claims) <= MAX_CLAIMS:
            raise Invalid(f"expected one audience and 1 to {MAX_CLAIMS} claims that must be equal")
        for claim, value in claims.items():
            if claim in _NOT_CLAIMS or not 0 < len(claim) <= MAX_VALUE or not 0 < len(value) <= MAX_VALUE:
                raise Invalid(f"claim {claim[:80]!r}: expected a claim about the pipeline and its exact value")
        for text in (audience, *claims.values()):
            if not _PATTERN.isdisjoint(text):
                raise Invalid(f"{text[:80]!r}: values are compared as they are; a pattern would match only itself")

    def _step(self, grant: Grant, name: str) -> AbstractAsyncContextManager[AsyncSession]:
        resource = f"trust-rule/{name[:63]}"
        tenant, actor = grant.resource.tenant, grant.principal.id
        return audited(self._database, self._audit, tenant, actor, AuditAction.TRUST_CHANGE, resource)

    async def _log(self, session: AsyncSession, grant: Grant, row: TrustRuleRow, what: str) -> None:
        detail = {"what": what, "account": row.account, "issuer": row.issuer, "audience": row.audience}
        event = AuditEvent(
            AuditAction.TRUST_CHANGE,
            Outcome.SUCCESS,
            grant.principal.id,
            f"trust-rule/{row.name}",
            {**detail, "claims": dict(row.claims)},
            current_request_id.get(),
        )
        await self._audit.append(session, grant.resource.tenant, event)


def _rule(row: TrustRuleRow) -> TrustRule:
    return TrustRule(row.name, row.account, row.issuer, row.audience, dict(row.claims), row.created_at, row.created_by)
