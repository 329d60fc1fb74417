"""How fast a tenant's members ask, against their limit: beyond it TooMany. Counted by each replica for itself.

Asked after policy has said who is a member: to everybody else a tenant answers as if it were not there, so they can
neither learn of its limit nor use it up.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from control_plane.foundation.database import Database
from control_plane.foundation.identifiers import TenantId
from control_plane.policy.quotas import Quota, Quotas, beyond

LIMIT_GOOD_FOR: Final = 5.0  # seconds that a limit is believed without asking the database again
MAX_TENANTS: Final = 4096  # counted at once


@dataclass
class _Second:
    """The requests of one second, and the limit as it was read."""

    number: int
    count: int
    limit: int
    read_at: float


class RequestRates:
    def __init__(self, database: Database, quotas: Quotas, elapsed: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._quotas = quotas
        self._elapsed = elapsed
        self._seconds: OrderedDict[TenantId, _Second] = OrderedDict()

    async def count(self, tenant: TenantId) -> None:
        """One more request of a member. Raises TooMany."""
        now = self._elapsed()
        second = self._seconds.get(tenant)
        if second is None or now - second.read_at > LIMIT_GOOD_FOR:
            limit = await self._limit(tenant)
            second = self._seconds.setdefault(tenant, _Second(int(now), 0, limit, now))
            second.limit, second.read_at = limit, now
            if len(self._seconds) > MAX_TENANTS:
                self._seconds.popitem(last=False)
        if second.number != int(now):
            second.number, second.count = int(now), 0
        if second.count >= second.limit:
            raise beyond(tenant, Quota.REQUESTS_PER_SECOND, second.limit, second.count)
        second.count += 1

    async def _limit(self, tenant: TenantId) -> int:
        async with self._database.transaction(tenant) as session:
            return await self._quotas.limit(session, tenant, Quota.REQUESTS_PER_SECOND)
