from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from control_plane.foundation.audit_trail import AuditAction
from control_plane.foundation.database import EveryTenant
from control_plane.foundation.errors import (
    AuditUnavailable,
    Conflict,
    Denied,
    DependencyUnavailable,
    Invalid,
    NotFound,
)
from control_plane.policy.model import Permission
from control_plane.tracepoints.lifecycle import AgentState, State
from control_plane.tracepoints.model import Tracepoint
from control_plane.tracepoints.tables import TableVersionRow, TracepointRow
from language.model import TargetSpec
from tests.builders.audit_trail import actions, entries
from tests.builders.principals import grant
from tests.builders.templates import SUM_YAML

MINUTE = timedelta(minutes=1)


async def test_an_approved_template_is_sealed_for_the_agents_and_published(world) -> None:
    version = await world.approved()
    found = await world.request(parameters={"minUnits": 5}, target=TargetSpec(pids=(7,)), ttl=5 * MINUTE)
    assert (found.state, found.version, found.table, found.table_version) == (State.PENDING, 1, "money_sum", 1)
    assert [(agent.agent, agent.state) for agent in found.agents] == [
        ("ag_1", AgentState.PENDING),
        ("ag_2", AgentState.PENDING),
    ]
    [spec] = await world.desired()
    assert spec.template_digest == version.digest
    assert spec.audience == ["spiffe://probegate/agent/ag_1", "spiffe://probegate/agent/ag_2"]
    assert spec.parameters["minUnits"].integer == 5
    assert (spec.target.service, list(spec.target.pids)) == ("checkoutservice", [7])
    assert spec.ttl.ToTimedelta() == 5 * MINUTE
    assert [rule.column for rule in spec.masking] == list(found.columns)


async def test_every_step_stands_in_the_log(world) -> None:
    await world.approved()
    found = await world.request()
    assert (await actions(world.database))[2:] == [
        ("tracepoint.request", "success"),
        ("tracepoint.seal", "success"),
        ("tracepoint.publish", "success"),
    ]
    asked = (await entries(world.database))[2]
    assert asked["resource"] == f"tracepoint/{found.id}"
    assert asked["detail"]["template"] == "money-sum@1"
    assert set(asked["detail"]["masking"]) == set(found.columns)


async def test_without_an_approval_there_is_no_probe(world) -> None:
    await world.templates.submit(grant(Permission.TEMPLATE_SUBMIT), SUM_YAML)
    with pytest.raises(Conflict) as refused:
        await world.request()
    assert refused.value.code == "not_approved"
    assert await world.desired() == []
    assert (await actions(world.database))[-1] == ("tracepoint.request", "refused")


async def test_who_approved_it_alone_cannot_ask_for_it(world) -> None:
    await world.approved(by="bob")
    with pytest.raises(Denied, match="you approved money-sum version 1 yourself"):
        await world.request(by="bob")
    another = grant(Permission.TEMPLATE_REVIEW, by="dora")
    version = (await world.templates.submit(grant(Permission.TEMPLATE_SUBMIT), SUM_YAML)).versions[0]
    await world.templates.approve(another, version.name, 1, version.digest)
    assert (await world.request(by="bob")).state is State.PENDING


@pytest.mark.parametrize(
    ("chosen", "part"),
    [
        ({"parameters": {"minUnits": 1001}}, "from 0 to 1000 was expected, 1001 came"),
        ({"parameters": {"minUnit": 1}}, "did you mean 'minUnits'?"),
        ({"target": TargetSpec(service="payments")}, "was approved for service 'checkoutservice'"),
        ({"ttl": 11 * MINUTE}, "a ttl of 11m is over the cap of the template money-sum version 1: ask for 10m at most"),
        ({"ttl": timedelta()}, "1s or more"),
        ({"name": "a b"}, "a tracepoint's name"),
        ({"name": "tp_" + "0" * 24}, "a tracepoint's name"),
    ],
)
async def test_what_does_not_fit_the_template_is_refused(world, chosen, part) -> None:
    await world.approved()
    with pytest.raises(Invalid) as refused:
        await world.request(**chosen)
    assert part in refused.value.detail
    assert await world.desired() == []


async def test_a_ttl_over_the_servers_cap_is_refused(world) -> None:
    world.service._max_ttl = timedelta(minutes=3)
    await world.approved()
    with pytest.raises(Invalid, match="the cap of this server: ask for 3m at most") as refused:
        await world.request(ttl=5 * MINUTE)
    assert refused.value.code == "ttl_over_cap"
    assert (await world.request()).ttl == 3 * MINUTE


async def test_a_template_that_is_not_there_is_not_found(world) -> None:
    await world.approved(tenant="globex")
    with pytest.raises(NotFound):
        await world.request()


async def test_other_bytes_than_the_ones_meant_are_not_run(world) -> None:
    await world.approved()
    with pytest.raises(NotFound):
        await world.request(digest="sha256:" + "0" * 64)


async def test_nobody_to_run_it_is_said_with_what_to_do(world) -> None:
    world.fleet.agents.clear()
    await world.approved()
    with pytest.raises(Conflict, match="probegate agent token") as refused:
        await world.request()
    assert refused.value.code == "no_agents"
    with pytest.raises(NotFound):
        await world.show()


async def _stored(world) -> int:
    async with world.database.transaction(EveryTenant("a test looks")) as session:
        return await session.scalar(select(func.count()).select_from(TracepointRow)) or 0


async def test_without_redis_nothing_remains(world) -> None:
    await world.approved()
    world.store.away = True
    with pytest.raises(DependencyUnavailable):
        await world.request()
    world.store.away = False
    assert await _stored(world) == 0
    assert await world.desired() == []
    assert (await actions(world.database))[-1] == ("tracepoint.request", "failed")


@pytest.mark.parametrize(
    "action", [AuditAction.TRACEPOINT_REQUEST, AuditAction.TRACEPOINT_SEAL, AuditAction.TRACEPOINT_PUBLISH]
)
async def test_without_the_log_nothing_runs(world, action) -> None:
    await world.approved()
    world.trail.broken.add(action)
    with pytest.raises(AuditUnavailable):
        await world.request()
    assert await _stored(world) == 0
    assert await world.desired() == []


async def test_what_was_published_is_taken_back_when_the_commit_fails(world, monkeypatch) -> None:
    await world.approved()
    await world.request(name="other")
    published = world.store.publish

    async def publish_and_break(spec) -> None:
        await published(spec)
        raise DependencyUnavailable("Redis answered too late")

    world.store.publish = publish_and_break
    with pytest.raises(DependencyUnavailable):
        await world.request()
    assert [spec.name for spec in await world.desired()] == ["other"]


async def test_the_same_name_and_content_again_renews_it(world) -> None:
    await world.approved()
    first = await world.request(ttl=5 * MINUTE)
    world.clock.advance(4 * MINUTE)
    second = await world.request(ttl=5 * MINUTE)
    assert (second.id, second.version) == (first.id, 2)
    assert second.expires_at == first.expires_at + 4 * MINUTE
    assert [spec.version for spec in await world.desired()] == [2]
    assert ("tracepoint.renew", "success") in await actions(world.database)


async def test_other_content_under_the_same_name_takes_its_place(world) -> None:
    await world.approved()
    first = await world.request()
    second = await world.request(parameters={"minUnits": 9})
    assert second.id != first.id
    assert [spec.tracepoint_id for spec in await world.desired()] == [second.id]
    replaced = await world.show(first.id)
    assert (replaced.state, replaced.end_reason) == (State.STOPPING, "replaced")
    assert (await world.show()).id == second.id


async def test_the_old_one_stays_when_the_new_one_cannot_be_published(world) -> None:
    await world.approved()
    first = await world.request()
    world.store.away = True
    with pytest.raises(DependencyUnavailable):
        await world.request(parameters={"minUnits": 9})
    world.store.away = False
    assert (await world.show()).id == first.id
    assert [spec.tracepoint_id for spec in await world.desired()] == [first.id]


async def test_a_table_is_versioned_by_its_columns(world) -> None:
    await world.approved()
    assert (await world.request()).table_version == 1
    assert (await world.request(name="second")).table_version == 1
    await world.approved(
        SUM_YAML.replace("      units: l.Units", "      amount: l.Units").replace("{units:", "{amount:")
    )
    assert (await world.request(name="third")).table_version == 2
    async with world.database.transaction(EveryTenant("a test looks")) as session:
        versions = (await session.scalars(select(TableVersionRow).order_by(TableVersionRow.version))).all()
    assert [version.columns[0] for version in versions] == ["units", "amount"]


async def test_an_approval_that_was_taken_back_ends_renewals(world) -> None:
    version = await world.approved()
    await world.request()
    await world.templates.reject(grant(Permission.TEMPLATE_REVIEW, by="bob"), version.name, 1, version.digest, "no")
    with pytest.raises(Conflict):
        await world.renew()


async def test_a_renewal_stays_within_the_caps(world) -> None:
    await world.approved()
    await world.request()
    with pytest.raises(Invalid, match="over the cap"):
        await world.renew(ttl=20 * MINUTE)
    assert (await world.renew(ttl=2 * MINUTE)).ttl == 2 * MINUTE


async def test_a_renewal_reaches_agents_that_came_later(world) -> None:
    await world.approved()
    await world.request()
    world.fleet.agents["acme"].append("ag_3")
    assert [agent.agent for agent in (await world.renew()).agents] == ["ag_1", "ag_2", "ag_3"]


async def test_a_deleted_tracepoint_is_taken_back_and_cannot_be_renewed(world) -> None:
    await world.approved()
    await world.request()
    gone = await world.delete()
    assert (gone.state, {agent.state for agent in gone.agents}) == (State.STOPPING, {AgentState.STOPPED})
    assert await world.desired() == []
    with pytest.raises(Conflict, match="is stopping"):
        await world.renew()
    assert (await world.delete()).state is State.STOPPING
    assert (await actions(world.database)).count(("tracepoint.delete", "success")) == 1


async def test_a_delete_that_redis_does_not_hear_changes_nothing(world) -> None:
    await world.approved()
    await world.request()
    world.store.away = True
    with pytest.raises(DependencyUnavailable):
        await world.delete()
    assert (await world.show()).state is State.PENDING


async def test_another_tenants_tracepoint_is_not_there(world) -> None:
    await world.approved()
    found = await world.request()
    for name in (found.id, found.name):
        with pytest.raises(NotFound) as refused:
            await world.show(name, tenant="globex")
        with pytest.raises(NotFound):
            await world.delete(name, tenant="globex")
        assert found.id == name or found.id not in refused.value.detail
    assert (await world.show()).state is State.PENDING


async def test_the_envelope_is_not_readable_in_the_database(world) -> None:
    await world.approved()
    await world.request()
    async with world.database.transaction(EveryTenant("a test looks")) as session:
        stored = await session.scalar(select(TracepointRow.envelope))
    assert b"payload" not in stored


async def test_two_requests_at_once_are_one_tracepoint(world) -> None:
    await world.approved()
    found = await asyncio.gather(world.request(), world.request(), return_exceptions=True)
    made = [tracepoint for tracepoint in found if isinstance(tracepoint, Tracepoint)]
    assert len({tracepoint.id for tracepoint in made}) == 1
    assert all(isinstance(other, Tracepoint | Conflict) for other in found)
    assert len(await world.desired()) == 1


async def test_a_list_is_the_newest_first_in_pages(world) -> None:
    await world.approved()
    for name in ("a", "b", "c"):
        await world.request(name=name)
        world.clock.advance(MINUTE)
    await world.delete("b")
    reader = grant(Permission.TRACEPOINT_READ)
    first = await world.reading.page(reader, limit=2)
    assert [tracepoint.name for tracepoint in first.items] == ["c", "b"]
    rest = await world.reading.page(reader, limit=2, cursor=first.next)
    assert ([tracepoint.name for tracepoint in rest.items], rest.next) == (["a"], None)
    assert [tracepoint.name for tracepoint in (await world.reading.page(reader, live=True)).items] == ["c", "a"]
    with pytest.raises(Invalid):
        await world.reading.page(reader, cursor="bm93IA==")
