"""Sign in at an issuer that the control plane names: by browser on a loopback port, by device code, or as a program.

What leaves is a Context with tokens, for `credentials`. The flows are RFC 8252 with PKCE (RFC 7636), RFC 8628 and
RFC 6749 section 4.4; the issuer is found by discovery and must answer under its own name; RFC 9207's `iss` is checked.
Nothing here sees a person's password.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import httpx

from client.sdk.credentials import Context
from client.sdk.errors import SignInFailed, Unreachable
from client.sdk.loopback import Loopback

WELL_KNOWN: Final = "/.well-known/openid-configuration"
TIMEOUT: Final = 10.0  # seconds for one call to the issuer
BROWSER_TIMEOUT: Final = 300.0  # seconds a person has to sign in
DEFAULT_INTERVAL: Final = 5.0  # RFC 8628 section 3.2: between polls, when the issuer names none
MAX_INTERVAL: Final = 60.0  # however often it says slow_down: the code would expire between two polls
SLOW_DOWN: Final = 5.0  # RFC 8628 section 3.5: add this to the interval
MAX_ANSWER: Final = 1024 * 1024  # bytes of one answer of an issuer


@dataclass(frozen=True)
class Freshness:
    """What a step-up asked for: how old the sign-in may be, and how strong (RFC 9470)."""

    max_age: int | None = None
    acr_values: str = ""

    def parameters(self) -> dict[str, str]:
        found = {} if self.max_age is None else {"max_age": str(self.max_age)}
        return found | ({"acr_values": self.acr_values} if self.acr_values else {})


@dataclass(frozen=True)
class Issuer:
    """One issuer of the control plane's list, and what its own discovery document says."""

    issuer: str
    client_id: str
    scope: str
    resource: str
    authorization_endpoint: str
    token_endpoint: str
    device_authorization_endpoint: str
    names_itself: bool

    @classmethod
    def discover(cls, server: str, name: str = "") -> Issuer:
        """The control plane names its issuers; the one called `name`, or the only one. Raises SignInFailed, Unreachable."""
        chosen = _chosen(server, _call("GET", f"{server.rstrip('/')}/v1/sign-in"), name)
        issuer = str(chosen["issuer"])
        found = _call("GET", issuer.rstrip("/") + WELL_KNOWN)
        if found.get("issuer") != issuer:
            answered = _printable(found.get("issuer"))
            raise SignInFailed(f"{issuer} was asked, and {answered!r} answered: nobody signs in there")
        return cls._read(found, str(chosen["client_id"]), " ".join(chosen["scopes"]), str(chosen["resource"]))

    @classmethod
    def of_programs(cls, server: str) -> Issuer:
        """The control plane itself, which gives its tenants' service accounts their tokens."""
        return cls._read(_call("GET", server.rstrip("/") + WELL_KNOWN), "", "", "")

    @classmethod
    def _read(cls, found: dict[str, Any], client_id: str, scope: str, resource: str) -> Issuer:
        try:
            issuer = str(found["issuer"])
            return cls(
                issuer=issuer,
                client_id=client_id,
                scope=scope,
                resource=resource,
                authorization_endpoint=_endpoint(found.get("authorization_endpoint", ""), issuer),
                token_endpoint=_endpoint(found["token_endpoint"], issuer),
                device_authorization_endpoint=_endpoint(found.get("device_authorization_endpoint", ""), issuer),
                names_itself=found.get("authorization_response_iss_parameter_supported") is True,
            )
        except KeyError as problem:
            raise SignInFailed(f"{problem} is missing from the discovery document: is this an issuer?") from problem

    def asking(self, **form: str) -> dict[str, str]:
        """A form for it, with what the token is to be good for (RFC 8707)."""
        return form | ({"resource": self.resource} if self.resource else {})


def by_browser(
    server: str,
    name: str,
    tenant: str,
    show: Callable[[str], None],
    issuer_name: str = "",
    freshness: Freshness = Freshness(),
) -> Context:
    """Authorization code with PKCE. `show` is given the address to open. Raises SignInFailed, Unreachable."""
    issuer = Issuer.discover(server, issuer_name)
    verifier = secrets.token_urlsafe(48)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    state = secrets.token_urlsafe(24)
    with Loopback() as loopback:
        query = issuer.asking(
            response_type="code",
            client_id=issuer.client_id,
            redirect_uri=loopback.address,
            scope=issuer.scope,
            state=state,
            code_challenge=challenge,
            code_challenge_method="S256",
            **_consent(issuer),
            **freshness.parameters(),
        )
        show(f"{issuer.authorization_endpoint}?{urllib.parse.urlencode(query)}")
        answer = loopback.wait(BROWSER_TIMEOUT, state)
    if answer.get("iss") != issuer.issuer and (answer.get("iss") or issuer.names_itself):
        raise SignInFailed(f"the answer is from {answer.get('iss', 'nobody')}, not from {issuer.issuer}: start again")
    if answer.get("error"):
        more = answer.get("error_description", "no more than that")
        raise SignInFailed(f"the issuer said {_printable(answer['error'])}: {_printable(more)}")
    tokens = _call(
        "POST",
        issuer.token_endpoint,
        issuer.asking(
            grant_type="authorization_code",
            code=answer.get("code", ""),
            redirect_uri=loopback.address,
            client_id=issuer.client_id,
            code_verifier=verifier,
        ),
    )
    return _context(name, server, tenant, issuer, tokens, "browser", issuer_name)


def by_device(
    server: str,
    name: str,
    tenant: str,
    show: Callable[[str, str], None],
    sleep: Callable[[float], None] = time.sleep,
    issuer_name: str = "",
    freshness: Freshness = Freshness(),
) -> Context:
    """Device flow: `show` is given the address and the code that a person types elsewhere."""
    issuer = Issuer.discover(server, issuer_name)
    if not issuer.device_authorization_endpoint:
        raise SignInFailed(f"{issuer.issuer} offers no device sign-in: use `probegate login` without --device")
    asked = issuer.asking(client_id=issuer.client_id, scope=issuer.scope, **_consent(issuer), **freshness.parameters())
    begun = _call("POST", issuer.device_authorization_endpoint, asked)
    try:
        device_code, user_code = str(begun["device_code"]), str(begun["user_code"])
        address, life = str(begun.get("verification_uri_complete") or begun["verification_uri"]), begun["expires_in"]
        interval, ends = float(begun.get("interval", DEFAULT_INTERVAL)), time.monotonic() + float(life)
    except (KeyError, ValueError, TypeError) as problem:
        raise SignInFailed(f"{issuer.issuer} began no device sign-in that can be read: {problem}") from problem
    show(address, user_code)
    while time.monotonic() < ends:
        sleep(interval)
        tokens = _call(
            "POST",
            issuer.token_endpoint,
            issuer.asking(
                grant_type="urn:ietf:params:oauth:grant-type:device_code",
                device_code=device_code,
                client_id=issuer.client_id,
            ),
            accept=("authorization_pending", "slow_down"),
        )
        if "access_token" in tokens:
            return _context(name, server, tenant, issuer, tokens, "device", issuer_name)
        interval = min(MAX_INTERVAL, interval + (SLOW_DOWN if tokens.get("error") == "slow_down" else 0.0))
    raise SignInFailed("nobody confirmed the code in time: start again")


def by_secret(server: str, name: str, tenant: str, client_id: str, secret: str, issuer_name: str = "") -> Context:
    """A program's own credentials (RFC 6749, 4.4): a service account of a tenant, or a client of an external issuer."""
    issuer = Issuer.discover(server, issuer_name) if issuer_name else Issuer.of_programs(server)
    tokens = _call(
        "POST",
        issuer.token_endpoint,
        issuer.asking(grant_type="client_credentials", client_id=client_id, client_secret=secret),
    )
    return _context(name, server, tenant, replace(issuer, client_id=client_id), tokens, "secret", issuer_name)


def by_workload(server: str, name: str, tenant: str, account: str, token: str) -> Context:
    """A pipeline's own token -> a service account's, by a trust rule of its tenant (RFC 8693)."""
    issuer = Issuer.of_programs(server)
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "client_id": account,
        "subject_token": token,
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
    }
    tokens = _call("POST", issuer.token_endpoint, form)
    return _context(name, server, tenant, replace(issuer, client_id=account), tokens, "workload", "")


def refreshed(context: Context) -> Context:
    """New tokens by the refresh token. Raises SignInFailed when it is no longer good."""
    issuer = Issuer.discover(context.server, context.issuer_name)
    if issuer.issuer != context.issuer:
        raise SignInFailed(f"the control plane names another issuer than {context.issuer}")
    form = {"refresh_token": context.refresh_token, "client_id": context.client_id}
    tokens = _call("POST", issuer.token_endpoint, issuer.asking(grant_type="refresh_token", **form))
    tokens.setdefault("refresh_token", context.refresh_token)
    return _context(context.name, context.server, context.tenant, issuer, tokens, context.flow, context.issuer_name)


def _chosen(server: str, found: dict[str, Any], name: str) -> dict[str, Any]:
    try:
        items = [dict(item) for item in found["items"]]
        known = {str(item["name"]): item for item in items}
        whole = all({"issuer", "client_id", "scopes", "resource"} <= item.keys() for item in items)
    except (KeyError, TypeError, ValueError) as problem:
        raise SignInFailed(f"{server} names no issuers: is this a Probegate server?") from problem
    if not whole or not known:
        raise SignInFailed(f"{server} has no issuer that the command line can sign in at: ask its operator")
    if not name and len(known) > 1:
        raise SignInFailed(f"several issuers: choose one with --issuer, of {', '.join(known)}")
    if name and name not in known:
        raise SignInFailed(f"there is no issuer {name!r} here; there are: {', '.join(known)}")
    return known[name] if name else items[0]


def _endpoint(address: object, issuer: str) -> str:
    """As secure as the issuer itself: a code, a secret or a token goes there."""
    text = str(address)
    if text and urllib.parse.urlsplit(text).scheme not in {"https", urllib.parse.urlsplit(issuer).scheme}:
        raise SignInFailed(f"{issuer} names {text[:200]!r}: expected an https address")
    return text


def _consent(issuer: Issuer) -> dict[str, str]:
    """OpenID Connect Core 1.0, section 11: who wants to come back offline asks the person again."""
    return {"prompt": "consent"} if "offline_access" in issuer.scope.split() else {}


def _context(
    name: str, server: str, tenant: str, issuer: Issuer, tokens: dict[str, Any], flow: str, issuer_name: str
) -> Context:
    try:
        return Context(
            name=name,
            server=server.rstrip("/"),
            tenant=tenant,
            issuer=issuer.issuer,
            issuer_name=issuer_name,
            client_id=issuer.client_id,
            flow=flow,
            access_token=str(tokens["access_token"]),
            refresh_token=str(tokens.get("refresh_token", "")),
            expires_at=time.time() + float(tokens.get("expires_in", 0)),
        )
    except (KeyError, ValueError, TypeError) as problem:
        raise SignInFailed(f"{issuer.issuer} gave no token that can be read: {problem}") from problem


def _call(method: str, url: str, form: dict[str, str] | None = None, accept: tuple[str, ...] = ()) -> dict[str, Any]:
    """One call to the issuer; its JSON object. An OAuth error is raised unless it is in `accept`."""
    body = bytearray()
    headers = {"accept": "application/json", "accept-encoding": "identity"}
    try:
        with httpx.stream(method, url, data=form, timeout=TIMEOUT, headers=headers, follow_redirects=False) as response:
            for piece in response.iter_raw():
                body += piece
                if len(body) > MAX_ANSWER:
                    raise SignInFailed(f"{url} answered more than {MAX_ANSWER} bytes")
    except httpx.HTTPError as problem:
        raise Unreachable(f"no answer from {url}: {problem}. Is the control plane running there?") from problem
    try:
        answer = json.loads(bytes(body))
    except (ValueError, RecursionError) as problem:
        raise SignInFailed(
            f"{url} answered {response.status_code} without JSON: is this a Probegate server?"
        ) from problem
    if not isinstance(answer, dict):
        raise SignInFailed(f"{url} answered something that is not a JSON object: is this a Probegate server?")
    if response.status_code != httpx.codes.OK and answer.get("error") not in accept:
        said = answer.get("error_description") or answer.get("detail") or answer.get("error") or response.reason_phrase
        raise SignInFailed(f"{url} refused ({response.status_code}): {_printable(said)}")
    return answer


def _printable(text: object) -> str:
    """What an issuer says, for a terminal: one line, without control characters."""
    return "".join(letter for letter in str(text)[:300] if letter.isprintable())
