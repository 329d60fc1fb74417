"""Read a tenant's log, for those who may: search, export, proofs. Grant in, entries and proofs out.

Reading is an action like any other: the entry `audit.read` stands in the transaction that finds the answer, and the
answer is returned only after it was committed. What `export` returns is verified offline by `wire.audit_export`.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import Select, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute
from wire import audit_lines, merkle
from wire.merkle import Node, Range

from control_plane.audit.service import AuditLog
from control_plane.audit.tables import AuditCheckpointRow, AuditEntryRow, AuditNodeRow
from control_plane.foundation.audit_trail import AuditAction, AuditEvent, Outcome
from control_plane.foundation.database import Database
from control_plane.foundation.errors import Invalid, NotFound
from control_plane.foundation.identifiers import TenantId
from control_plane.foundation.uninterrupted import uninterrupted
from control_plane.policy.model import Grant

MAX_PAGE: Final = 1000  # entries in one answer; at most 64 MiB of the largest ones, some 500 KiB of usual ones
EXPORT_CHUNK: Final = 1000  # entries a transaction: SQLite has one writer, and an export must not keep it waiting

_CURSOR: Final = re.compile(rb"audit:([0-9]{1,18})")


@dataclass(frozen=True)
class AuditQuery:
    """What to search for; every filter that is set must match. A trailing `*` in the texts matches any ending."""

    action: str = ""
    actor: str = ""
    resource: str = ""
    outcome: str = ""
    request_id: str = ""
    since: datetime | None = None
    until: datetime | None = None  # not included
    limit: int = 100
    cursor: str = ""
    oldest_first: bool = False


@dataclass(frozen=True)
class LoggedEntry:
    """One entry as it was written: `entry` are the bytes that `leaf` is the hash of."""

    index: int
    leaf: bytes
    entry: bytes

    def members(self) -> Mapping[str, Any]:
        parsed: Mapping[str, Any] = json.loads(self.entry)
        return parsed


@dataclass(frozen=True)
class Page:
    entries: tuple[LoggedEntry, ...]
    next_cursor: str  # empty: that was all


@dataclass(frozen=True)
class InclusionProof:
    """That one entry stands in the log which the checkpoint signed: `wire.merkle.verify_inclusion`."""

    entry: LoggedEntry
    size: int
    hashes: tuple[bytes, ...]
    checkpoint: str


@dataclass(frozen=True)
class ConsistencyProof:
    """That the log of `old` entries is the beginning of the signed one: `wire.merkle.verify_consistency`."""

    old: int
    size: int
    hashes: tuple[bytes, ...]
    checkpoint: str


@dataclass(frozen=True)
class Export:
    """`header`, then `lines`: the whole log from `first` up to the newest checkpoint, this reading included."""

    tenant: TenantId
    first: int
    size: int
    header: bytes
    lines: AsyncIterator[bytes]


class AuditReading:
    def __init__(self, database: Database, audit: AuditLog) -> None:
        self._database = database
        self._audit = audit

    @property
    def public_key(self) -> Ed25519PublicKey:
        return self._audit.public_key

    async def search(self, grant: Grant, query: AuditQuery) -> Page:
        """Newest first unless asked otherwise. Raises Invalid for a limit or a cursor that cannot be."""
        if not 1 <= query.limit <= MAX_PAGE:
            raise Invalid(f"limit is {query.limit}: ask for 1 to {MAX_PAGE} entries at a time")
        statement = _search(grant.resource.tenant, query)
        asked = {name: value for name, value in vars(query).items() if value not in ("", None, False)}
        async with self._database.transaction(grant.resource.tenant) as session:
            await self._note(session, grant, "search", asked)
            rows = (await session.execute(statement)).all()
        entries = tuple(LoggedEntry(row.number, row.leaf, row.entry) for row in rows[: query.limit])
        more = len(rows) > query.limit
        return Page(entries, _cursor(entries[-1].index) if more else "")

    async def checkpoint(self, grant: Grant) -> str:
        async with self._database.transaction(grant.resource.tenant) as session:
            await self._note(session, grant, "checkpoint", {})
            return await self._audit.checkpoint(session, grant.resource.tenant)

    async def prove_inclusion(self, grant: Grant, index: int) -> InclusionProof:
        """Raises NotFound when the log has no such entry."""
        tenant = grant.resource.tenant
        async with self._database.transaction(tenant) as session:
            size = 1 + await self._note(session, grant, "proof", {"index": index})
            if not 0 <= index < size:
                raise NotFound(f"the log has {size} entries, counted from 0: there is no entry {index}")
            note = await self._audit.checkpoint(session, tenant)
            hashes = await _hashes(session, tenant, merkle.inclusion_ranges(index, size))
            found = (await session.execute(_entries(tenant).where(AuditEntryRow.number == index))).one()
        return InclusionProof(LoggedEntry(found.number, found.leaf, found.entry), size, hashes, note)

    async def prove_consistency(self, grant: Grant, old: int) -> ConsistencyProof:
        """Raises NotFound when the log is smaller than that."""
        tenant = grant.resource.tenant
        async with self._database.transaction(tenant) as session:
            size = 1 + await self._note(session, grant, "consistency", {"old": old})
            if not 0 <= old <= size:
                raise NotFound(f"the log has {size} entries: it never had {old}")
            note = await self._audit.checkpoint(session, tenant)
            hashes = await _hashes(session, tenant, merkle.consistency_ranges(old, size))
        return ConsistencyProof(old, size, hashes, note)

    async def export(self, grant: Grant, first: int = 0) -> Export:
        """Everything from entry `first` on, up to the entry that says so. Raises NotFound beyond the end."""
        tenant = grant.resource.tenant
        async with self._database.transaction(tenant) as session:
            size = 1 + await self._note(session, grant, "export", {"first": first})
            if not 0 <= first < size:
                raise NotFound(f"the log has {size} entries, counted from 0: there is none from {first} on")
            await self._audit.checkpoint(session, tenant)
            nodes = merkle.cover(Range(0, first))
            found = await _nodes(session, tenant, nodes)
            frontier = merkle.Frontier(first, tuple(found[node] for node in nodes))
            notes = await _checkpoints(session, tenant, first, size)
        header = audit_lines.header_line(tenant, frontier, notes, self._audit.public_key)
        return Export(tenant, first, size, header, self._lines(tenant, first, size))

    async def _lines(self, tenant: TenantId, first: int, size: int) -> AsyncIterator[bytes]:
        """Entries are never changed, so that chunks read one after the other are one state of the log."""
        for start in range(first, size, EXPORT_CHUNK):
            end = min(start + EXPORT_CHUNK, size)
            chunk = _entries(tenant).where(AuditEntryRow.number >= start, AuditEntryRow.number < end)
            yield await uninterrupted(self._chunk(tenant, chunk.order_by(AuditEntryRow.number)))

    async def _chunk(self, tenant: TenantId, wanted: _Entries) -> bytes:
        async with self._database.transaction(tenant) as session:
            rows = (await session.execute(wanted)).all()
        return b"".join(audit_lines.entry_line(_stored(row.leaf), _stored(row.entry)) for row in rows)

    async def _note(self, session: AsyncSession, grant: Grant, what: str, detail: Mapping[str, object]) -> int:
        event = AuditEvent(
            action=AuditAction.AUDIT_READ,
            outcome=Outcome.SUCCESS,
            actor=grant.principal.id,
            resource="audit/*",
            detail={"what": what, **detail},
        )
        return await self._audit.append(session, grant.resource.tenant, event)


_Entries = Select[int, bytes, bytes]


def _entries(tenant: TenantId) -> _Entries:
    return select(AuditEntryRow.number, AuditEntryRow.leaf, AuditEntryRow.entry).where(AuditEntryRow.tenant == tenant)


def _search(tenant: TenantId, query: AuditQuery) -> _Entries:
    statement = _entries(tenant)
    filters: tuple[tuple[InstrumentedAttribute[str], str], ...] = (
        (AuditEntryRow.action, query.action),
        (AuditEntryRow.actor, query.actor),
        (AuditEntryRow.resource, query.resource),
        (AuditEntryRow.outcome, query.outcome),
        (AuditEntryRow.request_id, query.request_id),
    )
    for column, wanted in filters:
        if "\x00" in wanted:
            raise Invalid(f"a filter on {column.key} holds a NUL character: nothing in the log has one")
        if wanted.endswith("*"):
            statement = statement.where(column.startswith(wanted[:-1], autoescape=True))
        elif wanted:
            statement = statement.where(column == wanted)
    if query.since is not None:
        statement = statement.where(AuditEntryRow.time >= query.since)
    if query.until is not None:
        statement = statement.where(AuditEntryRow.time < query.until)
    if query.cursor:
        at = _index(query.cursor)
        statement = statement.where(AuditEntryRow.number > at if query.oldest_first else AuditEntryRow.number < at)
    order = AuditEntryRow.number.asc() if query.oldest_first else AuditEntryRow.number.desc()
    return statement.order_by(order).limit(query.limit + 1)


async def _hashes(session: AsyncSession, tenant: TenantId, ranges: Sequence[Range]) -> tuple[bytes, ...]:
    found = await _nodes(session, tenant, [node for part in ranges for node in merkle.cover(part)])
    return tuple(merkle.range_hash(part, found.__getitem__) for part in ranges)


async def _nodes(session: AsyncSession, tenant: TenantId, nodes: Sequence[Node]) -> dict[Node, bytes]:
    """The hashes of perfect subtrees: those of single leaves stand beside the entries."""
    found: dict[Node, bytes] = {}
    leaves = [node.number for node in nodes if node.level == 0]
    above = [(node.level, node.number) for node in nodes if node.level > 0]
    if leaves:
        wanted = select(AuditEntryRow.number, AuditEntryRow.leaf).where(
            AuditEntryRow.tenant == tenant, AuditEntryRow.number.in_(leaves)
        )
        found |= {Node(0, row.number): row.leaf for row in await session.execute(wanted)}
    if above:
        place = tuple_(AuditNodeRow.level, AuditNodeRow.number)
        rows = await session.execute(
            select(AuditNodeRow.level, AuditNodeRow.number, AuditNodeRow.hash).where(
                AuditNodeRow.tenant == tenant, place.in_(above)
            )
        )
        found |= {Node(row.level, row.number): row.hash for row in rows}
    return found


async def _checkpoints(session: AsyncSession, tenant: TenantId, first: int, size: int) -> list[str]:
    """The signed checkpoints between, the last one always; evenly thinned out when there are too many."""
    notes = (
        await session.scalars(
            select(AuditCheckpointRow.note)
            .where(
                AuditCheckpointRow.tenant == tenant, AuditCheckpointRow.size > first, AuditCheckpointRow.size <= size
            )
            .order_by(AuditCheckpointRow.size)
        )
    ).all()
    step = -(-len(notes) // audit_lines.MAX_CHECKPOINTS)
    return list(notes[::-1][::step][::-1])


def _stored(value: bytes | str) -> bytes:
    """SQLite keeps what it is given: a row that somebody altered may come back as text, and must still be exported."""
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value


def _cursor(index: int) -> str:
    return base64.urlsafe_b64encode(b"audit:%d" % index).decode().rstrip("=")


def _index(cursor: str) -> int:
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        found = _CURSOR.fullmatch(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError):
        found = None
    if found is None:
        raise Invalid("the cursor is not one that this search gave out: start without one")
    return int(found[1])
