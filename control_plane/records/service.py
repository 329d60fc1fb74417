"""A grant -> tables, rows and what was counted. Every read is in the log before its rows are returned.

The entry `records.read` stands in the transaction that reads; without it there are no rows. A table that the tenant
does not have answers as one that another tenant has: it is not there.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.foundation.audit_trail import AuditAction, AuditEvent, AuditTrail, Outcome
from control_plane.foundation.audited import audited
from control_plane.foundation.clock import Clock
from control_plane.foundation.correlation import current_request_id
from control_plane.foundation.database import Database
from control_plane.foundation.errors import Denied, Invalid, NotFound
from control_plane.foundation.identifiers import TenantId
from control_plane.policy.conditions import Facts
from control_plane.policy.model import Grant
from control_plane.policy.terms import confirm, rows_facts
from control_plane.records.model import Answer, Place, Table, TracepointFacts
from control_plane.records.ports import TracepointDirectory
from control_plane.records.reading import accounting_of, last_rows, masking_of, rows_after, tables_of

MAX_ROWS: Final = 1000  # of one answer; a stream or an export gives all
_CURSOR: Final = re.compile(rb"r1:([0-9]{1,18}):([0-9]{1,9})")


class RecordService:
    def __init__(self, database: Database, audit: AuditTrail, tracepoints: TracepointDirectory, clock: Clock) -> None:
        self._database = database
        self._audit = audit
        self._tracepoints = tracepoints
        self._clock = clock

    async def tables(self, grant: Grant) -> tuple[Table, ...]:
        """Every version of every table that may be read, without a row of them."""
        async with self.reading(grant, "table/*") as session:
            await self.log(session, grant, "table/*", {"what": "tables"})
            found = await tables_of(session, grant.resource.tenant)
            hidden = {name for name in {table.name for table in found} if not await self._may(session, grant, name)}
            return tuple(table for table in found if table.name not in hidden)

    async def rows(
        self, grant: Grant, table: str, limit: int, after: str = "", tracepoint: str | None = None
    ) -> Answer:
        """The newest rows, or with a cursor the next ones behind it; the accounting always. Raises NotFound, Invalid."""
        if not 1 <= limit <= MAX_ROWS:
            raise Invalid(f"limit is {limit}: ask for 1 to {MAX_ROWS} rows, or stream or export the table")
        place = read_cursor(after) if after else None
        tenant = grant.resource.tenant
        async with self.reading(grant, f"table/{table}") as session:
            await self.readable(session, grant, table, tracepoint)
            if place is None:
                rows, place = await last_rows(session, tenant, table, tracepoint, limit)
                more = False
            else:
                rows, place, more = await rows_after(session, tenant, table, tracepoint, place, limit)
            accounting = await accounting_of(session, tenant, table, tracepoint)
            masking = await masking_of(session, tenant, table, tracepoint)
            await self.log(session, grant, f"table/{table}", {"rows": len(rows), **_named(tracepoint)})
        return Answer(tuple(rows), place, more, accounting, masking)

    async def readable(
        self, session: AsyncSession, grant: Grant, table: str, tracepoint: str | None
    ) -> TracepointFacts | None:
        """It is there, and no rule about what it holds speaks against it. Raises NotFound, Denied.

        Asked again at every look of a stream: a tracepoint that writes into the table later counts from then on.
        """
        facts = await self._must_exist(session, grant.resource.tenant, table, tracepoint)
        await self._confirm(session, grant, table, tracepoint)
        return facts

    async def _confirm(self, session: AsyncSession, grant: Grant, table: str, tracepoint: str | None) -> None:
        """The rules that travelled in the grant, asked about each tracepoint whose rows would be read."""
        if grant.terms is None:
            return
        tenant, now = grant.resource.tenant, self._clock.now()
        sources = [
            source
            for source in await self._tracepoints.sources(session, tenant, table)
            if tracepoint in {None, source.tracepoint}
        ]
        if not sources:  # nothing is known of where its rows are from, so every deny about that holds
            confirm(grant, Facts(now))
        for source in sources:
            masked = await masking_of(session, tenant, table, source.tracepoint)
            classes = frozenset(word for one in masked for word in (one.rule, one.rule.rpartition("/")[2]))
            facts = rows_facts(
                now,
                labels=source.labels,
                service=source.service,
                template=source.template,
                field_classes=classes if masked else None,
            )
            confirm(grant, facts)

    async def _may(self, session: AsyncSession, grant: Grant, table: str) -> bool:
        try:
            await self._confirm(session, grant, table, None)
        except Denied:
            return False
        return True

    async def _must_exist(
        self, session: AsyncSession, tenant: TenantId, table: str, tracepoint: str | None
    ) -> TracepointFacts | None:
        """Raises NotFound. A table is there once it has a batch, or a tracepoint that will write into it."""
        facts = None
        if tracepoint is not None:
            facts = await self._tracepoints.facts(session, tenant, tracepoint)
            if facts is None or facts.table != table:
                raise NotFound(f"there is no tracepoint {tracepoint[:64]!r} that writes into table {table[:64]!r}")
        elif not await tables_of(session, tenant, table):
            raise NotFound(f"there is no table {table[:64]!r}; `probegate tables` lists them")
        return facts

    def reading(self, grant: Grant, resource: str) -> AbstractAsyncContextManager[AsyncSession]:
        """A transaction to read in; a refusal inside is logged as one."""
        return audited(
            self._database,
            self._audit,
            grant.resource.tenant,
            grant.principal.id,
            AuditAction.RECORDS_READ,
            resource[:100],
        )

    async def log(self, session: AsyncSession, grant: Grant, resource: str, detail: Mapping[str, object]) -> None:
        """What is read, never what it says."""
        event = AuditEvent(
            action=AuditAction.RECORDS_READ,
            outcome=Outcome.SUCCESS,
            actor=grant.principal.id,
            resource=resource,
            detail=detail,
            request_id=current_request_id.get(),
        )
        await self._audit.append(session, grant.resource.tenant, event)


def _named(tracepoint: str | None) -> dict[str, object]:
    return {} if tracepoint is None else {"tracepoint": tracepoint}


def cursor(place: Place) -> str:
    """A place as opaque text."""
    return base64.urlsafe_b64encode(f"r1:{place.position}:{place.index}".encode()).decode().rstrip("=")


def read_cursor(text: str) -> Place:
    """Raises Invalid for text that `cursor` did not make."""
    padded = text[:64] + "=" * (-len(text[:64]) % 4)
    try:
        found = _CURSOR.fullmatch(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError):
        found = None
    if found is None:
        raise Invalid("the cursor is not one that this server gave: leave it out, and begin again", code="bad_cursor")
    return Place(int(found[1]), int(found[2]))
