"""Requests that are due are sealed now, not before; those that nobody decided about lapse. A loop beside the requests.

Everything is proved anew at the start: who asked may still, by the policy of now; the template is approved; enough people
who count today said yes to these very bytes; nothing of it is locked. What fails is over, with the reason for a person.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import Final, NoReturn

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.foundation.audit_trail import AuditAction, Outcome
from control_plane.foundation.clock import Clock
from control_plane.foundation.database import DATABASE_UNREACHABLE, Database, EveryTenant
from control_plane.foundation.errors import AuditUnavailable, Conflict, DependencyUnavailable, ProbegateError
from control_plane.foundation.identifiers import SubjectId, TenantId
from control_plane.policy.locks import active_locks
from control_plane.policy.model import Grant
from control_plane.policy.terms import confirm, request_facts
from control_plane.templates.counting import counted
from control_plane.templates.ports import Reviewers
from control_plane.tracepoints.asking import refuse_own_approval
from control_plane.tracepoints.lifecycle import Event, State
from control_plane.tracepoints.ports import Deciding
from control_plane.tracepoints.reading import live_row, reviews_of, target_of
from control_plane.tracepoints.request_case import case_of, lacking
from control_plane.tracepoints.rollouts import begin, reached
from control_plane.tracepoints.run_policy import RunPolicies
from control_plane.tracepoints.sealing import Sealing, Until, move
from control_plane.tracepoints.stopping import Stopping
from control_plane.tracepoints.table_versions import table_version
from control_plane.tracepoints.tables import TracepointRow

EVERY: Final = timedelta(seconds=1)  # a start is late by that much at most
BATCH: Final = 100  # requests a look: each is some transactions of its own
_log = logging.getLogger(__name__)


class Starting:
    def __init__(
        self,
        database: Database,
        clock: Clock,
        sealing: Sealing,
        deciding: Deciding,
        reviewers: Reviewers,
        policies: RunPolicies,
        stopping: Stopping,
    ) -> None:
        self._database = database
        self._clock = clock
        self._sealing = sealing
        self._deciding = deciding
        self._reviewers = reviewers
        self._policies = policies
        self._stopping = stopping

    async def start_due(self) -> int:
        """Seal what is due, close what lapsed; how many those were."""
        table, now = TracepointRow, self._clock.now()
        due = (table.state == State.SCHEDULED.value) & (table.due_at <= now)
        over = (table.state == State.AWAITING.value) & (table.lapses_at <= now)
        async with self._database.transaction(EveryTenant("which requests are due")) as session:
            wanted = select(table.tenant, table.id, table.state).where(or_(due, over)).limit(BATCH)
            found = (await session.execute(wanted)).all()
        for tenant, tracepoint_id, state in found:
            if state == State.SCHEDULED:
                await self._start(TenantId(tenant), tracepoint_id)
            else:
                await self._lapse(TenantId(tenant), tracepoint_id)
        return len(found)

    async def keep_up(self, every: timedelta = EVERY) -> NoReturn:
        """Again and again, until cancelled; a dependency that is away is tried again."""
        while True:
            try:
                await self.start_due()
            except (ProbegateError, OSError, *DATABASE_UNREACHABLE) as error:
                _log.warning("starts have to wait: %s", error)
            await asyncio.sleep(every.total_seconds())

    async def _start(self, tenant: TenantId, tracepoint_id: str) -> None:
        async with self._database.transaction(tenant) as session:
            asked = await session.get(TracepointRow, (tenant, tracepoint_id))
        if asked is None:
            return
        try:
            grant = await self._deciding.requester(asked)
            await self._sealed(grant, tracepoint_id)
        except (DependencyUnavailable, AuditUnavailable):
            raise  # later: it stays due
        except ProbegateError as error:
            await self._failed(tenant, tracepoint_id, error)

    async def _sealed(self, grant: Grant, tracepoint_id: str) -> None:
        tenant, path = grant.resource.tenant, self._sealing.path
        resource = f"tracepoint/{tracepoint_id}"
        async with self._sealing.step(tenant, "system", AuditAction.TRACEPOINT_START, resource) as (session, out):
            row = await session.get(TracepointRow, (tenant, tracepoint_id), with_for_update=True)
            if row is None or row.state != State.SCHEDULED:
                return  # another replica was faster, or somebody stopped it
            now = self._clock.now()
            approved = await path.templates.approved(
                session, grant, row.template_name, row.template_version, row.template_digest
            )
            refuse_own_approval(approved, grant.principal.id)
            guard = await self._policies.guard(session, tenant)
            more = guard.approvals if row.process_cap is None else 0
            case = await case_of(session, self._reviewers, row, approved, now, more)
            said = await reviews_of(session, row)
            still = lacking(case, said)
            if still:
                raise Conflict(
                    f"the request lacks {' and '.join(still)} that count today: reviewers leave, rules tighten; ask again",
                    code="changed_after_approval",
                )
            ttl, target = timedelta(milliseconds=row.ttl_ms), target_of(row.target)
            facts = request_facts(
                now,
                ttl=ttl,
                labels=dict(target.labels),
                service=target.service,
                template=approved.name,
                risk=approved.risk,
            )
            confirm(grant, facts)
            plan = await path.masking.bind(session, grant, approved)
            locks = await active_locks(session, tenant, now)
            await self._sealing.refuse_locked(session, row, {SubjectId(row.requested_by)}, locks)
            agents = await self._sealing.agents(session, tenant, locks)
            before = await live_row(session, tenant, row.name)
            if before is not None:
                await self._stopping.refuse_others(session, grant, before)
                await self._sealing.replaced(session, out, "system", before)
            row.table_version = await table_version(session, tenant, row.table_name, row.columns, now)
            move(row, Event.START)
            row.detail = ""
            rollout = begin(row, agents, guard.soak, now) if row.process_cap is None else None
            counting = [approval.person for approval in counted(case, said)]
            started = {"request": row.request_digest, "by": row.requested_by, "approved_by": counting}
            await self._sealing.log(session, tenant, "system", AuditAction.TRACEPOINT_START, row, started)
            only = reached(rollout) if rollout is not None else None
            await self._sealing.sealed(session, out, grant, row, plan, Until(ttl), only)
            if rollout is not None:
                session.add(rollout)
                await session.flush()

    async def _failed(self, tenant: TenantId, tracepoint_id: str, error: ProbegateError) -> None:
        async with self._database.transaction(tenant) as session:
            row = await self._row(session, tenant, tracepoint_id, State.SCHEDULED)
            if row is None:
                return
            move(row, Event.NOT_STARTED)
            row.ended_at, row.end_reason = self._clock.now(), "not_started"
            row.detail = f"not started: {error.detail}"
            details = {"code": error.code, "reason": error.detail}
            await self._sealing.log(session, tenant, "system", AuditAction.TRACEPOINT_END, row, details, Outcome.FAILED)

    async def _lapse(self, tenant: TenantId, tracepoint_id: str) -> None:
        async with self._database.transaction(tenant) as session:
            row = await self._row(session, tenant, tracepoint_id, State.AWAITING)
            if row is None:
                return
            move(row, Event.LAPSE)
            row.ended_at, row.end_reason = self._clock.now(), "lapsed"
            row.detail = "nobody finished the review of the request in time: ask again"
            await self._sealing.log(
                session, tenant, "system", AuditAction.TRACEPOINT_LAPSE, row, {"request": row.request_digest}
            )

    @staticmethod
    async def _row(session: AsyncSession, tenant: TenantId, tracepoint_id: str, state: State) -> TracepointRow | None:
        row = await session.get(TracepointRow, (tenant, tracepoint_id), with_for_update=True)
        return row if row is not None and row.state == state else None
