"""People of the embedded issuer: name and password -> User, or a refusal that does not say which of the two was wrong.

Failures are counted by name and by address; past the bound the answer is "wait", before the password is looked at.
Next: `grants` binds the user to a code.
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from control_plane.foundation.clock import Clock
from control_plane.foundation.database import NO_TENANT, Database
from control_plane.foundation.errors import Conflict, Invalid, TooMany
from control_plane.identity.issuer.tables import UserRow

NAME_PATTERN: Final = re.compile(r"[a-z][a-z0-9._-]{0,62}[a-z0-9]")
MIN_PASSWORD: Final = 10  # characters; NIST SP 800-63B asks for 8 at least
MAX_PASSWORD: Final = 256  # argon2 reads all of it: not an invitation to megabytes
FAILURES: Final = 5  # wrong passwords for one name, or from one address, before it must wait
WINDOW: Final = timedelta(minutes=5)
MAX_COUNTED: Final = 10_000  # names and addresses remembered
HASHING_AT_ONCE: Final = 2  # one argon2 hash takes 64 MiB and a core


@dataclass(frozen=True)
class User:
    """Somebody who exists and is not disabled. `authenticated_at` is when the password was shown."""

    name: str
    display_name: str
    authenticated_at: datetime


class Users:
    def __init__(self, database: Database, clock: Clock, hasher: PasswordHasher | None = None) -> None:
        self._database = database
        self._clock = clock
        self._hasher = hasher or PasswordHasher()  # argon2id, RFC 9106's second recommended option
        self._nobody = self._hasher.hash(
            "the password of nobody"
        )  # so that an absent user takes as long as a present one
        self._failures: OrderedDict[str, tuple[int, datetime]] = OrderedDict()
        self._hashing = asyncio.Semaphore(HASHING_AT_ONCE)

    async def add(self, name: str, password: str, display_name: str = "") -> None:
        """Raises Invalid, Conflict."""
        if not NAME_PATTERN.fullmatch(name):
            raise Invalid(f"user name {name!r}: expected 2 to 64 lower-case letters, digits and . _ -, a letter first")
        if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
            raise Invalid(f"password: expected {MIN_PASSWORD} to {MAX_PASSWORD} characters, got {len(password)}")
        hashed = await asyncio.to_thread(self._hasher.hash, password)
        async with self._database.transaction(NO_TENANT) as session:
            if await session.get(UserRow, name) is not None:
                raise Conflict(f"there is a user {name!r} already", code="name_taken")
            session.add(
                UserRow(
                    name=name,
                    display_name=display_name or name,
                    password_hash=hashed,
                    disabled=False,
                    created_at=self._clock.now(),
                )
            )

    async def check(self, name: str, password: str, address: str) -> User | None:
        """None when name and password do not belong together. Raises TooMany."""
        self._throttle(f"name {name}", f"address {address}")
        async with self._database.transaction(NO_TENANT) as session:
            row = await session.get(UserRow, name) if NAME_PATTERN.fullmatch(name) else None
        known = row is not None and not row.disabled
        async with self._hashing:
            right = await asyncio.to_thread(self._matches, row.password_hash if row else self._nobody, password)
        if row is None or not known or not right:
            self._count_failure(f"name {name}", f"address {address}")
            return None
        self._failures.pop(f"name {name}", None)
        return User(row.name, row.display_name, self._clock.now())

    async def find(self, name: str, authenticated_at: datetime) -> User | None:
        """The user behind a code or a refresh token, unless disabled since."""
        async with self._database.transaction(NO_TENANT) as session:
            row = await session.get(UserRow, name)
        return None if row is None or row.disabled else User(row.name, row.display_name, authenticated_at)

    def _matches(self, hashed: str, password: str) -> bool:
        try:
            return len(password) <= MAX_PASSWORD and self._hasher.verify(hashed, password)
        except (VerificationError, InvalidHashError):
            return False

    def _throttle(self, *keys: str) -> None:
        now = self._clock.now()
        for key in keys:
            count, since = self._failures.get(key, (0, now))
            if now - since >= WINDOW:
                self._failures.pop(key, None)
            elif count >= FAILURES:
                raise TooMany(f"too many wrong passwords; wait {WINDOW.seconds // 60} minutes and try again")

    def _count_failure(self, *keys: str) -> None:
        now = self._clock.now()
        for key in keys:
            count, since = self._failures.get(key, (0, now))
            self._failures[key] = (count + 1, since)
            self._failures.move_to_end(key)
            if len(self._failures) > MAX_COUNTED:
                self._failures.popitem(last=False)
