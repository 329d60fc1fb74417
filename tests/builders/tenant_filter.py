"""The queries' own filter, watched: in a transaction of one tenant every ORM statement names the tenant.

Row-level security would hide a missing filter on PostgreSQL, and SQLite has nothing else: so every test on a `database`
fails where a statement on a tenant's table has no condition on its `tenant`. Not for EveryTenant, and not for text().
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Table, event
from sqlalchemy.orm import ORMExecuteState, Session
from sqlalchemy.sql import visitors
from sqlalchemy.sql.elements import BinaryExpression, ColumnClause

from control_plane.foundation.database import EveryTenant
from control_plane.foundation.row_security import keyed_by_tenant


class NoTenantFilter(AssertionError):
    """A statement reads or changes a tenant's table without naming the tenant."""


@contextmanager
def watched_filters() -> Iterator[None]:
    event.listen(Session, "do_orm_execute", _look)
    try:
        yield
    finally:
        event.remove(Session, "do_orm_execute", _look)


def _look(state: ORMExecuteState) -> None:
    if isinstance(state.session.info.get("reach"), EveryTenant | None) or state.is_insert:
        return
    statement: Any = state.statement
    if not isinstance(statement, visitors.Visitable):
        return
    missing = _tables(statement) - _filtered(statement)
    if missing:
        raise NoTenantFilter(f"no condition on the tenant of {', '.join(sorted(missing))} in: {statement}")


def _tables(statement: Any) -> set[str]:
    return {table.name for table in visitors.iterate(statement) if isinstance(table, Table) and keyed_by_tenant(table)}


def _filtered(statement: Any) -> set[str]:
    found = set()
    for part in visitors.iterate(statement):
        if not isinstance(part, BinaryExpression):
            continue
        for side in (part.left, part.right):
            if isinstance(side, ColumnClause) and side.name == "tenant" and side.table is not None:
                found.add(getattr(getattr(side.table, "element", side.table), "name", ""))
    return found
