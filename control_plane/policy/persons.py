"""Which logins are one person: two subjects in, one person or two out. What every rule of "somebody else" stands on.

A person may sign in by several issuers, and answers for service accounts. A link is never taken back: one too many only
makes fewer people count, one too few lets a person count twice. `proposals` and the reviews of templates ask here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.foundation.audit_trail import AuditAction, AuditEvent, AuditTrail, Outcome
from control_plane.foundation.audited import audited
from control_plane.foundation.clock import Clock
from control_plane.foundation.correlation import current_request_id
from control_plane.foundation.database import Database
from control_plane.foundation.errors import Conflict, Denied, Invalid
from control_plane.foundation.identifiers import SubjectId, TenantId
from control_plane.identity.model import Principal, PrincipalKind
from control_plane.policy.decide import SUBJECT_PATTERN
from control_plane.policy.model import Grant
from control_plane.policy.proposal_tables import PersonLinkRow

MAX_LINKS: Final = 10_000


@dataclass(frozen=True)
class PersonLink:
    subject: str
    person: str
    linked_by: str
    linked_at: datetime


async def persons(
    session: AsyncSession, tenant: TenantId, subjects: Collection[SubjectId]
) -> Mapping[SubjectId, SubjectId]:
    """The person behind each login."""
    links = {
        SubjectId(link.subject): SubjectId(link.person)
        for link in await session.scalars(select(PersonLinkRow).where(PersonLinkRow.tenant == tenant))
    }
    return {subject: end_of(links, subject) for subject in subjects}


def end_of(links: Mapping[SubjectId, SubjectId], subject: SubjectId) -> SubjectId:
    """Follow the links; a circle ends at its least member, so that all of it is one person."""
    seen = [subject]
    while (following := links.get(seen[-1])) is not None and following not in seen:
        seen.append(following)
    return min(seen[seen.index(following) :]) if following is not None else seen[-1]


async def refuse_the_same_person(
    session: AsyncSession, tenant: TenantId, author: SubjectId, principal: Principal, what: str
) -> None:
    """Raises Denied: a service account is nobody, and a person's other logins and service accounts are that person."""
    another = {"smallest_change": "another person agrees"}
    if principal.kind is not PrincipalKind.PERSON:
        raise Denied(f"a service account cannot agree to {what}: a person does", code="service_account", extra=another)
    found = await persons(session, tenant, (author, principal.id))
    if found[author] == found[principal.id]:
        raise Denied(
            f"{what} comes from you, by this login or another: somebody else agrees, or nobody",
            code="own_proposal",
            extra=another,
        )


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
