"""The issuers that people sign in at, and who we are there: from the settings, chosen by name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import quote_plus

import httpx

from control_plane.foundation.errors import DependencyUnavailable, NotFound
from control_plane.identity.discovery import Discovery, ProviderMetadata
from control_plane.identity.fetching import FETCH_FAILED, ask_json
from control_plane.identity.signed_claims import IssuerPolicy


class CodeRefused(Exception):
    """The issuer did not give tokens for the code; the text is for the server's log."""


class Redemption(Protocol):
    async def redeem(self, form: dict[str, str]) -> dict[str, object]:
        """The token endpoint's answer. Raises CodeRefused, DependencyUnavailable."""
        ...


class Metadata(Protocol):
    async def metadata(self) -> ProviderMetadata:
        """Raises DependencyUnavailable."""
        ...


@dataclass(frozen=True)
class CommandLineClient:
    """How `probegate login` introduces itself at that issuer."""

    client_id: str
    scopes: tuple[str, ...]
    resource: str = ""  # RFC 8707: what the access token is to be good for, where the issuer wants to be told


@dataclass(frozen=True)
class SignInIssuer:
    """One issuer. Without `client_id` the console does not sign in there; without `command_line` the command does not."""

    name: str  # stands in our redirect address, so that two issuers' answers cannot be confused (RFC 9700, 4.4.2.2)
    label: str  # for people
    issuer: str
    client_id: str
    scopes: tuple[str, ...]
    policy: IssuerPolicy | None  # for ID tokens: the audience is our client
    discovery: Metadata
    redemption: Redemption
    callback: str = ""  # our redirect address, exactly as it is registered there
    after_logout: str = ""  # where the issuer leads people when they have signed out there, registered too
    command_line: CommandLineClient | None = None


class SignInIssuers:
    def __init__(self, issuers: Iterable[SignInIssuer]) -> None:
        self._by_name = {one.name: one for one in issuers}

    @property
    def all(self) -> tuple[SignInIssuer, ...]:
        return tuple(self._by_name.values())

    @property
    def of_console(self) -> tuple[SignInIssuer, ...]:
        return tuple(one for one in self.all if one.client_id)

    def named(self, name: str) -> SignInIssuer:
        """Raises NotFound."""
        found = self._by_name.get(name)
        if found is None or not found.client_id:
            raise NotFound("there is no such issuer to sign in at here")
        return found

    def called(self, issuer: str) -> SignInIssuer | None:
        """By the issuer's own name."""
        return next((one for one in self.of_console if one.issuer == issuer), None)


class HttpRedemption:
    """The token endpoint of an external issuer; our secret goes in the header (RFC 6749, 2.3.1), never in an address."""

    def __init__(self, discovery: Discovery, client: httpx.AsyncClient, client_id: str, secret: str) -> None:
        self._discovery = discovery
        self._client = client
        self._credentials: Final = (quote_plus(client_id), quote_plus(secret)) if secret else None

    async def redeem(self, form: dict[str, str]) -> dict[str, object]:
        endpoint = (await self._discovery.metadata()).token_endpoint
        try:
            status, document = await ask_json(self._client, "POST", endpoint, form, self._credentials)
        except FETCH_FAILED as error:
            raise DependencyUnavailable(
                f"the issuer {self._discovery.issuer} did not answer; sign in again in a minute"
            ) from error
        if status != httpx.codes.OK or not isinstance(document, dict):
            raise CodeRefused(f"{endpoint} answered {status}")
        return document
