"""Approving what is risky takes somebody who has just signed in, strongly enough; the refusal says what would do."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from control_plane.foundation.errors import StepUpRequired
from control_plane.http.problems import _challenge
from control_plane.identity.signed_claims import LEEWAY
from control_plane.identity.step_up import StepUp
from control_plane.policy.model import Permission
from control_plane.templates.service import TemplateService
from tests.builders.audit_trail import entries
from tests.builders.principals import grant, principal
from tests.builders.reviews import review

AGE = timedelta(minutes=15)
HOT = """\
apiVersion: probegate/v1
kind: ProbeTemplate
metadata: {name: hot}
spec:
  target: {service: shop, language: go}
  probe: {function: runtime.mallocgc, at: entry, capture: {goroutine: goid()}}
  table: hot
"""
COOL = HOT.replace("hot", "cool").replace("runtime.mallocgc", "money.Sum")


def reviewing(shown, context_class=""):
    by = replace(principal("bob"), authenticated_at=shown, context_class=context_class)
    return grant(Permission.TEMPLATE_REVIEW, by=by)


@pytest.fixture
def submit(database, trail, clock, reviewers):
    async def submitted(source=HOT, classes=()):
        service = TemplateService(database, trail, clock, review(reviewers, step_up=StepUp(AGE, classes)))
        (version,) = (await service.submit(grant(Permission.TEMPLATE_SUBMIT), source)).versions
        return lambda asked: service.approve(asked, version.name, 1, version.digest)

    return submitted


async def test_who_has_just_signed_in_approves(submit, clock):
    approve = await submit()

    assert (await approve(reviewing(clock.now() - AGE))).reviews[0].verdict == "approve"


@pytest.mark.parametrize("ago", [AGE + LEEWAY + timedelta(seconds=1), timedelta(days=1), None])
async def test_a_sign_in_of_long_ago_or_of_no_known_time_is_none(submit, clock, ago, database):
    approve = await submit()

    with pytest.raises(StepUpRequired) as refused:
        await approve(reviewing(None if ago is None else clock.now() - ago))
    assert refused.value.extra == {"max_age": 900, "acr_values": ""}
    assert (await entries(database))[-1]["detail"]["code"] == "step_up_required"


@pytest.mark.parametrize("context_class", ["", "pwd", "mf", "mfa "])
async def test_where_strength_is_demanded_it_has_to_be_one_of_those(submit, clock, context_class):
    approve = await submit(classes=("mfa", "hwk"))

    with pytest.raises(StepUpRequired) as refused:
        await approve(reviewing(clock.now(), context_class))
    assert 'error="insufficient_user_authentication"' in _challenge(refused.value)
    assert 'max_age="900", acr_values="mfa hwk"' in _challenge(refused.value)
    await approve(reviewing(clock.now(), "hwk"))


async def test_what_is_not_risky_needs_none_of_it(submit, clock):
    approve = await submit(COOL, classes=("mfa",))

    assert (await approve(reviewing(clock.now() - timedelta(hours=7)))).reviews
