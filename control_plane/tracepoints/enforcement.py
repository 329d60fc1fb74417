"""Locks and revoked templates -> what runs of them is taken back, within a second or two. A loop beside the requests.

A lock on a user, role, tenant, template, digest or build-id ends whole tracepoints, those that wait for their start too.
So does the fleet guard: what was let through as small and turns out to be in more processes than that is taken back. A
lock on an agent ends nothing by itself: the gateway gives that agent nothing more and takes away what it has; here it is
only woken. Releasing a lock starts nothing: what was ended is over, and an agent gets only newer versions back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from datetime import timedelta
from itertools import groupby
from operator import itemgetter
from typing import Final, NoReturn

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.delivery.feed import Held
from control_plane.delivery.ports import RetractReason, SpecStore
from control_plane.delivery.tables import AgentRow
from control_plane.foundation.audit_trail import AuditAction, AuditEvent, AuditTrail, Outcome
from control_plane.foundation.clock import Clock
from control_plane.foundation.database import DATABASE_UNREACHABLE, Database, EveryTenant
from control_plane.foundation.errors import DependencyUnavailable, ProbegateError
from control_plane.foundation.identifiers import SubjectId, TenantId
from control_plane.policy.locks import Lock, LockKind, Touched, active_locks, hit, locked_agents, locked_build_ids
from control_plane.policy.proposal_tables import PersonLinkRow
from control_plane.policy.roles import RoleBook
from control_plane.policy.tables import MemberRow
from control_plane.templates.lifecycle import RUNNABLE
from control_plane.templates.tables import TemplateVersionRow
from control_plane.tracepoints.lifecycle import LIVE, WAITING, AgentState, Event, State, after
from control_plane.tracepoints.reading import agents_of, lock_rows
from control_plane.tracepoints.tables import TracepointRow

EVERY: Final = timedelta(seconds=1)  # of the five in which a lock has to have worked
OVER_GUARD: Final = "fleet_guard"  # an end reason
_log = logging.getLogger(__name__)


async def touched_by(
    session: AsyncSession, row: TracepointRow, subject: SubjectId, book: RoleBook, build_ids: Iterable[str]
) -> Touched:
    """What a lock could stop a tracepoint for, asked for by this subject: with their other logins, with their roles."""
    links = (await session.scalars(select(PersonLinkRow).where(PersonLinkRow.tenant == row.tenant))).all()
    users = {str(subject)}
    for _ in links:  # each round follows the links one step; there are no longer chains than links
        wider = users | {
            end for link in links if {link.subject, link.person} & users for end in (link.subject, link.person)
        }
        if wider == users:
            break
        users = wider
    roles = await session.scalars(
        select(MemberRow.role).where(MemberRow.tenant == row.tenant, MemberRow.subject == subject)
    )
    return Touched(
        tenant=TenantId(row.tenant),
        users=frozenset(users),
        roles=book.closure(tuple(roles)),
        template=row.template_name,
        digest=row.template_digest,
        build_ids=frozenset(build_ids),
    )


class LockedAgents:
    """Which agents are to run nothing, and which builds nobody is to probe: what `delivery.feed` asks at each reading."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def __call__(self, tenant: TenantId) -> Held:
        """Raises DependencyUnavailable."""
        try:
            async with self._database.transaction(tenant) as session:
                locks = await active_locks(session, tenant, self._clock.now())
                return Held(locked_agents(locks), locked_build_ids(locks))
        except DATABASE_UNREACHABLE as error:
            raise DependencyUnavailable("the database does not answer: try again") from error


class Enforcement:
    def __init__(self, database: Database, audit: AuditTrail, clock: Clock, store: SpecStore, book: RoleBook) -> None:
        self._database = database
        self._audit = audit
        self._clock = clock
        self._store = store
        self._book = book
        self._told: set[tuple[str, str]] = set()  # locks that the gateways were woken for

    async def enforce(self) -> int:
        """Take back all that is locked or revoked; how many tracepoints that were."""
        async with self._database.transaction(EveryTenant("which tracepoints live")) as session:
            live = await session.execute(
                select(TracepointRow.tenant, TracepointRow.id)
                .where(TracepointRow.state.in_([state.value for state in (*LIVE, *WAITING)]))
                .order_by(TracepointRow.tenant, TracepointRow.id)
            )
            found = live.all()
        stopped = 0
        for tenant, group in groupby(found, itemgetter(0)):
            # One transaction a tenant: a lock on everything is one change, however much it ends.
            async with self._database.transaction(TenantId(tenant)) as session:
                locks = await active_locks(session, tenant, self._clock.now())
                ids = [tracepoint_id for _, tracepoint_id in group]
                await lock_rows(session, TenantId(tenant), ids)
                for tracepoint_id in ids:
                    stopped += await self._looked_at(session, tenant, tracepoint_id, locks)
        await self._wake()
        return stopped

    async def keep_up(self, every: timedelta = EVERY) -> NoReturn:
        """Again and again, until cancelled; a dependency that is away is tried again."""
        while True:
            try:
                await self.enforce()
            except (ProbegateError, OSError, *DATABASE_UNREACHABLE) as error:
                _log.warning("locks have to wait: %s", error)
            await asyncio.sleep(every.total_seconds())

    async def _looked_at(self, session: AsyncSession, tenant: str, tracepoint_id: str, locks: Sequence[Lock]) -> bool:
        row = await session.get(TracepointRow, (tenant, tracepoint_id), with_for_update=True)
        if row is None or State(row.state) not in {*LIVE, *WAITING}:
            return False
        reason, why = await self._why(session, row, locks)
        state = after(State(row.state), Event.DELETE)
        if not reason or state is None:
            return False
        waited = State(row.state) in WAITING
        row.state = state.value
        row.stopped_at = self._clock.now()
        row.end_reason, row.detail = reason, why
        if waited:
            row.ended_at = row.stopped_at
        for status in await agents_of(session, row):
            if status.state == AgentState.PENDING:
                status.state = AgentState.STOPPED.value
        event = AuditEvent(
            AuditAction.TRACEPOINT_DELETE,
            Outcome.SUCCESS,
            "system",
            f"tracepoint/{row.id}",
            {"name": row.name, "why": reason, "detail": why},
        )
        await self._audit.append(session, TenantId(tenant), event)
        await session.flush()
        if not waited:
            word = RetractReason(reason) if reason in set(RetractReason) else RetractReason.DELETED
            await self._store.retract(TenantId(tenant), row.id, word)
        return True

    async def _why(self, session: AsyncSession, row: TracepointRow, locks: Sequence[Lock]) -> tuple[str, str]:
        """Why it has to go, as its end reason and in words; empty: it may stay."""
        version = await session.get(TemplateVersionRow, (row.tenant, row.template_name, row.template_version))
        if version is not None and version.state not in {state.value for state in RUNNABLE}:
            return RetractReason.REVOKED, f"{row.template_name} version {row.template_version} is {version.state}"
        statuses = await agents_of(session, row)
        processes = sum(status.processes for status in statuses if status.state == AgentState.ARMED)
        if row.process_cap is not None and processes > row.process_cap:
            return OVER_GUARD, (
                f"it is in {processes} processes, {row.process_cap} are let through by the fleet guard: ask again, it "
                "needs one more approval and goes out in stages"
            )
        if not locks:
            return "", ""
        builds = {build_id for status in statuses for build_id in status.build_ids}
        touched = await touched_by(session, row, SubjectId(row.requested_by), self._book, builds)
        lock = hit(locks, touched)
        return (RetractReason.LOCKED, lock.words()) if lock is not None else ("", "")

    async def _wake(self) -> None:
        """Let the gateways look again for each lock on an agent or a build that is new or gone: a retraction of nothing, named after it."""
        async with self._database.transaction(EveryTenant("which agents are locked")) as session:
            tenants = (await session.scalars(select(AgentRow.tenant).distinct())).all()
            held = {
                (tenant, lock.id)
                for tenant in tenants
                for lock in await active_locks(session, tenant, self._clock.now())
                if lock.kind in {LockKind.AGENT, LockKind.BUILD_ID}
            }
        for tenant, lock_id in sorted(held ^ self._told):
            await self._store.retract(TenantId(tenant), lock_id, RetractReason.LOCKED)
        self._told = held
