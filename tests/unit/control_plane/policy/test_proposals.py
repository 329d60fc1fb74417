"""A second person: who counts as one, what makes a proposal void, and what the log says."""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import timedelta

import pytest

from control_plane.foundation.errors import Conflict, Denied, Invalid, NotFound, Stale
from control_plane.foundation.identifiers import TenantId
from control_plane.identity.model import PrincipalKind
from control_plane.policy.model import Permission
from control_plane.policy.persons import PersonLinks
from control_plane.policy.proposal_model import Applied, ProposalState, Proposed
from tests.builders.audit_trail import actions, entries
from tests.builders.principals import ISSUER, grant, principal

ACME = TenantId("acme")
WRITE = grant(Permission.MEMBER_WRITE)
READ = grant(Permission.POLICY_READ)
BOB = f"{ISSUER}|bob"


def decides(who: str = "carol", **other: object):
    return grant(Permission.PROPOSAL_DECIDE, by=principal(who, **other))


@pytest.fixture
async def world(world):
    """Two administrators, alice and carol, and a viewer, bob."""
    await world.membership.unsafe_put_member(ACME, "carol", ["tenant-admin"])
    await world.membership.unsafe_put_member(ACME, "bob", ["viewer"])
    return world


async def make_bob(world, *roles: str, by=WRITE):
    outcome = await world.membership.put_member(by, "bob", roles)
    assert isinstance(outcome, Proposed)
    return outcome.proposal


async def roles_of(world, who: str) -> tuple[str, ...]:
    members = await world.membership.members(grant(Permission.MEMBER_READ))
    return next((member.roles for member in members if member.subject == f"{ISSUER}|{who}"), ())


@pytest.mark.parametrize("role", ["reviewer", "data-owner", "platform-owner", "tenant-admin", "auditor", "responder"])
async def test_one_administrator_alone_seats_no_reviewer_administrator_auditor_or_responder(world, role):
    proposed = await make_bob(world, "viewer", role)

    assert await roles_of(world, "bob") == ("viewer",)
    assert f"it touches the role {role}" in proposed.needs
    assert proposed.summary[0] == f"{BOB} gains the role {role}"

    await world.proposals.approve(decides(), proposed.id, proposed.digest)

    assert set(await roles_of(world, "bob")) == {"viewer", role}


async def test_one_administrator_alone_removes_no_reviewer(world):
    await world.membership.unsafe_put_member(ACME, "bob", ["reviewer"])
    outcome = await world.membership.remove_member(WRITE, "bob")

    assert await roles_of(world, "bob") == ("reviewer",)
    await world.proposals.approve(decides(), outcome.proposal.id, outcome.proposal.digest)
    assert await roles_of(world, "bob") == ()


async def test_what_needs_nobody_else_is_done_at_once(world):
    outcome = await world.membership.put_member(WRITE, "bob", ["developer"])

    assert isinstance(outcome, Applied)
    assert await roles_of(world, "bob") == ("developer",)


async def test_nobody_gives_more_to_themselves_alone(world):
    outcome = await world.membership.put_member(WRITE, "alice", ["tenant-admin", "developer"])

    assert isinstance(outcome, Proposed)
    assert "it gives tracepoint:request to the one who asks for it" in outcome.proposal.needs


async def test_nobody_gives_more_to_another_login_of_theirs_alone(world):
    await PersonLinks(world.database, world.trail, world.clock).link(WRITE, BOB, f"{ISSUER}|alice")

    assert isinstance(await world.membership.put_member(WRITE, "bob", ["developer"]), Proposed)


async def test_a_rule_of_the_tenant_can_make_an_ordinary_role_a_guarded_one(world):
    await world.membership.unsafe_put_member(ACME, "alice", ["tenant-admin", "reviewer"])
    await world.membership.unsafe_put_member(ACME, "carol", ["tenant-admin", "reviewer"])
    source = (
        "apiVersion: probegate/v1\nkind: Policy\n"
        "rules: [{id: dev-reviews, subject: 'role:developer', action: 'template:review', effect: allow}]\n"
    )
    proposed = (await world.changes.apply(grant(Permission.POLICY_WRITE), source, "")).proposal
    await world.proposals.approve(decides(), proposed.id, proposed.digest)

    outcome = await world.membership.put_member(WRITE, "bob", ["developer"])

    assert outcome.proposal.needs == ("it touches template:review",)


class TestWhoIsASecondPerson:
    async def test_not_the_author(self, world):
        proposed = await make_bob(world, "reviewer")

        with pytest.raises(Denied, match="comes from you"):
            await world.proposals.approve(decides("alice"), proposed.id, proposed.digest)

    async def test_not_another_login_of_the_author(self, world):
        await PersonLinks(world.database, world.trail, world.clock).link(WRITE, f"{ISSUER}|carol", f"{ISSUER}|alice")
        proposed = await make_bob(world, "reviewer")

        with pytest.raises(Denied, match="comes from you"):
            await world.proposals.approve(decides(), proposed.id, proposed.digest)

    async def test_not_a_service_account(self, world):
        proposed = await make_bob(world, "reviewer")

        with pytest.raises(Denied, match="a person does"):
            await world.proposals.approve(decides(kind=PrincipalKind.SERVICE), proposed.id, proposed.digest)

    async def test_not_one_who_does_not_hold_what_the_change_needs(self, world):
        proposed = await make_bob(world, "reviewer")

        with pytest.raises(Denied, match="member:write"):
            await world.proposals.approve(decides("bob"), proposed.id, proposed.digest)

    async def test_not_a_stranger(self, world):
        proposed = await make_bob(world, "reviewer")

        with pytest.raises(NotFound):
            await world.proposals.approve(decides("mallory"), proposed.id, proposed.digest)

    async def test_those_who_could_be_one_are_named(self, world):
        proposed = await make_bob(world, "reviewer")

        assert await world.proposals.who_can_agree(READ, proposed) == (f"{ISSUER}|carol",)


class TestWhatMakesItVoid:
    async def test_another_digest(self, world):
        proposed = await make_bob(world, "reviewer")

        with pytest.raises(Conflict, match="digest"):
            await world.proposals.approve(decides(), proposed.id, "sha256:other")

    async def test_a_change_of_what_it_changes(self, world):
        proposed = await make_bob(world, "reviewer")
        await world.membership.put_member(WRITE, "bob", ["developer"])

        with pytest.raises(Stale):
            await world.proposals.approve(decides(), proposed.id, proposed.digest)
        assert (await world.proposals.show(READ, proposed.id)).state is ProposalState.STALE
        assert await roles_of(world, "bob") == ("developer",)

    async def test_an_author_who_may_no_more(self, world):
        proposed = await make_bob(world, "reviewer")
        await world.membership.unsafe_put_member(ACME, "alice", ["viewer"])

        with pytest.raises(Stale, match="member:write any more"):
            await world.proposals.approve(decides(), proposed.id, proposed.digest)

    async def test_a_week(self, world):
        proposed = await make_bob(world, "reviewer")
        world.clock.advance(timedelta(days=7))

        with pytest.raises(Conflict, match="lapsed"):
            await world.proposals.approve(decides(), proposed.id, proposed.digest)

    async def test_a_week_closes_what_nobody_looked_at(self, world):
        proposed = await make_bob(world, "reviewer")
        world.clock.advance(timedelta(days=7))

        assert await world.proposals.lapse() == 1
        assert await world.proposals.lapse() == 0
        assert (await entries(world.database))[-1]["detail"]["state"] == "lapsed"
        assert (await world.proposals.show(READ, proposed.id)).state is ProposalState.LAPSED

    async def test_a_refusal_with_its_reason(self, world):
        proposed = await make_bob(world, "reviewer")
        with pytest.raises(Invalid, match="reason"):
            await world.proposals.reject(decides(), proposed.id, " ")
        rejected = await world.proposals.reject(decides(), proposed.id, "bob left")

        assert (rejected.state, rejected.reason) == (ProposalState.REJECTED, "bob left")
        with pytest.raises(Conflict, match="rejected"):
            await world.proposals.approve(decides(), proposed.id, proposed.digest)

    async def test_its_author_alone_takes_it_back(self, world):
        proposed = await make_bob(world, "reviewer")
        with pytest.raises(Denied, match="who alone withdraws it"):
            await world.proposals.withdraw(decides(), proposed.id)

        assert (await world.proposals.withdraw(decides("alice"), proposed.id)).state is ProposalState.WITHDRAWN


async def test_two_approvals_at_once_change_it_once(world):
    await world.membership.unsafe_put_member(ACME, "dora", ["tenant-admin"])
    proposed = await make_bob(world, "reviewer")

    answers = await asyncio.gather(
        *(world.proposals.approve(decides(who), proposed.id, proposed.digest) for who in ("carol", "dora")),
        return_exceptions=True,
    )

    assert sorted(type(answer).__name__ for answer in answers) == ["Conflict", "Proposal"]


async def test_the_same_proposal_of_the_same_person_waits_once(world):
    first, again = await make_bob(world, "reviewer"), await make_bob(world, "reviewer")

    assert first.id == again.id
    assert [proposal.id for proposal in await world.proposals.list(READ, ProposalState.PROPOSED)] == [first.id]


async def test_proposals_are_listed_in_pages_the_newest_first(world):
    made = []
    for role in ("reviewer", "auditor", "responder"):
        made.append((await make_bob(world, role)).id)
        world.clock.advance(timedelta(seconds=1))

    first = await world.proposals.list(READ, limit=2)
    rest = await world.proposals.list(READ, after=first[-1].id, limit=2)

    assert [proposal.id for proposal in (*first, *rest)] == made[::-1]


async def test_a_proposal_of_another_tenant_is_not_there(world):
    await world.membership.unsafe_create_tenant("globex", "", "carol")
    proposed = await make_bob(world, "reviewer")
    there = dataclasses.replace(decides(), resource=dataclasses.replace(decides().resource, tenant=TenantId("globex")))

    with pytest.raises(NotFound):
        await world.proposals.approve(there, proposed.id, proposed.digest)


async def test_the_log_says_what_was_proposed_by_whom_and_who_agreed_to_what(world):
    proposed = await make_bob(world, "reviewer")
    await world.proposals.approve(decides(), proposed.id, proposed.digest)

    asked, agreed, done = [
        entry
        for entry in await entries(world.database)
        if entry["action"] in {"proposal.propose", "proposal.approve"} or "proposal" in entry["detail"]
    ]
    assert (asked["actor"], agreed["actor"], done["action"]) == (f"{ISSUER}|alice", f"{ISSUER}|carol", "member.change")
    assert f"{BOB} gains the role reviewer" in asked["detail"]["changes"] == done["detail"]["changes"]
    assert (done["detail"]["author"], done["detail"]["before"], done["detail"]["after"]) == (
        f"{ISSUER}|alice",
        ["viewer"],
        ["reviewer"],
    )


async def test_a_refused_approval_is_in_the_log(world):
    proposed = await make_bob(world, "reviewer")
    with pytest.raises(Denied):
        await world.proposals.approve(decides("alice"), proposed.id, proposed.digest)

    assert (await actions(world.database))[-1] == ("proposal.approve", "refused")
