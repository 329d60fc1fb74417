"""Rows as they arrive -> events: `rows`, `accounting` when it changed, `end` when the tracepoint is over and drained.

Woken at once by batches that this process stored, and looking by itself for those of other replicas. The grant is asked
for again from time to time: a stream outlives no right. Every event's id is a place to resume behind. Whoever reads may go
at any moment; a transaction that runs then is let end.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from control_plane.foundation.clock import Clock
from control_plane.foundation.errors import ProbegateError
from control_plane.foundation.uninterrupted import uninterrupted
from control_plane.policy.model import Grant
from control_plane.records.arrivals import Arrivals
from control_plane.records.model import Place, Row, TracepointFacts
from control_plane.records.reading import accounting_of, all_final, newest_place, rows_after
from control_plane.records.service import RecordService
from control_plane.tracepoints.model import Accounting

LOOK_EVERY: Final = timedelta(seconds=1)  # for batches that another replica stored
KEEP_ALIVE: Final = timedelta(seconds=10)  # clients and proxies give up after some 30 seconds of silence
ASK_AGAIN: Final = timedelta(seconds=60)  # so long may a right be used after it was taken away
DRAIN: Final = timedelta(seconds=5)  # for the last batches of a tracepoint that has ended, if a host is silent
LOG_EVERY: Final = timedelta(seconds=10)  # one entry opens this much reading: one a batch would drown the log
ROWS_AT_ONCE: Final = 500


@dataclass(frozen=True)
class Rows:
    rows: tuple[Row, ...]
    place: Place


@dataclass(frozen=True)
class Counted:
    accounting: Accounting
    place: Place


@dataclass(frozen=True)
class End:
    reason: str
    accounting: Accounting
    place: Place


@dataclass(frozen=True)
class Quiet:
    """Nothing happened for a while: a comment keeps the connection open."""


Event = Rows | Counted | End | Quiet
AskAgain = Callable[[], Coroutine[Any, Any, Grant]]


@dataclass(frozen=True)
class _Look:
    """What one transaction saw."""

    rows: tuple[Row, ...]
    place: Place
    more: bool
    accounting: Accounting
    facts: TracepointFacts | None
    all_final: bool


class LiveRecords:
    def __init__(self, records: RecordService, arrivals: Arrivals, clock: Clock) -> None:
        self._records = records
        self._arrivals = arrivals
        self._clock = clock

    async def opened(
        self, grant: Grant, table: str, tracepoint: str | None, after: Place | None, ask_again: AskAgain
    ) -> AsyncIterator[Event]:
        """Check and log, then hand out the events. Raises NotFound before the first of them.

        Without `after` a tracepoint's rows come from its first one, a table's from now on.
        """
        tenant = grant.resource.tenant
        async with self._records.reading(grant, f"table/{table}") as session:
            await self._records.readable(session, grant, table, tracepoint)
            await self._records.log(session, grant, f"table/{table}", _detail(tracepoint, opened=True))
            if after is None:
                after = Place() if tracepoint is not None else await newest_place(session, tenant, table)
        return self._events(grant, table, tracepoint, after, ask_again)

    async def _events(
        self, grant: Grant, table: str, tracepoint: str | None, place: Place, ask_again: AskAgain
    ) -> AsyncIterator[Event]:
        counted = Accounting()
        asked = spoken = logged = self._clock.now()
        ended = None
        with self._arrivals.subscribe(grant.resource.tenant, table) as news:
            while True:
                now = self._clock.now()
                try:
                    if now - asked >= ASK_AGAIN:
                        grant, asked = await uninterrupted(ask_again()), now
                    log = now - logged >= LOG_EVERY
                    look = await uninterrupted(self._look(grant, table, tracepoint, place, log=log))
                except ProbegateError as error:
                    yield End(error.code, counted, place)
                    return
                place, logged = look.place, now if look.rows and now - logged >= LOG_EVERY else logged
                if look.rows:
                    yield Rows(look.rows, place)
                if look.accounting != counted:
                    counted = look.accounting
                    yield Counted(counted, place)
                if look.more:
                    continue
                if look.facts is not None and look.facts.ended:
                    ended = ended or now
                    if look.all_final or now - ended >= DRAIN:
                        yield End(look.facts.end_reason or "ended", counted, place)
                        return
                if look.rows:
                    spoken = now
                elif now - spoken >= KEEP_ALIVE:
                    yield Quiet()
                    spoken = now
                await news.wait(LOOK_EVERY)

    async def _look(self, grant: Grant, table: str, tracepoint: str | None, place: Place, *, log: bool) -> _Look:
        tenant = grant.resource.tenant
        async with self._records.reading(grant, f"table/{table}") as session:
            facts = await self._records.readable(session, grant, table, tracepoint)
            rows, place, more = await rows_after(session, tenant, table, tracepoint, place, ROWS_AT_ONCE)
            final = tracepoint is not None and await all_final(session, tenant, table, tracepoint)
            if rows and log:
                await self._records.log(session, grant, f"table/{table}", _detail(tracepoint, opened=False))
            return _Look(
                rows=tuple(rows),
                place=place,
                more=more,
                accounting=await accounting_of(session, tenant, table, tracepoint),
                facts=facts,
                all_final=final,
            )


def _detail(tracepoint: str | None, *, opened: bool) -> dict[str, object]:
    """What the log says of a stream: that it was opened, or that it goes on giving out rows."""
    named = {} if tracepoint is None else {"tracepoint": tracepoint}
    return {"what": "stream" if opened else "stream goes on", **named}
