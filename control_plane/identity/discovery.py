"""An issuer's name -> what its discovery document says, pinned: the document must speak for that very name.

Kept for an hour, fetched by one request at a time, served on for a day when the issuer does not answer. Algorithms are
never taken from here: they stand in our settings. Next: `jwks` fetches the keys, `relying_party` sends people there.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import httpx

from control_plane.foundation.clock import Clock
from control_plane.foundation.errors import DependencyUnavailable
from control_plane.identity.fetching import FETCH_FAILED, checked_endpoint, fetch_json

FRESH_FOR: Final = timedelta(hours=1)  # where an issuer's endpoints are changes once in years
STALE_FOR: Final = timedelta(hours=24)
RETRY_AFTER: Final = timedelta(seconds=30)  # between two tries while it does not answer
WELL_KNOWN: Final = "/.well-known/openid-configuration"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ProviderMetadata:
    """OpenID Connect Discovery 1.0, section 3: what we use of it."""

    issuer: str
    jwks_uri: str
    authorization_endpoint: str
    token_endpoint: str
    end_session_endpoint: str  # empty when it has none
    names_itself: bool  # RFC 9207: its answers carry `iss`, so one without is not its


class Discovery:
    def __init__(self, issuer: str, client: httpx.AsyncClient, clock: Clock) -> None:
        self.issuer: Final = issuer
        self._client = client
        self._clock = clock
        self._found: ProviderMetadata | None = None
        self._fetched_at: datetime | None = None
        self._tried_at: datetime | None = None
        self._flight = asyncio.Lock()

    async def metadata(self) -> ProviderMetadata:
        """Raises DependencyUnavailable."""
        if self._must_fetch():
            async with self._flight:  # those who waited find the work done
                if self._must_fetch():
                    await self._refresh()
        if self._found is None or self._fetched_at is None or self._age(self._fetched_at) >= STALE_FOR:
            raise DependencyUnavailable(
                f"the issuer {self.issuer} does not answer as one; try again in a minute, and tell the operator"
            )
        return self._found

    def _must_fetch(self) -> bool:
        if self._fetched_at is not None and self._age(self._fetched_at) < FRESH_FOR:
            return False
        return self._tried_at is None or self._age(self._tried_at) >= RETRY_AFTER

    def _age(self, moment: datetime) -> timedelta:
        return self._clock.now() - moment

    async def _refresh(self) -> None:
        try:
            self._found = _metadata(await fetch_json(self._client, self.issuer.rstrip("/") + WELL_KNOWN), self.issuer)
        except FETCH_FAILED as error:
            _log.warning("discovery of %s failed: %s", self.issuer, error or type(error).__name__)
        else:
            self._fetched_at = self._clock.now()
        finally:
            self._tried_at = self._clock.now()  # only now: who comes during the fetch waits for it


def _metadata(document: dict[str, Any], issuer: str) -> ProviderMetadata:
    if document.get("issuer") != issuer:
        raise ValueError(f"the discovery document of {issuer} speaks for {str(document.get('issuer'))[:200]!r}")
    ends = document.get("end_session_endpoint")
    return ProviderMetadata(
        issuer=issuer,
        jwks_uri=checked_endpoint(document["jwks_uri"], issuer),
        authorization_endpoint=checked_endpoint(document.get("authorization_endpoint", issuer), issuer),
        token_endpoint=checked_endpoint(document.get("token_endpoint", issuer), issuer),
        end_session_endpoint=checked_endpoint(ends, issuer) if ends else "",
        names_itself=document.get("authorization_response_iss_parameter_supported") is True,
    )
