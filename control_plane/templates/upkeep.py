"""What time does to reviews: those that nobody finished are closed. Run as a loop beside the requests."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import Final, NoReturn

from control_plane.foundation.database import DATABASE_UNREACHABLE
from control_plane.foundation.errors import ProbegateError
from control_plane.templates.service import TemplateService

EVERY: Final = timedelta(minutes=1)  # a review lapses after days; late by a minute is in time
_log = logging.getLogger(__name__)


async def keep_lapsing(service: TemplateService, every: timedelta = EVERY) -> NoReturn:
    """Again and again, until cancelled; a database that is away is tried again."""
    while True:
        try:
            await service.lapse()
        except (ProbegateError, OSError, *DATABASE_UNREACHABLE) as error:
            _log.warning("closing reviews has to wait: %s", error)
        await asyncio.sleep(every.total_seconds())
