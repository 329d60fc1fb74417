"""What agents say of a tracepoint -> its state, its accounting, and entries in the log. The StatusSink of `delivery`.

Nothing an agent says is believed beyond its own line: it must be in the tracepoint's audience, words outside the known
ones are replaced, texts and numbers are bounded, and each event of a version is logged once, however often it is told.
When every agent of the audience is done, the tracepoint is over, and the log holds its end with the last accounting.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession
from wire.v1 import gateway_pb2, records_pb2

from control_plane.delivery.ports import AgentReport, RetractReason, SpecStore
from control_plane.foundation.audit_trail import AuditAction, AuditEvent, AuditTrail, Outcome
from control_plane.foundation.clock import Clock
from control_plane.foundation.database import Database
from control_plane.foundation.identifiers import AgentId, TenantId
from control_plane.tracepoints.canary_alarm import CanaryAlarm
from control_plane.tracepoints.ending import log_end
from control_plane.tracepoints.lifecycle import (
    CANARY,
    END_REASONS,
    HOST_OWNER,
    OVER,
    AgentState,
    Event,
    State,
    after,
    is_done,
)
from control_plane.tracepoints.model import Accounting
from control_plane.tracepoints.reading import agents_of, lock_rows
from control_plane.tracepoints.tables import TracepointAgentRow, TracepointRow

MAX_ID: Final = 40  # characters of a tracepoint's id
MAX_DETAIL: Final = 1000  # characters; a compiler's refusal with the verifier's last lines
MAX_REASON: Final = 40
MAX_BUILD_ID: Final = 128  # hex of the longest hash in use
MAX_BUILD_IDS: Final = 64  # executables of one target on one host
MAX_LOST: Final = 16  # reasons; the agent knows a handful
MAX_COUNT: Final = (1 << 63) - 1  # what BIGINT and JSON readers hold
PATIENCE: Final = (0.05, 0.2, 0.5)  # seconds: an agent may answer before the request that published has committed
_STATES: Final[Mapping[int, AgentState]] = {
    gateway_pb2.STATE_ADMITTED: AgentState.ADMITTED,
    gateway_pb2.STATE_ARMED: AgentState.ARMED,
    gateway_pb2.STATE_ENDED: AgentState.ENDED,
    gateway_pb2.STATE_FAILED: AgentState.FAILED,
}
_EVENTS: Final[Mapping[str, AuditAction]] = {
    action.value: action
    for action in (
        AuditAction.AGENT_ADMIT,
        AuditAction.AGENT_REFUSE,
        AuditAction.AGENT_COMPILE,
        AuditAction.AGENT_ATTACH,
        AuditAction.AGENT_DETACH,
    )
}
_BEFORE_ADMISSION: Final = frozenset({AgentState.PENDING, AgentState.REFUSED})
_NEVER_RAN: Final = frozenset({AgentState.REFUSED, AgentState.FAILED})
_log = logging.getLogger(__name__)


class AgentReports:
    def __init__(self, database: Database, audit: AuditTrail, clock: Clock, store: SpecStore) -> None:
        self._database = database
        self._audit = audit
        self._clock = clock
        self._store = store
        self._alarm = CanaryAlarm(audit, clock)

    async def report(self, tenant: TenantId, agent: AgentId, report: AgentReport) -> None:
        await self.report_together(tenant, agent, (report,))

    async def report_together(self, tenant: TenantId, agent: AgentId, reports: Sequence[AgentReport]) -> None:
        """One after the other in one transaction. Raises AuditUnavailable, DependencyUnavailable: then the agent says it again."""
        left = tuple(reports)
        for wait in (*PATIENCE, None):
            async with self._database.transaction(tenant) as session:
                left = await self._unknown_of(session, tenant, agent, left)
            if not left:
                return
            if wait is not None:
                await asyncio.sleep(wait)
        for tracepoint_id in sorted({report.tracepoint_id for report in left}):
            _log.warning("agent %s of %s spoke of %r, which it was not given", agent, tenant, tracepoint_id[:60])

    async def _unknown_of(
        self, session: AsyncSession, tenant: TenantId, agent: AgentId, reports: Sequence[AgentReport]
    ) -> tuple[AgentReport, ...]:
        """Take them, but for those about what this agent was not given (yet?): what follows about the same stays behind it."""
        await lock_rows(session, tenant, (report.tracepoint_id[:MAX_ID] for report in reports))
        left: dict[str, list[AgentReport]] = {}
        for report in reports:
            if report.tracepoint_id in left or not await self._taken(session, tenant, agent, report):
                left.setdefault(report.tracepoint_id, []).append(report)
        return tuple(itertools.chain.from_iterable(left.values()))

    async def _taken(self, session: AsyncSession, tenant: TenantId, agent: AgentId, report: AgentReport) -> bool:
        """False when this agent was given no such tracepoint."""
        key = (tenant, report.tracepoint_id[:MAX_ID])
        row = await session.get(TracepointRow, key, with_for_update=True)
        status = await session.get(TracepointAgentRow, (*key, agent)) if row is not None else None
        if row is None or status is None:
            return False
        version = report.version or row.version  # an agent that runs nothing of it does not know a version
        if not status.version <= version <= row.version:
            return True  # of an earlier version, told late; or of one that never was
        if version > status.version:
            status.version, status.logged = version, []
            if is_done(AgentState(status.state), status.end_reason):
                _say(status, AgentState.PENDING)  # that was the version before
        await self._update(session, row, status, report)
        status.updated_at = self._clock.now()
        await self._settle(session, row)
        return True

    async def _update(
        self, session: AsyncSession, row: TracepointRow, status: TracepointAgentRow, report: AgentReport
    ) -> None:
        match report:
            case gateway_pb2.Ack():
                if status.state in _BEFORE_ADMISSION:
                    _say(status, AgentState.ADMITTED)
                await self._once(session, row, status, AuditAction.AGENT_ADMIT)
            case gateway_pb2.Nack():
                _say(
                    status,
                    AgentState.REFUSED,
                    f"{_text(report.reason, MAX_REASON)}: {_text(report.detail, MAX_DETAIL)}",
                )
                await self._once(session, row, status, AuditAction.AGENT_REFUSE)
            case gateway_pb2.Status():
                if status.state in _NEVER_RAN and report.state == gateway_pb2.STATE_ENDED:
                    return  # it answers the retraction of what it never ran; why it did not is what people have to read
                known = status.end_reason
                _tell(status, report)
                if status.end_reason == CANARY and known != CANARY:
                    where = f"on the host: {status.detail}"
                    await self._alarm.sound(session, TenantId(row.tenant), row.id, AgentId(status.agent_id), where)
                if report.event in _EVENTS:
                    await self._once(session, row, status, _EVENTS[report.event])
                elif status.end_reason == HOST_OWNER:  # told again after the connection was away
                    await self._once(session, row, status, AuditAction.AGENT_DETACH)
            case _:
                pass

    async def _settle(self, session: AsyncSession, row: TracepointRow) -> None:
        """Let the tracepoint follow its agents."""
        statuses = await agents_of(session, row)
        event = _event(row, statuses)
        state = after(State(row.state), event) if event is not None else None
        if event is None or state is None:
            return
        row.state = state.value
        if state in OVER:
            row.ended_at = self._clock.now()
            row.end_reason = row.end_reason or _why(statuses)
            await log_end(session, self._audit, row, statuses, "system")
            await session.flush()
            await self._store.retract(TenantId(row.tenant), row.id, RetractReason.DELETED)

    async def _once(
        self, session: AsyncSession, row: TracepointRow, status: TracepointAgentRow, action: AuditAction
    ) -> None:
        """One entry for each event of a version."""
        if action.value in status.logged:
            return
        status.logged = [*status.logged, action.value]
        refused = action is AuditAction.AGENT_REFUSE
        detail: dict[str, object] = {"name": row.name, "version": status.version, "state": status.state}
        if action is AuditAction.AGENT_ATTACH:
            detail |= {"sites": status.sites, "processes": status.processes}
        if status.detail:
            detail["detail"] = status.detail
        if status.end_reason:
            detail["end_reason"] = status.end_reason
        event = AuditEvent(
            action=action,
            outcome=Outcome.REFUSED if refused else Outcome.SUCCESS,
            actor=f"agent:{status.agent_id}",
            resource=f"tracepoint/{row.id}",
            detail=detail,
        )
        await self._audit.append(session, TenantId(row.tenant), event)


def _tell(status: TracepointAgentRow, report: gateway_pb2.Status) -> None:
    state = _STATES.get(report.state)
    if state is not None:
        reason = (
            "" if state is not AgentState.ENDED else report.end_reason if report.end_reason in END_REASONS else "error"
        )
        _say(status, state, _text(report.detail, MAX_DETAIL), reason)
    status.sites, status.processes = report.sites, report.processes
    if report.build_ids:
        status.build_ids = sorted({_text(build_id, MAX_BUILD_ID) for build_id in report.build_ids[:MAX_BUILD_IDS]})
    if report.HasField("accounting"):
        status.accounting = accounting_of(report.accounting).document()


def _say(status: TracepointAgentRow, state: AgentState, detail: str = "", end_reason: str = "") -> None:
    status.state, status.detail, status.end_reason = state.value, detail, end_reason


def _event(row: TracepointRow, statuses: Sequence[TracepointAgentRow]) -> Event | None:
    """What the agents' states together mean for the tracepoint."""
    if statuses and all(_done(row, status) for status in statuses):
        ran = any(status.state in {AgentState.ENDED, AgentState.STOPPED} for status in statuses)
        return Event.AGENTS_ENDED if ran else Event.AGENTS_FAILED
    if any(status.state == AgentState.ARMED for status in statuses):
        return Event.ARM
    return None


def _done(row: TracepointRow, status: TracepointAgentRow) -> bool:
    """Whether nothing more comes from this agent: for a version that was taken back, any end will do."""
    if row.state == State.STOPPING:
        return status.state not in {AgentState.PENDING, AgentState.ADMITTED, AgentState.ARMED}
    return status.version == row.version and is_done(AgentState(status.state), status.end_reason)


def _why(statuses: Sequence[TracepointAgentRow]) -> str:
    """The agents' reason, if they agree; the first of them by agent else. For a person, each agent's own stands beside it."""
    reasons = [status.end_reason for status in statuses if status.end_reason]
    return reasons[0] if reasons else "refused" if any(s.state == AgentState.REFUSED for s in statuses) else "failed"


def accounting_of(sent: records_pb2.Accounting) -> Accounting:
    """The counters as an agent sent them, bounded."""
    lost = {_text(reason, MAX_REASON): min(count, MAX_COUNT) for reason, count in sorted(sent.lost.items())[:MAX_LOST]}
    return Accounting(
        hits=min(sent.hits, MAX_COUNT),
        delivered=min(sent.delivered, MAX_COUNT),
        filtered=min(sent.filtered, MAX_COUNT),
        sampled_out=min(sent.sampled_out, MAX_COUNT),
        throttled=min(sent.throttled, MAX_COUNT),
        expired=min(sent.expired, MAX_COUNT),
        lost=lost,
    )


def _text(text: str, most: int) -> str:
    clean = "".join(letter if letter.isprintable() or letter == "\n" else "�" for letter in text[:most])
    return clean if len(text) <= most else clean + "…"
