"""Ends that the same envelope must not undo, written down before anybody hears of them. From `supervisor` and its lives.

A lock ends many probes at once, and each writing is an fsync of the whole file: what comes while one is being written goes
into the next together. One that comes alone is written at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from agents.admission.model import Refused
from agents.supervisor.lifecycle import EndReason

_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class Retirement:
    tracepoint_id: str
    version: int
    reason: EndReason


class Retirements:
    """Belongs to one event loop. `write` blocks, writes all of them or none, and raises Refused."""

    def __init__(self, write: Callable[[Sequence[tuple[str, int, str]]], None]) -> None:
        self._write = write
        self._waiting: dict[Retirement, None] = {}  # in the order in which they came
        self._writing = asyncio.Lock()

    def add(self, tracepoint_id: str, version: int, reason: EndReason) -> None:
        """Before anything that comes later: whoever calls `settled` waits for it."""
        self._waiting[Retirement(tracepoint_id, version, reason)] = None

    async def settled(self) -> None:
        """Returns when all that was added before is written, or said to be lost in the agent's log."""
        async with self._writing:
            group, self._waiting = tuple(self._waiting), {}
            if not group:
                return  # whoever wrote before took ours along
            try:
                await asyncio.to_thread(self._write, [(one.tracepoint_id, one.version, one.reason) for one in group])
            except Refused as error:
                names = ", ".join(sorted({one.tracepoint_id for one in group}))
                _LOG.error("the end of %s could not be written down: %s", names, error.detail)
