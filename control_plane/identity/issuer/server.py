"""Authlib's authorization server on Starlette: the glue, and nothing else.

That core is synchronous. Each call runs in a worker thread, and what it asks of the database is sent back to the event
loop (`anyio.from_thread`), so there is one database and no second driver. `grants` fills in the flows.
"""

from __future__ import annotations

import json
import secrets
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import Any, Final

import anyio.from_thread
import anyio.to_thread
from authlib.oauth2.rfc6749 import AuthorizationServer, OAuth2Payload, OAuth2Request
from starlette.requests import Request
from starlette.responses import Response

from control_plane.identity.issuer.clients import SCOPES, Client, Clients
from control_plane.identity.issuer.store import Refresh, Store
from control_plane.identity.issuer.tokens import ACCESS_LIFE, TokenMaker
from control_plane.identity.issuer.users import User
from control_plane.identity.token_verifier import NARROWING

_NO_STORE: Final = {"cache-control": "no-store"}  # RFC 6749, section 5.1


class IssuerServer(AuthorizationServer):  # type: ignore[misc]  # Authlib has no types
    def __init__(self, clients: Clients, store: Store, tokens: TokenMaker) -> None:
        super().__init__(scopes_supported=list(SCOPES))
        self.clients = clients
        self.store = store
        self.tokens = tokens
        self.register_token_generator("default", self._generate)

    async def run(self, method: str, request: FormRequest, *args: Any, **kwargs: Any) -> Any:
        """One of the core's calls, in a worker thread."""
        return await anyio.to_thread.run_sync(partial(getattr(self, method), *args, request=request, **kwargs))

    def query_client(self, client_id: str) -> Client | None:
        return anyio.from_thread.run(self.clients.find, str(client_id))

    def validate_requested_scope(self, scope: str | None) -> None:
        """Anybody may ask for a token that may do less; which permissions there are is not known here."""
        super().validate_requested_scope(
            " ".join(word for word in (scope or "").split() if not word.startswith(NARROWING))
        )

    def save_token(self, token: Mapping[str, Any], request: Any) -> None:
        """Access tokens are not kept; a refresh token is, in the family of the one it replaces."""
        if request.user is None:
            anyio.from_thread.run(self.clients.used, request.client.client_id)
        if "refresh_token" not in token:
            return
        family: Refresh = request.refresh_token or self.store.new_family(
            request.client.client_id, request.user.name, str(token.get("scope", "")), request.user.authenticated_at
        )
        anyio.from_thread.run(self.store.put_refresh, token["refresh_token"], family)

    def create_oauth2_request(self, request: FormRequest) -> FormRequest:
        return request

    def create_json_request(self, request: Any) -> Any:
        raise NotImplementedError("no endpoint of this issuer takes JSON")

    def handle_response(self, status: int, body: Any, headers: Sequence[tuple[str, str]]) -> Response:
        content = json.dumps(body) if isinstance(body, dict) else str(body or "")
        return Response(content, status, dict(headers) | _NO_STORE)

    def send_signal(self, name: str, *args: object, **kwargs: object) -> None:
        """Nobody listens."""

    def _generate(
        self,
        grant_type: str,  # noqa: ARG002 - Authlib's signature
        client: Client,
        user: User | None = None,
        scope: str | None = None,
        expires_in: int | None = None,  # noqa: ARG002
        include_refresh_token: bool = True,
    ) -> dict[str, Any]:
        granted = client.get_allowed_scope(scope)
        token: dict[str, Any] = {
            "token_type": "Bearer",
            "access_token": self.tokens.access_token(client.client_id, user, granted),
            "expires_in": int(ACCESS_LIFE.total_seconds()),
            "scope": granted,
        }
        if include_refresh_token and user is not None and "offline_access" in granted.split():
            token["refresh_token"] = secrets.token_urlsafe(32)
        return token


class FormRequest(OAuth2Request):  # type: ignore[misc]  # Authlib has no types
    """A Starlette request whose form has been read."""

    def __init__(self, method: str, uri: str, headers: Mapping[str, str], values: Sequence[tuple[str, str]]) -> None:
        super().__init__(method=method, uri=uri, headers=headers)
        self.payload = _Values(values)

    @property
    def args(self) -> dict[str, str]:
        return self.payload.data

    @property
    def form(self) -> dict[str, str]:
        return self.payload.data


class _Values(OAuth2Payload):  # type: ignore[misc]  # Authlib has no types
    def __init__(self, values: Sequence[tuple[str, str]]) -> None:
        self._values = values

    @cached_property
    def data(self) -> dict[str, str]:
        return dict(self._values)

    @cached_property
    def datalist(self) -> defaultdict[str, list[str]]:
        found: defaultdict[str, list[str]] = defaultdict(list)
        for name, value in self._values:
            found[name].append(value)
        return found


async def read_request(request: Request, issuer: str) -> FormRequest:
    """Query on GET, form on POST: never both, so that a link cannot fill in a form's field.

    Authlib refuses plain HTTP but on loopback; the address it judges is the issuer's own, not the Host header's.
    """
    source = request.query_params if request.method == "GET" else await request.form()
    values = [(name, value) for name, value in source.multi_items() if isinstance(value, str)]
    headers = {"Authorization": request.headers.get("authorization", "")}
    return FormRequest(request.method, issuer + request.url.path, headers, values)
