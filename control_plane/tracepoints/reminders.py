"""A broken glass that nobody looks at: told again while there is time, and once more when the right is suspended. A loop.

Enters: uses without a word on them, as their day runs out. Leaves: a notice each, once, with an entry in the log; every
member reads it, so reviewers, administrators and the person themselves. `break_glass` closes them with the review.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import Final, NoReturn

from sqlalchemy import select

from control_plane.foundation.audit_trail import AuditAction, AuditEvent, AuditTrail, Outcome
from control_plane.foundation.clock import Clock
from control_plane.foundation.database import DATABASE_UNREACHABLE, Database, EveryTenant
from control_plane.foundation.errors import ProbegateError
from control_plane.foundation.identifiers import TenantId
from control_plane.tracepoints.notices import NoticeKind, announce, close
from control_plane.tracepoints.tables import BreakGlassRow, NoticeRow
from language.durations import render

DUE_WITHIN: Final = timedelta(hours=4)  # half a working day to find somebody
EVERY: Final = timedelta(seconds=30)  # of hours
BATCH: Final = 200  # uses a look
_log = logging.getLogger(__name__)


class Reminders:
    def __init__(self, database: Database, audit: AuditTrail, clock: Clock) -> None:
        self._database = database
        self._audit = audit
        self._clock = clock

    async def remind(self) -> int:
        """Tell what has to be told; how many notices that were."""
        table, now = BreakGlassRow, self._clock.now()
        told = select(NoticeRow.id).where(
            NoticeRow.tenant == table.tenant, NoticeRow.resource == "tracepoint/" + table.tracepoint_id
        )
        late = (table.review_by <= now) & ~told.where(NoticeRow.kind == NoticeKind.REVIEW_OVERDUE.value).exists()
        soon = (table.review_by > now) & ~told.where(NoticeRow.kind == NoticeKind.REVIEW_DUE.value).exists()
        wanted = select(table.tenant, table.tracepoint_id).where(
            table.verdict == "", table.review_by <= now + DUE_WITHIN, late | soon
        )
        async with self._database.transaction(EveryTenant("which broken glasses nobody has looked at")) as session:
            found = (await session.execute(wanted.order_by(table.review_by).limit(BATCH))).all()
        return sum([await self._told(TenantId(tenant), tracepoint_id) for tenant, tracepoint_id in found])

    async def keep_up(self, every: timedelta = EVERY) -> NoReturn:
        """Again and again, until cancelled; a dependency that is away is tried again."""
        while True:
            try:
                await self.remind()
            except (ProbegateError, OSError, *DATABASE_UNREACHABLE) as error:
                _log.warning("reminders of reviews have to wait: %s", error)
            await asyncio.sleep(every.total_seconds())

    async def _told(self, tenant: TenantId, tracepoint_id: str) -> bool:
        resource, now = f"tracepoint/{tracepoint_id}", self._clock.now()
        async with self._database.transaction(tenant) as session:
            use = await session.get(BreakGlassRow, (tenant, tracepoint_id), with_for_update=True)
            if use is None or use.verdict:
                return False  # somebody has looked at it in between
            kind = NoticeKind.REVIEW_OVERDUE if use.review_by <= now else NoticeKind.REVIEW_DUE
            same = select(NoticeRow.id).where(
                NoticeRow.tenant == tenant, NoticeRow.resource == resource, NoticeRow.kind == kind.value
            )
            if (await session.scalars(same.limit(1))).first() is not None:
                return False  # another replica was faster
            if kind is NoticeKind.REVIEW_OVERDUE:
                await close(session, tenant, NoticeKind.REVIEW_DUE, resource, now)
            await announce(session, tenant, kind, resource, _words(use, kind), now)
            detail = {"notice": kind.value, "by": use.subject, "review_by": use.review_by, "ticket": use.ticket}
            action = AuditAction.TRACEPOINT_REVIEW_DUE
            await self._audit.append(session, tenant, AuditEvent(action, Outcome.SUCCESS, "system", resource, detail))
        return True


def _words(use: BreakGlassRow, kind: NoticeKind) -> str:
    how = f"reviewers: probegate tracepoint review {use.tracepoint_id} --ok|--not-ok"
    what = f"{use.subject_name} broke the glass for {use.tracepoint_id} (ticket {use.ticket})"
    if kind is NoticeKind.REVIEW_OVERDUE:
        return (
            f"{what} and nobody looked at it in time: the right is suspended for {use.subject_name} until then; {how}"
        )
    return (
        f"{what} and nobody has looked at it yet: {render(DUE_WITHIN)} or less are left, until "
        f"{use.review_by:%Y-%m-%d %H:%M} UTC; then the right suspends itself; {how}"
    )
