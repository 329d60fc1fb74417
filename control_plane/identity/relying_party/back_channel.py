"""The issuer's own word that a sign-in is over: a logout token -> the sessions of it ended, and logged.

OpenID Connect Back-Channel Logout 1.0. Whoever can reach the address can post here; only a token that the issuer signed
for our client, for this purpose, just now and never shown before, does anything.
"""

from __future__ import annotations

from control_plane.foundation.audit_trail import AuditAction, AuditEvent, AuditTrail, Outcome
from control_plane.foundation.clock import Clock
from control_plane.foundation.correlation import current_request_id
from control_plane.foundation.database import Database
from control_plane.foundation.identifiers import TenantId
from control_plane.identity.relying_party.clients import SignInIssuer
from control_plane.identity.relying_party.id_tokens import read_logout_token
from control_plane.identity.sessions import Sessions
from control_plane.identity.signed_claims import BadToken

_PLATFORM_LOG = TenantId("platform")


class BackChannel:
    def __init__(self, sessions: Sessions, database: Database, audit: AuditTrail, clock: Clock) -> None:
        self._sessions = sessions
        self._database = database
        self._audit = audit
        self._clock = clock

    async def obey(self, issuer: SignInIssuer, token: str) -> int:
        """How many sessions have ended. Raises BadToken, DependencyUnavailable, AuditUnavailable."""
        if issuer.policy is None:
            raise BadToken("unknown_issuer", "nobody signs in there")
        order = await read_logout_token(token, issuer.policy, self._clock.now())
        async with self._database.transaction(_PLATFORM_LOG) as session:
            ended = await self._sessions.obey(
                session, order.issuer, order.subject, order.issuer_session, order.token_id, order.until
            )
            if ended is None:
                raise BadToken("replayed", "this logout token was shown before")
            event = AuditEvent(
                AuditAction.IDENTITY_SIGN_OUT,
                Outcome.SUCCESS,
                f"{order.issuer}|{order.subject}" if order.subject else order.issuer,
                "",
                {"by": "issuer", "sessions": ended},
                current_request_id.get(),
            )
            await self._audit.append(session, _PLATFORM_LOG, event)
        return ended
