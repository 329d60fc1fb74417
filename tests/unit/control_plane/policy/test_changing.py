"""Policy as an administrator works with it: plan, apply, a second person, rollback."""

from __future__ import annotations

import dataclasses

import pytest

from control_plane.foundation.errors import Denied, Invalid, NotFound, Stale
from control_plane.foundation.identifiers import TenantId
from control_plane.policy.model import Permission
from control_plane.policy.policy_kind import VersionState
from control_plane.policy.proposal_model import ProposalState
from control_plane.policy.service import PolicyService
from tests.builders.audit_trail import entries
from tests.builders.principals import ISSUER, grant, principal

HEAD = "apiVersion: probegate/v1\nkind: Policy\n"
FREEZE = (
    HEAD + "rules: [{id: freeze, subject: 'role:developer', action: 'tracepoint:request', effect: deny}]\n"
    "tests: [{roles: [developer], ask: 'tracepoint:request', answer: deny}]\n"
)
NO_MASKING = HEAD + "rules: [{id: m, subject: 'role:developer', action: 'masking:write', effect: allow}]\n"
READ = grant(Permission.POLICY_READ)
WRITE = grant(Permission.POLICY_WRITE)
BY_BOB = grant(Permission.POLICY_WRITE, by="bob")
DECIDE = grant(Permission.PROPOSAL_DECIDE)
BOB_DECIDES = grant(Permission.PROPOSAL_DECIDE, by="bob")
REQUEST = Permission.TRACEPOINT_REQUEST


@pytest.fixture
async def world(world):
    await world.membership.put_member(grant(Permission.MEMBER_WRITE), "dora", ["developer"])
    await world.membership.unsafe_put_member(TenantId("acme"), "bob", ["tenant-admin"])
    return world


async def test_a_plan_says_who_gains_and_who_loses_and_changes_nothing(world):
    plan = await world.changes.plan(READ, FREEZE)

    assert [change.words() for change in plan.changes] == [
        "role:developer loses tracepoint:request",
        "role:responder loses tracepoint:request",
    ]
    assert (plan.needs, plan.not_held, plan.failed_tests) == ((), (), ())
    assert (await world.ask("dora", REQUEST)).permission == REQUEST


async def test_an_applied_change_holds_at_once_on_every_replica(world):
    replica = PolicyService(world.database, world.trail, world.policy._base.book, world.policy._clock)
    asked = dataclasses.replace(world, policy=replica)
    await asked.ask("dora", REQUEST)  # its snapshot of before is kept

    applied = await world.changes.apply(WRITE, FREEZE, "release freeze")

    assert applied.value.state is VersionState.APPLIED
    with pytest.raises(Denied, match="the rule freeze denies tracepoint:request") as denied:
        await asked.ask("dora", REQUEST)
    assert denied.value.extra["smallest_change"] == "an administrator changes the rule freeze of the policy"


async def test_a_replica_that_cannot_read_its_version_decides_nothing(world):
    from sqlalchemy.exc import SQLAlchemyError

    async with world.database.owner() as connection:
        await connection.exec_driver_sql("ALTER TABLE tenants RENAME TO away")
    with pytest.raises(SQLAlchemyError):
        await world.ask("dora", REQUEST)


async def test_what_touches_masking_waits_for_a_second_person(world):
    proposed = (await world.changes.apply(WRITE, NO_MASKING, "")).proposal

    assert (proposed.state, proposed.needs) == (ProposalState.PROPOSED, ("it touches masking:write",))
    with pytest.raises(Denied):
        await world.ask("dora", Permission.MASKING_WRITE)
    with pytest.raises(Denied, match="somebody else"):
        await world.proposals.approve(DECIDE, proposed.id, proposed.digest)

    applied = await world.proposals.approve(BOB_DECIDES, proposed.id, proposed.digest)

    assert (applied.state, applied.decided_by) == (ProposalState.APPLIED, f"{ISSUER}|bob")
    shown = await world.changes.show(READ)
    assert (shown.author, shown.decided_by) == (f"{ISSUER}|alice", f"{ISSUER}|bob")
    assert (await world.ask("dora", Permission.MASKING_WRITE)).permission == Permission.MASKING_WRITE
    assert (await entries(world.database))[-2]["action"] == "policy.apply"


async def test_a_proposal_made_of_another_policy_is_stale(world):
    proposed = (await world.changes.apply(WRITE, NO_MASKING, "")).proposal
    await world.changes.apply(BY_BOB, FREEZE, "")

    with pytest.raises(Stale):
        await world.proposals.approve(BOB_DECIDES, proposed.id, proposed.digest)
    assert (await world.proposals.show(READ, proposed.id)).state is ProposalState.STALE


async def test_nobody_grants_what_they_do_not_hold(world):
    give = HEAD + "rules: [{id: give, subject: 'role:viewer', action: 'template:submit', effect: allow}]\n"

    with pytest.raises(Denied, match="nobody grants what they do not hold") as denied:
        await world.changes.apply(WRITE, give, "")

    assert "role:viewer gains template:submit" in denied.value.extra["missing"]


async def test_of_two_edits_of_the_same_policy_one_is_stale_and_nothing_is_lost(world):
    await world.changes.apply(WRITE, FREEZE, "", if_match=0)

    with pytest.raises(Stale):
        await world.changes.apply(BY_BOB, HEAD, "", if_match=0)
    assert (await world.changes.show(READ)).source == FREEZE


async def test_a_policy_whose_own_test_fails_is_not_applied(world):
    wrong = FREEZE.replace("answer: deny", "answer: allow")

    with pytest.raises(Invalid, match="own tests fail"):
        await world.changes.apply(WRITE, wrong, "")


async def test_an_old_version_comes_back_by_the_same_rules(world):
    first = (await world.changes.apply(WRITE, HEAD, "")).value
    await world.changes.apply(WRITE, FREEZE, "")

    back = (await world.changes.rollback(WRITE, first.version)).value

    assert (back.version, back.source, back.state) == (3, HEAD, VersionState.APPLIED)
    assert (await world.ask("dora", REQUEST)).permission == REQUEST
    with pytest.raises(NotFound):
        await world.changes.rollback(WRITE, 99)


async def test_a_group_of_an_issuer_stands_for_a_role(world):
    group = HEAD + f"groups: [{{issuer: '{ISSUER}', group: devs, roles: [developer]}}]\n"
    await world.changes.apply(WRITE, group, "")
    newcomer = dataclasses.replace(principal("nina"), groups=frozenset({"devs"}))

    assert (await world.policy.can(newcomer, REQUEST, "acme", "*")).allowed
    with pytest.raises(NotFound):
        await world.policy.can(principal("nina"), REQUEST, "acme", "*")
