"""What time does to what waits for people: what nobody finished is closed. Run as a loop beside the requests."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import Final, NoReturn, Protocol

from control_plane.foundation.database import DATABASE_UNREACHABLE
from control_plane.foundation.errors import ProbegateError

EVERY: Final = timedelta(minutes=1)  # a review lapses after days; late by a minute is in time
_log = logging.getLogger(__name__)


class Lapsing(Protocol):
    async def lapse(self) -> int:
        """Close what is over; how many those were."""
        ...


async def keep_lapsing(service: Lapsing, every: timedelta = EVERY) -> NoReturn:
    """Again and again, until cancelled; a database that is away is tried again."""
    while True:
        try:
            await service.lapse()
        except (ProbegateError, OSError, *DATABASE_UNREACHABLE) as error:
            _log.warning("closing what nobody decided has to wait: %s", error)
        await asyncio.sleep(every.total_seconds())
