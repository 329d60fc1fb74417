"""What everybody in a tenant is to know at once: a broken glass, a roll-out that was stopped. Open until it is dealt with.

A notice stands in the transaction of what it is about: nothing happens that nobody is told of. Members read it at
`GET .../notices`; the command line and the console show the open ones unasked.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.foundation.database import Database
from control_plane.foundation.errors import Invalid
from control_plane.foundation.identifiers import TenantId, new_id
from control_plane.policy.model import Grant
from control_plane.tracepoints.tables import NoticeRow

MAX_PAGE: Final = 200
MAX_OPEN: Final = 20  # shown unasked; more than that nobody reads


class NoticeKind(StrEnum):
    BREAK_GLASS = "break_glass"
    REVIEW_DUE = "break_glass_review_due"
    REVIEW_OVERDUE = "break_glass_review_overdue"
    ROLLOUT_STOPPED = "rollout_stopped"
    CANARY = "canary"


@dataclass(frozen=True)
class Notice:
    id: str
    kind: NoticeKind
    resource: str
    text: str
    at: datetime
    closed_at: datetime | None


@dataclass(frozen=True)
class NoticePage:
    items: tuple[Notice, ...]
    next: str | None  # an opaque cursor


async def announce(
    session: AsyncSession,
    tenant: TenantId,
    kind: NoticeKind,
    resource: str,
    text: str,
    at: datetime,
    *,
    closed: bool = False,
) -> None:
    """In the caller's transaction. `closed`: to be known, nothing is to be done."""
    ends = at if closed else None
    session.add(
        NoticeRow(tenant=tenant, id=new_id("nt"), kind=kind.value, resource=resource, text=text, at=at, closed_at=ends)
    )
    await session.flush()


async def close(session: AsyncSession, tenant: TenantId, kind: NoticeKind, resource: str, at: datetime) -> None:
    """It was dealt with."""
    found = await session.scalars(
        select(NoticeRow).where(
            NoticeRow.tenant == tenant,
            NoticeRow.kind == kind.value,
            NoticeRow.resource == resource,
            NoticeRow.closed_at.is_(None),
        )
    )
    for row in found:
        row.closed_at = at


class NoticeReading:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, grant: Grant, limit: int = 100, cursor: str = "", *, still_open: bool = False) -> NoticePage:
        """The newest first. Raises Invalid."""
        table = NoticeRow
        wanted = select(table).where(table.tenant == grant.resource.tenant)
        if still_open:
            wanted = wanted.where(table.closed_at.is_(None))
        if cursor:
            wanted = wanted.where(tuple_(table.at, table.id) < tuple_(*_opened(cursor)))
        limit = max(1, min(limit, MAX_PAGE))
        async with self._database.transaction(grant.resource.tenant) as session:
            found = await session.scalars(wanted.order_by(table.at.desc(), table.id.desc()).limit(limit + 1))
            rows = found.all()
        items = tuple(
            Notice(row.id, NoticeKind(row.kind), row.resource, row.text, row.at, row.closed_at) for row in rows[:limit]
        )
        return NoticePage(items, _sealed(rows[limit - 1]) if len(rows) > limit else None)


def _sealed(row: NoticeRow) -> str:
    return base64.urlsafe_b64encode(f"{row.at.isoformat()} {row.id}".encode()).decode()


def _opened(cursor: str) -> tuple[datetime, str]:
    try:
        moment, _, identifier = base64.urlsafe_b64decode(cursor[:200]).decode().partition(" ")
        when = datetime.fromisoformat(moment)
    except (binascii.Error, ValueError):
        when, identifier = None, ""
    if when is None or when.tzinfo is None or not identifier:
        raise Invalid("the cursor is not one of ours: take `next` of the page before, as it is")
    return when, identifier
