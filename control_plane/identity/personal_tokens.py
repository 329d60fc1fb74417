"""A personal token -> VerifiedToken that may do less than its person, or BadToken.

`pg_<tenant>_<32 letters and digits><6 of checksum>`: scanners of repositories find it by its beginning and tell it from
a look-alike by the checksum, and so do we, before the database is asked. Stored as SHA-256; compared row by row of the
one tenant that it names. Made by `control_plane.accounts`; entered from `service.authenticate`.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string
import zlib
from datetime import timedelta
from typing import Final

from sqlalchemy import select

from control_plane.foundation.clock import Clock
from control_plane.foundation.database import Database
from control_plane.foundation.identifiers import TenantId
from control_plane.identity.model import Limits
from control_plane.identity.signed_claims import BadToken
from control_plane.identity.tables import PersonalTokenRow
from control_plane.identity.token_verifier import VerifiedToken

PREFIX: Final = "pg_"
SHOWN: Final = 4  # characters of the secret part that are kept in the clear: 24 of 190 bits
USED_EVERY: Final = timedelta(minutes=1)  # how exact "last used" is; each use would be a write
_ALPHABET: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_SECRET: Final = 32  # characters of 62: 190 bits
_CHECKSUM: Final = 6  # a CRC-32 in base 62
_FORM: Final = re.compile(r"pg_([a-z0-9-]{1,63})_([0-9A-Za-z]{32})([0-9A-Za-z]{6})")


def new_token(tenant: TenantId) -> str:
    body = f"{PREFIX}{tenant}_" + "".join(secrets.choice(_ALPHABET) for _ in range(_SECRET))
    return body + checksum(body)


def checksum(body: str) -> str:
    value, letters = zlib.crc32(body.encode()), ""
    for _ in range(_CHECKSUM):
        value, digit = divmod(value, len(_ALPHABET))
        letters = _ALPHABET[digit] + letters
    return letters


def shown_part(token: str) -> str:
    """What people recognise it by."""
    return token[: token.rindex("_") + 1 + SHOWN]


def token_hash(token: str) -> str:
    """SHA-256 is enough for 190 random bits; a password would need more."""
    return hashlib.sha256(token.encode()).hexdigest()


class PersonalTokens:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def verify(self, token: str) -> VerifiedToken:
        """Raises BadToken: the same words whether it never was, has ended, or was revoked."""
        form = _FORM.fullmatch(token)
        if form is None or checksum(token[:-_CHECKSUM]) != form[3]:
            raise BadToken("not_a_token", "this is no token of this server: it was mistyped or cut off")
        tenant, now = TenantId(form[1]), self._clock.now()
        table = PersonalTokenRow
        async with self._database.transaction(tenant) as session:
            row = await session.scalar(
                select(table).where(table.tenant == tenant, table.token_hash == token_hash(token))
            )
            if row is None or row.revoked_at is not None or row.expires_at <= now:
                raise BadToken("token_ended", "this token has ended, was revoked or never was: make a new one")
            if row.last_used_at is None or now - row.last_used_at >= USED_EVERY:
                row.last_used_at = now
        issuer, _, subject = row.subject.partition("|")
        return VerifiedToken(
            issuer=issuer,
            subject=subject,
            client="",
            display_name=row.display_name,
            authenticated_at=None,  # nobody has shown who they are just now: good for no step-up
            expires_at=row.expires_at,
            scopes=frozenset(),
            limits=Limits(frozenset(row.permissions), row.tenant, row.id),
        )
