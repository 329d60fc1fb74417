"""The embedded issuer's signatures: a client, a user, a scope -> access token (RFC 9068) and ID token.

ES256, one key in the state directory, made at the first start. Verified by `identity.token_verifier` like anybody's.
"""

from __future__ import annotations

import json
import os
import secrets
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from joserfc import jwt
from joserfc.jwk import ECKey

from control_plane.foundation.clock import Clock
from control_plane.identity.issuer.users import User

ACCESS_LIFE: Final = timedelta(
    minutes=15
)  # how long a disabled user's token still works; Authlib's default is ten days
ALGORITHM: Final = "ES256"
AUDIENCE: Final = "probegate"


class TokenMaker:
    def __init__(self, issuer: str, key: ECKey, clock: Clock) -> None:
        self.issuer: Final = issuer
        self._key = key
        self._clock = clock

    def access_token(self, client_id: str, user: User | None, scope: str, actor: dict[str, str] | None = None) -> str:
        """Without a user the client itself is the subject: a service account; `actor` is the workload that became it."""
        now = int(self._clock.now().timestamp())
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "sub": user.name if user else client_id,
            "aud": AUDIENCE,
            "client_id": client_id,
            "iat": now,
            "exp": now + int(ACCESS_LIFE.total_seconds()),
            "jti": secrets.token_urlsafe(16),
            "scope": scope,
        }
        if actor:
            claims["act"] = actor  # RFC 8693, section 4.1
        if user:
            claims |= {"name": user.display_name, "auth_time": int(user.authenticated_at.timestamp())}
        return self._sign(claims, "at+jwt")

    def id_token(self, client_id: str, user: User, nonce: str) -> str:
        now = int(self._clock.now().timestamp())
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "sub": user.name,
            "aud": client_id,
            "iat": now,
            "exp": now + int(ACCESS_LIFE.total_seconds()),
            "auth_time": int(user.authenticated_at.timestamp()),
            "name": user.display_name,
        }
        if nonce:
            claims["nonce"] = nonce
        return self._sign(claims, "JWT")

    def public_jwks(self) -> dict[str, Any]:
        key = self._key.as_dict(private=False)
        return {"keys": [dict(key) | {"use": "sig", "alg": ALGORITHM}]}

    def _sign(self, claims: dict[str, Any], kind: str) -> str:
        header = {"alg": ALGORITHM, "kid": self._key.kid, "typ": kind}
        return jwt.encode(header, claims, self._key, algorithms=[ALGORITHM])


def load_or_make_key(path: Path) -> ECKey:
    """The signing key at `path`, readable by its owner only."""
    if path.exists():
        return ECKey.import_key(json.loads(path.read_text(encoding="utf-8")))
    key = ECKey.generate_key("P-256", private=True)
    stored = dict(key.as_dict(private=True)) | {"kid": key.thumbprint()}
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(stored, file)
    return ECKey.import_key(stored)
