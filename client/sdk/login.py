"""Sign in at the issuer that the control plane names: by browser on a loopback port, by device code, or as a service.

What leaves is a Context with tokens, for `credentials`. The flows are RFC 8252 with PKCE (RFC 7636), RFC 8628 and
RFC 6749 section 4.4; RFC 9207's `iss` is checked. Nothing here sees a person's password.
"""

from __future__ import annotations

import base64
import hashlib
import http.server
import secrets
import threading
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Self

import httpx

from client.sdk.credentials import Context
from client.sdk.errors import SignInFailed, Unreachable

CLIENT_ID: Final = "probegate-cli"
SCOPE: Final = "openid profile offline_access"
TIMEOUT: Final = 10.0  # seconds for one call to the issuer
BROWSER_TIMEOUT: Final = 300.0  # seconds a person has to sign in
SLOW_DOWN: Final = 5.0  # RFC 8628 section 3.5: add this to the interval
PAGE: Final = b"<!doctype html><title>Probegate</title><p>You may close this window and go back to the terminal."


@dataclass(frozen=True)
class Issuer:
    """What the discovery document says."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    device_authorization_endpoint: str

    @classmethod
    def discover(cls, server: str) -> Issuer:
        found = _call("GET", f"{server.rstrip('/')}/.well-known/openid-configuration")
        try:
            return cls(
                issuer=str(found["issuer"]),
                authorization_endpoint=str(found["authorization_endpoint"]),
                token_endpoint=str(found["token_endpoint"]),
                device_authorization_endpoint=str(found.get("device_authorization_endpoint", "")),
            )
        except KeyError as problem:
            raise SignInFailed(
                f"{server} names no issuer: {problem} is missing from its discovery document"
            ) from problem


def by_browser(server: str, name: str, tenant: str, show: Callable[[str], None]) -> Context:
    """Authorization code with PKCE. `show` is given the address to open. Raises SignInFailed, Unreachable."""
    issuer = Issuer.discover(server)
    verifier = secrets.token_urlsafe(48)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    state = secrets.token_urlsafe(24)
    with _Loopback() as loopback:
        query = {
            "response_type": "code",
            "client_id": CLIENT_ID,
            "redirect_uri": loopback.address,
            "scope": SCOPE,
            "state": state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        show(f"{issuer.authorization_endpoint}?{urllib.parse.urlencode(query)}")
        answer = loopback.wait(BROWSER_TIMEOUT)
    if answer.get("error"):
        raise SignInFailed(f"the issuer said {answer['error']}: {answer.get('error_description', 'no more than that')}")
    if not secrets.compare_digest(answer.get("state", ""), state):
        raise SignInFailed("the answer is not to this request (state differs): start again")
    if answer.get("iss") and answer["iss"] != issuer.issuer:
        raise SignInFailed(f"the answer is from {answer['iss']}, not from {issuer.issuer}: start again")
    tokens = _call(
        "POST",
        issuer.token_endpoint,
        {
            "grant_type": "authorization_code",
            "code": answer.get("code", ""),
            "redirect_uri": loopback.address,
            "client_id": CLIENT_ID,
            "code_verifier": verifier,
        },
    )
    return _context(name, server, tenant, issuer, CLIENT_ID, tokens)


def by_device(
    server: str, name: str, tenant: str, show: Callable[[str, str], None], sleep: Callable[[float], None] = time.sleep
) -> Context:
    """Device flow: `show` is given the address and the code that a person types elsewhere."""
    issuer = Issuer.discover(server)
    if not issuer.device_authorization_endpoint:
        raise SignInFailed(f"{issuer.issuer} offers no device sign-in: use `probegate login` without --device")
    begun = _call("POST", issuer.device_authorization_endpoint, {"client_id": CLIENT_ID, "scope": SCOPE})
    show(str(begun.get("verification_uri_complete") or begun["verification_uri"]), str(begun["user_code"]))
    interval = float(begun.get("interval", 5))
    ends = time.monotonic() + float(begun["expires_in"])
    while time.monotonic() < ends:
        sleep(interval)
        tokens = _call(
            "POST",
            issuer.token_endpoint,
            {
                "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
                "device_code": str(begun["device_code"]),
                "client_id": CLIENT_ID,
            },
            accept=("authorization_pending", "slow_down"),
        )
        if "access_token" in tokens:
            return _context(name, server, tenant, issuer, CLIENT_ID, tokens)
        interval += SLOW_DOWN if tokens.get("error") == "slow_down" else 0.0
    raise SignInFailed("nobody confirmed the code in time: start again")


def by_secret(server: str, name: str, tenant: str, client_id: str, secret: str) -> Context:
    """A service account's own credentials."""
    issuer = Issuer.discover(server)
    tokens = _call(
        "POST",
        issuer.token_endpoint,
        {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret},
    )
    return _context(name, server, tenant, issuer, client_id, tokens)


def refreshed(context: Context) -> Context:
    """New tokens by the refresh token. Raises SignInFailed when it is no longer good."""
    issuer = Issuer.discover(context.server)
    tokens = _call(
        "POST",
        issuer.token_endpoint,
        {"grant_type": "refresh_token", "refresh_token": context.refresh_token, "client_id": context.client_id},
    )
    tokens.setdefault("refresh_token", context.refresh_token)
    return _context(context.name, context.server, context.tenant, issuer, context.client_id, tokens)


def _context(name: str, server: str, tenant: str, issuer: Issuer, client_id: str, tokens: dict[str, Any]) -> Context:
    return Context(
        name=name,
        server=server.rstrip("/"),
        tenant=tenant,
        issuer=issuer.issuer,
        client_id=client_id,
        access_token=str(tokens["access_token"]),
        refresh_token=str(tokens.get("refresh_token", "")),
        expires_at=time.time() + float(tokens.get("expires_in", 0)),
    )


def _call(method: str, url: str, form: dict[str, str] | None = None, accept: tuple[str, ...] = ()) -> dict[str, Any]:
    """One call to the issuer; its JSON object. An OAuth error is raised unless it is in `accept`."""
    try:
        response = httpx.request(method, url, data=form, timeout=TIMEOUT, headers={"accept": "application/json"})
    except httpx.HTTPError as problem:
        raise Unreachable(f"no answer from {url}: {problem}. Is the control plane running there?") from problem
    try:
        body = response.json()
    except ValueError as problem:
        raise SignInFailed(
            f"{url} answered {response.status_code} without JSON: is this a Probegate server?"
        ) from problem
    if not isinstance(body, dict):
        raise SignInFailed(f"{url} answered something that is not a JSON object: is this a Probegate server?")
    if response.is_error and body.get("error") not in accept:
        said = body.get("error_description") or body.get("detail") or body.get("error") or response.reason_phrase
        raise SignInFailed(f"{url} refused ({response.status_code}): {said}")
    return body


class _Loopback:
    """A web server for one answer, on a port of 127.0.0.1 that the system chose (RFC 8252 section 7.3)."""

    def __init__(self) -> None:
        answered = threading.Event()
        answer: dict[str, str] = {}

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urllib.parse.urlsplit(self.path)
                if parts.path != "/callback":
                    self.send_error(404)
                    return
                answer.update(urllib.parse.parse_qsl(parts.query))
                self.send_response(200)
                self.send_header("content-type", "text/html; charset=utf-8")
                self.end_headers()
                self.wfile.write(PAGE)
                answered.set()

            def log_message(self, *_: object) -> None:
                """The address holds the code: it is not printed."""

        self._answered, self._answer = answered, answer
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}/callback"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def wait(self, seconds: float) -> dict[str, str]:
        if not self._answered.wait(seconds):
            raise SignInFailed("nobody signed in within five minutes: start again")
        return self._answer
