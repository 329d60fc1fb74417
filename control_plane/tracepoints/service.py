"""Turn an allowed request into a sealed, expiring probe specification.

    1. templates.approved   Grant             -> ApprovedTemplate   or Conflict: not approved, changed since
    2. asking.asked         parameters, target, TTL                 or Invalid: what was allowed, what came
       policy.confirm       the rules that speak of these           or Denied: the condition that fails
    3. masking.bind         ApprovedTemplate  -> MaskedPlan         or Invalid: the field without a rule
    4. fleet                who is it for                           or Conflict: no agent is there
    5. signer.seal          MaskedPlan        -> SealedSpec
    6. store.publish        SealedSpec        -> on its way, with the expiry that was signed

All of it is one transaction, and the entries about it stand in it: what cannot be logged does not happen. Publishing
is the last step before the commit; if the commit fails the spec is taken back. Delivery goes on in
`control_plane.delivery.gateway`, what agents answer in `reports`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from wire.identity import agent_uri

from control_plane.delivery.ports import SpecStore
from control_plane.foundation.audit_trail import AuditAction, AuditEvent, AuditTrail, Outcome
from control_plane.foundation.audited import audited
from control_plane.foundation.clock import Clock
from control_plane.foundation.correlation import current_request_id
from control_plane.foundation.database import Database
from control_plane.foundation.errors import Conflict, Denied, TooMany
from control_plane.foundation.identifiers import SubjectId, TenantId, new_id
from control_plane.masking.key_wrapping import KeyWrapper
from control_plane.masking.model import MaskedPlan
from control_plane.masking.service import MaskingService
from control_plane.policy.conditions import Facts
from control_plane.policy.locks import Lock, active_locks, hit, locked_agents
from control_plane.policy.model import Grant
from control_plane.policy.roles import RoleBook
from control_plane.policy.terms import confirm, request_facts
from control_plane.signing.model import SealContext
from control_plane.signing.service import Signer
from control_plane.templates.model import ApprovedTemplate
from control_plane.templates.service import TemplateService
from control_plane.tracepoints.asking import Asked, asked, caps, granted_ttl, refuse_own_approval
from control_plane.tracepoints.enforcement import touched_by
from control_plane.tracepoints.lifecycle import LIVE, AgentState, Event, State, after
from control_plane.tracepoints.model import Accounting, RequestTracepoint, Tracepoint
from control_plane.tracepoints.ports import ActiveAgents
from control_plane.tracepoints.publications import Publications
from control_plane.tracepoints.reading import (
    agents_of,
    live_row,
    target_document,
    target_of,
    tracepoint_of,
    tracepoint_row,
)
from control_plane.tracepoints.table_versions import table_version
from control_plane.tracepoints.tables import TracepointAgentRow, TracepointRow
from language.durations import render
from language.model import TargetSpec

MAX_LIVE: Final = 500  # tracepoints of one tenant at once: each is a program, a ring and a stream of rows on every host


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


class TracepointService:
    def __init__(self, database: Database, audit: AuditTrail, clock: Clock, path: Path, max_ttl: timedelta) -> None:
        self._database = database
        self._audit = audit
        self._clock = clock
        self._path = path
        self._max_ttl = max_ttl

    async def request(self, grant: Grant, request: RequestTracepoint) -> Tracepoint:
        """A tracepoint on its way. The same name and content again renews it, other content takes its place.

        Raises NotFound, Conflict, Invalid, Denied, TooMany, DependencyUnavailable; nothing remains then.
        """
        tenant = grant.resource.tenant
        resource = f"tracepoint/{(request.name or request.template)[:100]}"
        async with self._step(grant, AuditAction.TRACEPOINT_REQUEST, resource) as (session, publications):
            approved = await self._path.templates.approved(
                session, grant, request.template, request.version, request.digest
            )
            refuse_own_approval(approved, grant.principal.id)
            wanted = asked(approved, request, self._max_ttl)
            confirm(grant, self._facts(approved, wanted.target, wanted.ttl))
            plan = await self._path.masking.bind(session, grant, approved)
            before = await live_row(session, tenant, wanted.name)
            if before is not None and before.fingerprint == wanted.fingerprint:
                return await self._renewed(session, publications, grant, before, plan, wanted.ttl)
            if before is not None:
                await self._replaced(session, publications, grant, before)
            row = await self._created(session, grant, approved, wanted)
            await self._log(
                session,
                grant,
                AuditAction.TRACEPOINT_REQUEST,
                row,
                {
                    "template": f"{approved.name}@{approved.version}",
                    "digest": approved.digest,
                    "parameters": dict(wanted.parameters),
                    "target": row.target,
                    "ttl": render(wanted.ttl),
                    "table": f"{row.table_name}@{row.table_version}",
                    "masking": {rule.column: f"{rule.treatment} ({rule.rule})" for rule in plan.rules},
                    **({"replaces": before.id} if before is not None else {}),
                },
            )
            return await self._sealed(session, publications, grant, row, plan, wanted.ttl)

    async def renew(self, grant: Grant, name: str, ttl: timedelta | None) -> Tracepoint:
        """Let it live `ttl` from now, within the caps. Raises NotFound, Conflict, Invalid, DependencyUnavailable."""
        tenant = grant.resource.tenant
        async with self._step(grant, AuditAction.TRACEPOINT_RENEW, f"tracepoint/{name[:100]}") as (
            session,
            publications,
        ):
            row = await tracepoint_row(session, tenant, name, lock=True)
            approved = await self._path.templates.approved(
                session, grant, row.template_name, row.template_version, row.template_digest, renewal=True
            )
            refuse_own_approval(approved, grant.principal.id)
            plan = await self._path.masking.bind(session, grant, approved)
            granted = granted_ttl(ttl, caps(approved, self._max_ttl))
            confirm(grant, self._facts(approved, target_of(row.target), granted))
            return await self._renewed(session, publications, grant, row, plan, granted)

    async def delete(self, grant: Grant, name: str) -> Tracepoint:
        """Take it back from every host. What has ended stays as it is. Raises NotFound, DependencyUnavailable."""
        tenant = grant.resource.tenant
        async with self._step(grant, AuditAction.TRACEPOINT_DELETE, f"tracepoint/{name[:100]}") as (
            session,
            publications,
        ):
            row = await tracepoint_row(session, tenant, name, lock=True)
            if after(State(row.state), Event.DELETE) is not None:
                await self._stopped(session, row, Event.DELETE, "deleted")
                await self._log(session, grant, AuditAction.TRACEPOINT_DELETE, row, {"name": row.name})
                await session.flush()
                await publications.retract(tenant, row.id)
            return tracepoint_of(row, await agents_of(session, row))

    def _facts(self, approved: ApprovedTemplate, target: TargetSpec, ttl: timedelta) -> Facts:
        labels, now = dict(target.labels), self._clock.now()
        return request_facts(
            now, ttl=ttl, labels=labels, service=target.service, template=approved.name, risk=approved.risk
        )

    async def _created(
        self, session: AsyncSession, grant: Grant, approved: ApprovedTemplate, wanted: Asked
    ) -> TracepointRow:
        tenant, now = grant.resource.tenant, self._clock.now()
        await self._refuse_too_many(session, tenant)
        columns = [capture.column for capture in approved.template.probe.captures]
        return TracepointRow(
            tenant=tenant,
            id=new_id("tp"),
            name=wanted.name,
            version=0,
            state=State.PENDING.value,
            template_name=approved.name,
            template_version=approved.version,
            template_digest=approved.digest,
            fingerprint=wanted.fingerprint,
            table_name=approved.template.table,
            table_version=await table_version(session, tenant, approved.template.table, columns, now),
            columns=columns,
            parameters=dict(wanted.parameters),
            target=target_document(wanted.target),
            ttl_ms=wanted.ttl // timedelta(milliseconds=1),
            requested_by=grant.principal.id,
            requested_by_name=grant.principal.display_name[:200],
            created_at=now,
            end_reason="",
        )

    async def _renewed(
        self,
        session: AsyncSession,
        publications: Publications,
        grant: Grant,
        row: TracepointRow,
        plan: MaskedPlan,
        ttl: timedelta,
    ) -> Tracepoint:
        self._move(row, Event.RENEW)
        details = {
            "ttl": render(ttl),
            "version": row.version + 1,
            "template": f"{row.template_name}@{row.template_version}",
        }
        await self._log(session, grant, AuditAction.TRACEPOINT_RENEW, row, details)
        return await self._sealed(session, publications, grant, row, plan, ttl)

    async def _sealed(
        self,
        session: AsyncSession,
        publications: Publications,
        grant: Grant,
        row: TracepointRow,
        plan: MaskedPlan,
        ttl: timedelta,
    ) -> Tracepoint:
        """Seal the next version for the agents that are there now, and publish it."""
        tenant, now = grant.resource.tenant, self._clock.now()
        locks = await active_locks(session, tenant, now)
        await self._refuse_locked(session, grant, row, locks)
        shut = locked_agents(locks)
        agents = [
            agent for agent in await self._path.fleet.active_agents(session, tenant) if agent.agent_id not in shut
        ]
        if not agents:
            raise Conflict(
                "no agent of this tenant is connected, so nobody could run it: make a join token with "
                "`probegate agent token` and start `probegate-agent run` on the host",
                code="no_agents",
            )
        row.version += 1
        row.ttl_ms = ttl // timedelta(milliseconds=1)
        row.issued_at, row.not_after = now, now + ttl
        context = SealContext(
            tracepoint_id=row.id,
            name=row.name,
            version=row.version,
            tenant=tenant,
            audience=tuple(agent_uri(agent.agent_id) for agent in agents),
            issued_at=now,
            not_after=row.not_after,
            ttl=ttl,
            target=target_of(row.target),
            requested_by=grant.principal.id,
            table_version=row.table_version,
            parameters=row.parameters,
        )
        spec = self._path.signer.seal(plan, context)
        row.envelope, row.spec_digest = self._path.wrapper.wrap(tenant, row.version, spec.envelope), spec.digest
        session.add(row)
        try:
            await session.flush()
        except IntegrityError as error:
            raise Conflict(f"somebody requested {row.name} at the same moment: ask again", code="raced") from error
        statuses = await self._expect(session, row, [agent.agent_id for agent in agents])
        sealed = {"version": spec.version, "digest": spec.digest, "not_after": spec.not_after, "agents": len(agents)}
        await self._log(session, grant, AuditAction.TRACEPOINT_SEAL, row, sealed)
        await self._log(session, grant, AuditAction.TRACEPOINT_PUBLISH, row, {"version": spec.version})
        await session.flush()
        await publications.publish(spec)
        return tracepoint_of(row, statuses)

    async def _refuse_locked(
        self, session: AsyncSession, grant: Grant, row: TracepointRow, locks: Sequence[Lock]
    ) -> None:
        """Neither the one who asks now nor the one whose it is may be locked, nor what it is made of. Raises Denied."""
        for subject in {grant.principal.id, SubjectId(row.requested_by)}:
            lock = hit(locks, await touched_by(session, row, subject, self._path.book, ()))
            if lock is not None:
                raise Denied(
                    f"not now: {lock.words()}", code="locked", extra={"lock": lock.id, "kind": lock.kind.value}
                )

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

    async def _replaced(
        self, session: AsyncSession, publications: Publications, grant: Grant, row: TracepointRow
    ) -> None:
        await self._stopped(session, row, Event.REPLACE, "replaced")
        await self._log(session, grant, AuditAction.TRACEPOINT_DELETE, row, {"name": row.name, "why": "replaced"})
        await session.flush()  # before the new one takes the name
        publications.retract_later(TenantId(row.tenant), row.id)

    async def _stopped(self, session: AsyncSession, row: TracepointRow, event: Event, reason: str) -> None:
        self._move(row, event)
        row.stopped_at = self._clock.now()
        row.end_reason = reason
        for status in await agents_of(session, row):
            if status.state == AgentState.PENDING:
                status.state = AgentState.STOPPED.value

    def _move(self, row: TracepointRow, event: Event) -> None:
        state = after(State(row.state), event)
        if state is None:
            raise Conflict(
                f"the tracepoint {row.name} is {row.state}{f' ({row.end_reason})' if row.end_reason else ''}: "
                "request it again to start another one",
                code="wrong_state",
                extra={"state": row.state},
            )
        row.state = state.value

    async def _refuse_too_many(self, session: AsyncSession, tenant: str) -> None:
        live = select(func.count()).where(
            TracepointRow.tenant == tenant, TracepointRow.state.in_([state.value for state in LIVE])
        )
        if (await session.scalar(live) or 0) >= MAX_LIVE:
            raise TooMany(f"this tenant has {MAX_LIVE} tracepoints alive, as many as it may: stop one first")

    @asynccontextmanager
    async def _step(
        self, grant: Grant, action: AuditAction, resource: str
    ) -> AsyncIterator[tuple[AsyncSession, Publications]]:
        """One transaction; what it published is taken back when it does not commit."""
        publications = Publications(self._path.store)
        try:
            async with audited(
                self._database, self._audit, grant.resource.tenant, grant.principal.id, action, resource
            ) as session:
                yield session, publications
                await publications.retract_replaced()
        except BaseException:
            await publications.take_back()
            raise

    async def _log(
        self, session: AsyncSession, grant: Grant, action: AuditAction, row: TracepointRow, detail: Mapping[str, object]
    ) -> None:
        event = AuditEvent(
            action=action,
            outcome=Outcome.SUCCESS,
            actor=grant.principal.id,
            resource=f"tracepoint/{row.id}",
            detail={"name": row.name, **detail},
            request_id=current_request_id.get(),
        )
        await self._audit.append(session, grant.resource.tenant, event)
