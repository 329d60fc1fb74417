"""One access token -> VerifiedToken, or BadToken: whose it is, and what its issuer says about the sign-in.

Whether it may be believed at all is decided by `signed_claims`. Entered from `service.authenticate`, which mints the
Principal from what leaves here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from control_plane.foundation.clock import Clock
from control_plane.identity.model import Limits
from control_plane.identity.signed_claims import (
    BadToken,
    IssuerPolicy,
    groups_of,
    moment_of,
    signed_claims,
    subject_of,
    text_of,
)

__all__ = ["BadToken", "IssuerPolicy", "TokenVerifier", "VerifiedToken"]

MAX_GROUPS: Final = 500  # of one token; MAX_TOKEN leaves room for a few hundred
NARROWING: Final = "probegate:"  # a scope "probegate:template:read" narrows the token to that permission


@dataclass(frozen=True)
class VerifiedToken:
    """What a valid token, a session or a personal token said. Lives inside `identity` only; the others get a Principal."""

    issuer: str
    subject: str
    client: str
    display_name: str
    authenticated_at: datetime | None
    expires_at: datetime
    scopes: frozenset[str]
    groups: frozenset[str] = frozenset()
    context_class: str = ""
    of_program: bool = False  # no person stands behind it
    limits: Limits | None = None


class TokenVerifier:
    def __init__(self, issuers: Sequence[IssuerPolicy], clock: Clock) -> None:
        self._issuers = {policy.issuer: policy for policy in issuers}
        self._clock = clock

    async def verify(self, token: str) -> VerifiedToken:
        """Raises BadToken, DependencyUnavailable (the issuer's keys)."""
        policy, claims = await signed_claims(token, self._issuers, self._clock.now())
        return read_token(claims, policy, self._clock.now())


def read_token(claims: Mapping[str, Any], policy: IssuerPolicy, now: datetime) -> VerifiedToken:
    """Claims whose signature, issuer, audience and times are checked. Raises BadToken."""
    subject = subject_of(claims)
    client = str(claims.get("client_id", claims.get("azp", "")))
    scopes = frozenset(str(claims.get("scope", "")).split())
    return VerifiedToken(
        issuer=policy.issuer,
        subject=subject,
        client=client,
        display_name=text_of(claims, policy.name_claim, subject),
        authenticated_at=moment_of(claims, "auth_time"),
        expires_at=moment_of(claims, "exp") or now,
        scopes=scopes,
        groups=groups_of(claims, policy.groups_claim, MAX_GROUPS),
        context_class=text_of(claims, "acr"),
        of_program=_of_program(claims, subject, client),
        limits=_limits(scopes),
    )


def _of_program(claims: Mapping[str, Any], subject: str, client: str) -> bool:
    """RFC 9068, section 2.2: a token that no person stands behind names the client as its subject.

    Two large issuers say it in words of their own beside it; believing those only ever takes rights away.
    """
    return (bool(client) and subject in {client, f"{client}@clients"}) or (
        claims.get("gty") == "client-credentials" or claims.get("idtyp") == "app"
    )


def _limits(scopes: frozenset[str]) -> Limits | None:
    narrowing = {scope.removeprefix(NARROWING) for scope in scopes if scope.startswith(NARROWING)}
    return Limits(frozenset(narrowing)) if narrowing else None
