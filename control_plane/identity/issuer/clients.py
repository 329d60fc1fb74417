"""Who may ask the embedded issuer for tokens: the command line, the console, and service accounts from the database."""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Final

from authlib.oauth2.rfc6749 import ClientMixin
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.foundation.clock import Clock
from control_plane.foundation.database import Database
from control_plane.foundation.identifiers import TenantId
from control_plane.identity.issuer.tables import ServiceAccountRow
from control_plane.identity.token_verifier import NARROWING

CLI: Final = "probegate-cli"
CONSOLE: Final = "probegate-console"
SCOPES: Final = ("openid", "profile", "offline_access")
AUTHORIZATION_CODE: Final = "authorization_code"
REFRESH: Final = "refresh_token"
CLIENT_CREDENTIALS: Final = "client_credentials"
TOKEN_EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105 - its name
DEVICE_CODE: Final = "urn:ietf:params:oauth:grant-type:device_code"
# RFC 8252, section 7.3: any port of the loopback address, but an exact path; never the name `localhost`.
_LOOPBACK: Final = re.compile(r"http://(127\.0\.0\.1|\[::1\]):[0-9]{1,5}/callback")


@dataclass(frozen=True)
class Client(ClientMixin):  # type: ignore[misc]  # Authlib has no types
    """What Authlib asks of a client. Without a secret it is public, and PKCE is what protects its codes."""

    client_id: str
    grants: tuple[str, ...]
    redirect_uris: tuple[str, ...] = ()
    loopback: bool = False
    secret_hash: str = ""

    def get_client_id(self) -> str:
        return self.client_id

    def get_default_redirect_uri(self) -> None:
        return None  # it must be named: nothing is sent to an address that was not asked for

    def get_allowed_scope(self, scope: str | None) -> str:
        return " ".join(word for word in (scope or "").split() if word in SCOPES or word.startswith(NARROWING))

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return redirect_uri in self.redirect_uris or (self.loopback and bool(_LOOPBACK.fullmatch(redirect_uri)))

    def check_client_secret(self, client_secret: str) -> bool:
        return bool(self.secret_hash) and hmac.compare_digest(hash_secret(client_secret), self.secret_hash)

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:  # noqa: ARG002 - Authlib's signature
        return (method == "none") != bool(self.secret_hash)

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code" and AUTHORIZATION_CODE in self.grants

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type in self.grants


class Clients:
    """`people`: whether the command line and the console are clients here, too."""

    def __init__(self, database: Database, clock: Clock, public_url: str, *, people: bool = True) -> None:
        self._database = database
        self._clock = clock
        self._fixed: dict[str, Client] = {}
        if people:
            self._fixed = {
                CLI: Client(CLI, (AUTHORIZATION_CODE, DEVICE_CODE, REFRESH), loopback=True),
                CONSOLE: Client(CONSOLE, (AUTHORIZATION_CODE,), redirect_uris=(f"{public_url}/console/callback",)),
            }

    async def find(self, client_id: str) -> Client | None:
        if client_id in self._fixed:
            return self._fixed[client_id]
        async with self._database.transaction(tenant_of(client_id)) as session:
            row = await self._alive(session, client_id)
        return None if row is None else Client(row.client_id, (CLIENT_CREDENTIALS,), secret_hash=row.secret_hash)

    async def works(self, client_id: str) -> bool:
        """Whether the service account is there, not disabled, and before its end: asked whenever a token of it is shown."""
        async with self._database.transaction(tenant_of(client_id)) as session:
            return await self._alive(session, client_id) is not None

    async def used(self, client_id: str) -> None:
        """It was given a token just now."""
        async with self._database.transaction(tenant_of(client_id)) as session:
            row = await self._alive(session, client_id)
            if row is not None:
                row.last_used_at = self._clock.now()

    async def _alive(self, session: AsyncSession, client_id: str) -> ServiceAccountRow | None:
        table = ServiceAccountRow
        row = await session.scalar(
            select(table).where(table.tenant == tenant_of(client_id), table.client_id == client_id)
        )
        if row is None or row.disabled or row.expires_at is None or row.expires_at <= self._clock.now():
            return None
        return row


def tenant_of(client_id: str) -> TenantId:
    """A service account's id is "<tenant>.<name>"."""
    return TenantId(client_id.partition(".")[0])


def hash_secret(secret: str) -> str:
    """SHA-256 is enough for 256 random bits; a password would need more."""
    return hashlib.sha256(secret.encode()).hexdigest()
