"""Source text -> versions in review -> an ApprovedTemplate, or the reason why it is not one.

    submit     every template of the text becomes a version with a digest; the same bytes again are the same version
    approve    by the digest that the reviewer saw; not by who wrote any of what is new in it; a person counts once
    reject     one is enough, with a reason; also of what was approved before
    withdraw   by the author
    approved   the digest is computed again from the stored bytes: what was changed behind our back is refused

Who wrote it: everybody who submitted a version since the last approved one. Reading is in `reading`.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.foundation.audit_trail import AuditAction, AuditEvent, AuditTrail, Outcome
from control_plane.foundation.audited import audited
from control_plane.foundation.clock import Clock
from control_plane.foundation.correlation import current_request_id
from control_plane.foundation.database import Database
from control_plane.foundation.errors import Conflict, Denied, Invalid, InvalidTemplate, Stale
from control_plane.foundation.identifiers import SubjectId
from control_plane.identity.model import PrincipalKind
from control_plane.policy.model import Grant
from control_plane.templates.lifecycle import Event, State, after
from control_plane.templates.model import (
    Approval,
    ApprovedTemplate,
    Submitted,
    TemplateVersion,
    Verdict,
)
from control_plane.templates.reading import approved_row, newest_row, reviews_of, version_of, version_row
from control_plane.templates.tables import TemplateReviewRow, TemplateVersionRow
from language import canonical, front_end
from language.errors import TemplateError
from language.script import Deployment, Script

REQUIRED_APPROVALS: Final = 1  # the four-eyes principle: one author, one reviewer
MAX_MESSAGE: Final = 2000  # characters for the reviewer, or of a reason
_LIVE: Final = (State.IN_REVIEW, State.APPROVED)


class TemplateService:
    def __init__(
        self, database: Database, audit: AuditTrail, clock: Clock, required_approvals: int = REQUIRED_APPROVALS
    ) -> None:
        if required_approvals < 1:
            raise ValueError("no approval is no review")
        self._database = database
        self._audit = audit
        self._clock = clock
        self._required = required_approvals

    def lint(self, source: str) -> Script:
        """What `submit` would read, without keeping any of it. Raises InvalidTemplate with line and column."""
        try:
            return front_end.load(source)
        except TemplateError as error:
            place = {} if error.position is None else {"line": error.position.line, "column": error.position.column}
            raise InvalidTemplate(str(error), extra={"problem": error.problem, **place}) from error

    async def submit(self, grant: Grant, source: str, message: str = "") -> Submitted:
        """Raises InvalidTemplate."""
        async with self._step(grant, AuditAction.TEMPLATE_SUBMIT, "template/*") as session:
            message = _text(message, "a message")
            script = self.lint(source)
            versions = [
                await self._submit(session, grant, deployment, source, message) for deployment in script.templates
            ]
            for version, is_new in versions:
                await self._log(
                    session,
                    grant,
                    AuditAction.TEMPLATE_SUBMIT,
                    f"template/{version.name}@{version.version}",
                    {"digest": version.digest, "new": is_new, "state": version.state.value},
                )
            if not versions:
                await self._log(session, grant, AuditAction.TEMPLATE_SUBMIT, "template/*", {"templates": 0})
        return Submitted(tuple(version for version, _ in versions), script.templates, script.deletions, script.displays)

    async def approve(
        self, grant: Grant, name: str, version: int, digest: str, comment: str = "", if_match: str | None = None
    ) -> TemplateVersion:
        """One person's yes to the bytes with this digest. Raises NotFound, Denied, Conflict, Stale."""
        tenant = grant.resource.tenant
        async with self._step(grant, AuditAction.TEMPLATE_APPROVE, f"template/{name}@{version}") as session:
            comment = _text(comment, "a comment")
            row = await version_row(session, tenant, name, version, lock=True)
            await self._reviewable(session, grant, row, digest, if_match)
            self._move(row, Event.APPROVE, dry=True)
            if await self._say(session, grant, row, Verdict.APPROVE, comment):
                if len(await self._approvals(session, row)) >= self._required:
                    await self._become_approved(session, row)
                details = {"digest": row.digest, "state": row.state}
                await self._log(session, grant, AuditAction.TEMPLATE_APPROVE, f"template/{name}@{version}", details)
            return version_of(row, await reviews_of(session, row))

    async def reject(
        self, grant: Grant, name: str, version: int, digest: str, reason: str, if_match: str | None = None
    ) -> TemplateVersion:
        """One person's no, which is enough. Raises NotFound, Denied, Conflict, Stale, Invalid without a reason."""
        tenant = grant.resource.tenant
        async with self._step(grant, AuditAction.TEMPLATE_REJECT, f"template/{name}@{version}") as session:
            reason = _text(reason, "a reason")
            if not reason:
                raise Invalid("a rejection needs a reason: the author has to know what to change")
            row = await version_row(session, tenant, name, version, lock=True)
            await self._reviewable(session, grant, row, digest, if_match)
            self._move(row, Event.REJECT)
            await self._say(session, grant, row, Verdict.REJECT, reason)
            details = {"digest": row.digest, "reason": reason}
            await self._log(session, grant, AuditAction.TEMPLATE_REJECT, f"template/{name}@{version}", details)
            return version_of(row, await reviews_of(session, row))

    async def withdraw(self, grant: Grant, name: str, version: int, if_match: str | None = None) -> TemplateVersion:
        """The author takes the version back. Raises NotFound, Denied, Conflict, Stale."""
        tenant = grant.resource.tenant
        async with self._step(grant, AuditAction.TEMPLATE_WITHDRAW, f"template/{name}@{version}") as session:
            row = await version_row(session, tenant, name, version, lock=True)
            reviews = await reviews_of(session, row)
            _fresh(version_of(row, reviews), if_match)
            if row.author != grant.principal.id:
                raise Denied(
                    f"{name} version {version} was submitted by {row.author_name}: only its author withdraws it, "
                    "a reviewer rejects it",
                    code="not_the_author",
                )
            self._move(row, Event.WITHDRAW)
            details = {"digest": row.digest}
            await self._log(session, grant, AuditAction.TEMPLATE_WITHDRAW, f"template/{name}@{version}", details)
            return version_of(row, reviews)

    async def approved(
        self, session: AsyncSession, grant: Grant, name: str, version: int | None = None, digest: str | None = None
    ) -> ApprovedTemplate:
        """The proof, inside the caller's transaction. Raises NotFound, Conflict (`not_approved`, `changed_after_approval`).

        Without `version` the approved one is meant; with `digest` it has to be these bytes.
        """
        row = await approved_row(session, grant.resource.tenant, name, version, digest)
        _unchanged(row)
        approvals = await self._approvals(session, row)
        if len(approvals) < self._required:
            raise Conflict(
                f"{name} version {row.version} has {len(approvals)} of {self._required} approvals of its bytes as they "
                "are stored: it was changed after approval, submit it again",
                code="changed_after_approval",
            )
        return ApprovedTemplate(
            name=row.name,
            version=row.version,
            template=canonical.from_bytes(row.canonical),
            canonical=row.canonical,
            digest=row.digest,
            approvals=approvals,
            author=SubjectId(row.author),
            required=self._required,
        )

    async def _submit(
        self, session: AsyncSession, grant: Grant, deployment: Deployment, source: str, message: str
    ) -> tuple[TemplateVersion, bool]:
        tenant, name = grant.resource.tenant, deployment.template.name
        written = canonical.to_bytes(deployment.template)
        digest = canonical.digest(written)
        newest = await newest_row(session, tenant, name, lock=True)
        if newest is not None and newest.digest == digest and newest.state in _LIVE:
            return version_of(newest, await reviews_of(session, newest)), False
        row = TemplateVersionRow(
            tenant=tenant,
            name=name,
            version=1 if newest is None else newest.version + 1,
            digest=digest,
            canonical=written,
            source=source,
            state=State.IN_REVIEW.value,
            author=grant.principal.id,
            author_name=grant.principal.display_name[:200],
            message=message,
            created_at=self._clock.now(),
            approved_at=None,
        )
        await self._supersede(session, row, State.IN_REVIEW)
        session.add(row)
        try:
            await session.flush()
        except IntegrityError as error:
            raise Conflict(f"somebody submitted {name} at the same moment: submit again", code="raced") from error
        return version_of(row, ()), True

    async def _reviewable(
        self, session: AsyncSession, grant: Grant, row: TemplateVersionRow, digest: str, if_match: str | None
    ) -> None:
        """The checks that both verdicts share, the stored bytes included."""
        _fresh(version_of(row, await reviews_of(session, row)), if_match)
        _unchanged(row)
        if digest != row.digest:
            raise Conflict(
                f"{row.name} version {row.version} has the digest {row.digest}, the review is of {digest[:80]}: "
                "look at it again, what you saw is not what stands here",
                code="digest_mismatch",
                extra={"digest": row.digest},
            )
        if grant.principal.kind is PrincipalKind.SERVICE:
            raise Denied("a review is a person's: service accounts cannot give one", code="separation_of_duties")
        if grant.principal.id in await self._editors(session, row):
            raise Denied(
                f"you submitted {row.name} version {row.version} or a version since the last approved one: "
                "somebody else has to review it",
                code="separation_of_duties",
            )

    async def _editors(self, session: AsyncSession, row: TemplateVersionRow) -> frozenset[str]:
        """Everybody who submitted a version after the last one that was approved, this one included."""
        same = (TemplateVersionRow.tenant == row.tenant, TemplateVersionRow.name == row.name)
        reviewed = await session.scalar(
            select(func.max(TemplateVersionRow.version)).where(
                *same, TemplateVersionRow.version < row.version, TemplateVersionRow.approved_at.is_not(None)
            )
        )
        authors = await session.scalars(
            select(TemplateVersionRow.author).where(
                *same, TemplateVersionRow.version > (reviewed or 0), TemplateVersionRow.version <= row.version
            )
        )
        return frozenset(authors)

    async def _approvals(self, session: AsyncSession, row: TemplateVersionRow) -> tuple[Approval, ...]:
        """Those that count: to the bytes that are stored, by people who did not write them."""
        editors = await self._editors(session, row)
        digest = canonical.digest(row.canonical)
        return tuple(
            Approval(review.reviewer, review.at)
            for review in await reviews_of(session, row)
            if review.verdict is Verdict.APPROVE and review.digest == digest and review.reviewer not in editors
        )

    async def _say(
        self, session: AsyncSession, grant: Grant, row: TemplateVersionRow, verdict: Verdict, comment: str
    ) -> bool:
        """Write the review. False when this person said the same before: a person counts once."""
        person = grant.principal.id
        said = await session.get(TemplateReviewRow, (row.tenant, row.name, row.version, person))
        if said is not None and said.verdict == verdict:
            return False
        if said is None:
            said = TemplateReviewRow(tenant=row.tenant, name=row.name, version=row.version, reviewer=person)
            session.add(said)
        said.reviewer_name = grant.principal.display_name[:200]
        said.verdict = verdict.value
        said.digest = row.digest
        said.comment = comment
        said.at = self._clock.now()
        await session.flush()
        return True

    async def _become_approved(self, session: AsyncSession, row: TemplateVersionRow) -> None:
        if row.state != State.APPROVED:
            await self._supersede(session, row, State.APPROVED)
        self._move(row, Event.APPROVE)
        row.approved_at = row.approved_at or self._clock.now()
        await session.flush()

    async def _supersede(self, session: AsyncSession, newer: TemplateVersionRow, state: State) -> None:
        """Older versions in this state give way to the newer one."""
        older = await session.scalars(
            select(TemplateVersionRow).where(
                TemplateVersionRow.tenant == newer.tenant,
                TemplateVersionRow.name == newer.name,
                TemplateVersionRow.version < newer.version,
                TemplateVersionRow.state == state.value,
            )
        )
        for row in older:
            self._move(row, Event.SUPERSEDE)

    def _move(self, row: TemplateVersionRow, event: Event, *, dry: bool = False) -> None:
        state = after(State(row.state), event)
        if state is None:
            raise Conflict(
                f"{row.name} version {row.version} is {row.state}: it cannot be {_PAST[event]} any more; "
                "submit it again for a new version",
                code="wrong_state",
                extra={"state": row.state},
            )
        if not dry:
            row.state = state.value

    def _step(self, grant: Grant, action: AuditAction, resource: str) -> AbstractAsyncContextManager[AsyncSession]:
        return audited(self._database, self._audit, grant.resource.tenant, grant.principal.id, action, resource)

    async def _log(
        self, session: AsyncSession, grant: Grant, action: AuditAction, resource: str, detail: Mapping[str, object]
    ) -> None:
        event = AuditEvent(
            action=action,
            outcome=Outcome.SUCCESS,
            actor=grant.principal.id,
            resource=resource,
            detail=detail,
            request_id=current_request_id.get(),
        )
        await self._audit.append(session, grant.resource.tenant, event)


_PAST: Final = {
    Event.APPROVE: "approved",
    Event.REJECT: "rejected",
    Event.WITHDRAW: "withdrawn",
    Event.SUPERSEDE: "superseded",
}


def _unchanged(row: TemplateVersionRow) -> None:
    if canonical.digest(row.canonical) != row.digest:
        raise Conflict(
            f"the stored bytes of {row.name} version {row.version} do not have the digest that was submitted: "
            "they were changed after approval, behind the control plane's back; submit it again and look into the log",
            code="changed_after_approval",
        )


def _fresh(version: TemplateVersion, if_match: str | None) -> None:
    if if_match is not None and if_match.strip().strip('"') not in {version.etag, "*"}:
        raise Stale(
            f"{version.name} version {version.version} has changed since you looked: read it again",
            extra={"etag": version.etag},
        )


def _text(text: str, what: str) -> str:
    if len(text) > MAX_MESSAGE:
        raise Invalid(f"{what} has at most {MAX_MESSAGE} characters, {len(text)} came")
    if "\x00" in text:
        raise Invalid(f"{what} holds a NUL character, which no database keeps")
    return text.strip()
