"""Twenty tracepoints, and each kind of lock: it ends its own and no other, blocks new ones, and its release starts none."""

from __future__ import annotations

from datetime import timedelta

import pytest
from wire.v1 import gateway_pb2

from control_plane.foundation.errors import Conflict, Denied, Invalid, TooMany
from control_plane.foundation.identifiers import TenantId
from control_plane.policy.locks import LockKind
from control_plane.policy.model import Permission
from control_plane.policy.tables import TenantQuotaRow, TenantRow
from control_plane.tracepoints.enforcement import LockedAgents
from control_plane.tracepoints.lifecycle import State
from control_plane.tracepoints.tallies import count_running
from tests.builders.audit_trail import actions, entries
from tests.builders.governing import ungoverned
from tests.builders.principals import grant, principal
from tests.builders.templates import SUM_YAML

OTHER = SUM_YAML.replace("name: money-sum", "name: other-sum").replace("ttl: 10m", "ttl: 9m")
LOCKING = grant(Permission.LOCK_WRITE, by="admin")


def subject(name):
    return principal(name).id


@pytest.fixture
async def twenty(world):
    """Ten of carol's and ten of dora's, half of each of another template, on two builds."""
    membership = ungoverned(world.database, world.trail, world.clock).membership
    await membership.unsafe_create_tenant("acme", "", "admin")
    await membership.unsafe_put_member(TenantId("acme"), "carol", ["responder"])
    await membership.unsafe_put_member(TenantId("acme"), "dora", ["developer"])
    first, other = await world.approved(), await world.approved(OTHER)
    made = {}
    for number in range(20):
        who = "carol" if number < 10 else "dora"
        template = "money-sum" if number % 2 else "other-sum"
        name = f"{who}-{template}-{number}"
        made[name] = await world.request(template, by=who, name=name)
        build = "aa" if number < 4 else "bb"
        await world.says("ag_1", made[name], gateway_pb2.STATE_ARMED, sites=1, processes=1, build_ids=[build])
    return world, first, other


async def running(world):
    return {
        tracepoint.name for tracepoint in (await world.reading.page(grant(Permission.TRACEPOINT_READ), live=True)).items
    }


CASES = [
    (LockKind.USER, lambda _: subject("carol"), lambda name, _: name.startswith("carol")),
    (LockKind.ROLE, lambda _: "responder", lambda name, _: name.startswith("carol")),
    (LockKind.ROLE, lambda _: "developer", lambda name, _: True),
    (LockKind.TENANT, lambda _: "acme", lambda name, _: True),
    (LockKind.TEMPLATE, lambda _: "other-sum", lambda name, _: "other-sum" in name),
    (LockKind.DIGEST, lambda versions: versions[0].digest, lambda name, _: "money-sum" in name),
    (LockKind.BUILD_ID, lambda _: "aa", lambda name, number: number < 4),
    (LockKind.EVERYTHING, lambda _: "", lambda name, _: True),
]


@pytest.mark.parametrize(("kind", "value", "its_own"), CASES)
async def test_a_lock_ends_exactly_its_own_and_its_release_starts_none(twenty, kind, value, its_own) -> None:
    world, *versions = twenty
    before = await running(world)
    assert len(before) == 20
    lock = await world.locks.lock(LOCKING, kind, value(versions), "an incident")
    expected = {name for name in before if its_own(name, int(name.rsplit("-", 1)[1]))}
    assert 0 < len(expected) <= 20
    assert await world.enforcement.enforce() == len(expected)
    assert before - await running(world) == expected
    assert {(await world.show(name)).end_reason for name in expected} == {"locked"}
    assert len(await world.desired()) == 20 - len(expected)

    await world.locks.release(LOCKING, lock.id)
    assert await world.enforcement.enforce() == 0
    assert before - await running(world) == expected
    assert {("lock.create", "success"), ("lock.release", "success")} <= set(await actions(world.database))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (LockKind.USER, subject("carol")),
        (LockKind.ROLE, "viewer"),
        (LockKind.TENANT, "acme"),
        (LockKind.TEMPLATE, "money-sum"),
        (LockKind.EVERYTHING, ""),
    ],
)
async def test_a_lock_blocks_new_requests_and_renewals(twenty, kind, value) -> None:
    world, *_ = twenty
    lock = await world.locks.lock(LOCKING, kind, value, "an incident")
    with pytest.raises(Denied, match="an incident") as refused:
        await world.request("money-sum", by="carol", name="new")
    assert (refused.value.code, refused.value.extra["lock"]) == ("locked", lock.id)
    with pytest.raises(Denied):
        await world.renew("carol-money-sum-1", timedelta(minutes=9))
    assert (await actions(world.database))[-1] == ("tracepoint.renew", "refused")
    await world.locks.release(LOCKING, lock.id)
    assert (await world.request("money-sum", by="carol", name="new")).state is State.PENDING


async def test_a_locked_agent_is_given_nothing_and_the_others_go_on(twenty) -> None:
    world, *_ = twenty
    locked = LockedAgents(world.database, world.clock)
    assert (await locked(TenantId("acme"))).agents == frozenset()
    await world.locks.lock(LOCKING, LockKind.AGENT, "ag_1", "compromised")
    assert (await locked(TenantId("acme"))).agents == {"ag_1"}
    assert (await locked(TenantId("globex"))).agents == frozenset()
    assert await world.enforcement.enforce() == 0, "no tracepoint as a whole"
    made = await world.request("money-sum", name="new")
    assert [agent.agent for agent in made.agents] == ["ag_2"]
    await world.locks.lock(LOCKING, LockKind.AGENT, "ag_2", "compromised")
    with pytest.raises(Conflict):
        await world.request("money-sum", name="newer")


async def test_a_lock_ends_with_its_time(world) -> None:
    await world.approved()
    await world.locks.lock(LOCKING, LockKind.EVERYTHING, "", "for a minute", timedelta(minutes=1))
    with pytest.raises(Denied):
        await world.request()
    world.clock.advance(timedelta(minutes=1))
    assert (await world.request()).state is State.PENDING


async def test_the_platforms_lock_holds_in_every_tenant_and_a_tenants_only_in_it(world) -> None:
    await world.approved()
    platform = grant(Permission.LOCK_WRITE, by="root", tenant="platform")
    with pytest.raises(Invalid, match="locks itself only"):
        await world.locks.lock(grant(Permission.LOCK_WRITE, tenant="globex"), LockKind.TENANT, "acme", "no")
    await world.locks.lock(grant(Permission.LOCK_WRITE, tenant="globex"), LockKind.EVERYTHING, "", "theirs")
    await world.request()
    await world.locks.lock(platform, LockKind.TENANT, "acme", "invoice")
    assert await world.enforcement.enforce() == 1
    with pytest.raises(Denied):
        await world.request(name="again")


async def test_a_revoked_template_ends_what_runs_of_it(world) -> None:
    version = await world.approved()
    await world.request()
    retiring = grant(Permission.TEMPLATE_RETIRE, by="admin")
    await world.templates.deprecate(retiring, version.name, 1, "old")
    assert await world.enforcement.enforce() == 0
    await world.templates.revoke(retiring, version.name, 1, "reads too much")
    assert await world.enforcement.enforce() == 1
    assert (await world.show()).end_reason == "revoked"
    assert (await entries(world.database))[-1]["detail"]["why"] == "revoked"


async def test_an_approval_taken_back_ends_what_runs_of_it(world) -> None:
    version = await world.approved(by="bob")
    await world.request()
    reviewer = grant(Permission.TEMPLATE_REVIEW, by="bob")
    await world.templates.reject(reviewer, version.name, 1, version.digest, "a mistake")
    assert await world.enforcement.enforce() == 1
    assert await world.desired() == []


def tenant(world, **state) -> TenantRow:
    return TenantRow(
        tenant="acme", title="", policy_version=1, created_at=world.clock.now(), created_by="system", **state
    )


async def test_what_runs_of_a_suspended_tenant_is_taken_back_and_nothing_new_starts(twenty) -> None:
    world, *_ = twenty
    async with world.database.transaction(TenantId("acme")) as session:
        await session.merge(tenant(world, state="suspended", state_reason="the bill of October"))
    assert await world.enforcement.enforce() == 20
    assert await world.desired() == []
    with pytest.raises(Denied, match="the bill of October"):
        await world.request("money-sum", by="carol", name="new")


async def test_a_tenant_has_as_many_tracepoints_as_its_quota(world) -> None:
    await world.approved()
    async with world.database.transaction(TenantId("acme")) as session:
        session.add(tenant(world))
        await session.flush()
        limits = {"active_tracepoints": 1}
        at = world.clock.now()
        session.add(TenantQuotaRow(tenant="acme", limits=limits, revision=1, changed_by="system", changed_at=at))
    await world.request(name="first")
    with pytest.raises(TooMany, match="may have 1 active tracepoints and uses 1"):
        await world.request(name="second")
    await world.delete("first")
    await world.request(name="second")


async def test_what_was_stopped_may_run_until_its_agents_have_said_that_it_ended(world) -> None:
    await world.approved()
    tracepoint = await world.request()
    for agent in ("ag_1", "ag_2"):
        await world.says(agent, tracepoint, gateway_pb2.STATE_ARMED)
    await world.delete()

    async def may_run() -> int:
        async with world.database.transaction(TenantId("acme")) as session:
            return await count_running(session, "acme")

    assert await may_run() == 1
    for agent in ("ag_1", "ag_2"):
        await world.says(agent, tracepoint, gateway_pb2.STATE_ENDED)
    assert await may_run() == 0
