"""What an ID token and a logout token must say besides being signed for us: the rules that keep one from being the other.

OpenID Connect Core 1.0, section 3.1.3.7; Back-Channel Logout 1.0, section 2.6. Refusals are BadToken.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from control_plane.identity.sessions import SignedIn
from control_plane.identity.signed_claims import (
    LEEWAY,
    MAX_TEXT,
    BadToken,
    IssuerPolicy,
    moment_of,
    signed_claims,
    subject_of,
    text_of,
)
from control_plane.identity.token_verifier import read_token

ID_TOKEN_TYPES: Final = ("jwt", "")  # most issuers name it JWT or leave it out; never at+jwt, never logout+jwt
LOGOUT_TYPES: Final = ("logout+jwt",)
LOGOUT_EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"
LOGOUT_AGE: Final = timedelta(minutes=5)  # it is sent at once; an old one was kept by somebody


@dataclass(frozen=True)
class LogoutOrder:
    issuer: str
    subject: str  # empty: whoever has that session
    issuer_session: str  # empty: all of the subject's sessions
    token_id: str
    until: datetime  # when the token cannot be shown again anyway


async def read_id_token(token: str, policy: IssuerPolicy, nonce: str, now: datetime, max_age: int | None) -> SignedIn:
    """Raises BadToken, DependencyUnavailable."""
    _, claims = await signed_claims(token, {policy.issuer: replace(policy, types=ID_TOKEN_TYPES)}, now)
    if claims.get("nonce") != nonce:
        raise BadToken("wrong_nonce", "the ID token answers another sign-in")
    _only_ours(claims, policy)
    if "events" in claims:
        raise BadToken("wrong_type", "an ID token reports no events")
    person = read_token(claims, policy, now)
    if max_age is not None and (
        person.authenticated_at is None or now > person.authenticated_at + timedelta(seconds=max_age) + LEEWAY
    ):
        raise BadToken("too_old", "the issuer was asked to sign in anew, and says it did not")
    return SignedIn(replace(person, of_program=False), text_of(claims, "sid"))


async def read_logout_token(token: str, policy: IssuerPolicy, now: datetime) -> LogoutOrder:
    """Raises BadToken, DependencyUnavailable."""
    _, claims = await signed_claims(token, {policy.issuer: replace(policy, types=LOGOUT_TYPES)}, now)
    events = claims.get("events")
    if not isinstance(events, dict) or not isinstance(events.get(LOGOUT_EVENT), dict):
        raise BadToken("no_logout_event", "the token reports no logout")
    if "nonce" in claims:
        raise BadToken("nonce", "a logout token has no nonce: this is an ID token")
    issued_at, expires_at = moment_of(claims, "iat"), moment_of(claims, "exp")
    if issued_at is None or expires_at is None or now > issued_at + LOGOUT_AGE:
        raise BadToken("too_old", f"a logout token is at most {LOGOUT_AGE} old")
    token_id, session = _bounded(claims, "jti"), _bounded(claims, "sid")
    subject = subject_of(claims) if "sub" in claims else ""
    if not token_id or not (subject or session):
        raise BadToken("incomplete", "a logout token has a jti, and a sub or a sid")
    return LogoutOrder(policy.issuer, subject, session, token_id, max(expires_at, issued_at + LOGOUT_AGE) + LEEWAY)


def _only_ours(claims: Mapping[str, Any], policy: IssuerPolicy) -> None:
    """For us, and made for us: another client's token that also names us was not asked for by us."""
    party = claims.get("azp")
    several = isinstance(claims.get("aud"), list) and len(claims["aud"]) > 1
    if (party is not None or several) and party != policy.audience:
        raise BadToken("wrong_party", "the ID token was made for another client")


def _bounded(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name, "")
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise BadToken("bad_claim", f"the token's `{name}` is not a short text")
    return value
