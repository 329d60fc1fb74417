"""A tracepoint's row and its MaskedPlan -> sealed for the agents that are there, and on its way. What every start shares.

`service` seals what was asked for just now, `starting` what is due, `rollouts` the next stage of what runs. Each of them
opens one `step`: the row, the entries about it and the publication stand or fall together.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from wire.identity import agent_uri

from control_plane.delivery.ports import SpecStore
from control_plane.foundation.audit_trail import AuditAction, AuditEvent, AuditTrail, Outcome
from control_plane.foundation.audited import audited
from control_plane.foundation.clock import Clock
from control_plane.foundation.correlation import current_request_id
from control_plane.foundation.database import Database
from control_plane.foundation.errors import Conflict, Denied
from control_plane.foundation.identifiers import SubjectId, TenantId
from control_plane.masking.key_wrapping import KeyWrapper
from control_plane.masking.model import MaskedPlan
from control_plane.masking.service import MaskingService
from control_plane.policy.locks import Lock, active_locks, hit, locked_agents, locked_build_ids
from control_plane.policy.model import Grant
from control_plane.policy.quotas import Quota, Quotas
from control_plane.policy.roles import RoleBook
from control_plane.policy.tables import TenantRow
from control_plane.signing.model import SealContext
from control_plane.signing.service import Signer
from control_plane.templates.service import TemplateService
from control_plane.tracepoints.enforcement import touched_by
from control_plane.tracepoints.lifecycle import AgentState, Event, State, after
from control_plane.tracepoints.model import Accounting, Tracepoint
from control_plane.tracepoints.ports import ActiveAgents
from control_plane.tracepoints.publications import Publications
from control_plane.tracepoints.reading import agents_of, target_of, tracepoint_of
from control_plane.tracepoints.tables import TracepointAgentRow, TracepointRow
from control_plane.tracepoints.tallies import count_alive


@dataclass(frozen=True)
class Path:
    """The steps before and after this one. `wrapper` encrypts envelopes at rest: they hold the tenant's masking key."""

    templates: TemplateService
    masking: MaskingService
    fleet: ActiveAgents
    signer: Signer
    store: SpecStore
    wrapper: KeyWrapper
    book: RoleBook
    quotas: Quotas = field(default_factory=Quotas)


@dataclass(frozen=True)
class Until:
    """How long: `ttl` from now, and not after `not_after` where that was fixed before."""

    ttl: timedelta
    not_after: datetime | None = None


class Sealing:
    def __init__(self, database: Database, audit: AuditTrail, clock: Clock, path: Path) -> None:
        self._database = database
        self._audit = audit
        self._clock = clock
        self.path = path

    @asynccontextmanager
    async def step(
        self, tenant: TenantId, actor: str, action: AuditAction, resource: str
    ) -> AsyncIterator[tuple[AsyncSession, Publications]]:
        """One transaction; what it published is taken back when it does not commit."""
        publications = Publications(self.path.store)
        try:
            async with audited(self._database, self._audit, tenant, actor, action, resource) as session:
                yield session, publications
                await publications.retract_replaced()
        except BaseException:
            await publications.take_back()
            raise

    async def sealed(
        self,
        session: AsyncSession,
        publications: Publications,
        grant: Grant,
        row: TracepointRow,
        plan: MaskedPlan,
        until: Until,
        only: Collection[str] | None = None,
    ) -> Tracepoint:
        """Seal the next version for the agents that are there now, or for `only` those of them, and publish it.

        Raises Conflict, Denied (`locked`), DependencyUnavailable.
        """
        tenant, now = grant.resource.tenant, self._clock.now()
        locks = await active_locks(session, tenant, now)
        await self.refuse_locked(session, row, {grant.principal.id, SubjectId(row.requested_by)}, locks)
        agents = await self.agents(session, tenant, locks, only)
        row.version += 1
        row.ttl_ms = until.ttl // timedelta(milliseconds=1)
        row.issued_at, row.not_after = now, until.not_after or now + until.ttl
        context = SealContext(
            tracepoint_id=row.id,
            name=row.name,
            version=row.version,
            tenant=tenant,
            audience=tuple(agent_uri(agent) for agent in agents),
            issued_at=now,
            not_after=row.not_after,
            ttl=min(until.ttl, row.not_after - now),
            target=target_of(row.target),
            requested_by=SubjectId(row.requested_by),
            table_version=row.table_version,
            parameters=row.parameters,
        )
        spec = self.path.signer.seal(plan, context)
        row.envelope, row.spec_digest = self.path.wrapper.wrap(tenant, row.version, spec.envelope), spec.digest
        session.add(row)
        try:
            await session.flush()
        except IntegrityError as error:
            raise Conflict(f"somebody requested {row.name} at the same moment: ask again", code="raced") from error
        statuses = await self._expect(session, row, agents)
        sealed = {"version": spec.version, "digest": spec.digest, "not_after": spec.not_after, "agents": len(agents)}
        await self.log(session, tenant, grant.principal.id, AuditAction.TRACEPOINT_SEAL, row, sealed)
        published = {"version": spec.version}
        await self.log(session, tenant, grant.principal.id, AuditAction.TRACEPOINT_PUBLISH, row, published)
        await session.flush()
        await publications.publish(spec)
        return tracepoint_of(row, statuses)

    async def agents(
        self, session: AsyncSession, tenant: TenantId, locks: Sequence[Lock], only: Collection[str] | None = None
    ) -> tuple[str, ...]:
        """Who can be given a spec now. Raises Conflict when that is nobody."""
        shut = locked_agents(locks)
        found = tuple(
            agent.agent_id
            for agent in await self.path.fleet.active_agents(session, tenant)
            if agent.agent_id not in shut and (only is None or agent.agent_id in only)
        )
        if not found:
            raise Conflict(
                "no agent of this tenant is connected, so nobody could run it: make a join token with "
                "`probegate agent token` and start `probegate-agent run` on the host",
                code="no_agents",
            )
        return found

    async def refuse_locked(
        self, session: AsyncSession, row: TracepointRow, subjects: Collection[SubjectId], locks: Sequence[Lock]
    ) -> None:
        """Neither the one who asks now nor the one whose it is may be locked, nor what it is made of. Raises Denied."""
        builds = locked_build_ids(locks) & {
            build_id for status in await agents_of(session, row) for build_id in status.build_ids
        }
        for subject in subjects:
            lock = hit(locks, await touched_by(session, row, subject, self.path.book, builds))
            if lock is not None:
                raise Denied(
                    f"not now: {lock.words()}", code="locked", extra={"lock": lock.id, "kind": lock.kind.value}
                )

    async def replaced(self, session: AsyncSession, publications: Publications, actor: str, row: TracepointRow) -> None:
        await self.stopped(session, row, Event.REPLACE, "replaced")
        details = {"why": "replaced"}
        await self.log(session, TenantId(row.tenant), actor, AuditAction.TRACEPOINT_DELETE, row, details)
        await session.flush()  # before the new one takes the name
        publications.retract_later(TenantId(row.tenant), row.id)

    async def stopped(self, session: AsyncSession, row: TracepointRow, event: Event, reason: str) -> None:
        """Taken back from the hosts; what never was on one is over at once. Raises Conflict."""
        move(row, event)
        row.stopped_at = self._clock.now()
        row.end_reason = reason
        if State(row.state) is State.ENDED:
            row.ended_at = row.stopped_at
        for status in await agents_of(session, row):
            if status.state == AgentState.PENDING:
                status.state = AgentState.STOPPED.value

    async def refuse_too_many(self, session: AsyncSession, tenant: str) -> None:
        """Raises TooMany. Requests of a tenant are counted one after the other."""
        await session.execute(select(TenantRow.tenant).where(TenantRow.tenant == tenant).with_for_update())
        alive = await count_alive(session, tenant)
        await self.path.quotas.refuse_more(session, TenantId(tenant), Quota.ACTIVE_TRACEPOINTS, alive)

    async def log(
        self,
        session: AsyncSession,
        tenant: TenantId,
        actor: str,
        action: AuditAction,
        row: TracepointRow,
        detail: Mapping[str, object],
        outcome: Outcome = Outcome.SUCCESS,
    ) -> None:
        event = AuditEvent(
            action=action,
            outcome=outcome,
            actor=actor,
            resource=f"tracepoint/{row.id}",
            detail={"name": row.name, **detail},
            request_id=current_request_id.get(),
        )
        await self._audit.append(session, tenant, event)

    async def _expect(
        self, session: AsyncSession, row: TracepointRow, agents: Sequence[str]
    ) -> tuple[TracepointAgentRow, ...]:
        """A line for every agent that is to answer."""
        known = {status.agent_id: status for status in await agents_of(session, row)}
        for agent in agents:
            if agent not in known:
                known[agent] = TracepointAgentRow(
                    tenant=row.tenant,
                    tracepoint_id=row.id,
                    agent_id=agent,
                    version=row.version,
                    state=AgentState.PENDING.value,
                    detail="",
                    end_reason="",
                    sites=0,
                    processes=0,
                    accounting=Accounting().document(),
                    logged=[],
                    updated_at=self._clock.now(),
                )
                session.add(known[agent])
        await session.flush()
        return tuple(known[agent] for agent in sorted(known))


def move(row: TracepointRow, event: Event) -> None:
    """Raises Conflict when this cannot happen to it."""
    state = after(State(row.state), event)
    if state is None:
        raise Conflict(
            f"the tracepoint {row.name} is {row.state}{f' ({row.end_reason})' if row.end_reason else ''}: "
            "request it again to start another one",
            code="wrong_state",
            extra={"state": row.state},
        )
    row.state = state.value
