"""A tracepoint that reaches many processes, stage by stage; its end at the first sign of trouble. A loop beside the requests.

Each look takes what the agents of the stages so far say (`stages.judge`). All well for the soak time: the next stage is
sealed, the same bytes for a wider audience and until the same moment. Trouble, or an agent that says nothing: all of it is
taken back, the reason stands in the tracepoint, in the log and in a notice to everybody. What is written down is where it
stands, so a server that starts again goes on from there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, NoReturn

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.delivery.ports import RetractReason
from control_plane.foundation.audit_trail import AuditAction, Outcome
from control_plane.foundation.clock import Clock
from control_plane.foundation.database import DATABASE_UNREACHABLE, Database, EveryTenant
from control_plane.foundation.errors import AuditUnavailable, DependencyUnavailable, ProbegateError
from control_plane.foundation.identifiers import TenantId
from control_plane.policy.model import Grant
from control_plane.tracepoints.lifecycle import OVER, AgentState, Event, State, after
from control_plane.tracepoints.notices import NoticeKind, announce
from control_plane.tracepoints.ports import Deciding
from control_plane.tracepoints.reading import agents_of
from control_plane.tracepoints.sealing import Sealing, Until
from control_plane.tracepoints.stages import Judgement, Said, Verdict, judge, split
from control_plane.tracepoints.tables import RolloutRow, TracepointAgentRow, TracepointRow

RUNNING: Final = "running"
DONE: Final = "done"
STOPPED: Final = "stopped"
PATIENCE: Final = timedelta(minutes=2)  # for an agent's first word; past it nobody knows what the stage does to it
EVERY: Final = timedelta(seconds=1)
_log = logging.getLogger(__name__)


def begin(row: TracepointRow, agents: Sequence[str], soak: timedelta, now: datetime) -> RolloutRow:
    """For a tracepoint that is being sealed now; to be added to the session after it."""
    return RolloutRow(
        tenant=row.tenant,
        tracepoint_id=row.id,
        stages=[list(stage) for stage in split(agents, row.counts)],
        stage=0,
        state=RUNNING,
        soak_ms=soak // timedelta(milliseconds=1),
        stage_at=now,
        settled_at=None,
        detail="",
    )


def reached(rollout: RolloutRow) -> frozenset[str]:
    """The agents of all stages so far."""
    return frozenset(agent for stage in rollout.stages[: rollout.stage + 1] for agent in stage)


async def reached_of(session: AsyncSession, row: TracepointRow) -> frozenset[str] | None:
    """While it goes out in stages, the agents that may have it; else None."""
    rollout = await session.get(RolloutRow, (row.tenant, row.id))
    return reached(rollout) if rollout is not None and rollout.state == RUNNING else None


class Rollouts:
    def __init__(self, database: Database, clock: Clock, sealing: Sealing, deciding: Deciding) -> None:
        self._database = database
        self._clock = clock
        self._sealing = sealing
        self._deciding = deciding

    async def advance(self) -> int:
        """Look at each that runs; how many went on, ended or were stopped."""
        async with self._database.transaction(EveryTenant("which roll-outs run")) as session:
            wanted = select(RolloutRow.tenant, RolloutRow.tracepoint_id).where(RolloutRow.state == RUNNING)
            found = (await session.execute(wanted)).all()
        moved = 0
        for tenant, tracepoint_id in found:
            moved += await self._looked_at(TenantId(tenant), tracepoint_id)
        return moved

    async def keep_up(self, every: timedelta = EVERY) -> NoReturn:
        """Again and again, until cancelled; a dependency that is away is tried again."""
        while True:
            try:
                await self.advance()
            except (ProbegateError, OSError, *DATABASE_UNREACHABLE) as error:
                _log.warning("roll-outs have to wait: %s", error)
            await asyncio.sleep(every.total_seconds())

    async def _looked_at(self, tenant: TenantId, tracepoint_id: str) -> bool:
        async with self._database.transaction(tenant) as session:
            row = await session.get(TracepointRow, (tenant, tracepoint_id), with_for_update=True)
            rollout = await session.get(RolloutRow, (tenant, tracepoint_id), with_for_update=True)
            if row is None or rollout is None or rollout.state != RUNNING:
                return False
            verdict = judge(reached(rollout), _said(row, await agents_of(session, row)))
            if verdict.judgement is Judgement.TROUBLE:
                await self._stop(session, row, rollout, verdict.why)
                return True
            if State(row.state) in {*OVER, State.STOPPING}:
                rollout.state, rollout.detail = STOPPED, f"the tracepoint ended: {row.end_reason}"
                return True
            if not self._settled(rollout, verdict):
                if self._clock.now() - rollout.stage_at > PATIENCE and verdict.judgement is Judgement.WAITING:
                    await self._stop(session, row, rollout, f"{verdict.why} in {PATIENCE.seconds // 60} minutes")
                    return True
                return False
            if rollout.stage + 1 == len(rollout.stages):
                rollout.state = DONE
                await self._write(session, row, rollout, {"state": DONE})
                return True
        return await self._next(tenant, tracepoint_id)

    def _settled(self, rollout: RolloutRow, verdict: Verdict) -> bool:
        """Whether all has been well for the soak time."""
        now = self._clock.now()
        if verdict.judgement is not Judgement.WELL:
            rollout.settled_at = None
            return False
        rollout.settled_at = rollout.settled_at or now
        return now - rollout.settled_at >= timedelta(milliseconds=rollout.soak_ms)

    async def _next(self, tenant: TenantId, tracepoint_id: str) -> bool:
        """The next stage, with everything proved anew; what cannot be proved any more stops it."""
        async with self._database.transaction(tenant) as session:
            asked = await session.get(TracepointRow, (tenant, tracepoint_id))
        if asked is None:
            return False
        try:
            grant = await self._deciding.requester(asked)
            await self._seal_next(grant, tracepoint_id)
        except (DependencyUnavailable, AuditUnavailable):
            raise
        except ProbegateError as error:
            async with self._database.transaction(tenant) as session:
                row = await session.get(TracepointRow, (tenant, tracepoint_id), with_for_update=True)
                rollout = await session.get(RolloutRow, (tenant, tracepoint_id), with_for_update=True)
                if row is not None and rollout is not None and rollout.state == RUNNING:
                    await self._stop(session, row, rollout, error.detail)
        return True

    async def _seal_next(self, grant: Grant, tracepoint_id: str) -> None:
        tenant, path = grant.resource.tenant, self._sealing.path
        resource = f"tracepoint/{tracepoint_id}"
        async with self._sealing.step(tenant, "system", AuditAction.TRACEPOINT_ROLLOUT, resource) as (session, out):
            row = await session.get(TracepointRow, (tenant, tracepoint_id), with_for_update=True)
            rollout = await session.get(RolloutRow, (tenant, tracepoint_id), with_for_update=True)
            if row is None or rollout is None or rollout.state != RUNNING or rollout.settled_at is None:
                return
            if after(State(row.state), Event.RENEW) is None or rollout.stage + 1 >= len(rollout.stages):
                return
            approved = await path.templates.approved(
                session, grant, row.template_name, row.template_version, row.template_digest, renewal=True
            )
            plan = await path.masking.bind(session, grant, approved)
            rollout.stage += 1
            rollout.stage_at, rollout.settled_at = self._clock.now(), None
            until = Until(timedelta(milliseconds=row.ttl_ms), row.not_after)
            await self._sealing.sealed(session, out, grant, row, plan, until, reached(rollout))
            await self._write(session, row, rollout, {"state": RUNNING, "version": row.version})

    async def _stop(self, session: AsyncSession, row: TracepointRow, rollout: RolloutRow, why: str) -> None:
        """Take back all that runs of it, say why, and tell everybody."""
        rollout.state, rollout.detail = STOPPED, why
        row.detail = f"the roll-out was stopped at stage {rollout.stage + 1} of {len(rollout.stages)}: {why}"
        if after(State(row.state), Event.DELETE) is not None:
            await self._sealing.stopped(session, row, Event.DELETE, "rollout_stopped")
            await session.flush()
            await self._sealing.path.store.retract(TenantId(row.tenant), row.id, RetractReason.DELETED)
        now = self._clock.now()
        text = f"{row.name} ({row.id}): {row.detail}"
        await announce(
            session, TenantId(row.tenant), NoticeKind.ROLLOUT_STOPPED, f"tracepoint/{row.id}", text, now, closed=True
        )
        await self._write(session, row, rollout, {"state": STOPPED, "why": why}, Outcome.FAILED)

    async def _write(
        self,
        session: AsyncSession,
        row: TracepointRow,
        rollout: RolloutRow,
        detail: dict[str, object],
        outcome: Outcome = Outcome.SUCCESS,
    ) -> None:
        place = {"stage": rollout.stage + 1, "stages": len(rollout.stages), "agents": len(reached(rollout))}
        await self._sealing.log(
            session, TenantId(row.tenant), "system", AuditAction.TRACEPOINT_ROLLOUT, row, place | detail, outcome
        )


def _said(row: TracepointRow, statuses: Sequence[TracepointAgentRow]) -> list[Said]:
    return [
        Said(
            status.agent_id,
            status.version == row.version,
            AgentState(status.state),
            status.end_reason,
            status.detail,
        )
        for status in statuses
    ]
