"""The console's sessions: a verified token becomes a cookie that names a row here; the token never reaches the browser.

The cookie alone reads. A request that changes something must also show the session's CSRF token, in a form field or a
header, which a foreign page cannot know. Entered from the console's sign-in and from `service.authenticate`.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete
from starlette.requests import HTTPConnection, Request

from control_plane.foundation.clock import Clock
from control_plane.foundation.database import NO_TENANT, Database
from control_plane.identity.tables import SessionRow
from control_plane.identity.token_verifier import VerifiedToken

SESSION_LIFE: Final = timedelta(hours=8)  # a working day
CSRF_FIELD: Final = "csrf_token"
CSRF_HEADER: Final = "x-csrf-token"
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True)
class Session:
    token: VerifiedToken
    csrf_token: str


class Sessions:
    def __init__(self, database: Database, clock: Clock, *, secure: bool) -> None:
        self._database = database
        self._clock = clock
        # `__Host-` binds the cookie to this very host, but browsers accept it over HTTPS only.
        self.cookie: Final = "__Host-probegate" if secure else "probegate"
        self.secure: Final = secure

    async def open(self, token: VerifiedToken) -> str:
        """A new session; the cookie's value, which is not kept."""
        value = secrets.token_urlsafe(32)
        now = self._clock.now()
        async with self._database.transaction(NO_TENANT) as session:
            await session.execute(delete(SessionRow).where(SessionRow.expires_at < now))
            session.add(
                SessionRow(
                    id_hash=_hash(value),
                    issuer=token.issuer,
                    subject=token.subject,
                    client=token.client,
                    display_name=token.display_name,
                    csrf_token=secrets.token_urlsafe(32),
                    authenticated_at=token.authenticated_at or now,
                    expires_at=now + SESSION_LIFE,
                )
            )
        return value

    async def find(self, connection: HTTPConnection) -> Session | None:
        value = connection.cookies.get(self.cookie)
        if not value:
            return None
        async with self._database.transaction(NO_TENANT) as session:
            row = await session.get(SessionRow, _hash(value))
        if row is None or row.expires_at <= self._clock.now():
            return None
        return Session(_token(row, row.expires_at), row.csrf_token)

    async def close(self, connection: HTTPConnection) -> None:
        async with self._database.transaction(NO_TENANT) as session:
            await session.execute(
                delete(SessionRow).where(SessionRow.id_hash == _hash(connection.cookies.get(self.cookie, "")))
            )


async def proves_intent(connection: HTTPConnection, session: Session) -> bool:
    """Whether a request by cookie may change something: it reads only, or it shows the CSRF token."""
    if connection.scope.get("method") in _SAFE_METHODS:
        return True
    shown: object = connection.headers.get(CSRF_HEADER)
    if shown is None and isinstance(connection, Request) and "form" in connection.headers.get("content-type", ""):
        shown = (await connection.form()).get(CSRF_FIELD)
    return isinstance(shown, str) and hmac.compare_digest(shown.encode(), session.csrf_token.encode())


def _token(row: SessionRow, expires_at: datetime) -> VerifiedToken:
    return VerifiedToken(
        issuer=row.issuer,
        subject=row.subject,
        client=row.client,
        display_name=row.display_name,
        authenticated_at=row.authenticated_at,
        expires_at=expires_at,
        scopes=frozenset(),
    )


def _hash(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()
