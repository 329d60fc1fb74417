"""Source text -> versions in review -> an ApprovedTemplate, or the reason why it is not one.

    submit     every template of the text becomes a version with a digest; the same bytes again are the same version
    approve    by the digest that the reviewer saw; not by who wrote any of what is new in it; a person counts once
    reject     one is enough, with a reason; also of what was approved before
    withdraw   by the author
    deprecate  no new requests; revoke: nothing of it runs any more
    approved   everything is counted again from the stored bytes and the rules of now: what changed since does not count

Which approvals count is in `counting`, what is needed in `requirements`, who wrote it in `dossier`, reading in `reading`.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import timedelta
from typing import Final

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.foundation.audit_trail import AuditAction, AuditEvent, AuditTrail, Outcome
from control_plane.foundation.audited import audited
from control_plane.foundation.clock import Clock
from control_plane.foundation.correlation import current_request_id
from control_plane.foundation.database import Database, EveryTenant
from control_plane.foundation.errors import Conflict, Denied, Invalid, InvalidTemplate
from control_plane.foundation.identifiers import SubjectId, TenantId
from control_plane.foundation.request_headers import check_match
from control_plane.identity.model import PrincipalKind
from control_plane.policy.conditions import Facts
from control_plane.policy.model import Grant
from control_plane.policy.quotas import Quota, Quotas
from control_plane.policy.terms import confirm
from control_plane.templates.counting import Case, missing
from control_plane.templates.dossier import Dossiers, Review
from control_plane.templates.lifecycle import Event, State, after
from control_plane.templates.model import ApprovedTemplate, Submitted, TemplateVersion, Verdict
from control_plane.templates.reading import approved_row, newest_row, reviews_of, version_of, version_row
from control_plane.templates.requirements import Requirement
from control_plane.templates.tables import TemplateReviewRow, TemplateVersionRow
from control_plane.templates.tallies import count_templates
from language import canonical, front_end
from language.errors import TemplateError
from language.model import Template
from language.risk import RiskClass, UnderstatedRisk, refuse_understated
from language.script import Deployment, Script

MAX_MESSAGE: Final = 2000  # characters for the reviewer, or of a reason
MAX_LAPSED: Final = 200  # in one transaction
_LIVE: Final = (State.IN_REVIEW, State.APPROVED)


class TemplateService:
    def __init__(
        self, database: Database, audit: AuditTrail, clock: Clock, review: Review, quotas: Quotas | None = None
    ) -> None:
        self._quotas = quotas or Quotas()
        self._database = database
        self._audit = audit
        self._clock = clock
        self._dossiers = Dossiers(review, clock)

    def lint(self, source: str) -> Script:
        """What `submit` would read, without keeping any of it. Raises InvalidTemplate with line and column."""
        try:
            return front_end.load(source)
        except TemplateError as error:
            place = {} if error.position is None else {"line": error.position.line, "column": error.position.column}
            raise InvalidTemplate(str(error), extra={"problem": error.problem, **place}) from error

    async def submit(self, grant: Grant, source: str, message: str = "", *, draft: bool = False) -> Submitted:
        """For review, or as a draft that nobody is asked to look at yet. Raises InvalidTemplate, Invalid."""
        async with self._step(grant, AuditAction.TEMPLATE_SUBMIT, "template/*") as session:
            message = _text(message, "a message")
            script = self.lint(source)
            versions = [
                await self._submit(session, grant, deployment, source, message, draft=draft)
                for deployment in script.templates
            ]
            for version, is_new in versions:
                await self._log(
                    session,
                    grant,
                    AuditAction.TEMPLATE_SUBMIT,
                    f"template/{version.name}@{version.version}",
                    {
                        "digest": version.digest,
                        "new": is_new,
                        "state": version.state.value,
                        "risk": version.risk.risk_class.value,
                        "needs": version.requirement.words(),
                    },
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
            self._move(row, Event.APPROVE, dry=True)
            case = await self._reviewable(session, grant, row, digest, if_match)
            await self._dossiers.step_up(session, grant.principal, row)
            if await self._say(session, grant, row, Verdict.APPROVE, comment, case.requirement.good_for):
                lacking = missing(case.requirement, await self._dossiers.approvals(session, row, case))
                if not lacking:
                    await self._become_approved(session, row)
                details = {"digest": row.digest, "state": row.state, "lacking": list(lacking)}
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
            await self._say(session, grant, row, Verdict.REJECT, reason, timedelta(0))
            details = {"digest": row.digest, "reason": reason}
            await self._log(session, grant, AuditAction.TEMPLATE_REJECT, f"template/{name}@{version}", details)
            return version_of(row, await reviews_of(session, row))

    async def withdraw(self, grant: Grant, name: str, version: int, if_match: str | None = None) -> TemplateVersion:
        """The author takes the version back. Raises NotFound, Denied, Conflict, Stale."""
        tenant = grant.resource.tenant
        async with self._step(grant, AuditAction.TEMPLATE_WITHDRAW, f"template/{name}@{version}") as session:
            row = await version_row(session, tenant, name, version, lock=True)
            reviews = await reviews_of(session, row)
            _check_match(version_of(row, reviews), if_match)
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

    async def deprecate(
        self, grant: Grant, name: str, version: int, reason: str, if_match: str | None = None
    ) -> TemplateVersion:
        """Nobody asks for it anew; what runs may be renewed. Raises NotFound, Conflict, Invalid, Stale."""
        return await self._retired(
            grant, AuditAction.TEMPLATE_DEPRECATE, name, version, Event.DEPRECATE, reason, if_match
        )

    async def revoke(
        self, grant: Grant, name: str, version: int, reason: str, if_match: str | None = None
    ) -> TemplateVersion:
        """For good: what runs of it is taken back by `tracepoints` within seconds. Raises NotFound, Conflict, Invalid, Stale."""
        return await self._retired(grant, AuditAction.TEMPLATE_REVOKE, name, version, Event.REVOKE, reason, if_match)

    async def lapse(self) -> int:
        """Close the reviews that nobody finished in time; how many those were. Called by a loop beside the requests."""
        table = TemplateVersionRow
        over = (table.state == State.IN_REVIEW.value, table.lapses_at <= self._clock.now())
        async with self._database.transaction(EveryTenant("whose reviews are over")) as session:
            tenants = (await session.scalars(select(table.tenant).where(*over).distinct())).all()
        return sum([await self._lapsed(TenantId(tenant)) for tenant in tenants])

    async def _lapsed(self, tenant: TenantId) -> int:
        table = TemplateVersionRow
        async with self._database.transaction(tenant) as session:
            over = await session.scalars(
                select(table)
                .where(
                    table.tenant == tenant,
                    table.state == State.IN_REVIEW.value,
                    table.lapses_at <= self._clock.now(),
                )
                .limit(MAX_LAPSED)
                .with_for_update()
            )
            rows = over.all()
            for row in rows:
                self._move(row, Event.LAPSE)
                event = AuditEvent(
                    AuditAction.TEMPLATE_LAPSE,
                    Outcome.SUCCESS,
                    "system",
                    f"template/{row.name}@{row.version}",
                    {"digest": row.digest, "submitted": row.created_at.isoformat()},
                )
                await self._audit.append(session, TenantId(row.tenant), event)
            return len(rows)

    async def approved(
        self,
        session: AsyncSession,
        grant: Grant,
        name: str,
        version: int | None = None,
        digest: str | None = None,
        *,
        renewal: bool = False,
    ) -> ApprovedTemplate:
        """The proof, inside the caller's transaction. Raises NotFound, Conflict (`not_approved`, `changed_after_approval`).

        Without `version` the approved one is meant; with `digest` it has to be these bytes. What was deprecated since
        is good for a renewal only.
        """
        states = (State.APPROVED, State.DEPRECATED) if renewal else (State.APPROVED,)
        row = await approved_row(session, grant.resource.tenant, name, version, digest, states)
        _unchanged(row)
        case = await self._dossiers.case(session, row)
        approvals = await self._dossiers.approvals(session, row, case)
        lacking = missing(case.requirement, approvals)
        if lacking:
            raise Conflict(
                f"{name} version {row.version} lacks {' and '.join(lacking)} of its bytes as they are stored that count "
                "today: approvals end, reviewers leave, rules tighten, and what was changed after approval has none; "
                "have it reviewed again or submit it again",
                code="changed_after_approval",
                extra={"needs": case.requirement.words(), "lacking": list(lacking)},
            )
        requester = grant.principal.id
        persons = {requester: await self._dossiers.person(session, grant.resource.tenant, requester)}
        template = canonical.from_bytes(row.canonical)
        return ApprovedTemplate(
            name=row.name,
            version=row.version,
            template=template,
            canonical=row.canonical,
            digest=row.digest,
            approvals=approvals,
            author=SubjectId(row.author),
            requirement=case.requirement,
            persons=persons,
            risk=(await self._dossiers.risk(session, grant.resource.tenant, template)).risk_class,
            authors=case.authors,
        )

    async def for_reviewer(
        self, session: AsyncSession, grant: Grant, name: str, version: int
    ) -> tuple[TemplateVersion, bytes, RiskClass]:
        """A version in review, its bytes and its class of now, for somebody who may decide about it.

        Raises NotFound, Conflict, Denied.
        """
        row = await version_row(session, grant.resource.tenant, name, version)
        if row.state != State.IN_REVIEW:
            raise Conflict(
                f"{name} version {version} is {row.state}: only what is in review is tried on live calls for a reviewer",
                code="wrong_state",
                extra={"state": row.state},
            )
        await self._reviewable(session, grant, row, row.digest, None)
        found = version_of(row, await reviews_of(session, row))
        risk = await self._dossiers.risk(session, grant.resource.tenant, found.template)
        return found, row.canonical, risk.risk_class

    async def _retired(
        self,
        grant: Grant,
        action: AuditAction,
        name: str,
        version: int,
        event: Event,
        reason: str,
        if_match: str | None,
    ) -> TemplateVersion:
        resource = f"template/{name}@{version}"
        async with self._step(grant, action, resource) as session:
            reason = _text(reason, "a reason")
            if not reason:
                raise Invalid("taking a template out of use needs a reason: others have to know why")
            row = await version_row(session, grant.resource.tenant, name, version, lock=True)
            if if_match is not None:
                _check_match(version_of(row, await reviews_of(session, row)), if_match)
            self._move(row, event)
            await self._log(session, grant, action, resource, {"digest": row.digest, "reason": reason})
            return version_of(row, await reviews_of(session, row))

    async def _submit(
        self, session: AsyncSession, grant: Grant, deployment: Deployment, source: str, message: str, *, draft: bool
    ) -> tuple[TemplateVersion, bool]:
        tenant, template = grant.resource.tenant, deployment.template
        name, now = template.name, self._clock.now()
        written = canonical.to_bytes(template)
        digest = canonical.digest(written)
        risk = await self._dossiers.risk(session, tenant, template)
        try:
            refuse_understated(template, risk)
        except UnderstatedRisk as error:
            raise Invalid(str(error), code="understated_risk", extra={"computed": risk.risk_class.value}) from error
        requirement = await self._dossiers.requirement(session, tenant, template, risk)
        newest = await newest_row(session, tenant, name, lock=True)
        if newest is not None and newest.digest == digest:
            if newest.state in _LIVE or (draft and newest.state == State.DRAFT):
                return version_of(newest, await reviews_of(session, newest)), False
            if newest.state == State.DRAFT and newest.author == grant.principal.id:
                await self._open(session, grant, newest, requirement)
                return version_of(newest, ()), True
        if newest is None:
            used = await count_templates(session, tenant)
            await self._quotas.refuse_more(session, tenant, Quota.TEMPLATES, used)
        row = TemplateVersionRow(
            tenant=tenant,
            name=name,
            version=1 if newest is None else newest.version + 1,
            digest=digest,
            canonical=written,
            source=source,
            state=State.DRAFT.value,
            author=grant.principal.id,
            author_name=grant.principal.display_name[:200],
            message=message,
            created_at=now,
            approved_at=None,
            body_digest=_body_digest(template),
            risk=[[reason.risk.value, reason.column, reason.why] for reason in risk.reasons],
            requirement=requirement.document(),
            panel={},
            lapses_at=now + self._dossiers.policy.review_lapses,
        )
        session.add(row)
        try:
            await session.flush()
        except IntegrityError as error:
            raise Conflict(f"somebody submitted {name} at the same moment: submit again", code="raced") from error
        if not draft:
            await self._open(session, grant, row, requirement)
        return version_of(row, ()), True

    async def _open(
        self, session: AsyncSession, grant: Grant, row: TemplateVersionRow, requirement: Requirement
    ) -> None:
        """Into review, with the panel of this moment: who becomes a reviewer later does not review this."""
        tenant, now = grant.resource.tenant, self._clock.now()
        self._move(row, Event.SUBMIT)
        panel = await self._dossiers.panel(session, tenant)
        row.panel = {who: sorted(roles) for who, roles in sorted(panel.roles.items())}
        row.requirement = requirement.document()
        row.lapses_at = now + self._dossiers.policy.review_lapses
        for state in (State.IN_REVIEW, State.DRAFT):
            await self._supersede(session, row, state)
        if not missing(requirement, ()):  # counts and latencies: the rules ask nobody
            await self._become_approved(session, row)
            event = AuditEvent(
                AuditAction.TEMPLATE_APPROVE,
                Outcome.SUCCESS,
                "system",
                f"template/{row.name}@{row.version}",
                {"digest": row.digest, "state": row.state, "why": requirement.words()},
                current_request_id.get(),
            )
            await self._audit.append(session, tenant, event)
        await session.flush()

    async def _reviewable(
        self, session: AsyncSession, grant: Grant, row: TemplateVersionRow, digest: str, if_match: str | None
    ) -> Case:
        """The checks that both verdicts share, the stored bytes included."""
        _check_match(version_of(row, await reviews_of(session, row)), if_match)
        _unchanged(row)
        if digest != row.digest:
            raise Conflict(
                f"{row.name} version {row.version} has the digest {row.digest}, the review is of {digest[:80]}: "
                "look at it again, what you saw is not what stands here",
                code="digest_mismatch",
                extra={"digest": row.digest},
            )
        if row.state == State.IN_REVIEW and row.lapses_at <= self._clock.now():
            raise Conflict(
                f"the review of {row.name} version {row.version} lapsed at {row.lapses_at.isoformat()}: submit it again",
                code="lapsed",
            )
        if grant.principal.kind is PrincipalKind.SERVICE:
            raise Denied("a review is a person's: service accounts cannot give one", code="separation_of_duties")
        risk = max((RiskClass(reason[0]) for reason in row.risk), key=list(RiskClass).index, default=RiskClass.METADATA)
        confirm(grant, Facts(self._clock.now(), risk=risk, template=row.name))
        case = await self._dossiers.case(session, row)
        reviewer = grant.principal.id
        if reviewer in case.authors or case.person(reviewer) in case.authors:
            raise Denied(
                f"you submitted {row.name} version {row.version}, a version since the last approved one, or the same "
                "probe under another name, as yourself or through a login of yours: somebody else has to review it",
                code="separation_of_duties",
            )
        if reviewer not in case.panel.roles:
            raise Denied(
                f"you were no reviewer when {row.name} version {row.version} was submitted, or are none now: who is "
                "added during a review takes part in the next one",
                code="not_on_the_panel",
            )
        return case

    async def _say(
        self,
        session: AsyncSession,
        grant: Grant,
        row: TemplateVersionRow,
        verdict: Verdict,
        comment: str,
        good_for: timedelta,
    ) -> bool:
        """Write the review. False when this login said the same before, and that still counts."""
        person = grant.principal.id
        said = await session.get(TemplateReviewRow, (row.tenant, row.name, row.version, person))
        if said is not None and said.verdict == verdict and self._clock.now() - said.at <= good_for:
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
    Event.SUBMIT: "submitted",
    Event.LAPSE: "closed",
    Event.DEPRECATE: "deprecated",
    Event.REVOKE: "revoked",
}


def _body_digest(template: Template) -> str:
    """Of what the probe does, whatever it is called."""
    nameless = replace(template, name="copy", description="", labels=(), table="copy")
    return canonical.digest(canonical.to_bytes(nameless))


def _unchanged(row: TemplateVersionRow) -> None:
    if canonical.digest(row.canonical) != row.digest:
        raise Conflict(
            f"the stored bytes of {row.name} version {row.version} do not have the digest that was submitted: "
            "they were changed after approval, behind the control plane's back; submit it again and look into the log",
            code="changed_after_approval",
        )


def _check_match(version: TemplateVersion, if_match: str | None) -> None:
    check_match(f"{version.name} version {version.version}", version.etag, if_match)


def _text(text: str, what: str) -> str:
    if len(text) > MAX_MESSAGE:
        raise Invalid(f"{what} has at most {MAX_MESSAGE} characters, {len(text)} came")
    if "\x00" in text:
        raise Invalid(f"{what} holds a NUL character, which no database keeps")
    return text.strip()
