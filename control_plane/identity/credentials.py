"""What comes in an Authorization header -> VerifiedToken: an issuer's JWT, or a personal token. One question, two kinds.

A service account of ours is looked up whenever a token of it is shown, so that disabling it holds at once and not when
its last token ends. Entered from `service.authenticate`.
"""

from __future__ import annotations

from typing import Protocol

from control_plane.identity.personal_tokens import PREFIX, PersonalTokens
from control_plane.identity.token_verifier import BadToken, TokenVerifier, VerifiedToken


class Accounts(Protocol):
    async def works(self, client_id: str) -> bool:
        """Whether the service account is there, not disabled, and before its end."""
        ...


class Credentials:
    """`own` is this server's own name as an issuer: the one whose service accounts `accounts` knows."""

    def __init__(self, verifier: TokenVerifier, personal: PersonalTokens, accounts: Accounts, own: str) -> None:
        self._verifier = verifier
        self._personal = personal
        self._accounts = accounts
        self._own = own

    async def verify(self, token: str) -> VerifiedToken:
        """Raises BadToken, DependencyUnavailable (an issuer's keys)."""
        if token.startswith(PREFIX):
            return await self._personal.verify(token)
        verified = await self._verifier.verify(token)
        if verified.of_program and verified.issuer == self._own and not await self._accounts.works(verified.subject):
            raise BadToken("account_ended", "this service account has ended, was disabled or never was")
        return verified
