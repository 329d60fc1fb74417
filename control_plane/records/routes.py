"""Results over HTTP: tables, rows, the live stream, exports. `records:read` for all of it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from control_plane.foundation.provision import provided
from control_plane.policy.asking import Granted, requires
from control_plane.policy.model import Grant, Permission
from control_plane.policy.service import PolicyService
from control_plane.records.exports import MEDIA_TYPES, Format, RecordExports
from control_plane.records.live import Counted, End, Event, LiveRecords, Rows
from control_plane.records.model import Answer, Masked, Table
from control_plane.records.service import MAX_ROWS, RecordService, cursor, read_cursor
from control_plane.tracepoints.model import Accounting
from control_plane.tracepoints.routes import AccountingOut

router = APIRouter(tags=["records"])
Service = Annotated[RecordService, Depends(provided(RecordService))]
Live = Annotated[LiveRecords, Depends(provided(LiveRecords))]
Exports = Annotated[RecordExports, Depends(provided(RecordExports))]
Policy = Annotated[PolicyService, Depends(provided(PolicyService))]
_Tracepoint = Annotated[str, Query(max_length=64, description="Only the rows of this tracepoint (its id).")]
_Cursor = Annotated[str, Query(max_length=64)]


class ColumnOut(BaseModel):
    name: str
    type: str


class TableOut(BaseModel):
    """One version of a table; `evicted` rows were stored once and had to make room."""

    name: str
    version: int
    rows: int
    evicted: int
    created_at: datetime
    changed_at: datetime
    columns: list[ColumnOut]

    @classmethod
    def of(cls, table: Table) -> TableOut:
        columns = [ColumnOut(name=column.name, type=column.type) for column in table.columns]
        return cls(
            name=table.name,
            version=table.version,
            rows=table.rows,
            evicted=table.evicted,
            created_at=table.created_at,
            changed_at=table.changed_at,
            columns=columns,
        )


class TablesOut(BaseModel):
    items: list[TableOut]
    next: None = None


class RowsAccountingOut(AccountingOut):
    """hits = delivered + filtered + sampled_out + throttled + expired + sum(lost); `adds_up` says whether they do."""

    adds_up: bool

    @classmethod
    def of(cls, accounting: Accounting) -> RowsAccountingOut:
        return cls(**accounting.document(), adds_up=accounting.adds_up)


class MaskedOut(BaseModel):
    """What one masking rule did to one column: values it looked at, values it hid."""

    column: str
    rule: str
    action: str
    values: int
    hidden: int

    @classmethod
    def of(cls, masked: Masked) -> MaskedOut:
        return cls(
            column=masked.column, rule=masked.rule, action=masked.action, values=masked.values, hidden=masked.hidden
        )


class RowsOut(BaseModel):
    """Rows in the order of arrival, the newest last; `cursor` stands behind them."""

    rows: list[dict[str, Any]]
    cursor: str
    more: bool
    accounting: RowsAccountingOut
    masking: list[MaskedOut]

    @classmethod
    def of(cls, answer: Answer) -> RowsOut:
        return cls(
            rows=[dict(row) for row in answer.rows],
            cursor=cursor(answer.place),
            more=answer.more,
            accounting=RowsAccountingOut.of(answer.accounting),
            masking=[MaskedOut.of(masked) for masked in answer.masking],
        )


@router.get("/v1/tenants/{tenant}/tables")
@requires(Permission.RECORDS_READ)
async def list_tables(grant: Granted, service: Service) -> TablesOut:
    """Every version of every table, with its columns."""
    return TablesOut(items=[TableOut.of(table) for table in await service.tables(grant)])


@router.get("/v1/tenants/{tenant}/tables/{table}/rows")
@requires(Permission.RECORDS_READ, name="table")
async def rows(
    grant: Granted,
    table: str,
    service: Service,
    limit: Annotated[int, Query(ge=1, le=MAX_ROWS)] = 100,
    after: _Cursor = "",
    tracepoint: _Tracepoint = "",
) -> RowsOut:
    """The newest rows, or those behind the cursor `after`; the accounting and what masking did, always."""
    return RowsOut.of(await service.rows(grant, table, limit, after, tracepoint or None))


@router.get("/v1/tenants/{tenant}/tables/{table}/stream", response_class=StreamingResponse)
@requires(Permission.RECORDS_READ, name="table")
async def stream(
    grant: Granted,
    table: str,
    live: Live,
    policy: Policy,
    tracepoint: _Tracepoint = "",
    last_event_id: Annotated[str | None, Header(max_length=64)] = None,
) -> StreamingResponse:
    """Server-sent events: `rows`, `accounting`, and `end` when the tracepoint is over. Resume with Last-Event-ID."""

    async def ask_again() -> Grant:
        return await policy.require(grant.principal, grant.permission, grant.resource)

    after = read_cursor(last_event_id) if last_event_id else None
    events = await live.opened(grant, table, tracepoint or None, after, ask_again)
    return StreamingResponse(
        _server_sent(events),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


@router.get("/v1/tenants/{tenant}/tables/{table}/export", response_class=StreamingResponse)
@requires(Permission.RECORDS_READ, name="table")
async def export(
    grant: Granted,
    table: str,
    exports: Exports,
    form: Annotated[Format, Query(alias="format")] = Format.JSONL,
    version: Annotated[int | None, Query(ge=1)] = None,
) -> StreamingResponse:
    """One version of the table, the newest unless another is named, as csv, jsonl, parquet or arrow."""
    found = await exports.open(grant, table, form, version)
    name = f"{found.table}-v{found.version}.{found.format}"
    return StreamingResponse(
        found.pieces,
        media_type=MEDIA_TYPES[form],
        headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"},
    )


async def _server_sent(events: AsyncIterator[Event]) -> AsyncIterator[bytes]:
    """HTML standard, 9.2.5: an id, a name and one line of JSON each."""
    async for event in events:
        match event:
            case Rows(rows, place):
                yield _event("rows", cursor(place), {"rows": [dict(row) for row in rows]})
            case Counted(accounting, place):
                yield _event("accounting", cursor(place), RowsAccountingOut.of(accounting).model_dump())
            case End(reason, accounting, place):
                data = {"reason": reason, "accounting": RowsAccountingOut.of(accounting).model_dump()}
                yield _event("end", cursor(place), data)
            case _:
                yield b": still here\n\n"


def _event(name: str, identity: str, data: dict[str, Any]) -> bytes:
    body = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return f"id: {identity}\nevent: {name}\ndata: {body}\n\n".encode()
