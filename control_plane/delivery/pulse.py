"""Whether the control plane is well enough to let probes live on: Redis and the database answered just now.

Every heartbeat of every agent asks; one check answers all that come within FRESH_SECONDS. No answer, no lease renewal,
and so no probe: a control plane that could not stop a probe must not keep one alive either.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from control_plane.delivery.ports import SpecStore
from control_plane.foundation.database import NO_TENANT, Database
from control_plane.foundation.errors import DependencyUnavailable

FRESH_SECONDS: Final = 1.0  # "just now": so much later than one lease after the loss may the last probe end
ANSWER_SECONDS: Final = 4.0
_NO_DATABASE: Final = "the database does not answer"


class Pulse:
    def __init__(self, database: Database, store: SpecStore) -> None:
        self._database = database
        self._store = store
        self._felt: tuple[float, str] = (float("-inf"), "")  # when, and what was wrong
        self._asking = asyncio.Lock()
        self._question: asyncio.Task[None] | None = None  # to the database; never cancelled, so never two of them

    async def feel(self) -> None:
        """Returns when both are well. Raises DependencyUnavailable."""
        async with self._asking:  # who waits here gets the answer that the one in front got
            if time.monotonic() - self._felt[0] >= FRESH_SECONDS:
                wrong = await self._ask()
                self._felt = (time.monotonic(), wrong)
            if self._felt[1]:
                raise DependencyUnavailable(self._felt[1])

    async def _ask(self) -> str:
        try:
            await self._store.alive()
            if self._question is None:
                self._question = asyncio.create_task(self._ask_database())
            done, _ = await asyncio.wait({self._question}, timeout=ANSWER_SECONDS)
            if not done:
                return _NO_DATABASE
            question, self._question = self._question, None
            await question
        except DependencyUnavailable as error:
            return error.detail
        except (SQLAlchemyError, OSError):
            return _NO_DATABASE
        return ""

    async def _ask_database(self) -> None:
        async with self._database.transaction(NO_TENANT) as session:
            await session.execute(select(1))
