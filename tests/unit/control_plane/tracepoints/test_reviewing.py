"""The reviewer's page, with agents that answer, lie or are silent."""

from __future__ import annotations

import json

import pytest

from control_plane.foundation.errors import NotFound
from control_plane.foundation.identifiers import TenantId
from control_plane.masking.bound import PackMasks
from control_plane.policy.model import Permission
from control_plane.policy.roles import read_roles
from control_plane.tracepoints.reviewing import Reviewing
from language import canonical
from language.risk import RiskClass
from tests.builders.governing import ungoverned
from tests.builders.principals import grant
from tests.builders.reviews import PACK, subject
from tests.builders.templates import SUM_YAML

READER = grant(Permission.TEMPLATE_READ)
ANSWER = {
    "binds": True,
    "problem": "",
    "processes": 2,
    "executable": "/srv/checkout",
    "build_id": "abcd",
    "sites": 3,
    "trap_classes": ["emulated"],
    "microseconds_per_call": 1.5,
    "captures": [
        {"column": "units", "type": "int64", "readable": True, "reason": ""},
        {"column": "currency", "type": "string", "readable": False, "reason": "in_vector_register: no"},
    ],
}


class FakeFleet:
    def __init__(self, *answers) -> None:
        self.answers = answers
        self.asked = []

    async def forecasts(self, tenant, question):
        self.asked.append((tenant, question))
        return self.answers


@pytest.fixture
async def page(world):
    membership = ungoverned(world.database, world.trail, world.clock).membership
    await membership.unsafe_create_tenant("acme", "", "admin")
    for name, role in [("carol", "developer"), ("bob", "reviewer"), ("gina", "auditor"), ("vera", "viewer")]:
        await membership.unsafe_put_member(TenantId("acme"), name, [role])
    submitting = grant(Permission.TEMPLATE_SUBMIT)
    version = (await world.templates.submit(submitting, SUM_YAML)).versions[0]

    async def ask(*answers, service=""):
        fleet = FakeFleet(*answers)
        found = await Reviewing(world.database, PackMasks(PACK), fleet, read_roles()).page(
            READER, "money-sum", 1, service
        )
        return found, fleet

    ask.version = version
    return ask


async def test_each_field_has_type_rule_and_class(page) -> None:
    found, fleet = await page(("ag_1", json.dumps(ANSWER), ""), service="checkout")
    fields = {field.column: field for field in found.fields}
    assert (fields["units"].type, fields["units"].action, fields["units"].risk) == ("int64", "detect", RiskClass.MASKED)
    assert fields["units"].rule == "platform:default.string"
    assert (fields["latency"].risk, fields["latency"].action) == (RiskClass.METADATA, "allow")
    assert fields["currency"].note.startswith("in_vector_register")
    [(tenant, question)] = fleet.asked
    assert (tenant, question.service) == ("acme", "checkout")
    assert canonical.digest(question.template) == page.version.digest


async def test_the_forecast_is_what_the_agents_say(page) -> None:
    found, _ = await page(("ag_1", json.dumps(ANSWER), ""), ("ag_2", "", "no_process: none of checkoutservice"))
    first, second = found.forecasts
    assert (first.binds, first.sites, first.processes, first.trap_classes) == (True, 3, 2, ("emulated",))
    assert (first.microseconds_per_call, first.executable, first.build_id) == (1.5, "/srv/checkout", "abcd")
    assert (second.binds, second.problem) == (False, "no_process: none of checkoutservice")


async def test_who_could_run_and_read_it_follows_from_the_roles(page) -> None:
    found, _ = await page()
    assert found.who_can_run == (subject("carol"),)
    assert set(found.who_can_read) == {subject(name) for name in ("admin", "carol", "bob", "vera")}
    assert found.forecasts == ()


@pytest.mark.parametrize(
    "text", ["[]", "{", "null", '{"captures": [1], "sites": -1, "trap_classes": [{}]}', "[" * 100_000]
)
async def test_what_an_agent_answers_is_bounded_and_never_believed(page, text) -> None:
    found, _ = await page(("ag_1", text, ""))
    assert found.forecasts[0].binds is False
    assert found.forecasts[0].sites == 0
    assert {field.type for field in found.fields} == {""}


async def test_a_version_that_is_not_there_is_not_found(page, world) -> None:
    with pytest.raises(NotFound):
        await Reviewing(world.database, PackMasks(PACK), FakeFleet(), read_roles()).page(READER, "money-sum", 2)
