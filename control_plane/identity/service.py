"""Who is asking? HTTP connection -> Principal, or Unauthenticated. The only place that mints a Principal.

    1. a bearer token    verified in `credentials`; when there is one, a cookie is not looked at
    2. a session cookie  of the console, with its CSRF token where something changes
    3. the log           a token's first use is an identity.accept; a refusal is an identity.refuse

Refusals are bounded in number: anybody can send rubbish, and the log must not be filled by it. What was left out is
counted in the next entry. Next: `policy` decides what the principal may do.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from starlette.requests import HTTPConnection

from control_plane.foundation.audit_trail import AuditAction, AuditEvent, AuditTrail, Outcome
from control_plane.foundation.clock import Clock
from control_plane.foundation.correlation import current_request_id
from control_plane.foundation.database import Database
from control_plane.foundation.errors import AuditUnavailable, Unauthenticated
from control_plane.foundation.identifiers import TenantId
from control_plane.identity.credentials import Credentials
from control_plane.identity.model import Limits, Principal, PrincipalKind
from control_plane.identity.sessions import Sessions, SignedIn, proves_intent
from control_plane.identity.token_verifier import BadToken, VerifiedToken

REFUSALS_PER_MINUTE: Final = 30  # entries; a person mistyping makes a few, a flood must not fill the log
MAX_SEEN_TOKENS: Final = 20_000  # first uses remembered, about 100 bytes each
_PLATFORM_LOG: Final = TenantId("platform")  # who somebody is comes before any tenant
_MINUTE: Final = timedelta(minutes=1)


class Identity:
    def __init__(
        self, credentials: Credentials, sessions: Sessions, database: Database, audit: AuditTrail, clock: Clock
    ) -> None:
        self._credentials = credentials
        self._sessions = sessions
        self._database = database
        self._audit = audit
        self._clock = clock
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._window_start: datetime | None = None
        self._in_window = 0
        self._left_out = 0

    async def authenticate(self, connection: HTTPConnection) -> Principal:
        """Raises Unauthenticated, AuditUnavailable, DependencyUnavailable (an issuer's keys)."""
        scheme, _, token = connection.headers.get("authorization", "").partition(" ")
        if scheme:
            if scheme.lower() != "bearer" or not token:
                await self._refuse("wrong_scheme", 'expected "Authorization: Bearer <token>"')
            return await self.authenticate_token(token.strip())
        session = await self._sessions.find(connection)
        if session is None:
            raise Unauthenticated(
                "sign in first: send a bearer token (`probegate login` fetches one)", code="no_credentials"
            )
        if not await proves_intent(connection, session):
            await self._refuse(
                "no_csrf_token", "the form has expired or came from elsewhere; reload the page and try again"
            )
        return _principal(session.token)

    async def authenticate_token(self, token: str) -> Principal:
        """Raises Unauthenticated, AuditUnavailable, DependencyUnavailable."""
        try:
            verified = await self._credentials.verify(token)
        except BadToken as bad:
            await self._refuse(bad.reason, str(bad))
            raise AssertionError("unreachable") from bad
        principal = _principal(verified)
        await self._accept_once(token, principal)
        return principal

    async def open_session(self, person: SignedIn, replacing: str = "") -> str:
        """The console signed somebody in: the cookie's value, instead of the one they came with."""
        cookie = await self._sessions.open(person, replacing)
        principal = _principal(person.token)
        detail = _accepted(principal) | {"session": hashlib.sha256(cookie.encode()).hexdigest()[:16]}
        try:
            await self._write(AuditAction.IDENTITY_ACCEPT, Outcome.SUCCESS, principal.id, detail)
        except AuditUnavailable:
            await self._sessions.forget(cookie)
            raise
        return cookie

    async def sign_out(self, connection: HTTPConnection, principal: Principal) -> None:
        """Raises AuditUnavailable; the session has ended even then."""
        await self._sessions.close(connection)
        await self._write(AuditAction.IDENTITY_SIGN_OUT, Outcome.SUCCESS, principal.id, {"by": "person", "sessions": 1})

    async def _accept_once(self, token: str, principal: Principal) -> None:
        digest = hashlib.sha256(token.encode()).hexdigest()[:32]
        if digest in self._seen:
            self._seen.move_to_end(digest)
            return
        detail = _accepted(principal) | {"token": digest[:16]}
        await self._write(AuditAction.IDENTITY_ACCEPT, Outcome.SUCCESS, principal.id, detail)
        self._seen[digest] = None
        if len(self._seen) > MAX_SEEN_TOKENS:
            self._seen.popitem(last=False)

    async def _refuse(self, reason: str, detail: str) -> None:
        now = self._clock.now()
        if self._window_start is None or now - self._window_start >= _MINUTE:
            self._window_start, self._in_window = now, 0
        if self._in_window < REFUSALS_PER_MINUTE:
            self._in_window += 1
            left_out, self._left_out = self._left_out, 0
            await self._write(
                AuditAction.IDENTITY_REFUSE, Outcome.REFUSED, "unknown", {"reason": reason, "left_out_before": left_out}
            )
        else:
            self._left_out += 1
        raise Unauthenticated(detail, code=reason)

    async def _write(self, action: AuditAction, outcome: Outcome, actor: str, detail: dict[str, object]) -> None:
        event = AuditEvent(action, outcome, actor, "", detail, request_id=current_request_id.get())
        async with self._database.transaction(_PLATFORM_LOG) as session:
            await self._audit.append(session, _PLATFORM_LOG, event)


def unsafe_operator() -> Principal:
    """The person at the server's own shell. No issuer vouched for them: they hold the keys of the embedded one."""
    return Principal(
        issuer="system",
        subject="operator",
        kind=PrincipalKind.PERSON,
        display_name="operator at the server's shell",
        authenticated_at=None,
        scopes=frozenset(),
    )


def unsafe_absent(
    issuer: str,
    subject: str,
    kind: PrincipalKind,
    display_name: str,
    groups: Iterable[str],
    limits: Limits | None,
) -> Principal:
    """Somebody who asked for something earlier, for a decision about just that now that it is due.

    No token vouches for them at this moment: it did when they asked. Policy decides anew, as of now, and `limits`
    of the token with which they asked take away from it what they took away then.
    """
    return Principal(
        issuer=issuer,
        subject=subject,
        kind=kind,
        display_name=display_name,
        authenticated_at=None,
        scopes=frozenset(),
        groups=frozenset(groups),
        limits=limits,
    )


def _accepted(principal: Principal) -> dict[str, object]:
    by = {"credential": principal.limits.credential} if principal.limits and principal.limits.credential else {}
    return {"kind": principal.kind.value, "name": principal.display_name, **by}


def _principal(token: VerifiedToken) -> Principal:
    return Principal(
        issuer=token.issuer,
        subject=token.subject,
        kind=PrincipalKind.SERVICE if token.of_program else PrincipalKind.PERSON,
        display_name=token.display_name,
        authenticated_at=token.authenticated_at,
        scopes=token.scopes,
        groups=token.groups,
        context_class=token.context_class,
        limits=token.limits,
    )
