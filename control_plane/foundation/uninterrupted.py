"""Let a piece of work run to its end although the one who waits for it is cancelled.

A transaction that is cancelled twice in the middle of a driver's call (a stream that the peer and we end at once) leaves
SQLAlchemy's aiosqlite connection behind with a task that never ends. What is short and must not be cut goes through
here: the cancellation is delivered when the work is done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def uninterrupted(work: Coroutine[Any, Any, T]) -> T:
    """What the work returns or raises; CancelledError, after it ended, when the caller was cancelled meanwhile."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not task.cancelled():
            task.exception()  # looked at, so that nobody complains that nobody did
        raise cancelled
    return task.result()
