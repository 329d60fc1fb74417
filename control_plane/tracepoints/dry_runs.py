"""A reviewer's look at a few masked rows of a version that nobody has approved yet: allowed from both sides, kept nowhere.

    1. the tenant     its run policy names the environment, and the target is bound to it by a label   else Denied
    2. the reviewer   may decide about this very version: on its panel, none of its authors             else Denied
    3. the class      counts, latencies and masked values; never raw ones or kernel-wide cost           else Denied
    4. locks          as for a tracepoint                                                               else Denied
    5. the log        intent and outcome: who looked at what, where; never a value
    6. the host       its owner allows dry runs (`agents.admission`), else its answer is a problem

What is signed for it has a payload type of its own, for one agent, for seconds and a few hits, so no agent can take it for
a tracepoint. The rows pass through to whoever asked; `records.dry_run_routes` reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Protocol

from sqlalchemy.ext.asyncio import AsyncSession
from wire.identity import agent_uri
from wire.v1 import gateway_pb2

from control_plane.foundation.audit_trail import AuditAction, AuditEvent, AuditTrail, Outcome
from control_plane.foundation.audited import audited
from control_plane.foundation.clock import Clock
from control_plane.foundation.correlation import current_request_id
from control_plane.foundation.database import Database
from control_plane.foundation.errors import Conflict, Denied, Invalid, ProbegateError
from control_plane.foundation.identifiers import AgentId, TenantId, new_id
from control_plane.masking.service import MaskingService
from control_plane.policy.conditions import ENVIRONMENT_LABELS, environment_of
from control_plane.policy.locks import Touched, active_locks, hit, locked_agents
from control_plane.policy.model import Grant
from control_plane.signing.model import SealContext, SealedDryRun, Unapproved
from control_plane.signing.service import Signer
from control_plane.templates.model import TemplateVersion
from control_plane.templates.service import TemplateService
from control_plane.tracepoints.run_policy import RunPolicies
from language import parameters, rules
from language.errors import TemplateError
from language.model import ParameterScalar, TargetSpec
from language.narrowing import narrow
from language.risk import RiskClass

LIFETIME: Final = timedelta(seconds=45)  # the agent looks for ten, and may have to index an executable before
CLASSES: Final = frozenset({RiskClass.METADATA, RiskClass.MASKED})


class Looking(Protocol):
    """`delivery.service.Fleet`."""

    def connected(self, tenant: TenantId) -> tuple[AgentId, ...]: ...

    async def dry_run(self, tenant: TenantId, agent: AgentId, envelope: bytes) -> gateway_pb2.DryRunAnswer: ...


@dataclass(frozen=True)
class DryRunRequest:
    """What a reviewer chooses: one environment, and where in it."""

    environment: str
    agent: str = ""  # else the first that is connected
    service: str = ""
    pids: tuple[int, ...] = ()
    parameters: Mapping[str, ParameterScalar | str] | None = None


@dataclass(frozen=True)
class Look:
    """What one agent answered: `answer.arrow` is its own, to be read as any hostile batch."""

    agent: AgentId
    answer: gateway_pb2.DryRunAnswer


@dataclass(frozen=True)
class Parts:
    """The steps before this one."""

    templates: TemplateService
    masking: MaskingService
    signer: Signer
    fleet: Looking
    policies: RunPolicies


class DryRuns:
    def __init__(self, database: Database, audit: AuditTrail, clock: Clock, parts: Parts) -> None:
        self._database = database
        self._audit = audit
        self._clock = clock
        self._with = parts

    async def look(self, grant: Grant, name: str, version: int, request: DryRunRequest) -> Look:
        """Raises NotFound, Denied, Conflict, Invalid, DependencyUnavailable; each refusal is in the log."""
        tenant, resource = grant.resource.tenant, f"template/{name[:63]}@{version}"
        async with audited(
            self._database, self._audit, tenant, grant.principal.id, AuditAction.TEMPLATE_DRY_RUN, resource
        ) as session:
            sealed = await self._sealed(session, grant, name, version, request)
            detail = {"id": sealed.id, "agent": sealed.agent, "environment": request.environment, "spec": sealed.digest}
            await self._log(session, grant, resource, Outcome.INTENT, detail)
        try:
            answer = await self._with.fleet.dry_run(tenant, sealed.agent, sealed.envelope)
        except ProbegateError as error:
            await self._after(grant, resource, Outcome.FAILED, detail | {"reason": error.detail})
            raise
        outcome = Outcome.REFUSED if answer.problem else Outcome.SUCCESS
        found = {"rows": answer.rows, "hits": answer.accounting.hits, "problem": answer.problem[:500]}
        await self._after(grant, resource, outcome, detail | found)
        return Look(sealed.agent, answer)

    async def _sealed(
        self, session: AsyncSession, grant: Grant, name: str, version: int, request: DryRunRequest
    ) -> SealedDryRun:
        tenant, now = grant.resource.tenant, self._clock.now()
        found, canonical, now_is = await self._with.templates.for_reviewer(session, grant, name, version)
        await self._refuse_environment(session, tenant, request.environment)
        target = _target(found, request)
        worse = next((risk for risk in (found.risk.risk_class, now_is) if risk not in CLASSES), None)
        if worse is not None:
            raise Denied(
                f"{name} version {version} is of class {worse}: values that nothing hides are shown to nobody before "
                "the version is approved",
                code="dry_run_class",
            )
        locks = await active_locks(session, tenant, now)
        touched = Touched(tenant, frozenset({grant.principal.id}), template=name, digest=found.digest)
        if (lock := hit(locks, touched)) is not None:
            raise Denied(f"not now: {lock.words()}", code="locked", extra={"lock": lock.id})
        agent = self._agent(tenant, request.agent, locked_agents(locks))
        try:
            values = parameters.bind(found.template, request.parameters or {})
        except TemplateError as error:
            raise Invalid(str(error)) from error
        field_rules = await self._with.masking.field_rules(session, tenant, found.template)
        context = SealContext(
            tracepoint_id=new_id("dry"),
            name=f"dry run of {name}"[:63],
            version=1,
            tenant=tenant,
            audience=(agent_uri(agent),),
            issued_at=now,
            not_after=now + LIFETIME,
            ttl=LIFETIME,
            target=target,
            requested_by=grant.principal.id,
            table_version=1,
            parameters=values,
        )
        unapproved = Unapproved(found.template, canonical, found.digest, field_rules)
        return self._with.signer.seal_dry_run(unapproved, context, agent, request.environment)

    async def _refuse_environment(self, session: AsyncSession, tenant: TenantId, environment: str) -> None:
        allowed = (await self._with.policies.of(session, tenant)).dry_run_environments
        if environment not in allowed:
            named = ", ".join(allowed) or "none"
            raise Denied(
                f"this tenant allows dry runs in these environments: {named}. An administrator names them in the run "
                "policy (`PUT .../run-policy`, dryRun.environments); an approved version needs none of it",
                code="dry_run_environment",
                extra={"allowed": list(allowed)},
            )

    def _agent(self, tenant: TenantId, wanted: str, shut: frozenset[str]) -> AgentId:
        connected = [agent for agent in self._with.fleet.connected(tenant) if agent not in shut]
        found = [agent for agent in connected if not wanted or agent == wanted]
        if not found:
            raise Conflict(
                f"the agent {wanted!r} is not connected here"
                if wanted
                else "no agent of this tenant is connected here",
                code="no_agents",
            )
        return found[0]

    async def _after(self, grant: Grant, resource: str, outcome: Outcome, detail: Mapping[str, object]) -> None:
        async with self._database.transaction(grant.resource.tenant) as session:
            await self._log(session, grant, resource, outcome, detail)

    async def _log(
        self, session: AsyncSession, grant: Grant, resource: str, outcome: Outcome, detail: Mapping[str, object]
    ) -> None:
        event = AuditEvent(
            AuditAction.TEMPLATE_DRY_RUN, outcome, grant.principal.id, resource, detail, current_request_id.get()
        )
        await self._audit.append(session, grant.resource.tenant, event)


def _target(found: TemplateVersion, request: DryRunRequest) -> TargetSpec:
    """The template's own target, narrowed, and bound to the environment by a label: nothing else can be reached."""
    own = found.template.target
    named = next((label for label in ENVIRONMENT_LABELS if label in dict(own.labels)), ENVIRONMENT_LABELS[0])
    asked = TargetSpec(service=request.service or None, pids=request.pids, labels=((named, request.environment),))
    try:
        target = narrow(own, rules.checked_target(asked))
    except TemplateError as error:
        raise Invalid(str(error)) from error
    if environment_of(dict(target.labels)) != request.environment:
        raise Invalid(f"the target cannot be bound to the environment {request.environment!r}")
    return target
