"""An issuer's public keys: key id -> key set, from the embedded issuer in-process or from an external one by HTTPS.

The external set is cached for a while and fetched by one request at a time. A key id that is not in it causes one
fetch and is then remembered as unknown: a thousand made-up key ids cost one request to the issuer. When a refresh
fails, the old set serves on for an hour, then verification fails closed; while one is on its way, who has a known key
does not wait for it. Next: `signed_claims` checks the signature.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

import httpx
from joserfc.errors import JoseError
from joserfc.jwk import Key, KeySet, RSAKey

from control_plane.foundation.clock import Clock
from control_plane.foundation.errors import DependencyUnavailable
from control_plane.identity.discovery import Discovery
from control_plane.identity.fetching import FETCH_FAILED, MAX_BYTES, fetch_json

__all__ = ["MAX_BYTES", "InProcessKeys", "KeySource", "RemoteKeys"]

FRESH_FOR: Final = timedelta(minutes=5)  # how long a withdrawn key may still be accepted
STALE_FOR: Final = timedelta(hours=1)  # an issuer's outage must not sign everybody out at once
REFETCH_AFTER: Final = timedelta(seconds=30)  # the least time between two fetches caused by unknown key ids
UNKNOWN_FOR: Final = timedelta(minutes=5)
MAX_UNKNOWN: Final = 128  # remembered unknown key ids; more is an attack, and the REFETCH_AFTER bound still holds
MAX_KEYS: Final = 64
LEAST_RSA_BITS: Final = 2048  # RFC 7518, section 3.3
_log = logging.getLogger(__name__)


class KeySource(Protocol):
    async def keys(self, key_id: str | None) -> KeySet:
        """The issuer's keys, refreshed when `key_id` is not among them. Raises DependencyUnavailable."""
        ...


class InProcessKeys:
    """The embedded issuer's keys: no request to ourselves."""

    def __init__(self, public_jwks: Callable[[], dict[str, Any]]) -> None:
        self._public_jwks = public_jwks

    async def keys(self, key_id: str | None) -> KeySet:  # noqa: ARG002 - there is one set, and it is complete
        return KeySet.import_key_set(self._public_jwks())  # type: ignore[arg-type]


class RemoteKeys:
    """`jwks_uri` of one allow-listed issuer; when none is configured, the one its discovery document names."""

    def __init__(
        self,
        issuer: str,
        jwks_uri: str | None,
        client: httpx.AsyncClient,
        clock: Clock,
        discovery: Discovery | None = None,
    ) -> None:
        self._issuer = issuer
        self._jwks_uri = jwks_uri
        self._client = client
        self._clock = clock
        self._discovery = discovery or Discovery(issuer, client, clock)
        self._set: KeySet | None = None
        self._fetched_at: datetime | None = None
        self._tried_at: datetime | None = None
        self._unknown: dict[str, datetime] = {}
        self._flight = asyncio.Lock()

    async def keys(self, key_id: str | None) -> KeySet:
        if not self._must_fetch(key_id) or (self._flight.locked() and _has(self._set, key_id)):
            return self._known()
        async with self._flight:  # those who waited find the work done
            if self._must_fetch(key_id):
                await self._refresh()
                if key_id is not None and not _has(self._set, key_id):
                    self._remember_unknown(key_id)
        return self._known()

    def _must_fetch(self, key_id: str | None) -> bool:
        now = self._clock.now()
        if self._tried_at is not None and now - self._tried_at < REFETCH_AFTER and self._set is None:
            return False  # the last try failed just now
        if self._set is None or self._fetched_at is None:
            return True
        if now - self._fetched_at >= FRESH_FOR:
            return self._tried_at is None or now - self._tried_at >= REFETCH_AFTER
        if key_id is None or _has(self._set, key_id):
            return False
        seen = self._unknown.get(key_id)
        if seen is not None and now - seen < UNKNOWN_FOR:
            return False
        return self._tried_at is None or now - self._tried_at >= REFETCH_AFTER

    def _known(self) -> KeySet:
        if self._set is None or self._fetched_at is None:
            raise DependencyUnavailable(
                f"the keys of issuer {self._issuer} could not be fetched; try again in a minute"
            )
        if self._clock.now() - self._fetched_at >= STALE_FOR:
            raise DependencyUnavailable(
                f"the keys of issuer {self._issuer} are older than {STALE_FOR} and it does not answer"
            )
        return self._set

    async def _refresh(self) -> None:
        try:
            uri = self._jwks_uri or (await self._discovery.metadata()).jwks_uri
            found = _usable(KeySet.import_key_set(await fetch_json(self._client, uri)))  # type: ignore[arg-type]
        except (JoseError, DependencyUnavailable, *FETCH_FAILED) as error:
            _log.warning("the keys of %s could not be fetched: %s", self._issuer, error or type(error).__name__)
            return  # the old set serves until it is stale; _known says so when there is none
        finally:
            self._tried_at = self._clock.now()  # only now: who comes during the fetch waits for it
        if 0 < len(found.keys) <= MAX_KEYS:
            self._set = found
            self._fetched_at = self._clock.now()

    def _remember_unknown(self, key_id: str) -> None:
        if len(self._unknown) >= MAX_UNKNOWN:
            self._unknown.pop(next(iter(self._unknown)))
        self._unknown[key_id] = self._clock.now()


def _usable(found: KeySet) -> KeySet:
    """Public keys for signatures, strong enough; what else an issuer publishes is not looked at."""
    return KeySet([key for key in found.keys if _signs(key)])


def _signs(key: Key) -> bool:
    if key.key_type not in {"EC", "RSA", "OKP"} or key.get("use", "sig") != "sig":
        return False
    return not isinstance(key, RSAKey) or key.public_key.key_size >= LEAST_RSA_BITS


def _has(keys: KeySet | None, key_id: str | None) -> bool:
    return keys is not None and (key_id is None or any(key.kid == key_id for key in keys.keys))
