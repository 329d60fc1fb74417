"""Stored tracepoints -> what is shown: one by its id or name, a page of them. And the rows behind the other modules."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.foundation.database import Database
from control_plane.foundation.errors import Invalid, NotFound
from control_plane.foundation.identifiers import AgentId, SubjectId, TenantId
from control_plane.policy.model import Grant
from control_plane.templates.model import Review, Verdict
from control_plane.tracepoints.lifecycle import LIVE, WAITING, AgentState, State
from control_plane.tracepoints.model import Accounting, AgentStatus, Asking, Page, Rollout, Tracepoint
from control_plane.tracepoints.tables import RolloutRow, TracepointAgentRow, TracepointReviewRow, TracepointRow
from language.model import TargetSpec

MAX_PAGE: Final = 200
_ID: Final = re.compile(r"tp_[0-9a-f]{24}", re.ASCII)


class TracepointReading:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, grant: Grant, limit: int = 100, cursor: str = "", *, live: bool = False) -> Page:
        """The tracepoints of the tenant, the newest first; with `live` those that run or will. Raises Invalid."""
        table = TracepointRow
        wanted = select(table).where(table.tenant == grant.resource.tenant)
        if live:
            wanted = wanted.where(table.state.in_([state.value for state in LIVE]))
        if cursor:
            wanted = wanted.where(tuple_(table.created_at, table.id) < tuple_(*_opened(cursor)))
        limit = max(1, min(limit, MAX_PAGE))
        async with self._database.transaction(grant.resource.tenant) as session:
            wanted = wanted.order_by(table.created_at.desc(), table.id.desc()).limit(limit + 1)
            rows = (await session.scalars(wanted)).all()
            items = tuple([await whole(session, row) for row in rows[:limit]])
        return Page(items, _sealed(rows[limit - 1]) if len(rows) > limit else None)

    async def show(self, grant: Grant, name: str) -> Tracepoint:
        """By id, or by name: the live one, else the newest that had it. Raises NotFound."""
        async with self._database.transaction(grant.resource.tenant) as session:
            return await whole(session, await tracepoint_row(session, grant.resource.tenant, name))


async def tracepoint_row(session: AsyncSession, tenant: str, name: str, *, lock: bool = False) -> TracepointRow:
    """By id; by name the live one, else the one that waits, else the newest. Raises NotFound."""
    table = TracepointRow
    of_tenant = select(table).where(table.tenant == tenant)
    by_name = of_tenant.where(table.name == name).order_by(
        table.state.in_([state.value for state in LIVE]).desc(),
        table.state.in_([state.value for state in WAITING]).desc(),
        table.created_at.desc(),
        table.id.desc(),
    )
    for wanted in (of_tenant.where(table.id == name), by_name):
        row = (await session.scalars(wanted.limit(1).with_for_update() if lock else wanted.limit(1))).first()
        if row is not None:
            return row
    raise NotFound(f"there is no tracepoint {name[:80]!r} here; `probegate tracepoint ls` lists them")


async def whole(session: AsyncSession, row: TracepointRow) -> Tracepoint:
    """With its agents, what was said of the request, and how far its roll-out is."""
    found = await session.get(RolloutRow, (row.tenant, row.id))
    return tracepoint_of(row, await agents_of(session, row), await reviews_of(session, row), found)


async def reviews_of(session: AsyncSession, row: TracepointRow) -> tuple[Review, ...]:
    """Of the request, the oldest first."""
    table = TracepointReviewRow
    found = await session.scalars(
        select(table)
        .where(table.tenant == row.tenant, table.tracepoint_id == row.id)
        .order_by(table.at, table.reviewer)
    )
    return tuple(
        Review(
            reviewer=SubjectId(said.reviewer),
            reviewer_name=said.reviewer_name,
            verdict=Verdict(said.verdict),
            digest=said.digest,
            comment=said.comment,
            at=said.at,
        )
        for said in found
    )


async def live_row(session: AsyncSession, tenant: str, name: str) -> TracepointRow | None:
    """The tracepoint that holds this name now."""
    table = TracepointRow
    wanted = select(table).where(
        table.tenant == tenant, table.name == name, table.state.in_([state.value for state in LIVE])
    )
    return (await session.scalars(wanted.with_for_update())).first()


async def lock_rows(session: AsyncSession, tenant: TenantId, ids: Iterable[str]) -> None:
    """Several rows that one transaction will change, locked in one order and before it writes to the log.

    Whoever held the log and then waited for a row, while the row's holder waits for the log, would wait for ever.
    """
    table = TracepointRow
    wanted = select(table.id).where(table.tenant == tenant, table.id.in_(sorted(set(ids)))).order_by(table.id)
    await session.execute(wanted.with_for_update())


async def agents_of(session: AsyncSession, row: TracepointRow) -> tuple[TracepointAgentRow, ...]:
    table = TracepointAgentRow
    wanted = select(table).where(table.tenant == row.tenant, table.tracepoint_id == row.id).order_by(table.agent_id)
    return tuple(await session.scalars(wanted))


def tracepoint_of(
    row: TracepointRow,
    agents: Iterable[TracepointAgentRow],
    reviews: tuple[Review, ...] = (),
    rollout: RolloutRow | None = None,
) -> Tracepoint:
    return Tracepoint(
        id=row.id,
        name=row.name,
        version=row.version,
        state=State(row.state),
        template=row.template_name,
        template_version=row.template_version,
        template_digest=row.template_digest,
        table=row.table_name,
        table_version=row.table_version,
        columns=tuple(row.columns),
        parameters=row.parameters,
        target=target_of(row.target),
        ttl=timedelta(milliseconds=row.ttl_ms),
        requested_by=SubjectId(row.requested_by),
        requested_by_name=row.requested_by_name,
        created_at=row.created_at,
        expires_at=row.not_after,
        ended_at=row.ended_at,
        end_reason=row.end_reason,
        spec_digest=row.spec_digest,
        detail=row.detail,
        asking=Asking(
            digest=row.request_digest,
            needs=int(row.needs.get("approvals", 0)),
            why=tuple(row.needs.get("why", ())),
            reviews=reviews,
            starts_at=row.starts_at,
            lapses_at=row.lapses_at,
            processes=row.process_cap,
        ),
        rollout=_rollout_of(rollout) if rollout is not None else None,
        agents=tuple(
            AgentStatus(
                agent=AgentId(agent.agent_id),
                version=agent.version,
                state=AgentState(agent.state),
                detail=agent.detail,
                end_reason=agent.end_reason,
                sites=agent.sites,
                processes=agent.processes,
                accounting=Accounting(**agent.accounting),
                updated_at=agent.updated_at,
            )
            for agent in agents
        ),
    )


def _rollout_of(row: RolloutRow) -> Rollout:
    reached = sum(len(stage) for stage in row.stages[: row.stage + 1])
    return Rollout(row.state, row.stage + 1, len(row.stages), reached, row.detail)


def target_document(target: TargetSpec) -> dict[str, Any]:
    """Only what is set, in the words of a request; `target_of` reads it back."""
    fields: dict[str, Any] = {
        "service": target.service,
        "exe": target.exe,
        "pids": list(target.pids),
        "language": target.language,
        "pod": target.pod,
        "labels": dict(target.labels),
        "shared_object": target.shared_object,
    }
    return {key: value for key, value in fields.items() if value}


def target_of(document: Mapping[str, Any]) -> TargetSpec:
    return TargetSpec(
        service=document.get("service"),
        exe=document.get("exe"),
        pids=tuple(sorted(set(document.get("pids", ())))),
        language=document.get("language"),
        pod=document.get("pod"),
        labels=tuple(sorted(document.get("labels", {}).items())),
        shared_object=document.get("shared_object"),
    )


def _sealed(row: TracepointRow) -> str:
    return base64.urlsafe_b64encode(f"{row.created_at.isoformat()} {row.id}".encode()).decode()


def _opened(cursor: str) -> tuple[datetime, str]:
    try:
        moment, _, identifier = base64.urlsafe_b64decode(cursor[:200]).decode().partition(" ")
        when = datetime.fromisoformat(moment)
    except (binascii.Error, ValueError):
        when, identifier = None, ""
    if when is None or when.tzinfo is None or not _ID.fullmatch(identifier):
        raise Invalid("the cursor is not one of ours: take `next` of the page before, as it is")
    return when, identifier
