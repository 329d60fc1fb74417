"""Turn an allowed request into a sealed, expiring probe specification, or into a request that waits.

    1. templates.approved   Grant             -> ApprovedTemplate   or Conflict: not approved, changed since
    2. asking.asked         parameters, target, TTL, start          or Invalid: what was allowed, what came
       policy.confirm       the rules that speak of these           or Denied: the condition that fails
    3. masking.bind         ApprovedTemplate  -> MaskedPlan         or Invalid: the field without a rule
    4. need                 does anybody have to say yes to it, is it for later: then it waits; `requests`, `starting`
    5. sealing              MaskedPlan        -> SealedSpec -> on its way, with the expiry that was signed

All of it is one transaction, and the entries about it stand in it: what cannot be logged does not happen. Publishing
is the last step before the commit; if the commit fails the spec is taken back. Delivery goes on in
`control_plane.delivery.gateway`, what agents answer in `reports`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.foundation.audit_trail import AuditAction
from control_plane.foundation.clock import Clock
from control_plane.foundation.database import Database
from control_plane.foundation.errors import Conflict, Denied, DependencyUnavailable, Invalid, NotFound
from control_plane.foundation.identifiers import TenantId, new_id
from control_plane.masking.model import MaskedPlan
from control_plane.policy.conditions import Facts
from control_plane.policy.locks import active_locks
from control_plane.policy.model import Grant, Permission
from control_plane.policy.terms import confirm, request_facts
from control_plane.templates.model import ApprovedTemplate
from control_plane.templates.ports import Reviewers
from control_plane.tracepoints.asking import Asked, asked, caps, granted_ttl, refuse_own_approval
from control_plane.tracepoints.break_glass import BreakingGlass
from control_plane.tracepoints.deciding import requester_document
from control_plane.tracepoints.lifecycle import WAITING, Event, State, after
from control_plane.tracepoints.model import RequestTracepoint, Tracepoint
from control_plane.tracepoints.publications import Publications
from control_plane.tracepoints.reach import Reach, reach_of
from control_plane.tracepoints.reading import live_row, target_document, target_of, tracepoint_row, whole
from control_plane.tracepoints.request_case import Need, request_digest
from control_plane.tracepoints.rollouts import begin, reached, reached_of
from control_plane.tracepoints.run_policy import RunPolicies
from control_plane.tracepoints.sealing import Sealing, Until, move
from control_plane.tracepoints.stopping import Stopping
from control_plane.tracepoints.table_versions import table_version
from control_plane.tracepoints.tables import BreakGlassRow, TracepointRow
from language.durations import render
from language.model import TargetSpec

REFUSALS: Final = (NotFound, Conflict, Invalid, Denied, DependencyUnavailable)


@dataclass(frozen=True)
class Deciders:
    """Who and what decides whether a request has to wait."""

    policies: RunPolicies
    reviewers: Reviewers
    glass: BreakingGlass
    stopping: Stopping
    request_lapses: timedelta


@dataclass(frozen=True)
class _Wanted:
    """One request in its transaction: what was approved, what was asked for, and what has to happen first."""

    approved: ApprovedTemplate
    asked: Asked
    plan: MaskedPlan
    need: Need
    guarded: bool
    cap: int
    reach: Reach


class TracepointService:
    def __init__(
        self, database: Database, clock: Clock, sealing: Sealing, deciders: Deciders, max_ttl: timedelta
    ) -> None:
        self._database = database
        self._clock = clock
        self._sealing = sealing
        self._deciders = deciders
        self._max_ttl = max_ttl

    async def request(self, grant: Grant, request: RequestTracepoint) -> Tracepoint:
        """A tracepoint on its way, or one that waits. The same name and content again renews what runs, other content
        takes its place.

        Raises NotFound, Conflict, Invalid, Denied, TooMany, DependencyUnavailable; nothing remains then.
        """
        tenant = grant.resource.tenant
        resource = f"tracepoint/{(request.name or request.template)[:100]}"
        breaks = request.break_glass is not None
        if breaks is not (grant.permission is Permission.TRACEPOINT_BREAK_GLASS):
            raise Denied("breaking the glass is asked for by itself, with its own permission", code="break_glass")
        reach = await self._reach(grant, request)
        async with self._sealing.step(tenant, grant.principal.id, AuditAction.TRACEPOINT_REQUEST, resource) as (
            session,
            publications,
        ):
            if request.break_glass is not None:
                await self._deciders.glass.refuse(session, grant, request.break_glass)
            wanted = await self._wanted(session, grant, request, reach)
            if not breaks and (wanted.need.approvals or wanted.asked.starts_at is not None):
                return await self._waits(session, grant, wanted)
            before = await live_row(session, tenant, wanted.asked.name)
            if before is not None and not breaks and before.fingerprint == wanted.asked.fingerprint:
                await self._refuse_renewal(session, before)
                return await self._renewed(session, publications, grant, before, wanted.plan, wanted.asked.ttl)
            if before is not None:
                await self._deciders.stopping.refuse_others(session, grant, before)
                await self._sealing.replaced(session, publications, grant.principal.id, before)
            row = await self._created(session, grant, wanted, State.PENDING)
            await self._log_request(session, grant, row, wanted, before)
            only = None
            if wanted.guarded:
                agents = await self._sealing.agents(
                    session, tenant, await active_locks(session, tenant, row.created_at)
                )
                guard = await self._deciders.policies.guard(session, tenant)
                stages = begin(row, agents, guard.soak, row.created_at)
                only = reached(stages)
            found = await self._sealing.sealed(
                session, publications, grant, row, wanted.plan, Until(wanted.asked.ttl), only
            )
            if wanted.guarded:
                session.add(stages)
                await session.flush()
            if request.break_glass is not None:
                await self._deciders.glass.used(session, grant, row, request.break_glass)
            return await whole(session, row) if wanted.guarded else found

    async def renew(self, grant: Grant, name: str, ttl: timedelta | None) -> Tracepoint:
        """Let it live `ttl` from now, within the caps. Raises NotFound, Conflict, Invalid, DependencyUnavailable."""
        tenant = grant.resource.tenant
        async with self._sealing.step(
            tenant, grant.principal.id, AuditAction.TRACEPOINT_RENEW, f"tracepoint/{name[:100]}"
        ) as (session, publications):
            row = await tracepoint_row(session, tenant, name, lock=True)
            await self._refuse_renewal(session, row)
            approved = await self._sealing.path.templates.approved(
                session, grant, row.template_name, row.template_version, row.template_digest, renewal=True
            )
            refuse_own_approval(approved, grant.principal.id)
            plan = await self._sealing.path.masking.bind(session, grant, approved)
            granted = granted_ttl(ttl, caps(approved, self._max_ttl))
            confirm(grant, self._facts(approved, target_of(row.target), granted))
            return await self._renewed(session, publications, grant, row, plan, granted)

    async def delete(self, grant: Grant, name: str) -> Tracepoint:
        """Take it back from every host; what waits is withdrawn. What has ended stays as it is.

        Raises NotFound, Denied (`not_yours`), DependencyUnavailable.
        """
        tenant = grant.resource.tenant
        async with self._sealing.step(
            tenant, grant.principal.id, AuditAction.TRACEPOINT_DELETE, f"tracepoint/{name[:100]}"
        ) as (session, publications):
            row = await tracepoint_row(session, tenant, name, lock=True)
            if after(State(row.state), Event.DELETE) is not None:
                others = await self._deciders.stopping.refuse_others(session, grant, row)
                waited = State(row.state) in WAITING
                await self._sealing.stopped(session, row, Event.DELETE, "deleted")
                if others:
                    row.detail = f"stopped by {grant.principal.display_name[:200]}"
                details = {"waited": waited, **({"requested_by": row.requested_by} if others else {})}
                await self._sealing.log(
                    session, tenant, grant.principal.id, AuditAction.TRACEPOINT_DELETE, row, details
                )
                await session.flush()
                if not waited:
                    await publications.retract(tenant, row.id)
            return await whole(session, row)

    # --- what it needs -----------------------------------------------------------------------------------------

    async def _reach(self, grant: Grant, request: RequestTracepoint) -> Reach:
        """In a short look of its own: the agents are asked while no transaction is open."""
        tenant, path = grant.resource.tenant, self._sealing.path
        async with self._database.transaction(tenant) as session:
            try:
                approved = await path.templates.approved(
                    session, grant, request.template, request.version, request.digest
                )
                wanted = asked(approved, request, self._max_ttl, self._clock.now())
                agents = tuple(agent.agent_id for agent in await path.fleet.active_agents(session, tenant))
            except REFUSALS:
                return Reach()  # the transaction of the request says it, and logs it
        return await reach_of(path.fleet, tenant, approved.canonical, wanted.target, agents)

    async def _wanted(self, session: AsyncSession, grant: Grant, request: RequestTracepoint, reach: Reach) -> _Wanted:
        tenant, path = grant.resource.tenant, self._sealing.path
        approved = await path.templates.approved(session, grant, request.template, request.version, request.digest)
        refuse_own_approval(approved, grant.principal.id)
        wanted = asked(approved, request, self._max_ttl, self._clock.now())
        confirm(grant, self._facts(approved, wanted.target, wanted.ttl))
        plan = await path.masking.bind(session, grant, approved)
        guard = await self._deciders.policies.guard(session, tenant)
        guarded = reach.total > guard.processes
        approvals, why = approved.requirement.requests, list[str]()
        if approvals:
            why.append(f"each request of class {approved.risk}" if approved.risk else "each request")
        if guarded:
            approvals += guard.approvals
            why.append(f"the fleet guard: about {reach.total} processes, {guard.processes} are let through")
        return _Wanted(approved, wanted, plan, Need(approvals, tuple(why)), guarded, guard.processes, reach)

    def _facts(self, approved: ApprovedTemplate, target: TargetSpec, ttl: timedelta) -> Facts:
        labels, now = dict(target.labels), self._clock.now()
        return request_facts(
            now, ttl=ttl, labels=labels, service=target.service, template=approved.name, risk=approved.risk
        )

    # --- what becomes of it ------------------------------------------------------------------------------------

    async def _waits(self, session: AsyncSession, grant: Grant, wanted: _Wanted) -> Tracepoint:
        """Kept, and on no host. The same request by the same person again is the one that waits already."""
        tenant, now = grant.resource.tenant, self._clock.now()
        table = TracepointRow
        same = await session.scalars(
            select(table).where(
                table.tenant == tenant,
                table.name == wanted.asked.name,
                table.requested_by == grant.principal.id,
                table.fingerprint == wanted.asked.fingerprint,
                table.ttl_ms == wanted.asked.ttl // timedelta(milliseconds=1),
                table.state.in_([state.value for state in WAITING]),
            )
        )
        for row in same:
            if row.starts_at == wanted.asked.starts_at and (row.process_cap is None) is wanted.guarded:
                return await whole(session, row)
        row = await self._created(session, grant, wanted, State.AWAITING)
        panel = await self._deciders.reviewers.panel(session, tenant, Permission.TRACEPOINT_APPROVE)
        row.panel = {who: sorted(roles) for who, roles in sorted(panel.roles.items())}
        row.lapses_at = wanted.asked.starts_at or now + self._deciders.request_lapses
        row.issued_at, row.not_after = now, row.lapses_at
        row.envelope, row.spec_digest = b"", ""
        if wanted.need.approvals:
            row.detail = f"waits for {wanted.need.approvals} approval(s): {'; '.join(wanted.need.why)}"
        else:
            move(row, Event.APPROVE)
            row.due_at = wanted.asked.starts_at
        session.add(row)
        await session.flush()
        await self._log_request(session, grant, row, wanted, None)
        return await whole(session, row)

    async def _created(self, session: AsyncSession, grant: Grant, wanted: _Wanted, state: State) -> TracepointRow:
        tenant, now = grant.resource.tenant, self._clock.now()
        approved, chosen = wanted.approved, wanted.asked
        await self._sealing.refuse_too_many(session, tenant)
        columns = [capture.column for capture in approved.template.probe.captures]
        row = TracepointRow(
            tenant=tenant,
            id=new_id("tp"),
            name=chosen.name,
            version=0,
            state=state.value,
            template_name=approved.name,
            template_version=approved.version,
            template_digest=approved.digest,
            fingerprint=chosen.fingerprint,
            table_name=approved.template.table,
            table_version=await table_version(session, tenant, approved.template.table, columns, now),
            columns=columns,
            parameters=dict(chosen.parameters),
            target=target_document(chosen.target),
            ttl_ms=chosen.ttl // timedelta(milliseconds=1),
            requested_by=grant.principal.id,
            requested_by_name=grant.principal.display_name[:200],
            created_at=now,
            end_reason="",
            detail="",
            requester=requester_document(grant),
            needs=wanted.need.document() if state is State.AWAITING else {},
            panel={},
            starts_at=chosen.starts_at,
            process_cap=None if wanted.guarded else wanted.cap,
            counts=dict(wanted.reach.filled),
        )
        row.request_digest = request_digest(row)
        return row

    async def _renewed(
        self,
        session: AsyncSession,
        publications: Publications,
        grant: Grant,
        row: TracepointRow,
        plan: MaskedPlan,
        ttl: timedelta,
    ) -> Tracepoint:
        move(row, Event.RENEW)
        details = {
            "ttl": render(ttl),
            "version": row.version + 1,
            "template": f"{row.template_name}@{row.template_version}",
        }
        tenant = grant.resource.tenant
        await self._sealing.log(session, tenant, grant.principal.id, AuditAction.TRACEPOINT_RENEW, row, details)
        only = await reached_of(session, row)
        return await self._sealing.sealed(session, publications, grant, row, plan, Until(ttl), only)

    async def _refuse_renewal(self, session: AsyncSession, row: TracepointRow) -> None:
        """What somebody said yes to for so long is not made longer without them. Raises Conflict."""
        if await session.get(BreakGlassRow, (row.tenant, row.id)) is not None:
            raise Conflict(
                f"{row.name} was started by breaking the glass, which is not renewed: ask for it in the ordinary way",
                code="break_glass_renewal",
            )
        if int(row.needs.get("approvals", 0)) and State(row.state) not in WAITING:
            raise Conflict(
                f"the request for {row.name} was approved for {render(timedelta(milliseconds=row.ttl_ms))}: request it "
                "again, for another yes",
                code="approval_per_request",
            )

    async def _log_request(
        self,
        session: AsyncSession,
        grant: Grant,
        row: TracepointRow,
        wanted: _Wanted,
        before: TracepointRow | None,
    ) -> None:
        approved = wanted.approved
        details = {
            "template": f"{approved.name}@{approved.version}",
            "digest": approved.digest,
            "parameters": dict(wanted.asked.parameters),
            "target": row.target,
            "ttl": render(wanted.asked.ttl),
            "table": f"{row.table_name}@{row.table_version}",
            "masking": {rule.column: f"{rule.treatment} ({rule.rule})" for rule in wanted.plan.rules},
            **({"replaces": before.id} if before is not None else {}),
            **({"request": row.request_digest, "needs": row.needs} if row.needs else {}),
            **({"starts_at": row.starts_at.isoformat()} if row.starts_at else {}),
            **({"processes": wanted.reach.total} if wanted.guarded else {}),
        }
        tenant: TenantId = grant.resource.tenant
        await self._sealing.log(session, tenant, grant.principal.id, AuditAction.TRACEPOINT_REQUEST, row, details)
