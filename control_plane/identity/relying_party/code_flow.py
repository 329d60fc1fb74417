"""Authorization code with PKCE S256: an issuer -> where to send the browser; its answer -> a person, or SignInRefused.

    begin    state, nonce, verifier for one attempt; the browser carries them in a cookie that scripts cannot read
    finish   1. the answer is to this attempt (state), and from this issuer (RFC 9207 `iss`, an address of its own)
             2. the code is redeemed by us: no token passes the browser
             3. the ID token: signature, audience, nonce, age; the access token is not looked at, and not kept

Next: `identity.service` opens the session.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from control_plane.foundation.clock import Clock
from control_plane.foundation.errors import DependencyUnavailable, ProbegateError
from control_plane.identity.relying_party.clients import CodeRefused, SignInIssuer, SignInIssuers
from control_plane.identity.relying_party.id_tokens import read_id_token
from control_plane.identity.sessions import SignedIn
from control_plane.identity.signed_claims import BadToken

AUTHORIZATION_CODE: Final = "authorization_code"
MAX_COOKIE: Final = 3000  # characters of an attempt; browsers keep 4096 bytes a cookie
_log = logging.getLogger(__name__)


class SignInRefused(ProbegateError):
    """The sign-in did not succeed; the text says what to do and nothing of what the issuer sent."""

    code = "sign_in_refused"


@dataclass(frozen=True)
class Attempt:
    """One sign-in that has begun. It protects its own browser only: who forges it forges it for themselves."""

    issuer: str  # the name in our settings
    state: str
    nonce: str
    verifier: str
    next: str
    max_age: int | None = None

    def to_cookie(self) -> str:
        return base64.urlsafe_b64encode(json.dumps(asdict(self)).encode()).decode()

    @classmethod
    def from_cookie(cls, cookie: str) -> Attempt | None:
        try:
            found: Any = json.loads(base64.urlsafe_b64decode(cookie.encode())) if len(cookie) <= MAX_COOKIE else None
            attempt = cls(**found)
        except (ValueError, TypeError, RecursionError):
            return None
        texts = (attempt.issuer, attempt.state, attempt.nonce, attempt.verifier, attempt.next)
        whole = attempt.max_age is None or (isinstance(attempt.max_age, int) and attempt.max_age >= 0)
        return attempt if all(isinstance(text, str) and text for text in texts) and whole else None


class CodeFlow:
    def __init__(self, issuers: SignInIssuers, clock: Clock) -> None:
        self.issuers: Final = issuers
        self._clock = clock

    async def begin(
        self, issuer: SignInIssuer, next_path: str, max_age: int | None = None, acr_values: str = ""
    ) -> tuple[str, Attempt]:
        """The address to send the browser to. Raises DependencyUnavailable."""
        state, nonce, verifier = secrets.token_urlsafe(24), secrets.token_urlsafe(24), secrets.token_urlsafe(48)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        query = {
            "response_type": "code",
            "client_id": issuer.client_id,
            "redirect_uri": issuer.callback,
            "scope": " ".join(issuer.scopes),
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            **({"max_age": str(max_age)} if max_age is not None else {}),
            **({"acr_values": acr_values} if acr_values else {}),
        }
        endpoint = (await issuer.discovery.metadata()).authorization_endpoint
        separator = "&" if urlsplit(endpoint).query else "?"
        return f"{endpoint}{separator}{urlencode(query)}", Attempt(
            issuer.name, state, nonce, verifier, next_path, max_age
        )

    async def finish(self, issuer: SignInIssuer, attempt: Attempt | None, answer: Mapping[str, str]) -> SignedIn:
        """Raises SignInRefused, DependencyUnavailable."""
        begun = await _checked(issuer, attempt, answer)
        form = {
            "grant_type": AUTHORIZATION_CODE,
            "client_id": issuer.client_id,
            "code": answer["code"],
            "redirect_uri": issuer.callback,
            "code_verifier": begun.verifier,
        }
        try:
            tokens = await issuer.redemption.redeem(form)
            id_token = tokens.get("id_token")
            if not isinstance(id_token, str) or issuer.policy is None:
                raise CodeRefused("no ID token came with it")  # noqa: TRY301
            return await read_id_token(id_token, issuer.policy, begun.nonce, self._clock.now(), begun.max_age)
        except (BadToken, CodeRefused) as error:
            _log.warning("a sign-in at %s failed: %s", issuer.issuer, error)
            reason = f" ({error.reason})" if isinstance(error, BadToken) else ""
            raise SignInRefused(
                f"the answer of {issuer.label} is not one that this server accepts{reason}; sign in again, and tell "
                "the operator if it stays so"
            ) from error

    async def end_session(self, issuer: SignInIssuer) -> str:
        """Where the sign-in at the issuer is ended, too (RP-Initiated Logout 1.0); empty when it has no such thing.

        Without `id_token_hint`: an ID token says who somebody is, and addresses stand in logs and histories. The issuer
        knows its own session, and asks the person.
        """
        try:
            endpoint = (await issuer.discovery.metadata()).end_session_endpoint
        except DependencyUnavailable:
            return ""
        query = urlencode({"client_id": issuer.client_id, "post_logout_redirect_uri": issuer.after_logout})
        return f"{endpoint}{'&' if urlsplit(endpoint).query else '?'}{query}" if endpoint else ""


async def _checked(issuer: SignInIssuer, attempt: Attempt | None, answer: Mapping[str, str]) -> Attempt:
    """The attempt that this is the answer to, from the issuer that was asked."""
    state = answer.get("state", "").encode()
    if attempt is None or attempt.issuer != issuer.name or not hmac.compare_digest(state, attempt.state.encode()):
        raise SignInRefused("this sign-in was not begun here, or has expired; sign in again")
    named = answer.get("iss", "")
    if named != issuer.issuer and (named or (await issuer.discovery.metadata()).names_itself):
        raise SignInRefused("the answer came from another issuer than the one that was asked; sign in again")
    if "error" in answer:
        raise SignInRefused(f"{issuer.label} did not sign you in; sign in again")
    if not answer.get("code"):
        raise SignInRefused("the issuer's answer holds no code; sign in again")
    return attempt
