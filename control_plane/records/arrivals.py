"""Wake the streams of this process when a batch of their table is stored; other replicas' batches they find by looking."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from datetime import timedelta
from typing import Self

from control_plane.foundation.identifiers import TenantId


class Arrivals:
    def __init__(self) -> None:
        self._waiting: defaultdict[tuple[TenantId, str], set[asyncio.Event]] = defaultdict(set)

    def announce(self, tenant: TenantId, table: str) -> None:
        for event in self._waiting.get((tenant, table), ()):
            event.set()

    def subscribe(self, tenant: TenantId, table: str) -> Subscription:
        return Subscription(self._waiting, (tenant, table))


class Subscription:
    """`with arrivals.subscribe(...) as news: await news.wait(...)`; what is announced between two waits is not missed."""

    def __init__(
        self, waiting: defaultdict[tuple[TenantId, str], set[asyncio.Event]], key: tuple[TenantId, str]
    ) -> None:
        self._waiting = waiting
        self._key = key
        self._event = asyncio.Event()

    def __enter__(self) -> Self:
        self._waiting[self._key].add(self._event)
        return self

    def __exit__(self, *_: object) -> None:
        self._waiting[self._key].discard(self._event)
        if not self._waiting[self._key]:
            del self._waiting[self._key]

    async def wait(self, at_most: timedelta) -> None:
        """Until something was announced since the last wait, or the time is over."""
        try:
            await asyncio.wait_for(self._event.wait(), at_most.total_seconds())
        except TimeoutError:
            return
        self._event.clear()
