"""One person's yes or no to one request. The last yes that was needed makes it due; `starting` seals it then.

    approve   by the digest of the request that the reviewer saw; its template has to be approved still
    deny      one is enough, with a reason; until it has started

Which yes counts is in `request_case`; it is counted again when the request is due.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.foundation.audit_trail import AuditAction
from control_plane.foundation.clock import Clock
from control_plane.foundation.errors import Conflict, Denied, Invalid
from control_plane.identity.model import PrincipalKind
from control_plane.policy.model import Grant
from control_plane.templates.counting import Case
from control_plane.templates.model import Verdict
from control_plane.templates.ports import Reviewers
from control_plane.tracepoints.lifecycle import Event, State, after
from control_plane.tracepoints.model import Tracepoint
from control_plane.tracepoints.reading import reviews_of, tracepoint_row, whole
from control_plane.tracepoints.request_case import case_of, lacking
from control_plane.tracepoints.run_policy import RunPolicies
from control_plane.tracepoints.sealing import Sealing, move
from control_plane.tracepoints.tables import TracepointReviewRow, TracepointRow

MAX_WORDS: Final = 2000  # characters of a comment or a reason


class RequestReviews:
    def __init__(self, sealing: Sealing, clock: Clock, reviewers: Reviewers, policies: RunPolicies) -> None:
        self._sealing = sealing
        self._clock = clock
        self._reviewers = reviewers
        self._policies = policies

    async def approve(self, grant: Grant, name: str, digest: str, comment: str = "") -> Tracepoint:
        """Raises NotFound, Conflict (`wrong_state`, `digest_mismatch`, `lapsed`), Denied (`separation_of_duties`)."""
        tenant, resource = grant.resource.tenant, f"tracepoint/{name[:100]}"
        async with self._sealing.step(tenant, grant.principal.id, AuditAction.TRACEPOINT_APPROVE, resource) as (
            session,
            _,
        ):
            row = await tracepoint_row(session, tenant, name, lock=True)
            case = await self._reviewable(session, grant, row, digest, Event.APPROVE)
            await self._say(session, grant, row, Verdict.APPROVE, _words(comment, "a comment"))
            still = lacking(case, await reviews_of(session, row))
            if not still and row.state == State.AWAITING:
                move(row, Event.APPROVE)
                row.due_at = row.starts_at or self._clock.now()
            row.detail = f"waits for {' and '.join(still)}" if still else ""
            details = {"digest": row.request_digest, "state": row.state, "lacking": list(still)}
            await self._sealing.log(session, tenant, grant.principal.id, AuditAction.TRACEPOINT_APPROVE, row, details)
            return await whole(session, row)

    async def deny(self, grant: Grant, name: str, digest: str, reason: str) -> Tracepoint:
        """Raises NotFound, Conflict, Denied, Invalid without a reason."""
        tenant, resource = grant.resource.tenant, f"tracepoint/{name[:100]}"
        async with self._sealing.step(tenant, grant.principal.id, AuditAction.TRACEPOINT_DENY, resource) as (
            session,
            _,
        ):
            reason = _words(reason, "a reason")
            if not reason:
                raise Invalid("a refusal needs a reason: who asked has to know what to change")
            row = await tracepoint_row(session, tenant, name, lock=True)
            await self._reviewable(session, grant, row, digest, Event.DENY)
            await self._say(session, grant, row, Verdict.REJECT, reason)
            move(row, Event.DENY)
            row.ended_at, row.end_reason = self._clock.now(), "denied"
            row.detail = f"denied by {grant.principal.display_name[:200]}: {reason}"
            details = {"digest": row.request_digest, "reason": reason}
            await self._sealing.log(session, tenant, grant.principal.id, AuditAction.TRACEPOINT_DENY, row, details)
            return await whole(session, row)

    async def _reviewable(
        self, session: AsyncSession, grant: Grant, row: TracepointRow, digest: str, event: Event
    ) -> Case:
        """What both verdicts check, the stored request included."""
        if after(State(row.state), event) is None:
            raise Conflict(
                f"the request {row.id} is {row.state}: nobody decides about it any more",
                code="wrong_state",
                extra={"state": row.state},
            )
        now = self._clock.now()
        if row.state == State.AWAITING and row.lapses_at is not None and row.lapses_at <= now:
            raise Conflict(f"the request {row.id} lapsed at {row.lapses_at.isoformat()}: ask again", code="lapsed")
        if digest != row.request_digest:
            raise Conflict(
                f"the request {row.id} has the digest {row.request_digest}, the review is of {digest[:80]}: look at it "
                "again, what you saw is not what stands here",
                code="digest_mismatch",
                extra={"digest": row.request_digest},
            )
        if grant.principal.kind is PrincipalKind.SERVICE:
            raise Denied("a review is a person's: service accounts cannot give one", code="separation_of_duties")
        approved = await self._sealing.path.templates.approved(
            session, grant, row.template_name, row.template_version, row.template_digest
        )
        guard = await self._policies.guard(session, grant.resource.tenant)
        more = guard.approvals if row.process_cap is None else 0
        case = await case_of(session, self._reviewers, row, approved, now, more)
        reviewer = grant.principal.id
        if reviewer in case.authors or case.person(reviewer) in case.authors:
            raise Denied(
                f"you asked for {row.name}, or wrote its template, as yourself or through a login of yours: somebody else "
                "has to say yes to the request",
                code="separation_of_duties",
            )
        if reviewer not in case.panel.roles:
            raise Denied(
                f"you were no reviewer when {row.name} was asked for, or are none now: who is added meanwhile takes part "
                "in the next one",
                code="not_on_the_panel",
            )
        return case

    async def _say(
        self, session: AsyncSession, grant: Grant, row: TracepointRow, verdict: Verdict, comment: str
    ) -> None:
        key = (row.tenant, row.id, grant.principal.id)
        said = await session.get(TracepointReviewRow, key)
        if said is None:
            said = TracepointReviewRow(tenant=row.tenant, tracepoint_id=row.id, reviewer=grant.principal.id)
            session.add(said)
        said.reviewer_name = grant.principal.display_name[:200]
        said.verdict, said.digest, said.comment = verdict.value, row.request_digest, comment
        said.at = self._clock.now()
        await session.flush()


def _words(text: str, what: str) -> str:
    if len(text) > MAX_WORDS or "\x00" in text:
        raise Invalid(f"{what} has at most {MAX_WORDS} characters and no NUL")
    return text.strip()
