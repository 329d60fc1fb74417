"""What every SpecStore does, said once and asked of the fake and of a real Redis alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from control_plane.delivery.ports import ChangeKind, RetractReason, SpecStore
from control_plane.delivery.redis_store import RedisStore
from control_plane.foundation.clock import SystemClock
from control_plane.foundation.errors import DependencyUnavailable
from control_plane.foundation.identifiers import TenantId
from tests.builders.redis_server import RedisServer, redis_server
from tests.builders.spec_store import FakeSpecStore, sealed

ACME, GLOBEX = TenantId("acme"), TenantId("globex")
SOON = timedelta(milliseconds=50)


@dataclass
class Subject:
    store: SpecStore
    go_away: Callable[[], None]
    come_back_empty: Callable[[], None]


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as started:
        yield started


@pytest.fixture(params=["fake", pytest.param("redis", marks=pytest.mark.peer)])
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    if request.param == "fake":
        fake = FakeSpecStore(SystemClock())

        def come_back() -> None:
            fake.forget()
            fake.away = False

        yield Subject(fake, lambda: setattr(fake, "away", True), come_back)
        return
    server: RedisServer = request.getfixturevalue("server")
    server.kill()
    server.start()
    store = RedisStore(server.url, SystemClock())
    yield Subject(store, server.kill, server.start)
    await store.close()


@pytest.fixture
def store(subject: Subject) -> SpecStore:
    return subject.store


def later(seconds: float = 60) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


async def test_what_is_published_is_desired(store: SpecStore) -> None:
    spec = sealed("tp_1", later())
    await store.publish(spec)
    assert await store.desired(ACME) == (spec.envelope,)
    assert await store.envelope(ACME, "tp_1") == spec.envelope


async def test_a_newer_version_takes_the_place_of_the_older(store: SpecStore) -> None:
    await store.publish(sealed("tp_1", later(), version=1))
    await store.publish(sealed("tp_1", later(), version=2))
    assert await store.desired(ACME) == (b"acme/tp_1@2",)


async def test_what_is_retracted_is_not_desired_any_more(store: SpecStore) -> None:
    await store.publish(sealed("tp_1", later()))
    await store.publish(sealed("tp_2", later()))
    await store.retract(ACME, "tp_1", RetractReason.DELETED)
    assert await store.desired(ACME) == (b"acme/tp_2@1",)
    assert await store.envelope(ACME, "tp_1") is None


async def test_a_spec_goes_by_itself_when_it_is_over(store: SpecStore) -> None:
    await store.publish(sealed("tp_1", later(0.4)))
    assert await store.desired(ACME) == (b"acme/tp_1@1",)
    await asyncio.sleep(1.1)
    assert await store.desired(ACME) == ()
    assert await store.envelope(ACME, "tp_1") is None


async def test_a_spec_that_is_over_already_is_not_stored(store: SpecStore) -> None:
    await store.publish(sealed("tp_1", later(-1)))
    assert await store.desired(ACME) == ()


async def test_tenants_do_not_see_each_other(store: SpecStore) -> None:
    at = await store.position(GLOBEX)
    await store.publish(sealed("tp_1", later()))
    assert await store.desired(GLOBEX) == ()
    assert await store.envelope(GLOBEX, "tp_1") is None
    assert await store.changes(GLOBEX, at, SOON) == ()


async def test_changes_come_in_order_after_a_position(store: SpecStore) -> None:
    await store.publish(sealed("tp_0", later()))
    at = await store.position(ACME)
    await store.publish(sealed("tp_1", later()))
    await store.retract(ACME, "tp_1", RetractReason.REVOKED)
    changes = await store.changes(ACME, at, SOON)
    assert [(change.kind, change.tracepoint_id, change.reason) for change in changes] == [
        (ChangeKind.PUBLISHED, "tp_1", ""),
        (ChangeKind.RETRACTED, "tp_1", "revoked"),
    ]
    assert await store.changes(ACME, changes[0].position, SOON) == changes[1:]
    assert await store.changes(ACME, changes[-1].position, SOON) == ()


async def test_a_reader_that_waits_is_told_at_once(store: SpecStore) -> None:
    at = await store.position(ACME)
    waiting = asyncio.create_task(store.changes(ACME, at, timedelta(seconds=1)))
    await asyncio.sleep(0.05)
    await store.publish(sealed("tp_1", later()))
    async with asyncio.timeout(0.5):
        (change,) = await waiting
    assert change.tracepoint_id == "tp_1"


async def test_a_store_is_lost_until_it_is_said_to_be_complete(subject: Subject) -> None:
    assert await subject.store.lost()
    await subject.store.restored()
    assert not await subject.store.lost()
    subject.go_away()
    subject.come_back_empty()
    assert await subject.store.lost()
    assert await subject.store.desired(ACME) == ()


async def test_a_store_that_is_away_says_so_and_soon(subject: Subject) -> None:
    store = subject.store
    await store.alive()
    subject.go_away()
    for ask in (
        store.alive(),
        store.publish(sealed("tp_1", later())),
        store.retract(ACME, "tp_1", RetractReason.DELETED),
        store.desired(ACME),
        store.envelope(ACME, "tp_1"),
        store.position(ACME),
        store.changes(ACME, "0-0", SOON),
        store.lost(),
        store.restored(),
    ):
        async with asyncio.timeout(5):
            with pytest.raises(DependencyUnavailable):
                await ask
    subject.come_back_empty()
    await store.alive()
