from __future__ import annotations

from datetime import timedelta

import pytest
from wire.v1 import gateway_pb2, records_pb2

from control_plane.foundation.audit_trail import AuditAction
from control_plane.foundation.errors import AuditUnavailable, DependencyUnavailable
from control_plane.foundation.identifiers import AgentId, TenantId
from control_plane.tracepoints import reports as reports_module
from control_plane.tracepoints.lifecycle import AgentState, State
from tests.builders.audit_trail import actions, entries

ACME = TenantId("acme")
ADMITTED, ARMED, ENDED, FAILED = (
    gateway_pb2.STATE_ADMITTED,
    gateway_pb2.STATE_ARMED,
    gateway_pb2.STATE_ENDED,
    gateway_pb2.STATE_FAILED,
)


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch) -> None:
    monkeypatch.setattr(reports_module, "PATIENCE", (0.0,))


@pytest.fixture
async def running(world):
    await world.approved()
    return await world.request()


async def test_a_tracepoint_is_active_once_an_agent_armed_it(world, running) -> None:
    await world.says("ag_1", running, ADMITTED, event="agent.admit")
    assert (await world.show()).state is State.PENDING
    await world.says("ag_1", running, ARMED, sites=3, processes=1, event="agent.compile")
    await world.says("ag_1", running, ARMED, sites=3, processes=1, event="agent.attach")
    found = await world.show()
    assert found.state is State.ACTIVE
    assert (found.agents[0].state, found.agents[0].sites) == (AgentState.ARMED, 3)
    logged = [entry for entry in await entries(world.database) if entry["action"].startswith("agent.")]
    assert [entry["action"] for entry in logged] == ["agent.admit", "agent.compile", "agent.attach"]
    assert {entry["actor"] for entry in logged} == {"agent:ag_1"}


async def test_what_is_told_twice_is_logged_once(world, running) -> None:
    for _ in range(3):
        await world.says("ag_1", running, ADMITTED, event="agent.admit")
        await world.reports.report(ACME, AgentId("ag_1"), gateway_pb2.Ack(tracepoint_id=running.id, version=1))
    assert [action for action, _ in await actions(world.database)].count("agent.admit") == 1


async def test_it_ends_when_every_agent_has_ended_with_the_last_accounting(world, running) -> None:
    accounting = records_pb2.Accounting(hits=5, delivered=3, filtered=1, lost={"ring_full": 1})
    for agent in ("ag_1", "ag_2"):
        await world.says(agent, running, ARMED)
        assert (await world.show()).state is State.ACTIVE
        await world.says(agent, running, ENDED, end_reason="max_hits", accounting=accounting, event="agent.detach")
    found = await world.show()
    assert (found.state, found.end_reason) == (State.ENDED, "max_hits")
    assert (found.accounting.hits, found.accounting.lost) == (10, {"ring_full": 2})
    ended = (await entries(world.database))[-1]
    assert (ended["action"], ended["detail"]["reason"]) == ("tracepoint.end", "max_hits")
    assert ended["detail"]["accounting"]["delivered"] == 6
    assert await world.desired() == []


async def test_it_fails_when_every_agent_refused_it(world, running) -> None:
    nack = gateway_pb2.Nack(tracepoint_id=running.id, version=1, reason="denied_function", detail="the host says no")
    await world.reports.report(ACME, AgentId("ag_1"), nack)
    await world.says("ag_2", running, FAILED, detail="no function shop/money.Sum", event="agent.refuse")
    found = await world.show()
    assert found.state is State.FAILED
    assert found.agents[0].detail == "denied_function: the host says no"
    assert (await actions(world.database))[-1] == ("tracepoint.end", "failed")


async def test_an_agent_that_lost_its_lease_does_not_end_it(world, running) -> None:
    for agent in ("ag_1", "ag_2"):
        await world.says(agent, running, ARMED)
        await world.says(agent, running, ENDED, end_reason="lease")
    assert (await world.show()).state is State.ACTIVE
    await world.says("ag_1", running, ARMED)
    assert (await world.show()).agents[0].state is AgentState.ARMED


async def test_after_a_delete_it_is_over_once_the_agents_say_so(world, running) -> None:
    await world.says("ag_1", running, ARMED)
    await world.delete()
    assert (await world.show(running.id)).state is State.STOPPING
    await world.says("ag_1", running, ENDED, end_reason="deleted", event="agent.detach")
    found = await world.show(running.id)
    assert (found.state, found.end_reason) == (State.ENDED, "deleted")


async def test_an_agent_that_runs_nothing_of_it_needs_no_version(world, running) -> None:
    await world.says("ag_1", running, ARMED)
    await world.delete()
    await world.says("ag_1", running, ENDED, version=0, end_reason="deleted")
    assert (await world.show(running.id)).state is State.ENDED


async def test_a_late_word_about_an_earlier_version_changes_nothing(world, running) -> None:
    await world.says("ag_1", running, ARMED)
    renewed = await world.renew()
    await world.says("ag_1", renewed, ARMED)
    await world.says("ag_1", running, ENDED, end_reason="ttl")
    assert (await world.show()).agents[0].state is AgentState.ARMED


async def test_a_failure_of_the_version_before_does_not_end_the_next(world, running) -> None:
    await world.says("ag_1", running, FAILED)
    renewed = await world.renew()
    await world.says("ag_2", renewed, ENDED, end_reason="max_hits")
    assert (await world.show()).state is State.PENDING
    await world.reports.report(ACME, AgentId("ag_1"), gateway_pb2.Ack(tracepoint_id=running.id, version=2))
    assert (await world.show()).agents[0].state is AgentState.ADMITTED


async def test_the_last_accounting_counts_after_the_end_too(world, running) -> None:
    world.clock.advance(timedelta(minutes=11))
    await world.upkeep.sweep()
    await world.says("ag_1", running, ENDED, end_reason="ttl", accounting=records_pb2.Accounting(hits=4, delivered=4))
    found = await world.show()
    assert (found.state, found.accounting.hits) == (State.ENDED, 4)
    assert [action for action, _ in await actions(world.database)].count("tracepoint.end") == 1


@pytest.mark.parametrize(("tenant", "agent"), [("globex", "ag_1"), ("acme", "ag_9")])
async def test_who_was_not_given_it_says_nothing_about_it(world, running, tenant, agent) -> None:
    before = await actions(world.database)
    await world.says(agent, running, ARMED, tenant=tenant, event="agent.attach")
    assert (await world.show()).state is State.PENDING
    assert await actions(world.database) == before


async def test_a_version_that_never_was_is_ignored(world, running) -> None:
    await world.says("ag_1", running, ARMED, version=99)
    assert (await world.show()).agents[0].state is AgentState.PENDING


async def test_what_an_agent_says_is_bounded(world, running) -> None:
    accounting = records_pb2.Accounting(hits=2**64 - 1, lost={f"reason{n}": 1 for n in range(100)} | {"x" * 500: 1})
    await world.says(
        "ag_1", running, ENDED, detail="d\x00" * 5000, end_reason="because", accounting=accounting, event="audit.read"
    )
    found = (await world.show()).agents[0]
    assert len(found.detail) <= reports_module.MAX_DETAIL + 1
    assert "\x00" not in found.detail
    assert found.end_reason == "error"
    assert len(found.accounting.lost) <= reports_module.MAX_LOST
    assert found.accounting.hits == 2**63 - 1
    assert "audit.read" not in [action for action, _ in await actions(world.database)]


async def test_without_the_log_the_agent_has_to_say_it_again(world, running) -> None:
    world.trail.broken.add(AuditAction.AGENT_ATTACH)
    with pytest.raises(AuditUnavailable):
        await world.says("ag_1", running, ARMED, event="agent.attach")
    assert (await world.show()).state is State.PENDING
    world.trail.broken.clear()
    await world.says("ag_1", running, ARMED, event="agent.attach")
    assert (await world.show()).state is State.ACTIVE


async def test_without_redis_the_end_has_to_be_said_again(world, running) -> None:
    await world.says("ag_2", running, ENDED, end_reason="max_hits")
    world.store.away = True
    with pytest.raises(DependencyUnavailable):
        await world.says("ag_1", running, ENDED, end_reason="max_hits")
    assert (await world.show()).state is State.PENDING


async def test_why_an_agent_refused_stays_when_it_answers_the_retraction(world) -> None:
    """Every agent refused: it is taken back, and each says that it runs nothing of it. That is not the news."""
    await world.approved()
    found = await world.request()
    for agent in ("ag_1", "ag_2"):
        nack = gateway_pb2.Nack(tracepoint_id=found.id, version=1, reason="denied_by_host", detail="not here")
        await world.reports.report(TenantId("acme"), AgentId(agent), nack)
        await world.says(agent, found, gateway_pb2.STATE_ENDED, end_reason="deleted", detail="runs nothing of it")
    shown = await world.show(found.id)
    assert [(agent.state.value, agent.detail) for agent in shown.agents] == [
        ("refused", "denied_by_host: not here")
    ] * 2


# --- together ------------------------------------------------------------------------------------------------------


def life(tracepoint, agent_word: str = "deleted") -> list:
    """Everything an agent says of one, from its ACK to its end."""
    counted = records_pb2.Accounting(hits=5, delivered=4, filtered=1)
    told = [
        (ADMITTED, {"event": "agent.admit"}),
        (ARMED, {"event": "agent.compile", "sites": 2, "processes": 1}),
        (ARMED, {"event": "agent.attach", "sites": 2, "processes": 1, "build_ids": ["ab"]}),
        (ARMED, {"event": "agent.attach", "sites": 2, "processes": 1, "accounting": counted}),
        (ENDED, {"event": "agent.detach", "end_reason": agent_word, "accounting": counted}),
    ]
    ack = gateway_pb2.Ack(tracepoint_id=tracepoint.id, version=1)
    return [ack] + [gateway_pb2.Status(tracepoint_id=tracepoint.id, version=1, state=s, **more) for s, more in told]


async def story(world, tracepoint) -> tuple:
    """What is known of it afterwards, and its lines of the log in their order, without what names it."""
    found = await world.show(tracepoint.name)
    logged = [
        (entry["action"], entry["outcome"], entry["actor"], {k: v for k, v in entry["detail"].items() if k != "name"})
        for entry in await entries(world.database)
        if entry["resource"] == f"tracepoint/{tracepoint.id}" and entry["action"] != "tracepoint.seal"
    ]
    return found.state, found.end_reason, found.accounting, found.agents, logged[-6:]


async def test_reports_that_are_taken_together_leave_what_each_for_itself_leaves(world) -> None:
    await world.approved()
    each, grouped = [await world.request(name=name) for name in ("each", "grouped")]
    for report in life(each):
        await world.reports.report(ACME, AgentId("ag_1"), report)
    await world.reports.report_together(ACME, AgentId("ag_1"), life(grouped))
    assert await story(world, each) == await story(world, grouped)
    for tracepoint in (each, grouped):
        await world.reports.report_together(ACME, AgentId("ag_2"), life(tracepoint))
    assert (await world.show("each")).state is (await world.show("grouped")).state is State.ENDED
    assert await story(world, each) == await story(world, grouped)


async def test_the_ends_of_twenty_are_one_transaction_with_an_entry_each_in_order(world, monkeypatch) -> None:
    await world.approved()
    running = [await world.request(name=f"n{number}") for number in range(20)]
    for tracepoint in running:
        await world.says("ag_1", tracepoint, ARMED)
    before = len(await entries(world.database))
    opened = []
    transaction = world.database.transaction
    monkeypatch.setattr(world.database, "transaction", lambda tenant: opened.append(tenant) or transaction(tenant))
    ends = [
        gateway_pb2.Status(tracepoint_id=one.id, version=1, state=ENDED, end_reason="locked", event="agent.detach")
        for one in running
    ]
    await world.reports.report_together(ACME, AgentId("ag_1"), ends)
    assert opened == [ACME]
    logged = (await entries(world.database))[before:]
    assert [(entry["action"], entry["resource"]) for entry in logged] == [
        ("agent.detach", f"tracepoint/{one.id}") for one in running
    ]


async def test_a_report_about_nothing_holds_none_of_the_others_back(world, running) -> None:
    strange = gateway_pb2.Status(tracepoint_id="tp_unknown", version=1, state=ARMED, event="agent.attach")
    await world.reports.report_together(ACME, AgentId("ag_1"), [strange, *life(running), strange])
    assert (await world.show()).agents[0].state is AgentState.ENDED
    assert "tp_unknown" not in str(await entries(world.database))


async def test_a_group_that_cannot_be_logged_leaves_nothing_and_is_taken_when_it_is_said_again(world, running) -> None:
    before = await entries(world.database)
    world.trail.broken = {AuditAction.AGENT_DETACH}
    with pytest.raises(AuditUnavailable):
        await world.reports.report_together(ACME, AgentId("ag_1"), life(running))
    assert await entries(world.database) == before
    assert (await world.show()).agents[0].state is AgentState.PENDING
    world.trail.broken = set()
    await world.reports.report_together(ACME, AgentId("ag_1"), life(running))
    assert (await world.show()).agents[0].state is AgentState.ENDED


async def test_a_group_reaches_no_other_tenants_tracepoint(world, running) -> None:
    await world.reports.report_together(TenantId("umbrella"), AgentId("ag_1"), life(running))
    assert (await world.show()).agents[0].state is AgentState.PENDING
    assert await entries(world.database, "umbrella") == []
