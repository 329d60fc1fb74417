"""The right to run an approved template without anybody's yes to the request: for an incident, for a person, for minutes.

It skips the approval of the request and the fleet guard's one more, nothing else: the template has to be approved, its
fields are masked, locks, quotas and the log hold, a large fleet goes out in stages all the same. Everybody is told in the
same transaction. Somebody else looks at each use within a day, or the right suspends itself for that person, whatever
login they come with, until that is done; a use that was found not to be right suspends it until another look says so.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.foundation.audit_trail import AuditAction, Outcome
from control_plane.foundation.clock import Clock
from control_plane.foundation.database import Database
from control_plane.foundation.errors import Denied, Invalid, NotFound
from control_plane.foundation.identifiers import SubjectId, TenantId
from control_plane.identity.model import PrincipalKind
from control_plane.policy.model import Grant
from control_plane.templates.ports import Reviewers
from control_plane.tracepoints.model import BreakGlass
from control_plane.tracepoints.notices import NoticeKind, announce, close
from control_plane.tracepoints.reading import tracepoint_row
from control_plane.tracepoints.sealing import Sealing
from control_plane.tracepoints.tables import BreakGlassRow, TracepointRow
from language.durations import render

REVIEW_WITHIN: Final = timedelta(hours=24)
MAX_REASON: Final = 1000
MAX_SHOWN: Final = 200
_TICKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/#-]{1,199}", re.ASCII)
OK: Final = "ok"
NOT_OK: Final = "not_ok"


@dataclass(frozen=True)
class Use:
    tracepoint: str
    subject: str
    subject_name: str
    reason: str
    ticket: str
    used_at: datetime
    review_by: datetime
    verdict: str
    reviewer: str
    comment: str


class BreakingGlass:
    def __init__(self, database: Database, sealing: Sealing, clock: Clock, reviewers: Reviewers) -> None:
        self._database = database
        self._sealing = sealing
        self._clock = clock
        self._reviewers = reviewers

    async def refuse(self, session: AsyncSession, grant: Grant, asked: BreakGlass) -> None:
        """Raises Invalid without reason and ticket, Denied while the right is suspended or for a service account."""
        if not asked.reason.strip() or len(asked.reason) > MAX_REASON or "\x00" in asked.reason:
            raise Invalid(f"breaking the glass needs a reason of at most {MAX_REASON} characters", code="no_reason")
        if not _TICKET.fullmatch(asked.ticket):
            raise Invalid("breaking the glass needs a ticket: its number or its address", code="no_ticket")
        if not grant.principal.in_person:
            raise Denied(
                "breaking the glass takes a person who signed in themselves, no service account and no token",
                code="break_glass_person",
            )
        held = await self._suspending(session, grant.resource.tenant, grant.principal.id)
        if held:
            named = ", ".join(f"{use.tracepoint_id} ({_why(use)})" for use in held[:5])
            raise Denied(
                f"your right to break the glass is suspended: {named}. Somebody else runs "
                f"`probegate tracepoint review {held[0].tracepoint_id} --ok|--not-ok`",
                code="break_glass_suspended",
                extra={"uses": [use.tracepoint_id for use in held]},
            )

    async def used(self, session: AsyncSession, grant: Grant, row: TracepointRow, asked: BreakGlass) -> None:
        """Write it down and tell everybody, in the caller's transaction; the row is there already."""
        tenant, now = grant.resource.tenant, self._clock.now()
        name = grant.principal.display_name[:200]
        use = BreakGlassRow(
            tenant=tenant,
            tracepoint_id=row.id,
            subject=grant.principal.id,
            subject_name=name,
            reason=asked.reason.strip(),
            ticket=asked.ticket,
            used_at=now,
            review_by=now + REVIEW_WITHIN,
            verdict="",
            reviewer="",
            comment="",
            reviewed_at=None,
        )
        session.add(use)
        text = (
            f"{name} broke the glass for {row.template_name}@{row.template_version} ({row.name}, {row.id}), "
            f"{render(timedelta(milliseconds=row.ttl_ms))}, ticket {asked.ticket}: {use.reason}. Review it until "
            f"{use.review_by:%Y-%m-%d %H:%M} UTC: probegate tracepoint review {row.id} --ok|--not-ok"
        )
        await announce(session, tenant, NoticeKind.BREAK_GLASS, f"tracepoint/{row.id}", text, now)
        details = {"reason": use.reason, "ticket": use.ticket, "review_by": use.review_by, "version": row.version}
        await self._sealing.log(session, tenant, grant.principal.id, AuditAction.TRACEPOINT_BREAK_GLASS, row, details)

    async def review(self, grant: Grant, name: str, *, ok: bool, comment: str) -> Use:
        """Another person's word on one use; the last one holds. Raises NotFound, Denied, Invalid."""
        tenant, resource = grant.resource.tenant, f"tracepoint/{name[:100]}"
        async with self._sealing.step(tenant, grant.principal.id, AuditAction.TRACEPOINT_REVIEW, resource) as (
            session,
            _,
        ):
            if len(comment) > MAX_REASON or "\x00" in comment:
                raise Invalid(f"a comment has at most {MAX_REASON} characters and no NUL")
            if not ok and not comment.strip():
                raise Invalid("say why it was not right: the person has to know", code="no_reason")
            row = await tracepoint_row(session, tenant, name)
            use = await session.get(BreakGlassRow, (tenant, row.id), with_for_update=True)
            if use is None:
                raise NotFound(f"nobody broke the glass for {name[:80]!r}: there is nothing to review")
            if grant.principal.kind is PrincipalKind.SERVICE:
                raise Denied("a review is a person's: service accounts cannot give one", code="separation_of_duties")
            who, by = SubjectId(use.subject), grant.principal.id
            persons = await self._reviewers.persons(session, tenant, {who, by})
            if persons[who] == persons[by]:
                raise Denied("you broke that glass yourself: somebody else looks at it", code="separation_of_duties")
            use.verdict, use.reviewer, use.comment = OK if ok else NOT_OK, by, comment.strip()
            use.reviewed_at = self._clock.now()
            for kind in (NoticeKind.BREAK_GLASS, NoticeKind.REVIEW_DUE, NoticeKind.REVIEW_OVERDUE):
                await close(session, tenant, kind, f"tracepoint/{row.id}", use.reviewed_at)
            details = {"verdict": use.verdict, "by": use.subject, "comment": use.comment}
            outcome = Outcome.SUCCESS
            await self._sealing.log(session, tenant, by, AuditAction.TRACEPOINT_REVIEW, row, details, outcome)
            return _use(use)

    async def uses(self, grant: Grant) -> tuple[Use, ...]:
        """The newest first."""
        table, tenant = BreakGlassRow, grant.resource.tenant
        async with self._database.transaction(tenant) as session:
            found = await session.scalars(
                select(table).where(table.tenant == tenant).order_by(table.used_at.desc()).limit(MAX_SHOWN)
            )
            return tuple(_use(row) for row in found)

    async def _suspending(self, session: AsyncSession, tenant: TenantId, who: SubjectId) -> list[BreakGlassRow]:
        """This person's uses that nobody looked at in time, or that were found not to be right."""
        table = BreakGlassRow
        overdue = (table.verdict == "") & (table.review_by <= self._clock.now())
        found = (
            await session.scalars(
                select(table)
                .where(table.tenant == tenant, or_(overdue, table.verdict == NOT_OK))
                .order_by(table.used_at)
                .limit(MAX_SHOWN)
            )
        ).all()
        subjects: Collection[SubjectId] = {who, *(SubjectId(use.subject) for use in found)}
        persons = await self._reviewers.persons(session, tenant, subjects)
        return [use for use in found if persons[SubjectId(use.subject)] == persons[who]]


def _why(use: BreakGlassRow) -> str:
    if use.verdict == NOT_OK:
        return f"found not to be right: {use.comment[:200]}"
    return f"nobody looked at it within {render(REVIEW_WITHIN)}"


def _use(row: BreakGlassRow) -> Use:
    return Use(
        tracepoint=row.tracepoint_id,
        subject=row.subject,
        subject_name=row.subject_name,
        reason=row.reason,
        ticket=row.ticket,
        used_at=row.used_at,
        review_by=row.review_by,
        verdict=row.verdict,
        reviewer=row.reviewer,
        comment=row.comment,
    )
