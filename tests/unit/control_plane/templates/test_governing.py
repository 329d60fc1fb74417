"""A tenant's approval rules: asking for more is done at once, asking for less waits for a second person."""

from __future__ import annotations

import pytest

from control_plane.foundation.clock import ManualClock
from control_plane.foundation.errors import Denied, Invalid, NotFound, Stale
from control_plane.policy.model import Permission
from control_plane.policy.proposal_model import Applied, Proposed
from control_plane.policy.roles import read_roles
from control_plane.templates.governing import ApprovalRules, is_laxer
from control_plane.templates.requirements import owner_rule
from tests.builders.audit_trail import entries
from tests.builders.governing import Governing, governing
from tests.builders.principals import grant

WRITE = grant(Permission.POLICY_WRITE, by="admin")
READ = grant(Permission.POLICY_READ)
TWO = {"functions": ["shop/*"], "approvals": 2, "roles": ["data-owner"]}


@pytest.fixture
async def governed(database, trail, clock: ManualClock) -> Governing:
    return await governing(database, trail, clock)


@pytest.fixture
async def rules(governed, database, clock: ManualClock) -> ApprovalRules:
    found = ApprovalRules(database, clock, read_roles(), governed.proposals)
    await found.put(WRITE, "two", TWO)
    return found


async def test_asking_for_more_is_done_at_once(rules) -> None:
    assert isinstance(await rules.put(WRITE, "two", TWO | {"approvals": 3}), Applied)
    assert (await rules.list(READ))[0].document["approvals"] == 3


@pytest.mark.parametrize(
    "laxer",
    [{"approvals": 1}, {"roles": []}, {"functions": ["shop/money/*"]}, {"templates": ["one"]}, {"requests": 0}],
)
async def test_asking_for_less_waits_for_a_second_person(rules, governed, laxer) -> None:
    await rules.put(WRITE, "two", TWO | {"requests": 1})
    outcome = await rules.put(WRITE, "two", TWO | {"requests": 1} | laxer)

    assert isinstance(outcome, Proposed)
    assert (await rules.list(READ))[0].document == TWO | {"requests": 1, "name": "two"}
    await governed.agreed(outcome)
    assert (await rules.list(READ))[0].document == TWO | {"requests": 1, "name": "two"} | laxer


async def test_taking_a_rule_away_waits_for_a_second_person(rules, governed, database) -> None:
    outcome = await rules.delete(WRITE, "two")

    assert [rule.name for rule in await rules.list(READ)] == ["two"]
    await governed.agreed(outcome)
    assert await rules.list(READ) == ()
    last = [entry for entry in await entries(database) if entry["action"] == "approval.rule"][-1]
    assert last["detail"]["changes"] == [
        "the approval rule two goes: function shop/* needs 2 approvals, among them a data-owner"
    ]
    assert last["detail"]["proposal"] == outcome.proposal.id


async def test_the_one_who_asked_for_less_does_not_agree_to_it(rules, governed) -> None:
    waiting = (await rules.delete(WRITE, "two")).proposal

    with pytest.raises(Denied, match="comes from you"):
        await governed.proposals.approve(grant(Permission.PROPOSAL_DECIDE, by="admin"), waiting.id, waiting.digest)


async def test_a_rule_that_changed_meanwhile_makes_the_proposal_stale(rules, governed) -> None:
    outcome = await rules.delete(WRITE, "two")
    await rules.put(WRITE, "two", TWO | {"approvals": 4})

    with pytest.raises(Stale):
        await governed.agreed(outcome)


async def test_what_is_not_there_is_not_removed(rules) -> None:
    with pytest.raises(NotFound):
        await rules.delete(WRITE, "three")
    with pytest.raises(Stale):
        await rules.put(WRITE, "two", TWO, if_match='"9"')
    with pytest.raises(Invalid, match="no role"):
        await rules.put(WRITE, "two", TWO | {"roles": ["root"]})


@pytest.mark.parametrize(
    ("before", "after", "laxer"),
    [
        ({}, {}, False),
        ({"functions": ["a/*"]}, {}, False),
        ({"functions": ["a/*"]}, {"functions": ["a/*", "b/*"]}, False),
        ({}, {"functions": ["a/*"]}, True),
        ({"functions": ["a/*"]}, {"functions": ["b/*"]}, True),
        ({"executables": ["/bin/a"]}, {"executables": ["/bin/a"], "functions": ["x"]}, True),
    ],
)
def test_a_rule_is_laxer_when_something_it_matched_is_not_matched_any_more(before, after, laxer) -> None:
    assert is_laxer(owner_rule({"name": "x", **before}), owner_rule({"name": "x", **after})) is laxer
