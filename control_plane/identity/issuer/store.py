"""Codes, device codes and refresh tokens in SQL. What can be used once is taken in one statement, so never twice."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from sqlalchemy import delete, select, update

from control_plane.foundation.clock import Clock
from control_plane.foundation.database import NO_TENANT, Database
from control_plane.foundation.identifiers import new_id
from control_plane.identity.issuer.clients import hash_secret
from control_plane.identity.issuer.tables import CodeRow, DeviceRow, RefreshRow

CODE_LIFE: Final = timedelta(minutes=1)  # a redirect and a request
DEVICE_LIFE: Final = timedelta(minutes=10)  # a person walks to another screen
DEVICE_INTERVAL: Final = 5  # seconds, RFC 8628's default
REFRESH_LIFE: Final = timedelta(hours=12)  # from the sign-in; rotation does not extend it
USER_CODE_ALPHABET: Final = (
    "BCDFGHJKLMNPQRSTVWXZ"  # RFC 8628, section 6.1: no vowels, nothing alike; 8 of them are 34 bits
)
MAX_DEVICES: Final = 1000  # waiting at once; anybody can start one


class Answer(StrEnum):
    WAITING = ""
    APPROVED = "approved"
    DENIED = "denied"


@dataclass(frozen=True)
class Code:
    client_id: str
    user: str
    redirect_uri: str
    scope: str
    nonce: str
    code_challenge: str
    authenticated_at: datetime
    code_challenge_method: str = "S256"

    def get_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_scope(self) -> str:
        return self.scope


@dataclass(frozen=True)
class Device:
    device_hash: str
    user_code: str
    client_id: str
    scope: str
    user: str
    answer: Answer
    authenticated_at: datetime | None
    expired: bool

    def get_client_id(self) -> str:
        return self.client_id

    def get_scope(self) -> str:
        return self.scope

    def get_user_code(self) -> str:
        return self.user_code

    def is_expired(self) -> bool:
        return self.expired


@dataclass(frozen=True)
class Refresh:
    family: str
    client_id: str
    user: str
    scope: str
    authenticated_at: datetime
    expires_at: datetime

    def check_client(self, client: object) -> bool:
        return getattr(client, "client_id", None) == self.client_id

    def get_scope(self) -> str:
        return self.scope


class Store:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def put_code(self, code: str, row: Code) -> None:
        now = self._clock.now()
        async with self._database.transaction(NO_TENANT) as session:
            await session.execute(delete(CodeRow).where(CodeRow.expires_at < now))
            session.add(
                CodeRow(
                    code_hash=hash_secret(code),
                    client_id=row.client_id,
                    user=row.user,
                    redirect_uri=row.redirect_uri,
                    scope=row.scope,
                    nonce=row.nonce,
                    code_challenge=row.code_challenge,
                    authenticated_at=row.authenticated_at,
                    expires_at=now + CODE_LIFE,
                )
            )

    async def take_code(self, code: str, client_id: str) -> Code | None:
        """The code, gone from now on whatever becomes of it."""
        async with self._database.transaction(NO_TENANT) as session:
            row = await session.get(CodeRow, hash_secret(code))
            if row is None:
                return None
            gone = await session.scalars(
                delete(CodeRow).where(CodeRow.code_hash == row.code_hash).returning(CodeRow.code_hash)
            )
            if gone.first() is None or row.expires_at <= self._clock.now() or row.client_id != client_id:
                return None
            return Code(
                row.client_id,
                row.user,
                row.redirect_uri,
                row.scope,
                row.nonce,
                row.code_challenge,
                row.authenticated_at,
            )

    async def put_device(self, device_code: str, user_code: str, client_id: str, scope: str) -> bool:
        """False when too many are waiting already."""
        now = self._clock.now()
        async with self._database.transaction(NO_TENANT) as session:
            await session.execute(delete(DeviceRow).where(DeviceRow.expires_at < now))
            waiting = (await session.scalars(select(DeviceRow.device_hash).limit(MAX_DEVICES))).all()
            if len(waiting) >= MAX_DEVICES:
                return False
            session.add(
                DeviceRow(
                    device_hash=hash_secret(device_code),
                    user_code=user_code,
                    client_id=client_id,
                    scope=scope,
                    user="",
                    answer=Answer.WAITING,
                    interval=DEVICE_INTERVAL,
                    polled_at=None,
                    authenticated_at=None,
                    expires_at=now + DEVICE_LIFE,
                )
            )
        return True

    async def device(self, device_code: str) -> Device | None:
        async with self._database.transaction(NO_TENANT) as session:
            return self._device(await session.get(DeviceRow, hash_secret(device_code)))

    async def device_waiting(self, user_code: str) -> Device | None:
        """The device that shows this code and waits for an answer."""
        async with self._database.transaction(NO_TENANT) as session:
            device = self._device(await session.scalar(select(DeviceRow).where(DeviceRow.user_code == user_code)))
        return None if device is None or device.expired or device.answer is not Answer.WAITING else device

    async def answer_device(self, user_code: str, user: str, answer: Answer, authenticated_at: datetime) -> bool:
        """False when it has been answered, or has expired, in the meantime."""
        async with self._database.transaction(NO_TENANT) as session:
            changed = await session.scalars(
                update(DeviceRow)
                .where(
                    DeviceRow.user_code == user_code,
                    DeviceRow.answer == Answer.WAITING.value,
                    DeviceRow.expires_at > self._clock.now(),
                )
                .values(user=user, answer=answer.value, authenticated_at=authenticated_at)
                .returning(DeviceRow.device_hash)
            )
            return changed.first() is not None

    async def polled_too_soon(self, device_hash: str) -> bool:
        """Note a poll. True when the interval was not kept, which grows by five seconds then (RFC 8628, 3.5)."""
        now = self._clock.now()
        async with self._database.transaction(NO_TENANT) as session:
            row = await session.get(DeviceRow, device_hash)
            if row is None:
                return False
            # A second of grace: the client's clock starts when our answer arrives.
            soon = row.polled_at is not None and now - row.polled_at < timedelta(seconds=row.interval - 1)
            row.polled_at = now
            if soon:
                row.interval += DEVICE_INTERVAL
            return soon

    async def take_device(self, device_hash: str) -> bool:
        """The approved device code is used up; False when somebody was quicker."""
        async with self._database.transaction(NO_TENANT) as session:
            gone = await session.scalars(
                delete(DeviceRow).where(DeviceRow.device_hash == device_hash).returning(DeviceRow.device_hash)
            )
            return gone.first() is not None

    async def put_refresh(self, token: str, row: Refresh) -> None:
        now = self._clock.now()
        async with self._database.transaction(NO_TENANT) as session:
            await session.execute(delete(RefreshRow).where(RefreshRow.expires_at < now))
            session.add(
                RefreshRow(
                    token_hash=hash_secret(token),
                    family=row.family,
                    client_id=row.client_id,
                    user=row.user,
                    scope=row.scope,
                    used=False,
                    authenticated_at=row.authenticated_at,
                    expires_at=row.expires_at,
                )
            )

    async def take_refresh(self, token: str, client_id: str) -> Refresh | None:
        """The token, used from now on. Shown a second time, every token of its family dies (RFC 9700, 4.14.2)."""
        async with self._database.transaction(NO_TENANT) as session:
            row = await session.get(RefreshRow, hash_secret(token), with_for_update=True)
            if row is None or row.client_id != client_id or row.expires_at <= self._clock.now():
                return None
            if row.used:
                await session.execute(delete(RefreshRow).where(RefreshRow.family == row.family))
                return None
            row.used = True
            return Refresh(row.family, row.client_id, row.user, row.scope, row.authenticated_at, row.expires_at)

    def new_family(self, client_id: str, user: str, scope: str, authenticated_at: datetime) -> Refresh:
        return Refresh(new_id("rtf"), client_id, user, scope, authenticated_at, authenticated_at + REFRESH_LIFE)

    def _device(self, row: DeviceRow | None) -> Device | None:
        if row is None:
            return None
        return Device(
            row.device_hash,
            row.user_code,
            row.client_id,
            row.scope,
            row.user,
            Answer(row.answer),
            row.authenticated_at,
            row.expires_at <= self._clock.now(),
        )


def new_user_code() -> str:
    letters = "".join(secrets.choice(USER_CODE_ALPHABET) for _ in range(8))
    return f"{letters[:4]}-{letters[4:]}"


def normal_user_code(typed: str) -> str:
    """What a person typed, in the form that is stored: case and separators do not matter."""
    letters = "".join(letter for letter in typed[:32].upper() if letter in USER_CODE_ALPHABET)
    return f"{letters[:4]}-{letters[4:]}"
