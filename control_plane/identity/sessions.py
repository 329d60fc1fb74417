"""The console's sessions: a sign-in becomes a cookie that names a row here; no token ever reaches the browser.

The cookie alone reads. A request that changes something must also show the session's CSRF token, in a form field or a
header, which a foreign page cannot know. A sign-in always makes a new cookie and ends the session that the browser came
with, so nobody can be given a session that somebody else knows. Entered from the console's sign-in, from the issuer's
back channel, and from `service.authenticate`.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import HTTPConnection, Request

from control_plane.foundation.clock import Clock
from control_plane.foundation.database import NO_TENANT, Database
from control_plane.identity.tables import LogoutTokenRow, SessionRow
from control_plane.identity.token_verifier import VerifiedToken

SESSION_LIFE: Final = timedelta(hours=8)  # a working day
CSRF_FIELD: Final = "csrf_token"
CSRF_HEADER: Final = "x-csrf-token"
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True)
class SignedIn:
    """A person whose ID token is verified: what a session is opened with."""

    token: VerifiedToken
    issuer_session: str  # `sid`, empty when the issuer names none


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

    async def open(self, person: SignedIn, replacing: str = "") -> str:
        """A new session instead of the one with the cookie `replacing`; the new cookie's value, which is not kept."""
        value, token = secrets.token_urlsafe(32), person.token
        now = self._clock.now()
        row = SessionRow(
            id_hash=_hash(value),
            issuer=token.issuer,
            subject=token.subject,
            client=token.client,
            display_name=token.display_name,
            csrf_token=secrets.token_urlsafe(32),
            authenticated_at=token.authenticated_at,
            expires_at=now + SESSION_LIFE,
            groups=sorted(token.groups),
            context_class=token.context_class,
            issuer_session=person.issuer_session,
        )
        async with self._database.transaction(NO_TENANT) as session:
            await session.execute(delete(SessionRow).where(SessionRow.expires_at < now))
            await session.execute(delete(SessionRow).where(SessionRow.id_hash == _hash(replacing)))
            session.add(row)
        return value

    async def find(self, connection: HTTPConnection) -> Session | None:
        value = connection.cookies.get(self.cookie)
        if not value:
            return None
        async with self._database.transaction(NO_TENANT) as session:
            row = await session.get(SessionRow, _hash(value))
        if row is None or row.expires_at <= self._clock.now():
            return None
        return Session(_token(row), row.csrf_token)

    async def close(self, connection: HTTPConnection) -> None:
        await self.forget(connection.cookies.get(self.cookie, ""))

    async def forget(self, cookie: str) -> None:
        async with self._database.transaction(NO_TENANT) as session:
            await session.execute(delete(SessionRow).where(SessionRow.id_hash == _hash(cookie)))

    async def obey(
        self, session: AsyncSession, issuer: str, subject: str, issuer_session: str, token_id: str, until: datetime
    ) -> int | None:
        """The issuer ends a sign-in, or all of a person's: how many sessions that were; None when it said so before.

        In the caller's transaction, where it is logged.
        """
        table, seen = SessionRow, LogoutTokenRow
        await session.execute(delete(seen).where(seen.expires_at < self._clock.now()))
        try:
            async with session.begin_nested():
                session.add(seen(token_hash=_hash(f"{issuer}|{token_id}"), expires_at=until))
        except IntegrityError:
            return None
        chosen = delete(table).where(table.issuer == issuer)
        if subject:
            chosen = chosen.where(table.subject == subject)
        if issuer_session:
            chosen = chosen.where(table.issuer_session == issuer_session)
        ended = await session.scalars(chosen.returning(table.id_hash))
        return len(ended.all())


async def proves_intent(connection: HTTPConnection, session: Session) -> bool:
    """Whether a request by cookie may change something: it reads only, or it shows the CSRF token."""
    if connection.scope.get("method") in _SAFE_METHODS:
        return True
    shown: object = connection.headers.get(CSRF_HEADER)
    if shown is None and isinstance(connection, Request) and "form" in connection.headers.get("content-type", ""):
        shown = (await connection.form()).get(CSRF_FIELD)
    return isinstance(shown, str) and hmac.compare_digest(shown.encode(), session.csrf_token.encode())


def _token(row: SessionRow) -> VerifiedToken:
    return VerifiedToken(
        issuer=row.issuer,
        subject=row.subject,
        client=row.client,
        display_name=row.display_name,
        authenticated_at=row.authenticated_at,
        expires_at=row.expires_at,
        scopes=frozenset(),
        groups=frozenset(row.groups),
        context_class=row.context_class,
    )


def _hash(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()
