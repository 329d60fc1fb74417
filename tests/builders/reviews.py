"""Who may review in a test: a panel that the test can change, on the platform's real rules and masking pack."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.foundation.identifiers import SubjectId, TenantId
from control_plane.identity.step_up import StepUp
from control_plane.masking.bound import PackMasks
from control_plane.policy.model import Permission
from control_plane.templates.counting import Panel
from control_plane.templates.dossier import Review
from control_plane.templates.requirements import ApprovalPolicy, read_approvals
from language.masking_rules import load_rules
from language.risk import RiskClass
from tests.builders.principals import principal

PACK = load_rules((Path(__file__).parents[2] / "policies/masking/platform.yaml").read_text())
EVERYBODY = ("alice", "bob", "carol", "dora", "erin", "frank")


def subject(name: str) -> SubjectId:
    return principal(name).id


@dataclass
class FakeReviewers:
    """`roles` by name; `links` from a login to the person's name."""

    roles: dict[str, frozenset[str]] = field(
        default_factory=lambda: dict.fromkeys(EVERYBODY, frozenset({"reviewer", "viewer"}))
    )
    links: dict[str, str] = field(default_factory=dict)

    async def panel(
        self, session: AsyncSession, tenant: TenantId, permission: Permission = Permission.TEMPLATE_REVIEW
    ) -> Panel:
        return Panel({subject(name): roles for name, roles in self.roles.items()})

    async def persons(
        self, session: AsyncSession, tenant: TenantId, subjects: Collection[SubjectId]
    ) -> Mapping[SubjectId, SubjectId]:
        links = {subject(login): subject(person) for login, person in self.links.items()}
        return {who: links.get(who, who) for who in subjects}


ANY_TIME: Final = StepUp(timedelta(days=36_500))  # most tests' people signed in long ago, and that is not the question


def review(
    reviewers: FakeReviewers | None = None,
    policy: ApprovalPolicy | None = None,
    step_up: StepUp = ANY_TIME,
    **approvals: int,
) -> Review:
    """The platform's rules; `masked=2` asks for two approvals of that class."""
    policy = policy or read_approvals()
    classes = {
        risk: replace(found, approvals=approvals.get(risk.name.lower(), found.approvals))
        for risk, found in policy.classes.items()
    }
    assert {name.upper() for name in approvals} <= set(RiskClass.__members__)
    return Review(replace(policy, classes=classes), reviewers or FakeReviewers(), PackMasks(PACK), step_up)
