"""One JWT -> its claims, or BadToken with a reason. Our own steps on joserfc, in this order:

    1. size                before anything is parsed
    2. shape               three segments of strict JSON; the header's alg, typ, kid, crit
    3. issuer              the claimed one must be in the allow-list: it selects the policy, it proves nothing yet
    4. algorithm, type     of that issuer's list; never from the issuer's metadata, never `none`, never a shared secret
    5. key                 by key id, from that issuer's set
    6. signature           joserfc, with the explicit list
    7. claims              iss, aud, exp, nbf, iat: exact, with a small leeway for clocks

What the claims mean is read by who asked: `token_verifier` (access tokens), `relying_party` (ID and logout tokens),
`workloads` (tokens of a pipeline).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from joserfc import jwt
from joserfc.errors import JoseError

from control_plane.identity.fetching import strict_json
from control_plane.identity.jwks import KeySource

MAX_TOKEN: Final = 16 * 1024  # characters; a token is about 1 KiB, one with many groups about 8
LEEWAY: Final = timedelta(seconds=30)  # clocks of two hosts with NTP
MAX_AGE: Final = timedelta(hours=24)  # a token issued longer ago is not a short-lived one, whatever its exp says
MAX_TEXT: Final = 255  # of a key id and of a subject: OpenID Connect Core 1.0, section 2
ASYMMETRIC: Final = frozenset(
    {"ES256", "ES384", "EdDSA", "Ed25519", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
)


class BadToken(Exception):
    """`reason` is a stable word for the log; `str()` is for the person who sent the token."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True)
class IssuerPolicy:
    """One issuer that is believed, and how much, for one kind of token."""

    issuer: str
    audience: str
    algorithms: tuple[str, ...]
    types: tuple[
        str, ...
    ]  # accepted `typ` headers, lower case: ("at+jwt",) as RFC 9068 says; "" where it may be absent
    keys: KeySource
    name_claim: str = "name"
    groups_claim: str = "groups"

    def __post_init__(self) -> None:
        if not self.algorithms or not set(self.algorithms) <= ASYMMETRIC:
            raise ValueError(f"issuer {self.issuer}: algorithms must be some of {', '.join(sorted(ASYMMETRIC))}")
        if not self.types or not self.audience:
            raise ValueError(f"issuer {self.issuer}: an audience and at least one token type must be named")


async def signed_claims(
    token: str, issuers: Mapping[str, IssuerPolicy], now: datetime
) -> tuple[IssuerPolicy, Mapping[str, Any]]:
    """Raises BadToken, DependencyUnavailable (the issuer's keys)."""
    if len(token) > MAX_TOKEN:
        raise BadToken("too_long", f"the token has {len(token)} characters; at most {MAX_TOKEN} are read")
    segments = token.split(".")
    if len(segments) != 3:
        raise BadToken("not_a_jwt", "the token is not a signed JWT; `probegate login` fetches one")
    header, payload = _segment(segments[0]), _segment(segments[1])
    policy = issuers.get(str(payload.get("iss", "")))
    if policy is None:
        raise BadToken("unknown_issuer", "the token's issuer is not one that this server trusts")
    key_id = _checked_header(header, policy)
    keys = await policy.keys.keys(key_id)
    if key_id is None and len(keys.keys) > 1:
        raise BadToken("no_key_id", "the token names no key, and its issuer has several")
    try:
        claims = jwt.decode(token, keys, algorithms=list(policy.algorithms)).claims
    except (JoseError, ValueError) as error:
        raise BadToken("bad_signature", "the token's signature does not verify") from error
    _check_claims(claims, policy, now)
    return policy, claims


def subject_of(claims: Mapping[str, Any]) -> str:
    """Raises BadToken: a subject stands in "<issuer>|<sub>", in paths and in the log."""
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= MAX_TEXT or not subject.isprintable() or "|" in subject:
        raise BadToken("bad_subject", "the token names no usable subject")
    return subject


def groups_of(claims: Mapping[str, Any], claim: str, most: int) -> frozenset[str]:
    """What is no list of names is none at all: a group too many is a right too many."""
    named = claims.get(claim)
    if not isinstance(named, list) or len(named) > most:
        return frozenset()
    return frozenset(name for name in named if isinstance(name, str) and 0 < len(name) <= MAX_TEXT)


def text_of(claims: Mapping[str, Any], claim: str, otherwise: str = "") -> str:
    """A claim that people read: printable and bounded, or the other text."""
    value = claims.get(claim)
    return value[:MAX_TEXT] if isinstance(value, str) and value and value.isprintable() else otherwise


def moment_of(claims: Mapping[str, Any], name: str) -> datetime | None:
    """Raises BadToken when it is there and no time."""
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1 << 40:
        raise BadToken("bad_claim", f"the token's `{name}` is not a time in seconds")
    return datetime.fromtimestamp(int(value), UTC)


def _check_claims(claims: Mapping[str, Any], policy: IssuerPolicy, now: datetime) -> None:
    if claims.get("iss") != policy.issuer:
        raise BadToken("wrong_issuer", "the token's issuer changed between two readings")
    audiences = claims.get("aud")
    named = [audiences] if isinstance(audiences, str) else audiences
    if not isinstance(named, list) or policy.audience not in named:
        raise BadToken(
            "wrong_audience", f"the token is not for this server: its `aud` must contain {policy.audience!r}"
        )
    expires_at = moment_of(claims, "exp")
    if expires_at is None or now >= expires_at + LEEWAY:
        raise BadToken("expired", "the token has expired; `probegate login` fetches a new one")
    issued_at, not_before = moment_of(claims, "iat"), moment_of(claims, "nbf")
    for moment in (issued_at, not_before):
        if moment is not None and moment > now + LEEWAY:
            raise BadToken("not_yet_valid", "the token is from the future: compare the clocks of issuer and server")
    if issued_at is not None and now - issued_at > MAX_AGE:
        raise BadToken("too_old", f"the token was issued more than {MAX_AGE} ago")


def _checked_header(header: Mapping[str, Any], policy: IssuerPolicy) -> str | None:
    if header.get("alg") not in policy.algorithms:
        raise BadToken("wrong_algorithm", f"the token must be signed by {' or '.join(policy.algorithms)}")
    kind = header.get("typ", "")
    if not isinstance(kind, str) or kind.lower().removeprefix("application/") not in policy.types:
        wanted = " or ".join(kind or "absent" for kind in policy.types)
        raise BadToken("wrong_type", f"the token's `typ` must be {wanted}: a token of another kind is no good here")
    if "crit" in header:
        raise BadToken("critical_header", "the token demands an extension that this server does not know")
    key_id = header.get("kid")
    if key_id is not None and (not isinstance(key_id, str) or not 0 < len(key_id) <= MAX_TEXT):
        raise BadToken("bad_key_id", "the token's key id is malformed")
    return key_id


def _segment(text: str) -> dict[str, Any]:
    try:
        document = strict_json(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, binascii.Error) as error:
        raise BadToken("not_a_jwt", "the token is not a signed JWT; `probegate login` fetches one") from error
    if not isinstance(document, dict):
        raise BadToken("not_a_jwt", "the token is not a signed JWT; `probegate login` fetches one")
    return document
