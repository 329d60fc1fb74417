"""What only a real Redis can show: keys that expire by themselves, a server that hangs, foreign entries."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from redis import asyncio as redis

from control_plane.delivery.ports import ChangeKind
from control_plane.delivery.redis_store import STREAM_LENGTH, RedisStore
from control_plane.foundation.clock import SystemClock
from control_plane.foundation.errors import DependencyUnavailable
from control_plane.foundation.identifiers import TenantId
from tests.builders.redis_server import RedisServer, redis_server
from tests.builders.spec_store import sealed

pytestmark = pytest.mark.peer
ACME = TenantId("acme")


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as started:
        yield started


@pytest.fixture
async def raw(server: RedisServer) -> AsyncIterator[redis.Redis]:
    client = redis.Redis.from_url(server.url)
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture
async def store(server: RedisServer) -> AsyncIterator[RedisStore]:
    opened = RedisStore(server.url, SystemClock())
    yield opened
    await opened.close()


async def test_redis_itself_ends_a_spec_with_its_time(store: RedisStore, raw: redis.Redis) -> None:
    await store.publish(sealed("tp_1", datetime.now(UTC) + timedelta(seconds=90)))
    assert 88 <= await raw.ttl("pg:{acme}:spec:tp_1") <= 90
    assert await raw.ttl("pg:{acme}:changes") > 0


async def test_a_stream_stays_bounded(store: RedisStore, raw: redis.Redis) -> None:
    for number in range(STREAM_LENGTH + 300):
        await store.publish(sealed(f"tp_{number % 3}", datetime.now(UTC) + timedelta(seconds=90)))
    assert await raw.xlen("pg:{acme}:changes") < STREAM_LENGTH + 200


async def test_an_entry_of_another_version_says_that_something_changed(store: RedisStore, raw: redis.Redis) -> None:
    await raw.xadd("pg:{acme}:changes", {"something": "else"})
    (change,) = await store.changes(ACME, "0-0", timedelta(milliseconds=10))
    assert change.kind is ChangeKind.UNKNOWN


async def test_a_server_that_hangs_does_not_hang_us(store: RedisStore, server: RedisServer) -> None:
    await store.alive()
    server.freeze()
    try:
        started = time.monotonic()
        with pytest.raises(DependencyUnavailable):
            await store.alive()
        assert time.monotonic() - started < 5
    finally:
        server.thaw()


async def test_many_readers_wait_at_the_same_time(store: RedisStore, raw: redis.Redis) -> None:
    readers = [asyncio.create_task(store.changes(ACME, "0-0", timedelta(seconds=1))) for _ in range(50)]
    await asyncio.sleep(0.1)
    await store.publish(sealed("tp_1", datetime.now(UTC) + timedelta(seconds=90)))
    assert all(len(changes) == 1 for changes in await asyncio.gather(*readers))
