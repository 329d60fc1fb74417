"""An issuer's keys over real HTTP: fetched rarely, once at a time, and never from where a redirect leads."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import httpx
import pytest

from control_plane.foundation.errors import DependencyUnavailable
from control_plane.identity.jwks import FRESH_FOR, MAX_BYTES, REFETCH_AFTER, STALE_FOR, RemoteKeys
from tests.builders import issuer
from tests.builders.issuer import key_server

KEY, NEW = issuer.key(), issuer.key()


@pytest.fixture
def server():
    with key_server(issuer.public_set(KEY)) as served:
        yield served


@pytest.fixture
async def source(server, clock):
    async with httpx.AsyncClient() as client:
        yield RemoteKeys(server.url, f"{server.url}/jwks", client, clock)


def ids(keys):
    return {key.kid for key in keys.keys}


async def test_a_thousand_made_up_key_ids_cost_one_fetch(source, server):
    await source.keys(KEY.kid)

    await asyncio.gather(*(source.keys(f"made-up-{number}") for number in range(1000)))

    assert len(server.asked) == 1


async def test_the_first_thousand_requests_at_once_cost_one_fetch(source, server):
    await asyncio.gather(*(source.keys(KEY.kid) for _ in range(1000)))

    assert len(server.asked) == 1


async def test_a_new_key_is_found_without_waiting_for_the_old_set_to_age(source, server, clock):
    await source.keys(KEY.kid)
    server.body = json.dumps(issuer.public_set(KEY, NEW)).encode()
    clock.advance(REFETCH_AFTER)

    assert NEW.kid in ids(await source.keys(NEW.kid))


async def test_a_withdrawn_key_is_gone_when_the_set_has_aged(source, server, clock):
    await source.keys(KEY.kid)
    server.body = json.dumps(issuer.public_set(NEW)).encode()
    clock.advance(FRESH_FOR)

    assert ids(await source.keys(KEY.kid)) == {NEW.kid}


async def test_an_outage_is_bridged_for_an_hour_and_then_closes(source, server, clock):
    await source.keys(KEY.kid)
    server.status = 500
    clock.advance(STALE_FOR - timedelta(seconds=1))
    assert ids(await source.keys(KEY.kid)) == {KEY.kid}
    clock.advance(timedelta(seconds=1))

    with pytest.raises(DependencyUnavailable):
        await source.keys(KEY.kid)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"keys": []}', b'{"keys": [{"kty": "EC"}]}', b"x" * (MAX_BYTES + 1), b"\xff"]
)
async def test_rubbish_for_keys_is_no_key(source, server, body):
    server.body = body

    with pytest.raises(DependencyUnavailable):
        await source.keys(None)


async def test_rubbish_later_does_not_drive_out_good_keys(source, server, clock):
    await source.keys(KEY.kid)
    server.body = b'{"keys": []}'
    clock.advance(FRESH_FOR)

    assert ids(await source.keys(KEY.kid)) == {KEY.kid}


async def test_a_redirect_is_not_followed(source, server):
    with key_server(issuer.public_set(NEW)) as elsewhere:
        server.status, server.headers = 302, {"location": f"{elsewhere.url}/jwks"}
        with pytest.raises(DependencyUnavailable):
            await source.keys(None)

        assert elsewhere.asked == []


async def test_discovery_must_speak_for_the_issuer_that_was_asked(server, clock):
    async with httpx.AsyncClient() as client:
        server.discovery = {"issuer": "https://evil.example", "jwks_uri": f"{server.url}/jwks"}
        with pytest.raises(DependencyUnavailable):
            await RemoteKeys(server.url, None, client, clock).keys(None)

        server.discovery["issuer"] = server.url
        assert ids(await RemoteKeys(server.url, None, client, clock).keys(None)) == {KEY.kid}
