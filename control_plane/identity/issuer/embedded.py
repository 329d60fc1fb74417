"""The embedded issuer as one thing: what `bootstrap` builds, what `routes` serves, what the verifier takes keys from."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from argon2 import PasswordHasher

from control_plane.foundation.clock import Clock
from control_plane.foundation.database import Database
from control_plane.foundation.errors import TooMany
from control_plane.identity.issuer.clients import Clients
from control_plane.identity.issuer.grants import register_grants
from control_plane.identity.issuer.server import IssuerServer
from control_plane.identity.issuer.store import Answer, Store
from control_plane.identity.issuer.tokens import ALGORITHM, AUDIENCE, TokenMaker, load_or_make_key
from control_plane.identity.issuer.users import User, Users
from control_plane.identity.jwks import InProcessKeys
from control_plane.identity.token_verifier import IssuerPolicy

KEY_FILE: Final = "issuer-es256.json"
MAX_WRONG_CODES: Final = 10  # device codes that one person may guess in this process's life; there are 20^8


class EmbeddedIssuer:
    """`url` is both the issuer's name and where it is reached; `keys` is the state directory's folder of keys.

    Without `people` it gives tokens to tenants' service accounts only, and knows neither passwords nor login pages: so
    it is in the production profile, beside the issuers where people sign in.
    """

    def __init__(
        self,
        url: str,
        keys: Path,
        database: Database,
        clock: Clock,
        hasher: PasswordHasher | None = None,
        *,
        people: bool = True,
    ) -> None:
        self.url: Final = url
        self.people: Final = people
        self.https: Final = url.startswith("https://")
        self.form_cookie: Final = "__Host-probegate-form" if self.https else "probegate-form"
        self.users = Users(database, clock, hasher)
        self.clients = Clients(database, clock, url, people=people)
        self.store = Store(database, clock)
        self.tokens = TokenMaker(url, load_or_make_key(keys / KEY_FILE), clock)
        self.server = IssuerServer(self.clients, self.store, self.tokens)
        register_grants(self.server, self.users)
        self._wrong_codes: dict[str, int] = {}

    def policy(self) -> IssuerPolicy:
        """How much the API believes it: as much as any other issuer."""
        return IssuerPolicy(
            issuer=self.url,
            audience=AUDIENCE,
            algorithms=(ALGORITHM,),
            types=("at+jwt",),
            keys=InProcessKeys(self.tokens.public_jwks),
        )

    async def answer_device(self, code: str, user: User, answer: Answer, address: str) -> bool:
        """A person's yes or no to the device that shows this code. Raises TooMany for one who guesses."""
        key = f"{user.name} {address}"
        if self._wrong_codes.get(key, 0) >= MAX_WRONG_CODES:
            raise TooMany("too many wrong device codes")
        answered = await self.store.answer_device(code, user.name, answer, user.authenticated_at)
        if not answered:
            self._wrong_codes[key] = self._wrong_codes.get(key, 0) + 1
        return answered
