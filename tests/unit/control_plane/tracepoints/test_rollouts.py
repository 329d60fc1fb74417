"""The fleet guard: who else has to say yes, the stages, and what stops them; a server that starts again goes on."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire.v1 import gateway_pb2

from control_plane.foundation.errors import Conflict, Invalid, Stale
from control_plane.foundation.identifiers import AgentId, TenantId
from control_plane.policy.model import Permission
from control_plane.tracepoints.lifecycle import AgentState, State
from control_plane.tracepoints.model import BreakGlass, RequestTracepoint
from control_plane.tracepoints.reach import Reach
from control_plane.tracepoints.rollouts import PATIENCE, Rollouts
from control_plane.tracepoints.stages import Judgement, Said, judge, split
from tests.builders.audit_trail import entries
from tests.builders.principals import grant

ARMED, ENDED, FAILED = gateway_pb2.STATE_ARMED, gateway_pb2.STATE_ENDED, gateway_pb2.STATE_FAILED
SOAK = timedelta(minutes=1)
AGENTS = [f"ag_{number:02}" for number in range(20)]
WRITING = grant(Permission.POLICY_WRITE, by="admin")


@pytest.fixture
async def fleet(world):
    """Twenty agents with ten processes each: twice what is let through."""
    world.fleet.agents["acme"] = list(AGENTS)
    world.fleet.processes = dict.fromkeys(AGENTS, 10)
    await world.approved()
    return world


@pytest.fixture
async def started(fleet):
    """Approved and on its first agent, which runs it well."""
    found = await fleet.request()
    await fleet.requests.approve(grant(Permission.TRACEPOINT_APPROVE, by="dora"), found.id, found.asking.digest)
    await fleet.starting.start_due()
    return fleet, await fleet.show(found.id)


async def well(world, tracepoint, agents) -> None:
    shown = await world.show(tracepoint.id)
    for agent in agents:
        await world.says(agent, shown, ARMED, sites=1, processes=10)


async def audience(world) -> list[str]:
    [spec] = await world.desired()
    return [uri.rpartition("/")[2] for uri in spec.audience]


async def soaked(world) -> None:
    await world.rollouts.advance()
    world.clock.advance(SOAK)
    await world.rollouts.advance()


async def test_above_the_guard_one_more_has_to_say_yes(fleet) -> None:
    found = await fleet.request()
    assert (found.state, found.asking.needs, found.asking.processes) == (State.AWAITING, 1, None)
    assert found.asking.why == ("the fleet guard: about 200 processes, 100 are let through",)
    fleet.fleet.processes = dict.fromkeys(AGENTS, 5)
    assert (await fleet.request(name="small")).state is State.PENDING


async def test_it_goes_to_one_agent_then_a_tenth_then_all(started) -> None:
    world, found = started
    assert await audience(world) == ["ag_00"]
    assert (found.rollout.state, found.rollout.stage, found.rollout.stages) == ("running", 1, 3)
    await world.rollouts.advance()
    assert await audience(world) == ["ag_00"], "nothing was heard yet"
    await well(world, found, ["ag_00"])
    await soaked(world)
    assert await audience(world) == ["ag_00", "ag_01"]
    await well(world, found, ["ag_00", "ag_01"])
    await soaked(world)
    assert sorted(await audience(world)) == AGENTS
    await well(world, found, AGENTS)
    await soaked(world)
    shown = await world.show(found.id)
    assert (shown.state, shown.rollout.state, shown.rollout.agents) == (State.ACTIVE, "done", 20)
    assert shown.expires_at == found.expires_at, "a stage makes nothing longer"


async def test_a_stage_needs_its_soak_without_a_break(started) -> None:
    world, found = started
    await well(world, found, ["ag_00"])
    await world.rollouts.advance()
    world.clock.advance(SOAK - timedelta(seconds=1))
    await world.rollouts.advance()
    assert await audience(world) == ["ag_00"]


TROUBLE = [
    (
        lambda shown: gateway_pb2.Nack(
            tracepoint_id=shown.id, version=shown.version, reason="denied_by_host", detail="not here"
        ),
        "ag_01 refused it: denied_by_host: not here",
    ),
    (
        lambda shown: gateway_pb2.Status(
            tracepoint_id=shown.id, version=shown.version, state=ENDED, end_reason="budget", detail="used 3% of a core"
        ),
        "ag_01 ended it, budget: used 3% of a core",
    ),
    (
        lambda shown: gateway_pb2.Status(
            tracepoint_id=shown.id, version=shown.version, state=FAILED, detail="cannot compile"
        ),
        "ag_01 could not run it: cannot compile",
    ),
]


@pytest.mark.parametrize(("report", "why"), TROUBLE)
async def test_a_nack_a_broken_budget_or_a_failure_stops_it_everywhere(started, report, why) -> None:
    world, found = started
    await well(world, found, ["ag_00"])
    await soaked(world)
    await well(world, found, ["ag_00"])
    await world.reports.report(TenantId("acme"), AgentId("ag_01"), report(await world.show(found.id)))
    await world.rollouts.advance()
    shown = await world.show(found.id)
    assert (shown.state, shown.end_reason, shown.rollout.state) == (State.STOPPING, "rollout_stopped", "stopped")
    assert shown.detail == f"the roll-out was stopped at stage 2 of 3: {why}"
    assert await world.desired() == []
    world.clock.advance(2 * SOAK)
    assert await world.rollouts.advance() == 0
    last = [e for e in await entries(world.database) if e["action"] == "tracepoint.rollout"][-1]
    assert (last["outcome"], last["detail"]["why"]) == ("failed", why)
    [notice] = (await world.notices.page(grant(Permission.TENANT_READ))).items
    assert why in notice.text


async def test_trouble_on_the_first_agent_alone_stops_it_too(started) -> None:
    world, found = started
    await world.says("ag_00", found, ENDED, end_reason="budget", detail="3%")
    await world.rollouts.advance()
    shown = await world.show(found.id)
    assert (shown.state, shown.end_reason, shown.rollout.state) == (State.ENDED, "budget", "stopped")
    assert "ag_00 ended it, budget: 3%" in shown.detail


async def test_an_agent_that_says_nothing_stops_it(started) -> None:
    world, found = started
    world.clock.advance(PATIENCE + timedelta(seconds=1))
    await world.rollouts.advance()
    shown = await world.show(found.id)
    assert shown.end_reason == "rollout_stopped"
    assert "ag_00 has not answered in 2 minutes" in shown.detail


async def test_a_server_that_starts_again_goes_on_where_it_stood(started) -> None:
    world, found = started
    await well(world, found, ["ag_00"])
    await world.rollouts.advance()
    world.clock.advance(SOAK)
    again = Rollouts(world.database, world.clock, world.rollouts._sealing, world.deciding)
    await again.advance()
    assert await audience(world) == ["ag_00", "ag_01"]


async def test_two_servers_make_one_step(started) -> None:
    import asyncio

    world, found = started
    await well(world, found, ["ag_00"])
    await world.rollouts.advance()
    world.clock.advance(SOAK)
    await asyncio.gather(world.rollouts.advance(), world.rollouts.advance())
    assert (await world.show(found.id)).rollout.stage == 2


async def test_who_may_not_any_more_has_no_next_stage(started) -> None:
    world, found = started
    await well(world, found, ["ag_00"])
    world.deciding.gone.add("carol")
    await soaked(world)
    shown = await world.show(found.id)
    assert (shown.end_reason, "carol holds no role" in shown.detail) == ("rollout_stopped", True)


async def test_a_template_retired_between_two_stages_ends_it(started) -> None:
    world, found = started
    await well(world, found, ["ag_00"])
    await world.templates.revoke(grant(Permission.TEMPLATE_RETIRE, by="bob"), "money-sum", 1, "a leak")
    await soaked(world)
    assert await world.desired() == []
    assert (await world.show(found.id)).rollout.state == "stopped"


async def test_stopping_it_by_hand_ends_the_stages(started) -> None:
    world, found = started
    await world.delete(found.id)
    await world.rollouts.advance()
    assert (await world.show(found.id)).rollout.state == "stopped"


async def test_a_renewal_on_the_way_reaches_no_other_agent(fleet) -> None:
    asker = grant(Permission.TRACEPOINT_BREAK_GLASS, by="carol")
    found = await fleet.service.request(
        asker, RequestTracepoint("money-sum", break_glass=BreakGlass("down", "INC-1"), ttl=SOAK)
    )
    assert (found.state, found.rollout.stages) == (State.PENDING, 3), "breaking the glass skips the yes, not the stages"
    assert await audience(fleet) == ["ag_00"]


async def test_what_was_let_through_as_small_and_is_large_is_taken_back(fleet) -> None:
    fleet.fleet.processes = dict.fromkeys(AGENTS, 1)
    found = await fleet.request()
    assert found.state is State.PENDING
    for agent in AGENTS[:2]:
        await fleet.says(agent, found, ARMED, sites=1, processes=50)
    assert await fleet.enforcement.enforce() == 0
    await fleet.says(AGENTS[3], found, ARMED, sites=1, processes=1)
    assert await fleet.enforcement.enforce() == 1
    shown = await fleet.show(found.id)
    assert (shown.end_reason, "101 processes, 100 are let through" in shown.detail) == ("fleet_guard", True)


async def test_a_tenant_makes_the_guard_stricter_and_never_laxer(fleet) -> None:
    strict = {"fleetGuard": {"processes": 10, "approvals": 2, "soak": "5m"}}
    policy = await fleet.policies.put(WRITING, strict)
    assert (policy.guard.processes, policy.guard.approvals, policy.revision) == (10, 2, 1)
    fleet.fleet.processes = dict.fromkeys(AGENTS, 1)
    found = await fleet.request()
    assert found.asking.needs == 2
    approving = [grant(Permission.TRACEPOINT_APPROVE, by=who) for who in ("dora", "erin")]
    first = await fleet.requests.approve(approving[0], found.id, found.asking.digest)
    assert (first.state, first.detail) == (State.AWAITING, "waits for 1 of 2 approvals")
    assert (await fleet.requests.approve(approving[1], found.id, found.asking.digest)).state is State.SCHEDULED
    for laxer in ({"processes": 101}, {"approvals": 0}, {"soak": "30s"}):
        with pytest.raises(Invalid, match="stricter, not laxer"):
            await fleet.policies.put(WRITING, {"fleetGuard": strict["fleetGuard"] | laxer})
    with pytest.raises(Stale):
        await fleet.policies.put(WRITING, {}, '"0"')


async def test_nobody_to_go_to_is_said(fleet) -> None:
    fleet.fleet.agents.clear()
    with pytest.raises(Conflict) as refused:
        await fleet.request()
    assert refused.value.code == "no_agents"


def test_an_agent_that_is_not_heard_counts_as_the_busiest() -> None:
    assert Reach({"a": 3, "b": None, "c": 1}).total == 7
    assert Reach({"a": None}).total == 1


@given(st.dictionaries(st.text(min_size=1, max_size=4), st.integers(0, 50), min_size=1, max_size=60))
def test_stages_hold_each_agent_once_and_begin_with_one(counts) -> None:
    stages = split(counts, counts)
    assert sorted(agent for stage in stages for agent in stage) == sorted(counts)
    assert len(stages[0]) == 1
    assert len(stages) <= 3
    if len(stages) == 3:
        assert len(stages[0]) + len(stages[1]) == -(-len(counts) // 10)
    if any(counts.values()):
        assert counts[stages[0][0]] > 0, "an agent without a process proves nothing"


@pytest.mark.parametrize("state", AgentState)
def test_every_state_of_an_agent_is_judged(state) -> None:
    found = judge({"a"}, [Said("a", True, state, "budget" if state is AgentState.ENDED else "", "")])
    expected = {
        AgentState.PENDING: Judgement.WAITING,
        AgentState.ADMITTED: Judgement.WELL,
        AgentState.ARMED: Judgement.WELL,
        AgentState.ENDED: Judgement.TROUBLE,
        AgentState.FAILED: Judgement.TROUBLE,
        AgentState.REFUSED: Judgement.TROUBLE,
        AgentState.STOPPED: Judgement.WELL,
    }
    assert found.judgement is expected[state]
