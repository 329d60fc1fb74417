"""Each row of the table of a tracepoint's states happens for real: by people, by agents, or by time. None is left out."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from wire.v1 import gateway_pb2

from control_plane.foundation.identifiers import AgentId, TenantId
from control_plane.policy.model import Permission
from control_plane.tracepoints.lifecycle import TRANSITIONS, Event, State
from tests.builders.principals import grant

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
AGENTS = ("ag_1", "ag_2")


def needing_a_yes(world) -> None:
    dossiers = world.templates._dossiers
    classes = {risk: replace(needed, requests=1) for risk, needed in dossiers.policy.classes.items()}
    object.__setattr__(dossiers._with, "policy", replace(dossiers.policy, classes=classes))


async def approve(world, found, by: str) -> None:
    await world.requests.approve(grant(Permission.TRACEPOINT_APPROVE, by=by), found.id, found.asking.digest)


async def reached(world, state: State):
    """A tracepoint in this state."""
    await world.approved()
    match state:
        case State.AWAITING:
            needing_a_yes(world)
            return await world.request()
        case State.SCHEDULED:
            needing_a_yes(world)
            found = await world.request(starts_at=world.clock.now() + HOUR)
            await approve(world, found, "dora")
            return await world.show(found.id)
        case State.PENDING:
            return await world.request()
        case State.ACTIVE | State.STOPPING:
            found = await world.request()
            for agent in AGENTS:
                await world.says(agent, found, gateway_pb2.STATE_ARMED, sites=1, processes=1)
            return await (world.delete(found.id) if state is State.STOPPING else world.show(found.id))
        case State.ENDED | State.FAILED | State.DENIED | State.LAPSED:
            raise AssertionError("nothing begins where it ends")


async def happens(world, found, event: Event) -> None:
    match event:
        case Event.APPROVE:
            await approve(world, found, "erin")
        case Event.DENY:
            denying = grant(Permission.TRACEPOINT_APPROVE, by="erin")
            await world.requests.deny(denying, found.id, found.asking.digest, "not now")
        case Event.LAPSE:
            world.clock.advance(DAY)
            await world.starting.start_due()
        case Event.START | Event.NOT_STARTED:
            if event is Event.NOT_STARTED:
                world.deciding.gone.add("carol")
            world.clock.advance(HOUR)
            await world.starting.start_due()
        case Event.DELETE:
            await world.delete(found.id)
        case Event.RENEW:
            await world.renew(found.id, timedelta(minutes=3))
        case Event.REPLACE:
            await world.request(parameters={"minUnits": 7})
        case Event.ARM:
            await world.says("ag_1", found, gateway_pb2.STATE_ARMED, sites=1, processes=1)
        case Event.EXPIRE:
            world.clock.advance(HOUR)
            await world.upkeep.sweep()
        case Event.AGENTS_ENDED:
            for agent in AGENTS:
                await world.says(agent, found, gateway_pb2.STATE_ENDED, end_reason="max_hits")
        case Event.AGENTS_FAILED:
            for agent in AGENTS:
                nack = gateway_pb2.Nack(tracepoint_id=found.id, version=found.version, reason="denied_by_host")
                await world.reports.report(TenantId("acme"), AgentId(agent), nack)


@pytest.mark.parametrize(("state", "event"), TRANSITIONS)
async def test_each_row_of_the_table_happens(world, state, event) -> None:
    found = await reached(world, state)
    assert found.state is state
    await happens(world, found, event)
    assert (await world.show(found.id)).state is TRANSITIONS[state, event]
