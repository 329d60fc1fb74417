from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path as FilePath
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.ext.asyncio import AsyncSession
from wire import dsse
from wire.v1 import gateway_pb2, spec_pb2

from control_plane.delivery.tables import AgentRow
from control_plane.foundation.clock import ManualClock
from control_plane.foundation.database import Database
from control_plane.foundation.errors import Denied
from control_plane.foundation.identifiers import AgentId, TenantId
from control_plane.masking.key_wrapping import KeyWrapper
from control_plane.masking.service import MaskingService
from control_plane.policy.decide import Decision
from control_plane.policy.locks import LockService
from control_plane.policy.model import Grant, Permission
from control_plane.policy.roles import read_roles
from control_plane.signing.service import Signer
from control_plane.templates.model import TemplateVersion
from control_plane.templates.requirements import read_approvals
from control_plane.templates.service import TemplateService
from control_plane.tracepoints.break_glass import BreakingGlass
from control_plane.tracepoints.enforcement import Enforcement
from control_plane.tracepoints.model import RequestTracepoint, Tracepoint
from control_plane.tracepoints.notices import NoticeReading
from control_plane.tracepoints.reading import TracepointReading
from control_plane.tracepoints.reports import AgentReports
from control_plane.tracepoints.requests import RequestReviews
from control_plane.tracepoints.rollouts import Rollouts
from control_plane.tracepoints.run_policy import RunPolicies
from control_plane.tracepoints.sealing import Path, Sealing
from control_plane.tracepoints.service import Deciders, TracepointService
from control_plane.tracepoints.starting import Starting
from control_plane.tracepoints.stopping import Stopping
from control_plane.tracepoints.tables import TracepointRow
from control_plane.tracepoints.upkeep import Upkeep
from language.masking_rules import load_rules
from tests.builders.audit_trail import BreakableTrail
from tests.builders.principals import grant
from tests.builders.reviews import FakeReviewers, review
from tests.builders.spec_store import FakeSpecStore
from tests.builders.templates import SUM_YAML

PACK = load_rules((FilePath(__file__).parents[4] / "policies/masking/platform.yaml").read_text())


@dataclass
class FakeFleet:
    """The agents that a test says are there."""

    agents: dict[str, list[str]] = field(default_factory=lambda: {"acme": ["ag_1", "ag_2"]})
    processes: dict[str, int] = field(default_factory=lambda: {"ag_1": 1, "ag_2": 1})

    async def active_agents(self, session: AsyncSession, tenant: TenantId) -> list[AgentRow]:
        return [AgentRow(tenant=tenant, agent_id=agent) for agent in self.agents.get(tenant, [])]

    async def counts(self, tenant: TenantId, question: gateway_pb2.ExplainQuestion) -> dict[AgentId, int]:
        assert question.count_only
        return {
            AgentId(agent): self.processes[agent] for agent in self.agents.get(tenant, []) if agent in self.processes
        }


@dataclass
class FakeDeciding:
    """Policy at the moment of a start: `gone` may not any more."""

    gone: set[str] = field(default_factory=set)
    stop_any: set[str] = field(default_factory=set)

    async def requester(self, row: TracepointRow) -> Grant:
        name = row.requested_by.rpartition("|")[2]
        if name in self.gone:
            raise Denied(f"{name} holds no role any more")
        return grant(Permission(row.requester["permission"]), by=name, tenant=row.tenant)

    async def may_stop_any(self, session: AsyncSession, grant: Grant, name: str) -> Decision:
        allowed = grant.principal.subject in self.stop_any
        return Decision(allowed, "test", "" if allowed else "no role of yours", would_allow=("tenant-admin",))


@dataclass
class World:
    """Every step before this one is real; only the fleet and the spec store are the test's."""

    database: Database
    trail: BreakableTrail
    clock: ManualClock
    fleet: FakeFleet
    store: FakeSpecStore
    key: Ed25519PrivateKey
    templates: TemplateService
    reviewers: FakeReviewers
    masking: MaskingService
    service: TracepointService
    reading: TracepointReading
    reports: AgentReports
    upkeep: Upkeep
    locks: LockService
    enforcement: Enforcement
    requests: RequestReviews
    starting: Starting
    rollouts: Rollouts
    glass: BreakingGlass
    notices: NoticeReading
    policies: RunPolicies
    deciding: FakeDeciding

    async def approved(
        self, source: str = SUM_YAML, by: str = "bob", author: str = "alice", tenant: str = "acme"
    ) -> TemplateVersion:
        found = await self.templates.submit(grant(Permission.TEMPLATE_SUBMIT, by=author, tenant=tenant), source)
        version = found.versions[0]
        reviewer = grant(Permission.TEMPLATE_REVIEW, by=by, tenant=tenant)
        return await self.templates.approve(reviewer, version.name, version.version, version.digest)

    async def request(
        self, template: str = "money-sum", by: str = "carol", tenant: str = "acme", **chosen: Any
    ) -> Tracepoint:
        asker = grant(Permission.TRACEPOINT_REQUEST, by=by, tenant=tenant)
        return await self.service.request(asker, RequestTracepoint(template, **chosen))

    async def show(self, name: str = "money-sum", tenant: str = "acme") -> Tracepoint:
        return await self.reading.show(grant(Permission.TRACEPOINT_READ, tenant=tenant), name)

    async def delete(self, name: str = "money-sum", tenant: str = "acme", by: str = "carol") -> Tracepoint:
        return await self.service.delete(grant(Permission.TRACEPOINT_DELETE, by=by, tenant=tenant), name)

    async def renew(self, name: str = "money-sum", ttl: timedelta | None = None, by: str = "carol") -> Tracepoint:
        return await self.service.renew(grant(Permission.TRACEPOINT_RENEW, by=by), name, ttl)

    async def says(self, agent: str, tracepoint: Tracepoint, state: int, tenant: str = "acme", **told: Any) -> None:
        told = {"version": tracepoint.version} | told
        status = gateway_pb2.Status(tracepoint_id=tracepoint.id, state=state, **told)
        await self.reports.report(TenantId(tenant), AgentId(agent), status)

    async def desired(self, tenant: str = "acme") -> list[spec_pb2.ProbeSpec]:
        """What the store holds, opened with the spec key."""
        keys = {dsse.key_id(self.key.public_key()): self.key.public_key()}
        return [
            spec_pb2.ProbeSpec.FromString(dsse.open_envelope(envelope, dsse.SPEC_PAYLOAD_TYPE, keys))
            for envelope in await self.store.desired(TenantId(tenant))
        ]


@pytest.fixture
def world(database: Database) -> World:
    clock = ManualClock(datetime(2026, 11, 24, 12, tzinfo=UTC))
    trail = BreakableTrail(database, clock)
    fleet, store, key, wrapper = FakeFleet(), FakeSpecStore(clock), Ed25519PrivateKey.generate(), KeyWrapper(bytes(32))
    signer = Signer(key)
    reviewers = FakeReviewers()
    templates = TemplateService(database, trail, clock, review(reviewers))
    masking = MaskingService(database, clock, PACK, wrapper)
    path = Path(templates, masking, fleet, signer, store, wrapper, read_roles())
    sealing = Sealing(database, trail, clock, path)
    policies = RunPolicies(database, trail, clock, read_approvals().fleet_guard)
    glass, deciding = BreakingGlass(database, sealing, clock, reviewers), FakeDeciding()
    stopping = Stopping(reviewers, deciding)
    deciders = Deciders(policies, reviewers, glass, stopping, timedelta(hours=24))
    return World(
        database=database,
        trail=trail,
        clock=clock,
        fleet=fleet,
        store=store,
        key=key,
        templates=templates,
        reviewers=reviewers,
        masking=masking,
        service=TracepointService(database, clock, sealing, deciders, timedelta(hours=24)),
        requests=RequestReviews(sealing, clock, reviewers, policies),
        starting=Starting(database, clock, sealing, deciding, reviewers, policies, stopping),
        rollouts=Rollouts(database, clock, sealing, deciding),
        glass=glass,
        notices=NoticeReading(database),
        policies=policies,
        deciding=deciding,
        reading=TracepointReading(database),
        reports=AgentReports(database, trail, clock, store),
        locks=LockService(database, trail, clock),
        enforcement=Enforcement(database, trail, clock, store, read_roles()),
        upkeep=Upkeep(database, trail, clock, store, signer, wrapper),
    )


@pytest.fixture
async def asking(world: World) -> World:
    """The rules of the test ask for one yes to each request."""
    dossiers = world.templates._dossiers
    found = dossiers.policy
    classes = {risk: replace(needed, requests=1) for risk, needed in found.classes.items()}
    object.__setattr__(dossiers._with, "policy", replace(found, classes=classes))
    await world.approved(by="bob")
    return world
