"""The certified `oidc-provider` changes its keys while tokens of the old one are about."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from control_plane.foundation.clock import ManualClock, SystemClock
from control_plane.identity.jwks import FRESH_FOR, REFETCH_AFTER, RemoteKeys
from control_plane.identity.token_verifier import BadToken, IssuerPolicy, TokenVerifier
from tests.builders.oidc_provider import AUDIENCE, PIPELINE, RESOURCE, OidcProvider, oidc_provider, signing_key

pytestmark = pytest.mark.peer


async def test_a_rotated_key_is_found_with_one_fetch_and_the_old_one_is_refused(tmp_path: Path) -> None:
    with oidc_provider(tmp_path, "http://127.0.0.1:1", {}) as provider:
        await _rotated(provider)


async def _rotated(provider: OidcProvider) -> None:
    asked: list[str] = []

    async def count(request: httpx.Request) -> None:
        asked.append(request.url.path)

    clock = ManualClock(SystemClock().now())
    async with httpx.AsyncClient(event_hooks={"request": [count]}) as http:
        keys = RemoteKeys(provider.url, None, http, clock)
        verifier = TokenVerifier([IssuerPolicy(provider.url, AUDIENCE, ("ES256",), ("at+jwt",), keys)], clock)

        async def token() -> str:
            form = {"grant_type": "client_credentials", "resource": RESOURCE}
            secret = {"client_id": PIPELINE[0], "client_secret": PIPELINE[1]}
            async with httpx.AsyncClient() as pipeline:
                return (await pipeline.post(f"{provider.url}/token", data=form | secret)).json()["access_token"]

        old = await token()
        await verifier.verify(old)
        new_key = signing_key()
        provider.rotate(new_key, *provider.keys)
        clock.advance(REFETCH_AFTER)
        asked.clear()
        await verifier.verify(await token())
        assert asked == ["/jwks"]
        await verifier.verify(old)

        provider.rotate(new_key)
        clock.advance(FRESH_FOR)
        with pytest.raises(BadToken) as refused:
            await verifier.verify(old)
        assert refused.value.reason == "bad_signature"
