"""A tenant's own rules about approvals, and which logins are one person: what decides how reviews are counted.

A rule of the tenant only adds to the platform's. Taking one away, or making it laxer, changes nothing for versions that
were submitted under it: those keep what was in force. A link between logins is never taken back: see `reviewers`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.foundation.audit_trail import AuditAction, AuditEvent, AuditTrail, Outcome
from control_plane.foundation.audited import audited
from control_plane.foundation.clock import Clock
from control_plane.foundation.correlation import current_request_id
from control_plane.foundation.database import Database
from control_plane.foundation.errors import Conflict, Invalid, NotFound
from control_plane.foundation.request_headers import ABSENT, check_match
from control_plane.policy.decide import SUBJECT_PATTERN
from control_plane.policy.model import Grant
from control_plane.policy.roles import RoleBook
from control_plane.templates.requirements import BadApprovals, owner_rule
from control_plane.templates.tables import ApprovalRuleRow, PersonLinkRow

MAX_RULES: Final = 100  # of one tenant; each is matched against every template that is used
MAX_LINKS: Final = 10_000


@dataclass(frozen=True)
class TenantRule:
    name: str
    document: Mapping[str, Any]
    revision: int
    changed_by: str
    changed_at: datetime


@dataclass(frozen=True)
class PersonLink:
    subject: str
    person: str
    linked_by: str
    linked_at: datetime


class ApprovalRules:
    def __init__(self, database: Database, audit: AuditTrail, clock: Clock, book: RoleBook) -> None:
        self._database = database
        self._audit = audit
        self._clock = clock
        self._book = book

    async def list(self, grant: Grant) -> tuple[TenantRule, ...]:
        async with self._database.transaction(grant.resource.tenant) as session:
            rows = await session.scalars(
                select(ApprovalRuleRow)
                .where(ApprovalRuleRow.tenant == grant.resource.tenant)
                .order_by(ApprovalRuleRow.name)
            )
            return tuple(_rule(row) for row in rows)

    async def put(
        self, grant: Grant, name: str, document: Mapping[str, Any], if_match: str | None = None
    ) -> TenantRule:
        """Create or replace one. Raises Invalid, Stale, Conflict when there are too many."""
        tenant = grant.resource.tenant
        async with self._step(grant, name) as session:
            try:
                rule = owner_rule({**document, "name": name})
            except BadApprovals as error:
                raise Invalid(str(error), code="invalid_approval_rule") from error
            for role in rule.roles:
                if role not in self._book.roles:
                    raise Invalid(f"there is no role {role!r}; roles are {', '.join(self._book.roles)}")
            row = await session.get(ApprovalRuleRow, (tenant, rule.name), with_for_update=True)
            check_match("the rule", str(row.revision) if row else ABSENT, if_match)
            before = dict(row.document) if row is not None else None
            if row is None:
                count = select(func.count()).select_from(ApprovalRuleRow).where(ApprovalRuleRow.tenant == tenant)
                if (await session.scalar(count) or 0) >= MAX_RULES:
                    raise Conflict(f"a tenant has at most {MAX_RULES} approval rules: join some", code="too_many_rules")
                row = ApprovalRuleRow(tenant=tenant, name=rule.name, document={}, revision=0)
                session.add(row)
            row.document = {**document, "name": rule.name}
            row.revision += 1
            row.changed_by = grant.principal.id
            row.changed_at = self._clock.now()
            await session.flush()
            await self._log(session, grant, rule.name, {"before": before, "after": row.document})
            return _rule(row)

    async def delete(self, grant: Grant, name: str, if_match: str | None = None) -> None:
        """Raises NotFound, Stale."""
        async with self._step(grant, name) as session:
            row = await session.get(ApprovalRuleRow, (grant.resource.tenant, name[:63]), with_for_update=True)
            if row is None:
                raise NotFound(f"there is no approval rule {name[:63]!r} in this tenant")
            check_match("the rule", str(row.revision), if_match)
            await session.delete(row)
            await self._log(session, grant, row.name, {"before": row.document, "after": None})

    def _step(self, grant: Grant, name: str) -> Any:
        return audited(
            self._database,
            self._audit,
            grant.resource.tenant,
            grant.principal.id,
            AuditAction.APPROVAL_RULE,
            f"approval-rule/{name[:63]}",
        )

    async def _log(self, session: AsyncSession, grant: Grant, name: str, detail: Mapping[str, object]) -> None:
        event = AuditEvent(
            AuditAction.APPROVAL_RULE,
            Outcome.SUCCESS,
            grant.principal.id,
            f"approval-rule/{name}",
            detail,
            current_request_id.get(),
        )
        await self._audit.append(session, grant.resource.tenant, event)


class PersonLinks:
    def __init__(self, database: Database, audit: AuditTrail, clock: Clock) -> None:
        self._database = database
        self._audit = audit
        self._clock = clock

    async def list(self, grant: Grant) -> tuple[PersonLink, ...]:
        async with self._database.transaction(grant.resource.tenant) as session:
            rows = await session.scalars(
                select(PersonLinkRow)
                .where(PersonLinkRow.tenant == grant.resource.tenant)
                .order_by(PersonLinkRow.subject)
                .limit(MAX_LINKS)
            )
            return tuple(PersonLink(row.subject, row.person, row.linked_by, row.linked_at) for row in rows)

    async def link(self, grant: Grant, subject: str, person: str) -> PersonLink:
        """`subject` is another login of `person`, or a service account of theirs. Raises Invalid, Conflict."""
        tenant = grant.resource.tenant
        resource = f"person/{subject[:700]}"
        async with audited(
            self._database, self._audit, tenant, grant.principal.id, AuditAction.PERSON_LINK, resource
        ) as session:
            for one in (subject, person):
                if not SUBJECT_PATTERN.fullmatch(one):
                    raise Invalid(f'{one[:80]!r}: expected "<issuer>|<sub>"')
            if subject == person:
                raise Invalid("a login is its own person already")
            row = await session.get(PersonLinkRow, (tenant, subject))
            if row is not None and row.person != person:
                raise Conflict(f"{subject} is linked to {row.person}: a link is not changed, link that one further")
            if row is None:
                row = PersonLinkRow(
                    tenant=tenant,
                    subject=subject,
                    person=person,
                    linked_by=grant.principal.id,
                    linked_at=self._clock.now(),
                )
                session.add(row)
                await session.flush()
            event = AuditEvent(
                AuditAction.PERSON_LINK,
                Outcome.SUCCESS,
                grant.principal.id,
                resource,
                {"person": person},
                current_request_id.get(),
            )
            await self._audit.append(session, tenant, event)
            return PersonLink(row.subject, row.person, row.linked_by, row.linked_at)


def _rule(row: ApprovalRuleRow) -> TenantRule:
    return TenantRule(row.name, row.document, row.revision, row.changed_by, row.changed_at)
