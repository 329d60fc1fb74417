"""What waits to be sent to one agent: in order, and only the newest word on each thing, so that it stays small.

A slow agent does not get a backlog of versions that were replaced while it read. A replaced message goes to the end, not
to the old one's place: a Reconcile that was put between them must not come after what it does not know of.
"""

from __future__ import annotations

import asyncio
from typing import Final

from wire.v1 import gateway_pb2

from control_plane.foundation.errors import TooMany

MAX_WAITING: Final = 20_000  # twice the specs that one tenant can have; more means that nobody reads


class Outgoing:
    def __init__(self) -> None:
        self._waiting: dict[str, gateway_pb2.ServerMessage] = {}
        self._filled = asyncio.Event()

    def put(self, about: str, message: gateway_pb2.ServerMessage) -> None:
        """In place of what still waits about the same. Raises TooMany when the agent has not read for very long."""
        self._waiting.pop(about, None)
        if len(self._waiting) >= MAX_WAITING:
            raise TooMany("this agent does not read what it is sent: connect again")
        self._waiting[about] = message
        self._filled.set()

    async def take(self) -> gateway_pb2.ServerMessage:
        while not self._waiting:
            self._filled.clear()
            await self._filled.wait()
        return self._waiting.pop(next(iter(self._waiting)))
