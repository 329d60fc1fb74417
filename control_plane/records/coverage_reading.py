"""The receipts of a tenant, summed: what was captured in a period, what masking did to it, which rules it was.

Receipts are kept as sums over a tracepoint, so a tracepoint that ran at any time in the period counts as a whole. Sums are
made in the database; what comes out is bounded, whatever an agent sent. Inside the caller's transaction; asks nobody.
Used by `coverage`.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import JSON, ColumnElement, Float, Select, case, cast, func, or_, select, tuple_, type_coerce
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.foundation.identifiers import TenantId
from control_plane.records.tables import RecordAccountingRow, RecordReceiptRow, RecordTableRow
from control_plane.tracepoints.tables import TracepointRow

UNSCANNED: Final = "unscanned"  # the rule that agents name for what they could not look at, and hid
MAX_LINES: Final = 50  # of one field: the rules that hid most; a plan has some 30 for the parts of a struct

Key = tuple[str, str, str]  # template, table, column


@dataclass(frozen=True)
class Sums:
    """Of one field. `shown` were sent as they are; of `table_version` its type is looked up."""

    key: Key
    shown: int
    hidden: int
    unscanned: int
    lines: int
    table_version: int


@dataclass(frozen=True)
class Line:
    """What one rule did to one field."""

    rule: str
    action: str
    values: int
    hidden: int


@dataclass(frozen=True)
class RuleSums:
    """What one rule did to all fields. `fields` is how many it decided about, also where no value came."""

    fields: int
    values: int
    hidden: int


_RECEIPT: Final = RecordReceiptRow
_KEY: Final = (TracepointRow.template_name, _RECEIPT.table_name, _RECEIPT.column_name)


async def fields_of(
    session: AsyncSession, tenant: TenantId, since: datetime, after: Key | None, limit: int
) -> list[Sums]:
    """By template, table and column, at most `limit` behind `after`."""
    wanted = _receipts(
        tenant,
        since,
        *_KEY,
        func.sum(_RECEIPT.seen - _RECEIPT.hidden),
        func.sum(_RECEIPT.hidden),
        func.sum(case((_RECEIPT.rule == UNSCANNED, _RECEIPT.hidden), else_=0)),
        func.count(func.distinct(_RECEIPT.rule + " " + _RECEIPT.action)),
        func.max(TracepointRow.table_version),
    )
    if after is not None:
        wanted = wanted.where(tuple_(*_KEY) > tuple_(*after))
    found = await session.execute(wanted.group_by(*_KEY).order_by(*_KEY).limit(limit))
    return [
        Sums((template, table, column), int(shown), int(hidden), int(unscanned), lines, version)
        for template, table, column, shown, hidden, unscanned, lines, version in found
    ]


async def lines_of(
    session: AsyncSession, tenant: TenantId, since: datetime, keys: Sequence[Key]
) -> Mapping[Key, tuple[Line, ...]]:
    """Of each field the rules, those that hid most first, at most MAX_LINES."""
    if not keys:
        return {}
    hidden = func.sum(_RECEIPT.hidden)
    place = func.row_number().over(partition_by=_KEY, order_by=(hidden.desc(), _RECEIPT.rule, _RECEIPT.action))
    summed = (
        _receipts(
            tenant, since, *_KEY, _RECEIPT.rule, _RECEIPT.action, func.sum(_RECEIPT.seen), hidden, place.label("place")
        )
        .where(tuple_(*_KEY) >= tuple_(*keys[0]), tuple_(*_KEY) <= tuple_(*keys[-1]))
        .group_by(*_KEY, _RECEIPT.rule, _RECEIPT.action)
        .subquery()
    )
    found: defaultdict[Key, list[Line]] = defaultdict(list)
    ranked = select(summed).where(summed.c.place <= MAX_LINES).order_by(*list(summed.c)[:3], summed.c.place)
    for template, table, column, rule, action, seen, hid, _ in await session.execute(ranked):
        found[template, table, column].append(Line(rule, action, int(seen), int(hid)))
    return {key: tuple(lines) for key, lines in found.items()}


async def rows_of(
    session: AsyncSession, tenant: TenantId, since: datetime, templates: Collection[str]
) -> Mapping[tuple[str, str], int]:
    """Rows that hosts delivered, by template and table; also those that had to make room, or were over the quota."""
    counted = RecordAccountingRow
    document: Any = counted.accounting
    if session.get_bind().dialect.name == "postgresql":
        document = cast(document, JSON)
    # As a float: an agent may say any uint64, which no integer of the database holds; below 2**53 it is exact.
    delivered = cast(type_coerce(document, JSON)["delivered"].as_string(), Float)
    place = (TracepointRow.template_name, counted.table_name)
    found = await session.execute(
        select(*place, func.sum(delivered))
        .join(TracepointRow, (TracepointRow.tenant == counted.tenant) & (TracepointRow.id == counted.tracepoint_id))
        .where(counted.tenant == tenant, TracepointRow.tenant == tenant, _ran_since(since))
        .where(TracepointRow.template_name.in_(templates))
        .group_by(*place)
    )
    return {(template, table): int(rows or 0) for template, table, rows in found}


async def types_of(
    session: AsyncSession, tenant: TenantId, versions: Collection[tuple[str, int]]
) -> Mapping[tuple[str, int, str], str]:
    """The Arrow type of every column of these versions of tables, as the newest batch had it."""
    table = RecordTableRow
    found = await session.execute(
        select(table.table_name, table.table_version, table.columns).where(
            table.tenant == tenant, tuple_(table.table_name, table.table_version).in_(list(versions))
        )
    )
    return {(name, version, column): kind for name, version, text in found for column, kind in json.loads(text)}


async def rule_sums(
    session: AsyncSession, tenant: TenantId, since: datetime, rules: Collection[str]
) -> Mapping[str, RuleSums]:
    """Of those of the named rules that stand in a receipt."""
    each = (
        _receipts(
            tenant,
            since,
            _RECEIPT.rule,
            func.sum(_RECEIPT.seen).label("seen"),
            func.sum(_RECEIPT.hidden).label("hidden"),
        )
        .where(_RECEIPT.rule.in_(rules))
        .group_by(_RECEIPT.rule, *_KEY)
        .subquery()
    )
    sums = select(each.c.rule, func.count(), func.sum(each.c.seen), func.sum(each.c.hidden)).group_by(each.c.rule)
    return {
        rule: RuleSums(fields, int(seen), int(hidden)) for rule, fields, seen, hidden in await session.execute(sums)
    }


def _receipts(tenant: TenantId, since: datetime, *what: Any) -> Select[Any]:
    return (
        select(*what)
        .select_from(_RECEIPT)
        .join(TracepointRow, (TracepointRow.tenant == _RECEIPT.tenant) & (TracepointRow.id == _RECEIPT.tracepoint_id))
        .where(_RECEIPT.tenant == tenant, TracepointRow.tenant == tenant, _ran_since(since))
    )


def _ran_since(since: datetime) -> ColumnElement[bool]:
    return or_(TracepointRow.ended_at.is_(None), TracepointRow.ended_at >= since)
