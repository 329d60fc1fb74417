"""Rules of a tenant about reviews: by the risk class that was computed, and by the template."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from control_plane.foundation.errors import Denied
from control_plane.policy.conditions import Condition, Facts
from control_plane.policy.decide import decide
from control_plane.policy.index import base_of, build_snapshot
from control_plane.policy.model import Grant, Permission, Terms
from control_plane.policy.roles import read_roles
from control_plane.policy.rules import SUPPLIED, Effect, Rule
from control_plane.templates.lifecycle import State
from control_plane.templates.service import TemplateService
from language.risk import RiskClass
from tests.builders.audit_trail import actions
from tests.builders.principals import ISSUER, grant
from tests.builders.templates import SUM_YAML

BASE = base_of(read_roles())
REVIEW = Permission.TEMPLATE_REVIEW
BOB = f"{ISSUER}|bob"


def reviewing(**condition: object) -> Grant:
    """What the route hands on to bob, a reviewer whom a rule denies what the condition says."""
    rule = Rule("role:reviewer", REVIEW, "*", Effect.DENY, Condition(**condition), id="the-rule")
    snapshot = build_snapshot("acme", 1, {BOB: ("reviewer",)}, BASE, (rule,))
    decision = decide(snapshot, BOB, REVIEW, "*", Facts(datetime(2026, 11, 24, tzinfo=UTC), pending=SUPPLIED[REVIEW]))
    assert decision.allowed, decision.reason
    return replace(grant(REVIEW, by="bob"), terms=Terms(decision.terms))


@pytest.mark.parametrize("condition", [{"risk_at_most": RiskClass.MASKED}, {"template": ("money-sum",)}])
async def test_a_reviewer_does_not_decide_what_a_rule_denies_them(
    service: TemplateService, database, condition
) -> None:
    version = (await service.submit(grant(Permission.TEMPLATE_SUBMIT), SUM_YAML)).versions[0]

    with pytest.raises(Denied, match="the rule the-rule denies it"):
        await service.approve(reviewing(**condition), version.name, version.version, version.digest)
    assert (await actions(database))[-1] == ("template.approve", "refused")
    with pytest.raises(Denied):
        await service.reject(reviewing(**condition), version.name, version.version, version.digest, "no")


@pytest.mark.parametrize("condition", [{"risk_at_most": RiskClass.METADATA}, {"template": ("other",)}])
async def test_a_rule_about_something_else_hinders_no_review(service: TemplateService, condition) -> None:
    version = (await service.submit(grant(Permission.TEMPLATE_SUBMIT), SUM_YAML)).versions[0]

    approved = await service.approve(reviewing(**condition), version.name, version.version, version.digest)

    assert approved.state is State.APPROVED
