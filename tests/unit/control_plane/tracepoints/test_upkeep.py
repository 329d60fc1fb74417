from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import update

from control_plane.foundation.database import EveryTenant
from control_plane.foundation.identifiers import TenantId
from control_plane.tracepoints.lifecycle import State
from control_plane.tracepoints.tables import TracepointRow
from control_plane.tracepoints.upkeep import GRACE, STOP_GRACE
from tests.builders.audit_trail import actions

MINUTE = timedelta(minutes=1)


async def test_a_ttl_that_is_over_ends_the_tracepoint(world) -> None:
    await world.approved()
    await world.request(ttl=MINUTE)
    world.clock.advance(MINUTE)
    assert await world.upkeep.sweep() == 0
    world.clock.advance(GRACE)
    assert await world.upkeep.sweep() == 1
    found = await world.show()
    assert (found.state, found.end_reason, found.ended_at) == (State.ENDED, "ttl", found.expires_at)
    assert (await actions(world.database))[-1] == ("tracepoint.end", "success")
    assert await world.upkeep.sweep() == 0


async def test_a_renewed_one_lives_on(world) -> None:
    await world.approved()
    await world.request(ttl=MINUTE)
    world.clock.advance(MINUTE / 2)
    await world.renew(ttl=5 * MINUTE)
    world.clock.advance(MINUTE)
    assert await world.upkeep.sweep() == 0


async def test_a_stop_that_no_agent_answered_is_over_when_its_lease_must_be(world) -> None:
    await world.approved()
    await world.request(ttl=10 * MINUTE)
    await world.delete()
    world.clock.advance(STOP_GRACE)
    assert await world.upkeep.sweep() == 1
    assert (await world.show()).end_reason == "deleted"


async def test_the_name_is_free_after_the_end(world) -> None:
    await world.approved()
    first = await world.request(ttl=MINUTE)
    world.clock.advance(MINUTE + GRACE)
    await world.upkeep.sweep()
    assert (await world.request()).id != first.id


async def test_what_redis_lost_is_published_again(world) -> None:
    await world.approved()
    await world.request(name="a")
    await world.request(name="gone")
    await world.delete("gone")
    await world.renew("a")
    before = await world.desired()
    world.store.forget()
    assert await world.upkeep.republish() == 1
    assert await world.desired() == before
    assert await world.upkeep.republish() == 0


async def test_an_envelope_that_was_changed_in_the_database_stays_away(world) -> None:
    await world.approved()
    await world.request()
    async with world.database.transaction(EveryTenant("a test looks")) as session:
        await session.execute(update(TracepointRow).values(envelope=b"x" * 64))
    world.store.forget()
    assert await world.upkeep.republish() == 0
    assert await world.store.desired(TenantId("acme")) == ()


async def test_the_loop_survives_a_dependency_that_is_away(world) -> None:
    await world.approved()
    await world.request(ttl=MINUTE)
    world.clock.advance(2 * MINUTE)
    world.store.away = True
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await world.upkeep.keep_up(timedelta(milliseconds=20))
    assert (await world.show()).state is State.ENDED
