"""One stored version -> the Case that its approvals are counted by: panel, persons, authors, requirement, all of now.

What was in force at the submission stands in the row; what is in force now is asked for again each time, inside the
deciding transaction. Both hold. Who wrote it: everybody who submitted a version since the last approved one, and
everybody who ever submitted the same probe under any name: a copy is no way around the second pair of eyes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.foundation.clock import Clock
from control_plane.foundation.identifiers import SubjectId, TenantId
from control_plane.identity.model import Principal
from control_plane.identity.step_up import StepUp
from control_plane.templates.counting import Case, Panel, counted
from control_plane.templates.model import Approval
from control_plane.templates.ports import Masks, Reviewers
from control_plane.templates.reading import reviews_of
from control_plane.templates.requirements import ApprovalPolicy, OwnerRule, Requirement, owner_rule
from control_plane.templates.tables import ApprovalRuleRow, TemplateReviewRow, TemplateVersionRow
from language import canonical
from language.model import Template
from language.risk import Risk, RiskClass, assess


@dataclass(frozen=True)
class Review:
    """How a tenant reviews: the platform's rules and who knows the rest."""

    policy: ApprovalPolicy
    reviewers: Reviewers
    masks: Masks
    step_up: StepUp  # what an approval of RISKY templates needs


RISKY: Final = frozenset({RiskClass.RAW, RiskClass.KERNEL_WIDE})  # what an approval lets out, or whom it burdens


class Dossiers:
    def __init__(self, review: Review, clock: Clock) -> None:
        self._with = review
        self._clock = clock

    @property
    def policy(self) -> ApprovalPolicy:
        return self._with.policy

    async def risk(self, session: AsyncSession, tenant: TenantId, template: Template) -> Risk:
        """As masking stands now."""
        return assess(template, await self._with.masks.bound(session, tenant, template))

    async def step_up(self, session: AsyncSession, principal: Principal, row: TemplateVersionRow) -> None:
        """Who approves what is risky has just signed in. Raises StepUpRequired."""
        risk = await self.risk(session, TenantId(row.tenant), canonical.from_bytes(row.canonical))
        if not RISKY.isdisjoint(risk.classes):
            what = f"approving a template of the class {risk.risk_class}"
            self._with.step_up.check(principal, self._clock.now(), what)

    async def requirement(self, session: AsyncSession, tenant: TenantId, template: Template, risk: Risk) -> Requirement:
        """As the rules stand now."""
        return self._with.policy.requirement(template, risk, await tenant_rules(session, tenant))

    async def panel(self, session: AsyncSession, tenant: TenantId) -> Panel:
        return await self._with.reviewers.panel(session, tenant)

    async def case(self, session: AsyncSession, row: TemplateVersionRow) -> Case:
        """Raises TemplateError when the stored bytes are no template."""
        tenant = TenantId(row.tenant)
        template = canonical.from_bytes(row.canonical)
        now_asked = await self.requirement(session, tenant, template, await self.risk(session, tenant, template))
        editors = await self._editors(session, row)
        reviewers = set(
            await session.scalars(
                select(TemplateReviewRow.reviewer).where(
                    TemplateReviewRow.tenant == row.tenant,
                    TemplateReviewRow.name == row.name,
                    TemplateReviewRow.version == row.version,
                )
            )
        )
        at_submission = Panel({SubjectId(who): frozenset(roles) for who, roles in row.panel.items()})
        known = editors | {SubjectId(who) for who in reviewers} | set(at_submission.roles)
        persons = await self._with.reviewers.persons(session, tenant, known)
        return Case(
            digest=canonical.digest(row.canonical),
            panel=at_submission.both(await self.panel(session, tenant)),
            persons=persons,
            authors=frozenset(persons.get(editor, editor) for editor in editors) | editors,
            requirement=Requirement.of(row.requirement).joined(now_asked),
            now=self._clock.now(),
        )

    async def person(self, session: AsyncSession, tenant: TenantId, subject: SubjectId) -> SubjectId:
        return (await self._with.reviewers.persons(session, tenant, {subject})).get(subject, subject)

    async def approvals(self, session: AsyncSession, row: TemplateVersionRow, case: Case) -> tuple[Approval, ...]:
        return counted(case, await reviews_of(session, row))

    @staticmethod
    async def _editors(session: AsyncSession, row: TemplateVersionRow) -> frozenset[SubjectId]:
        table = TemplateVersionRow
        same = (table.tenant == row.tenant, table.name == row.name)
        reviewed = await session.scalar(
            select(func.max(table.version)).where(*same, table.version < row.version, table.approved_at.is_not(None))
        )
        since = await session.scalars(
            select(table.author).where(*same, table.version > (reviewed or 0), table.version <= row.version)
        )
        copied = await session.scalars(
            select(table.author).where(table.tenant == row.tenant, table.body_digest == row.body_digest)
        )
        return frozenset(SubjectId(author) for author in (*since, *copied))


async def tenant_rules(session: AsyncSession, tenant: TenantId) -> tuple[OwnerRule, ...]:
    rows = await session.scalars(
        select(ApprovalRuleRow).where(ApprovalRuleRow.tenant == tenant).order_by(ApprovalRuleRow.name)
    )
    return tuple(owner_rule(row.document) for row in rows)
