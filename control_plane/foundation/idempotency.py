"""A create that was asked for twice with one Idempotency-Key -> done once, answered twice with the same words.

The key belongs to one person in one tenant for a day. It is written before the work and filled with the answer after it:
the same question while the first is at work is a conflict, another question under a used key is refused.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final, TypeVar

from pydantic import BaseModel
from sqlalchemy import String, Text, delete
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.foundation.clock import Clock
from control_plane.foundation.database import Base, Database, UtcDateTime
from control_plane.foundation.errors import Conflict, Invalid
from control_plane.foundation.identifiers import TenantId

KEPT: Final = timedelta(hours=24)  # longer than any pipeline retries
STUCK: Final = timedelta(minutes=1)  # a process that died at work does not hold a key for a day
_KEY: Final = re.compile(r"[\x21-\x7e]{8,200}", re.ASCII)
_Answer = TypeVar("_Answer", bound=BaseModel)


class IdempotencyRow(Base):
    """`answer` is empty while the first request is at work."""

    __tablename__ = "idempotency_keys"

    tenant: Mapped[str] = mapped_column(String(63), primary_key=True)
    subject: Mapped[str] = mapped_column(String(700), primary_key=True)
    key: Mapped[str] = mapped_column(String(200), primary_key=True)
    question: Mapped[str] = mapped_column(String(64))
    answer: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(UtcDateTime)


class Idempotency:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def once(
        self,
        tenant: str,
        subject: str,
        key: str | None,
        body: BaseModel,
        kind: type[_Answer],
        work: Callable[[], Awaitable[_Answer]],
    ) -> _Answer:
        """The answer of `work`, or the one it gave to the same question before. Raises Invalid, Conflict, and what it raises.

        Without a key the work is just done. What failed is not kept: it may be tried again.
        """
        if key is None:
            return await work()
        if not _KEY.fullmatch(key):
            raise Invalid("an Idempotency-Key is 8 to 200 visible ASCII characters, a UUID for example")
        question = hashlib.sha256(f"{kind.__name__}\n{body.model_dump_json()}".encode()).hexdigest()
        kept = await self._claimed(tenant, subject, key, question)
        if kept is not None:
            return kind.model_validate_json(kept)
        try:
            answer = await work()
        except BaseException:
            await self._forgotten(tenant, subject, key)
            raise
        async with self._database.transaction(TenantId(tenant)) as session:
            row = await session.get(IdempotencyRow, (tenant, subject, key))
            if row is not None:
                row.answer = answer.model_dump_json()
        return answer

    async def _claimed(self, tenant: str, subject: str, key: str, question: str) -> str | None:
        """The answer that is there; None when this call has the key now."""
        now = self._clock.now()
        try:
            async with self._database.transaction(TenantId(tenant)) as session:
                await session.execute(
                    delete(IdempotencyRow).where(IdempotencyRow.tenant == tenant, IdempotencyRow.at < now - KEPT)
                )
                row = await session.get(IdempotencyRow, (tenant, subject, key), with_for_update=True)
                if row is None:
                    session.add(
                        IdempotencyRow(tenant=tenant, subject=subject, key=key, question=question, answer="", at=now)
                    )
                    await session.flush()
                    return None
                if row.question != question:
                    raise Invalid(
                        "this Idempotency-Key was used for another request: take a new one for each",
                        code="idempotency_key_reused",
                    )
                if row.answer:
                    return row.answer
                if now - row.at < STUCK:
                    raise Conflict("the same request is being worked on: ask again in a moment", code="in_progress")
                row.at = now
                return None
        except IntegrityError as error:
            raise Conflict("the same request is being worked on: ask again in a moment", code="in_progress") from error

    async def _forgotten(self, tenant: str, subject: str, key: str) -> None:
        table = IdempotencyRow
        async with self._database.transaction(TenantId(tenant)) as session:
            await session.execute(
                delete(table).where(table.tenant == tenant, table.subject == subject, table.key == key)
            )
