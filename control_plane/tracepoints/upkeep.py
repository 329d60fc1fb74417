"""What time does to tracepoints: TTLs that end, specs that Redis lost. Run as loops beside the requests.

The agents end a probe by themselves at the same moment; the sweep only writes it down, a little later, so that their
own word comes first. Publishing again puts back what the database knows to be live: the envelopes that were sealed.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import Final, NoReturn

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.delivery.ports import SpecStore
from control_plane.foundation.audit_trail import AuditTrail
from control_plane.foundation.clock import Clock
from control_plane.foundation.database import DATABASE_UNREACHABLE, Database, EveryTenant
from control_plane.foundation.errors import ProbegateError
from control_plane.foundation.identifiers import TenantId
from control_plane.masking.key_wrapping import KeyWrapper
from control_plane.signing.service import Signer
from control_plane.tracepoints.ending import log_end
from control_plane.tracepoints.lifecycle import LIVE, OVER, WAITING, Event, State, after
from control_plane.tracepoints.reading import agents_of
from control_plane.tracepoints.tables import TracepointRow

GRACE: Final = timedelta(seconds=5)  # after the TTL: the agents' last accounting comes first
STOP_GRACE: Final = timedelta(minutes=5)  # the longest lease: who has not answered a stop by then has lost it
EVERY: Final = timedelta(seconds=1)
BATCH: Final = 200  # tracepoints a sweep: each is a transaction of its own
_log = logging.getLogger(__name__)


class Upkeep:
    def __init__(
        self,
        database: Database,
        audit: AuditTrail,
        clock: Clock,
        store: SpecStore,
        signer: Signer,
        wrapper: KeyWrapper,
    ) -> None:
        self._database = database
        self._audit = audit
        self._clock = clock
        self._store = store
        self._signer = signer
        self._wrapper = wrapper

    async def sweep(self) -> int:
        """End what is over; how many that were."""
        now = self._clock.now()
        over = or_(
            TracepointRow.not_after <= now - GRACE,
            (TracepointRow.state == State.STOPPING.value) & (TracepointRow.stopped_at <= now - STOP_GRACE),
        )
        not_over = TracepointRow.state.not_in([state.value for state in (*OVER, *WAITING)])
        async with self._database.transaction(EveryTenant("which tracepoints are over")) as session:
            wanted = select(TracepointRow.tenant, TracepointRow.id).where(not_over, over).limit(BATCH)
            found = (await session.execute(wanted)).all()
        ended = 0
        for tenant, tracepoint_id in found:
            async with self._database.transaction(TenantId(tenant)) as session:
                ended += await self._expire(session, tenant, tracepoint_id)
        return ended

    async def republish(self) -> int:
        """Publish again all that is live, if the store came up empty; how many that were."""
        if not await self._store.lost():
            return 0
        async with self._database.transaction(EveryTenant("what the store has to hold again")) as session:
            rows = await session.execute(
                select(TracepointRow.tenant, TracepointRow.id, TracepointRow.version, TracepointRow.envelope).where(
                    TracepointRow.state.in_([state.value for state in LIVE]),
                    TracepointRow.not_after > self._clock.now(),
                )
            )
            live = rows.all()
        published = 0
        for tenant, tracepoint_id, version, wrapped in live:
            try:
                spec = self._signer.reopen(self._wrapper.unwrap(TenantId(tenant), version, wrapped))
            except ProbegateError as error:
                _log.error("the stored envelope of %s is not one of ours and stays away: %s", tracepoint_id, error)
                continue
            await self._store.publish(spec)
            published += 1
        await self._store.restored()
        _log.warning("the spec store had lost its contents: published %d live tracepoints again", published)
        return published

    async def keep_up(self, every: timedelta = EVERY) -> NoReturn:
        """Both, again and again, until cancelled; a dependency that is away is tried again."""
        while True:
            for step in (self.republish, self.sweep):
                try:
                    await step()
                except (ProbegateError, OSError, *DATABASE_UNREACHABLE) as error:
                    _log.warning("%s has to wait: %s", step.__name__, error)
            await asyncio.sleep(every.total_seconds())

    async def _expire(self, session: AsyncSession, tenant: str, tracepoint_id: str) -> bool:
        row = await session.get(TracepointRow, (tenant, tracepoint_id), with_for_update=True)
        state = after(State(row.state), Event.EXPIRE) if row is not None else None
        now = self._clock.now()
        if row is None or state is None or (row.not_after > now - GRACE and row.stopped_at is None):
            return False  # renewed or ended in between
        row.state = state.value
        row.ended_at = min(now, row.not_after)
        row.end_reason = row.end_reason or "ttl"
        await log_end(session, self._audit, row, await agents_of(session, row), "system")
        return True
