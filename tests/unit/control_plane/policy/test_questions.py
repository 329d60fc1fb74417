"""What a policy means for people: explain, who-can and simulate, with the groups of their issuer."""

from __future__ import annotations

import dataclasses

import pytest

from control_plane.foundation.errors import Denied, NotFound
from control_plane.foundation.identifiers import TenantId
from control_plane.identity.model import PrincipalKind
from control_plane.policy.model import Permission, Resource
from tests.builders.principals import ISSUER, grant, principal

HEAD = "apiVersion: probegate/v1\nkind: Policy\n"
FREEZE = HEAD + "rules: [{id: freeze, subject: 'role:developer', action: 'tracepoint:request', effect: deny}]\n"
DEVS = HEAD + f"groups: [{{issuer: '{ISSUER}', group: devs, roles: [developer]}}]\n"
READ = grant(Permission.POLICY_READ)
WRITE = grant(Permission.POLICY_WRITE)
REQUEST = Permission.TRACEPOINT_REQUEST
ACME = TenantId("acme")
DORA, NINA = f"{ISSUER}|dora", f"{ISSUER}|nina"
A_RULE = "role:developer, acme, tracepoint:request, *, allow"


@pytest.fixture
async def world(world):
    await world.membership.unsafe_put_member(ACME, "dora", ["developer"])
    return world


def nina():
    return dataclasses.replace(principal("nina"), groups=frozenset({"devs", "others"}))


def asked(permission):
    return Resource(ACME, permission.partition(":")[0], "*")


async def test_who_can_names_members_with_the_rule(world):
    assert await world.questions.who_can(READ, REQUEST, "*") == {DORA: A_RULE}


async def test_who_can_names_groups_that_stand_for_a_role(world):
    await world.changes.apply(WRITE, DEVS, "")

    assert await world.questions.who_can(READ, REQUEST, "*") == {
        DORA: A_RULE,
        f"group devs of {ISSUER}": "as developer",
    }


async def test_explain_shows_every_rule_and_what_casbin_says(world):
    await world.changes.apply(WRITE, FREEZE, "")

    found = await world.questions.explain(READ, DORA, REQUEST, "*")

    assert (found.decision.allowed, found.reference) == (False, False)
    assert found.rules == (A_RULE, A_RULE.replace("allow", "deny"))


async def test_explain_reckons_with_the_groups_that_somebody_last_came_with(world):
    await world.changes.apply(WRITE, DEVS, "")
    before = await world.questions.explain(READ, NINA, REQUEST, "*")
    await world.policy.require(nina(), REQUEST, asked(REQUEST))

    found = await world.questions.explain(READ, NINA, REQUEST, "*")

    assert (before.decision.allowed, before.groups) == (False, ())
    assert (found.decision.allowed, found.reference, found.groups) == (True, True, ("devs", "others"))


async def test_explain_reckons_with_the_groups_that_are_named(world):
    await world.changes.apply(WRITE, DEVS, "")

    assert (await world.questions.explain(READ, NINA, REQUEST, "*", ["devs"])).decision.allowed
    assert not (await world.questions.explain(READ, NINA, REQUEST, "*", ["others"])).decision.allowed


async def test_simulate_finds_the_recorded_decisions_that_would_flip(world):
    await world.ask("dora", REQUEST)
    await world.ask("dora", Permission.TEMPLATE_READ)

    decisions, flips = await world.questions.simulate(READ, FREEZE)

    assert decisions >= 2
    assert [(flip.decision.actor, flip.decision.permission, flip.because) for flip in flips] == [
        (DORA, REQUEST, "this policy")
    ]


async def test_simulate_asks_again_with_the_groups_of_then(world):
    await world.changes.apply(WRITE, DEVS, "")
    await world.policy.require(nina(), REQUEST, asked(REQUEST))

    same = await world.questions.simulate(READ, DEVS)
    without = await world.questions.simulate(READ, HEAD)

    assert same[1] == ()
    assert [flip.decision.actor for flip in without[1]] == [NINA]


async def test_what_a_program_may_not_do_by_being_one_is_no_flip(world):
    await world.membership.unsafe_put_member(ACME, "ci", ["reviewer"])
    robot = principal("ci", PrincipalKind.SERVICE)
    with pytest.raises(Denied):
        await world.policy.require(robot, Permission.TEMPLATE_REVIEW, asked(Permission.TEMPLATE_REVIEW))

    assert (await world.questions.simulate(READ, HEAD))[1] == ()


async def test_what_members_have_become_since_is_told_apart_from_what_the_policy_would_do(world):
    await world.ask("dora", REQUEST)
    await world.membership.unsafe_put_member(ACME, "dora", ["viewer"])

    flips = (await world.questions.simulate(READ, HEAD))[1]

    assert [flip.because for flip in flips] == ["members or policy changed since"]


async def test_somebody_without_the_groups_is_no_member(world):
    await world.changes.apply(WRITE, DEVS, "")

    assert (await world.policy.can(nina(), REQUEST, ACME, "*")).allowed
    with pytest.raises(NotFound):
        await world.policy.can(principal("nina"), REQUEST, ACME, "*")
