"""A table is versioned by its columns: the same ones go on in its newest version, other ones start the next.

The name can stay for good; `records` keeps the rows of each version apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.foundation.errors import Conflict
from control_plane.tracepoints.tables import TableVersionRow


async def table_version(session: AsyncSession, tenant: str, table: str, columns: Sequence[str], now: datetime) -> int:
    """The version that rows with these columns belong to; made if it is a new one. Raises Conflict on a race."""
    newest = (
        await session.scalars(
            select(TableVersionRow)
            .where(TableVersionRow.tenant == tenant, TableVersionRow.table_name == table)
            .order_by(TableVersionRow.version.desc())
            .limit(1)
            .with_for_update()
        )
    ).first()
    if newest is not None and newest.columns == list(columns):
        return newest.version
    version = 1 if newest is None else newest.version + 1
    session.add(
        TableVersionRow(tenant=tenant, table_name=table, version=version, columns=list(columns), created_at=now)
    )
    try:
        await session.flush()
    except IntegrityError as error:
        raise Conflict(f"somebody changed the table {table} at the same moment: ask again", code="raced") from error
    return version
